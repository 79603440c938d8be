"""Statistics of groups that lie side by side, line by line across them."""

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, LANES
from fastmat.cpu.blocks import in_place, load_block, place
from fastmat.cpu.combine import combine_statistics
from fastmat.cpu.groups import FLOATS, statistics_types, threads_for
from fastmat.cpu.kinds import LARGEST, MAGNITUDES, MOMENTS
from fastmat.cpu.lines import own
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd_lanes import sum_deviations, sum_lines


@kernel(statistics_types, FLOATS)
def statistics_across(
    x,  # in (o, i, p, r, q), not empty
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    kind,  # what to measure
):
    """Center and spread of each group."""
    groups = x.shape[0] * x.shape[1]
    n = x.size // groups
    threads = threads_for(x)
    pieces = ceil_div(n, BLOCK_LINES)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    found = scratch((3, groups, pieces), types.float64)
    buffers = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(x.dtype))
    parallel_for(_lanes, blocks * pieces, threads, (x, found, kind, buffers))
    combine_statistics(kind, found, center, spread, threads)


@task
def _lanes(args, slot, index):
    x, found, kind, buffers = args
    pieces = found.shape[2]
    block, piece = index // pieces, index % pieces
    first = piece * BLOCK_LINES
    o, i, width = place(x, block)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    numbers = own(buffers, slot, 0)
    sums = scratch((3, LANES), types.float64)
    centers, spreads = sums[0], sums[1]
    source = in_place(x, o, i, width, first)
    if kind == MOMENTS and source:
        _moments(numbers.dtype, source, x.strides[4], lines, centers, spreads, sums[2])
    else:
        load_block(x, o, i, width, first, lines, numbers)
        of_block(numbers, lines, kind, centers, spreads, sums[2])
    for k in range(width):
        g = o * x.shape[1] + i + k
        found[0, g, piece], found[1, g, piece] = centers[k], spreads[k]
        found[2, g, piece] = lines


@always_inlined
def of_block(
    block,  # in (lines * LANES,)
    lines,
    kind,
    center,  # out (LANES,)
    spread,  # out (LANES,)
    rest,  # scratch (LANES,)
):
    """Center and spread of each of LANES groups that lie side by side."""
    for k in range(LANES):
        center[k] = spread[k] = 0
    if kind == MOMENTS:
        start, row = block.ctypes.data, LANES * block.itemsize
        _moments(block.dtype, start, row, lines, center, spread, rest)
    elif kind == MAGNITUDES:
        for j in range(lines):
            for k in range(LANES):
                spread[k] += abs(np.float64(block[j * LANES + k]))
    elif kind == LARGEST:
        for j in range(lines):
            for k in range(LANES):
                size, top = abs(np.float64(block[j * LANES + k])), spread[k]
                spread[k] = top if top >= size or top != top else size
    else:
        for j in range(lines):
            for k in range(LANES):
                number = np.float64(block[j * LANES + k])
                spread[k] += number * number


@always_inlined
def _moments(dtype, start, row, lines, center, spread, rest):
    """Mean, corrected by the mean of deviations from it, and squares of deviations."""
    middle, sums = center.ctypes.data, (rest.ctypes.data, spread.ctypes.data)
    sum_lines(dtype, start, row, lines, middle)
    for k in range(LANES):
        center[k] /= lines
    sum_deviations(dtype, start, row, lines, middle, *sums)
    for k in range(LANES):
        off = rest[k] if rest[k] == rest[k] else 0.0  # infinities: the mean is what it is
        center[k] += off / lines
        squares = spread[k] - off * off / lines
        spread[k] = 0.0 if squares < 0 else squares
