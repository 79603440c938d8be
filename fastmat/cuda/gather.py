"""Copies between any strides, and transposition of matrices that are thin."""

from __future__ import annotations

import functools

from numba import cuda, types

from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_copy import BLOCKS, EACH, THIN_ITEMS, THREADS
from fastmat.cuda.tiles import PAIR, STORED


def divisor(n: int) -> tuple[int, int]:
    """`factor` and `shift` with ``i // n == i * factor >> shift`` for i below 2**31."""
    if n == 1:
        return 1, 0
    shift = 31 + (n - 1).bit_length()
    return -(-(1 << shift) // n), shift


@cuda.jit(device=True)
def divided(i, factor, shift):
    """Division by a number of which `divisor` made a factor and a shift; by 0 factors, 0."""
    return types.uint32((types.uint64(i) * factor) >> types.uint64(shift))


@functools.cache
def copying(size: int) -> Kernel:
    """The kernel for items of a size that follow each other in memory."""
    stored = getattr(types, STORED[size])
    pair, each = PAIR.get(size, 1), EACH[size]
    held_count = each * pair

    def copied(
        source,  # in (count,)
        target,  # out (count,)
        count,
    ):
        held = cuda.local.array(held_count, stored)
        first = types.int64(cuda.blockIdx.x) * (THREADS * each) + cuda.threadIdx.x
        if first + (each - 1) * THREADS < count:
            for k in range(each):
                load_run(held, k * pair, source, (first + k * THREADS) * pair, pair)
            for k in range(each):
                store_run(target, (first + k * THREADS) * pair, held, k * pair, pair)
        else:
            for k in range(each):
                at = first + k * THREADS
                if at < count:
                    load_run(held, 0, source, at * pair, pair)
                    store_run(target, at * pair, held, 0, pair)

    return Kernel(
        copied,
        (f"{stored.name}*", f"{stored.name}*", "int64"),
        name=f"copied {size}",
        threads=THREADS,
        blocks=BLOCKS,
    )


@functools.cache
def gathering(size: int, axes: int) -> Kernel:
    """The kernel for items of a size in 3 or 6 axes of any strides, the first the fastest."""
    stored = getattr(types, STORED[size])
    pair, each = PAIR.get(size, 1), EACH[size]
    held_count = each * pair

    def gathered(
        source, target, count, s0, t0,
        n0, factor0, shift0, s1, t1,
        n1, factor1, shift1, s2, t2,
        n2, factor2, shift2, s3, t3,
        n3, factor3, shift3, s4, t4,
        n4, factor4, shift4, s5, t5,
    ):  # fmt: skip
        held = cuda.local.array(held_count, stored)
        to = cuda.local.array(each, types.int64)
        first = types.uint32(
            types.uint32(cuda.blockIdx.x) * types.uint32(THREADS * each)
            + types.uint32(cuda.threadIdx.x)
        )
        for k in range(each):
            i = types.uint32(first + types.uint32(k * THREADS))
            if i < count:
                j = divided(i, factor0, shift0)
                digit = types.uint32(i - types.uint32(j * n0))
                read, written = digit * s0, digit * t0
                i = divided(j, factor1, shift1)
                digit = types.uint32(j - types.uint32(i * n1))
                read += digit * s1
                written += digit * t1
                j = divided(i, factor2, shift2)
                digit = types.uint32(i - types.uint32(j * n2))
                read += digit * s2
                written += digit * t2
                i = divided(j, factor3, shift3)
                digit = types.uint32(j - types.uint32(i * n3))
                read += digit * s3
                written += digit * t3
                j = divided(i, factor4, shift4)
                digit = types.uint32(i - types.uint32(j * n4))
                read += digit * s4 + j * s5
                written += digit * t4 + j * t5
                load_run(held, k * pair, source, read * pair, pair)
                to[k] = written
        for k in range(each):
            if types.uint32(first + types.uint32(k * THREADS)) < count:
                store_run(target, to[k] * pair, held, k * pair, pair)

    def gathered_few(
        source, target, count, s0, t0,
        n0, factor0, shift0, s1, t1,
        n1, factor1, shift1, s2, t2,
    ):  # fmt: skip
        held = cuda.local.array(held_count, stored)
        to = cuda.local.array(each, types.int64)
        first = types.uint32(
            types.uint32(cuda.blockIdx.x) * types.uint32(THREADS * each)
            + types.uint32(cuda.threadIdx.x)
        )
        for k in range(each):
            i = types.uint32(first + types.uint32(k * THREADS))
            if i < count:
                j = divided(i, factor0, shift0)
                digit = types.uint32(i - types.uint32(j * n0))
                read, written = digit * s0, digit * t0
                i = divided(j, factor1, shift1)
                digit = types.uint32(j - types.uint32(i * n1))
                read += digit * s1 + i * s2
                written += digit * t1 + i * t2
                load_run(held, k * pair, source, read * pair, pair)
                to[k] = written
        for k in range(each):
            if types.uint32(first + types.uint32(k * THREADS)) < count:
                store_run(target, to[k] * pair, held, k * pair, pair)

    axis = ("uint32", "uint32", "uint32", "int64", "int64")
    return Kernel(
        gathered if axes > 3 else gathered_few,
        (f"{stored.name}*", f"{stored.name}*", "uint32", "int64", "int64", *axis * (axes - 1)),
        name=f"gathered {size} {axes}",
        threads=THREADS,
        blocks=BLOCKS,
    )


@functools.cache
def thin(size: int, short_first: bool) -> Kernel:
    """The kernel for matrices with a short and a long side, where one of them is to be fastest.

    With `short_first` the short side is the faster one in the source, else in the target.
    """
    stored = getattr(types, STORED[size])
    pair, each = PAIR.get(size, 1), THIN_ITEMS[size] // THREADS
    held_count = each * pair

    def thinned(
        source,  # in, short and long side of each of a batch
        target,  # out
        short,  # items of the short side
        short_factor,
        short_shift,
        chunk,  # items of the long side that a block moves
        chunk_factor,
        chunk_shift,
        long,  # items of the long side
        source_short,
        source_long,
        target_short,
        target_long,
        n0,
        n1,
        n2,
        source0,
        source1,
        source2,
        source3,
        target0,
        target1,
        target2,
        target3,
    ):
        shared = cuda.shared.array(0, stored)
        held = cuda.local.array(held_count, stored)
        thread = types.uint32(cuda.threadIdx.x)
        block = types.uint32(cuda.blockIdx.x)
        pitch = types.uint32(short | types.uint32(1))  # odd: columns do not meet in a bank
        chunks = types.uint32((long + chunk - 1) // chunk)
        begin = types.int64(block % chunks) * chunk
        block = types.uint32(block // chunks)
        left = types.uint32(min(long - begin, types.int64(chunk)))
        i = types.uint32(block % types.uint32(n0))
        block = types.uint32(block // types.uint32(n0))
        read, written = i * source0, i * target0
        i = types.uint32(block % types.uint32(n1))
        block = types.uint32(block // types.uint32(n1))
        read += i * source1
        written += i * target1
        i = types.uint32(block % types.uint32(n2))
        block = types.uint32(block // types.uint32(n2))
        read += i * source2 + block * source3 + begin * source_long
        written += i * target2 + block * target3 + begin * target_long

        for k in range(each):
            i = types.uint32(thread + types.uint32(k * THREADS))
            if short_first:
                j = divided(i, short_factor, short_shift)
                i = types.uint32(i - types.uint32(j * short))
            else:
                j = i
                i = divided(i, chunk_factor, chunk_shift)
                j = types.uint32(j - types.uint32(i * chunk))
            if i < short and j < left:
                at = read + i * source_short + j * source_long
                load_run(held, k * pair, source, at * pair, pair)
        for k in range(each):
            i = types.uint32(thread + types.uint32(k * THREADS))
            if short_first:
                j = divided(i, short_factor, short_shift)
                i = types.uint32(i - types.uint32(j * short))
            else:
                j = i
                i = divided(i, chunk_factor, chunk_shift)
                j = types.uint32(j - types.uint32(i * chunk))
            if i < short and j < left:
                at_item = types.int32(j * pitch + i)
                store_run(shared, at_item * pair, held, k * pair, pair)
        cuda.syncthreads()
        for k in range(each):
            i = types.uint32(thread + types.uint32(k * THREADS))
            if short_first:
                j = i
                i = divided(i, chunk_factor, chunk_shift)
                j = types.uint32(j - types.uint32(i * chunk))
            else:
                j = divided(i, short_factor, short_shift)
                i = types.uint32(i - types.uint32(j * short))
            if i < short and j < left:
                at_item = types.int32(j * pitch + i)
                load_run(held, k * pair, shared, at_item * pair, pair)
                to = written + i * target_short + j * target_long
                store_run(target, to * pair, held, k * pair, pair)

    pointer = f"{stored.name}*"
    return Kernel(
        thinned,
        (
            *(pointer, pointer),
            *("uint32",) * 6,
            *("int64",) * 5,
            *("int32",) * 3,
            *("int64",) * 8,
        ),
        name=f"thinned {size} {short_first}",
        threads=THREADS,
        blocks=BLOCKS,
        shared=THIN_ITEMS[size] * size * 3 // 2,
    )
