"""Masked reductions of groups that lie side by side, line by line across them."""

from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, LANES
from fastmat.cpu.blocks import in_place, load_block
from fastmat.cpu.groups import threads_for
from fastmat.cpu.kinds import TIES
from fastmat.cpu.lines import own
from fastmat.cpu.masked_combine import add_pieces, combine_moments, least_of_pieces
from fastmat.cpu.masked_groups import (
    REALS,
    as_total,
    by_piece,
    extremes_types,
    moments_types,
    sums_types,
    valid_block,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd_masked import (
    least_valid_lines,
    sum_ties,
    sum_valid_deviations,
    sum_valid_floats,
    sum_valid_lines,
)


@kernel(sums_types, REALS)
def sums_across(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1), for TIES
    total,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    keep,  # the bits of an integer
    kind,  # what is added up
):
    """Sum over each group, and the number of its valid numbers."""
    tasks, pieces = _tasks_of(x)
    threads = threads_for(x)
    found, counts = by_piece(total, pieces), by_piece(count, pieces)
    buffers = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(x.dtype))
    marks = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(mask.dtype))
    args = (x, mask, center, found, counts, keep, kind, buffers, marks)
    parallel_for(_sum_block, tasks, threads, args)
    if pieces > 1:
        add_pieces(found, counts, total, count, threads)


@task
def _sum_block(args, slot, index):
    x, mask, center, found, counts, keep, kind, buffers, marks = args
    at, piece = _place_of(x, index)
    numbers = own(buffers, slot, 0)
    source = _block_of(x, at, numbers)
    valid = valid_block(mask, x.shape, at, own(marks, slot, 0))
    o, i, width, _, lines = at
    count = scratch(LANES, types.int32)
    if kind == TIES:
        middle, ties = scratch(LANES, types.float64), scratch(LANES, types.int32)
        for k in range(LANES):
            middle[k] = center[o, i + k, 0, 0, 0] if k < width else 0.0
        results = middle.ctypes.data, ties.ctypes.data, count.ctypes.data
        sum_ties(numbers.dtype, *source, *valid, lines, *results)
        for k in range(width):
            found[o, i + k, piece, 0, 0], counts[o, i + k, piece, 0, 0] = ties[k], count[k]
    else:
        total = scratch(LANES, found.dtype)
        results = total.ctypes.data, count.ctypes.data
        sum_valid_lines(numbers.dtype, *source, *valid, lines, keep, *results)
        for k in range(width):
            found[o, i + k, piece, 0, 0], counts[o, i + k, piece, 0, 0] = total[k], count[k]


@kernel(moments_types, REALS)
def moments_across(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    keep,  # the bits of an integer
):
    """Mean of each group, sum of squares of deviations from it, number of valid numbers."""
    tasks, pieces = _tasks_of(x)
    threads = threads_for(x)
    found = by_piece(center, pieces), by_piece(spread, pieces), by_piece(count, pieces)
    buffers = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(x.dtype))
    marks = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(mask.dtype))
    parallel_for(_measure_block, tasks, threads, (x, mask, found, keep, buffers, marks))
    if pieces > 1:
        combine_moments(found, (center, spread, count), threads)


@task
def _measure_block(args, slot, index):
    x, mask, (centers, spreads, counts), keep, buffers, marks = args
    at, piece = _place_of(x, index)
    numbers = own(buffers, slot, 0)
    arrays = *_block_of(x, at, numbers), *valid_block(mask, x.shape, at, own(marks, slot, 0))
    o, i, width, _, lines = at
    center, rest = scratch(LANES, types.float64), scratch(LANES, types.float64)
    squares, count = scratch(LANES, types.float64), scratch(LANES, types.int32)
    middle = center.ctypes.data
    sum_valid_floats(numbers.dtype, *arrays, lines, keep, middle, count.ctypes.data)
    for k in range(LANES):
        center[k] /= count[k]
    sums = rest.ctypes.data, squares.ctypes.data
    sum_valid_deviations(numbers.dtype, *arrays, lines, keep, middle, *sums)
    for k in range(width):
        n, to = count[k], (o, i + k, piece, 0, 0)
        off = rest[k] if rest[k] == rest[k] else 0.0  # infinities: the mean is what it is
        spread = squares[k] - off * off / max(n, 1)
        centers[to], counts[to] = center[k] + off / max(n, 1), n
        spreads[to] = 0.0 if spread < 0 else spread


@kernel(extremes_types, REALS)
def extremes_across(
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
    """The least number of each group, its first place, and how many numbers are valid.

    Lines must come in the order of what `where` counts if that is wanted.
    """
    tasks, pieces = _tasks_of(x)
    threads = threads_for(x)
    found = by_piece(least, pieces), by_piece(where, pieces), by_piece(count, pieces)
    buffers = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(x.dtype))
    marks = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(mask.dtype))
    steps = p_step, r_step, q_step
    parallel_for(_search_block, tasks, threads, (x, mask, found, steps, turn, buffers, marks))
    if pieces > 1:
        least_of_pieces(found, (least, where, count), threads)


@task
def _search_block(args, slot, index):
    x, mask, (leasts, places, counts), steps, turn, buffers, marks = args
    at, piece = _place_of(x, index)
    numbers = own(buffers, slot, 0)
    arrays = *_block_of(x, at, numbers), *valid_block(mask, x.shape, at, own(marks, slot, 0))
    o, i, width, first, lines = at
    least, where = scratch(LANES, numbers.dtype), scratch(LANES, types.int32)
    count = scratch(LANES, types.int32)
    results = least.ctypes.data, where.ctypes.data, count.ctypes.data
    least_valid_lines(numbers.dtype, *arrays, lines, turn, *results)
    r, q = x.shape[3], x.shape[4]
    for k in range(width):
        to, t = (o, i + k, piece, 0, 0), first + max(where[k], 0)
        place_in_group = t // (r * q) * steps[0] + t // q % r * steps[1] + t % q * steps[2]
        leasts[to], places[to] = as_total(least[k], -1), place_in_group
        counts[to] = count[k]


@always_inlined
def _tasks_of(x):
    """How many blocks there are in all, and in how many pieces the groups are reduced."""
    n = x.shape[2] * x.shape[3] * x.shape[4]
    pieces = ceil_div(n, BLOCK_LINES)
    return x.shape[0] * ceil_div(x.shape[1], LANES) * pieces, pieces


@always_inlined
def _place_of(x, index):
    """Where the block of a task is: o, i, width, first, lines; and the number of the piece.

    Neighbouring blocks come one after the other: they are in the same pages of memory.
    """
    n = x.shape[2] * x.shape[3] * x.shape[4]
    blocks = ceil_div(x.shape[1], LANES)
    row, block = index // blocks, index % blocks
    pieces = ceil_div(n, BLOCK_LINES)
    o, piece = row // pieces, row % pieces
    i = block * LANES
    width = min(LANES, x.shape[1] - i)
    first = piece * BLOCK_LINES
    return (o, i, width, first, min(BLOCK_LINES, n - first)), piece


@always_inlined
def _block_of(x, at, buffer):
    """Address of the numbers, and the bytes from one line to the next; in the buffer if need be."""
    o, i, width, first, _ = at
    source = in_place(x, o, i, width, first)
    if source:
        return source, x.strides[4]
    load_block(x, *at, buffer)
    return types.intp(buffer.ctypes.data), types.intp(LANES * buffer.itemsize)
