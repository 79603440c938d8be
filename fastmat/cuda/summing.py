"""The sums of a tile, in the registers of a block, of panels in shared memory."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda, types

from fastmat.cuda.intrinsics import load_run
from fastmat.cuda.intrinsics_tensor import commit_copies, shared_address, wait_for_copies
from fastmat.cuda.panels import Panel, panel_functions, pitch
from fastmat.cuda.semirings import Reading, Ring
from fastmat.cuda.tiling import Layout, Tile, run_of

_int32, _int64 = np.int32, np.int64


@functools.lru_cache(maxsize=256)
def stepping(tile: Tile, ring: Ring, swapped: bool) -> tuple[Any, Any]:
    """Device functions for one step of all sums of a thread, and for `tile.depth` of them."""
    run = run_of(ring.held)
    add, multiply = ring.add, ring.multiply
    thread_rows, thread_cols = tile.thread_rows, tile.thread_cols
    row_runs, col_runs = thread_rows // run, thread_cols // run
    row_jump, col_jump = tile.lane_rows * run, 32 // tile.lane_rows * run
    a_step, b_step = pitch(tile.rows), pitch(tile.cols)

    @cuda.jit(device=True, forceinline=True)
    def row_of_sums(total, first, x, y):
        for j in range(thread_cols):
            product = multiply(y[j], x) if swapped else multiply(x, y[j])
            total[first + j] = add(total[first + j], product)

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
            once(total, x, y, shared, a_at + _int32(steps * a_step), b_at + _int32(steps * b_step))

        return steps_of_both

    steps, all_steps = 1, step
    while steps < tile.depth:
        all_steps = twice(all_steps, steps)
        steps *= 2
    assert steps == tile.depth
    return step, all_steps


@functools.lru_cache(maxsize=256)
def summing(
    tile: Tile,
    ring: Ring,
    a_read: Reading,
    b_read: Reading,
    a_layout: Layout,
    b_layout: Layout,
    swapped: bool,
) -> Any:
    """The device function that sums up a tile in the registers of a block.

    ``sum_up(total, x, y, first_row, first_col, row, col, a, a_row, a_col, b, b_row, b_col, m, n,
    k)``: `total` are the sums of a thread, which has rows from `row` and columns from `col` on;
    `a` and `b` are pairs of pointer and offset.
    """
    held = ring.held
    run = run_of(held)
    rows, cols, depth = tile[:3]
    threads = tile.threads
    panels = []
    for length, layout in ((rows, a_layout), (cols, b_layout)):
        scatters = layout.along_k and tile.stages > 0  # copies put numbers side by side
        read = run if layout.vector and not scatters else 1
        panels.append(
            Panel(length, depth, threads, layout.along_k, read, min(2 * run, depth) // read)
        )
    locate_a, fetch_a, copy_a, fetch_a_end, put_a = panel_functions(
        panels[0], a_read.convert, a_read.itemsize
    )
    locate_b, fetch_b, copy_b, fetch_b_end, put_b = panel_functions(
        panels[1], b_read.convert, b_read.itemsize
    )
    a_runs, b_runs = (p.runs for p in panels)
    a_staged_size, b_staged_size = (p.runs * p.run for p in panels)
    a_stored, b_stored = a_read.stored, b_read.stored
    a_step, b_step = pitch(rows), pitch(cols)
    b_base = depth * a_step
    stage = b_base + depth * b_step
    stages = tile.stages
    shared_size = (stages or 2) * stage
    wait = wait_for_copies(max(stages - 2, 0))
    unit_a_row, unit_a_col, unit_b_row, unit_b_col = (
        a_layout.vector and not a_layout.along_k,
        a_layout.vector and a_layout.along_k,
        b_layout.vector and b_layout.along_k,
        b_layout.vector and not b_layout.along_k,
    )
    step, all_steps = stepping(tile, ring, swapped)

    @cuda.jit(device=True, forceinline=True)
    def through_registers(
        total, x, y, row, col, thread, shared, wide, a_staged, b_staged, a, a_at, a_shift, a_col,
        b, b_at, b_shift, b_row, full,
    ):  # fmt: skip
        fetch_a(a_staged, a, a_at, thread, a_shift)
        fetch_b(b_staged, b, b_at, thread, b_shift)
        put_a(shared, _int32(0), thread, a_staged, wide)
        put_b(shared, _int32(b_base), thread, b_staged, wide)
        cuda.syncthreads()
        base = _int32(0)
        for t in range(full):
            more = t + 1 < full
            if more:
                a_shift += _int64(depth) * a_col
                b_shift += _int64(depth) * b_row
                fetch_a(a_staged, a, a_at, thread, a_shift)
                fetch_b(b_staged, b, b_at, thread, b_shift)
            all_steps(total, x, y, shared, base + row, base + _int32(b_base) + col)
            if more:
                base = _int32(stage) - base
                put_a(shared, base, thread, a_staged, wide)
                put_b(shared, base + _int32(b_base), thread, b_staged, wide)
                cuda.syncthreads()

    @cuda.jit(device=True, forceinline=True)
    def by_copies(
        total, x, y, row, col, thread, shared, wide, a_staged, b_staged, a, a_at, a_shift, a_col,
        b, b_at, b_shift, b_row, full,
    ):  # fmt: skip
        to = shared_address(shared)
        for t in range(stages - 1):
            if t < full:
                copy_a(to, _int32(t * stage), thread, a, a_at, a_shift)
                copy_b(to, _int32(t * stage + b_base), thread, b, b_at, b_shift)
                a_shift += _int64(depth) * a_col
                b_shift += _int64(depth) * b_row
            commit_copies()
        base, ahead = _int32(0), _int32((stages - 1) * stage)
        for t in range(full):
            wait()
            cuda.syncthreads()
            if t + (stages - 1) < full:
                copy_a(to, ahead, thread, a, a_at, a_shift)
                copy_b(to, ahead + _int32(b_base), thread, b, b_at, b_shift)
                a_shift += _int64(depth) * a_col
                b_shift += _int64(depth) * b_row
            commit_copies()
            all_steps(total, x, y, shared, base + row, base + _int32(b_base) + col)
            ahead = base
            base = base + _int32(stage) if base < _int32((stages - 1) * stage) else _int32(0)

    run_through = by_copies if stages else through_registers

    @cuda.jit(device=True, forceinline=True)
    def sum_up(
        total, x, y, first_row, first_col, row, col, a, a_first, a_row, a_col,
        b, b_first, b_row, b_col, m, n, k,
    ):  # fmt: skip
        shared = cuda.shared.array(shared_size, held, 16)
        wide = cuda.local.array(run, held)
        a_staged = cuda.local.array(a_staged_size, a_stored)
        b_staged = cuda.local.array(b_staged_size, b_stored)
        a_at = cuda.local.array(a_runs, types.int64)
        b_at = cuda.local.array(b_runs, types.int64)
        thread = _int32(cuda.threadIdx.x)
        if unit_a_row:
            a_row = _int64(1)
        if unit_a_col:
            a_col = _int64(1)
        if unit_b_row:
            b_row = _int64(1)
        if unit_b_col:
            b_col = _int64(1)
        locate_a(a_at, thread, first_row, m, a_row, a_col)
        locate_b(b_at, thread, first_col, n, b_col, b_row)
        full = k // _int32(depth)
        rest = k - full * _int32(depth)
        if rest > 0:
            done = _int64(full * _int32(depth))
            a_shift, b_shift = a_first + done * a_col, b_first + done * b_row
            fetch_a_end(a_staged, a, a_at, thread, a_shift, rest, a_row, a_col)
            fetch_b_end(b_staged, b, b_at, thread, b_shift, rest, b_col, b_row)
            put_a(shared, _int32(0), thread, a_staged, wide)
            put_b(shared, _int32(b_base), thread, b_staged, wide)
            cuda.syncthreads()
            for s in range(rest):
                at = _int32(s)
                step(
                    total, x, y, shared, at * _int32(a_step) + row,
                    _int32(b_base) + at * _int32(b_step) + col,
                )  # fmt: skip
            cuda.syncthreads()
        if full > 0:
            run_through(
                total, x, y, row, col, thread, shared, wide, a_staged, b_staged, a, a_at, a_first,
                a_col, b, b_at, b_first, b_row, full,
            )  # fmt: skip

    return sum_up
