"""Normalization of groups that lie side by side, line by line across them."""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.activations import mapped
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, LANES, TASK
from fastmat.cpu.blocks import first_place, load_block, next_place, place, store_block
from fastmat.cpu.groups import (
    FLOATS,
    affine_types,
    factor_of,
    is_extreme,
    is_kept,
    normalize_types,
    threads_for,
)
from fastmat.cpu.kinds import MEAN_SPREAD
from fastmat.cpu.lines import across, finish_stores, is_streamed, own
from fastmat.cpu.moments_across import of_block
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd import multiply_add
from fastmat.cpu.simd_lanes import scale_lines
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
    activation,  # address of a map, or 0
):
    """Normalize groups of which a block stays in the L2 cache by their own statistics."""
    n = x.size // (x.shape[0] * x.shape[1])
    threads = threads_for(x)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    several = max(1, TASK // (n * LANES))
    buffers = scratch((threads, 1, n * (LANES + 2) + WORK), sum_dtype(x.dtype))
    args = (x, weight, bias, out, center, factor, (kind, rule, eps), activation, several, buffers)
    parallel_for(_blocks, ceil_div(blocks, several), threads, args)


@kernel(affine_types, FLOATS)
def affine_across(
    x,  # in (o, i, p, r, q), not empty
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    activation,  # address of a map, or 0
):
    """Normalize groups by given statistics."""
    threads = threads_for(x)
    pieces = ceil_div(x.size // (x.shape[0] * x.shape[1]), BLOCK_LINES)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    room = BLOCK_LINES * (LANES + 2) + WORK
    buffers = scratch((threads, 1, room), sum_dtype(x.dtype))
    args = (x, weight, bias, out, center, factor, pieces, activation, buffers)
    parallel_for(_write_blocks, blocks * pieces, threads, args)


@task
def _blocks(args, slot, index):
    x, weight, bias, out, center, factor, (kind, rule, eps), activation, several, buffers = args
    n = x.shape[2] * x.shape[3] * x.shape[4]
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    found = scratch((3, LANES), types.float64)
    centers, factors, rest = found[0], found[1], found[2]
    numbers = own(buffers, slot, 0)
    for block in range(index * several, min((index + 1) * several, blocks)):
        o, i, width = place(x, block)
        load_block(x, o, i, width, 0, n, numbers)
        of_block(numbers, n, kind, centers, factors, rest)
        find_factors(factors, n, rule, eps)
        if is_kept(center, x):
            for k in range(width):
                center[o, i + k, 0, 0, 0], factor[o, i + k, 0, 0, 0] = centers[k], factors[k]
        normalize_block(x, weight, bias, o, i, width, 0, n, centers, factors, numbers)
        mapped(activation, part(numbers, 0, n * LANES))
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
    x, weight, bias, out, center, factor, pieces, activation, buffers = args
    first = index % pieces * BLOCK_LINES
    o, i, width = place(x, index // pieces)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    found = scratch((2, LANES), types.float64)
    centers, factors = found[0], found[1]
    for k in range(width):
        centers[k], factors[k] = center[o, i + k, 0, 0, 0], factor[o, i + k, 0, 0, 0]
    numbers = own(buffers, slot, 0)
    load_block(x, o, i, width, first, lines, numbers)
    normalize_block(x, weight, bias, o, i, width, first, lines, centers, factors, numbers)
    mapped(activation, part(numbers, 0, lines * LANES))
    store_block(numbers, out, o, i, width, first, lines, is_streamed(out))
    finish_stores(out)


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
    centers,  # in (LANES,)
    factors,  # in (LANES,)
    block,  # inout (lines * LANES and work space,)
):
    """Normalize groups that lie side by side, line by line."""
    free = lines * LANES
    high, low = _line_of(block, free), _line_of(block, free + LANES)
    scale = _line_of(block, free + 2 * LANES)
    extreme = False
    for k in range(LANES):
        center, factor = (centers[k], factors[k]) if k < width else (0.0, 1.0)
        high[k] = narrow(center, block.dtype)
        low[k] = narrow(center - high[k], block.dtype)
        scale[k] = narrow(factor, block.dtype)
        extreme |= is_extreme(factor)
    by_line = weight.shape[1] == 1
    alike = weight.shape[2] * weight.shape[3] * weight.shape[4] == 1
    if not extreme and (by_line or alike):
        count = lines if by_line else LANES
        w = part(block, free + 3 * LANES, free + 3 * LANES + count)
        b = part(block, free + 3 * LANES + count, free + 3 * LANES + 2 * count)
        p, r, q = first_place(x.shape, first)
        for j in range(lines if by_line else width):
            k = 0 if by_line else j
            w[j] = across(weight, o, i + k, p, r, q)[0]
            b[j] = across(bias, o, i + k, p, r, q)[0]
            if by_line:
                p, r, q = next_place(x.shape, p, r, q)
        lanes = high.ctypes.data, low.ctypes.data, scale.ctypes.data
        parameters = w.ctypes.data, b.ctypes.data
        scale_lines(block.dtype, block.ctypes.data, lines, *lanes, *parameters, by_line)
        return
    p, r, q = first_place(x.shape, first)
    for j in range(lines):
        w, b = across(weight, o, i, p, r, q), across(bias, o, i, p, r, q)
        p, r, q = next_place(x.shape, p, r, q)
        for k in range(width):
            at = 0 if by_line else k
            number = block[j * LANES + k]
            apart = (number - high[k]) - low[k]
            found = multiply_add(b[at], apart * scale[k], w[at])
            if is_extreme(factors[k]):
                wide = (np.float64(number) - centers[k]) * factors[k] * w[at] + b[at]
                found = narrow(wide, block.dtype)
            block[j * LANES + k] = found


@inlined
def _line_of(block, start):
    """LANES numbers of a block."""
    return part(block, start, start + LANES)
