"""Statistics of groups that lie along the last axis, chunk by chunk."""

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined, overload, reducing
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, PIECE, TASK
from fastmat.cpu.combine import combine_statistics, combined
from fastmat.cpu.groups import FLOATS, chunk, chunks, statistics_types, threads_for
from fastmat.cpu.kinds import MAGNITUDES, MOMENTS, SQUARES
from fastmat.cpu.lines import is_packed, own, packed
from fastmat.cpu.masks import (
    add_counts,
    counted,
    if_kept,
    loaded_where,
    mask_chunk,
)
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
    measure_groups(x, None, center, spread, None, kind)


@always_inlined
def measure_groups(x, mask, center, spread, counts, kind):
    """The same, and how many numbers of each group a mask keeps, if there is one."""
    groups = x.shape[0] * x.shape[1]
    threads = threads_for(x)
    pieces = ceil_div(chunks(x), PIECE)
    several = max(1, TASK * pieces * groups // x.size)
    found = scratch((3, groups, pieces), types.float64)
    buffers = scratch((threads, 1, CHUNK), sum_dtype(x.dtype))
    tasks = ceil_div(groups * pieces, several)
    parallel_for(_pieces, tasks, threads, (x, mask, found, kind, several, buffers))
    combine_statistics(kind, found, center, spread, threads)
    add_counts(found[2], counts)


@task
def _pieces(args, slot, index):
    x, mask, found, kind, several, buffers = args
    pieces = found.shape[2]
    for number in range(index * several, min((index + 1) * several, found.shape[1] * pieces)):
        g, piece = number // pieces, number % pieces
        first, last = piece * PIECE, min((piece + 1) * PIECE, chunks(x))
        o, i = g // x.shape[1], g % x.shape[1]
        mean, total, count = of_chunks(x, mask, o, i, first, last, kind, own(buffers, slot, 0))
        found[0, g, piece], found[1, g, piece], found[2, g, piece] = mean, total, count


@always_inlined
def of_chunks(
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike, or None
    o,
    i,
    first,
    last,
    kind,
    buffer,  # scratch (CHUNK,)
):
    """Center and spread of some chunks of a group, and how many numbers of them are kept."""
    count, mean, total = 0, 0.0, 0.0
    for c in range(first, last):
        kept = mask_chunk(mask, o, i, c, x.shape)
        numbers = loaded_where(kept, chunk(x, o, i, c, x.shape), buffer, narrow(0, buffer.dtype))
        n = counted(kept, numbers.shape[0])
        if n > 0:
            center, spread = _of_line(kept, numbers, n, kind)
            mean, total = combined(kind, count, mean, total, n, center, spread)
            count += n
    return mean, total, count


@always_inlined
def _of_line(
    kept,  # in (n,) or (1,), or None
    x,  # in (n,), 0 where it is masked
    n,  # how many numbers are kept
    kind,
):
    if kind == MOMENTS:
        mean = _sum(x) / n
        rest, squares = _deviations(kept, x, mean)
        if rest != rest:  # infinities: the mean is what it is
            return mean, squares
        squares -= rest * rest / n
        return mean + rest / n, 0.0 if squares < 0 else squares
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


def _deviations(kept, x, center):
    raise TypeError("only for compiled code")


@overload(_deviations)
def _deviations_of_kept(
    kept,  # in (n,) or (1,), or None
    x,  # in (n,)
    center,
):
    """Sums of deviations and of their squares: the first is what the center is off by."""
    if kept == types.none:
        return lambda kept, x, center: _add_deviations(None, x, center)

    def add(kept, x, center):
        if kept.shape[0] == 1:
            return _add_deviations(None, x, center)
        if is_packed(kept):
            return _add_deviations(packed(kept), x, center)
        return _add_deviations(kept, x, center)

    return add


@reducing
def _add_deviations(kept, x, center):
    rest = total = 0.0
    for j in range(x.shape[0]):
        apart = if_kept(kept, j, np.float64(x[j]) - center)
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
