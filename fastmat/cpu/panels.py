"""Packing: operands copied into panels that the micro-kernel reads in order, through any strides."""

from numba import njit, types
from numba.extending import overload

from fastmat.core.mathfn import widen
from fastmat.cpu.blocking import parts


def _put(panel, at, width, value):
    raise TypeError("only for compiled code")


@overload(_put)
def _put_number(panel, at, width, value):
    """Write a number at its place in a row of a panel; complex ones as two parts."""
    if isinstance(value, types.Complex):

        def put(panel, at, width, value):
            panel[at] = value.real
            panel[at + width] = value.imag

    else:

        def put(panel, at, width, value):
            panel[at] = widen(value)

    return put


@njit
def pack(
    source,  # in (rows, k)
    width,  # rows of one panel
    panel,  # out (k * parts * width,), real scalars
):
    """Copy up to `width` rows of the source into a panel, filled up with zeros."""
    rows, k = source.shape
    step = width * parts(source.dtype)
    for p in range(k):
        for r in range(rows):
            _put(panel, p * step + r, width, source[r, p])
    if rows < width:
        for p in range(k):
            for part in range(parts(source.dtype)):
                for r in range(rows, width):
                    panel[p * step + part * width + r] = 0
