"""Packing: operands of any strides, copied into panels that the micro-kernel reads in order."""

from numba import types
from numba.extending import overload

from fastmat.core.compile import kernel, reads
from fastmat.core.mathfn import accumulator, real, widen
from fastmat.cpu.blocking import parts
from fastmat.cpu.shuffle import copy_lane, copy_line, tile_side, transpose_lane, transpose_tile


@kernel(lambda t: (reads(t, 2), types.intp, types.Array(real(t), 1, "C")))
def pack(
    source,  # in (rows, k)
    width,  # rows of one panel
    panel,  # out (k * parts * width,), real scalars
):
    """Copy up to `width` rows of the source into a panel, filled up with zeros."""
    rows, k = source.shape
    step = width * parts(source.dtype)
    if rows < width:
        panel[: k * step] = 0
    done = _pack_fast(source, panel[: k * step].reshape(k, step))
    for r in range(rows):
        for p in range(done, k):
            _put(panel, p * step + r, width, source[r, p])


def _pack_fast(source, panel):
    raise TypeError("only for compiled code")


@overload(_pack_fast)
def _pack_vectors(
    source,  # in (rows, k)
    panel,  # out (k, parts * width)
):
    """Pack by vectors what lies side by side along rows or columns; how many columns are done.

    The last vector of a row overlaps the one before it.
    """
    if accumulator(source.dtype) != source.dtype:
        return lambda source, panel: 0

    def pack_vectors(source, panel):
        rows, k = source.shape
        tile, lane, line = tile_side(source), tile_side(source) // 2, tile_side(source) * 2
        if source.strides[0] == source.itemsize and rows >= lane:
            if rows % line == 0:
                for p in range(k):
                    for r in range(0, rows, line):
                        copy_line(source.T, p, r, panel, p, r, False)
            else:
                for p in range(k):
                    for r in range(0, rows, lane):
                        r = min(r, rows - lane)
                        copy_lane(source.T, p, r, panel, p, r, False)
            return k
        if source.strides[1] == source.itemsize and rows >= tile:
            for p in range(0, k - tile + 1, tile):
                for r in range(0, rows, tile):
                    r = min(r, rows - tile)
                    transpose_tile(source, r, p, panel, p, r, False)
            return k // tile * tile
        if source.strides[1] == source.itemsize and rows >= lane:
            for p in range(0, k - lane + 1, lane):
                for r in range(0, rows, lane):
                    r = min(r, rows - lane)
                    transpose_lane(source, r, p, panel, p, r, False)
            return k // lane * lane
        return 0

    return pack_vectors


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
