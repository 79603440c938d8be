"""Masked reductions of groups that lie along the last axis, chunk by chunk.

Of each chunk the valid numbers are counted first: if there are none it is not read, and if all
are valid it is reduced as without a mask.
"""

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.elementary import select
from fastmat.core.inline import always_inlined, overload, reducing
from fastmat.core.mathfn import accumulator, narrow, widen
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, PIECE
from fastmat.cpu.groups import chunk, chunks, threads_for
from fastmat.cpu.kinds import TIES
from fastmat.cpu.lines import loaded, own
from fastmat.cpu.masked_combine import (
    add_pieces,
    combine_moments,
    combined_moments,
    is_before,
    least_of_pieces,
)
from fastmat.cpu.masked_groups import (
    REALS,
    as_total,
    by_piece,
    count_valid,
    extremes_types,
    lesser,
    moments_types,
    pieces_of,
    sums_types,
    top_of,
    turned,
    valid_chunk,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.views import part

SEARCHED = 256  # numbers that are searched at once, without a branch


@kernel(sums_types, REALS)
def sums_along(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1), for TIES
    total,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    keep,  # the bits of an integer
    kind,  # what is added up
):
    """Sum over each group, and the number of its valid numbers."""
    pieces, several = pieces_of(x)
    threads = threads_for(x)
    found, counts = by_piece(total, pieces), by_piece(count, pieces)
    buffers = scratch((threads, 1, CHUNK), sum_dtype(x.dtype))
    marks = scratch((threads, 1, CHUNK), mask.dtype)
    tasks = ceil_div(x.shape[0] * x.shape[1] * pieces, several)
    args = (x, mask, center, found, counts, keep, kind, several, buffers, marks)
    parallel_for(_sum_pieces, tasks, threads, args)
    if pieces > 1:
        add_pieces(found, counts, total, count, threads)


@task
def _sum_pieces(args, slot, index):
    x, mask, center, found, counts, keep, kind, several, buffers, marks = args
    _, inner, pieces, _, _ = found.shape
    all_pieces = x.shape[0] * inner * pieces
    zero = as_total(nothing_of(x), keep)
    for number in range(index * several, min((index + 1) * several, all_pieces)):
        g, piece = number // pieces, number % pieces
        o, i = g // inner, g % inner
        total, count = zero, 0
        middle = center[o, i, 0, 0, 0] if kind == TIES else 0.0
        for c in range(piece * PIECE, min((piece + 1) * PIECE, chunks(x))):
            source = chunk(x, o, i, c, x.shape)
            valid = valid_chunk(mask, o, i, c, x.shape, own(marks, slot, 0))
            n = count_valid(valid, source.shape[0])
            if n == 0:
                continue
            numbers = loaded(source, own(buffers, slot, 0))
            if kind == TIES:
                total += _ties(numbers, valid, n < numbers.shape[0], middle)
            elif n == numbers.shape[0]:
                total += _sum(numbers, valid, False, keep, zero)
            else:
                total += _sum(numbers, valid, True, keep, zero)
            count += n
        found[o, i, piece, 0, 0], counts[o, i, piece, 0, 0] = total, count


def nothing_of(x):
    raise TypeError("only for compiled code")


@overload(nothing_of)
def _zero_of(x):
    """0 in the type that the numbers of an array are computed with."""
    item = accumulator(x.dtype)
    return lambda x: item(0)


@reducing
def _sum(x, valid, masked, keep, zero):
    total = zero
    for j in range(x.shape[0]):
        number = as_total(x[j], keep)
        total += select(not masked or widen(valid[j]) != 0, number, zero)
    return total


@reducing
def _ties(x, valid, masked, center):
    """How many valid numbers equal the center; NaN equals NaN here."""
    count, strange = 0, center != center
    for j in range(x.shape[0]):
        number = np.float64(x[j])
        equal = (number == center) | (strange & (number != number))
        count += equal & (not masked or widen(valid[j]) != 0)
    return count


@kernel(moments_types, REALS)
def moments_along(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    keep,  # the bits of an integer
):
    """Mean of each group, sum of squares of deviations from it, number of valid numbers."""
    pieces, several = pieces_of(x)
    threads = threads_for(x)
    found = by_piece(center, pieces), by_piece(spread, pieces), by_piece(count, pieces)
    buffers = scratch((threads, 1, CHUNK), sum_dtype(x.dtype))
    marks = scratch((threads, 1, CHUNK), mask.dtype)
    tasks = ceil_div(x.shape[0] * x.shape[1] * pieces, several)
    args = (x, mask, found, keep, several, buffers, marks)
    parallel_for(_measure_pieces, tasks, threads, args)
    if pieces > 1:
        combine_moments(found, (center, spread, count), threads)


@task
def _measure_pieces(args, slot, index):
    x, mask, (centers, spreads, counts), keep, several, buffers, marks = args
    _, inner, pieces, _, _ = counts.shape
    all_pieces = x.shape[0] * inner * pieces
    for number in range(index * several, min((index + 1) * several, all_pieces)):
        g, piece = number // pieces, number % pieces
        o, i = g // inner, g % inner
        found = np.nan, 0.0, 0
        for c in range(piece * PIECE, min((piece + 1) * PIECE, chunks(x))):
            source = chunk(x, o, i, c, x.shape)
            valid = valid_chunk(mask, o, i, c, x.shape, own(marks, slot, 0))
            n = count_valid(valid, source.shape[0])
            if n == 0:
                continue
            numbers = loaded(source, own(buffers, slot, 0))
            if n == numbers.shape[0]:
                here = _moments(numbers, valid, False, n, keep)
            else:
                here = _moments(numbers, valid, True, n, keep)
            found = combined_moments(found, (here[0], here[1], n))
        place = o, i, piece, 0, 0
        centers[place], spreads[place], counts[place] = found


