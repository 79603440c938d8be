"""The masked reductions inside ``@njit``."""

import math

import numpy as np
from numba.core import errors, types
from numba.extending import overload

from fastmat.core.inline import inlined
from fastmat.ops import masked_reductions as ops
from fastmat.ops.masked_groups import turn_of
from fastmat.overloads.groups import constant_axes, statistics_shape
from fastmat.overloads.masked_groups import (
    check_mask,
    finisher,
    item_of,
    measured,
    searched,
    summed,
)
from fastmat.overloads.typing import given, numpy_dtype


@overload(ops.masked_sum, prefer_literal=True)
def _masked_sum(x, mask, axis=None, keepdims=False, initial=0, out=None):
    dtype = ops._sum_dtype(numpy_dtype(x, "x"))
    axes = constant_axes(axis, x.ndim)
    run, finish = summed(x, mask, axes), finisher(x, axes, keepdims, out, dtype)
    item = item_of(dtype)

    def masked_sum(x, mask, axis=None, keepdims=False, initial=0, out=None):
        total, _ = run(x, mask)
        return finish((total + item(initial)).astype(item), out)

    if dtype.kind in "iu":

        def masked_sum(x, mask, axis=None, keepdims=False, initial=0, out=None):
            total, _ = run(x, mask)
            return finish((total + np.int64(item(initial))).astype(item), out)

    return masked_sum


@inlined
def _quotients(total, count, result):
    a, b, c = total.reshape(total.size), count.reshape(total.size), result.reshape(total.size)
    for g in range(c.shape[0]):
        c[g] = a[g] / b[g]


@overload(ops.masked_mean, prefer_literal=True)
def _masked_mean(x, mask, axis=None, keepdims=False, out=None):
    given_dtype = numpy_dtype(x, "x")
    dtype = ops._floating(given_dtype)
    axes = constant_axes(axis, x.ndim)
    finish, item = finisher(x, axes, keepdims, out, dtype), item_of(dtype)
    if given_dtype.kind in "iu" and given_dtype.itemsize == 8:  # a sum might wrap
        measure = measured(x, mask, axes)

        def masked_mean(x, mask, axis=None, keepdims=False, out=None):
            return finish(measure(x, mask)[0], out)

        return masked_mean
    run = summed(x, mask, axes)
    wide = np.complex128 if dtype.kind == "c" else np.float64

    def masked_mean(x, mask, axis=None, keepdims=False, out=None):
        total, count = run(x, mask)
        mean = np.empty(total.shape, wide)
        _quotients(total, count, mean)
        return finish(mean.astype(item), out)

    return masked_mean


def _spread(x, mask, axis, keepdims, out, root):
    """A function (x, mask, correction, out): variances, or their roots."""
    dtype = ops._floating(numpy_dtype(x, "x"))
    dtype = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    axes = constant_axes(axis, x.ndim)
    run, finish = measured(x, mask, axes), finisher(x, axes, keepdims, out, dtype)
    item = item_of(dtype)

    def spread(x, mask, correction, out):
        _, total, count = run(x, mask)
        flat, n = total.reshape(total.size), count.reshape(total.size)
        for g in range(flat.shape[0]):
            flat[g] /= max(n[g] - correction, 0.0)
            if root:
                flat[g] = math.sqrt(flat[g])
        return finish(total.astype(item), out)

    return inlined(spread)


@overload(ops.masked_var, prefer_literal=True)
def _masked_var(x, mask, axis=None, keepdims=False, correction=0, out=None):
    run = _spread(x, mask, axis, keepdims, out, False)

    def masked_var(x, mask, axis=None, keepdims=False, correction=0, out=None):
        return run(x, mask, correction, out)

    return masked_var


@overload(ops.masked_std, prefer_literal=True)
def _masked_std(x, mask, axis=None, keepdims=False, correction=0, out=None):
    run = _spread(x, mask, axis, keepdims, out, True)

    def masked_std(x, mask, axis=None, keepdims=False, correction=0, out=None):
        return run(x, mask, correction, out)

    return masked_std


