"""The blocked product: BLIS's five loops around the micro-kernel.

Van Zee and van de Geijn, "BLIS: a framework for rapidly instantiating BLAS functionality",
ACM TOMS 41(3), 2015. Sums over k are split by the block depth alone, so the bits of the
result depend on the shape, never on threads or strides.
"""

from numba import types
from numba.extending import overload

from fastmat.core.compile import call, kernel, reads, writes
from fastmat.core.mathfn import accumulator, real
from fastmat.cpu.blocking import (
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
from fastmat.cpu.simd import multiply_tile
from fastmat.cpu.views import address


@task
def _pack_panels(args, slot, index):
    """One panel of an operand that all threads share; columns of b are rows of its transpose."""
    source, width, packed = args
    size = source.shape[1] * width * parts(source.dtype)
    rows = source[index * width : (index + 1) * width]
    call(pack, source.dtype, (rows, width, packed[index * size : (index + 1) * size]))


@task
def _row_block(args, slot, index):
    """A block of rows of c: its rows of a are packed, then multiplied with all of packed b."""
    a, b_packed, c, accumulate, height, width, own, tiles = args
    rows, cols, k = tile_rows(a.dtype), tile_cols(a.dtype), a.shape[1]
    across = ceil_div(c.shape[1], width)
    i0, j0 = index // across * height, index % across * width
    i1, j1 = min(c.shape[0], i0 + height), min(c.shape[1], j0 + width)
    panel = k * rows * parts(a.dtype)
    for i in range(i0, i1, rows):
        at = (i - i0) // rows * panel
        call(pack, a.dtype, (a[i : min(i + rows, i1)], rows, own[slot, at : at + panel]))
    edge = tiles[slot]
    a_at, b_at, size = own[slot].ctypes.data, b_packed.ctypes.data, b_packed.itemsize
    for j in range(j0, j1, cols):
        right = b_at + j * k * parts(a.dtype) * size
        for i in range(i0, i1, rows):
            left = a_at + (i - i0) * k * parts(a.dtype) * size
            call(tile, a.dtype, (k, left, right, c, i, j, accumulate, edge))


@task
def _column_block(args, slot, index):
    """A block of columns of c: panel by panel of b is packed and multiplied with packed a."""
    a_packed, b, c, accumulate, width, own, tiles = args
    rows, cols, k = tile_rows(b.dtype), tile_cols(b.dtype), b.shape[0]
    j0 = index * width
    j1 = min(c.shape[1], j0 + width)
    panel, edge = own[slot, : k * cols * parts(b.dtype)], tiles[slot]
    a_at, size = a_packed.ctypes.data, a_packed.itemsize
    for j in range(j0, j1, cols):
        call(pack, b.dtype, (b[:, j : min(j + cols, j1)].T, cols, panel))
        for i in range(0, c.shape[0], rows):
            left = a_at + i * k * parts(b.dtype) * size
            call(tile, b.dtype, (k, left, panel.ctypes.data, c, i, j, accumulate, edge))


def _tile_types(t):
    index, scalar = types.intp, real(t)
    c, edge = writes(accumulator(t), 2), writes(scalar, 2)
    return index, index, index, c, index, index, types.boolean, edge


@kernel(_tile_types)
def tile(
    k,
    a,  # in, address of a panel of rows
    b,  # in, address of a panel of columns
    c,  # inout (m, n)
    i,
    j,
    accumulate,
    edge,  # scratch (MR, parts * NR), real scalars
):
    """c[i:i+MR, j:j+NR] (+)= a panel of a times one of b, cut at the edges of c."""
    element = c.dtype
    i1, j1 = i + tile_rows(element), j + tile_cols(element)
    whole = i1 <= c.shape[0] and j1 <= c.shape[1]
    if whole and parts(element) == 1 and c.strides[1] == c.itemsize:
        multiply_tile(element, k, a, b, address(c, i, j), c.strides[0], accumulate)
    else:
        multiply_tile(element, k, a, b, address(edge, 0, 0), edge.strides[0], False)
        _merge(edge, c[i : min(i1, c.shape[0]), j : min(j1, c.shape[1])], accumulate)


def _merge(tile, c, accumulate):
    raise TypeError("only for compiled code")


@overload(_merge)
def _merge_numbers(
    tile,  # in (MR, parts * NR), real scalars
    c,  # inout (rows, cols) up to (MR, NR)
    accumulate,
):
    """c (+)= the tile, cut at the edges of c."""
    if isinstance(c.dtype, types.Complex):

        def merge(tile, c, accumulate):
            width = tile_cols(c.dtype)
            for i in range(c.shape[0]):
                for j in range(c.shape[1]):
                    value = complex(tile[i, j], tile[i, width + j])
                    c[i, j] = c[i, j] + value if accumulate else value

    elif c.dtype == types.uint8:

        def merge(tile, c, accumulate):
            for i in range(c.shape[0]):
                for j in range(c.shape[1]):
                    c[i, j] = c[i, j] | tile[i, j] if accumulate else tile[i, j]

    else:

        def merge(tile, c, accumulate):
            for i in range(c.shape[0]):
                for j in range(c.shape[1]):
                    c[i, j] = c[i, j] + tile[i, j] if accumulate else tile[i, j]

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
    tiles = scratch(threads * rows * cols * scalars, scalar).reshape(threads, rows, -1)
    if m <= shared_rows(a.dtype) and m < n:
        panels = ceil_div(m, rows)
        width = min(WIDTH, ceil_div(ceil_div(n, cols), 2 * threads)) * cols
        a_packed = scratch(panels * rows * k_max * scalars, scalar)
        own = scratch(threads * cols * k_max * scalars, scalar).reshape(threads, -1)
        for p in range(0, k, k_max):
            x, y = a[:, p : p + k_max], b[p : p + k_max]
            parallel_for(_pack_panels, panels, threads, (x, rows, a_packed))
            args = (a_packed, y, c, p > 0, width, own, tiles)
            parallel_for(_column_block, ceil_div(n, width), threads, args)
        return
    n_max = min(block_cols(a.dtype), ceil_div(n, cols) * cols)
    height = min(block_rows(a.dtype) // rows, ceil_div(ceil_div(m, rows), 2 * threads)) * rows
    blocks = ceil_div(m, height)
    across = 1 if blocks >= threads else ceil_div(threads, blocks)
    b_packed = scratch(n_max * k_max * scalars, scalar)
    own = scratch(threads * height * k_max * scalars, scalar).reshape(threads, -1)
    for j in range(0, n, n_max):
        z = c[:, j : j + n_max]
        panels = ceil_div(z.shape[1], cols)
        width = ceil_div(panels, across) * cols
        tasks = blocks * ceil_div(z.shape[1], width)
        for p in range(0, k, k_max):
            x, y = a[:, p : p + k_max], b[p : p + k_max, j : j + n_max]
            parallel_for(_pack_panels, panels, threads, (y.T, cols, b_packed))
            args = (x, b_packed, z, p > 0, height, width, own, tiles)
            parallel_for(_row_block, tasks, threads, args)
