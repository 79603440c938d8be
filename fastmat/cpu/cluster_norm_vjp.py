"""Gradient of the normalization of rows within their clusters.

With g the cotangent, and means over the rows of a cluster,

    dx = rstd * weight * (g - mean(g) - xhat * mean(g * xhat))

because weight is the same for all of these rows. Gradients of weight and bias are the sums of
g * xhat and of g over all rows. All is computed in float64.
"""

import numpy as np
from numba import types

from fastmat.core.compile import call_on_demand, kernel, reads, writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import FUSED_LINES, LANES
from fastmat.cpu.clusters import arrange, arranged, columns, gather, is_long, piece_of, scatter
from fastmat.cpu.groups import FLOATS, threads_for
from fastmat.cpu.lines import own
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype


def _types(t):
    labels, statistic = reads(types.int64, 1), reads(types.float64, 2)
    weight, sums = reads(types.float64, 1), writes(types.float64, 1)
    return reads(t, 5), reads(t, 5), writes(t, 5), labels, statistic, statistic, weight, sums, sums


@kernel(_types, FLOATS, from_python=True)
def cluster_norm_vjp(
    g,  # in (1, d, 1, 1, n), not empty
    x,  # in (1, d, 1, 1, n)
    out,  # out (1, d, 1, 1, n), may be x
    labels,  # in (n,), each less than `clusters`
    mean,  # in (clusters, d)
    rstd,  # in (clusters, d)
    weight,  # in (d,)
    dweight,  # out (d,)
    dbias,  # out (d,)
):
    """Gradients by x, weight and bias."""
    d, n = x.shape[1], x.shape[4]
    order, starts, tasks, pieces, counts = arranged(n, mean.shape[0])
    call_on_demand(arrange, labels.dtype, (labels, order, starts, tasks, pieces, counts))
    threads = threads_for(x)
    blocks = ceil_div(d, LANES)
    buffers = scratch((threads, 2, min(n, FUSED_LINES) * LANES), sum_dtype(x.dtype))
    found = scratch((2, counts[0] + counts[1], d), types.float64)
    shared = order, starts, tasks, pieces, found
    args = (g, x, out), (mean, rstd, weight), shared, counts[0], buffers
    parallel_for(_short_clusters, counts[0] * blocks, threads, args)
    if counts[1] > 0:
        parallel_for(_add_piece, counts[1] * blocks, threads, args)
    for i in range(d):
        dweight[i] = dbias[i] = 0
    _add_up(found, dbias, dweight)
    if counts[1] > 0:
        _add_up_clusters(found, counts[0], counts[1], pieces)
        parallel_for(_write_piece, counts[1] * blocks, threads, args)


@task
def _short_clusters(args, slot, index):
    (g, x, out), statistics, (order, starts, tasks, _, found), _, buffers = args
    t, i, width = columns(x, index)
    sums = scratch((4, LANES), types.float64)
    cotangents, numbers = own(buffers, slot, 0), own(buffers, slot, 1)
    for k in range(width):
        found[0, t, i + k] = found[1, t, i + k] = 0
    for c in range(tasks[t], tasks[t + 1]):
        start, lines = starts[c], starts[c + 1] - starts[c]
        if is_long(lines) or lines == 0:
            continue
        gather(g, order, start, lines, i, width, cotangents)
        gather(x, order, start, lines, i, width, numbers)
        _load_statistics(statistics, c, i, width, sums)
        _sum(cotangents, numbers, lines, sums)
        for k in range(width):
            found[0, t, i + k] += sums[2, k]
            found[1, t, i + k] += sums[3, k]
        _differentiate(cotangents, numbers, lines, lines, statistics[2], i, width, sums)
        scatter(numbers, out, order, start, lines, i, width)


