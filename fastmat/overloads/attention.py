"""`scaled_dot_product_attention` and its gradients inside ``@njit``."""

import math

import numpy as np
from numba import types
from numba.core import errors
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.inline import overload as inlined_overload
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.attention import attention as kernel
from fastmat.cpu.attention_vjp import attention_vjp as vjp_kernel
from fastmat.cpu.views import overlap
from fastmat.ops import attention as ops
from fastmat.ops.attention import FLOATING, Attended, AttentionGradients
from fastmat.overloads.groups import picked
from fastmat.overloads.storing import store
from fastmat.overloads.typing import array_type, as_kernel_reads, check_out, given, numba_dtype

_NUMBERS = (types.Integer, types.Float, types.Boolean, int, float)


@overload(ops.scaled_dot_product_attention, prefer_literal=True)
def _scaled_dot_product_attention(
    q, k, v, mask=None, is_causal=False, scale=None, out=None, return_stats=False
):
    dtype, ndim = _check_arguments(q, k, v, mask, scale)
    read = _reader(q, k, v, dtype)
    item, pick = numba_dtype(dtype), picked(return_stats)
    cut, cut_mask = _cutter(ndim - 2), _mask_cutter(mask, dtype, ndim - 2)
    write = _writer(out, ndim, dtype)

    @inlined
    def run(a, b, c, mask, is_causal, factor, target, logsumexp):
        batch = target.shape[:-2]
        x, y, z = _broadcast(a, batch), _broadcast(b, batch), _broadcast(c, batch)
        if logsumexp.size:
            for index in np.ndindex(batch[:-2]):
                first = cut(x, index)
                arrays = first, cut(y, index), cut(z, index), *cut_mask(mask, index)
                results = cut(target, index), cut(logsumexp, index)
                call_all(kernel, first.dtype, (*arrays, *results, bool(is_causal), factor))

    def attention(q, k, v, mask=None, is_causal=False, scale=None, out=None, return_stats=False):
        a, b, c = read(q, k, v)
        batch = _batch(a, b, c)
        m = _full_mask(mask, (*batch, a.shape[-2], b.shape[-2]), is_causal, item)
        logsumexp = np.empty((*batch, a.shape[-2]))
        arguments = a, b, c, m, is_causal, _factor(scale, a.shape[-1])
        shape = (*batch, a.shape[-2], c.shape[-1])
        result = write(out, shape, item, (q, k, v), mask, run, arguments, logsumexp)
        return pick(Attended(result, logsumexp))

    return attention


def _writer(out, ndim, dtype):
    """A function that runs the kernel on `out` where that can be written at once, or on new."""
    if not given(out):

        def new(out, shape, item, inputs, mask, run, arguments, logsumexp):
            target = np.empty(shape, item)
            run(*arguments, target, logsumexp)
            return target

        return inlined(new)
    check_out(out, ndim, dtype)
    in_place = as_dtype(out.dtype) == dtype

    def into(out, shape, item, inputs, mask, run, arguments, logsumexp):
        if out.shape != shape:
            raise ValueError("out has another shape than the result")
        if in_place and not _meets(out, inputs, mask):
            run(*arguments, out, logsumexp)
        else:
            target = np.empty(shape, item)
            run(*arguments, target, logsumexp)
            store(target, out)
        return out

    if in_place:
        return inlined(into)

    def converted(out, shape, item, inputs, mask, run, arguments, logsumexp):
        if out.shape != shape:
            raise ValueError("out has another shape than the result")
        target = np.empty(shape, item)
        run(*arguments, target, logsumexp)
        store(target, out)
        return out

    return inlined(converted)


@inlined
def _meets(out, inputs, mask):
    q, k, v = inputs
    return overlap(out, q) or overlap(out, k) or overlap(out, v) or _meets_mask(out, mask)


def _meets_mask(out, mask):
    raise TypeError("only for compiled code")


@inlined_overload(_meets_mask)
def _meets_mask_if_given(out, mask):
    if not given(mask):
        return lambda out, mask: False
    return lambda out, mask: overlap(out, mask)


