"""How the sums of tensor cores are written: from registers, or by way of shared memory."""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_tensor import move_run, store_pair
from fastmat.cuda.tensor_tiles import swizzle


def unrolled(step, count: int):
    """A device function that calls ``step(0, ...)``, ``step(1, ...)`` ... with its arguments.

    For arrays in registers, which only constants may index: longer loops stay loops.
    """
    if count == 1:

        @cuda.jit(device=True, forceinline=True)
        def run(*args):
            step(0, *args)

        return run

    before, LAST = unrolled(step, count - 1), count - 1

    @cuda.jit(device=True, forceinline=True)
    def run(*args):
        before(*args)
        step(LAST, *args)

    return run


@functools.cache
def writer(out: str, rows: int, columns: int, sixteen: bool, aligned: bool):
    """``write(c, at, stride, high, wide, sums, lane, warp)``: a warp's `rows` x `columns` eights.

    `at` is where its first number goes in `c`; `high` rows and `wide` columns of it exist from
    there on. `sixteen`: a fragment has 16 rows, else 8. `aligned`: places of rows are multiples of
    what is written at once: 16 bytes of halves, else two numbers.
    """
    if element(out).itemsize == 2:
        return _by_shared_memory(out, rows, columns, aligned)
    return _from_registers(out, rows, columns, sixteen, aligned)


def _from_registers(out: str, rows: int, columns: int, sixteen: bool, aligned: bool):
    narrow, store = element(out).narrow, store_pair(out)
    COLUMNS, PAIRS = columns, aligned
    HIGH, WIDE = np.int32(8 * rows), np.int32(8 * columns)
    TWO, THREE = np.uint32(2), np.uint32(3)

    if sixteen:
        PER_FRAGMENT = 4

        @cuda.jit(device=True, forceinline=True)
        def first_of(half):
            return (half >> 1) * COLUMNS * 4 + (half & 1) * 2

    else:
        PER_FRAGMENT = 2

        @cuda.jit(device=True, forceinline=True)
        def first_of(half):
            return half * COLUMNS * 2

    @cuda.jit(device=True, forceinline=True)
    def write_inside(half, c, at, stride, sums):
        row = at + 8 * half * stride
        for eight in range(COLUMNS):
            s = first_of(half) + PER_FRAGMENT * eight
            store(c, row + 8 * eight, sums[s], sums[s + 1])

    @cuda.jit(device=True, forceinline=True)
    def write_number(eight, c, row, left, s, sums):
        now = s + PER_FRAGMENT * eight
        if PAIRS and 8 * eight + 1 < left:
            store(c, row + 8 * eight, sums[now], sums[now + 1])
        else:
            if 8 * eight < left:
                c[row + 8 * eight] = narrow(sums[now])
            if 8 * eight + 1 < left:
                c[row + 8 * eight + 1] = narrow(sums[now + 1])

    write_numbers = unrolled(write_number, columns)

    @cuda.jit(device=True, forceinline=True)
    def write_row(half, c, at, stride, top, left, sums):
        if 8 * half < top:
            write_numbers(c, at + 8 * half * stride, left, first_of(half), sums)

    all_inside, all_rows = unrolled(write_inside, rows), unrolled(write_row, rows)

    @cuda.jit(device=True, forceinline=True)
    def write(c, at, stride, high, wide, sums, lane, warp):
        row, column = np.int32(lane >> TWO), np.int32((lane & THREE) << np.uint32(1))
        at += row * stride + np.int64(column)
        if PAIRS and high >= HIGH and wide >= WIDE:
            all_inside(c, at, stride, sums)
        else:
            all_rows(c, at, stride, np.int32(high - row), np.int32(wide - column), sums)

    return write


def _by_shared_memory(out: str, rows: int, columns: int, aligned: bool):
    """Lines of shared memory hold rows, rounded; chunks of 16 bytes are written from there.

    Nothing else may be in the first ``rows * columns * 128`` bytes for each warp.
    """
    store = store_pair(out)
    COLUMNS, RUNS = columns, aligned
    WIDE, REGION = np.uint32(8 * columns), np.uint32(64 * rows * columns)
    CHUNKS, LINES = np.uint32(columns), 32 // columns  # lines that a warp writes at once
    TURNS = 8 * rows // LINES
    TWO, THREE = np.uint32(2), np.uint32(3)
    permutation = swizzle(columns, False)
    assert columns in (4, 8, 16, 32)

    @cuda.jit(device=True, forceinline=True)
    def stage(half, shared, first, bits, sums):
        for eight in range(COLUMNS):
            s = ((half >> 1) * COLUMNS + eight) * 4 + (half & 1) * 2
            place = np.uint32(first + (bits ^ np.uint32(8 * eight)))
            store(shared, np.uint32(place + np.uint32(8 * half) * WIDE), sums[s], sums[s + 1])

    stage_all = unrolled(stage, rows)

    @cuda.jit(device=True, forceinline=True)
    def write(c, at, stride, high, wide, sums, lane, warp):
        shared = cuda.shared.array(0, types.uint16)
        region = np.uint32(warp * REGION)
        row = lane >> TWO
        first = np.uint32(region + row * WIDE + ((lane & THREE) << np.uint32(1)))
        stage_all(shared, first, np.uint32(permutation(row) << THREE), sums)
        cuda.syncwarp()
        chunk = np.uint32(lane % CHUNKS)
        column = np.int32(chunk << THREE)
        for turn in range(TURNS):
            row = np.uint32(lane // CHUNKS + np.uint32(turn * LINES))
            place = np.uint32(region + row * WIDE + ((chunk ^ permutation(row)) << THREE))
            if np.int32(row) < high:
                to = at + np.int32(row) * stride + np.int64(column)
                if RUNS and column + np.int32(8) <= wide:
                    move_run(c, to, shared, place)
                else:
                    for i in range(min(np.int32(wide - column), np.int32(8))):
                        c[to + i] = shared[np.uint32(place + np.uint32(i))]

    return write
