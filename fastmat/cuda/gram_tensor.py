"""Gram matrices of real numbers on tensor cores, in double precision (DMMA).

What `gram.tiles` computes, where products of float64 are quicker on tensor cores. Of ``xᵀx`` both
factors have the same fragments: of 4 rows of x, a lane has the numbers of a row in some columns.
So both are read from the rows of x as they lie, and the tiles on the diagonal from one copy.
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

THREADS = 128  # 4 warps, of which each has a quarter of a tile: 32 x 32 numbers
BLOCKS = 3  # on a multiprocessor at the same time, if rows are read by runs
_STEP_BYTES = 64  # of a column that are loaded at once
_ROW = TILE + 4  # numbers of a row in shared memory: 4 rows fill the banks of 16 numbers


def depth_of(dtype: str) -> int:
    """How many rows are in shared memory at once."""
    return _STEP_BYTES // ITEMSIZE[dtype]


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
def tiles(dtype: str, instruction: str, run: int, down: bool, narrow: bool) -> Kernel:
    """Tiles on and below the diagonal of xᵀx, of each piece of rows.

    Numbers that no one reads are not written: those above the diagonal by quarters of a tile, and
    quarters beyond the matrix.

    Parameters
    ----------
    dtype
        "float32" or "float64".
    instruction
        As `launch_tensor_core.DOUBLES` has it.
    run, down
        How many numbers of a row, or `down` a column, are read at once: 16 bytes at the most. If
        more than one, they are contiguous and aligned to that; of rows, n is a multiple of it.
    narrow
        Whether there is one tile only. Then the place of the second factor is for more rows.
    """
    kind, wide = getattr(types, dtype), types.float64
    shape = shape_of(instruction)
    depth = depth_of(dtype)
    across, deep = (1, run) if down else (run, 1)  # a run: columns and rows
    runs = TILE // across  # side by side
    at_once = THREADS // runs * deep  # rows
    loads = depth // at_once
    RUN, LOADS, AT_ONCE, NUMBERS = run, loads, at_once, loads * run
    DOWN, SEVERAL = down, run > 1 and not down
    RUNS, ACROSS, DOWN_RUN = np.uint32(runs), np.uint32(across), np.uint32(deep)
    DEPTH, STEPS = np.int32(depth), depth // 4
    TILE_OF = np.int64(TILE)
    ROW, ROWS_AT_ONCE, FOUR_ROWS = np.uint32(_ROW), np.uint32(at_once * _ROW), np.uint32(4 * _ROW)
    NARROW, WHOLE = narrow, np.int32(run)
    PANELS = 2 if narrow else 1  # of a factor
    DEEP = np.int32(PANELS * depth)
    PANEL, STAGE = np.uint32(depth * _ROW), np.uint32(2 * depth * _ROW)
    OF_C = shape.of_c
    HIGH = shape.rows // 8  # fragments of eight columns of x that are one of a
    zero, empty, none = np.dtype(dtype).type(0), np.float64(0), np.int32(0)
    multiply = multiply_fragments(instruction, 4 // HIGH, 4)
    put_pair = store_pair("float64")
    assert STEPS in (2, 4)

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
        if STEPS == 4:
            add_rows(sums, shared, of_a, of_b, left, right, apart, 2)
            add_rows(sums, shared, of_a, of_b, left, right, apart, 3)

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
        number, count = np.uint32(cuda.blockIdx.y), np.uint32(cuda.gridDim.x)
        # Not the same tile, and not the same quarters for a warp, in each piece: what there is to
        # do differs, and should not for multiprocessors and their parts.
        tile = np.int64(0)
        if not NARROW:
            tile = np.int64((np.uint32(cuda.blockIdx.x) + number) % count)
        quarter = (warp + number + (number >> np.uint32(2))) & np.uint32(3)
        below = np.int64(0)  # row of the tile among tiles: those before it are of fewer columns
        if not NARROW:
            while (below + 1) * (below + 2) // 2 <= tile:
                below += 1
        across = tile - below * (below + 1) // 2
        apart = False if NARROW else below != across
        second = NARROW or apart
        down = np.uint32((quarter >> np.uint32(1)) << np.uint32(5))
        along = np.uint32((quarter & np.uint32(1)) << np.uint32(5))
        needed = below * TILE_OF + np.int64(down) < n and across * TILE_OF + np.int64(along) < n
        needed = needed and (apart or down >= along)

        row = np.int32((thread // RUNS) * DOWN_RUN)
        column = np.uint32((thread % RUNS) * ACROSS)
        first = np.int64(number) * piece
        left = np.int32(min(m - first, piece))
        at = (first + np.int64(row)) * row_step
        a_column, b_column = below * TILE_OF + np.int64(column), across * TILE_OF + np.int64(column)
        load_step, step = np.int64(AT_ONCE) * row_step, np.int64(DEEP) * row_step
        a_at, b_at = at + a_column * column_step, at + b_column * column_step
        # No rows for what lies beyond the matrix.
        a_left = left if a_column < n else none
        b_left = left if b_column < n else none
        if NARROW:
            b_at += np.int64(DEPTH) * row_step
            b_left = np.int32(b_left - DEPTH)

        # Places in shared memory: where this thread stores, and where it reads fragments.
        line = np.uint32(row) * ROW
        here = np.uint32(line + _place(column))
        there = np.uint32(line + _place(np.uint32(column | np.uint32(2))))
        group = np.uint32((lane >> np.uint32(2)) << np.uint32(2))
        line = np.uint32((lane & np.uint32(3)) * ROW + _place(group))
        from_left = np.uint32(line + down)
        from_right = np.uint32(line + along + (PANEL if apart else np.uint32(0)))
        between = np.uint32(_place(np.uint32(group | np.uint32(2))) - _place(group))

        for e in range(32):
            sums[e] = empty
        load(to_left, x, a_at, load_step, row, a_left)
        store(shared, here, there, to_left)
        if second:
            load(to_right, x, b_at, load_step, row, b_left)
            store(shared, np.uint32(here + PANEL), np.uint32(there + PANEL), to_right)
        cuda.syncthreads()
        used = np.uint32(0)
        while left > 0:
            # The next rows are on their way while these are multiplied.
            left = np.int32(left - DEEP)
            a_left = np.int32(a_left - DEEP)
            b_left = np.int32(b_left - DEEP)
            a_at += step
            b_at += step
            load(to_left, x, a_at, load_step, row, a_left)
            if second:
                load(to_right, x, b_at, load_step, row, b_left)
            if needed:
                a_from, b_from = np.uint32(used + from_left), np.uint32(used + from_right)
                add(sums, shared, of_a, of_b, a_from, b_from, between)
                if NARROW:
                    a_from, b_from = np.uint32(a_from + PANEL), np.uint32(b_from + PANEL)
                    add(sums, shared, of_a, of_b, a_from, b_from, between)
            used = np.uint32(used ^ STAGE)
            if left > 0:  # a branch: nothing is converted, and so awaited, before products
                store(shared, np.uint32(used + here), np.uint32(used + there), to_left)
                if second:
                    beside = np.uint32(used + PANEL)
                    store(shared, np.uint32(beside + here), np.uint32(beside + there), to_right)
            cuda.syncthreads()

        if needed:
            # A lane has the sums of columns 4 g ... 4 g + 3 with 8 t ... 8 t + 7.
            line = np.uint32(down + group) * np.uint32(TILE)
            line = np.uint32(line + along + ((lane & np.uint32(3)) << np.uint32(3)))
            base = (np.int64(number) * np.int64(count) + tile) * (TILE_OF * TILE_OF)
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
        name=f"gram_tiles {dtype} {instruction} {run} {down} {narrow}",
        threads=THREADS,
        blocks=BLOCKS if run > 1 else 2,
        shared=4 * depth * _ROW * 8,
    )
