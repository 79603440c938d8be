"""Normalization of groups that lie side by side, line by line across them."""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, LANES, TASK
from fastmat.cpu.blocks import (
    first_place,
    in_place,
    load_block,
    next_place,
    place,
    store_block,
)
from fastmat.cpu.groups import (
    FLOATS,
    affine_types,
    factor_of,
    is_extreme,
    is_kept,
    normalize_types,
    threads_for,
    with_map,
)
from fastmat.cpu.kinds import MEAN_SPREAD
from fastmat.cpu.lines import across, finish_stores, is_streamed, own
from fastmat.cpu.masks import map_kept, mask_block, mask_of_line, room_for_masks
from fastmat.cpu.moments_across import of_block
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd import multiply_add
from fastmat.cpu.simd_lanes import PART, scale_lines
from fastmat.cpu.views import part

WORK = 8 * LANES  # numbers of work space beyond a block, and two for each of its lines


@kernel(normalize_types, FLOATS)
def normalize_across(
    x,  # in (o, i, p, r, q), not empty
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # out (o, i, 1, 1, 1)
    factor,  # out (o, i, 1, 1, 1)
    kind,  # what to measure
    rule,  # what to make of the spread
    eps,
):
    """Normalize groups of which a block stays in the L2 cache by their own statistics."""
    _normalize((x, weight, bias, out), (center, factor), (kind, rule, eps), None)


@kernel(with_map(normalize_types), FLOATS)
def normalize_and_map_across(x, weight, bias, out, center, factor, kind, rule, eps, activation):
    """The same, and apply a map."""
    _normalize((x, weight, bias, out), (center, factor), (kind, rule, eps), activation)


@kernel(affine_types, FLOATS)
def affine_across(
    x,  # in (o, i, p, r, q), not empty
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
):
    """Normalize groups by given statistics."""
    write_all((x, None, weight, bias, out), (center, factor), None)


@kernel(with_map(affine_types), FLOATS)
def affine_and_map_across(x, weight, bias, out, center, factor, activation):
    """The same, and apply a map."""
    write_all((x, None, weight, bias, out), (center, factor), activation)


