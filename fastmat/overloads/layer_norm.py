"""`layer_norm` and `rms_norm` inside ``@njit``."""

import numpy as np
from numba import types
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.cpu.addition import add
from fastmat.cpu.kinds import MEAN_SPREAD, MOMENTS, SQUARES
from fastmat.cpu.layer_norm import normalize_sum
from fastmat.cpu.masked_moments import masked_moments
from fastmat.cpu.normalization import normalize, normalize_and_map
from fastmat.ops import layer_norm as ops
from fastmat.ops.normalized import Normalized, NormalizedSum, SumStatistics
from fastmat.overloads.activations import map_address
from fastmat.overloads.groups import (
    constant,
    constant_axes,
    floating,
    in_slots,
    is_joined,
    pair_writer,
    picked,
    plan,
    ready,
    statistics_shape,
    writer,
)
from fastmat.overloads.mask_readers import (
    affine_caller,
    factors_of,
    kept_moments,
    kept_normalizer,
    mask_reader,
)
from fastmat.overloads.parameters import parameters_for
from fastmat.overloads.typing import array_type, given


def _lengths(argument):
    """How many axes normalized_shape names."""
    if isinstance(argument, types.Integer):
        return 1
    if isinstance(argument, types.BaseTuple) and len(argument):
        if all(isinstance(item, types.Integer) for item in argument):
            return len(argument)
    raise errors.TypingError(
        f"normalized_shape is of type {argument}; it must be an integer or a tuple of integers"
    )


def last_axes(x, normalized_shape, axis):
    """The axes to normalize over, and a function that checks their lengths."""
    ndim = array_type(x, "x").ndim
    if given(axis) == given(normalized_shape):
        raise errors.TypingError("either normalized_shape or axis must be given, and not both")
    if given(axis):
        axes = constant_axes(axis, ndim)
        return axes, inlined(lambda x, shape: None)
    count = _lengths(normalized_shape)
    if count > ndim:
        raise errors.TypingError(
            f"normalized_shape has {count} dimensions; x has {ndim}, which is less"
        )
    first = ndim - count
    if isinstance(normalized_shape, types.Integer):

        def check(x, shape):
            if x.shape[first] != shape:
                raise ValueError("normalized_shape is not the last dimension of x")

    else:

        def check(x, shape):
            if x.shape[first:] != shape:
                raise ValueError("normalized_shape is not the last dimensions of x")

    return tuple(range(first, ndim)), inlined(check)


def _last_axes_norm(
    x, normalized_shape, weight, bias, axis, residual, activation, out, return_stats, mask, kind
):
    """What `layer_norm` and `rms_norm` share: a function of all their arguments."""
    axes, check = last_axes(x, normalized_shape, axis)
    if given(mask):
        prepare = _kept_with_residual if given(residual) else _kept
        normalized = prepare(x, axes, weight, bias, residual, activation, out, return_stats, mask)
    else:
        prepare = _with_residual if given(residual) else _alone
        normalized = prepare(x, axes, weight, bias, residual, activation, out, return_stats, kind)

    def run(x, normalized_shape, weight, bias, eps, residual, out, mask):
        check(x, normalized_shape)
        return normalized(x, weight, bias, eps, residual, out, mask)

    return inlined(run)


def _alone(x, axes, weight, bias, residual, activation, out, return_stats, kind):
    dtype = floating(x)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, axes, weight, bias, dtype)
    full, per_number = in_slots(slots), in_slots(slots, axes)
    address, shape_of = map_address(activation, dtype), statistics_shape(x.ndim, axes)
    pick = picked(return_stats)

    @inlined
    def plain(arguments, how):
        call_all(normalize, arguments[0].dtype, (*arguments, *how))

    @inlined
    def with_map(arguments, how):
        call_all(normalize_and_map, arguments[0].dtype, (*arguments, *how, address()))

    normalize_all = with_map if given(activation) else plain

    @inlined
    def run(arguments, extra, target):
        x, weight, bias = arguments
        center, factor, eps = extra
        if x.size:
            arrays = full(x), per_number(weight), per_number(bias), full(target)
            statistics = full(center), full(factor)
            normalize_all((*arrays, *statistics), (kind, MEAN_SPREAD, np.float64(eps)))

    write = writer(x, out, dtype, joined, run)

    def alone(x, weight, bias, eps, residual, out, mask):
        a = read(x)
        w, b = parameters(weight, bias, x)
        center, factor = np.full(shape_of(x), np.nan), np.full(shape_of(x), np.nan)
        result = write((a, w, b), (center, factor, eps), x, out)
        return pick(Normalized(result, center, factor))

    return inlined(alone)


def _with_residual(x, axes, weight, bias, residual, activation, out, return_stats, kind):
    dtype = floating(x)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, axes, weight, bias, dtype)
    read_residual = _residual_reader(residual, x, dtype, joined)
    full, per_number = in_slots(slots), in_slots(slots, axes)
    address, shape_of = map_address(activation, dtype), statistics_shape(x.ndim, axes)
    pick = _picked_sum(return_stats)

    @inlined
    def run(arguments, extra, target, total):
        x, residual, weight, bias = arguments
        center, factor, eps = extra
        if x.size:
            a, r = full(x), full(residual)
            w, s = per_number(weight), per_number(bias)
            how = kind, MEAN_SPREAD, np.float64(eps), address()
            statistics = full(center), full(factor)
            call_all(normalize_sum, a.dtype, (a, r, w, s, target, total, *statistics, *how))

    write = pair_writer(x, out, dtype, joined, full, run)

    def with_residual(x, weight, bias, eps, residual, out, mask):
        a, r = read(x), read_residual(residual, x)
        w, b = parameters(weight, bias, x)
        center, factor = np.full(shape_of(x), np.nan), np.full(shape_of(x), np.nan)
        result, total = write((a, r, w, b), (center, factor, eps), x, out)
        return pick(SumStatistics(result, total, center, factor))

    return inlined(with_residual)


