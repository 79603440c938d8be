"""Rows of a tall matrix times the inverse of a triangular one, in double precision.

By panels of columns: what the columns before a panel explain is subtracted by tiles, and the rest
is solved by substitution, one row a thread.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.gram import DEPTH, THREADS, TILE, WIDE
from fastmat.cuda.kernel import Kernel

ROWS = 64  # that a block solves, one a thread
_STEP = 4  # columns that are solved at once
_PADDED = TILE + 1  # against conflicts of banks


def panel_of(dtype: str) -> int:
    """How many columns of ROWS rows lie in shared memory, as doubles."""
    return 32 if dtype.startswith("complex") else 64


@functools.cache
def subtract(dtype: str) -> Kernel:
    """rest = x - q r, of which x and q have a dtype, and the others its double precision."""
    wide = getattr(types, WIDE[dtype])
    zero = np.dtype(WIDE[dtype]).type(0)
    loads = DEPTH * TILE // THREADS

    def qr_subtract(
        x,  # in (m, n)
        m,
        n,
        x_row,
        x_column,
        q,  # in (m, depth)
        depth,
        q_row,
        q_column,
        r,  # in (depth, n), rows of r_row numbers
        r_row,
        rest,  # out (m, n), rows of rest_row numbers
        rest_row,
    ):
        left = cuda.shared.array((DEPTH, _PADDED), wide)
        right = cuda.shared.array((DEPTH, TILE), wide)
        found = cuda.local.array(16, wide)
        a = cuda.local.array(4, wide)
        thread = types.int32(cuda.threadIdx.x)
        ty, tx = thread // types.int32(16), thread % types.int32(16)
        top = types.int64(cuda.blockIdx.x) * TILE
        begin = types.int64(cuda.blockIdx.y) * TILE
        for e in range(16):
            found[e] = zero
        for start in range(0, depth, DEPTH):
            for i in range(loads):
                k = thread % types.int32(DEPTH)
                c = thread // types.int32(DEPTH) + types.int32(i * (THREADS // DEPTH))
                row, step = top + types.int64(c), start + types.int64(k)
                left[k, c] = zero
                if row < m and step < depth:
                    left[k, c] = wide(q[row * q_row + step * q_column])
                k = thread // types.int32(TILE) + types.int32(i * (THREADS // TILE))
                c = thread % types.int32(TILE)
                step, column = start + types.int64(k), begin + types.int64(c)
                right[k, c] = zero
                if step < depth and column < n:
                    right[k, c] = r[step * r_row + column]
            cuda.syncthreads()
            for k in range(DEPTH):
                for i in range(4):
                    a[i] = left[k, ty + 16 * i]
                for j in range(4):
                    b = right[k, tx + 16 * j]
                    for i in range(4):
                        found[4 * i + j] += a[i] * b
            cuda.syncthreads()
        for i in range(4):
            for j in range(4):
                row = top + types.int64(ty + 16 * i)
                column = begin + types.int64(tx + 16 * j)
                if row < m and column < n:
                    number = wide(x[row * x_row + column * x_column])
                    rest[row * rest_row + column] = number - found[4 * i + j]

    one, double = f"{dtype}*", f"{WIDE[dtype]}*"
    return Kernel(
        qr_subtract,
        (
            *(one, *["int64"] * 4),
            *(one, *["int64"] * 3),
            *(double, "int64"),
            *(double, "int64"),
        ),
        name=f"qr_subtract_{dtype}",
        threads=THREADS,
    )


@functools.cache
def solve_rows(given: str, dtype: str) -> Kernel:
    """q r = x for a panel of columns; `given` is the dtype of x, `dtype` that of q."""
    wide = getattr(types, WIDE[dtype])
    kind = getattr(types, dtype)
    zero = np.dtype(WIDE[dtype]).type(0)
    panel = panel_of(dtype)
    at_once = ROWS // panel  # rows that the block loads at once
    stride = ROWS + 1

    def qr_solve_rows(
        x,  # in (m, n), n <= panel
        m,
        n,
        x_row,
        x_column,
        r,  # in (padded, padded), to multiples of _STEP, with 1 over the numbers on its diagonal
        r_row,
        q,  # out (m, n)
        q_row,
        q_column,
    ):
        rows = cuda.shared.array((panel, stride), wide)
        found = cuda.local.array(_STEP, wide)
        thread = types.int32(cuda.threadIdx.x)
        column, above = thread % types.int32(panel), thread // types.int32(panel)
        top = types.int64(cuda.blockIdx.x) * ROWS + above
        for i in range(0, ROWS, at_once):
            number = zero
            if top + i < m and column < n:
                number = wide(x[(top + i) * x_row + column * x_column])
            rows[column, above + i] = number
        cuda.syncthreads()
        for j in range(0, n, _STEP):
            for c in range(_STEP):
                found[c] = rows[j + c, thread]
            for i in range(j):
                number = rows[i, thread]
                for c in range(_STEP):
                    found[c] -= number * r[i * r_row + j + c]
            for c in range(_STEP):
                for i in range(c):
                    found[c] -= found[i] * r[(j + i) * r_row + j + c]
                found[c] = found[c] * r[(j + c) * r_row + j + c]
            for c in range(_STEP):
                rows[j + c, thread] = found[c]
        cuda.syncthreads()
        for i in range(0, ROWS, at_once):
            if top + i < m and column < n:
                q[(top + i) * q_row + column * q_column] = kind(rows[column, above + i])

    return Kernel(
        qr_solve_rows,
        (
            *(f"{given}*", *["int64"] * 4),
            *(f"{WIDE[dtype]}*", "int64"),
            *(f"{dtype}*", "int64", "int64"),
        ),
        name=f"qr_solve_rows_{given}_{dtype}",
        threads=ROWS,
    )
