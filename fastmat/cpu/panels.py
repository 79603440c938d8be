"""Packing: operands of any strides, copied into panels that the micro-kernel reads in order."""

from numba import types

from fastmat.core.compile import kernel, reads
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import accumulator, real, widen
from fastmat.cpu.blocking import parts
from fastmat.cpu.shuffle import (
    copy_lane,
    copy_line,
    reverse_lane,
    reverse_line,
    tile_side,
    transpose_lane,
    transpose_tile,
)
from fastmat.cpu.views import fliplr, flipud, in_rows, transposed


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
    if not _pack_vectors(source, in_rows(panel, k, step)):
        for r in range(rows):
            for p in range(k):
                _put(panel, p * step + r, width, source[r, p])


def _pack_vectors(source, panel):
    raise TypeError("only for compiled code")


@overload(_pack_vectors)
def _pack_vectors_by_dtype(
    source,  # in (rows, k)
    panel,  # out (k, parts * width)
):
    """Pack what lies side by side, forwards or backwards; whether that could be done.

    The last vector of a row, or tile of a column, overlaps the one before it.
    """
    if accumulator(source.dtype) != source.dtype:
        return lambda source, panel: False

    def pack_vectors(source, panel):
        rows, k = source.shape
        size, lane = source.itemsize, tile_side(source) // 2
        if rows < lane:
            return False
        if source.strides[0] == size:
            _copy_rows(transposed(source), panel)
        elif source.strides[0] == -size:
            _reverse_rows(transposed(flipud(source)), panel)
        elif k >= lane and source.strides[1] == size:
            _transpose(source, panel)
        elif k >= lane and source.strides[1] == -size:
            _transpose(fliplr(source), flipud(panel))
        else:
            return False
        return True

    return pack_vectors


def _rows_copied_by(copy_line, copy_lane, backwards):
    """A function that copies rows, by whole cache lines if they consist of such."""

    @inlined
    def copy_rows(
        source,  # in (k, n)
        panel,  # out (k, parts * width)
    ):
        k, n = source.shape
        lane, line = tile_side(source) // 2, tile_side(source) * 2
        for p in range(k):
            if n % line == 0:
                for j in range(0, n, line):
                    copy_line(source, p, j, panel, p, n - line - j if backwards else j, False)
            else:
                for j in range(0, n, lane):
                    j = min(j, n - lane)
                    copy_lane(source, p, j, panel, p, n - lane - j if backwards else j, False)

    return copy_rows


_copy_rows = _rows_copied_by(copy_line, copy_lane, backwards=False)
_reverse_rows = _rows_copied_by(reverse_line, reverse_lane, backwards=True)


@inlined
def _transpose(
    source,  # in (rows, k)
    panel,  # out (k, parts * width)
):
    rows, k = source.shape
    tile, lane = tile_side(source), tile_side(source) // 2
    if min(rows, k) >= tile:
        for p in range(0, k, tile):
            p = min(p, k - tile)
            for r in range(0, rows, tile):
                r = min(r, rows - tile)
                transpose_tile(source, r, p, panel, p, r, False)
    else:
        for p in range(0, k, lane):
            p = min(p, k - lane)
            for r in range(0, rows, lane):
                r = min(r, rows - lane)
                transpose_lane(source, r, p, panel, p, r, False)


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
