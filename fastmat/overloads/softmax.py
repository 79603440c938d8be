"""`softmax`, `log_softmax` and `logsumexp` inside ``@njit``."""

import numpy as np
from numba import types
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.gradients import gradient
from fastmat.cpu.gradients import write as write_kernel
from fastmat.cpu.gradients_masked import masked_gradient, masked_write
from fastmat.cpu.kinds import (
    LOG_SOFTMAX,
    LOGSUMEXP,
    OF_LOG_SOFTMAX,
    OF_LOGSUMEXP,
    OF_SOFTMAX,
    SOFTMAX,
)
from fastmat.cpu.softmax import masked_softmax as masked_kernel
from fastmat.cpu.softmax import softmax as kernel
from fastmat.ops import softmax as ops
from fastmat.overloads.differentiated import cotangent_reader
from fastmat.overloads.groups import (
    check_output,
    constant,
    constant_axes,
    floating,
    in_slots,
    is_joined,
    kept_only,
    only_number,
    plan,
    ready,
    statistics_shape,
    writer,
)
from fastmat.overloads.mask_readers import mask_reader
from fastmat.overloads.storing import store
from fastmat.overloads.typing import given


def _same_shape(x, axis, out, mask, kind):
    """A function (x, out, mask) of the operation with a result of the shape of x."""
    dtype = floating(x)
    slots = plan(x, constant_axes(axis, x.ndim))
    joined = is_joined(slots)
    read, full = ready(x, dtype, joined), in_slots(slots)

    @inlined
    def run(arguments, extra, target):
        if target.size:
            a = full(arguments[0])
            call_all(kernel, a.dtype, (a, full(target), kind))

    @inlined
    def run_masked(arguments, extra, target):
        if target.size:
            a, kept = full(arguments[0]), arguments[1]
            call_all(masked_kernel, a.dtype, (a, kept, full(target), kind))

    if not given(mask):
        write = writer(x, out, dtype, joined, run)
        return inlined(lambda x, out, mask: write((read(x),), None, x, out))
    read_mask, write = mask_reader(mask, x, slots), writer(x, out, dtype, joined, run_masked)
    return inlined(lambda x, out, mask: write((read(x), read_mask(mask, x)), None, x, out))


@overload(ops.softmax, prefer_literal=True)
def _softmax(x, axis=-1, out=None, mask=None):
    run = _same_shape(x, axis, out, mask, SOFTMAX)
    return lambda x, axis=-1, out=None, mask=None: run(x, out, mask)


@overload(ops.log_softmax, prefer_literal=True)
def _log_softmax(x, axis=-1, out=None, mask=None):
    run = _same_shape(x, axis, out, mask, LOG_SOFTMAX)
    return lambda x, axis=-1, out=None, mask=None: run(x, out, mask)


