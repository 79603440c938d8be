"""Tiles of a product whose left operand is not packed: it is read where it lies.

Where there are few columns, packing takes more time than it saves.
"""

from numba import types

from fastmat.core.compile import call, kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES, accumulator, real
from fastmat.cpu.blocking import parts, tile_cols, tile_rows
from fastmat.cpu.panels import pack
from fastmat.cpu.simd import merge_tile, multiply_tile
from fastmat.cpu.simd_tall import multiply_strided
from fastmat.cpu.views import address, part

STRIDED = [name for name, dtype in NUMBA_DTYPES.items() if accumulator(dtype) == dtype]


def is_strided(dtype):
    """Whether numbers of this dtype are computed with as they are stored."""
    return accumulator(dtype) == dtype


def _types(t):
    own, edge = types.Array(real(t), 1, "C"), types.Array(t, 2, "C")
    return reads(t, 2), types.intp, writes(t, 2), types.boolean, types.boolean, own, edge


@kernel(_types, STRIDED)
def strided_tiles(
    a,  # in (m, k)
    b,  # in, address of panels of columns, one after the other
    c,  # inout (m, n), columns side by side
    padded,  # whether there is room for whole panels in c
    accumulate,
    own,  # scratch (k * parts * MR,)
    edge,  # scratch (MR, NR)
):
    """c (+)= a @ b. Rows of a are read once for all panels of b."""
    (m, k), n, rows, cols = a.shape, c.shape[1], tile_rows(a.dtype), tile_cols(a.dtype)
    panel = k * cols * parts(a.dtype) * own.itemsize
    for i in range(0, m, rows):
        height = min(rows, m - i)
        if height < rows:
            call(pack, a.dtype, (part(a, i, m, 0, k), rows, own))
        for j in range(0, n, cols):
            right, width = b + j // cols * panel, min(cols, n - j)
            in_place = height == rows and (padded or width == cols)
            at, stride = address(c, i, j), c.strides[0]
            if not in_place:
                at, stride = address(edge, 0, 0), edge.strides[0]
            narrow, more = 2 * width <= cols, accumulate and in_place
            if height == rows:
                left = address(a, i, 0)
                _tile(a.dtype, narrow, k, left, a.strides, right, at, stride, more)
            else:
                _packed_tile(a.dtype, narrow, k, own.ctypes.data, right, at, stride)
            if not in_place:
                target = address(c, i, j)
                merge_tile(a.dtype, at, target, c.strides[0], height, width, accumulate)


@inlined
def _tile(element, narrow, k, a, a_strides, b, c, c_stride, accumulate):
    row, step = a_strides
    if narrow:
        multiply_strided(element, 1, k, a, row, step, b, c, c_stride, accumulate)
    else:
        multiply_strided(element, 2, k, a, row, step, b, c, c_stride, accumulate)


@inlined
def _packed_tile(element, narrow, k, a, b, c, c_stride):
    if narrow:
        multiply_tile(element, 3, 1, k, a, b, c, c_stride, False)
    else:
        multiply_tile(element, 3, 2, k, a, b, c, c_stride, False)
