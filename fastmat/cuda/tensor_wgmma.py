"""Products of halves by warpgroups (wgmma), with float32 sums: compute capability 9.0."""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_tensor import commit_copies, shared_address, wait_for_copies
from fastmat.cuda.intrinsics_wgmma import (
    begin_products,
    commit_products,
    fence_for_products,
    multiply_tiles,
    wait_for_products,
)
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.tensor_results import writer
from fastmat.cuda.tensor_tiles import Tile, block_order, filler, layout

SLACK = 1024  # bytes: tiles lie at multiples of it, and shared memory may not begin at one
_SWIZZLED = 1 << 62  # lines of 128 bytes whose chunks are XORed with the number of the line
_GROUP = 1024 >> 4 << 32  # from 8 lines to the next 8, as descriptors have it


@functools.cache
def kernel(
    dtype: str,
    out: str,
    a_along_k: bool,
    b_along_k: bool,
    tile: Tile,
    width: int = 16,
    aligned: bool = True,
    fenced: bool = True,
) -> Kernel:
    """c = a @ b, for each item of a batch; arguments as those of `tensor_mma.kernel`.

    Each warpgroup, of 128 threads, computes `tile.warp_rows` (64) rows of all columns.
    """
    threads = tile.rows // tile.warp_rows * 128
    A = layout(a_along_k, tile.rows, tile.depth, 2, not a_along_k)
    B = layout(b_along_k, tile.columns, tile.depth, 2, not b_along_k)
    first_a, fill_a = filler(A, threads, False, width)
    first_b, fill_b = filler(B, threads, False, width)
    multiply = multiply_tiles(dtype, tile.columns, not a_along_k, not b_along_k)
    first_of = block_order(tile.rows, tile.columns, tile.group)
    SUMS = tile.columns // 2
    DEPTH = np.int32(tile.depth)
    # While a tile is multiplied, and the one before perhaps still is, this many are on their way.
    AHEAD = tile.stages - 2
    LEFT_BEHIND = np.int32(-AHEAD * tile.depth)  # when nothing is left to multiply
    SIZE_A, STAGE = np.uint32(A.size), np.uint32(A.size + B.size)
    LAST = np.uint32((tile.stages - 1) * (A.size + B.size))
    ROWS, COLUMNS = np.int32(tile.rows), np.int32(tile.columns)
    # Of descriptors: what is always the same, and a step along k.
    BLOCK = tile.depth * 128
    LAYOUT_A = np.uint64(_SWIZZLED | _GROUP | ((1 if a_along_k else BLOCK >> 4) << 16))
    LAYOUT_B = np.uint64(_SWIZZLED | _GROUP | ((1 if b_along_k else BLOCK >> 4) << 16))
    STEP_A = np.uint64(2 if a_along_k else 2048 >> 4)
    STEP_B = np.uint64(2 if b_along_k else 2048 >> 4)
    OF_GROUP = np.uint32(64 * 128 if a_along_k else BLOCK)
    K_OF_A = 1 if a_along_k else 0
    K_OF_B = 1 if b_along_k else 0
    write = writer(out, 2, tile.columns // 8, True, aligned)
    wait = wait_for_copies(AHEAD - 1)
    wait_for_copies_at_last = wait_for_copies(0)
    wait_for_all = wait_for_products(0)
    wait_for_others = wait_for_products(1)
    ALIGN, IN_16 = np.uint32(SLACK - 1), np.uint32(0x3FFF)
    FENCED = 1 if fenced else 0
    assert tile.depth == tile.warp_rows == 64
    assert tile.stages >= 3

    @cuda.jit(device=True, forceinline=True)
    def fill(to, a, a_at, a_stride, rows, b, b_at, b_stride, columns, left, inside, thread):
        full = inside and left >= DEPTH
        if K_OF_A:
            fill_a(to, a, a_at, a_stride, rows, left, full, thread)
        else:
            fill_a(to, a, a_at, a_stride, left, rows, full, thread)
        if K_OF_B:
            fill_b(to + SIZE_A, b, b_at, b_stride, columns, left, full, thread)
        else:
            fill_b(to + SIZE_A, b, b_at, b_stride, left, columns, full, thread)
        commit_copies()

    def product(
        a,  # in (batch, m, k)
        b,  # in (batch, k, n)
        c,  # out (batch, m, n)
        m,
        n,
        k,
        part,  # items along k that a block sums: a multiple of the tile's depth
        a_stride,  # between lines of a
        b_stride,
        c_stride,  # between rows of c
        a_batch,
        b_batch,
        c_batch,
        c_part,  # between the sums of two parts
    ):
        dynamic = cuda.shared.array(0, types.uint32)
        sums = cuda.local.array(SUMS, types.float32)
        corner = cuda.local.array(2, types.int32)
        thread = np.uint32(cuda.threadIdx.x)
        group = thread >> np.uint32(7)
        item = np.int64(cuda.blockIdx.y)
        first_of(np.int32(cuda.blockIdx.x), m, n, corner)
        row, column = corner[0], corner[1]
        for s in range(SUMS):
            sums[s] = types.float32(0)
        start = np.uint32((shared_address(dynamic) + ALIGN) & ~ALIGN)
        start_a = np.uint32(start + group * OF_GROUP)
        start_b = np.uint32(start + SIZE_A)

        # Copies of the first stages.
        a_step = np.int64(DEPTH) if K_OF_A else DEPTH * a_stride
        b_step = np.int64(DEPTH) if K_OF_B else DEPTH * b_stride
        skipped = np.int32(np.int32(cuda.blockIdx.z) * part)
        a_at = item * a_batch + (row * a_stride if K_OF_A else np.int64(row))
        b_at = item * b_batch + (column * b_stride if K_OF_B else np.int64(column))
        a_at += np.int64(skipped) if K_OF_A else skipped * a_stride
        b_at += np.int64(skipped) if K_OF_B else skipped * b_stride
        a_at += first_a(a_stride, thread)
        b_at += first_b(b_stride, thread)
        rows, columns = np.int32(m - row), np.int32(n - column)
        left = min(np.int32(k - skipped), part)
        inside = rows >= ROWS and columns >= COLUMNS
        filled = np.uint32(0)
        for _ in range(AHEAD):
            fill(
                start + filled, a, a_at, a_stride, rows,
                b, b_at, b_stride, columns, left, inside, thread,
            )  # fmt: skip
            a_at += a_step
            b_at += b_step
            left = np.int32(left - DEPTH)
            filled = np.uint32(filled + STAGE)
        used = np.uint32(0)

        while left > LEFT_BEHIND:
            wait()
            if FENCED:
                fence_for_products()
            cuda.syncthreads()
            # All warpgroups are done with the stage that is filled next.
            at_a = LAYOUT_A | np.uint64(((start_a + used) >> np.uint32(4)) & IN_16)
            at_b = LAYOUT_B | np.uint64(((start_b + used) >> np.uint32(4)) & IN_16)
            begin_products()
            multiply(sums, at_a, at_b)
            multiply(sums, at_a + STEP_A, at_b + STEP_B)
            multiply(sums, at_a + STEP_A + STEP_A, at_b + STEP_B + STEP_B)
            multiply(sums, at_a + STEP_A + STEP_A + STEP_A, at_b + STEP_B + STEP_B + STEP_B)
            commit_products()
            fill(
                start + filled, a, a_at, a_stride, rows,
                b, b_at, b_stride, columns, left, inside, thread,
            )  # fmt: skip
            a_at += a_step
            b_at += b_step
            left = np.int32(left - DEPTH)
            filled = np.uint32(0) if filled == LAST else np.uint32(filled + STAGE)
            used = np.uint32(0) if used == LAST else np.uint32(used + STAGE)
            wait_for_others()
        wait_for_all()

        # Shared memory is free for results when no copy, of zeros, is on its way any more.
        wait_for_copies_at_last()
        cuda.syncthreads()
        warp = thread >> np.uint32(5)
        top = np.int32(row + np.int32(warp << np.uint32(4)))
        at = np.int64(cuda.blockIdx.z) * c_part + item * c_batch + top * c_stride + np.int64(column)
        write(c, at, c_stride, np.int32(m - top), columns, sums, thread & np.uint32(31), warp)

    sizes = ["int32"] * 4 + ["int64"] * 7
    layouts = ("k" if a_along_k else "m") + ("k" if b_along_k else "n")
    return Kernel(
        product,
        ("uint16*", "uint16*", element(out).pointer, *sizes),
        name=f"wgmma {dtype} {out} {layouts} {tuple(tile)} {width} {aligned} {fenced}",
        threads=threads,
        blocks=tile.blocks,
        shared=tile.shared(2) + SLACK,
        specific=True,
    )
