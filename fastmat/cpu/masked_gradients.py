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
