"""Gradients of groups that lie side by side, line by line across them."""

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, LANES, PARTS, SHARED, TASK
from fastmat.cpu.blocks import first_place, load_block, next_place, place, store_block
from fastmat.cpu.combine import add_parts, add_pieces
from fastmat.cpu.derivatives import (
    flowing_back,
    gradient_types,
    is_linear,
    is_of_softmax,
    signed_gradient,
    softmax_gradient,
    sums_types,
    write_types,
)
from fastmat.cpu.groups import FLOATS, is_extreme, threads_for
from fastmat.cpu.kinds import CENTERED, GIVEN, OF_LARGEST
from fastmat.cpu.lines import across, finish_stores, is_streamed, own
from fastmat.cpu.masked_lines import (
    add_counts,
    erased_block,
    keep_count,
    lane_counts,
    mask_block,
    of_lane,
    room_for_counts,
    room_for_masks,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd_lanes import multiply_lines, scale_lines, subtract_lines, sum_pairs
from fastmat.cpu.views import address, part


@kernel(sums_types, FLOATS)
def sums_across(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, p, r, q) or 1 where it is alike
    factor,  # in, of the shape of center
    first,  # out (o, i, 1, 1, 1)
    second,  # out (o, i, 1, 1, 1)
    kind,  # what the gradient is of
):
    """The two sums of each group."""
    find_sums((cotangent, x, None, weight, center, factor), first, second, None, kind)


