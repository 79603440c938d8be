"""Statistics of two sets of numbers, combined."""

import math

import numpy as np
from numba import types

from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK
from fastmat.cpu.kinds import LARGEST, MOMENTS
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch


@always_inlined
def combined(kind, count, center, spread, count2, center2, spread2):
    """Center and spread of two sets of numbers together; the first may be empty."""
    if count == 0:
        return center2, spread2
    if kind == LARGEST:
        return 0.0, spread if spread > spread2 or spread != spread else spread2
    if kind == MOMENTS:
        share = count2 / (count + count2)
        apart = center2 - center
        middle = center + apart * share
        if middle != middle:  # infinities: the mean is what it is
            middle = center + center2
        return middle, spread + spread2 + apart * apart * (count * share)
    return 0.0, spread + spread2


@inlined
def combine_statistics(
    kind,  # what was measured
    found,  # in (3, groups, pieces): center, spread and number of what is in each piece
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    threads,
):
    """Center and spread of each group, from its pieces in order."""
    tasks = ceil_div(found.shape[1], CHUNK)
    parallel_for(_combine_statistics, tasks, threads, (kind, found, center, spread))


@task
def _combine_statistics(args, slot, index):
    kind, found, center, spread = args
    for g in range(index * CHUNK, min((index + 1) * CHUNK, found.shape[1])):
        count, middle, total = 0.0, 0.0, 0.0
        for piece in range(found.shape[2]):
            here = found[0, g, piece], found[1, g, piece]
            if found[2, g, piece] > 0:
                middle, total = combined(kind, count, middle, total, found[2, g, piece], *here)
                count += found[2, g, piece]
        if count == 0:
            middle = total = np.nan
        o, i = g // center.shape[1], g % center.shape[1]
        center[o, i, 0, 0, 0], spread[o, i, 0, 0, 0] = middle, total


@inlined
def add_pieces(
    found,  # in (2, groups, pieces)
    first,  # out (o, i, 1, 1, 1)
    second,  # out (o, i, 1, 1, 1)
    threads,
):
    """The two sums of each group, from those of its pieces in order."""
    parallel_for(_add_pieces, ceil_div(found.shape[1], CHUNK), threads, (found, first, second))


@task
def _add_pieces(args, slot, index):
    found, first, second = args
    for g in range(index * CHUNK, min((index + 1) * CHUNK, found.shape[1])):
        total, total2 = 0.0, 0.0
        for piece in range(found.shape[2]):
            total += found[0, g, piece]
            total2 += found[1, g, piece]
        o, i = g // first.shape[1], g % first.shape[1]
        first[o, i, 0, 0, 0], second[o, i, 0, 0, 0] = total, total2


@inlined
def add_parts(
    parts,  # in (2, tasks, places)
    first,  # inout (o, i, p, r, q), of as many places
    second,  # inout (o, i, p, r, q)
    threads,
):
    """Add what each task found, in order."""
    blocks = ceil_div(parts.shape[2], CHUNK)
    parallel_for(_add_places, blocks, threads, (parts, first, second))


@task
def _add_places(args, slot, index):
    parts, first, second = args
    begin, end = index * CHUNK, min((index + 1) * CHUNK, parts.shape[2])
    total = scratch((2, CHUNK), types.float64)
    for which in range(2):
        for j in range(end - begin):
            total[which, j] = 0
        for t in range(parts.shape[1]):
            for j in range(end - begin):
                total[which, j] += parts[which, t, begin + j]
    for j in range(end - begin):
        place = place_of(begin + j, first.shape)
        first[place] += total[0, j]
        second[place] += total[1, j]


@inlined
def place_of(number, shape):
    """The indices of a number among all of an array."""
    _, inner, p, r, q = shape
    line = number // q
    return (
        line // (r * p * inner),
        line // (r * p) % inner,
        line // r % p,
        line % r,
        number % q,
    )


@inlined
def joined(largest, total, largest2, total2):
    """Largest number, and sum of exponentials relative to it, of two sets together."""
    if largest2 > largest or largest2 != largest2:
        largest, total, largest2, total2 = largest2, total2, largest, total
    if largest == largest2:
        return largest, total + total2
    return largest, total + (total2 * math.exp(largest2 - largest) if total2 > 0 else total2)


@inlined
def combine_sums(
    found,  # inout (2, groups, pieces): largest number and sum of each piece, then of the group
):
    for g in range(found.shape[1]):
        largest, total = found[0, g, 0], found[1, g, 0]
        for piece in range(1, found.shape[2]):
            largest, total = joined(largest, total, found[0, g, piece], found[1, g, piece])
        found[0, g, 0], found[1, g, 0] = largest, total


@inlined
def log_of_sum(largest, total):
    """log(sum(exp(x))); infinities are what they are, and not the NaN of their difference."""
    if math.isinf(largest):
        return largest
    return largest + math.log(total)


@inlined
def write_logs(found, out):
    for g in range(found.shape[1]):
        o, i = g // out.shape[1], g % out.shape[1]
        out[o, i, 0, 0, 0] = narrow(log_of_sum(found[0, g, 0], found[1, g, 0]), out.dtype)
