"""k-means: rows labelled by the nearest of k centers.

Centers start by greedy k-means++ (Arthur and Vassilvitskii, "k-means++: the advantages of careful
seeding", SODA 2007) and move by Lloyd's iterations, both as in scikit-learn. Distances come from
matrix products, |x|² - 2 x·c + |c|². What is drawn depends on the seed and on the number of the
step only, and sums are split by shape: so labels do not depend on the threads.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.mathfn import narrow, widen
from fastmat.core.philox import uniform
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import DISTANCES, POINTS, SLICE, SLICES
from fastmat.cpu.groups import FLOATS, threads_for
from fastmat.cpu.lines import own
from fastmat.cpu.matmul import product
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.views import as_any, in_rows, part, transposed

_ITERATIONS = 300  # both as in scikit-learn
_TOLERANCE = 1e-4  # of the mean variance, for the squared distance that centers have moved
_MOST_EXPONENT = 1000  # of a scale: 2**1023 is the largest power in float64


def _types(t):
    return reads(t, 2), writes(types.int64, 1), types.intp, types.uint64


@kernel(_types, FLOATS, from_python=True)
def kmeans(
    x,  # in (n, d), finite, not empty
    labels,  # out (n,)
    clusters,  # how many, up to n
    seed,
):
    """The label of each row; a cluster that loses all of its rows stays where it is."""
    n, d = x.shape
    threads = threads_for(x)
    points = scratch((n, d), sum_dtype(x.dtype))
    squares = scratch(n, types.float64)
    centers = scratch((clusters, d), sum_dtype(x.dtype))
    _load_points(x, points, labels, threads)
    _center_points(points, squares, labels, threads)
    _choose_centers(points, squares, centers, seed, threads)
    _move_centers(points, squares, labels, centers, threads)


@inlined
def _load_points(
    x,  # in (n, d)
    points,  # out (n, d)
    labels,  # out (n,)
    threads,
):
    """Copy the rows, multiplied by the power of 2 that makes the largest number about 1."""
    count = ceil_div(x.shape[0], POINTS)
    largest = scratch(count, types.float64)
    parallel_for(_find_largest, count, threads, (x, largest))
    top = 0.0
    for block in range(count):
        top = max(top, largest[block])
    scale = math.ldexp(1.0, min(-math.frexp(top)[1], _MOST_EXPONENT))
    parallel_for(_load_rows, count, threads, (x, points, labels, scale))


@task
def _find_largest(args, slot, index):
    x, largest = args
    top = 0.0
    for row in range(index * POINTS, min((index + 1) * POINTS, x.shape[0])):
        for j in range(x.shape[1]):
            top = max(top, abs(np.float64(widen(x[row, j]))))
    largest[index] = top


@task
def _load_rows(args, slot, index):
    x, points, labels, scale = args
    for row in range(index * POINTS, min((index + 1) * POINTS, x.shape[0])):
        labels[row] = 0
        for j in range(x.shape[1]):
            points[row, j] = narrow(np.float64(widen(x[row, j])) * scale, points.dtype)


@inlined
def _center_points(
    points,  # inout (n, d)
    squares,  # out (n,): the squared length of each row
    labels,  # in (n,), all 0
    threads,
):
    """Subtract the mean of all rows: distances have less to cancel."""
    sums, counts = _sums(points, labels, 1, threads)
    for j in range(points.shape[1]):
        sums[0, 0, j] /= counts[0, 0]
    args = points, squares, sums
    parallel_for(_center_rows, ceil_div(points.shape[0], POINTS), threads, args)


@task
def _center_rows(args, slot, index):
    points, squares, mean = args
    for row in range(index * POINTS, min((index + 1) * POINTS, points.shape[0])):
        square = 0.0
        for j in range(points.shape[1]):
            number = narrow(points[row, j] - mean[0, 0, j], points.dtype)
            points[row, j] = number
            square += np.float64(number) * number
        squares[row] = square


@inlined
def _choose_centers(
    points,  # in (n, d)
    squares,  # in (n,)
    centers,  # out (clusters, d)
    seed,
    threads,
):
    """k-means++: of some rows drawn by their squared distances, the one that leaves least."""
    (n, d), clusters = points.shape, centers.shape[0]
    trials = 2 + int(math.log(clusters))
    blocks = ceil_div(n, POINTS)
    near, sums = scratch((n, trials), types.float64), scratch((blocks, trials), types.float64)
    for row in range(n):
        near[row, 0] = np.inf
    scores = scratch((threads, 1, POINTS * trials), points.dtype)
    candidates = scratch((trials, d), points.dtype)
    best, drawn = 0, 1
    for step in range(clusters):
        for t in range(drawn):
            if step == 0:
                row = min(n - 1, int(uniform(seed, 0, 0) * n))
            else:
                row = _draw(near, sums, best, uniform(seed, step, t))
            for j in range(d):
                candidates[t, j] = points[row, j]
        args = points, squares, part(candidates, 0, drawn, 0, d), near, sums, best, scores
        parallel_for(_measure_candidates, blocks, threads, args)
        best = _least(sums, drawn)
        for j in range(d):
            centers[step, j] = candidates[best, j]
        drawn = trials


@inlined
def _draw(
    near,  # in (n, trials)
    sums,  # in (blocks, trials)
    best,  # which of the trials
    share,  # random number from 0 to 1
):
    """A row, with a probability in proportion to its number."""
    total = 0.0
    for block in range(sums.shape[0]):
        total += sums[block, best]
    wanted, block = share * total, 0
    while block < sums.shape[0] - 1 and wanted >= sums[block, best]:
        wanted -= sums[block, best]
        block += 1
    row, last = block * POINTS, min((block + 1) * POINTS, near.shape[0]) - 1
    while row < last and wanted >= near[row, best]:
        wanted -= near[row, best]
        row += 1
    return row


@task
def _measure_candidates(args, slot, index):
    """Squared distances to the nearest center, if a candidate becomes one; and their sums."""
    points, squares, candidates, near, sums, best, buffers = args
    first, last = index * POINTS, min((index + 1) * POINTS, points.shape[0])
    count = candidates.shape[0]
    scores = _scores(points, first, last, candidates, own(buffers, slot, 0))
    for t in range(count):
        sums[index, t] = 0
    lengths = _squared_lengths(candidates)
    for row in range(first, last):
        before = near[row, best]
        for t in range(count):
            apart = max(0.0, squares[row] - 2 * np.float64(scores[row - first, t]) + lengths[t])
            near[row, t] = min(before, apart)
            sums[index, t] += near[row, t]


@inlined
def _least(
    sums,  # in (blocks, trials)
    count,
):
    """The trial with the least sum; the first of those that are alike."""
    best, least = 0, np.inf
    for t in range(count):
        total = 0.0
        for block in range(sums.shape[0]):
            total += sums[block, t]
        if total < least:
            best, least = t, total
    return best


@inlined
def _scores(
    points,  # in (n, d)
    first,
    last,
    centers,  # in (clusters, d)
    buffer,  # scratch ((last - first) * clusters,)
):
    """Products of rows and centers."""
    rows = part(points, first, last, 0, points.shape[1])
    scores = in_rows(buffer, last - first, centers.shape[0])
    call_on_demand(product, points.dtype, (rows, transposed(as_any(centers)), scores, 1))
    return scores


@inlined
def _squared_lengths(
    centers,  # in (clusters, d)
):
    lengths = scratch(centers.shape[0], types.float64)
    for c in range(centers.shape[0]):
        lengths[c] = 0
        for j in range(centers.shape[1]):
            lengths[c] += np.float64(centers[c, j]) * centers[c, j]
    return lengths


@inlined
def _move_centers(
    points,  # in (n, d)
    squares,  # in (n,)
    labels,  # out (n,)
    centers,  # inout (clusters, d)
    threads,
):
    """Lloyd's iterations, until labels stay or centers hardly move."""
    (n, d), clusters = points.shape, centers.shape[0]
    tolerance = 0.0
    for row in range(n):
        tolerance += squares[row]
        labels[row] = -1
    tolerance *= _TOLERANCE / (n * d)
    size = max(1, min(POINTS, DISTANCES // clusters))
    buffers = scratch((threads, 1, size * clusters), points.dtype)
    changed = scratch(ceil_div(n, size), types.int64)
    moved = np.inf
    for iteration in range(_ITERATIONS + 1):
        args = points, labels, centers, _squared_lengths(centers), changed, size, buffers
        parallel_for(_assign, changed.shape[0], threads, args)
        if moved <= tolerance or not _any(changed) or iteration == _ITERATIONS:
            return
        sums, counts = _sums(points, labels, clusters, threads)
        moved = _mean_of_rows(sums, counts, centers)


@task
def _assign(args, slot, index):
    """The nearest center of each row, the first of those at the same distance."""
    points, labels, centers, lengths, changed, size, buffers = args
    first, last = index * size, min((index + 1) * size, points.shape[0])
    scores = _scores(points, first, last, centers, own(buffers, slot, 0))
    changed[index] = 0
    for row in range(first, last):
        best, least = 0, np.inf
        for c in range(centers.shape[0]):
            apart = lengths[c] - 2 * np.float64(scores[row - first, c])
            if apart < least:
                best, least = c, apart
        changed[index] += labels[row] != best
        labels[row] = best


@inlined
def _any(counts):
    for k in range(counts.shape[0]):
        if counts[k] > 0:
            return True
    return False


@inlined
def _sums(
    points,  # in (n, d)
    labels,  # in (n,)
    clusters,
    threads,
):
    """Sums and numbers of the rows of each cluster: (1, clusters, d) and (1, clusters) of each."""
    n, d = points.shape
    slices = max(1, min(SLICES, n // (SLICE * clusters)))
    sums = scratch((slices, clusters, d), types.float64)
    counts = scratch((slices, clusters), types.int64)
    parallel_for(_add_rows, slices, threads, (points, labels, sums, counts))
    for piece in range(1, slices):
        for c in range(clusters):
            counts[0, c] += counts[piece, c]
            for j in range(d):
                sums[0, c, j] += sums[piece, c, j]
    return sums, counts


@task
def _add_rows(args, slot, index):
    points, labels, sums, counts = args
    size = ceil_div(points.shape[0], sums.shape[0])
    for c in range(sums.shape[1]):
        counts[index, c] = 0
        for j in range(sums.shape[2]):
            sums[index, c, j] = 0
    for row in range(index * size, min((index + 1) * size, points.shape[0])):
        c = labels[row]
        counts[index, c] += 1
        for j in range(sums.shape[2]):
            sums[index, c, j] += points[row, j]


@inlined
def _mean_of_rows(
    sums,  # in (1, clusters, d)
    counts,  # in (1, clusters)
    centers,  # inout (clusters, d)
):
    """Move each center to the mean of its rows, if it has any; the squared distance of all."""
    moved = 0.0
    for c in range(centers.shape[0]):
        if counts[0, c] == 0:
            continue
        for j in range(centers.shape[1]):
            new = narrow(sums[0, c, j] / counts[0, c], centers.dtype)
            apart = np.float64(new) - centers[c, j]
            moved += apart * apart
            centers[c, j] = new
    return moved
