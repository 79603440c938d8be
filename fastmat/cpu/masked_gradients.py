<<<<<<< HEAD
"""Gradients of masked reductions: what a group's cotangent gives each of its valid numbers.

Arrays come as ``(o, i, p, r, q)``, see `groups`; so does the mask, see `masked_groups`. What is not
valid gets 0, whatever it is.
"""

import numpy as np
from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.elementary import select
from fastmat.core.inline import always_inlined
from fastmat.core.mathfn import boolean, narrow, widen
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, TASK
from fastmat.cpu.groups import FLOATS, chunk, is_across, threads_for
from fastmat.cpu.kinds import ALIKE, DEVIATIONS
from fastmat.cpu.lines import finish_stores, is_streamed, loaded, own, store
from fastmat.cpu.masked_groups import count_valid, valid_chunk
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.views import moved_last, part


def spread_types(t):
    """Argument types of the kernel."""
    statistic = reads(types.float64, 5)
    arrays = reads(t, 5), reads(boolean, 5), statistic, statistic
    return *arrays, writes(t, 5), types.intp


@kernel(spread_types, FLOATS, from_python=True)
def masked_gradient(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x
    kind,  # what the gradient is of
):
    """The gradient by x. Lines are those that lie side by side, of one group or one of each."""
    if is_across(x):
        x, mask, out = moved_last(x, 1), moved_last(mask, 1), moved_last(out, 1)
        center, factor = moved_last(center, 1), moved_last(factor, 1)
    in_a_line = ceil_div(x.shape[4], CHUNK)
    count = x.size // x.shape[4] * in_a_line
    several = max(1, TASK * count // x.size)
    threads = threads_for(x)
    buffers = scratch((threads, 2, CHUNK), sum_dtype(x.dtype))
    marks = scratch((threads, 1, CHUNK), mask.dtype)
    args = (x, mask, center, factor, out, kind, count, several, buffers, marks)
    parallel_for(_write_lines, ceil_div(count, several), threads, args)


@task
def _write_lines(args, slot, index):
    x, mask, center, factor, out, kind, count, several, buffers, marks = args
    in_a_group = x.shape[2] * x.shape[3] * ceil_div(x.shape[4], CHUNK)
    for number in range(index * several, min((index + 1) * several, count)):
        g, c = number // in_a_group, number % in_a_group
        o, i = g // x.shape[1], g % x.shape[1]
        target = chunk(out, o, i, c, x.shape)
        result = part(own(buffers, slot, 1), 0, target.shape[0])
        valid = valid_chunk(mask, o, i, c, x.shape, own(marks, slot, 0))
        if count_valid(valid, target.shape[0]) == 0:
            for j in range(result.shape[0]):
                result[j] = 0
            store(result, target, is_streamed(out))
            continue
        middle, scale = chunk(center, o, i, c, x.shape), chunk(factor, o, i, c, x.shape)
        masked = valid.shape[0] > 1
        if kind == ALIKE:
            _alike(valid, masked, scale, result)
        else:
            numbers = loaded(chunk(x, o, i, c, x.shape), own(buffers, slot, 0))
            if kind == DEVIATIONS:
                _deviations(numbers, valid, masked, middle, scale, result)
            else:
                _extremes(numbers, valid, masked, middle, scale, result)
        store(result, target, is_streamed(out))
    finish_stores(out)


@always_inlined
def _alike(
    valid,  # in (n,) or (1,)
    masked,
    factor,  # in (n,) or (1,)
    y,  # out (n,)
):
    nothing = narrow(0.0, y.dtype)
    if factor.shape[0] == 1:
        share = narrow(factor[0], y.dtype)
        for j in range(y.shape[0]):
            y[j] = select(not masked or widen(valid[j]) != 0, share, nothing)
    else:
        for j in range(y.shape[0]):
            share = narrow(factor[j], y.dtype)
            y[j] = select(not masked or widen(valid[j]) != 0, share, nothing)


@always_inlined
def _deviations(
    x,  # in (n,)
    valid,  # in (n,) or (1,)
    masked,
    center,  # in (n,) or (1,)
    factor,  # in (n,) or (1,)
    y,  # out (n,)
):
    nothing = narrow(0.0, y.dtype)
    if factor.shape[0] == 1:
        middle, scale = center[0], factor[0]
        for j in range(y.shape[0]):
            share = narrow((np.float64(x[j]) - middle) * scale, y.dtype)
            y[j] = select(not masked or widen(valid[j]) != 0, share, nothing)
    else:
        for j in range(y.shape[0]):
            share = narrow((np.float64(x[j]) - center[j]) * factor[j], y.dtype)
            y[j] = select(not masked or widen(valid[j]) != 0, share, nothing)


@always_inlined
def _extremes(
    x,  # in (n,)
    valid,  # in (n,) or (1,)
    masked,
    center,  # in (n,) or (1,)
    factor,  # in (n,) or (1,)
    y,  # out (n,)
):
    """NaN equals NaN."""
    nothing, single = narrow(0.0, y.dtype), factor.shape[0] == 1
    for j in range(y.shape[0]):
        at = 0 if single else j
        number, middle = np.float64(x[j]), center[at]
        equal = (number == middle) | ((number != number) & (middle != middle))
        equal = equal & (not masked or widen(valid[j]) != 0)
        y[j] = select(equal, narrow(factor[at], y.dtype), nothing)
=======
"""Gradients of what was computed with a mask, group by group: twins of those in `gradients`.

What is masked counts for nothing, whatever it is, and its gradient is 0. Gradients by weight and
bias are sums of their own, over other axes.
"""

from numba import types
from numba.types import float64 as double

from fastmat.core.compile import call_on_demand, kernel, writes
from fastmat.cpu import gradients_across, gradients_along
from fastmat.cpu.derivatives import flowing_back, gradient_types, sums_types, write_types
from fastmat.cpu.groups import FLOATS, is_across, is_fused, with_mask
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import as_any


def masked_sums_types(t):
    """Argument types of the kernels that add up what flows back, and count."""
    *arrays, kind = with_mask(sums_types, 2)(t)
    return *arrays, writes(types.float64, 5), kind


def masked_gradient_types(t):
    """Argument types of the kernels that find the gradient by x alone."""
    *arrays, by_weight, by_bias, kind, eps = with_mask(gradient_types, 2)(t)
    return *arrays, kind


@kernel(masked_sums_types, FLOATS)
def masked_sums_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, p, r, q) or 1 where it is alike
    factor,  # in, of the shape of center
    first,  # out (o, i, 1, 1, 1)
    second,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1): how many numbers are kept
    kind,  # what the gradient is of
):
    """The two sums of each group."""
    arrays = cotangent, x, mask, weight, center, factor
    gradients_along.find_sums(arrays, first, second, count, kind)


