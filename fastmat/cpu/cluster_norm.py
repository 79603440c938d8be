"""Normalization of rows within their clusters: (x - mean) * rstd * weight + bias, per feature.

A cluster whose rows stay in the L2 cache, for a block of features, is measured and written in one
go. A longer one is measured piece by piece, and the pieces are combined in their order.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.mathfn import accumulator
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import FUSED_LINES, LANES
from fastmat.cpu.clusters import arrange, arranged, columns, gather, is_long, piece_of, scatter
from fastmat.cpu.combine import combined
from fastmat.cpu.groups import FLOATS, threads_for
from fastmat.cpu.kinds import MEAN_SPREAD, MOMENTS
from fastmat.cpu.lines import own
from fastmat.cpu.moments_across import of_block
from fastmat.cpu.normalization_across import WORK, find_factors, normalize_block
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype


def _types(t):
    parameter = reads(accumulator(t), 5)
    statistic = writes(types.float64, 2)
    labels = reads(types.int64, 1)
    how = types.intp, types.float64
    return reads(t, 5), parameter, parameter, writes(t, 5), labels, statistic, statistic, *how


@kernel(_types, FLOATS, from_python=True)
def cluster_norm(
    x,  # in (1, d, 1, 1, n), not empty
    weight,  # in (1, d, 1, 1, 1) or all 1
    bias,  # in, of the shape of weight
    out,  # out (1, d, 1, 1, n), may be x
    labels,  # in (n,), each less than `clusters`
    mean,  # out (clusters, d), or (0, 0) where it is not wanted
    rstd,  # out, of the shape of mean
    clusters,
    eps,
):
    """Normalize each feature of the rows of each cluster by their own statistics."""
    d, n = x.shape[1], x.shape[4]
    order, starts, tasks, pieces, counts = arranged(n, clusters)
    call_on_demand(arrange, labels.dtype, (labels, order, starts, tasks, pieces, counts))
    threads = threads_for(x)
    blocks = ceil_div(d, LANES)
    room = min(n, FUSED_LINES) * (LANES + 2) + WORK
    buffers = scratch((threads, 1, room), sum_dtype(x.dtype))
    found = scratch((2, counts[1], d), types.float64)
    arrays = x, weight, bias, out
    args = arrays, (mean, rstd, eps), (order, starts, tasks, pieces, found), buffers
    parallel_for(_short_clusters, counts[0] * blocks, threads, args)
    if counts[1] > 0:
        parallel_for(_measure_piece, counts[1] * blocks, threads, args)
        _combine(pieces, starts, found, counts[1], mean, rstd, eps)
        parallel_for(_write_piece, counts[1] * blocks, threads, args)


@task
def _short_clusters(args, slot, index):
    (x, weight, bias, out), (mean, rstd, eps), (order, starts, tasks, _, _), buffers = args
    t, i, width = columns(x, index)
    statistics = scratch((3, LANES), types.float64)
    centers, factors, rest = statistics[0], statistics[1], statistics[2]
    numbers = own(buffers, slot, 0)
    kept = mean.shape[0] > 0
    for c in range(tasks[t], tasks[t + 1]):
        start, lines = starts[c], starts[c + 1] - starts[c]
        if is_long(lines):
            continue
        if lines == 0:
            for k in range(width if kept else 0):
                mean[c, i + k] = rstd[c, i + k] = np.nan
            continue
        gather(x, order, start, lines, i, width, numbers)
        of_block(numbers, lines, MOMENTS, centers, factors, rest)
        find_factors(factors, lines, MEAN_SPREAD, eps)
        for k in range(width if kept else 0):
            mean[c, i + k], rstd[c, i + k] = centers[k], factors[k]
        normalize_block(x, weight, bias, 0, i, width, 0, lines, centers, factors, numbers, False)
        scatter(numbers, out, order, start, lines, i, width)


@task
def _measure_piece(args, slot, index):
    (x, _, _, _), _, (order, starts, _, pieces, found), buffers = args
    p, i, width = columns(x, index)
    _, start, lines = piece_of(pieces, starts, p)
    statistics = scratch((3, LANES), types.float64)
    centers, spreads = statistics[0], statistics[1]
    numbers = own(buffers, slot, 0)
    gather(x, order, start, lines, i, width, numbers)
    of_block(numbers, lines, MOMENTS, centers, spreads, statistics[2])
    for k in range(width):
        found[0, p, i + k], found[1, p, i + k] = centers[k], spreads[k]


@inlined
def _combine(
    pieces,  # in (pieces, 3)
    starts,  # in (clusters + 1,)
    found,  # inout (2, pieces, d): center and spread of each; mean and rstd at the first piece
    count,  # of the pieces
    mean,
    rstd,
    eps,
):
    """Mean and rstd of long clusters from what was measured of their pieces."""
    for p in range(count):
        c, start, lines = piece_of(pieces, starts, p)
        first, before = pieces[p, 2], start - starts[c]
        for i in range(found.shape[2]):
            center, spread = found[0, first, i], found[1, first, i]
            here = found[0, p, i], found[1, p, i]
            center, spread = combined(MOMENTS, before, center, spread, lines, *here)
            found[0, first, i], found[1, first, i] = center, spread
        if start + lines == starts[c + 1]:
            for i in range(found.shape[2]):
                factor = 1 / math.sqrt(found[1, first, i] / (before + lines) + eps)
                found[1, first, i] = factor
                if mean.shape[0] > 0:
                    mean[c, i], rstd[c, i] = found[0, first, i], factor


@task
def _write_piece(args, slot, index):
    (x, weight, bias, out), _, (order, starts, _, pieces, found), buffers = args
    p, i, width = columns(x, index)
    _, start, lines = piece_of(pieces, starts, p)
    statistics = scratch((2, LANES), types.float64)
    centers, factors, first = statistics[0], statistics[1], pieces[p, 2]
    for k in range(width):
        centers[k], factors[k] = found[0, first, i + k], found[1, first, i + k]
    numbers = own(buffers, slot, 0)
    gather(x, order, start, lines, i, width, numbers)
    normalize_block(x, weight, bias, 0, i, width, 0, lines, centers, factors, numbers, False)
    scatter(numbers, out, order, start, lines, i, width)