def _extreme(x, mask, axis, keepdims, initial, out, largest):
    """A function (x, mask, initial, out): the largest valid numbers, or the smallest."""
    dtype = numpy_dtype(x, "x")
    axes = constant_axes(axis, x.ndim)
    run, finish = searched(x, mask, axes, largest, False), finisher(x, axes, keepdims, out, dtype)
    item, turn = item_of(dtype), turn_of(dtype, largest)
    back = inlined(lambda key: item(key * turn))
    if dtype.kind in "biu":
        back = inlined(lambda key: item(key ^ turn))
    name = "masked_max" if largest else "masked_min"
    message = f"{name} of a slice where mask is False throughout: it needs initial="

    if given(initial):

        @inlined
        def chosen(key, count, initial):
            start = item(initial)
            if count == 0 or start != start:
                return start
            value = back(key)
            better = value > start if largest else value < start
            return value if better or value != value else start

    else:

        @inlined
        def chosen(key, count, initial):
            if count == 0:
                raise ValueError(message)
            return back(key)

    def extreme(x, mask, initial, out):
        least, _, count = run(x, mask)
        result = np.empty(least.shape, item)
        flat, keys = result.reshape(result.size), least.reshape(result.size)
        counts = count.reshape(result.size)
        for g in range(flat.shape[0]):
            flat[g] = chosen(keys[g], counts[g], initial)
        return finish(result, out)

    return inlined(extreme)


@overload(ops.masked_min, prefer_literal=True)
def _masked_min(x, mask, axis=None, keepdims=False, initial=None, out=None):
    run = _extreme(x, mask, axis, keepdims, initial, out, False)

    def masked_min(x, mask, axis=None, keepdims=False, initial=None, out=None):
        return run(x, mask, initial, out)

    return masked_min


@overload(ops.masked_max, prefer_literal=True)
def _masked_max(x, mask, axis=None, keepdims=False, initial=None, out=None):
    run = _extreme(x, mask, axis, keepdims, initial, out, True)

    def masked_max(x, mask, axis=None, keepdims=False, initial=None, out=None):
        return run(x, mask, initial, out)

    return masked_max


def _place(x, mask, axis, keepdims, out, largest):
    """A function (x, mask, out): where the largest valid numbers are, or the smallest."""
    numpy_dtype(x, "x")
    if isinstance(axis, types.BaseTuple):
        raise errors.TypingError(f"axis is {axis}; it must be an integer or None")
    axes = constant_axes(axis, x.ndim)
    run = searched(x, mask, axes, largest, True)
    finish = finisher(x, axes, keepdims, out, np.dtype(np.intp))
    name = "masked_argmax" if largest else "masked_argmin"
    message = f"{name} of a slice where mask is False throughout: there is no place"

    def place(x, mask, out):
        _, where, count = run(x, mask)
        counts = count.reshape(count.size)
        for g in range(counts.shape[0]):
            if counts[g] == 0:
                raise ValueError(message)
        return finish(where, out)

    return inlined(place)


@overload(ops.masked_argmin, prefer_literal=True)
def _masked_argmin(x, mask, axis=None, keepdims=False, out=None):
    run = _place(x, mask, axis, keepdims, out, False)

    def masked_argmin(x, mask, axis=None, keepdims=False, out=None):
        return run(x, mask, out)

    return masked_argmin


@overload(ops.masked_argmax, prefer_literal=True)
def _masked_argmax(x, mask, axis=None, keepdims=False, out=None):
    run = _place(x, mask, axis, keepdims, out, True)

    def masked_argmax(x, mask, axis=None, keepdims=False, out=None):
        return run(x, mask, out)

    return masked_argmax


@overload(ops.masked_count, prefer_literal=True)
def _masked_count(x, mask, axis=None, keepdims=False, out=None):
    numpy_dtype(x, "x")
    check = check_mask(mask, x)
    axes = constant_axes(axis, x.ndim)
    finish = finisher(x, axes, keepdims, out, np.dtype(np.intp))
    shape_of, ndim = statistics_shape(x.ndim, axes), x.ndim
    everything = types.Array(types.boolean, 0, "C")
    same = mask.ndim == x.ndim
    whole = summed(mask if same else x.copy(dtype=types.boolean), everything, axes)
    if ndim == 0:
        whole_of = inlined(lambda x, mask: whole(mask, np.ones((), np.bool_)))
    else:
        repeated = types.Array(types.boolean, ndim, "A", readonly=True)
        by_line = summed(repeated, everything, axes)

        @inlined
        def whole_of(x, mask):
            return by_line(np.broadcast_to(mask, x.shape), np.ones((), np.bool_))

        if same:
            general = whole_of

            @inlined
            def whole_of(x, mask):
                if mask.shape == x.shape:
                    return whole(mask, np.ones((), np.bool_))
                return general(x, mask)

    def masked_count(x, mask, axis=None, keepdims=False, out=None):
        check(mask, x)
        if x.size == 0:
            return finish(np.zeros(shape_of(x), np.intp), out)
        return finish(whole_of(x, mask)[0], out)

    return masked_count
