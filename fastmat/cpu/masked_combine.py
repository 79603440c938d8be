"""What was found of the pieces of groups, combined in order; pieces may have no valid numbers."""

from fastmat.core.inline import always_inlined, inlined
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK
from fastmat.cpu.combine import combined
from fastmat.cpu.kinds import MOMENTS
from fastmat.cpu.parallel import parallel_for, task


@inlined
def add_pieces(
    found,  # in (o, i, pieces, 1, 1)
    counts,  # in (o, i, pieces, 1, 1)
    total,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    threads,
):
    """Sums and counts of each group."""
    groups = found.shape[0] * found.shape[1]
    parallel_for(_add_pieces, ceil_div(groups, CHUNK), threads, (found, counts, total, count))


@task
def _add_pieces(args, slot, index):
    found, counts, total, count = args
    inner = found.shape[1]
    for g in range(index * CHUNK, min((index + 1) * CHUNK, found.shape[0] * inner)):
        o, i = g // inner, g % inner
        value, number = found[o, i, 0, 0, 0], counts[o, i, 0, 0, 0]
        for piece in range(1, found.shape[2]):
            value += found[o, i, piece, 0, 0]
            number += counts[o, i, piece, 0, 0]
        total[o, i, 0, 0, 0], count[o, i, 0, 0, 0] = value, number


@always_inlined
def combined_moments(first, second):
    """Mean, squares of deviations and number of two sets of numbers together."""
    mean, total, count = first
    mean2, total2, count2 = second
    if count2 == 0:
        return mean, total, count
    mean, total = combined(MOMENTS, count, mean, total, count2, mean2, total2)
    return mean, total, count + count2


@inlined
def combine_moments(
    found,  # in: mean, squares of deviations and number, each (o, i, pieces, 1, 1)
    out,  # out: the same, each (o, i, 1, 1, 1)
    threads,
):
    groups = found[0].shape[0] * found[0].shape[1]
    parallel_for(_combine_moments, ceil_div(groups, CHUNK), threads, (found, out))


@task
def _combine_moments(args, slot, index):
    (centers, spreads, counts), (center, spread, count) = args
    inner = centers.shape[1]
    for g in range(index * CHUNK, min((index + 1) * CHUNK, centers.shape[0] * inner)):
        o, i = g // inner, g % inner
        place = o, i, 0, 0, 0
        all_pieces = centers[place], spreads[place], counts[place]
        for piece in range(1, centers.shape[2]):
            at = o, i, piece, 0, 0
            all_pieces = combined_moments(all_pieces, (centers[at], spreads[at], counts[at]))
        center[place], spread[place], count[place] = all_pieces


@always_inlined
def is_before(value, place, value2, place2):
    """Whether a number is less than another, or is NaN, or equal and comes first."""
    if value == value2 or (value != value and value2 != value2):
        return place < place2
    return value < value2 or value != value


@inlined
def least_of_pieces(
    found,  # in: least number, place and how many are valid, each (o, i, pieces, 1, 1)
    out,  # out: the same, each (o, i, 1, 1, 1)
    threads,
):
    groups = found[0].shape[0] * found[0].shape[1]
    parallel_for(_least_of_pieces, ceil_div(groups, CHUNK), threads, (found, out))


@task
def _least_of_pieces(args, slot, index):
    (leasts, places, counts), (least, where, count) = args
    inner = leasts.shape[1]
    for g in range(index * CHUNK, min((index + 1) * CHUNK, leasts.shape[0] * inner)):
        o, i = g // inner, g % inner
        value, place, number = leasts[o, i, 0, 0, 0], places[o, i, 0, 0, 0], 0
        for piece in range(leasts.shape[2]):
            at = o, i, piece, 0, 0
            if counts[at] > 0 and (number == 0 or is_before(leasts[at], places[at], value, place)):
                value, place = leasts[at], places[at]
            number += counts[at]
        least[o, i, 0, 0, 0], where[o, i, 0, 0, 0], count[o, i, 0, 0, 0] = value, place, number
