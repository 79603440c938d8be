"""Products of float16, bfloat16 and TF32 numbers by mma.sync, with float32 sums."""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_tensor import (
    commit_copies,
    load_matrices,
    multiply_fragments,
    round_to_tf32,
    shared_address,
    wait_for_copies,
)
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.tensor_tiles import (
    Layout,
    Tile,
    block_order,
    filler,
    fragment_writer,
    layout,
    swizzle,
)

_U4 = np.uint32(4)


@functools.cache
def fragments_by_ldmatrix(tile: Layout, count: int, of_b: bool, rounded: bool):
    """How the fragments of one operand are read by ldmatrix: two device functions.

    ``place(lane, first)`` is where a lane reads, for a warp whose rows (columns of b) begin at
    `first`: bytes from the beginning of the tile, and those bits that are XORed. ``load(target,
    j, start, bits, step)`` reads the `count` fragments of 16 rows at a step along k.
    """
    LINE = np.uint32(tile.line_bytes)
    SIXTEEN = np.uint32(16 * tile.line_bytes)
    COUNT = count
    ALONG_K = tile.along_k
    # Matrices 1 and 2 of 4 change places between a (16 x 16) and b (two of 16 x 8), and between
    # lines along k and across it.
    SWAPPED = of_b == tile.along_k
    ROUNDED = rounded
    permutation = swizzle(tile.chunks, False)
    matrices = load_matrices(4, not tile.along_k)

    @cuda.jit(device=True, forceinline=True)
    def place(lane, first, found):
        if SWAPPED:
            line = (lane & np.uint32(7)) + ((lane >> _U4) << np.uint32(3))
            chunk = (lane >> np.uint32(3)) & np.uint32(1)
        else:
            line = lane & np.uint32(15)
            chunk = lane >> _U4
        if ALONG_K:
            found[0] = (first + line) * LINE
        else:
            found[0] = line * LINE
            chunk = chunk + (first >> np.uint32(3))
        found[1] = (chunk ^ permutation(line)) << _U4

    @cuda.jit(device=True, forceinline=True)
    def load(target, j, start, bits, step):
        for i in range(COUNT):
            if ALONG_K:
                at = start + np.uint32(i) * SIXTEEN + (bits ^ np.uint32(step * 32))
            else:
                at = start + np.uint32(step) * SIXTEEN + (bits ^ np.uint32(i * 32))
            matrices(target, j + 4 * i, at)
            if ROUNDED:
                for part in range(4):
                    target[j + 4 * i + part] = round_to_tf32(target[j + 4 * i + part])

    return place, load


@functools.cache
def fragments_by_words(tile: Layout, count: int, of_b: bool):
    """The same for float32 in lines across k, which ldmatrix cannot transpose."""
    LINE = np.uint32(tile.line_bytes)
    COUNT = count
    # Of the 4 numbers of a fragment, those of a are 8 rows on in turn, those of b 4 lines.
    ROWS_FIRST = not of_b
    permutation = swizzle(tile.chunks, True)

    @cuda.jit(device=True, forceinline=True)
    def place(lane, first, found):
        line = lane & np.uint32(3)
        row = lane >> np.uint32(2)
        chunk = (first >> np.uint32(2)) + (row >> np.uint32(2))
        found[0] = line * LINE + ((row & np.uint32(3)) << np.uint32(2))
        found[1] = (chunk ^ permutation(line)) << _U4

    @cuda.jit(device=True, forceinline=True)
    def load(target, j, start, bits, step):
        shared = cuda.shared.array(0, types.uint32)
        for i in range(COUNT):
            for part in range(4):
                on = part & 1 if ROWS_FIRST else part >> 1
                below = part >> 1 if ROWS_FIRST else part & 1
                at = start + np.uint32(step * 8 + below * 4) * LINE
                at += bits ^ np.uint32((4 * i + 2 * on) * 16)
                target[j + 4 * i + part] = round_to_tf32(shared[at >> np.uint32(2)])

    return place, load


