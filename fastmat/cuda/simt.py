"""Products on the general cores of GPUs, for every dtype, semiring and layout."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.panels import Panel, panel_functions, pitch

_int32, _int64 = np.int32, np.int64


class Tile(NamedTuple):
    """What a block computes and how its threads share it out.

    A block computes `rows` x `cols` sums, `depth` products of each at a time; each thread
    `thread_rows` x `thread_cols` of them, in runs that `lane_rows` x (32 / `lane_rows`) lanes of
    a warp take in turn.
    """

    rows: int
    cols: int
    depth: int
    thread_rows: int
    thread_cols: int
    lane_rows: int = 4
    blocks: int = 1
    group: int = 8  # rows of tiles that are computed side by side

    @property
    def threads(self) -> int:
        return self.rows * self.cols // (self.thread_rows * self.thread_cols)


class Layout(NamedTuple):
    """How an operand lies in memory: what is side by side, and whether it is read in runs."""

    along_k: bool
    vector: bool


def stepping(tile: Tile, run: int, add, multiply, number):
    """Device functions for one step of all sums of a thread, and for `tile.depth` of them."""
    thread_rows, thread_cols = tile.thread_rows, tile.thread_cols
    row_runs, col_runs = thread_rows // run, thread_cols // run
    row_jump, col_jump = tile.lane_rows * run, 32 // tile.lane_rows * run
    a_step, b_step = pitch(tile.rows), pitch(tile.cols)

    @cuda.jit(device=True, forceinline=True)
    def row_of_sums(total, first, left, y):
        for j in range(thread_cols):
            total[first + j] = number(add(total[first + j], number(multiply(left, y[j]))))

    @cuda.jit(device=True, forceinline=True)
    def step(total, x, y, shared, a_at, b_at):
        for p in range(row_runs):
            load_run(x, p * run, shared, a_at + _int32(p * row_jump), run)
        for p in range(col_runs):
            load_run(y, p * run, shared, b_at + _int32(p * col_jump), run)
        for i in range(thread_rows):
            row_of_sums(total, i * thread_cols, x[i], y)

    def twice(once, steps):
        @cuda.jit(device=True, forceinline=True)
        def steps_of_both(total, x, y, shared, a_at, b_at):
            once(total, x, y, shared, a_at, b_at)
            once(
                total, x, y, shared, a_at + _int32(steps * a_step), b_at + _int32(steps * b_step)
            )

        return steps_of_both

    steps, all_steps = 1, step
    while steps < tile.depth:
        all_steps = twice(all_steps, steps)
        steps *= 2
    assert steps == tile.depth
    return step, all_steps


def product(dtype: str, tile: Tile, a_layout: Layout, b_layout: Layout, name: str):
    kind = element(dtype)
    number, widen, narrow = kind.number, kind.widen, kind.narrow
    stored = kind.stored
    run = max(1, 16 // max(4, kind.itemsize))
    rows, cols, depth, thread_rows, thread_cols, lane_rows, _, group = tile
    threads = tile.threads
    lane_cols = 32 // lane_rows
    warp_rows, warp_cols = lane_rows * thread_rows, lane_cols * thread_cols
    warps_across = cols // warp_cols
    a_panel, b_panel = (
        Panel(
            length, depth, threads, layout.along_k, r := run if layout.vector else 1,
            min(2 * run, depth) // r,
        )
        for length, layout in ((rows, a_layout), (cols, b_layout))
    )
    a_move, b_move = (panel_functions(p, number, widen) for p in (a_panel, b_panel))
    locate_a, fetch_a, fetch_a_end, put_a = a_move
    locate_b, fetch_b, fetch_b_end, put_b = b_move
    a_runs, b_runs = a_panel.runs, b_panel.runs
    a_staged_size, b_staged_size = a_runs * a_panel.run, b_runs * b_panel.run
    wide_size = run
    a_step, b_step = pitch(rows), pitch(cols)
    b_base = depth * a_step
    stage = b_base + depth * b_step
    shared_size = 2 * stage
    sums = thread_rows * thread_cols
    row_runs, col_runs = thread_rows // run, thread_cols // run
    row_jump, col_jump = lane_rows * run, lane_cols * run

    @cuda.jit(device=True, forceinline=True)
    def add(x, y):
        return x + y

    @cuda.jit(device=True, forceinline=True)
    def multiply(x, y):
        return x * y

    zero = number(0)
    a_layout_steps, b_layout_steps = (
        (x.vector and not x.along_k, x.vector and x.along_k) for x in (a_layout, b_layout)
    )
    step, all_steps = stepping(tile, run, add, multiply, number)

    def simt_product(
        a,  # in (m, k)
        a_row,
        a_col,
        b,  # in (k, n)
        b_row,
        b_col,
        c,  # out (m, n)
        c_row,
        m,
        n,
        k,
    ):
        shared = cuda.shared.array(shared_size, number, 16)
        total = cuda.local.array(sums, number)
        x = cuda.local.array(thread_rows, number)
        y = cuda.local.array(thread_cols, number)
        wide = cuda.local.array(wide_size, number)
        a_staged = cuda.local.array(a_staged_size, stored)
        b_staged = cuda.local.array(b_staged_size, stored)
        a_at = cuda.local.array(a_runs, types.int64)
        b_at = cuda.local.array(b_runs, types.int64)
        if a_layout_steps[0]:
            a_row = _int64(1)
        if a_layout_steps[1]:
            a_col = _int64(1)
        if b_layout_steps[0]:
            b_col = _int64(1)
        if b_layout_steps[1]:
            b_row = _int64(1)
        thread = _int32(cuda.threadIdx.x)
        block = _int32(cuda.blockIdx.x)
        tiles_down = (m + _int32(rows - 1)) // _int32(rows)
        tiles_across = (n + _int32(cols - 1)) // _int32(cols)
        whole = _int32(group) * tiles_across
        band = block // whole
        inside = block - band * whole
        high = min(tiles_down - band * _int32(group), _int32(group))
        first_row = (band * _int32(group) + inside % high) * _int32(rows)
        first_col = (inside // high) * _int32(cols)

        warp = thread // _int32(32)
        lane = thread % _int32(32)
        row = warp // _int32(warps_across) * _int32(warp_rows) + lane // _int32(lane_cols) * _int32(
            run
        )
        col = warp % _int32(warps_across) * _int32(warp_cols) + lane % _int32(lane_cols) * _int32(
            run
        )
        for i in range(sums):
            total[i] = zero
        locate_a(a_at, thread, _int32(first_row), m, a_row, a_col)
        locate_b(b_at, thread, _int32(first_col), n, b_col, b_row)
        full = k // _int32(depth)
        rest = k - full * _int32(depth)
        if rest > 0:
            done = _int64(full * _int32(depth))
            fetch_a_end(a_staged, a, a_at, thread, done * a_col, rest, a_row, a_col)
            fetch_b_end(b_staged, b, b_at, thread, done * b_row, rest, b_col, b_row)
            put_a(shared, _int32(0), thread, a_staged, wide)
            put_b(shared, _int32(b_base), thread, b_staged, wide)
            cuda.syncthreads()
            for s in range(rest):
                at = _int32(s)
                step(
                    total, x, y, shared, at * _int32(a_step) + row,
                    _int32(b_base) + at * _int32(b_step) + col,
                )
            cuda.syncthreads()
        if full > 0:
            fetch_a(a_staged, a, a_at, _int64(0))
            fetch_b(b_staged, b, b_at, _int64(0))
            put_a(shared, _int32(0), thread, a_staged, wide)
            put_b(shared, _int32(b_base), thread, b_staged, wide)
            cuda.syncthreads()
            base = _int32(0)
            a_shift, b_shift = _int64(0), _int64(0)
            for t in range(full):
                more = t + 1 < full
                if more:
                    a_shift += _int64(depth) * a_col
                    b_shift += _int64(depth) * b_row
                    fetch_a(a_staged, a, a_at, a_shift)
                    fetch_b(b_staged, b, b_at, b_shift)
                all_steps(total, x, y, shared, base + row, base + _int32(b_base) + col)
                if more:
                    base = _int32(stage) - base
                    put_a(shared, base, thread, a_staged, wide)
                    put_b(shared, base + _int32(b_base), thread, b_staged, wide)
                    cuda.syncthreads()

        for p in range(row_runs):
            for i in range(run):
                r = first_row + row + _int32(p * row_jump + i)
                if r < m:
                    for q in range(col_runs):
                        j = first_col + col + _int32(q * col_jump)
                        if j < n:
                            store_run(
                                c, _int64(r) * c_row + _int64(j), total,
                                (p * run + i) * thread_cols + q * run, run,
                            )

    arguments = (
        kind.pointer, "int64", "int64", kind.pointer, "int64", "int64", kind.pointer, "int64",
        "int32", "int32", "int32",
    )
    return Kernel(simt_product, arguments, name=name, threads=threads, blocks=tile.blocks)
