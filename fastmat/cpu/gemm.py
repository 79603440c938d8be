"""The blocked product: BLIS's five loops around the micro-kernel.

Van Zee and van de Geijn, "BLIS: a framework for rapidly instantiating BLAS functionality",
ACM TOMS 41(3), 2015. Sums over k are split by the block depth alone, so the bits of the
result depend on the shape, never on threads or strides.
"""

from numba import types

from fastmat.core.compile import call, kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import accumulator, plus
from fastmat.cpu.blocking import (
    STRIDED_PANELS,
    WIDTH,
    block_cols,
    block_rows,
    ceil_div,
    depth,
    parts,
    shared_rows,
    tile_cols,
    tile_rows,
)
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch
from fastmat.cpu.simd import merge_tile, multiply_tile
from fastmat.cpu.strided import is_strided, strided_tiles
from fastmat.cpu.views import address, part, transposed


@task
def _pack_panels(args, slot, index):
    """One panel of an operand that all threads share; columns of b are rows of its transpose."""
    source, width, packed = args
    size = source.shape[1] * width * parts(source.dtype)
    rows = part(source, index * width, (index + 1) * width)
    panel = part(packed, index * size, (index + 1) * size)
    call(pack, source.dtype, (rows, width, panel))


@task
def _row_block(args, slot, index):
    """A block of rows of c: its rows of a are packed, then multiplied with all of packed b."""
    a, b_packed, c, accumulate, height, width, own, edges = args
    rows, cols, k = tile_rows(a.dtype), tile_cols(a.dtype), a.shape[1]
    across = ceil_div(c.shape[1], width)
    i0, j0 = index // across * height, index % across * width
    i1, j1 = min(c.shape[0], i0 + height), min(c.shape[1], j0 + width)
    panel = k * rows * parts(a.dtype)
    if c.shape[1] <= STRIDED_PANELS * cols and across == 1 and c.strides[1] == c.itemsize:
        target = part(c, i0, i1, 0, c.shape[1])
        args = part(a, i0, i1), b_packed.ctypes.data, target, accumulate, own[slot], edges[slot]
        if _multiplied_in_place(args):
            return
    for i in range(i0, i1, rows):
        at = (i - i0) // rows * panel
        target = part(own[slot], at, at + panel)
        call(pack, a.dtype, (part(a, i, min(i + rows, i1)), rows, target))
    left, size = own[slot].ctypes.data, b_packed.itemsize
    for j in range(j0, j1, cols):
        right = b_packed.ctypes.data + j * k * parts(a.dtype) * size
        target = part(c, i0, i1, j, min(j + cols, j1))
        call(tiles, a.dtype, (k, left, right, target, accumulate, edges[slot]))


def _multiplied_in_place(args):
    raise TypeError("only for compiled code")


@overload(_multiplied_in_place)
def _multiplied_in_place_by_dtype(args):
    """Multiply rows of a without packing them, if their dtype permits; whether that was done."""
    if not is_strided(args[0].dtype):
        return lambda args: False

    def multiplied(args):
        a, b, c, accumulate, own, edge = args
        call(strided_tiles, a.dtype, (a, b, c, False, accumulate, own, edge))
        return True

    return multiplied


@task
def _column_block(args, slot, index):
    """A block of columns of c: panel by panel of b is packed and multiplied with packed a."""
    a_packed, b, c, accumulate, width, own, edges = args
    cols, k = tile_cols(b.dtype), b.shape[0]
    j0 = index * width
    j1 = min(c.shape[1], j0 + width)
    panel = part(own[slot], 0, k * cols * parts(b.dtype))
    left, right = a_packed.ctypes.data, panel.ctypes.data
    for j in range(j0, j1, cols):
        columns = part(transposed(b), j, min(j + cols, j1))
        target = part(c, 0, c.shape[0], j, min(j + cols, j1))
        call(pack, b.dtype, (columns, cols, panel))
        call(tiles, b.dtype, (k, left, right, target, accumulate, edges[slot]))


def _tiles_types(t):
    index, sums = types.intp, accumulator(t)
    return index, index, index, writes(sums, 2), types.boolean, types.Array(sums, 2, "C")