@always_inlined
def _moments(x, valid, masked, n, keep):
    """Mean, and squares of deviations: corrected by the mean of deviations from the mean."""
    mean = _float_sum(x, valid, masked, keep) / n
    rest, squares = _deviations(x, valid, masked, keep, mean)
    if rest != rest:  # infinities: the mean is what it is
        return mean, squares
    squares -= rest * rest / n
    return mean + rest / n, 0.0 if squares < 0 else squares


@reducing
def _float_sum(x, valid, masked, keep):
    total = 0.0
    for j in range(x.shape[0]):
        number = np.float64(as_total(x[j], keep))
        total += select(not masked or widen(valid[j]) != 0, number, 0.0)
    return total


@reducing
def _deviations(x, valid, masked, keep, center):
    rest = total = 0.0
    for j in range(x.shape[0]):
        apart = np.float64(as_total(x[j], keep)) - center
        apart = select(not masked or widen(valid[j]) != 0, apart, 0.0)
        rest += apart
        total += apart * apart
    return rest, total


@kernel(extremes_types, REALS)
def extremes_along(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    least,  # out (o, i, 1, 1, 1)
    where,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    p_step,  # by how much one step along p moves on in what `where` counts
    r_step,
    q_step,
    turn,  # turns the order, see `turned`
    wanted,  # whether the first places are wanted
):
    """The least number of each group, its first place, and how many numbers are valid."""
    pieces, several = pieces_of(x)
    threads = threads_for(x)
    found = by_piece(least, pieces), by_piece(where, pieces), by_piece(count, pieces)
    buffers = scratch((threads, 2, CHUNK), sum_dtype(x.dtype))
    marks = scratch((threads, 1, CHUNK), mask.dtype)
    tasks = ceil_div(x.shape[0] * x.shape[1] * pieces, several)
    steps = p_step, r_step, q_step
    args = (x, mask, found, steps, turn, wanted, several, buffers, marks)
    parallel_for(_search_pieces, tasks, threads, args)
    if pieces > 1:
        least_of_pieces(found, (least, where, count), threads)


@task
def _search_pieces(args, slot, index):
    x, mask, (leasts, places, counts), steps, turn, wanted, several, buffers, marks = args
    _, inner, pieces, _, _ = counts.shape
    all_pieces = x.shape[0] * inner * pieces
    for number in range(index * several, min((index + 1) * several, all_pieces)):
        g, piece = number // pieces, number % pieces
        o, i = g // inner, g % inner
        least = as_total(nothing_of(x), -1)
        place, count = -1, 0
        for c in range(piece * PIECE, min((piece + 1) * PIECE, chunks(x))):
            source = chunk(x, o, i, c, x.shape)
            valid = valid_chunk(mask, o, i, c, x.shape, own(marks, slot, 0))
            n = count_valid(valid, source.shape[0])
            if n == 0:
                continue
            numbers = loaded(source, own(buffers, slot, 0))
            masked = n < numbers.shape[0]
            factor = narrow(turn, numbers.dtype)
            keys = part(own(buffers, slot, 1), 0, numbers.shape[0])
            if masked:
                here = _least(numbers, valid, True, factor, keys)
            else:
                here = _least(numbers, valid, False, factor, keys)
            begin = _begin_of(c, x.shape, steps)
            if count == 0 or is_before(as_total(here, -1), begin, least, place):
                at = 0
                if wanted:
                    at = begin + _first(keys, valid, masked, here) * steps[2]
                if count == 0 or is_before(as_total(here, -1), at, least, place):
                    least, place = as_total(here, -1), at
            count += n
        leasts[o, i, piece, 0, 0], places[o, i, piece, 0, 0] = least, place
        counts[o, i, piece, 0, 0] = count


@always_inlined
def _begin_of(c, shape, steps):
    """What the places of a chunk are counted from."""
    in_a_line = ceil_div(shape[4], CHUNK)
    run, first = c // in_a_line, c % in_a_line * CHUNK
    return run // shape[3] * steps[0] + run % shape[3] * steps[1] + first * steps[2]


@reducing
def _least(
    x,  # in (n,)
    valid,
    masked,
    turn,
    keys,  # scratch (n,)
):
    """In two loops: LLVM moves a selection into `lesser`, and then finds no SIMD for it."""
    top = top_of(x)
    for j in range(keys.shape[0]):
        key = narrow(turned(x[j], turn), x.dtype)
        keys[j] = select(not masked or widen(valid[j]) != 0, key, top)
    least = top
    for j in range(keys.shape[0]):
        least = lesser(least, keys[j])
    return least


@always_inlined
def _first(keys, valid, masked, least):
    """Where the first valid number is that equals the least, NaN equalling NaN."""
    n = keys.shape[0]
    for start in range(0, n, SEARCHED):
        stop = min(start + SEARCHED, n)
        if masked:
            at = _first_of(keys, valid, True, least, start, stop)
        else:
            at = _first_of(keys, valid, False, least, start, stop)
        if at < stop:
            return at
    return 0


@always_inlined
def _first_of(keys, valid, masked, least, start, stop):
    """The same between two places; `stop` if there is none. Without a branch, so it is SIMD."""
    first = types.int32(stop)
    for j in range(start, stop):
        equal = (keys[j] == least) | ((keys[j] != keys[j]) & (least != least))
        equal = equal & (not masked or widen(valid[j]) != 0)
        first = lesser(first, select(equal, types.int32(j), types.int32(stop)))
    return first
