"""Statistics of groups that lie along the last axis, chunk by chunk."""

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined, reducing
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, PIECE, TASK
from fastmat.cpu.combine import combine_statistics, combined
from fastmat.cpu.groups import FLOATS, chunk, chunks, statistics_types, threads_for
from fastmat.cpu.kinds import MAGNITUDES, MOMENTS, SQUARES
from fastmat.cpu.lines import loaded, own
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype


@kernel(statistics_types, FLOATS)
def statistics_along(
    x,  # in (o, i, p, r, q), not empty
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    kind,  # what to measure
):
    """Center and spread of each group."""
    groups = x.shape[0] * x.shape[1]
    threads = threads_for(x)
    pieces = ceil_div(chunks(x), PIECE)
    several = max(1, TASK * pieces * groups // x.size)
    found = scratch((3, groups, pieces), types.float64)
    buffers = scratch((threads, 1, CHUNK), sum_dtype(x.dtype))
    tasks = ceil_div(groups * pieces, several)
    parallel_for(_pieces, tasks, threads, (x, found, kind, several, buffers))
    combine_statistics(kind, found, center, spread, threads)


@task
def _pieces(args, slot, index):
    x, found, kind, several, buffers = args
    pieces = found.shape[2]
    for number in range(index * several, min((index + 1) * several, found.shape[1] * pieces)):
        g, piece = number // pieces, number % pieces
        first, last = piece * PIECE, min((piece + 1) * PIECE, chunks(x))
        o, i = g // x.shape[1], g % x.shape[1]
        mean, total, count = of_chunks(x, o, i, first, last, kind, own(buffers, slot, 0))
        found[0, g, piece], found[1, g, piece], found[2, g, piece] = mean, total, count


@always_inlined
def of_chunks(
    x,  # in (o, i, p, r, q)
    o,
    i,
    first,
    last,
    kind,
    buffer,  # scratch (CHUNK,)
):
    """Center and spread of some chunks of a group, and how many numbers they have."""
    count, mean, total = 0, 0.0, 0.0
    for c in range(first, last):
        numbers = loaded(chunk(x, o, i, c, x.shape), buffer)
        center, spread = _of_line(numbers, kind)
        mean, total = combined(kind, count, mean, total, numbers.shape[0], center, spread)
        count += numbers.shape[0]
    return mean, total, count


@always_inlined
def _of_line(x, kind):
    if kind == MOMENTS:
        mean = _sum(x) / x.shape[0]
        rest, squares = _deviations(x, mean)
        if rest != rest:  # infinities: the mean is what it is
            return mean, squares
        squares -= rest * rest / x.shape[0]
        return mean + rest / x.shape[0], 0.0 if squares < 0 else squares
    if kind == SQUARES:
        return 0.0, _squares(x)
    if kind == MAGNITUDES:
        return 0.0, _magnitudes(x)
    return 0.0, _largest(x)


@reducing
def _sum(x):
    total = 0.0
    for j in range(x.shape[0]):
        total += np.float64(x[j])
    return total


@reducing
def _deviations(x, center):
    """Sums of deviations and of their squares: the first is what the center is off by."""
    rest = total = 0.0
    for j in range(x.shape[0]):
        apart = np.float64(x[j]) - center
        rest += apart
        total += apart * apart
    return rest, total


@reducing
def _squares(x):
    total = 0.0
    for j in range(x.shape[0]):
        total += np.float64(x[j]) * np.float64(x[j])
    return total


@reducing
def _magnitudes(x):
    total = 0.0
    for j in range(x.shape[0]):
        total += abs(np.float64(x[j]))
    return total


@reducing
def _largest(x):
    largest, strange = abs(x[0]), 0
    for j in range(x.shape[0]):
        size = abs(x[j])
        largest = size if size > largest else largest
        strange |= size != size
    return np.nan if strange else np.float64(largest)