@kernel(_tiles_types)
def tiles(
    k,
    a,  # in, address of the panels of rows
    b,  # in, address of one panel of columns
    c,  # inout (m, n), n up to NR
    accumulate,
    edge,  # scratch (MR, NR)
):
    """c (+)= the panels of a times one panel of b, tile by tile, the last ones cut."""
    element = c.dtype
    (m, n), rows = c.shape, tile_rows(element)
    side_by_side, all_columns = c.strides[1] == c.itemsize, n == tile_cols(element)
    panel = k * rows * c.itemsize
    for i in range(0, m, rows):
        height = min(rows, m - i)
        thirds = ceil_div(3 * height, rows)
        in_place = side_by_side and all_columns and 3 * height == thirds * rows
        at, stride = address(c, i, 0), c.strides[0]
        if not in_place:
            at, stride = address(edge, 0, 0), edge.strides[0]
        _multiply(element, thirds, n, k, a, b, at, stride, accumulate and in_place)
        if not in_place:
            if side_by_side:
                merge_tile(element, at, address(c, i, 0), c.strides[0], height, n, accumulate)
            else:
                _merge(edge, part(c, i, i + height), accumulate)
        a += panel


@inlined
def _multiply(element, thirds, n, k, a, b, c, c_stride, accumulate):
    """The smallest tile that n columns and the thirds of the rows fit in."""
    if 2 * n <= tile_cols(element):
        multiply_tile(element, 3, 1, k, a, b, c, c_stride, accumulate)
    elif thirds == 3:
        multiply_tile(element, 3, 2, k, a, b, c, c_stride, accumulate)
    elif thirds == 2:
        multiply_tile(element, 2, 2, k, a, b, c, c_stride, accumulate)
    else:
        multiply_tile(element, 1, 2, k, a, b, c, c_stride, accumulate)


def _merge(tile, c, accumulate):
    raise TypeError("only for compiled code")


@overload(_merge)
def _merge_numbers(
    tile,  # in (MR, NR)
    c,  # inout (rows, cols) up to (MR, NR)
    accumulate,
):
    """c (+)= the part of a tile that lies inside c, of any strides."""

    def merge(tile, c, accumulate):
        for i in range(c.shape[0]):
            for j in range(c.shape[1]):
                c[i, j] = plus(c[i, j], tile[i, j]) if accumulate else tile[i, j]

    return merge


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(accumulator(t), 2), types.intp))
def gemm(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n), of the accumulator's dtype
    threads,
):
    """c = a @ b for k > 0."""
    (m, k), n = a.shape, b.shape[1]
    scalar, scalars = scalar_dtype(a.dtype), parts(a.dtype)
    rows, cols, k_max = tile_rows(a.dtype), tile_cols(a.dtype), min(depth(a.dtype), k)
    edges = scratch((threads, rows, cols), c.dtype)
    if m <= shared_rows(a.dtype) and m < n:
        panels = ceil_div(m, rows)
        width = min(WIDTH, ceil_div(ceil_div(n, cols), 2 * threads)) * cols
        a_packed = scratch(panels * rows * k_max * scalars, scalar)
        own = scratch((threads, cols * k_max * scalars), scalar)
        for p in range(0, k, k_max):
            x, y = part(a, 0, m, p, p + k_max), part(b, p, p + k_max)
            parallel_for(_pack_panels, panels, threads, (x, rows, a_packed))
            args = (a_packed, y, c, p > 0, width, own, edges)
            parallel_for(_column_block, ceil_div(n, width), threads, args)
        return
    n_max = min(block_cols(a.dtype), ceil_div(n, cols) * cols)
    height = min(block_rows(a.dtype) // rows, ceil_div(ceil_div(m, rows), 2 * threads)) * rows
    blocks = ceil_div(m, height)
    across = 1 if blocks >= threads else ceil_div(threads, blocks)
    b_packed = scratch(n_max * k_max * scalars, scalar)
    own = scratch((threads, height * k_max * scalars), scalar)
    for j in range(0, n, n_max):
        z = part(c, 0, m, j, j + n_max)
        panels = ceil_div(z.shape[1], cols)
        width = ceil_div(panels, across) * cols
        tasks = blocks * ceil_div(z.shape[1], width)
        for p in range(0, k, k_max):
            x, y = part(a, 0, m, p, p + k_max), part(b, p, p + k_max, j, j + n_max)
            parallel_for(_pack_panels, panels, threads, (transposed(y), cols, b_packed))
            args = (x, b_packed, z, p > 0, height, width, own, edges)
            parallel_for(_row_block, tasks, threads, args)
