"""Permutations and sparse matrices of random signs, by position."""

import math

from numba import types

from fastmat.core.compile import kernel, writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.philox import philox4x32
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_random import (
    BLOCKS,
    BUCKET,
    BUCKETS,
    COLUMNS,
    DRAWN,
    FEW,
    PILE,
    SERIAL,
)
from fastmat.cpu.draws import draw_words
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch


@always_inlined
def _bits_of(
    i,  # which of the two numbers of 64 bits
    low,  # first and second word of the counter
    high,
    seed,
    stream,
):
    """64 random bits: those of the words of a block."""
    word, half = types.uint64(0xFFFFFFFF), types.uint64(32)
    w = philox4x32(low, high, stream & word, stream >> half, seed & word, seed >> half)
    return w[2] << half | w[3] if i else w[0] << half | w[1]


@kernel(
    lambda t: (writes(t, 1), types.uint64, types.uint64, types.uint64),
    ("int64",),
    from_python=True,
)
def permutation(
    out,  # out (n,), n > 0
    first,  # position of the first key
    seed,
    stream,
):
    """The order of n keys of 64 random bits; of those that are alike, that of their positions.

    Keys are equally likely everywhere, so their high bits deal them to buckets of equal size: one
    pass over memory for all of them, then bucket by bucket in the cache.
    """
    n = out.size
    buckets = max(1, min(BUCKETS, n // BUCKET))
    threads = num_threads() if n > SERIAL else 1
    keys, dealt = scratch(n, types.uint64), scratch(n, types.uint64)
    places, starts = scratch(n, types.int64), scratch(buckets + 1, types.int64)
    parallel_for(_draw_keys, ceil_div(n + 1, DRAWN), threads, (keys, first, seed, stream))
    _deal(keys, buckets, starts, dealt, places)
    parallel_for(_sort_bucket, buckets, threads, (starts, dealt, places, out, buckets))


@task
def _draw_keys(args, slot, index):
    keys, first, seed, stream = args
    words, drawn = scratch((4, BLOCKS), types.uint32), scratch(2 * BLOCKS, types.uint64)
    half, one = types.uint64(32), types.uint64(1)
    odd = types.int64(first & one)  # the first key is the second of its block
    end = min((index + 1) * DRAWN, keys.size + odd)
    for begin in range(index * DRAWN, end, 2 * BLOCKS):
        block = (first >> one) + types.uint64(begin // 2)
        draw_words(words, block, BLOCKS, seed, stream)
        for b in range(BLOCKS):
            drawn[2 * b] = types.uint64(words[0, b]) << half | types.uint64(words[1, b])
            drawn[2 * b + 1] = types.uint64(words[2, b]) << half | types.uint64(words[3, b])
        for i in range(max(begin, odd), min(begin + 2 * BLOCKS, end)):
            keys[i - odd] = drawn[i - begin]


@always_inlined
def _share(key, count):
    """Which of so many equal parts of all keys this one is in."""
    return types.int64((key >> types.uint64(32)) * types.uint64(count) >> types.uint64(32))


@inlined
def _deal(
    keys,  # in (n,)
    buckets,
    starts,  # out (buckets + 1,): where each begins
    dealt,  # out (n,): keys, bucket by bucket, in their order
    places,  # out (n,): where each was
):
    for b in range(buckets + 1):
        starts[b] = 0
    for i in range(keys.size):
        starts[_share(keys[i], buckets)] += 1
    total = 0
    for b in range(buckets + 1):
        starts[b], total = total, total + starts[b]
    for i in range(keys.size):
        b = _share(keys[i], buckets)
        at = starts[b]
        dealt[at], places[at] = keys[i], i
        starts[b] = at + 1
    for b in range(buckets, 0, -1):
        starts[b] = starts[b - 1]
    starts[0] = 0


@task
def _sort_bucket(args, slot, index):
    starts, dealt, places, out, buckets = args
    begin, end = starts[index], starts[index + 1]
    n = end - begin
    if n > 0:
        piles = max(1, n // PILE)
        counts = scratch(piles + 1, types.int64)
        keys, origins = scratch(n, types.uint64), scratch(n, types.int64)
        for b in range(piles + 1):
            counts[b] = 0
        for i in range(begin, end):
            counts[_pile(dealt[i], buckets, piles)] += 1
        total = 0
        for b in range(piles + 1):
            counts[b], total = total, total + counts[b]
        for i in range(begin, end):
            b = _pile(dealt[i], buckets, piles)
            at = counts[b]
            keys[at], origins[at] = dealt[i], places[i]
            counts[b] = at + 1
        _sort_by_insertion(keys, origins)
        for i in range(n):
            out[begin + i] = origins[i]


@always_inlined
def _pile(key, buckets, piles):
    """Which of so many equal parts of its bucket a key is in."""
    word, half = types.uint64(0xFFFFFFFF), types.uint64(32)
    rest = (key >> half) * types.uint64(buckets) & word
    return types.int64(rest * types.uint64(piles) >> half)


@inlined
def _sort_by_insertion(
    keys,  # inout (n,), sorted but for neighbours
    origins,  # inout (n,)
):
    for i in range(1, keys.size):
        key, origin, at = keys[i], origins[i], i
        while at > 0 and keys[at - 1] > key:
            keys[at], origins[at] = keys[at - 1], origins[at - 1]
            at -= 1
        keys[at], origins[at] = key, origin


def _sparse_types(t):
    return (
        writes(t, 2),
        writes(types.int64, 2),
        types.int64,
        *[types.uint64] * 3,
    )


@kernel(_sparse_types, ("float32", "float64"), from_python=True)
def sparse_sign(
    data,  # out (columns, k): 1/sqrt(k) or -1/sqrt(k)
    indices,  # out (columns, k): of rows, in order
    rows,  # at least k, less than 2**32
    first,  # number of the first column
    seed,
    stream,
):
    """k different rows for each column, by Floyd's algorithm, and signs.

    Bentley and Floyd, "Programming pearls: a sample of brilliance", CACM 30(9), 1987. Step t of
    column j has 64 bits of the block (t // 2, j); the lowest is the sign of the row that comes in
    this place when rows are in order.
    """
    columns, k = data.shape
    several = max(1, COLUMNS // k)
    threads = num_threads() if columns * k > SERIAL else 1
    args = data, indices, rows, first, seed, stream, several
    parallel_for(_fill_columns, ceil_div(columns, several), threads, args)


@task
def _fill_columns(args, slot, index):
    data, indices, rows, first, seed, stream, several = args
    columns, k = data.shape
    size = math.sqrt(1.0 / k)
    marks = scratch(1 if k <= FEW else ceil_div(rows, 64), types.uint64)
    for i in range(marks.size):
        marks[i] = types.uint64(0)
    for j in range(index * several, min((index + 1) * several, columns)):
        column = first + types.uint64(j)
        for t in range(k):
            last = rows - k + t
            bits = _bits_of(t % 2 == 1, types.uint64(t // 2), column, seed, stream)
            row = _below(bits, last + 1)
            if k <= FEW:
                _insert(indices, j, t, row, last)
            else:
                _mark(marks, row, last)
            data[j, t] = -size if bits & types.uint64(1) else size
        if k > FEW:
            _collect(marks, indices, j)


@always_inlined
def _below(bits, count):
    """An integer from 0 up to count, which is at most 2**32: the high part of a product."""
    word, half = types.uint64(0xFFFFFFFF), types.uint64(32)
    n = types.uint64(count)
    return types.int64((bits >> half) * n + ((bits & word) * n >> half) >> half)


@always_inlined
def _insert(indices, j, count, row, last):
    """Put a row among those of a column that are there, in order; the last where it is there."""
    for i in range(count):
        if indices[j, i] == row:
            row = last
            break
    at = count
    while at > 0 and indices[j, at - 1] > row:
        indices[j, at] = indices[j, at - 1]
        at -= 1
    indices[j, at] = row


@always_inlined
def _mark(marks, row, last):
    """Mark a row, or the last where it is marked."""
    low, six = types.uint64(63), 6
    bit = types.uint64(1) << (types.uint64(row) & low)
    if marks[row >> six] & bit:
        row = last
        bit = types.uint64(1) << (types.uint64(row) & low)
    marks[row >> six] |= bit


@inlined
def _collect(
    marks,  # inout, all 0 afterwards
    indices,  # out (columns, k)
    j,
):
    """Write the marked rows down in order."""
    at = 0
    for i in range(marks.size):
        mark = marks[i]
        row = 64 * i
        while mark:
            if mark & types.uint64(1):
                indices[j, at] = row
                at += 1
            mark >>= types.uint64(1)
            row += 1
        marks[i] = types.uint64(0)
