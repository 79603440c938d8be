"""The blocked product: BLIS's five loops around the micro-kernel.

Van Zee and van de Geijn, "BLIS: a framework for rapidly instantiating BLAS functionality",
ACM TOMS 41(3), 2015. Sums over k are split by the block depth alone, so the bits of the
result depend on the shape, never on threads or strides.
"""

from numba import types
from numba.extending import overload

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.mathfn import accumulator
from fastmat.cpu.blocking import (
    block_cols,
    block_rows,
    ceil_div,
    depth,
    parts,
    tile_cols,
    tile_rows,
)
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch
from fastmat.cpu.simd import address, multiply_tile


@task
def _pack_b(args, slot, index):
    b, packed = args
    cols = tile_cols(b.dtype)
    size = b.shape[0] * cols * parts(b.dtype)
    j = index * cols
    pack(b[:, j : j + cols].T, cols, packed[index * size : (index + 1) * size])


@task
def _block(args, slot, index):
    """One block of rows and columns of c: pack its rows of a, multiply tile by tile."""
    a, b_packed, b_cols, c, c_direct, accumulate, height, width, a_scratch, tiles = args
    element = a.dtype
    rows, cols, k = tile_rows(element), tile_cols(element), a.shape[1]
    across = ceil_div(b_cols, width)
    i0, j0 = index // across * height, index % across * width
    i1, j1 = min(a.shape[0], i0 + height), min(b_cols, j0 + width)
    packed, tile = a_scratch[slot], tiles[slot]
    a_panel, b_panel = k * rows * parts(element), k * cols * parts(element)
    for i in range(i0, i1, rows):
        at = (i - i0) // rows * a_panel
        pack(a[i : min(i + rows, i1)], rows, packed[at : at + a_panel])
    tile_stride = tile.strides[0]
    for j in range(j0, j1, cols):
        for i in range(i0, i1, rows):
            full = c_direct and i + rows <= i1 and j + cols <= j1
            multiply_tile(
                element,
                k,
                packed,
                (i - i0) // rows * a_panel,
                b_packed,
                j // cols * b_panel,
                address(c, i, j) if full else address(tile, 0, 0),
                c.strides[0] if full else tile_stride,
                accumulate and full,
            )
            if not full:
                _merge(tile, c[i : min(i + rows, i1), j : min(j + cols, j1)], accumulate)


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
    element = a.dtype
    m, k = a.shape
    n = b.shape[1]
    rows, cols = tile_rows(element), tile_cols(element)
    n_max = min(block_cols(element), ceil_div(n, cols) * cols)
    k_max = min(depth(element), k)
    panels = ceil_div(m, rows)
    height = min(block_rows(element) // rows, ceil_div(panels, 2 * threads)) * rows
    blocks = ceil_div(m, height)
    across = 1 if blocks >= threads else ceil_div(threads, blocks)
    scalar = scalar_dtype(element)
    b_packed = scratch(n_max * k_max * parts(element), scalar)
    a_scratch = scratch(threads * height * k_max * parts(element), scalar).reshape(threads, -1)
    tiles = scratch(threads * rows * cols * parts(element), scalar).reshape(threads, rows, -1)
    c_direct = parts(element) == 1 and c.strides[1] == c.itemsize
    for j in range(0, n, n_max):
        j_end = min(n, j + n_max)
        panels_b = ceil_div(j_end - j, cols)
        width = ceil_div(panels_b, across) * cols
        for p in range(0, k, k_max):
            p_end = min(k, p + k_max)
            parallel_for(_pack_b, panels_b, threads, (b[p:p_end, j:j_end], b_packed))
            parallel_for(
                _block,
                blocks * ceil_div(j_end - j, width),
                threads,
                (
                    a[:, p:p_end],
                    b_packed,
                    j_end - j,
                    c[:, j:j_end],
                    c_direct,
                    p > 0,
                    height,
                    width,
                    a_scratch,
                    tiles,
                ),
            )