@task
def _add_piece(args, slot, index):
    (g, x, _), statistics, (order, starts, _, pieces, found), before, buffers = args
    p, i, width = columns(x, index)
    c, start, lines = piece_of(pieces, starts, p)
    sums = scratch((4, LANES), types.float64)
    cotangents, numbers = own(buffers, slot, 0), own(buffers, slot, 1)
    gather(g, order, start, lines, i, width, cotangents)
    gather(x, order, start, lines, i, width, numbers)
    _load_statistics(statistics, c, i, width, sums)
    _sum(cotangents, numbers, lines, sums)
    for k in range(width):
        found[0, before + p, i + k], found[1, before + p, i + k] = sums[2, k], sums[3, k]


@task
def _write_piece(args, slot, index):
    (g, x, out), statistics, (order, starts, _, pieces, found), before, buffers = args
    p, i, width = columns(x, index)
    c, start, lines = piece_of(pieces, starts, p)
    sums = scratch((4, LANES), types.float64)
    cotangents, numbers = own(buffers, slot, 0), own(buffers, slot, 1)
    gather(g, order, start, lines, i, width, cotangents)
    gather(x, order, start, lines, i, width, numbers)
    _load_statistics(statistics, c, i, width, sums)
    at, rows = before + pieces[p, 2], starts[c + 1] - starts[c]
    for k in range(width):
        sums[2, k], sums[3, k] = found[0, at, i + k], found[1, at, i + k]
    _differentiate(cotangents, numbers, lines, rows, statistics[2], i, width, sums)
    scatter(numbers, out, order, start, lines, i, width)


@inlined
def _load_statistics(
    statistics,  # (mean, rstd, weight)
    c,
    i,
    width,
    sums,  # out (4, LANES): mean, rstd; and room for sums of g and of g * xhat
):
    mean, rstd, _ = statistics
    for k in range(LANES):
        sums[0, k], sums[1, k] = (mean[c, i + k], rstd[c, i + k]) if k < width else (0.0, 0.0)


@always_inlined
def _sum(
    g,  # in (lines * LANES,)
    x,  # in (lines * LANES,)
    lines,
    sums,  # inout (4, LANES)
):
    """Sums of g and of g * xhat over lines."""
    center, factor, total, products = sums[0], sums[1], sums[2], sums[3]
    for k in range(LANES):
        total[k] = products[k] = 0
    for j in range(lines):
        for k in range(LANES):
            number = np.float64(g[j * LANES + k])
            total[k] += number
            products[k] += number * ((np.float64(x[j * LANES + k]) - center[k]) * factor[k])


@always_inlined
def _differentiate(
    g,  # in (lines * LANES,)
    x,  # inout (lines * LANES,): numbers, then the gradient
    lines,
    rows,  # of the cluster
    weight,  # in (d,)
    i,
    width,
    sums,  # inout (4, LANES): sums over the rows, then means
):
    """rstd * weight * (g - mean(g) - xhat * mean(g * xhat))"""
    center, factor, total, products = sums[0], sums[1], sums[2], sums[3]
    scale = scratch(LANES, types.float64)
    for k in range(LANES):
        total[k] /= rows
        products[k] /= rows
        scale[k] = factor[k] * weight[i + k] if k < width else 0.0
    for j in range(lines):
        for k in range(LANES):
            apart = (np.float64(x[j * LANES + k]) - center[k]) * factor[k]
            slope = np.float64(g[j * LANES + k]) - total[k] - apart * products[k]
            x[j * LANES + k] = narrow(slope * scale[k], x.dtype)


@inlined
def _add_up(
    found,  # in (2, pieces, d)
    dbias,  # inout (d,)
    dweight,  # inout (d,)
):
    for p in range(found.shape[1]):
        for i in range(found.shape[2]):
            dbias[i] += found[0, p, i]
            dweight[i] += found[1, p, i]


@inlined
def _add_up_clusters(
    found,  # inout (2, pieces, d): of each piece; of the cluster at its first piece
    before,  # how many sums come before those of pieces
    count,
    pieces,  # in (pieces, 3)
):
    for p in range(count):
        first = pieces[p, 2]
        if p > first:
            for i in range(found.shape[2]):
                found[0, before + first, i] += found[0, before + p, i]
                found[1, before + first, i] += found[1, before + p, i]