@overload(ops.scaled_dot_product_attention_vjp, prefer_literal=True)
def _scaled_dot_product_attention_vjp(
    cotangent, q, k, v, result, logsumexp, mask=None, is_causal=False, scale=None, out=None
):
    dtype, ndim = _check_arguments(q, k, v, mask, scale)
    for x, name, wanted in (
        (cotangent, "cotangent", ndim),
        (result, "result", ndim),
        (logsumexp, "logsumexp", ndim - 1),
    ):
        _floating(x, name)
        if x.ndim != wanted:
            raise errors.TypingError(f"{name} has {x.ndim} dimensions; it must have {wanted}")
    read, of_result, item = _reader(q, k, v, dtype), _in_dtype(dtype), numba_dtype(dtype)
    cut, cut_mask = _cutter(ndim - 2), _mask_cutter(mask, dtype, ndim - 2)
    deliver = _delivering(out, (q, k, v), ndim)

    def vjp(
        cotangent, q, k, v, result, logsumexp, mask=None, is_causal=False, scale=None, out=None
    ):
        a, b, c = read(q, k, v)
        batch = _batch(a, b, c)
        factor = _factor(scale, a.shape[-1])
        m = _full_mask(mask, (*batch, a.shape[-2], b.shape[-2]), is_causal, item)
        shape = (*batch, a.shape[-2], c.shape[-1])
        if cotangent.shape != shape:
            raise ValueError("cotangent has another shape than the result")
        if result.shape != shape:
            raise ValueError("result does not have the shape that q, k and v give it")
        if logsumexp.shape != shape[:-1]:
            raise ValueError("logsumexp does not have one number for each query")
        x, y, z = _broadcast(a, batch), _broadcast(b, batch), _broadcast(c, batch)
        g, r, logs = of_result(cotangent), of_result(result), logsumexp.astype(np.float64)
        dq, dk, dv = np.zeros(x.shape, item), np.zeros(y.shape, item), np.zeros(z.shape, item)
        if logs.size and b.shape[-2]:
            for index in np.ndindex(batch[:-2]):
                first = cut(g, index)
                inputs = first, cut(x, index), cut(y, index), cut(z, index), cut(r, index)
                results = cut(dq, index), cut(dk, index), cut(dv, index)
                masks = cut_mask(m, index)
                how = bool(is_causal), factor
                args = (*inputs, cut(logs, index), *masks, *results, *how)
                call_all(vjp_kernel, first.dtype, args)
        return AttentionGradients(*deliver(out, (q, k, v), (dq, dk, dv)))

    return vjp


def _delivering(out, arguments, ndim):
    """A function (out, arguments, gradients): gradients in the shapes and dtypes of arguments."""
    sums = [_sum(x, ndim) for x in arguments]
    if not given(out):
        first, second, third = sums

        def new(out, arguments, found):
            (q, k, v), (dq, dk, dv) = arguments, found
            return first(dq, q), second(dk, k), third(dv, v)

        return inlined(new)
    if not isinstance(out, types.BaseTuple | tuple) or len(out) != 3:
        raise errors.TypingError(f"out is {out}; it must be three arrays, or None")
    for to, x in zip(out, arguments):
        if given(to):
            check_out(to, x.ndim, as_dtype(x.dtype))
    kept = [_kept(to, total) for to, total in zip(out, sums)]
    check_q, check_k, check_v = [_shape_check(to) for to in out]
    first, second, third = kept

    def into(out, arguments, found):
        (q, k, v), (dq, dk, dv) = arguments, found
        check_q(out[0], q)
        check_k(out[1], k)
        check_v(out[2], v)
        return first(out[0], dq, q), second(out[1], dk, k), third(out[2], dv, v)

    return inlined(into)


def _shape_check(to):
    if not given(to):
        return inlined(lambda to, x: None)

    def check(to, x):
        if to.shape != x.shape:
            raise ValueError("out has an array of another shape than the argument it belongs to")

    return inlined(check)


def _kept(to, total):
    if not given(to):
        return inlined(lambda to, gradient, x: total(gradient, x))

    def into(to, gradient, x):
        store(total(gradient, x), to)
        return to

    return inlined(into)


def _sum(x, full_ndim):
    """A function (gradient, x): the gradient in full, added up over axes that were broadcast."""
    item, ndim, extra = x.dtype, x.ndim, full_ndim - x.ndim

    def add_up(gradient, x):
        total = np.zeros(x.shape, np.float64)
        for index in np.ndindex(gradient.shape):
            place = index[extra:]
            for axis in range(ndim - 2):
                if x.shape[axis] == 1:
                    place = tuple_setitem(place, axis, 0)
            total[place] += gradient[index]
        return total.astype(item)

    add = inlined(add_up)
    if extra:
        return add

    def summed(gradient, x):
        return gradient.astype(item) if gradient.shape == x.shape else add(gradient, x)

    return inlined(summed)


def _check_arguments(q, k, v, mask, scale):
    """The NumPy dtype and the dimensions of the result; a TypingError for what cannot be."""
    dtype = np.result_type(*(_floating(x, name) for x, name in ((q, "q"), (k, "k"), (v, "v"))))
    for x, name in ((q, "q"), (k, "k"), (v, "v")):
        if x.ndim < 2:
            raise errors.TypingError(f"{name} has {x.ndim} dimensions; it must have two or more")
    if given(mask):
        _floating(mask, "mask", ("bool",))
    value = getattr(scale, "literal_value", getattr(scale, "value", scale))
    if given(scale) and not isinstance(scale, _NUMBERS) and not isinstance(value, _NUMBERS):
        raise errors.TypingError(f"scale is of type {scale}; it must be a number")
    return dtype, max(q.ndim, k.ndim, v.ndim)