def _residual_reader(residual, x, dtype, joined):
    """A function (residual, x) that makes the residual an array that kernels read."""
    floating(residual, "residual")
    if residual.ndim != x.ndim:
        raise errors.TypingError(f"residual has {residual.ndim} dimensions; x has {x.ndim}")
    read = ready(residual, dtype, joined)

    def checked(residual, x):
        if residual.shape != x.shape:
            raise ValueError("residual has another shape than x")
        return read(residual)

    return inlined(checked)


def _picked_sum(return_stats):
    """A function that takes what the caller wants from a result with its sum and statistics."""
    if constant(return_stats, "return_stats", bool):
        return inlined(lambda found: found)
    return inlined(lambda found: NormalizedSum(found.result, found.sum))


def _kept(x, axes, weight, bias, residual, activation, out, return_stats, mask):
    """`_alone` with a mask."""
    dtype = floating(x)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, axes, weight, bias, dtype)
    read_mask, measure = mask_reader(mask, x, slots), kept_moments(x, dtype, axes)
    normalize_kept = kept_normalizer(slots, axes, None, activation, dtype)
    write, pick = writer(x, out, dtype, joined, normalize_kept), picked(return_stats)

    def kept(x, weight, bias, eps, residual, out, mask):
        a, m = read(x), read_mask(mask, x)
        w, b = parameters(weight, bias, x)
        center, spread, count = measure(x, m)
        factor = factors_of(spread, count, eps)
        result = write((a, m, w, b), (center, factor), x, out)
        return pick(Normalized(result, center, factor))

    return inlined(kept)


def _kept_with_residual(x, axes, weight, bias, residual, activation, out, return_stats, mask):
    """`_with_residual` with a mask."""
    dtype = floating(x)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, axes, weight, bias, dtype)
    read_mask, full, per_number = (
        mask_reader(mask, x, slots),
        in_slots(slots),
        in_slots(slots, axes),
    )
    read_residual = _residual_reader(residual, x, dtype, joined)
    call, shape_of = affine_caller(activation, dtype), statistics_shape(x.ndim, axes)
    pick = _picked_sum(return_stats)

    @inlined
    def run(arguments, extra, target, total):
        x, residual, kept, weight, bias = arguments
        center, factor, count, eps = extra
        if x.size:
            a, r = full(x), full(residual)
            call_all(add, a.dtype, (a, r, total))
            found = full(center), full(factor), full(count)
            call_all(masked_moments, a.dtype, (total, kept, *found))
            factor[...] = factors_of(factor, count, eps)
            call((total, kept, per_number(weight), per_number(bias), target, *found[:2]))

    write = pair_writer(x, out, dtype, joined, full, run)

    def with_residual(x, weight, bias, eps, residual, out, mask):
        a, r, m = read(x), read_residual(residual, x), read_mask(mask, x)
        w, b = parameters(weight, bias, x)
        center, factor = np.full(shape_of(x), np.nan), np.full(shape_of(x), np.nan)
        extra = center, factor, np.zeros(shape_of(x)), eps
        result, total = write((a, r, m, w, b), extra, x, out)
        return pick(SumStatistics(result, total, center, factor))

    return inlined(with_residual)


@overload(ops.layer_norm, prefer_literal=True)
def _layer_norm(
    x,
    normalized_shape=None,
    weight=None,
    bias=None,
    eps=1e-5,
    axis=None,
    residual=None,
    activation=None,
    out=None,
    return_stats=False,
    mask=None,
):
    how = residual, activation, out, return_stats, mask, MOMENTS
    run = _last_axes_norm(x, normalized_shape, weight, bias, axis, *how)

    def layer_norm(
        x,
        normalized_shape=None,
        weight=None,
        bias=None,
        eps=1e-5,
        axis=None,
        residual=None,
        activation=None,
        out=None,
        return_stats=False,
        mask=None,
    ):
        return run(x, normalized_shape, weight, bias, eps, residual, out, mask)

    return layer_norm


@overload(ops.rms_norm, prefer_literal=True)
def _rms_norm(
    x,
    normalized_shape=None,
    weight=None,
    eps=None,
    axis=None,
    residual=None,
    activation=None,
    out=None,
    return_stats=False,
):
    how = residual, activation, out, return_stats, None, SQUARES
    run = _last_axes_norm(x, normalized_shape, weight, None, axis, *how)
    default = float(np.finfo(floating(x)).eps)
    least = inlined((lambda eps: eps) if given(eps) else (lambda eps: default))

    def rms_norm(
        x,
        normalized_shape=None,
        weight=None,
        eps=None,
        axis=None,
        residual=None,
        activation=None,
        out=None,
        return_stats=False,
    ):
        return run(x, normalized_shape, weight, None, least(eps), residual, out, None)

    return rms_norm
