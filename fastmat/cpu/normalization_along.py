"""Normalization of groups that lie along the last axis, chunk by chunk."""

import numpy as np

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, TASK
from fastmat.cpu.groups import (
    FLOATS,
    affine_types,
    chunk,
    chunks,
    factor_of,
    is_extreme,
    is_kept,
    normalize_types,
    threads_for,
    with_map,
)
from fastmat.cpu.lines import finish_stores, is_streamed, loaded, own, store
from fastmat.cpu.masks import map_kept, mask_chunk
from fastmat.cpu.moments_along import of_chunks
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd import multiply_add
from fastmat.cpu.views import part


@kernel(normalize_types, FLOATS)
def normalize_along(
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
    """Normalize groups that stay in the L2 cache by their own statistics."""
    _normalize((x, weight, bias, out), (center, factor), (kind, rule, eps), None)


@kernel(with_map(normalize_types), FLOATS)
def normalize_and_map_along(x, weight, bias, out, center, factor, kind, rule, eps, activation):
    """The same, and apply a map."""
    _normalize((x, weight, bias, out), (center, factor), (kind, rule, eps), activation)


@kernel(affine_types, FLOATS)
def affine_along(
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
def affine_and_map_along(x, weight, bias, out, center, factor, activation):
    """The same, and apply a map."""
    write_all((x, None, weight, bias, out), (center, factor), activation)


@always_inlined
def _normalize(arrays, statistics, how, activation):
    x = arrays[0]
    groups, threads = x.shape[0] * x.shape[1], threads_for(x)
    several = max(1, TASK * groups // x.size)
    buffers = scratch((threads, 4, CHUNK), sum_dtype(x.dtype))
    args = (arrays, statistics, how, activation, several, buffers)
    parallel_for(_groups, ceil_div(groups, several), threads, args)


@always_inlined
def write_all(arrays, statistics, activation):
    """Normalize numbers with a mask, or None, by given statistics."""
    x = arrays[0]
    groups, count, threads = x.shape[0] * x.shape[1], chunks(x), threads_for(x)
    several = max(1, TASK * groups * count // x.size)
    buffers = scratch((threads, 4, CHUNK), sum_dtype(x.dtype))
    args = (arrays, statistics, count, activation, several, buffers)
    parallel_for(_write_pieces, ceil_div(groups * count, several), threads, args)


@task
def _groups(args, slot, index):
    (x, weight, bias, out), (center, factor), (kind, rule, eps), activation, several, buffers = args
    count = chunks(x)
    for g in range(index * several, min((index + 1) * several, x.shape[0] * x.shape[1])):
        o, i = g // x.shape[1], g % x.shape[1]
        mean, spread, n = of_chunks(x, None, o, i, 0, count, kind, own(buffers, slot, 0))
        scale = factor_of(spread, n, rule, eps)
        if is_kept(center, x):
            center[o, i, 0, 0, 0], factor[o, i, 0, 0, 0] = mean, scale
        for c in range(count):
            arrays = x, None, weight, bias, out
            _write_chunk(arrays, o, i, c, mean, scale, activation, buffers, slot)
    finish_stores(out)


@task
def _write_pieces(args, slot, index):
    arrays, (center, factor), count, activation, several, buffers = args
    x, out = arrays[0], arrays[4]
    groups = x.shape[0] * x.shape[1]
    for number in range(index * several, min((index + 1) * several, groups * count)):
        g, c = number // count, number % count
        o, i = g // x.shape[1], g % x.shape[1]
        mean, scale = center[o, i, 0, 0, 0], factor[o, i, 0, 0, 0]
        _write_chunk(arrays, o, i, c, mean, scale, activation, buffers, slot)
    finish_stores(out)


@always_inlined
def _write_chunk(arrays, o, i, c, center, factor, activation, buffers, slot):
    """Normalize one chunk of a group."""
    x, mask, weight, bias, out = arrays
    numbers = loaded(chunk(x, o, i, c, x.shape), own(buffers, slot, 0))
    w = loaded(chunk(weight, o, i, c, x.shape), own(buffers, slot, 1))
    b = loaded(chunk(bias, o, i, c, x.shape), own(buffers, slot, 2))
    result = part(own(buffers, slot, 3), 0, numbers.shape[0])
    _normalize_line(numbers, center, factor, w, b, result)
    kept = mask_chunk(mask, o, i, c, x.shape)
    map_kept(activation, kept, result)
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
    product = abs(factor * weight[0])
    if is_extreme(factor) or (product > 0 and is_extreme(product)):
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