@overload(ops.logsumexp, prefer_literal=True)
def _logsumexp(x, axis=-1, keepdims=False, out=None, mask=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    slots = plan(x, axes)
    read, full = ready(x, dtype, is_joined(slots)), in_slots(slots)
    shape_of = statistics_shape(x.ndim, axes)
    kept = tuple(axis for axis in range(x.ndim) if axis not in axes)
    keep = constant(keepdims, "keepdims", bool)
    item = NUMBA_DTYPES[dtype.name]

    read_mask = mask_reader(mask, x, slots) if given(mask) else None

    @inlined
    def plain(x, mask):
        result = np.full(shape_of(x), -np.inf, item)
        if x.size:
            a = full(read(x))
            call_all(kernel, a.dtype, (a, full(result), LOGSUMEXP))
        return result

    @inlined
    def masked(x, mask):
        result, kept = np.full(shape_of(x), -np.inf, item), read_mask(mask, x)
        if x.size:
            a = full(read(x))
            call_all(masked_kernel, a.dtype, (a, kept, full(result), LOGSUMEXP))
        return result

    compute = masked if given(mask) else plain

    reduced = kept_only(x.ndim, kept, keep)
    ndim = x.ndim if keep else len(kept)
    if not given(out):
        if ndim == 0:
            number = only_number(x.ndim)
            return lambda x, axis=-1, keepdims=False, out=None, mask=None: number(compute(x, mask))
        return lambda x, axis=-1, keepdims=False, out=None, mask=None: reduced(compute(x, mask))
    check_output(out, ndim, dtype)

    def logsumexp(x, axis=-1, keepdims=False, out=None, mask=None):
        result = reduced(compute(x, mask))
        if out.shape != result.shape:
            raise ValueError("out has another shape than the result")
        store(result, out)
        return out

    return logsumexp


def _softmax_vjp(cotangent, result, axis, out, mask, kind):
    """What `softmax_vjp` and `log_softmax_vjp` share: a function (cotangent, result, out, mask)."""
    dtype = floating(result, "result")
    axes = constant_axes(axis, result.ndim)
    slots = plan(result, axes)
    joined = is_joined(slots)
    read, full = ready(result, dtype, joined), in_slots(slots)
    read_cotangent = cotangent_reader(cotangent, result, dtype, joined)
    shape_of = statistics_shape(result.ndim, axes)

    @inlined
    def run(arguments, extra, target):
        y, g = arguments
        if y.size:
            a, c, b = full(y), full(g), full(target)
            nothing, done = np.empty((0, 0, 0, 0, 0)), np.zeros(1, np.intp)
            inputs = c, a, np.ones((1, 1, 1, 1, 1), a.dtype), full(extra[0]), full(extra[1])
            call_all(gradient, a.dtype, (*inputs, b, nothing, nothing, kind, 0.0, done))

    @inlined
    def run_masked(arguments, extra, target):
        y, g, kept = arguments
        if y.size:
            a, c, b = full(y), full(g), full(target)
            inputs = c, a, kept, np.ones((1, 1, 1, 1, 1), a.dtype), full(extra[0]), full(extra[1])
            call_all(masked_gradient, a.dtype, (*inputs, b, kind))

    write = writer(result, out, dtype, joined, run_masked if given(mask) else run)
    read_mask = mask_reader(mask, result, slots, "result") if given(mask) else None

    def plain(cotangent, result, out, mask):
        statistics = np.zeros(shape_of(result)), np.ones(shape_of(result))
        arguments = read(result), read_cotangent(cotangent, result)
        return write(arguments, statistics, result, out)

    def masked(cotangent, result, out, mask):
        statistics = np.zeros(shape_of(result)), np.ones(shape_of(result))
        arguments = read(result), read_cotangent(cotangent, result), read_mask(mask, result)
        return write(arguments, statistics, result, out)

    return inlined(masked if given(mask) else plain)


@overload(ops.softmax_vjp, prefer_literal=True)
def _softmax_vjp_of(cotangent, result, axis=-1, out=None, mask=None):
    run = _softmax_vjp(cotangent, result, axis, out, mask, OF_SOFTMAX)

    def softmax_vjp(cotangent, result, axis=-1, out=None, mask=None):
        return run(cotangent, result, out, mask)

    return softmax_vjp


@overload(ops.log_softmax_vjp, prefer_literal=True)
def _log_softmax_vjp_of(cotangent, result, axis=-1, out=None, mask=None):
    run = _softmax_vjp(cotangent, result, axis, out, mask, OF_LOG_SOFTMAX)

    def log_softmax_vjp(cotangent, result, axis=-1, out=None, mask=None):
        return run(cotangent, result, out, mask)

    return log_softmax_vjp


@overload(ops.logsumexp_vjp, prefer_literal=True)
def _logsumexp_vjp(cotangent, x, result, axis=-1, keepdims=False, out=None, mask=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, full, shape_of = ready(x, dtype, joined), in_slots(slots), statistics_shape(x.ndim, axes)
    kept = tuple(axis for axis in range(x.ndim) if axis not in axes)
    how = x.ndim, kept, constant(keepdims, "keepdims", bool)
    read_cotangent = _per_group(cotangent, "cotangent", *how)
    read_result = _per_group(result, "result", *how)
    item = NUMBA_DTYPES[dtype.name]

    @inlined
    def run(arguments, extra, target):
        x, g, center = arguments
        if x.size:
            a, b = full(x), full(target)
            c = full(np.broadcast_to(g, x.shape))
            zero, factor = full(np.zeros(center.shape)), full(np.ones(center.shape))
            inputs = c, a, np.ones((1, 1, 1, 1, 1), a.dtype), full(center), factor
            call_all(write_kernel, a.dtype, (*inputs, zero, zero, b, OF_LOGSUMEXP))

    @inlined
    def run_masked(arguments, extra, target):
        x, g, center, kept = arguments
        if x.size:
            a, b = full(x), full(target)
            c = full(np.broadcast_to(g, x.shape))
            zero, factor = full(np.zeros(center.shape)), full(np.ones(center.shape))
            inputs = c, a, kept, np.ones((1, 1, 1, 1, 1), a.dtype), full(center), factor
            call_all(masked_write, a.dtype, (*inputs, zero, zero, b, OF_LOGSUMEXP))

    write = writer(x, out, dtype, joined, run_masked if given(mask) else run)
    read_mask = mask_reader(mask, x, slots) if given(mask) else None

    def plain(cotangent, x, result, axis=-1, keepdims=False, out=None, mask=None):
        shape = shape_of(x)
        g = read_cotangent(cotangent, shape).astype(item)
        return write((read(x), g, read_result(result, shape)), None, x, out)

    def masked(cotangent, x, result, axis=-1, keepdims=False, out=None, mask=None):
        shape = shape_of(x)
        g = read_cotangent(cotangent, shape).astype(item)
        arguments = read(x), g, read_result(result, shape), read_mask(mask, x)
        return write(arguments, None, x, out)

    return masked if given(mask) else plain


def _per_group(given_value, name, full_ndim, kept, keep):
    """A function (value, shape): one number for each group, in float64 and of this shape."""
    ndim = full_ndim if keep else len(kept)
    if ndim == 0 and not isinstance(given_value, types.Array):
        return inlined(lambda value, shape: np.full(shape, np.float64(value)))
    floating(given_value, name)
    if given_value.ndim != ndim:
        raise errors.TypingError(f"{name} has {given_value.ndim} dimensions; it must have {ndim}")
    message = f"{name} has not the shape of the result"
    shortened = kept_only(full_ndim, kept, keep)

    def read(value, shape):
        if value.shape != shortened(np.empty(shape)).shape:
            raise ValueError(message)
        return np.ascontiguousarray(value).astype(np.float64).reshape(shape)

    return inlined(read)
