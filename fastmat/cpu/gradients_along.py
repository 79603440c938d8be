"""Gradients of groups that lie along the last axis, chunk by chunk."""

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.inline import always_inlined, inlined, reducing
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, PARTIAL, PARTS, PIECE, SHARED, TASK
from fastmat.cpu.combine import add_parts, add_pieces
from fastmat.cpu.derivatives import (
    flowing_back,
    gradient_types,
    is_linear,
    is_of_softmax,
    signed_gradient,
    softmax_gradient,
    sums_types,
    write_both_types,
    write_types,
)
from fastmat.cpu.groups import FLOATS, chunk, chunks, is_extreme, threads_for
from fastmat.cpu.kinds import GIVEN, OF_LARGEST
from fastmat.cpu.lines import finish_stores, is_streamed, loaded, own, store
from fastmat.cpu.masked_lines import (
    add_counts,
    counted,
    erased,
    if_kept,
    keep_count,
    loaded_where,
    mask_chunk,
    room_for_counts,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.views import part


@kernel(sums_types, FLOATS)
def sums_along(
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
    groups = x.shape[0] * x.shape[1]
    threads, pieces = threads_for(x), ceil_div(chunks(x), PIECE)
    several = max(1, TASK * pieces * groups // x.size)
    found = scratch((2, groups, pieces), types.float64)
    kept = room_for_counts(mask, groups, pieces)
    buffers = scratch((threads, 3, CHUNK), sum_dtype(x.dtype))
    args = (arrays, kind, found, kept, several, buffers)
    parallel_for(_sum_pieces, ceil_div(groups * pieces, several), threads, args)
    add_pieces(found, first, second, threads)
    add_counts(kept, count)


@kernel(write_both_types, FLOATS)
def write_both_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (1, 1, p, r, q)
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    shift,  # in (o, i, 1, 1, 1)
    slope,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    by_weight,  # inout (1, 1, p, r, q)
    by_bias,  # inout (1, 1, p, r, q)
    kind,  # what the gradient is of
):
    """The gradient by x, of known shift and slope, and those by weight and bias."""
    threads = threads_for(x)
    buffers = scratch((threads, 4, CHUNK), sum_dtype(x.dtype))
    sums = scratch((threads, 2, CHUNK), types.float64)
    statistics, by_both = (center, factor, shift, slope), (by_weight, by_bias)
    args = (cotangent, x, weight, statistics, out, by_both, kind, sums, buffers)
    parallel_for(_write_columns, chunks(x), threads, args)


@kernel(write_types, FLOATS)
def write_along(
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
    x = arrays[1]
    groups, count, threads = x.shape[0] * x.shape[1], chunks(x), threads_for(x)
    several = max(1, TASK * groups * count // x.size)
    buffers = scratch((threads, 4, CHUNK), sum_dtype(x.dtype))
    args = (arrays, statistics, kind, count, several, buffers)
    parallel_for(_write_pieces, ceil_div(groups * count, several), threads, args)


@kernel(gradient_types, FLOATS)
def gradient_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    by_weight,  # inout, of the shape of weight; empty if it is not wanted
    by_bias,  # inout, of the shape of weight
    kind,  # what the gradient is of
    eps,  # the least norm that is divided by
):
    """The gradients by x, weight and bias, of groups that stay in the L2 cache."""
    arrays = cotangent, x, None, weight, center, factor, out
    find_gradients(arrays, by_weight, by_bias, kind, eps)


@always_inlined
def find_gradients(arrays, by_weight, by_bias, kind, eps):
    """The same of numbers with a mask."""
    x = arrays[1]
    groups, threads, places = x.shape[0] * x.shape[1], threads_for(x), by_weight.size
    several = max(1, TASK * groups // x.size)
    if places:
        several = max(several, SHARED, ceil_div(groups, PARTS), ceil_div(groups * places, PARTIAL))
    tasks = ceil_div(groups, several)
    parts = scratch((2, tasks, places), types.float64)
    buffers = scratch((threads, 4, CHUNK), sum_dtype(x.dtype))
    parallel_for(_groups, tasks, threads, (arrays, kind, eps, parts, several, buffers))
    if places:
        add_parts(parts, by_bias, by_weight, threads)


@task
def _sum_pieces(args, slot, index):
    (cotangent, x, mask, weight, center, factor), kind, found, count, several, buffers = args
    groups, pieces = found.shape[1:]
    for number in range(index * several, min((index + 1) * several, groups * pieces)):
        group, piece = number // pieces, number % pieces
        o, i = group // x.shape[1], group % x.shape[1]
        total, total2, n = 0.0, 0.0, 0
        for c in range(piece * PIECE, min((piece + 1) * PIECE, chunks(x))):
            kept = mask_chunk(mask, o, i, c, x.shape)
            middle, scale = chunk(center, o, i, c, x.shape), chunk(factor, o, i, c, x.shape)
            g, numbers = _kept(cotangent, x, kept, o, i, c, kind, middle[0], buffers, slot)
            w = loaded(chunk(weight, o, i, c, x.shape), own(buffers, slot, 2))
            if middle.shape[0] > 1:
                sums = _standardized_sums(kept, g, numbers, w[0], middle, scale)
            else:
                sums = _sums(kind, g, numbers, w, middle[0], scale[0])
            total += sums[0]
            total2 += sums[1]
            n += counted(kept, numbers.shape[0])
        keep_count(count, group, piece, n)
        if n == 0:  # center and factor are NaN
            total = total2 = 0.0
        found[0, group, piece], found[1, group, piece] = total, total2


@task
def _write_columns(args, slot, c):
    """One chunk of every group."""
    cotangent, x, weight, (center, factor, shift, slope), out, by_both, kind, sums, buffers = args
    by_weight, by_bias = own(sums, slot, 0), own(sums, slot, 1)
    for j in range(CHUNK):
        by_weight[j] = by_bias[j] = 0
    for o in range(x.shape[0]):
        for i in range(x.shape[1]):
            middle, scale = center[o, i, 0, 0, 0], factor[o, i, 0, 0, 0]
            flow = shift[o, i, 0, 0, 0], slope[o, i, 0, 0, 0]
            g = loaded(chunk(cotangent, o, i, c, x.shape), own(buffers, slot, 0))
            numbers = loaded(chunk(x, o, i, c, x.shape), own(buffers, slot, 1))
            _add(g, numbers, middle, scale, by_weight, by_bias)
            _write_chunk(
                cotangent, x, None, weight, out, o, i, c, kind, middle, scale, flow, buffers, slot
            )
    for total, found in ((by_weight, by_both[0]), (by_bias, by_both[1])):
        target = chunk(found, 0, 0, c, x.shape)
        for j in range(target.shape[0]):
            target[j] += total[j]
    finish_stores(out)


@reducing
def _add(g, x, center, factor, by_weight, by_bias):
    for j in range(g.shape[0]):
        cotangent = np.float64(g[j])
        by_bias[j] += cotangent
        by_weight[j] += cotangent * ((np.float64(x[j]) - center) * factor)


@task
def _write_pieces(args, slot, index):
    arrays, (center, factor, shift, slope), kind, count, several, buffers = args
    _cotangent, x, _mask, _weight, out = arrays
    groups = x.shape[0] * x.shape[1]
    for number in range(index * several, min((index + 1) * several, groups * count)):
        group, c = number // count, number % count
        o, i = group // x.shape[1], group % x.shape[1]
        flow = shift[o, i, 0, 0, 0], slope[o, i, 0, 0, 0]
        middle, scale = center[o, i, 0, 0, 0], factor[o, i, 0, 0, 0]
        _write_chunk(*arrays, o, i, c, kind, middle, scale, flow, buffers, slot)
    finish_stores(out)


@task
def _groups(args, slot, index):
    (cotangent, x, mask, weight, center, factor, out), kind, eps, parts, several, buffers = args
    by_bias, by_weight = own(parts, 0, index), own(parts, 1, index)
    for j in range(by_bias.shape[0]):
        by_bias[j] = by_weight[j] = 0
    for group in range(index * several, min((index + 1) * several, x.shape[0] * x.shape[1])):
        o, i = group // x.shape[1], group % x.shape[1]
        middle, scale = center[o, i, 0, 0, 0], factor[o, i, 0, 0, 0]
        first, second, n = 0.0, 0.0, 0
        for c in range(chunks(x)):
            kept = mask_chunk(mask, o, i, c, x.shape)
            g, numbers = _kept(cotangent, x, kept, o, i, c, kind, middle, buffers, slot)
            w = loaded(chunk(weight, o, i, c, x.shape), own(buffers, slot, 2))
            if by_bias.shape[0] == 0:
                sums = _sums(kind, g, numbers, w, middle, scale)
            else:
                at = _number_of(weight, o, i, c, x.shape)
                bias_part = part(by_bias, at, at + w.shape[0])
                weight_part = part(by_weight, at, at + w.shape[0])
                sums = _sums_kept(g, numbers, w, middle, scale, bias_part, weight_part)
            first += sums[0]
            second += sums[1]
            n += counted(kept, numbers.shape[0])
        flow = flowing_back(kind, first, second, n, scale, eps)
        for c in range(chunks(x)):
            arrays = cotangent, x, mask, weight, out
            _write_chunk(*arrays, o, i, c, kind, middle, scale, flow, buffers, slot)
    finish_stores(out)


@always_inlined
def _kept(cotangent, x, kept, o, i, c, kind, center, buffers, slot):
    """Cotangent and numbers of a chunk; what is masked counts for nothing in the sums."""
    one, other = own(buffers, slot, 0), own(buffers, slot, 1)
    middle = narrow(center if is_linear(kind) else 0.0, other.dtype)
    g = loaded_where(kept, chunk(cotangent, o, i, c, x.shape), one, narrow(0, one.dtype))
    return g, loaded_where(kept, chunk(x, o, i, c, x.shape), other, middle)


@inlined
def _number_of(weight, o, i, c, shape):
    """The number, among all places of the weight, of that which a chunk begins with."""
    in_a_line = ceil_div(shape[4], CHUNK)
    run, q = c // in_a_line, c % in_a_line * CHUNK
    place = o, i, run // shape[3], run % shape[3], q
    number = 0
    for axis in range(5):
        length = weight.shape[axis]
        number = number * length + (place[axis] if length > 1 else 0)
    return number


@always_inlined
def _sums(kind, g, x, w, center, factor):
    """Sums of g * w, and of that times the standardized numbers, or x."""
    if kind == OF_LARGEST:
        return _sums_of_largest(g, x, center)
    middle, scale = (center, factor) if is_linear(kind) else (0.0, 1.0)
    if w.shape[0] == 1:
        first, second = _plain_sums(g, x, middle)
    else:
        first, second = _weighted_sums(g, x, w, middle)
    share = np.float64(w[0]) if w.shape[0] == 1 else 1.0
    return first * share, second * share * scale


@reducing
def _plain_sums(g, x, center):
    first = second = 0.0
    for j in range(g.shape[0]):
        first += np.float64(g[j])
        second += np.float64(g[j]) * (np.float64(x[j]) - center)
    return first, second


@reducing
def _weighted_sums(g, x, w, center):
    first = second = 0.0
    for j in range(g.shape[0]):
        share = np.float64(g[j]) * np.float64(w[j])
        first += share
        second += share * (np.float64(x[j]) - center)
    return first, second


@reducing
def _standardized_sums(
    kept,  # in (n,) or (1,), or None
    g,  # in (n,)
    x,  # in (n,)
    w,
    center,  # in (n,)
    factor,  # in (n,)
):
    first = second = 0.0
    for j in range(g.shape[0]):
        share = np.float64(g[j]) * w
        first += share
        second += if_kept(kept, j, share * (np.float64(x[j]) - center[j]) * factor[j])
    return first, second


@reducing
def _sums_of_largest(g, x, largest):
    """How many numbers are the largest, and what flows back through them."""
    count = second = 0.0
    for j in range(g.shape[0]):
        if abs(x[j]) == largest:
            count += 1
        second += np.float64(g[j]) * np.float64(x[j])
    return count, second


@always_inlined
def _sums_kept(g, x, w, center, factor, by_bias, by_weight):
    """The same, added to the gradients by bias and weight as well."""
    if w.shape[0] > 1:
        return _weighted_sums_kept(g, x, w, center, factor, by_bias, by_weight)
    first, second = _plain_sums(g, x, center)
    by_bias[0] += first
    by_weight[0] += second * factor
    return first * w[0], second * factor * w[0]


@reducing
def _weighted_sums_kept(g, x, w, center, factor, by_bias, by_weight):
    first = second = 0.0
    for j in range(g.shape[0]):
        cotangent, apart = np.float64(g[j]), (np.float64(x[j]) - center) * factor
        by_bias[j] += cotangent
        by_weight[j] += cotangent * apart
        first += cotangent * np.float64(w[j])
        second += cotangent * np.float64(w[j]) * apart
    return first, second


@always_inlined
def _write_chunk(
    cotangent, x, mask, weight, out, o, i, c, kind, center, factor, flow, buffers, slot
):
    """The gradient by one chunk of a group."""
    g = loaded(chunk(cotangent, o, i, c, x.shape), own(buffers, slot, 0))
    numbers = loaded(chunk(x, o, i, c, x.shape), own(buffers, slot, 1))
    w = loaded(chunk(weight, o, i, c, x.shape), own(buffers, slot, 2))
    result = part(own(buffers, slot, 3), 0, numbers.shape[0])
    if kind == GIVEN:
        for j in range(result.shape[0]):
            share = np.float64(g[j]) * np.float64(w[j if w.shape[0] > 1 else 0])
            result[j] = narrow(share * factor, result.dtype)
    elif is_linear(kind):
        _linear_gradient(g, numbers, w, center, factor, flow, result)
    elif is_of_softmax(kind):
        middle, shift = narrow(center, result.dtype), narrow(flow[0], result.dtype)
        rest = narrow(flow[0] - shift, result.dtype)
        for j in range(result.shape[0]):
            result[j] = softmax_gradient(kind, g[j], numbers[j], middle, shift, rest)
    else:
        for j in range(result.shape[0]):
            number = np.float64(g[j]), np.float64(numbers[j])
            found = signed_gradient(kind, *number, center, factor, flow[1])
            result[j] = narrow(found, result.dtype)
    erased(mask_chunk(mask, o, i, c, x.shape), result, narrow(0, result.dtype))
    store(result, chunk(out, o, i, c, x.shape), is_streamed(out))


@always_inlined
def _linear_gradient(
    g,  # in (n,)
    x,  # in (n,)
    w,  # in (n,) or (1,)
    center,
    factor,
    flow,  # shift and slope
    y,  # out (n,)
):
    """(g * w - shift - standardized * slope) * factor; the center comes in two parts, as ever."""
    shift, slope = flow
    if is_extreme(factor):
        for j in range(y.shape[0]):
            at = j if w.shape[0] > 1 else 0
            apart = (np.float64(x[j]) - center) * factor
            found = (np.float64(g[j]) * np.float64(w[at]) - shift - apart * slope) * factor
            y[j] = narrow(found, y.dtype)
        return
    high = narrow(center, y.dtype)
    low = narrow(center - high, y.dtype)
    scale = narrow(factor, y.dtype)
    a, b = narrow(shift, y.dtype), narrow(slope, y.dtype)
    if w.shape[0] > 1:
        for j in range(y.shape[0]):
            apart = ((x[j] - high) - low) * scale
            y[j] = ((g[j] * w[j] - a) - apart * b) * scale
    else:
        share = w[0]
        for j in range(y.shape[0]):
            apart = ((x[j] - high) - low) * scale
            y[j] = ((g[j] * share - a) - apart * b) * scale
