"""Gram matrices of real numbers on tensor cores, in double precision (DMMA).

What `gram.tiles` computes, where products of float64 are quicker on tensor cores. Of ``xᵀx`` both
factors have the same fragments: of 4 rows of x, a lane has the numbers of a row in some columns.
So both are read from the rows of x as they lie, and tiles on the diagonal need one copy.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.arrays import ITEMSIZE
from fastmat.cuda.gram import TILE
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.intrinsics_tensor import multiply_fragments, shape_of, store_pair
from fastmat.cuda.kernel import Kernel

_QUARTERS = 4  # of a tile, 32 x 32 numbers each: a warp has one
_ON_DIAGONAL = 3  # of which there are, as the fourth is above it
_PLACES = {True: 4, False: 3}  # blocks on a multiprocessor, on the diagonal and below it
_ROW = TILE + 4  # numbers of a row in shared memory: 4 rows fill the banks of 16 numbers


def depth_of(dtype: str, diagonal: bool) -> int:
    """How many rows are in shared memory at once: a thread loads 16 bytes four times for them."""
    return (96 if diagonal else 64) // ITEMSIZE[dtype]


@cuda.jit(device=True, forceinline=True)
def _place(column):
    """Where a column lies in a row in shared memory.

    Of 32 columns, those that differ by 1, 2 and 3 from a multiple of 4 are in fragments of their
    own: column 4 g + 2 f + h is number g of fragment 2 f + h. A lane reads two fragments at once
    (h), and stores two or four neighbours, without conflicts of banks (that is the XOR).
    """
    f = (column >> np.uint32(1)) & np.uint32(1)
    g = ((column >> np.uint32(2)) & np.uint32(7)) ^ (f << np.uint32(2))
    place = (column & np.uint32(32)) + (f << np.uint32(4)) + (g << np.uint32(1))
    return np.uint32(place + (column & np.uint32(1)))


@functools.cache
def tiles(dtype: str, instruction: str, run: int, down: bool, diagonal: bool) -> Kernel:
    """Tiles of xᵀx of each piece of rows: those on the diagonal, or those below it.

    Quarters of tiles above the diagonal or beyond the matrix are not written. Kernels of their own,
    so that each warp has something to do: a warp that has not leaves its part of the
    multiprocessor idle as long as its block runs.

    Parameters
    ----------
    dtype
        "float32" or "float64".
    instruction
        As `launch_tensor_core.DOUBLES` has it.
    run, down
        How many numbers of a row, or `down` a column, are read at once: 16 bytes at the most. If
        more than one, they are contiguous and aligned to that; of rows, n is a multiple of it.
    diagonal
        Which tiles.
    """
    kind, wide = getattr(types, dtype), types.float64
    shape = shape_of(instruction)
    depth = depth_of(dtype, diagonal)
    warps = _ON_DIAGONAL if diagonal else _QUARTERS
    across, deep = (1, run) if down else (run, 1)  # a run: columns and rows
    runs = TILE // across  # side by side
    at_once = 32 * warps // runs * deep  # rows
    loaders = 32 * warps // runs * runs  # threads
    loads = depth // at_once
    RUN, LOADS, AT_ONCE, NUMBERS = run, loads, at_once, loads * run
    DOWN, SEVERAL = down, run > 1 and not down
    RUNS, ACROSS, DOWN_RUN = np.uint32(runs), np.uint32(across), np.uint32(deep)
    ALL, LOADERS, WARPS = loaders == 32 * warps, np.uint32(loaders), np.uint32(warps)
    DEPTH, STEPS = np.int32(depth), depth // 4
    TILE_OF = np.int64(TILE)
    ROW, ROWS_AT_ONCE, FOUR_ROWS = np.uint32(_ROW), np.uint32(at_once * _ROW), np.uint32(4 * _ROW)
    DIAGONAL, WHOLE = diagonal, np.int32(run)
    PANEL = np.uint32(0 if diagonal else depth * _ROW)  # from the rows of the first factor
    STAGE = np.uint32((1 if diagonal else 2) * depth * _ROW)
    OF_C = shape.of_c
    HIGH = shape.rows // 8  # fragments of eight columns of x that are one of a
    zero, empty, none = np.dtype(dtype).type(0), np.float64(0), np.int32(0)
    multiply = multiply_fragments(instruction, 4 // HIGH, 4)
    put_pair = store_pair("float64")
    assert STEPS in (2, 3, 4, 6)
    assert depth == loads * at_once

    @cuda.jit(device=True, forceinline=True)
    def load(target, x, at, step, row, left):
        """Rows `row`, `row` + AT_ONCE ... of which there are `left`; zeros for the others."""
        for i in range(LOADS):
            for p in range(RUN):
                target[i * RUN + p] = zero
            here = np.int32(row + np.int32(i * AT_ONCE))
            if DOWN:
                if here + WHOLE <= left:
                    load_run(target, i * RUN, x, at, RUN)
                else:
                    for p in range(RUN - 1):
                        if here + np.int32(p) < left:
                            target[i * RUN + p] = x[at + p]
            elif here < left:
                load_run(target, i * RUN, x, at, RUN)
            at += step

    @cuda.jit(device=True, forceinline=True)
    def store(shared, first, second, source):
        """To shared memory, in double precision: neighbours at `first`, the next two `second`."""
        for i in range(LOADS):
            below = np.uint32(i) * ROWS_AT_ONCE
            if not SEVERAL:
                for p in range(RUN):
                    at = np.uint32(first + below + np.uint32(p) * ROW)
                    shared[at] = wide(source[i * RUN + p])
            else:
                x, y = wide(source[i * RUN]), wide(source[i * RUN + 1])
                put_pair(shared, np.uint32(first + below), x, y)
            if SEVERAL and RUN == 4:
                x, y = wide(source[4 * i + 2]), wide(source[4 * i + 3])
                put_pair(shared, np.uint32(second + below), x, y)

    @cuda.jit(device=True, forceinline=True)
    def add_rows(sums, shared, of_a, of_b, left, right, apart, step):
        """The products of four rows."""
        below = np.uint32(step) * FOUR_ROWS
        load_run(of_a, 0, shared, np.uint32(left + below), 2)
        load_run(of_b, 0, shared, np.uint32(right + below), 2)
        load_run(of_a, 2, shared, np.uint32(left + apart + below), 2)
        load_run(of_b, 2, shared, np.uint32(right + apart + below), 2)
        multiply(sums, of_a, 0, of_b, 0)

    @cuda.jit(device=True, forceinline=True)
    def add(sums, shared, of_a, of_b, left, right, apart):
        """The products of the rows of a panel."""
        add_rows(sums, shared, of_a, of_b, left, right, apart, 0)
        add_rows(sums, shared, of_a, of_b, left, right, apart, 1)
        if STEPS > 2:
            add_rows(sums, shared, of_a, of_b, left, right, apart, 2)
        if STEPS > 3:
            add_rows(sums, shared, of_a, of_b, left, right, apart, 3)
        if STEPS > 4:
            add_rows(sums, shared, of_a, of_b, left, right, apart, 4)
            add_rows(sums, shared, of_a, of_b, left, right, apart, 5)

    def gram_tiles(
        x,  # in (m, n)
        m,
        n,
        row_step,
        column_step,
        piece,  # rows of each
        result,  # out (pieces, tiles, TILE, TILE)
    ):
        shared = cuda.shared.array(0, wide)
        sums = cuda.local.array(32, wide)
        of_a = cuda.local.array(4, wide)
        of_b = cuda.local.array(4, wide)
        to_left = cuda.local.array(NUMBERS, kind)
        to_right = cuda.local.array(NUMBERS, kind)
        thread = np.uint32(cuda.threadIdx.x)
        lane, warp = thread & np.uint32(31), thread >> np.uint32(5)
        number, side = np.int64(cuda.blockIdx.y), (n + TILE_OF - 1) // TILE_OF
        below = np.int64(cuda.blockIdx.x)
        across = below
        if not DIAGONAL:
            below = np.int64(1)  # row of the tile: those before it have below (below - 1) / 2
            while below * (below + 1) // 2 <= across:
                below += 1
            across -= below * (below - 1) // 2
        # Another quarter for a warp in each piece: some have nothing to do at the matrix' end.
        quarter = np.uint32((warp + np.uint32(number)) % WARPS)
        if DIAGONAL:
            quarter = np.uint32(quarter + (np.uint32(1) if quarter > 0 else np.uint32(0)))
        down = np.uint32((quarter >> np.uint32(1)) << np.uint32(5))
        along = np.uint32((quarter & np.uint32(1)) << np.uint32(5))
        needed = below * TILE_OF + np.int64(down) < n

        row = np.int32((thread // RUNS) * DOWN_RUN)
        column = np.uint32((thread % RUNS) * ACROSS)
        loads_some = ALL or thread < LOADERS
        first = number * piece
        left = np.int32(min(m - first, piece))
        at = (first + np.int64(row)) * row_step
        a_column, b_column = below * TILE_OF + np.int64(column), across * TILE_OF + np.int64(column)
        load_step, step = np.int64(AT_ONCE) * row_step, np.int64(DEPTH) * row_step
        a_at, b_at = at + a_column * column_step, at + b_column * column_step
        a_left = left if a_column < n else none  # nothing is read beyond the matrix

        # Places in shared memory: where this thread stores, and where it reads fragments.
        line = np.uint32(row) * ROW
        here = np.uint32(line + _place(column))
        there = np.uint32(line + _place(np.uint32(column | np.uint32(2))))
        group = np.uint32((lane >> np.uint32(2)) << np.uint32(2))
        line = np.uint32((lane & np.uint32(3)) * ROW + _place(group))
        from_left = np.uint32(line + down)
        from_right = np.uint32(line + along + PANEL)
        between = np.uint32(_place(np.uint32(group | np.uint32(2))) - _place(group))

        for e in range(32):
            sums[e] = empty
        if loads_some:
            load(to_left, x, a_at, load_step, row, a_left)
            store(shared, here, there, to_left)
            if not DIAGONAL:
                load(to_right, x, b_at, load_step, row, left)
                store(shared, np.uint32(here + PANEL), np.uint32(there + PANEL), to_right)
        cuda.syncthreads()
        used = np.uint32(0)
        while left > 0:
            # The next rows are on their way while these are multiplied.
            left = np.int32(left - DEPTH)
            a_left = np.int32(a_left - DEPTH)
            a_at += step
            b_at += step
            if loads_some:
                load(to_left, x, a_at, load_step, row, a_left)
                if not DIAGONAL:
                    load(to_right, x, b_at, load_step, row, left)
            if needed:
                a_from, b_from = np.uint32(used + from_left), np.uint32(used + from_right)
                add(sums, shared, of_a, of_b, a_from, b_from, between)
            used = np.uint32(STAGE - used)
            if left > 0:  # a branch: nothing is converted, and so awaited, before products
                if loads_some:
                    store(shared, np.uint32(used + here), np.uint32(used + there), to_left)
                    if not DIAGONAL:
                        beside = np.uint32(used + PANEL)
                        store(shared, np.uint32(beside + here), np.uint32(beside + there), to_right)
            cuda.syncthreads()

        if needed:
            # A lane has the sums of columns 4 g ... 4 g + 3 with 8 t ... 8 t + 7.
            line = np.uint32(down + group) * np.uint32(TILE)
            line = np.uint32(line + along + ((lane & np.uint32(3)) << np.uint32(3)))
            tile = below * (below + 1) // 2 + across
            base = (number * (side * (side + 1) // 2) + tile) * (TILE_OF * TILE_OF)
            base += np.int64(line)
            for e in range(4):
                for half in range(2):
                    for b in range(4):
                        place = ((e // HIGH) * 4 + b) * OF_C + 2 * (e % HIGH) + half
                        of_a[b] = sums[place]
                    store_run(result, base + (e * TILE + 4 * half), of_a, 0, 2)
                    store_run(result, base + (e * TILE + 4 * half + 2), of_a, 2, 2)

    return Kernel(
        gram_tiles,
        (f"{dtype}*", *["int64"] * 5, "float64*"),
        name=f"gram_tiles {dtype} {instruction} {run} {down} {diagonal}",
        threads=32 * warps,
        blocks=_PLACES[diagonal] if run > 1 else 2,
        shared=2 * int(STAGE) * 8,
    )
