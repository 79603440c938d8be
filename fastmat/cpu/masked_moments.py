"""Statistics of the numbers that a mask keeps, group by group: twins of those in `moments`."""

from numba import types

from fastmat.core.compile import call_on_demand, kernel, writes
from fastmat.core.inline import always_inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, LANES
from fastmat.cpu.blocks import load_block, place
from fastmat.cpu.combine import combine_statistics
from fastmat.cpu.groups import FLOATS, is_across, statistics_types, threads_for, with_mask
from fastmat.cpu.kinds import MOMENTS
from fastmat.cpu.lines import own
from fastmat.cpu.masked_lines import add_counts, erased_block, mask_block, room_for_masks
from fastmat.cpu.moments_along import measure_groups
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd_lanes import sum_kept_deviations, sum_lines


def masked_statistics_types(t):
    """Argument types of the kernels: those without a mask, the mask, and a count."""
    x, mask, *found, _ = with_mask(statistics_types)(t)
    return x, mask, *found, writes(types.float64, 5)


@kernel(masked_statistics_types, FLOATS, from_python=True)
def masked_moments(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # out (o, i, 1, 1, 1): the mean, or NaN where all is masked
    spread,  # out (o, i, 1, 1, 1): the sum of squares of deviations from it
    count,  # out (o, i, 1, 1, 1): how many numbers are kept
):
    """Mean, sum of squares of deviations from it, and number of what is kept of each group."""
    if is_across(x):
        call_on_demand(masked_moments_across, x.dtype, (x, mask, center, spread, count))
    else:
        call_on_demand(masked_moments_along, x.dtype, (x, mask, center, spread, count))


@kernel(masked_statistics_types, FLOATS)
def masked_moments_along(x, mask, center, spread, count):
    """The same of groups that lie along the last axis, chunk by chunk."""
    measure_groups(x, mask, center, spread, count, MOMENTS)


@kernel(masked_statistics_types, FLOATS)
def masked_moments_across(x, mask, center, spread, count):
    """The same of groups that lie side by side, line by line across them."""
    groups = x.shape[0] * x.shape[1]
    threads, pieces = threads_for(x), ceil_div(x.size // groups, BLOCK_LINES)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    found = scratch((3, groups, pieces), types.float64)
    buffers = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(x.dtype))
    room = room_for_masks(mask, threads, BLOCK_LINES * LANES, sum_dtype(x.dtype))
    parallel_for(_lanes, blocks * pieces, threads, (x, mask, found, buffers, room))
    combine_statistics(MOMENTS, found, center, spread, threads)
    add_counts(found[2], count)


@task
def _lanes(args, slot, index):
    x, mask, found, buffers, room = args
    pieces = found.shape[2]
    block, piece = index // pieces, index % pieces
    first = piece * BLOCK_LINES
    o, i, width = place(x, block)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    numbers, at = own(buffers, slot, 0), (o, i, width, first, lines)
    load_block(x, *at, numbers)
    kept = mask_block(mask, x.shape, at, room, slot)
    erased_block(kept, numbers, lines, narrow(0, numbers.dtype))
    sums = scratch((4, LANES), types.float64)
    _moments_of_block(numbers, kept, lines, sums[0], sums[1], sums[2], sums[3])
    for k in range(width):
        g = o * x.shape[1] + i + k
        found[0, g, piece], found[1, g, piece], found[2, g, piece] = (
            sums[0, k],
            sums[1, k],
            sums[2, k],
        )


@always_inlined
def _moments_of_block(
    block,  # in (lines * LANES,), 0 where it is masked
    kept,  # in (lines * LANES,), 1 or 0
    lines,
    center,  # out (LANES,)
    spread,  # out (LANES,)
    count,  # out (LANES,)
    rest,  # scratch (LANES,)
):
    """Mean, corrected by the mean of deviations from it, and squares of deviations."""
    start, row = block.ctypes.data, LANES * block.itemsize
    middle, sums = center.ctypes.data, (rest.ctypes.data, spread.ctypes.data)
    sum_lines(block.dtype, kept.ctypes.data, row, lines, count.ctypes.data)
    sum_lines(block.dtype, start, row, lines, middle)
    for k in range(LANES):
        center[k] /= count[k]
    sum_kept_deviations(block.dtype, start, kept.ctypes.data, lines, middle, *sums)
    for k in range(LANES):
        off = rest[k] if rest[k] == rest[k] else 0.0  # infinities: the mean is what it is
        center[k] += off / count[k]
        squares = spread[k] - off * off / count[k]
        spread[k] = 0.0 if squares < 0 else squares
