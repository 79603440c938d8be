"""Products on the general cores of GPUs, for every dtype, semiring, layout, mask and epilogue."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import as_it_is
from fastmat.cuda.finishing import Finish, finish_arguments, finishing
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.intrinsics_tensor import commit_copies, shared_address, wait_for_copies
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.panels import Panel, panel_functions, pitch
from fastmat.cuda.semirings import Reading, Ring, writing

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
    blocks: int = 1  # that a multiprocessor has to hold
    stages: int = 0  # of copies to shared memory on their way; 0: by way of registers

    @property
    def threads(self) -> int:
        return self.rows * self.cols // (self.thread_rows * self.thread_cols)


class Layout(NamedTuple):
    """How an operand lies in memory.

    Parameters
    ----------
    along_k
        Whether what is summed over is side by side, or closer than the rest.
    vector
        Whether what is side by side is read in runs: then its step is 1, the other steps are
        multiples of a run, and so is the length, unless it is that of k.
    """

    along_k: bool
    vector: bool


class Variant(NamedTuple):
    """What code depends on, beside dtypes, semiring and tile."""

    a: Layout
    b: Layout
    c_vector: bool  # rows of the result are written in runs
    axes: int = 0  # of the stack: 0, 1 or 3
    split: bool = False  # sums over parts of k go to scratch memory
    swapped: bool = False  # operands are given in the other order, and transposed
    finish: Finish = Finish()


def run_of(held: Any) -> int:
    """How many numbers lie in 16 bytes of shared memory."""
    return max(1, 128 // held.bitwidth)


@cuda.jit(device=True, forceinline=True)
def _only_item(item, n_1, n_2):
    return _int64(0), _int64(0), _int64(0)


@cuda.jit(device=True, forceinline=True)
def _of_one_axis(item, n_1, n_2):
    return _int64(0), _int64(0), _int64(item)


@cuda.jit(device=True, forceinline=True)
def _of_three_axes(item, n_1, n_2):
    rest = item // n_2
    return _int64(rest // n_1), _int64(rest % n_1), _int64(item % n_2)


ITEMS = {0: _only_item, 1: _of_one_axis, 3: _of_three_axes}


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


def summing(tile: Tile, ring: Ring, a_read: Reading, b_read: Reading, variant: Variant) -> Any:
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
    for length, layout in ((rows, variant.a), (cols, variant.b)):
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
        variant.a.vector and not variant.a.along_k,
        variant.a.vector and variant.a.along_k,
        variant.b.vector and variant.b.along_k,
        variant.b.vector and not variant.b.along_k,
    )
    step, all_steps = stepping(tile, ring, variant.swapped)

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


def tile_grid(
    tile: Tile, m: int, n: int, items: int, parts: int = 0
) -> tuple[tuple[int, int, int], int]:
    """The grid of a product, and the number of rows of tiles in a band, as a power of 2.

    Bands, side by side, keep blocks that run at the same time on few panels of either operand.
    `parts` of the sums, if they are split, stand where the bands are otherwise.
    """
    down, across = -(-m // tile.rows), -(-n // tile.cols)
    band = (down - 1).bit_length() if parts else min(3, (down - 1).bit_length())
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
    sum_up = summing(tile, ring, a_read, b_read, variant)
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