@kernel(masked_sums_types, FLOATS)
def masked_sums_across(
    cotangent, x, mask, weight, center, factor, first, second, count, kind
):
    """The same of groups that lie side by side."""
    arrays = cotangent, x, mask, weight, center, factor
    gradients_across.find_sums(arrays, first, second, count, kind)


@kernel(with_mask(write_types, 2), FLOATS)
def masked_write_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    shift,  # in (o, i, 1, 1, 1)
    slope,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x, of known shift and slope."""
    arrays, statistics = (cotangent, x, mask, weight, out), (center, factor, shift, slope)
    gradients_along.write_all(arrays, statistics, kind)


@kernel(with_mask(write_types, 2), FLOATS)
def masked_write_across(
    cotangent, x, mask, weight, center, factor, shift, slope, out, kind
):
    """The same of groups that lie side by side."""
    arrays, statistics = (cotangent, x, mask, weight, out), (center, factor, shift, slope)
    gradients_across.write_all(arrays, statistics, kind)


@kernel(masked_gradient_types, FLOATS)
def masked_gradient_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x of groups that stay in the L2 cache."""
    arrays, none = (cotangent, x, mask, weight, center, factor, out), scratch((0,) * 5, double)
    gradients_along.find_gradients(arrays, as_any(none), as_any(none), kind, 0.0)


@kernel(masked_gradient_types, FLOATS)
def masked_gradient_across(cotangent, x, mask, weight, center, factor, out, kind):
    """The gradient by x of groups of which a block stays in the L2 cache."""
    arrays, none = (cotangent, x, mask, weight, center, factor, out), scratch((0,) * 5, double)
    gradients_across.find_gradients(arrays, as_any(none), as_any(none), kind, 0.0)


@kernel(masked_gradient_types, FLOATS, from_python=True)
def masked_gradient(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x."""
    if is_fused(x, weight):
        arrays = cotangent, x, mask, weight, center, factor, out, kind
        if is_across(x):
            call_on_demand(masked_gradient_across, x.dtype, arrays)
        else:
            call_on_demand(masked_gradient_along, x.dtype, arrays)
        return
    shape = x.shape[0], x.shape[1], 1, 1, 1
    shift, slope = as_any(scratch(shape, double)), as_any(scratch(shape, double))
    count = as_any(scratch(shape, double))
    arrays = cotangent, x, mask, weight, center, factor
    call_on_demand(masked_sums, x.dtype, (*arrays, shift, slope, count, kind))
    for o in range(x.shape[0]):
        for i in range(x.shape[1]):
            place = o, i, 0, 0, 0
            found = shift[place], slope[place], count[place], factor[place]
            shift[place], slope[place] = flowing_back(kind, *found, 0.0)
    call_on_demand(masked_write, x.dtype, (*arrays, shift, slope, out, kind))


@kernel(masked_sums_types, FLOATS, from_python=True)
def masked_sums(
    cotangent, x, mask, weight, center, factor, first, second, count, kind
):
    """The two sums of each group, and how many numbers they are of."""
    arrays = cotangent, x, mask, weight, center, factor, first, second, count, kind
    if is_across(x):
        call_on_demand(masked_sums_across, x.dtype, arrays)
    else:
        call_on_demand(masked_sums_along, x.dtype, arrays)


@kernel(with_mask(write_types, 2), FLOATS, from_python=True)
def masked_write(
    cotangent, x, mask, weight, center, factor, shift, slope, out, kind
):
    """The gradient by x, of known shift and slope."""
    arrays = cotangent, x, mask, weight, center, factor, shift, slope, out, kind
    if is_across(x):
        call_on_demand(masked_write_across, x.dtype, arrays)
    else:
        call_on_demand(masked_write_along, x.dtype, arrays)
>>>>>>> h-soft
