"""Products of tiles, for kernels of the user."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from fastmat.cuda.semirings import named_ring, reading
from fastmat.cuda.summing import summing
from fastmat.cuda.tiling import Layout, Tile, run_of

_int32, _int64 = np.int32, np.int64

_TILES = {
    4: Tile(64, 64, 8, 8, 4, 4),
    8: Tile(64, 64, 8, 4, 4, 4),
    16: Tile(32, 32, 8, 4, 2, 4),
}


class TileProduct(NamedTuple):
    """What a block computes with its threads, and device functions for it."""

    rows: int
    cols: int
    threads: int
    sums: int
    add_to: Any
    row_of: Any
    col_of: Any


@functools.cache
def tile_product(dtype: str = "float32", semiring: str = "plus_times") -> TileProduct:
    """A tile of a product of two matrices, to be computed by all threads of a block.

    Parameters
    ----------
    dtype
        Of both matrices. float16 and bfloat16 are given as their bits (uint16), and summed in
        float32; bool as uint8.
    semiring
        A name, as `fastmat.matmul` takes it.

    Returns
    -------
    named tuple
        `rows`, `cols`: how large the tile is. `threads`: how many the block must have. `sums`: how
        many of its numbers each thread holds. And device functions:

        ``add_to(total, first_row, first_col, a, a_row, a_col, b, b_row, b_col, m, n, k)`` adds the
        products to the `sums` numbers of a local array, `total`. The tile begins at `first_row`,
        `first_col`; `a` is (m, k) and `b` is (k, n), given flat with their strides in items. All
        threads of the block must call it. It ends and begins with no barrier of its own: call
        `cuda.syncthreads` between two calls.

        ``row_of(i)``, ``col_of(i)``: where sum `i` of this thread is in the tile.

    Examples
    --------
    ::

        tile = fastmat.cuda.device.tile_product("float32")
        rows, cols, sums = tile.rows, tile.cols, tile.sums
        add_to, row_of, col_of = tile.add_to, tile.row_of, tile.col_of

        @cuda.jit
        def squares_of_product(a, b, c):  # c = (a @ b)**2, all of them contiguous
            total = cuda.local.array(sums, numba.float32)
            for i in range(sums):
                total[i] = 0
            m, k = a.shape
            n = b.shape[1]
            top, left = cuda.blockIdx.y * rows, cuda.blockIdx.x * cols
            add_to(total, top, left, a, k, 1, b, n, 1, m, n, k)
            for i in range(sums):
                if top + row_of(i) < m and left + col_of(i) < n:
                    c[top + row_of(i), left + col_of(i)] = total[i] * total[i]
    """
    ring, read = named_ring(semiring, dtype), reading(dtype, dtype)
    held = ring.held
    run = run_of(held)
    tile = _TILES[held.bitwidth // 8]
    rows, cols, _, thread_rows, thread_cols, lane_rows, *_ = tile
    lane_cols = 32 // lane_rows
    warp_rows, warp_cols = lane_rows * thread_rows, lane_cols * thread_cols
    warps_across = cols // warp_cols
    sum_up = summing(tile, ring, read, read, Layout(True, False), Layout(False, False), False)

    @cuda.jit(device=True, forceinline=True)
    def row_of(i):
        thread = _int32(cuda.threadIdx.x)
        warp, lane = thread // _int32(32), thread % _int32(32)
        line = _int32(i) // _int32(thread_cols)
        within = line // _int32(run) * _int32(lane_rows * run) + line % _int32(run)
        first = warp // _int32(warps_across) * _int32(warp_rows)
        return _int32(first + lane // _int32(lane_cols) * _int32(run) + within)

    @cuda.jit(device=True, forceinline=True)
    def col_of(i):
        thread = _int32(cuda.threadIdx.x)
        warp, lane = thread // _int32(32), thread % _int32(32)
        line = _int32(i) % _int32(thread_cols)
        within = line // _int32(run) * _int32(lane_cols * run) + line % _int32(run)
        first = warp % _int32(warps_across) * _int32(warp_cols)
        return _int32(first + lane % _int32(lane_cols) * _int32(run) + within)

    @cuda.jit(device=True, forceinline=True)
    def add_to(total, first_row, first_col, a, a_row, a_col, b, b_row, b_col, m, n, k):
        x = cuda.local.array(thread_rows, held)
        y = cuda.local.array(thread_cols, held)
        sum_up(
            total, x, y, _int32(first_row), _int32(first_col), row_of(0), col_of(0),
            a, _int64(0), _int64(a_row), _int64(a_col),
            b, _int64(0), _int64(b_row), _int64(b_col), _int32(m), _int32(n), _int32(k),
        )  # fmt: skip

    return TileProduct(rows, cols, tile.threads, thread_rows * thread_cols, add_to, row_of, col_of)
