"""Gram matrices of tall matrices, in double precision: tiles by pieces of rows, added up in order.

The Gram matrix squares the condition of a matrix. In double precision that of float32 numbers is
as good as exact, and their squares neither overflow nor underflow.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.kernel import Kernel

TILE = 64  # columns on each side of a tile
DEPTH = 16  # rows that are in shared memory at once
THREADS = 256  # 16 x 16, of which each has 4 x 4 numbers
LANES = 32  # numbers of a row that a block adds up
_GROUPS = THREADS // LANES  # of pieces

WIDE = {
    "float32": "float64",
    "float64": "float64",
    "complex64": "complex128",
    "complex128": "complex128",
}


@functools.cache
def conjugate(dtype: str):
    """The conjugate of a number of a dtype, a device function."""
    if not dtype.startswith("complex"):
        return cuda.jit(device=True)(lambda x: x)
    kind = getattr(types, dtype)
    return cuda.jit(device=True)(lambda x: kind(complex(x.real, -x.imag)))


@functools.cache
def tiles(dtype: str) -> Kernel:
    """Tiles on and below the diagonal of xᴴx, of each piece of rows.

    On the general cores; `gram_tensor.tiles` takes the place of this where it can.
    """
    wide = getattr(types, WIDE[dtype])
    conj = conjugate(WIDE[dtype])
    loads = DEPTH * TILE // THREADS
    zero = np.dtype(WIDE[dtype]).type(0)

    @cuda.jit(device=True)
    def load(target, x, first, last, row_step, begin, n, column_step, thread):
        """Some rows of the columns of a tile; 0 beyond the matrix."""
        for i in range(loads):
            k = thread // TILE + i * (THREADS // TILE)
            c = thread % TILE
            row, column = first + types.int64(k), begin + types.int64(c)
            if row < last and column < n:
                target[k, c] = wide(x[row * row_step + column * column_step])
            else:
                target[k, c] = zero

    def gram_tiles(
        x,  # in (m, n)
        m,
        n,
        row_step,
        column_step,
        piece,  # rows of each
        sums,  # out (pieces, tiles, TILE, TILE)
    ):
        left = cuda.shared.array((DEPTH, TILE), wide)
        right = cuda.shared.array((DEPTH, TILE), wide)
        found = cuda.local.array(16, wide)
        a = cuda.local.array(4, wide)
        thread = types.int32(cuda.threadIdx.x)
        ty, tx = thread // types.int32(16), thread % types.int32(16)
        tile = types.int64(cuda.blockIdx.x)
        below = types.int64(0)  # row of the tile among tiles: those before it are of fewer columns
        while (below + 1) * (below + 2) // 2 <= tile:
            below += 1
        across = tile - below * (below + 1) // 2
        first = types.int64(cuda.blockIdx.y) * piece
        last = min(m, first + piece)
        for e in range(16):
            found[e] = zero
        for start in range(first, last, DEPTH):
            load(left, x, start, last, row_step, below * TILE, n, column_step, thread)
            load(right, x, start, last, row_step, across * TILE, n, column_step, thread)
            cuda.syncthreads()
            for k in range(DEPTH):
                for i in range(4):
                    a[i] = conj(left[k, ty + 16 * i])
                for j in range(4):
                    b = right[k, tx + 16 * j]
                    for i in range(4):
                        found[4 * i + j] += a[i] * b
            cuda.syncthreads()
        base = (types.int64(cuda.blockIdx.y) * types.int64(cuda.gridDim.x) + tile) * (TILE * TILE)
        for i in range(4):
            for j in range(4):
                sums[base + (ty + 16 * i) * TILE + tx + 16 * j] = found[4 * i + j]

    pointers = f"{dtype}*", f"{WIDE[dtype]}*"
    return Kernel(
        gram_tiles,
        (pointers[0], *["int64"] * 5, pointers[1]),
        name=f"gram_tiles_{dtype}",
        threads=THREADS,
    )


@functools.cache
def add_up(dtype: str, out: str) -> Kernel:
    """The pieces of a Gram matrix added up in order, on both sides of the diagonal.

    `dtype` is that of the sums, `out` that of the result. What additions lose is added in the end.
    A block adds up some numbers of a row, each group of its threads those of some pieces.
    """
    conj = conjugate(dtype)
    kind, narrow = getattr(types, dtype), getattr(types, out)
    zero = np.dtype(dtype).type(0)
    is_complex = dtype.startswith("complex")

    @cuda.jit(device=True)
    def add(total, lost, term):
        """The sum, and what it has too much."""
        term -= lost
        after = total + term
        lost = (after - total) - term
        if lost != lost:  # of what is not finite
            lost = zero
        return after, lost

    def gram_add_up(
        sums,  # in (pieces, tiles, TILE, TILE)
        pieces,
        tiles,
        n,
        result,  # out (n, n)
    ):
        totals = cuda.shared.array(THREADS, kind)
        losses = cuda.shared.array(THREADS, kind)
        thread = types.int64(cuda.threadIdx.x)
        group = thread // LANES
        i = types.int64(cuda.blockIdx.y)
        j = types.int64(cuda.blockIdx.x) * LANES + thread % LANES
        if types.int64(cuda.blockIdx.x) * LANES > i:
            return
        below, across = i // TILE, j // TILE
        tile = below * (below + 1) // 2 + across
        start = tile * (TILE * TILE) + (i % TILE) * TILE + j % TILE
        total, lost = zero, zero
        share = (pieces + _GROUPS - 1) // _GROUPS
        if j <= i:
            for piece in range(group * share, min(pieces, (group + 1) * share)):
                total, lost = add(total, lost, sums[start + piece * tiles * (TILE * TILE)])
        totals[thread] = total
        losses[thread] = lost
        cuda.syncthreads()
        if group > 0 or j > i:
            return
        for other in range(1, _GROUPS):
            lost += losses[thread + other * LANES]
            total, lost = add(total, lost, totals[thread + other * LANES])
        if is_complex:
            if i == j:
                total = kind(complex(total.real, 0.0))
        result[j * n + i] = narrow(conj(total))
        result[i * n + j] = narrow(total)

    return Kernel(
        gram_add_up,
        (f"{dtype}*", "int64", "int64", "int64", f"{out}*"),
        name=f"gram_add_up_{dtype}_{out}",
        threads=THREADS,
    )


@functools.cache
def mirror(dtype: str) -> Kernel:
    """Make a matrix Hermitian: what is above the diagonal is taken from below."""
    conj = conjugate(dtype) if dtype.startswith("complex") else None
    kind = getattr(types, dtype)
    real = {"complex64": types.float32, "complex128": types.float64}.get(dtype)

    def gram_mirror(
        c,  # inout (count, n, n)
        n,
        row_step,
        column_step,
        item_step,
    ):
        at = types.int64(cuda.blockIdx.x) * THREADS + types.int64(cuda.threadIdx.x)
        i, j = at // n, at % n
        if i >= n or j > i:
            return
        base = types.int64(cuda.blockIdx.y) * item_step
        number = c[base + i * row_step + j * column_step]
        if conj is not None:
            if i == j:
                number = kind(complex(number.real, real(0)))
                c[base + i * row_step + j * column_step] = number
            c[base + j * row_step + i * column_step] = conj(number)
        else:
            c[base + j * row_step + i * column_step] = number

    return Kernel(
        gram_mirror,
        (f"{dtype}*", *["int64"] * 4),
        name=f"gram_mirror_{dtype}",
        threads=THREADS,
    )
