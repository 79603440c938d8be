"""Places of equal indices, in order: a sort of pairs of an index and its place."""

from __future__ import annotations

import functools

from numba import cuda, types

from fastmat.cuda.arrays import View, scratch
from fastmat.cuda.kernel import Kernel

THREADS = 256
FEW = 8192  # indices that are sorted by counting the smaller ones of all
_PLACE_BITS = 32
_LAST = (1 << 63) - 1  # comes after all pairs


@functools.cache
def _ranking() -> Kernel:
    def ranked(
        indices,  # in (count,)
        count,
        pairs,  # out (count,), sorted
    ):
        i = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if i < count:
            index = indices[i]
            rank = types.int64(0)
            for k in range(count):
                other = indices[k]
                if other < index or (other == index and k < i):
                    rank += 1
            pairs[rank] = (index << _PLACE_BITS) | i

    return Kernel(ranked, ("int64*", "int64", "int64*"), name="ranked", threads=THREADS)


@functools.cache
def _pairing() -> Kernel:
    def paired(
        indices,  # in (count,)
        count,
        pairs,  # out (room,)
        room,
    ):
        i = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if i < room:
            pairs[i] = (indices[i] << _PLACE_BITS) | i if i < count else types.int64(_LAST)

    return Kernel(paired, ("int64*", "int64", "int64*", "int64"), name="paired", threads=THREADS)


@functools.cache
def _exchanging() -> Kernel:
    """A step of Batcher's bitonic sort."""

    def exchanged(
        pairs,  # in and out (room,)
        room,
        distance,
        length,  # of the sequences that go up and down in turn
    ):
        i = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        j = i ^ distance
        if i < room and j > i:
            low, high = pairs[i], pairs[j]
            if (low > high) == ((i & length) == 0):
                pairs[i] = high
                pairs[j] = low

    return Kernel(exchanged, ("int64*", *("int64",) * 3), name="exchanged", threads=THREADS)


@functools.cache
def _dividing() -> Kernel:
    def divided(
        pairs,  # in (count,), sorted
        count,
        order,  # out (count,)
        starts,  # out (length + 1,)
        length,
    ):
        i = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if i < count:
            order[i] = pairs[i] & ((1 << _PLACE_BITS) - 1)
        if i <= length:
            low, high = types.int64(0), types.int64(count)
            while low < high:
                middle = (low + high) // 2
                if pairs[middle] >> _PLACE_BITS < i:
                    low = middle + 1
                else:
                    high = middle
            starts[i] = low

    return Kernel(
        divided,
        ("int64*", "int64", "int64*", "int64*", "int64"),
        name="divided",
        threads=THREADS,
    )


def places(indices: View, length: int, stream: int) -> tuple[View, View]:
    """``order`` and ``starts``: index r is at ``order[starts[r] : starts[r + 1]]``, ascending."""
    (count,), device = indices.shape, indices.device
    order, starts = scratch((count,), "int64", indices), scratch((length + 1,), "int64", indices)
    room = count if count <= FEW else 1 << (count - 1).bit_length()
    pairs = scratch((room,), "int64", indices)
    blocks = max(1, -(-room // THREADS))
    if count <= FEW:
        _ranking()(blocks, (indices.pointer, count, pairs.pointer), stream, device)
    else:
        _pairing()(blocks, (indices.pointer, count, pairs.pointer, room), stream, device)
        size = 2
        while size <= room:
            distance = size // 2
            while distance:
                _exchanging()(blocks, (pairs.pointer, room, distance, size), stream, device)
                distance //= 2
            size *= 2
    blocks = -(-max(count, length + 1) // THREADS)
    _dividing()(
        blocks, (pairs.pointer, count, order.pointer, starts.pointer, length), stream, device
    )
    return order, starts
