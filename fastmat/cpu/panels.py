"""Packing: operands of any strides, copied into panels that the micro-kernel reads in order."""

from numba import types
from numba.extending import overload

from fastmat.core.compile import kernel, reads
from fastmat.core.mathfn import real, widen
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
    done = _pack_fast(source, panel.reshape(k, step)) if rows == width else 0
    for p in range(done, k):
        for r in range(rows):
            _put(panel, p * step + r, width, source[r, p])
    if rows < width:
        for p in range(k):
            for part in range(parts(source.dtype)):
                for r in range(rows, width):
                    panel[p * step + part * width + r] = 0


def _pack_fast(source, panel):
    raise TypeError("only for compiled code")


@overload(_pack_fast)
def _pack_vectors(
    source,  # in (width, k)
    panel,  # out (k, width)
):
    """Pack by vectors what lies side by side along rows or columns; how many columns are done."""
    if real(source.dtype) != source.dtype:
        return lambda source, panel: 0

    def pack_vectors(source, panel):
        width, k = source.shape
        tile, lane, line = tile_side(source), tile_side(source) // 2, tile_side(source) * 2
        if source.strides[0] == source.itemsize and width >= lane:
            if width % line == 0:
                for p in range(k):
                    for r in range(0, width, line):
                        copy_line(source.T, p, r, panel, p, r, False)
            else:
                for p in range(k):
                    for r in range(0, width, lane):
                        r = min(r, width - lane)
                        copy_lane(source.T, p, r, panel, p, r, False)
            return k
        if source.strides[1] == source.itemsize and width >= tile:
            for p in range(0, k - tile + 1, tile):
                for r in range(0, width, tile):
                    r = min(r, width - tile)
                    transpose_tile(source, r, p, panel, p, r, False)
            return k // tile * tile
        if source.strides[1] == source.itemsize and width >= lane:
            for p in range(0, k - lane + 1, lane):
                for r in range(0, width, lane):
                    r = min(r, width - lane)
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
