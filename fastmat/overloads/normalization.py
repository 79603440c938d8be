"""Normalization inside ``@njit``."""

import math

import numpy as np
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.cpu.kinds import (
    LARGEST,
    MAGNITUDES,
    MEAN_SPREAD,
    MOMENTS,
    NORM,
    ROOT_NORM,
    SQUARES,
)
from fastmat.cpu.normalization import normalize as normalize_kernel
from fastmat.ops import normalization as ops
from fastmat.ops.normalized import Normalized
from fastmat.overloads.channels import (
    channel_norm,
    check_channels,
    group_slots,
    kept_channel_norm,
)
from fastmat.overloads.groups import (
    constant,
    constant_axes,
    divided,
    floating,
    in_slots,
    is_joined,
    picked,
    plan,
    ready,
    statistics_shape,
    writer,
)
from fastmat.overloads.parameters import parameters_for
from fastmat.overloads.typing import array_type, given


@overload(ops.group_norm, prefer_literal=True)
def _group_norm(x, num_groups, weight=None, bias=None, eps=1e-5, out=None, return_stats=False):
    check_channels(x)
    dtype = floating(x)
    slots = group_slots(x, given(weight) or given(bias))
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, bias, dtype)
    full, per_channel, per_group = (in_slots(slots, axes) for axes in (None, (1, 2), (0, 1)))
    pick = picked(return_stats)

    @inlined
    def run(arguments, extra, target):
        x, weight, bias = arguments
        center, factor, eps, groups = extra
        if x.size == 0:
            return
        a, b = full(divided(x, groups)), full(divided(target, groups))
        in_groups = (1, 1) if weight.shape[0] == 1 else (groups, weight.shape[0] // groups)
        w, s = per_channel(weight.reshape(in_groups)), per_channel(bias.reshape(in_groups))
        how = MOMENTS, MEAN_SPREAD, np.float64(eps)
        statistics = per_group(center), per_group(factor)
        call_all(normalize_kernel, a.dtype, (a, w, s, b, *statistics, *how))

    write = writer(x, out, dtype, joined, run)

    @inlined
    def normalized(x, num_groups, weight, bias, eps, out):
        if num_groups < 1 or x.shape[1] % num_groups:
            raise ValueError("num_groups must divide the number of channels of x")
        a = read(x)
        w, b = parameters(weight, bias, x)
        shape = (x.shape[0], num_groups)
        center, factor = np.full(shape, np.nan), np.full(shape, np.nan)
        result = write((a, w, b), (center, factor, eps, num_groups), x, out)
        return Normalized(result, center, factor)

    def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5, out=None, return_stats=False):
        return pick(normalized(x, num_groups, weight, bias, eps, out))

    return group_norm


@overload(ops.instance_norm, prefer_literal=True)
def _instance_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
    out=None,
    return_stats=False,
):
    own = constant(use_input_stats, "use_input_stats", bool)
    ndim = array_type(x, "x").ndim
    run = channel_norm(
        x, running_mean, running_var, weight, bias, out, own, tuple(range(2, ndim)), (0, 1)
    )
    pick = picked(return_stats)

    def instance_norm(
        x,
        running_mean=None,
        running_var=None,
        weight=None,
        bias=None,
        use_input_stats=True,
        momentum=0.1,
        eps=1e-5,
        out=None,
        return_stats=False,
    ):
        return pick(run(x, running_mean, running_var, weight, bias, momentum, eps, out))

    return instance_norm


@overload(ops.batch_norm, prefer_literal=True)
def _batch_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
    out=None,
    return_stats=False,
    mask=None,
):
    own = constant(training, "training", bool)
    ndim = array_type(x, "x").ndim
    given_arrays = x, running_mean, running_var, weight, bias, out, own
    pick = picked(return_stats)
    if given(mask):
        run = kept_channel_norm(*given_arrays, mask)
    else:
        plain = channel_norm(*given_arrays, (0, *range(2, ndim)), (1,))
        run = inlined(
            lambda x, mean, var, weight, bias, momentum, eps, out, mask: plain(
                x, mean, var, weight, bias, momentum, eps, out
            )
        )

    def batch_norm(
        x,
        running_mean=None,
        running_var=None,
        weight=None,
        bias=None,
        training=False,
        momentum=0.1,
        eps=1e-5,
        out=None,
        return_stats=False,
        mask=None,
    ):
        return pick(run(x, running_mean, running_var, weight, bias, momentum, eps, out, mask))

    return batch_norm


@overload(ops.normalize, prefer_literal=True)
def _normalize(x, ord=2, axis=-1, eps=1e-12, out=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (), None, None, dtype)
    full, nothing = in_slots(slots), in_slots(slots, ())
    shape_of = statistics_shape(x.ndim, axes)

    @inlined
    def run(arguments, extra, target):
        x, weight, bias = arguments
        center, factor, kind, rule, eps = extra
        if x.size:
            a, b = full(x), full(target)
            parameters = nothing(weight), nothing(bias)
            statistics = full(center), full(factor)
            call_all(normalize_kernel, a.dtype, (a, *parameters, b, *statistics, kind, rule, eps))

    write = writer(x, out, dtype, joined, run)

    def normalize(x, ord=2, axis=-1, eps=1e-12, out=None):
        if ord == 2:
            kind, rule = SQUARES, ROOT_NORM
        elif ord == 1:
            kind, rule = MAGNITUDES, NORM
        elif ord == math.inf:
            kind, rule = LARGEST, NORM
        else:
            raise ValueError("ord must be 1, 2 or infinity")
        a = read(x)
        w, b = parameters(None, None, x)
        shape = shape_of(x)
        extra = np.empty(shape), np.empty(shape), kind, rule, np.float64(eps)
        return write((a, w, b), extra, x, out)

    return normalize
