"""`moments` and `standardize` inside ``@njit``."""

import math

import numpy as np
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.kinds import MOMENTS
from fastmat.cpu.moments import statistics
from fastmat.cpu.normalization import affine
from fastmat.ops import moments as ops
from fastmat.ops.moments import Moments
from fastmat.ops.statistics import compute_dtype
from fastmat.overloads.groups import (
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
from fastmat.overloads.masks import kept_moments, mask_reader
from fastmat.overloads.typing import given


def _measure(x, dtype, axes):
    """A function of x: mean, and sum of squares of deviations, with length 1 along the axes."""
    slots = plan(x, axes)
    read, full = ready(x, dtype, is_joined(slots)), in_slots(slots)
    shape_of = statistics_shape(x.ndim, axes)

    def measure(x):
        shape = shape_of(x)
        center, spread = np.full(shape, np.nan), np.full(shape, np.nan)
        if x.size:
            a = full(read(x))
            call_all(statistics, a.dtype, (a, full(center), full(spread), MOMENTS))
        return center, spread

    return inlined(measure)


@inlined
def _divide(total, divisor):
    """Variances in place of sums of squares."""
    flat = total.reshape(total.size)
    for g in range(flat.shape[0]):
        flat[g] /= divisor


@inlined
def _invert_roots(variance):
    """1 / sqrt(variance) in place of it."""
    flat = variance.reshape(variance.size)
    for g in range(flat.shape[0]):
        flat[g] = 1 / math.sqrt(flat[g])


@inlined
def _divide_each(total, count, correction):
    """Variances in place of sums of squares of so many numbers each."""
    flat, counts = total.reshape(total.size), count.reshape(count.size)
    for g in range(flat.shape[0]):
        flat[g] /= max(counts[g] - correction, 0.0)


@overload(ops.moments, prefer_literal=True)
def _moments(x, axis=None, correction=0, keepdims=False, mask=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    item = NUMBA_DTYPES[dtype.name]
    kept = tuple(axis for axis in range(x.ndim) if axis not in axes)
    keep = constant(keepdims, "keepdims", bool)
    reduced = kept_only(x.ndim, kept, keep)

    if given(mask):
        read_mask, measure = mask_reader(mask, x, plan(x, axes)), kept_moments(x, dtype, axes)

        @inlined
        def measured(x, correction, mask):
            mean, total, count = measure(x, read_mask(mask, x))
            _divide_each(total, count, correction)
            return mean, total

    else:
        measure = _measure(x, dtype, axes)

        @inlined
        def measured(x, correction, mask):
            mean, total = measure(x)
            count = x.size / max(mean.size, 1)
            _divide(total, max(count - correction, 0.0))
            return mean, total

    number = only_number(x.ndim)
    if not kept and not keep:

        def moments(x, axis=None, correction=0, keepdims=False, mask=None):
            mean, variance = measured(x, correction, mask)
            return Moments(item(number(mean)), item(number(variance)))

    else:

        def moments(x, axis=None, correction=0, keepdims=False, mask=None):
            mean, variance = measured(x, correction, mask)
            return Moments(reduced(mean).astype(item), reduced(variance).astype(item))

    return moments


@overload(ops.standardize, prefer_literal=True)
def _standardize(x, axis=None, correction=0, out=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    slots = plan(x, axes)
    joined = is_joined(slots)
    measure, read = _measure(x, dtype, axes), ready(x, dtype, joined)
    full, nothing = in_slots(slots), in_slots(slots, ())
    item = NUMBA_DTYPES[compute_dtype(dtype).name]

    @inlined
    def run(arguments, extra, target):
        if target.size:
            a, b = full(arguments[0]), full(target)
            one, zero = np.full((), item(1.0), item), np.full((), item(-0.0), item)
            statistics = full(extra[0]), full(extra[1])
            call_all(affine, a.dtype, (a, nothing(one), nothing(zero), b, *statistics))

    write = writer(x, out, dtype, joined, run)

    def standardize(x, axis=None, correction=0, out=None):
        mean, factor = measure(x)
        count = x.size / max(mean.size, 1)
        _divide(factor, max(count - correction, 0.0))
        _invert_roots(factor)
        return write((read(x),), (mean, factor), x, out)

    return standardize