@always_inlined
def find_sums(arrays, first, second, count, kind):
    """The same, and how many numbers of each group a mask keeps, if there is one."""
    x, mask = arrays[1], arrays[2]
    inner, groups = x.shape[1], x.shape[0] * x.shape[1]
    pieces = ceil_div(x.size // groups, BLOCK_LINES)
    blocks, threads = x.shape[0] * ceil_div(inner, LANES), threads_for(x)
    found = scratch((2, groups, pieces), types.float64)
    buffers = scratch((threads, 2, BLOCK_LINES * LANES), sum_dtype(x.dtype))
    room = room_for_masks(mask, threads, BLOCK_LINES * LANES, types.uint8)
    counts = room_for_counts(mask, groups, pieces)
    args = (arrays, kind, found, counts, buffers, room)
    parallel_for(_sum_blocks, blocks * pieces, threads, args)
    add_pieces(found, first, second, threads)
    add_counts(counts, count)


@kernel(write_types, FLOATS)
def write_across(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    shift,  # in (o, i, 1, 1, 1)
    slope,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x, of known shift and slope."""
    write_all((cotangent, x, None, weight, out), (center, factor, shift, slope), kind)


@always_inlined
def write_all(arrays, statistics, kind):
    """The same of numbers with a mask."""
    x, mask = arrays[1], arrays[2]
    pieces = ceil_div(x.size // (x.shape[0] * x.shape[1]), BLOCK_LINES)
    blocks, threads = x.shape[0] * ceil_div(x.shape[1], LANES), threads_for(x)
    buffers = scratch((threads, 2, BLOCK_LINES * LANES), sum_dtype(x.dtype))
    room = room_for_masks(mask, threads, BLOCK_LINES * LANES, types.uint8)
    args = (arrays, statistics, kind, pieces, buffers, room)
    parallel_for(_write_blocks, blocks * pieces, threads, args)


@kernel(gradient_types, FLOATS)
def gradient_across(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (1, 1, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    by_weight,  # inout, of the shape of weight; empty if it is not wanted
    by_bias,  # inout, of the shape of weight
    kind,  # what the gradient is of
    eps,  # the least norm that is divided by
):
    """The gradients by x, weight and bias, of groups of which a block stays in the L2 cache."""
    arrays = cotangent, x, None, weight, center, factor, out
    find_gradients(arrays, by_weight, by_bias, kind, eps)


@always_inlined
def find_gradients(arrays, by_weight, by_bias, kind, eps):
    """The same of numbers with a mask, which then are not wanted by weight and bias."""
    x, mask = arrays[1], arrays[2]
    n = x.shape[2] * x.shape[3] * x.shape[4]
    blocks, threads = x.shape[0] * ceil_div(x.shape[1], LANES), threads_for(x)
    several, room = max(1, TASK // (n * LANES)), 0
    if by_weight.size:
        several, room = max(several, SHARED, ceil_div(blocks, PARTS)), n * LANES
    tasks = ceil_div(blocks, several)
    parts = scratch((2, tasks, by_weight.size), types.float64)
    sums = scratch((threads, 2, room), types.float64)
    buffers = scratch((threads, 2, n * LANES), sum_dtype(x.dtype))
    room = room_for_masks(mask, threads, n * LANES, types.uint8)
    args = (arrays, kind, eps, parts, sums, several, buffers, room)
    parallel_for(_blocks, tasks, threads, args)
    if by_weight.size:
        add_parts(parts, by_bias, by_weight, threads)


@task
def _sum_blocks(args, slot, index):
    (cotangent, x, mask, weight, center, factor), kind, found, counts, buffers, room = args
    pieces = found.shape[2]
    first = index % pieces * BLOCK_LINES
    o, i, width = place(x, index // pieces)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    at = o, i, width, first, lines
    g, numbers = own(buffers, slot, 0), own(buffers, slot, 1)
    load_block(cotangent, *at, g)
    load_block(x, *at, numbers)
    statistics, parameters = scratch((4, LANES), types.float64), scratch((5, LANES), g.dtype)
    if is_linear(kind):
        if center.shape[2] * center.shape[3] * center.shape[4] > 1:
            _standardize_by_line(x.shape, center, factor, at, numbers, statistics)
        else:
            _fill_both(statistics, 0, center, factor, o, i, width)
            _standardize(numbers, lines, statistics, parameters)
    by_line = scratch(lines, g.dtype)
    _load_weights(x.shape, weight, at, by_line)
    _multiply(x.shape, weight, at, g, by_line)
    kept = mask_block(mask, x.shape, at, room, slot)
    _erase_both(kept, g, numbers, lines)
    n = lane_counts(kept, lines)
    sums = part(statistics, 2, 4, 0, LANES)
    _sum_groups(kind, g, numbers, lines, across(center, o, i, 0, 0, 0), sums)
    for k in range(width):
        group = o * x.shape[1] + i + k
        found[0, group, index % pieces] = sums[0, k]
        found[1, group, index % pieces] = sums[1, k]
        keep_count(counts, group, index % pieces, of_lane(n, k))


@task
def _write_blocks(args, slot, index):
    arrays, (center, factor, shift, slope), kind, pieces, buffers, room = args
    cotangent, x, mask, weight, out = arrays
    first = index % pieces * BLOCK_LINES
    o, i, width = place(x, index // pieces)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    at = o, i, width, first, lines
    g, numbers = own(buffers, slot, 0), own(buffers, slot, 1)
    load_block(cotangent, *at, g)
    load_block(x, *at, numbers)
    statistics, parameters = scratch((4, LANES), types.float64), scratch((5, LANES), g.dtype)
    _fill_both(statistics, 0, center, factor, o, i, width)
    _fill_both(statistics, 2, shift, slope, o, i, width)
    if is_linear(kind):
        _standardize(numbers, lines, statistics, parameters)
    by_line = scratch(lines, g.dtype)
    _load_weights(x.shape, weight, at, by_line)
    _multiply(x.shape, weight, at, g, by_line)
    _finish_block(kind, g, numbers, lines, statistics, parameters)
    kept = mask_block(mask, x.shape, at, room, slot)
    erased_block(kept, g, lines, narrow(0, g.dtype))
    store_block(g, out, *at, is_streamed(out))
    finish_stores(out)


@task
def _blocks(args, slot, index):
    arrays, kind, eps, parts, sums, several, buffers, room = args
    cotangent, x, mask, weight, center, factor, out = arrays
    n = x.shape[2] * x.shape[3] * x.shape[4]
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    g, numbers = own(buffers, slot, 0), own(buffers, slot, 1)
    by_bias, by_weight = own(sums, slot, 0), own(sums, slot, 1)
    statistics, parameters = scratch((4, LANES), types.float64), scratch((5, LANES), g.dtype)
    flow, by_line = part(statistics, 2, 4, 0, LANES), scratch(n, g.dtype)
    _load_weights(x.shape, weight, (0, 0, LANES, 0, n), by_line)  # alike in all groups
    for j in range(by_bias.shape[0]):
        by_bias[j] = by_weight[j] = 0
    for block in range(index * several, min((index + 1) * several, blocks)):
        o, i, width = place(x, block)
        at = o, i, width, 0, n
        load_block(cotangent, *at, g)
        load_block(x, *at, numbers)
        _fill_both(statistics, 0, center, factor, o, i, width)
        if is_linear(kind):
            _standardize(numbers, n, statistics, parameters)
        for j in range(by_bias.shape[0]):
            by_bias[j] += np.float64(g[j])
            by_weight[j] += np.float64(g[j]) * np.float64(numbers[j])
        _multiply(x.shape, weight, at, g, by_line)
        kept = mask_block(mask, x.shape, at, room, slot)
        _erase_both(kept, g, numbers, n)
        _sum_groups(kind, g, numbers, n, across(center, o, i, 0, 0, 0), flow)
        _find_flow(kind, flow, statistics, lane_counts(kept, n), eps)
        _finish_block(kind, g, numbers, n, statistics, parameters)
        erased_block(kept, g, n, narrow(0, g.dtype))
        store_block(g, out, *at, is_streamed(out))
    alike = parts.shape[2] == 1
    for j in range(parts.shape[2]):
        parts[0, index, j] = parts[1, index, j] = 0
    for j in range(by_bias.shape[0]):
        parts[0, index, 0 if alike else j // LANES] += by_bias[j]
        parts[1, index, 0 if alike else j // LANES] += by_weight[j]
    finish_stores(out)


@always_inlined
def _find_flow(
    kind,
    flow,  # inout (2, LANES): the two sums, then shift and slope
    statistics,  # in (2 or more, LANES): center, factor
    n,  # how many numbers, of all groups or in (LANES,)
    eps,
):
    """`flowing_back` each, in SIMD for the most common kind."""
    if kind == CENTERED:
        for row in range(2):
            for k in range(LANES):
                flow[row, k] /= of_lane(n, k)
    else:
        for k in range(LANES):
            sums = flow[0, k], flow[1, k]
            found = flowing_back(kind, *sums, of_lane(n, k), statistics[1, k], eps)
            flow[0, k], flow[1, k] = found


@always_inlined
def _standardize_by_line(
    shape,  # (o, i, p, r, q)
    center,  # in (o, i, p, r, q) or 1 where it is alike
    factor,  # in, of the shape of center
    at,  # o, i, width, first line, lines
    block,  # inout (lines * LANES,)
    statistics,  # scratch (2 or more, LANES)
):
    """(x - center) * factor, where these differ from line to line."""
    o, i, width, first, lines = at
    p, r, q = first_place(shape, first)
    for j in range(lines):
        _fill(statistics, 0, across(center, o, i, p, r, q), width)
        _fill(statistics, 1, across(factor, o, i, p, r, q), width)
        _standardize_line(block, j, statistics)
        p, r, q = next_place(shape, p, r, q)


@always_inlined
def _standardize(
    block,  # inout (lines * LANES,)
    lines,
    statistics,  # in (2 or more, LANES): center, factor
    parameters,  # scratch (5, LANES)
):
    """(x - center) * factor; the center is taken off in two parts."""
    if _any_extreme(statistics, 1):
        for j in range(lines):
            _standardize_line(block, j, statistics)
        return
    for k in range(LANES):
        high = narrow(statistics[0, k], block.dtype)
        parameters[0, k], parameters[1, k] = high, narrow(statistics[0, k] - high, block.dtype)
        parameters[2, k] = narrow(statistics[1, k], block.dtype)
        parameters[3, k], parameters[4, k] = 1, -0.0
    lanes = address(parameters, 0, 0), address(parameters, 1, 0), address(parameters, 2, 0)
    neutral = address(parameters, 3, 0), address(parameters, 4, 0)
    start, row = block.ctypes.data, LANES * block.itemsize
    scale_lines(block.dtype, start, row, start, row, lines, *lanes, *neutral, False, False)


@always_inlined
def _fill_both(lanes, row, first, second, o, i, width):
    """Two statistics of each group."""
    _fill(lanes, row, across(first, o, i, 0, 0, 0), width)
    _fill(lanes, row + 1, across(second, o, i, 0, 0, 0), width)


@always_inlined
def _fill(
    lanes,  # out (rows, LANES)
    row,
    numbers,  # in (width or more,) or (1,)
    width,
):
    """One number for each lane; the last is repeated."""
    there = min(width, numbers.shape[0])
    for k in range(there):
        lanes[row, k] = numbers[k]
    for k in range(there, LANES):
        lanes[row, k] = numbers[there - 1]


@inlined
def _any_extreme(statistics, row):
    found = False
    for k in range(LANES):
        found |= is_extreme(statistics[row, k])
    return found


@always_inlined
def _standardize_line(block, j, statistics):
    for k in range(LANES):
        apart = np.float64(block[j * LANES + k]) - statistics[0, k]
        block[j * LANES + k] = narrow(apart * statistics[1, k], block.dtype)


@always_inlined
def _load_weights(
    shape,  # (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    at,  # o, i, width, first line, lines
    by_line,  # out (lines,)
):
    """Weights that are alike in all groups, side by side."""
    _, _, _, first, lines = at
    p, r, q = first_place(shape, first)
    if weight.shape[0] == 1 and weight.shape[1] == 1:
        for j in range(lines):
            by_line[j] = across(weight, 0, 0, p, r, q)[0]
            p, r, q = next_place(shape, p, r, q)


@always_inlined
def _multiply(
    shape,  # (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    at,  # o, i, width, first line, lines
    block,  # inout (lines * LANES,)
    by_line,  # in (lines,), see `_load_weights`
):
    """Numbers times their weights."""
    o, i, width, first, lines = at
    if weight.shape[0] == 1 and weight.shape[1] == 1:
        multiply_lines(block.dtype, block.ctypes.data, lines, by_line.ctypes.data, True)
        return
    lanes = scratch((1, LANES), block.dtype)
    if weight.shape[2] * weight.shape[3] * weight.shape[4] == 1:
        _fill(lanes, 0, across(weight, o, i, 0, 0, 0), width)
        multiply_lines(block.dtype, block.ctypes.data, lines, lanes.ctypes.data, False)
        return
    p, r, q = first_place(shape, first)
    for j in range(lines):
        _fill(lanes, 0, across(weight, o, i, p, r, q), width)
        row = part(block, j * LANES, (j + 1) * LANES).ctypes.data
        multiply_lines(block.dtype, row, 1, lanes.ctypes.data, False)
        p, r, q = next_place(shape, p, r, q)


@always_inlined
def _erase_both(kept, g, numbers, lines):
    """What is masked counts for nothing in the sums."""
    erased_block(kept, g, lines, narrow(0, g.dtype))
    erased_block(kept, numbers, lines, narrow(0, numbers.dtype))


@always_inlined
def _sum_groups(
    kind,
    g,  # in (lines * LANES,)
    x,  # in (lines * LANES,)
    lines,
    largest,  # in (width,), the largest magnitudes
    sums,  # out (2, LANES)
):
    """The two sums of each group."""
    totals = address(sums, 0, 0), address(sums, 1, 0)
    sum_pairs(g.dtype, g.ctypes.data, x.ctypes.data, lines, *totals)
    if kind == OF_LARGEST:
        for k in range(LANES):
            sums[0, k] = 0
            for j in range(lines):
                sums[0, k] += abs(x[j * LANES + k]) == largest[min(k, largest.shape[0] - 1)]


@always_inlined
def _finish_block(
    kind,
    g,  # inout (lines * LANES,): cotangent times weight, then the gradient
    x,  # in (lines * LANES,), standardized for the first four kinds
    lines,
    statistics,  # in (4, LANES): center, factor, shift, slope
    narrowed,  # scratch (5, LANES)
):
    """The gradients by the numbers of a block."""
    for row in range(4):
        for k in range(LANES):
            narrowed[row, k] = narrow(statistics[row, k], g.dtype)
    for k in range(LANES):  # what rounding took off the shift
        narrowed[4, k] = narrow(statistics[2, k] - narrowed[2, k], g.dtype)
    if kind == GIVEN:  # x has no part in it, be it NaN
        for j in range(lines):
            for k in range(LANES):
                number = np.float64(g[j * LANES + k]) * statistics[1, k]
                g[j * LANES + k] = narrow(number, g.dtype)
    elif is_of_softmax(kind):
        for j in range(lines):
            for k in range(LANES):
                at = j * LANES + k
                known = narrowed[0, k], narrowed[2, k], narrowed[4, k]
                g[at] = softmax_gradient(kind, g[at], x[at], *known)
    elif not is_linear(kind):
        for j in range(lines):
            for k in range(LANES):
                at = j * LANES + k
                number = np.float64(g[at]), np.float64(x[at])
                known = statistics[0, k], statistics[1, k], statistics[3, k]
                g[at] = narrow(signed_gradient(kind, *number, *known), g.dtype)
    elif _any_extreme(statistics, 1):
        for j in range(lines):
            for k in range(LANES):
                at = j * LANES + k
                left = np.float64(g[at]) - statistics[2, k] - x[at] * statistics[3, k]
                g[at] = narrow(left * statistics[1, k], g.dtype)
    else:
        lanes = address(narrowed, 2, 0), address(narrowed, 3, 0), address(narrowed, 1, 0)
        subtract_lines(g.dtype, g.ctypes.data, x.ctypes.data, lines, *lanes)