@functools.cache
def kernel(
    dtype: str,
    out: str,
    a_along_k: bool,
    b_along_k: bool,
    tile: Tile,
    width: int = 16,
    pairs: bool = True,
) -> Kernel:
    """c = a @ b, for each item of a batch.

    Parameters
    ----------
    dtype
        Of a and b: float16, bfloat16 or "tf32" (float32 numbers).
    out
        The dtype of c.
    a_along_k, b_along_k
        Whether the items of a row of a (a column of b) are contiguous; else those of a column (a
        row) are.
    width
        Bytes that the pointers and strides of a and b are multiples of: 16, 8 or 4.
    pairs
        Whether those of c are multiples of two items.
    """
    single = dtype == "tf32"
    itemsize = 4 if single else 2
    threads = tile.threads
    A = layout(a_along_k, tile.rows, tile.depth, itemsize)
    B = layout(b_along_k, tile.columns, tile.depth, itemsize)
    a_by_words, b_by_words = single and not a_along_k, single and not b_along_k
    fill_a = filler(A, threads, a_by_words, width)
    fill_b = filler(B, threads, b_by_words, width)
    FRAGMENTS_A, FRAGMENTS_B = tile.warp_rows // 16, tile.warp_columns // 16
    if a_by_words:
        place_a, load_a = fragments_by_words(A, FRAGMENTS_A, False)
    else:
        place_a, load_a = fragments_by_ldmatrix(A, FRAGMENTS_A, False, single)
    if b_by_words:
        place_b, load_b = fragments_by_words(B, FRAGMENTS_B, True)
    else:
        place_b, load_b = fragments_by_ldmatrix(B, FRAGMENTS_B, True, single)
    multiply = multiply_fragments(dtype, FRAGMENTS_A, 2 * FRAGMENTS_B)
    first_of = block_order(tile.rows, tile.columns, tile.group)
    WORDS_A, WORDS_B = 4 * FRAGMENTS_A, 4 * FRAGMENTS_B
    BOTH_A, BOTH_B = 2 * WORDS_A, 2 * WORDS_B
    EIGHTS = 2 * FRAGMENTS_B  # columns of a warp, by eights
    SUMS = 4 * FRAGMENTS_A * EIGHTS
    DEPTH = np.int32(tile.depth)
    LEFT_BEHIND = np.int32(-(tile.stages - 1) * tile.depth)  # when nothing is left to multiply
    STEPS = tile.depth * itemsize // 32
    AHEAD = tile.stages - 1
    SIZE_A, STAGE = np.uint32(A.size), np.uint32(A.size + B.size)
    LAST = np.uint32(AHEAD * (A.size + B.size))
    ROWS, COLUMNS = np.int32(tile.rows), np.int32(tile.columns)
    WARPS_ALONG = np.uint32(tile.columns // tile.warp_columns)
    WARP_ROWS, WARP_COLUMNS = np.uint32(tile.warp_rows), np.uint32(tile.warp_columns)
    K_OF_A = 1 if a_along_k else 0
    K_OF_B = 1 if b_along_k else 0
    write = fragment_writer(out, FRAGMENTS_A, EIGHTS, pairs)
    wait = wait_for_copies(tile.stages - 2)
    assert STEPS in (2, 4)

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
        a_stride,  # between lines of a
        b_stride,
        c_stride,  # between rows of c
        a_batch,
        b_batch,
        c_batch,
    ):
        dynamic = cuda.shared.array(0, types.uint32)
        sums = cuda.local.array(SUMS, types.float32)
        of_a = cuda.local.array(BOTH_A, types.uint32)
        of_b = cuda.local.array(BOTH_B, types.uint32)
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
            sums[s] = types.float32(0)
        start = shared_address(dynamic)
        place_a(lane, warp_row, from_a)
        place_b(lane, warp_column, from_b)
        from_b[0] += SIZE_A

        # Copies of the first stages.
        a_step = np.int64(DEPTH) if K_OF_A else DEPTH * a_stride
        b_step = np.int64(DEPTH) if K_OF_B else DEPTH * b_stride
        a_at = item * a_batch + (row * a_stride if K_OF_A else np.int64(row))
        b_at = item * b_batch + (column * b_stride if K_OF_B else np.int64(column))
        rows, columns, left = np.int32(m - row), np.int32(n - column), np.int32(k)
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
        load_a(of_a, 0, start + from_a[0], from_a[1], 0)
        load_b(of_b, 0, start + from_b[0], from_b[1], 0)

        # Fragments of the next step are read while those of this one are multiplied.
        while left > LEFT_BEHIND:
            here = np.uint32(start + used)
            load_a(of_a, WORDS_A, here + from_a[0], from_a[1], 1)
            load_b(of_b, WORDS_B, here + from_b[0], from_b[1], 1)
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
                load_a(of_a, 0, here + from_a[0], from_a[1], 2)
                load_b(of_b, 0, here + from_b[0], from_b[1], 2)
                multiply(sums, of_a, WORDS_A, of_b, WORDS_B)
                load_a(of_a, WORDS_A, here + from_a[0], from_a[1], 3)
                load_b(of_b, WORDS_B, here + from_b[0], from_b[1], 3)
                multiply(sums, of_a, 0, of_b, 0)
            used = np.uint32(0) if used == LAST else np.uint32(used + STAGE)
            wait()
            cuda.syncthreads()
            here = np.uint32(start + used)
            load_a(of_a, 0, here + from_a[0], from_a[1], 0)
            load_b(of_b, 0, here + from_b[0], from_b[1], 0)
            multiply(sums, of_a, WORDS_A, of_b, WORDS_B)

        # A thread has two neighbours of each row and eight columns.
        top = np.int32(row + np.int32(warp_row + (lane >> np.uint32(2))))
        first = np.int32(column + np.int32(warp_column + ((lane & np.uint32(3)) << np.uint32(1))))
        at = item * c_batch + top * c_stride + np.int64(first)
        write(c, at, c_stride, np.int32(m - top), np.int32(n - first), sums)

    pointer = "float32*" if single else "uint16*"
    sizes = ["int32"] * 3 + ["int64"] * 6
    layouts = ("k" if a_along_k else "m") + ("k" if b_along_k else "n")
    return Kernel(
        product,
        (pointer, pointer, element(out).pointer, *sizes),
        name=f"mma {dtype} {out} {layouts} {tuple(tile)} {width} {pairs}",
        threads=threads,
        blocks=tile.blocks,
        shared=tile.stages * (A.size + B.size),
    )