@always_inlined
def _normalize(arrays, statistics, how, activation):
    x = arrays[0]
    n, threads = x.shape[2] * x.shape[3] * x.shape[4], threads_for(x)
    blocks, several = x.shape[0] * ceil_div(x.shape[1], LANES), max(1, TASK // (n * LANES))
    buffers = scratch((threads, 1, n * (LANES + 2) + WORK), sum_dtype(x.dtype))
    args = (arrays, statistics, how, activation, several, buffers)
    parallel_for(_blocks, ceil_div(blocks, several), threads, args)


@always_inlined
def write_all(arrays, statistics, activation):
    """Normalize numbers with a mask, or None, by given statistics."""
    x = arrays[0]
    pieces = ceil_div(x.shape[2] * x.shape[3] * x.shape[4], BLOCK_LINES)
    blocks, threads = x.shape[0] * ceil_div(x.shape[1], LANES), threads_for(x)
    buffers = scratch((threads, 1, BLOCK_LINES * (LANES + 2) + WORK), sum_dtype(x.dtype))
    room = room_for_masks(arrays[1], threads, BLOCK_LINES * LANES, types.uint8)
    args = (arrays, statistics, pieces, activation, buffers, room)
    parallel_for(_write_blocks, blocks * pieces, threads, args)


@task
def _blocks(args, slot, index):
    (x, weight, bias, out), (center, factor), (kind, rule, eps), activation, several, buffers = args
    n = x.shape[2] * x.shape[3] * x.shape[4]
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    found = scratch((3, LANES), types.float64)
    centers, factors, rest = found[0], found[1], found[2]
    numbers = own(buffers, slot, 0)
    alike = weight.shape[0] == 1 and weight.shape[1] == 1
    if alike:
        work = part(numbers, n * LANES, numbers.shape[0])
        _load_parameters(x.shape, weight, bias, (0, 0, LANES, 0, n), work)
    for block in range(index * several, min((index + 1) * several, blocks)):
        o, i, width = place(x, block)
        load_block(x, o, i, width, 0, n, numbers)
        of_block(numbers, n, kind, centers, factors, rest)
        find_factors(factors, n, rule, eps)
        if is_kept(center, x):
            for k in range(width):
                center[o, i + k, 0, 0, 0], factor[o, i + k, 0, 0, 0] = centers[k], factors[k]
        normalize_block(x, weight, bias, o, i, width, 0, n, centers, factors, numbers, alike)
        _map_block(activation, None, numbers, n, width)
        store_block(numbers, out, o, i, width, 0, n, is_streamed(out))
    finish_stores(out)


@always_inlined
def find_factors(
    factors,  # inout (LANES,): spreads, then factors
    n,
    rule,
    eps,
):
    """`factor_of` each, in SIMD for the most common rule."""
    if rule == MEAN_SPREAD:
        for k in range(LANES):
            factors[k] = 1 / math.sqrt(factors[k] / n + eps)
    else:
        for k in range(LANES):
            factors[k] = factor_of(factors[k], n, rule, eps)


@task
def _write_blocks(args, slot, index):
    (x, mask, weight, bias, out), (center, factor), pieces, activation, buffers, room = args
    first = index % pieces * BLOCK_LINES
    o, i, width = place(x, index // pieces)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    found = scratch((2, LANES), types.float64)
    centers, factors = found[0], found[1]
    for k in range(width):
        centers[k], factors[k] = center[o, i + k, 0, 0, 0], factor[o, i + k, 0, 0, 0]
    numbers = own(buffers, slot, 0)
    at = o, i, width, first, lines
    source, target = in_place(x, o, i, width, first), in_place(out, o, i, width, first)
    kept = mask_block(mask, x.shape, at, room, slot)
    if source and target and not (activation or kept is not None or _is_exact(weight, factors)):
        rows = source, x.strides[4], target, out.strides[4]
        past = is_streamed(out) and (target | out.strides[4]) % PART == 0
        _load_parameters(x.shape, weight, bias, at, numbers)
        _scale(weight, lines, centers, factors, numbers, rows, past)
    else:
        load_block(x, *at, numbers)
        normalize_block(x, weight, bias, *at, centers, factors, numbers, False)
        _map_block(activation, kept, numbers, lines, width)
        store_block(numbers, out, *at, is_streamed(out))
    finish_stores(out)


@always_inlined
def _map_block(activation, kept, block, lines, width):
    """Apply a map to the groups that are there: a user's function must not see any others."""
    if width == LANES:
        map_kept(activation, kept, part(block, 0, lines * LANES))
    else:
        for j in range(lines):
            of_line = mask_of_line(kept, j, width)
            map_kept(activation, of_line, part(block, j * LANES, j * LANES + width))


@always_inlined
def normalize_block(
    x,  # in (o, i, p, r, q), for its shape
    weight,
    bias,
    o,
    i,
    width,
    first,
    lines,
    centers,  # inout (LANES,)
    factors,  # inout (LANES,)
    block,  # inout (lines * LANES and work space,)
    loaded,  # whether the work space holds weight and bias
):
    """Normalize groups that lie side by side, line by line."""
    at = o, i, width, first, lines
    for k in range(width, LANES):  # groups that are not there
        centers[k], factors[k] = 0.0, 1.0
    if _is_exact(weight, factors):
        _normalize_exactly(x.shape, weight, bias, at, centers, factors, block)
    else:
        start, row = block.ctypes.data, LANES * block.itemsize
        work = part(block, lines * LANES, block.shape[0])
        if not loaded:
            _load_parameters(x.shape, weight, bias, at, work)
        _scale(weight, lines, centers, factors, work, (start, row, start, row), False)


@always_inlined
def _is_exact(weight, factors):
    """Whether each number is normalized by itself, in float64 where its factor is extreme."""
    extreme = False
    for k in range(LANES):
        extreme |= is_extreme(factors[k])
    alike = weight.shape[2] * weight.shape[3] * weight.shape[4] == 1
    return extreme or not (alike or weight.shape[1] == 1)


@always_inlined
def _load_parameters(
    shape,  # (o, i, p, r, q)
    weight,  # alike in all groups, or in all lines
    bias,
    at,  # o, i, width, first line, lines
    work,  # out (WORK + 2 * lines,): weight and bias after the first three lines
):
    o, i, width, first, lines = at
    by_line = weight.shape[1] == 1
    count = lines if by_line else LANES
    w = part(work, 3 * LANES, 3 * LANES + count)
    b = part(work, 3 * LANES + count, 3 * LANES + 2 * count)
    p, r, q = first_place(shape, first)
    for j in range(lines if by_line else width):
        k = 0 if by_line else j
        w[j], b[j] = across(weight, o, i + k, p, r, q)[0], across(bias, o, i + k, p, r, q)[0]
        if by_line:
            p, r, q = next_place(shape, p, r, q)


@always_inlined
def _scale(
    weight,  # for its shape
    lines,
    centers,  # in (LANES,)
    factors,  # in (LANES,)
    work,  # inout (WORK + 2 * lines,): see `_load_parameters`
    rows,  # source, bytes between its lines; the same of the target
    past,  # whether stores pass by the caches
):
    """Normalize groups whose parameters are alike in all lines, or in all groups."""
    high, low, scale = _line_of(work, 0), _line_of(work, LANES), _line_of(work, 2 * LANES)
    for k in range(LANES):
        high[k] = narrow(centers[k], work.dtype)
        low[k] = narrow(centers[k] - high[k], work.dtype)
        scale[k] = narrow(factors[k], work.dtype)
    by_line = weight.shape[1] == 1
    weights = part(work, 3 * LANES, work.shape[0]).ctypes.data
    parameters = weights, weights + (lines if by_line else LANES) * work.itemsize
    lanes = high.ctypes.data, low.ctypes.data, scale.ctypes.data
    scale_lines(work.dtype, *rows, lines, *lanes, *parameters, by_line, past)


@always_inlined
def _normalize_exactly(
    shape,  # (o, i, p, r, q)
    weight,
    bias,
    at,  # o, i, width, first line, lines
    centers,  # in (LANES,)
    factors,  # in (LANES,)
    block,  # inout (lines * LANES,)
):
    """Normalize each number by itself."""
    o, i, width, first, lines = at
    p, r, q = first_place(shape, first)
    for j in range(lines):
        w, b = across(weight, o, i, p, r, q), across(bias, o, i, p, r, q)
        p, r, q = next_place(shape, p, r, q)
        for k in range(width):
            which = 0 if weight.shape[1] == 1 else k
            number = block[j * LANES + k]
            if is_extreme(factors[k]):
                wide = (np.float64(number) - centers[k]) * factors[k] * w[which] + b[which]
                block[j * LANES + k] = narrow(wide, block.dtype)
            else:
                high = narrow(centers[k], block.dtype)
                apart = (number - high) - narrow(centers[k] - high, block.dtype)
                scale = narrow(factors[k], block.dtype)
                block[j * LANES + k] = multiply_add(b[which], apart * scale, w[which])


@inlined
def _line_of(block, start):
    """LANES numbers of a block."""
    return part(block, start, start + LANES)
