"""Normalization: (x - center) * factor * weight + bias, group by group.

Arrays come as ``(o, i, p, r, q)``, see `moments`; those that are alike along an axis have
length 1 there. A group that stays in the L2 cache is measured and written in one go; longer ones
are measured first, piece by piece.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import call_on_demand, kernel, reads, writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import accumulator, narrow
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import (
    BLOCK_LINES,
    CHUNK,
    FUSED,
    FUSED_LINES,
    LANES,
    LARGE,
    SERIAL,
    TASK,
)
from fastmat.cpu.kinds import MEAN_SPREAD, ROOT_NORM
from fastmat.cpu.lines import across, is_streamed, loaded, own, store
from fastmat.cpu.moments import (
    FLOATS,
    chunk,
    chunks,
    is_across,
    load_block,
    of_block,
    of_chunks,
    place,
    statistics,
    store_block,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.shuffle import store_fence
from fastmat.cpu.simd import multiply_add
from fastmat.cpu.views import part


def _parameter(t):
    return reads(accumulator(t), 5)


def _statistic():
    return writes(types.float64, 5)


@kernel(
    lambda t: (
        reads(t, 5),
        _parameter(t),
        _parameter(t),
        writes(t, 5),
        _statistic(),
        _statistic(),
        types.intp,
        types.intp,
        types.float64,
    ),
    FLOATS,
    from_python=True,
)
def normalize(
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
    """Normalize each group by its own statistics."""
    groups = x.shape[0] * x.shape[1]
    n = x.size // groups
    threads = num_threads() if x.size > SERIAL else 1
    how = kind, rule, eps
    if is_across(x) and n <= FUSED_LINES:
        blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
        several = max(1, TASK // (n * LANES))
        buffers = scratch((threads, 1, (n + 8) * LANES), sum_dtype(x.dtype))
        args = (x, weight, bias, out, center, factor, how, several, buffers)
        parallel_for(_blocks, ceil_div(blocks, several), threads, args)
    elif not is_across(x) and n <= FUSED:
        several = max(1, TASK // n)
        buffers = scratch((threads, 4, CHUNK), sum_dtype(x.dtype))
        args = (x, weight, bias, out, center, factor, how, several, buffers)
        parallel_for(_groups, ceil_div(groups, several), threads, args)
    else:
        call_on_demand(statistics, x.dtype, (x, center, factor, kind))
        for o in range(x.shape[0]):
            for i in range(x.shape[1]):
                factor[o, i, 0, 0, 0] = _factor(factor[o, i, 0, 0, 0], n, rule, eps)
        call_on_demand(affine, x.dtype, (x, weight, bias, out, center, factor))


@kernel(
    lambda t: (
        reads(t, 5),
        _parameter(t),
        _parameter(t),
        writes(t, 5),
        reads(types.float64, 5),
        reads(types.float64, 5),
    ),
    FLOATS,
    from_python=True,
)
def affine(
    x,  # in (o, i, p, r, q), not empty
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
):
    """out = (x - center) * factor * weight + bias"""
    groups = x.shape[0] * x.shape[1]
    threads = num_threads() if x.size > SERIAL else 1
    if is_across(x):
        pieces = ceil_div(x.size // groups, BLOCK_LINES)
        blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
        buffers = scratch((threads, 1, (BLOCK_LINES + 8) * LANES), sum_dtype(x.dtype))
        args = (x, weight, bias, out, center, factor, pieces, buffers)
        parallel_for(_write_blocks, blocks * pieces, threads, args)
    else:
        count = chunks(x)
        several = max(1, TASK * groups * count // x.size)
        buffers = scratch((threads, 4, CHUNK), sum_dtype(x.dtype))
        args = (x, weight, bias, out, center, factor, count, several, buffers)
        parallel_for(_write_pieces, ceil_div(groups * count, several), threads, args)


@inlined
def _factor(spread, n, rule, eps):
    if rule == MEAN_SPREAD:
        return 1 / math.sqrt(spread / n + eps)
    norm = math.sqrt(spread) if rule == ROOT_NORM else spread
    return 1 / (eps if norm < eps else norm)


@task
def _groups(args, slot, index):
    x, weight, bias, out, center, factor, (kind, rule, eps), several, buffers = args
    count = chunks(x)
    n = x.shape[2] * x.shape[3] * x.shape[4]
    for g in range(index * several, min((index + 1) * several, x.shape[0] * x.shape[1])):
        o, i = g // x.shape[1], g % x.shape[1]
        mean, spread = of_chunks(x, o, i, 0, count, kind, own(buffers, slot, 0))
        scale = _factor(spread, n, rule, eps)
        center[o, i, 0, 0, 0], factor[o, i, 0, 0, 0] = mean, scale
        for c in range(count):
            _write_chunk(x, weight, bias, out, o, i, c, mean, scale, buffers, slot)
    if is_streamed(out):
        store_fence()


@task
def _write_pieces(args, slot, index):
    x, weight, bias, out, center, factor, count, several, buffers = args
    groups = x.shape[0] * x.shape[1]
    for number in range(index * several, min((index + 1) * several, groups * count)):
        g, c = number // count, number % count
        o, i = g // x.shape[1], g % x.shape[1]
        mean, scale = center[o, i, 0, 0, 0], factor[o, i, 0, 0, 0]
        _write_chunk(x, weight, bias, out, o, i, c, mean, scale, buffers, slot)
    if is_streamed(out):
        store_fence()


@always_inlined
def _write_chunk(x, weight, bias, out, o, i, c, center, factor, buffers, slot):
    """Normalize one chunk of a group."""
    numbers = loaded(chunk(x, o, i, c, x.shape), own(buffers, slot, 0))
    w = loaded(chunk(weight, o, i, c, x.shape), own(buffers, slot, 1))
    b = loaded(chunk(bias, o, i, c, x.shape), own(buffers, slot, 2))
    result = part(own(buffers, slot, 3), 0, numbers.shape[0])
    _normalize_line(numbers, center, factor, w, b, result)
    store(result, chunk(out, o, i, c, x.shape), is_streamed(out))


@always_inlined
def _normalize_line(
    x,  # in (n,)
    center,
    factor,
    weight,  # in (n,) or (1,)
    bias,  # in, of the shape of weight
    y,  # out (n,)
):
    """The center is taken off in two parts: rounded to the dtype of x alone it would be as far
    off as x from its neighbour, which is too far where x varies by less than its size."""
    high = narrow(center, y.dtype)
    low = narrow(center - high, y.dtype)
    if abs(factor) > LARGE:
        for j in range(y.shape[0]):
            at = j if weight.shape[0] > 1 else 0
            wide = (np.float64(x[j]) - center) * factor * weight[at] + bias[at]
            y[j] = narrow(wide, y.dtype)
    elif weight.shape[0] == 1:
        scale, shift = narrow(factor * weight[0], y.dtype), bias[0]
        for j in range(y.shape[0]):
            y[j] = multiply_add(shift, (x[j] - high) - low, scale)
    else:
        scale = narrow(factor, y.dtype)
        for j in range(y.shape[0]):
            y[j] = multiply_add(bias[j], ((x[j] - high) - low) * scale, weight[j])


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
        for k in range(width):
            factors[k] = _factor(factors[k], n, rule, eps)
            center[o, i + k, 0, 0, 0], factor[o, i + k, 0, 0, 0] = centers[k], factors[k]
        _normalize_block(x, weight, bias, o, i, width, 0, n, centers, factors, numbers)
        store_block(numbers, out, o, i, width, 0, n, is_streamed(out))
    if is_streamed(out):
        store_fence()


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
    wide = False
    for k in range(width):
        wide |= abs(factors[k]) > LARGE
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
        if wide:
            for k in range(width):
                at = k if w.shape[0] > 1 else 0
                found = (np.float64(numbers[k]) - centers[k]) * factors[k] * w[at] + b[at]
                numbers[k] = narrow(found, block.dtype)
        elif w.shape[0] == 1:
            weight_here, shift = w[0], b[0]
            for k in range(width):
                apart = (numbers[k] - high[k]) - low[k]
                numbers[k] = multiply_add(shift, apart * scale[k], weight_here)
        else:
            for k in range(width):
                apart = (numbers[k] - high[k]) - low[k]
                numbers[k] = multiply_add(b[k], apart * scale[k], w[k])
