"""Normalization of groups that lie side by side, line by line across them."""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined
from fastmat.core.mathfn import narrow
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, LANES, SERIAL, TASK
from fastmat.cpu.blocks import load_block, place, store_block
from fastmat.cpu.groups import FLOATS, affine_types, factor_of, is_extreme, is_kept, normalize_types
from fastmat.cpu.kinds import MEAN_SPREAD
from fastmat.cpu.lines import across, is_streamed, loaded, own
from fastmat.cpu.moments_across import of_block
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.shuffle import store_fence
from fastmat.cpu.simd import multiply_add
from fastmat.cpu.views import part

_WORK = 8  # lines of work space beyond those of a block


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
    n = x.size // (x.shape[0] * x.shape[1])
    threads = num_threads() if x.size > SERIAL else 1
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    several = max(1, TASK // (n * LANES))
    buffers = scratch((threads, 1, (n + _WORK) * LANES), sum_dtype(x.dtype))
    args = (x, weight, bias, out, center, factor, (kind, rule, eps), several, buffers)
    parallel_for(_blocks, ceil_div(blocks, several), threads, args)


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
    threads = num_threads() if x.size > SERIAL else 1
    pieces = ceil_div(x.size // (x.shape[0] * x.shape[1]), BLOCK_LINES)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    buffers = scratch((threads, 1, (BLOCK_LINES + _WORK) * LANES), sum_dtype(x.dtype))
    args = (x, weight, bias, out, center, factor, pieces, buffers)
    parallel_for(_write_blocks, blocks * pieces, threads, args)


@task
def _blocks(args, slot, index):
    x, weight, bias, out, center, factor, (kind, rule, eps), several, buffers = args
    n = x.shape[2] * x.shape[3] * x.shape[4]
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    found = scratch((2, LANES), types.float64)
    centers, factors = found[0], found[1]
    numbers = own(buffers, slot, 0)
    for block in range(index * several, min((index + 1) * several, blocks)):
        o, i, width = place(x, block)
        load_block(x, o, i, width, 0, n, numbers)
        of_block(numbers, n, kind, centers, factors)
        _find_factors(factors, n, rule, eps)
        if is_kept(center, x):
            for k in range(width):
                center[o, i + k, 0, 0, 0], factor[o, i + k, 0, 0, 0] = centers[k], factors[k]
        _normalize_block(x, weight, bias, o, i, width, 0, n, centers, factors, numbers)
        store_block(numbers, out, o, i, width, 0, n, is_streamed(out))
    if is_streamed(out):
        store_fence()


@always_inlined
def _find_factors(
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
    x, weight, bias, out, center, factor, pieces, buffers = args
    first = index % pieces * BLOCK_LINES
    o, i, width = place(x, index // pieces)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    found = scratch((2, LANES), types.float64)
    centers, factors = found[0], found[1]
    for k in range(width):
        centers[k], factors[k] = center[o, i + k, 0, 0, 0], factor[o, i + k, 0, 0, 0]
    numbers = own(buffers, slot, 0)
    load_block(x, o, i, width, first, lines, numbers)
    _normalize_block(x, weight, bias, o, i, width, first, lines, centers, factors, numbers)
    store_block(numbers, out, o, i, width, first, lines, is_streamed(out))
    if is_streamed(out):
        store_fence()


@always_inlined
def _normalize_block(
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
    block,  # inout (lines * LANES and work space of 8 * LANES,)
):
    """Normalize groups that lie side by side, line by line."""
    free = lines * LANES
    high, low = part(block, free, free + LANES), part(block, free + LANES, free + 2 * LANES)
    scale = part(block, free + 2 * LANES, free + 3 * LANES)
    for k in range(width):
        high[k] = narrow(centers[k], block.dtype)
        low[k] = narrow(centers[k] - high[k], block.dtype)
        scale[k] = narrow(factors[k], block.dtype)
    extreme = False
    for k in range(width):
        extreme |= is_extreme(factors[k])
    w_space, b_space = (
        part(block, free + 3 * LANES, free + 4 * LANES),
        part(block, free + 4 * LANES, free + 5 * LANES),
    )
    r, q = x.shape[3], x.shape[4]
    for j in range(lines):
        t = first + j
        w = loaded(part(across(weight, o, i, t // (r * q), t // q % r, t % q), 0, width), w_space)
        b = loaded(part(across(bias, o, i, t // (r * q), t // q % r, t % q), 0, width), b_space)
        numbers = part(block, j * LANES, j * LANES + width)
        if extreme:
            for k in range(width):
                at = k if w.shape[0] > 1 else 0
                apart = (numbers[k] - high[k]) - low[k]
                found = multiply_add(b[at], apart * scale[k], w[at])
                if is_extreme(factors[k]):
                    wide = (np.float64(numbers[k]) - centers[k]) * factors[k] * w[at] + b[at]
                    found = narrow(wide, block.dtype)
                numbers[k] = found
        elif w.shape[0] == 1:
            weight_here, shift = w[0], b[0]
            for k in range(width):
                apart = (numbers[k] - high[k]) - low[k]
                numbers[k] = multiply_add(shift, apart * scale[k], weight_here)
        else:
            for k in range(width):
                apart = (numbers[k] - high[k]) - low[k]
                numbers[k] = multiply_add(b[k], apart * scale[k], w[k])