def _floating(x, name, others=()):
    dtype = as_dtype(array_type(x, name).dtype)
    if dtype.name not in FLOATING + others:
        wanted = ", ".join((*others, *FLOATING[:-1]))
        raise errors.TypingError(f"{name} has dtype {dtype}; it must be {wanted} or {FLOATING[-1]}")
    return dtype


def _in_dtype(dtype):
    """A function that converts an array to this dtype, if it has another one."""
    item = NUMBA_DTYPES[dtype.name]
    return inlined(lambda x: _converted(x, item))


def _converted(x, item):
    raise TypeError("only for compiled code")


@inlined_overload(_converted)
def _converted_array(x, item):
    if x.dtype == item.dtype:
        return lambda x, item: x
    return lambda x, item: x.astype(item)


def _reader(q, k, v, dtype):
    """A function that makes queries, keys and values arrays of one dtype, and checks lengths."""
    convert = _in_dtype(dtype)

    def read(q, k, v):
        if q.shape[-1] != k.shape[-1]:
            raise ValueError("q and k differ in the last dimension")
        if k.shape[-2] != v.shape[-2]:
            raise ValueError("k and v differ in the second last dimension")
        return convert(q), convert(k), convert(v)

    return inlined(read)


@inlined
def _batch(a, b, c):
    """The leading axes that all have together."""
    _check_pair(a, b)
    _check_pair(a, c)
    _check_pair(b, c)
    return np.broadcast_shapes(a.shape[:-2], b.shape[:-2], c.shape[:-2])


@inlined
def _check_pair(a, b):
    for axis in range(3, min(a.ndim, b.ndim) + 1):
        x, y = a.shape[a.ndim - axis], b.shape[b.ndim - axis]
        if x not in (1, y) and y != 1:
            raise ValueError("q, k and v have leading dimensions that do not broadcast")


@inlined
def _broadcast(x, batch):
    return np.broadcast_to(x, (*batch, x.shape[-2], x.shape[-1]))


def _factor(scale, depth):
    raise TypeError("only for compiled code")


@inlined_overload(_factor)
def _factor_of(scale, depth):
    if not given(scale):
        return lambda scale, depth: 1 / math.sqrt(max(depth, 1))
    return lambda scale, depth: float(scale)


def _full_mask(mask, shape, is_causal, item):
    raise TypeError("only for compiled code")


@inlined_overload(_full_mask)
def _full_mask_if_given(mask, shape, is_causal, item):
    """The mask as a view of this shape, in bool or in the dtype that is computed in."""
    if not given(mask):
        return lambda mask, shape, is_causal, item: None
    kind = types.boolean if mask.dtype == types.boolean else item.dtype

    def full(mask, shape, is_causal, item):
        if is_causal:
            raise ValueError("mask is given and is_causal is True; only one of them may be")
        if mask.ndim > len(shape):
            raise ValueError("mask has more dimensions than the result")
        for axis in range(1, mask.ndim + 1):
            if mask.shape[mask.ndim - axis] not in (1, shape[len(shape) - axis]):
                raise ValueError("mask does not broadcast to leading dimensions, queries, keys")
        return np.broadcast_to(_converted(mask, kind), shape)

    return full


def _cutter(leading):
    """A function (x, index): what the kernel takes of an array with so many leading axes."""
    if leading == 0:
        return inlined(lambda x, index: as_kernel_reads(np.expand_dims(np.expand_dims(x, 0), 0)))
    if leading == 1:
        return inlined(lambda x, index: as_kernel_reads(np.expand_dims(x, 0)))
    if leading == 2:
        return inlined(lambda x, index: as_kernel_reads(x))
    return inlined(lambda x, index: as_kernel_reads(x[index]))


def _mask_cutter(mask, dtype, leading):
    """A function (mask, index): the boolean and the additive mask that the kernel takes."""
    item, cut = numba_dtype(dtype), _cutter(leading)

    @inlined
    def no_boolean():
        return as_kernel_reads(np.empty((0, 0, 0, 0), np.bool_))

    @inlined
    def no_additive():
        return as_kernel_reads(np.empty((0, 0, 0, 0), item))

    if not given(mask):
        return inlined(lambda mask, index: (no_boolean(), no_additive()))
    if mask.dtype == types.boolean:
        return inlined(lambda mask, index: (cut(mask, index), no_additive()))
    return inlined(lambda mask, index: (no_boolean(), cut(mask, index)))
