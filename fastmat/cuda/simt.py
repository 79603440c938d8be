"""Products on the general cores of GPUs, for every dtype, semiring, layout, mask and epilogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from fastmat.cuda.elements import as_it_is
from fastmat.cuda.finishing import finish_arguments, finishing
from fastmat.cuda.intrinsics import store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.semirings import Reading, Ring, writing
from fastmat.cuda.summing import summing
from fastmat.cuda.tiling import ITEMS, Tile, Variant, run_of

_int32, _int64 = np.int32, np.int64


def for_each(count: int, function: Any) -> Any:
    """The device function that calls another for each of a thread's sums, in straight code.

    Numba has no way to unroll a loop, and where the compiler does not, sums are in memory.
    """

    def both(half, ahead):
        @cuda.jit(device=True, forceinline=True)
        def two_halves(total, place, *others):
            half(total, place, *others)
            half(total, place + ahead, *others)

        return two_halves

    done = 1
    while done < count:
        function = both(function, done)
        done *= 2
    assert done == count
    return function


def tile_grid(
    tile: Tile, m: int, n: int, items: int, parts: int = 0
) -> tuple[tuple[int, int, int], int]:
    """The grid of a product, and the number of rows of tiles in a band, as a power of 2.

    Bands, side by side, keep blocks that run at the same time on few panels of either operand.
    `parts` of the sums, if they are split, stand where the bands are otherwise.
    """
    down, across = -(-m // tile.rows), -(-n // tile.cols)
    band = (down - 1).bit_length()
    if not parts:
        band = min(band, max(3, band - 15))  # the grid's second axis takes 2**16 - 1 bands
    return ((1 << band) * across, parts or -(-down // (1 << band)), items), band


def product(
    dtype: str,
    ring: Ring,
    a_read: Reading,
    b_read: Reading,
    tile: Tile,
    variant: Variant,
    name: str | None,
) -> Kernel:
    """The kernel of a product. Its grid: see `tile_grid`."""
    held = ring.held
    run = run_of(held)
    finish = variant.finish
    rows, cols, _, thread_rows, thread_cols, lane_rows, *_ = tile
    threads = tile.threads
    lane_cols = 32 // lane_rows
    warp_rows, warp_cols = lane_rows * thread_rows, lane_cols * thread_cols
    warps_across = cols // warp_cols
    assert rows % warp_rows == 0 == cols % warp_cols, tile
    sums = thread_rows * thread_cols
    row_runs, col_runs = thread_rows // run, thread_cols // run
    row_jump, col_jump = lane_rows * run, lane_cols * run
    identity = held(ring.identity)
    split, c_vector = variant.split, variant.c_vector
    masked, leaves = bool(finish.mask), finish.leaves or split
    assert not (masked and c_vector)
    has_epilogue = finish.epilogue is not None and not split
    stored, store = (held, as_it_is) if split else writing(dtype)
    place_of = ITEMS[variant.axes]
    sum_up = summing(tile, ring, a_read, b_read, variant.a, variant.b, variant.swapped)
    finished, kept, any_kept, fill_of, of_item = finishing(finish, ring, dtype, split)

    @cuda.jit(device=True, forceinline=True)
    def row_at(place):
        """The row of a thread's sum, from its first one on."""
        line = place // thread_cols
        return _int32(line // run * row_jump + line % run)

    @cuda.jit(device=True, forceinline=True)
    def col_at(place):
        line = place % thread_cols
        return _int32(line // run * col_jump + line % run)

    @cuda.jit(device=True, forceinline=True)
    def finish_one(total, place, row, col, m, n, extras):
        i = min(_int32(row + row_at(place)), m - _int32(1))
        j = min(_int32(col + col_at(place)), n - _int32(1))
        total[place] = finished(total[place], i, j, extras)

    @cuda.jit(device=True, forceinline=True)
    def store_one(total, place, row, col, m, n, c, first, c_row, c_col, mask, fill, fill_imag):
        i, j = _int32(row + row_at(place)), _int32(col + col_at(place))
        if i < m and j < n:
            at = first + _int64(i) * c_row + _int64(j) * c_col
            if kept(i, j, mask):
                c[at] = store(total[place])
            elif not leaves:
                c[at] = store(fill_of(fill, fill_imag))

    finish_all = for_each(sums, finish_one)
    store_all = for_each(sums, store_one)

    @cuda.jit(device=True, forceinline=True)
    def store_runs(total, out, row, col, m, n, c, first, c_row):
        for p in range(row_runs):
            for i in range(run):
                at_row = _int32(row + _int32(p * row_jump + i))
                if at_row < m:
                    for q in range(col_runs):
                        at_col = _int32(col + _int32(q * col_jump))
                        if at_col < n:
                            place = (p * run + i) * thread_cols + q * run
                            at = first + _int64(at_row) * c_row + _int64(at_col)
                            for e in range(run):
                                out[e] = store(total[place + e])
                            store_run(c, at, out, 0, run)

    @cuda.jit(device=True, forceinline=True)
    def compute(
        a, a_row, a_col, a_0, a_1, a_2, b, b_row, b_col, b_0, b_1, b_2,
        c, c_row, c_col, c_0, c_1, c_2, m, n, k, n_1, n_2, chunk, c_part, band,
        mask, mask_steps, fill, fill_imag, extras, extra_steps,
    ):  # fmt: skip
        total = cuda.local.array(sums, held)
        x = cuda.local.array(thread_rows, held)
        y = cuda.local.array(thread_cols, held)
        out = cuda.local.array(run, stored)
        thread = _int32(cuda.threadIdx.x)
        place = _int32(cuda.blockIdx.x)
        down = place & ((_int32(1) << band) - _int32(1))
        if not split:
            down += _int32(cuda.blockIdx.y) << band
        first_row, first_col = _int32(down * _int32(rows)), _int32((place >> band) * _int32(cols))
        if first_row >= m:
            return
        item = _int32(cuda.blockIdx.z)
        i_0, i_1, i_2 = place_of(item, n_1, n_2)
        a_first = i_0 * a_0 + i_1 * a_1 + i_2 * a_2
        b_first = i_0 * b_0 + i_1 * b_1 + i_2 * b_2
        c_first = i_0 * c_0 + i_1 * c_1 + i_2 * c_2
        mask, extras = of_item(mask, mask_steps, extras, extra_steps, i_0, i_1, i_2)
        if split:
            part = _int32(cuda.blockIdx.y)
            done = part * chunk
            k = min(k - done, chunk)
            a_first += _int64(done) * a_col
            b_first += _int64(done) * b_row
            c_first += _int64(part) * c_part
        if masked:
            end, right = min(first_row + _int32(rows), m), min(first_col + _int32(cols), n)
            if not any_kept(first_row, end, first_col, right, mask, thread, _int32(threads)):
                if not leaves:
                    for e in range(thread, rows * cols, threads):
                        i, j = first_row + _int32(e // cols), first_col + _int32(e % cols)
                        if i < m and j < n:
                            at = c_first + _int64(i) * c_row + _int64(j) * c_col
                            c[at] = store(fill_of(fill, fill_imag))
                return
        warp, lane = thread // _int32(32), thread % _int32(32)
        row = warp // _int32(warps_across) * _int32(warp_rows)
        row += lane // _int32(lane_cols) * _int32(run)
        col = warp % _int32(warps_across) * _int32(warp_cols)
        col += lane % _int32(lane_cols) * _int32(run)
        for e in range(sums):
            total[e] = identity
        sum_up(
            total, x, y, first_row, first_col, _int32(row), _int32(col), a, a_first, a_row,
            a_col, b, b_first, b_row, b_col, m, n, _int32(k),
        )  # fmt: skip
        row, col = _int32(first_row + row), _int32(first_col + col)
        if has_epilogue:
            finish_all(total, 0, row, col, m, n, extras)
        if c_vector:
            store_runs(total, out, row, col, m, n, c, c_first, c_row)
        else:
            store_all(total, 0, row, col, m, n, c, c_first, c_row, c_col, mask, fill, fill_imag)

    pointers = (a_read.pointer, b_read.pointer, f"{stored.name}*")
    base = [x for pointer in pointers for x in (pointer, *["int64"] * 5)]
    base += [*["int32"] * 6, "int64", "int32"]
    if finish.plain or (split and not masked):

        def simt_product(
            a, a_row, a_col, a_0, a_1, a_2, b, b_row, b_col, b_0, b_1, b_2,
            c, c_row, c_col, c_0, c_1, c_2, m, n, k, n_1, n_2, chunk, c_part, band,
        ):  # fmt: skip
            compute(
                a, a_row, a_col, a_0, a_1, a_2, b, b_row, b_col, b_0, b_1, b_2,
                c, c_row, c_col, c_0, c_1, c_2, m, n, k, n_1, n_2, chunk, c_part, band,
                0, 0, 0, 0, 0, 0,
            )  # fmt: skip

        return Kernel(simt_product, base, name=name, threads=threads, blocks=tile.blocks)

    def simt_programmed(
        a, a_row, a_col, a_0, a_1, a_2, b, b_row, b_col, b_0, b_1, b_2,
        c, c_row, c_col, c_0, c_1, c_2, m, n, k, n_1, n_2, chunk, c_part, band,
        mask, mask_row, mask_col, mask_0, mask_1, mask_2, height, width, below, above,
        fill, fill_imag,
        w, w_row, w_col, w_0, w_1, w_2, x, x_row, x_col, x_0, x_1, x_2,
        y, y_row, y_col, y_0, y_1, y_2, z, z_row, z_col, z_0, z_1, z_2,
    ):  # fmt: skip
        zero = _int64(0)
        compute(
            a, a_row, a_col, a_0, a_1, a_2, b, b_row, b_col, b_0, b_1, b_2,
            c, c_row, c_col, c_0, c_1, c_2, m, n, k, n_1, n_2, chunk, c_part, band,
            (mask, zero, mask_row, mask_col, height, width, below, above),
            (mask_0, mask_1, mask_2),
            fill, fill_imag,
            (
                (w, zero, w_row, w_col), (x, zero, x_row, x_col),
                (y, zero, y_row, y_col), (z, zero, z_row, z_col),
            ),
            ((w_0, w_1, w_2), (x_0, x_1, x_2), (y_0, y_1, y_2), (z_0, z_1, z_2)),
        )  # fmt: skip

    arguments = [*base, *finish_arguments(finish, held)]
    return Kernel(simt_programmed, arguments, name=name, threads=threads, blocks=tile.blocks)
