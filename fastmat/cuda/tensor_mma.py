"""Products by mma.sync: halves with float32 sums, TF32, float64."""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_tensor import (
    commit_copies,
    multiply_fragments,
    shape_of,
    shared_address,
    wait_for_copies,
)
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.tensor_fragments import by_ldmatrix, by_words, of_doubles
from fastmat.cuda.tensor_results import writer
from fastmat.cuda.tensor_tiles import (
    Layout,
    Tile,
    block_order,
    filler,
    layout,
)


def _reader(dtype: str, tile: Layout, count: int, of_b: bool, depth: int):
    """Whether chunks stay in pairs; and how fragments are read."""
    if dtype == "float64":
        return True, *of_doubles(tile, count, of_b, depth // 4)
    if dtype == "float32" and not tile.along_k:
        return True, *by_words(tile, count, of_b)
    return False, *by_ldmatrix(tile, count, of_b, dtype == "float32")


@functools.cache
def kernel(
    instruction: str,
    out: str,
    a_along_k: bool,
    b_along_k: bool,
    tile: Tile,
    width: int = 16,
    aligned: bool = True,
) -> Kernel:
    """c = a @ b, for each item of a batch.

    Parameters
    ----------
    instruction
        "float16", "bfloat16", "tf32" (for float32 numbers), or "float64" and "float64 k4",
        "float64 k8", "float64 k16", which need compute capability 9.0.
    out
        The dtype of c.
    a_along_k, b_along_k
        Whether the items of a row of a (a column of b) are contiguous; else those of a column (a
        row) are.
    width
        Bytes that the pointers and strides of a and b are multiples of: 16, 8 or 4.
    aligned
        Whether those of c are multiples of 16 bytes (of halves) or of two items.
    """
    dtype = "float32" if instruction == "tf32" else instruction.split()[0]
    itemsize = {"float32": 4, "float64": 8}.get(dtype, 2)
    threads = tile.threads
    A = layout(a_along_k, tile.rows, tile.depth, itemsize)
    B = layout(b_along_k, tile.columns, tile.depth, itemsize)
    high, wide = tile.warp_rows // 16, tile.warp_columns // 16
    shape = shape_of(instruction)
    a_by_words, place_a, load_a = _reader(dtype, A, high, False, shape.depth)
    b_by_words, place_b, load_b = _reader(dtype, B, wide, True, shape.depth)
    first_a, fill_a = filler(A, threads, a_by_words, width)
    first_b, fill_b = filler(B, threads, b_by_words, width)
    FRAGMENTS_A, FRAGMENTS_B = tile.warp_rows // shape.rows, tile.warp_columns // 8
    multiply = multiply_fragments(instruction, FRAGMENTS_A, FRAGMENTS_B)
    first_of = block_order(tile.rows, tile.columns, tile.group)
    WORDS_A, WORDS_B = FRAGMENTS_A * shape.of_a, FRAGMENTS_B * shape.of_b
    BOTH_A, BOTH_B = 2 * WORDS_A, 2 * WORDS_B
    SUMS = FRAGMENTS_A * FRAGMENTS_B * shape.of_c
    DEPTH = np.int32(tile.depth)
    LEFT_BEHIND = np.int32(-(tile.stages - 1) * tile.depth)  # when nothing is left to multiply
    STEPS = tile.depth // shape.depth
    AHEAD = tile.stages - 1
    SIZE_A, STAGE = np.uint32(A.size), np.uint32(A.size + B.size)
    LAST = np.uint32(AHEAD * (A.size + B.size))
    ROWS, COLUMNS = np.int32(tile.rows), np.int32(tile.columns)
    WARPS_ALONG = np.uint32(tile.columns // tile.warp_columns)
    WARP_ROWS, WARP_COLUMNS = np.uint32(tile.warp_rows), np.uint32(tile.warp_columns)
    K_OF_A = 1 if a_along_k else 0
    K_OF_B = 1 if b_along_k else 0
    write = writer(out, tile.warp_rows // 8, FRAGMENTS_B, shape.rows == 16, aligned)
    wait, wait_for_all = wait_for_copies(tile.stages - 2), wait_for_copies(0)
    word = types.float64 if dtype == "float64" else types.uint32
    number = types.float64 if dtype == "float64" else types.float32
    assert STEPS in (2, 4)
    assert out == "float64" or tile.shared(itemsize) >= 2 * tile.rows * tile.columns

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
        sums = cuda.local.array(SUMS, number)
        of_a = cuda.local.array(BOTH_A, word)
        of_b = cuda.local.array(BOTH_B, word)
        corner = cuda.local.array(2, types.int32)
        from_a = cuda.local.array(2, types.uint32)
        from_b = cuda.local.array(2, types.uint32)
        thread = np.uint32(cuda.threadIdx.x)
        lane = thread & np.uint32(31)
        warp = thread >> np.uint32(5)
        warp_row = (warp // WARPS_ALONG) * WARP_ROWS
        warp_column = (warp % WARPS_ALONG) * WARP_COLUMNS
        item = np.int64(cuda.blockIdx.y)
        first_of(np.int32(cuda.blockIdx.x), m, n, corner)
        row, column = corner[0], corner[1]
        for s in range(SUMS):
            sums[s] = number(0)
        start = shared_address(dynamic)
        place_a(lane, warp_row, np.uint32(0), from_a)
        place_b(lane, warp_column, SIZE_A, from_b)

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
        wait()
        cuda.syncthreads()
        used = np.uint32(0)
        load_a(of_a, 0, from_a[0], from_a[1], 0)
        load_b(of_b, 0, from_b[0], from_b[1], 0)

        # Fragments of the next step are read while those of this one are multiplied.
        while left > LEFT_BEHIND:
            load_a(of_a, WORDS_A, np.uint32(used + from_a[0]), from_a[1], 1)
            load_b(of_b, WORDS_B, np.uint32(used + from_b[0]), from_b[1], 1)
            fill(
                start + filled, a, a_at, a_stride, rows,
                b, b_at, b_stride, columns, left, inside, thread,
            )  # fmt: skip
            a_at += a_step
            b_at += b_step
            left = np.int32(left - DEPTH)
            filled = np.uint32(0) if filled == LAST else np.uint32(filled + STAGE)
            multiply(sums, of_a, 0, of_b, 0)
            if STEPS == 4:
                load_a(of_a, 0, np.uint32(used + from_a[0]), from_a[1], 2)
                load_b(of_b, 0, np.uint32(used + from_b[0]), from_b[1], 2)
                multiply(sums, of_a, WORDS_A, of_b, WORDS_B)
                load_a(of_a, WORDS_A, np.uint32(used + from_a[0]), from_a[1], 3)
                load_b(of_b, WORDS_B, np.uint32(used + from_b[0]), from_b[1], 3)
                multiply(sums, of_a, 0, of_b, 0)
            used = np.uint32(0) if used == LAST else np.uint32(used + STAGE)
            wait()
            cuda.syncthreads()
            load_a(of_a, 0, np.uint32(used + from_a[0]), from_a[1], 0)
            load_b(of_b, 0, np.uint32(used + from_b[0]), from_b[1], 0)
            multiply(sums, of_a, WORDS_A, of_b, WORDS_B)

        # Shared memory is free for results when no copy, of zeros, is on its way any more.
        wait_for_all()
        cuda.syncthreads()
        top = np.int32(row + np.int32(warp_row))
        first = np.int32(column + np.int32(warp_column))
        at = np.int64(cuda.blockIdx.z) * c_part + item * c_batch + top * c_stride + np.int64(first)
        write(c, at, c_stride, np.int32(m - top), np.int32(n - first), sums, lane, warp)

    pointer = element(dtype).pointer
    sizes = ["int32"] * 4 + ["int64"] * 7
    layouts = ("k" if a_along_k else "m") + ("k" if b_along_k else "n")
    return Kernel(
        product,
        (pointer, pointer, element(out).pointer, *sizes),
        name=f"mma {instruction} {out} {layouts} {tuple(tile)} {width} {aligned}",
        threads=threads,
        blocks=tile.blocks,
        shared=tile.shared(itemsize),
    )
