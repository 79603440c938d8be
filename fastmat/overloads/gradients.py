"""Gradients of normalizations inside ``@njit``."""

import math

import numpy as np
from numba.core import errors
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.gradients import gradient, sums
from fastmat.cpu.gradients import write as write_kernel
from fastmat.cpu.kinds import (
    CENTERED,
    GIVEN,
    LARGEST,
    MAGNITUDES,
    OF_LARGEST,
    OF_MAGNITUDES,
    OF_NORM,
    SCALED,
    SQUARES,
)
from fastmat.cpu.moments import statistics
from fastmat.ops import gradients as ops
from fastmat.ops.differentiated import Gradients, ScaleGradients
from fastmat.overloads.channels import check_channels, group_slots
from fastmat.overloads.groups import (
    constant,
    constant_axes,
    divided,
    floating,
    in_slots,
    is_joined,
    plan,
    ready,
    statistics_shape,
    writer,
)
from fastmat.overloads.layer_norm import last_axes
from fastmat.overloads.parameters import parameters_for
from fastmat.overloads.typing import given


def cotangent_reader(cotangent, x, dtype, joined):
    """A function (cotangent, x) that makes the cotangent an array that kernels read."""
    floating(cotangent, "cotangent")
    if cotangent.ndim != x.ndim:
        raise errors.TypingError(f"cotangent has {cotangent.ndim} dimensions; x has {x.ndim}")
    read = ready(cotangent, dtype, joined)

    def checked(cotangent, x):
        if cotangent.shape != x.shape:
            raise ValueError("cotangent has another shape than x")
        return read(cotangent)

    return inlined(checked)


def statistic_reader(given_array, name, ndim):
    """A function (statistic, shape) that checks a statistic."""
    if floating(given_array, name) != as_dtype(given_array.dtype):
        raise errors.TypingError(f"{name} is {given_array}; it must be of floating numbers")
    if given_array.ndim != ndim:
        raise errors.TypingError(f"{name} has {given_array.ndim} dimensions; it must have {ndim}")
    message = f"{name} has not the shape that the normalization returned"

    def checked(statistic, shape):
        if statistic.shape != shape:
            raise ValueError(message)
        return np.ascontiguousarray(statistic).astype(np.float64)

    return inlined(checked)


def collector(weight, only_weight=False):
    """A function (gradient by x, by weight, by bias) of what is returned."""
    if not given(weight):
        if only_weight:
            return inlined(lambda x, w, b: ScaleGradients(x, None))
        return inlined(lambda x, w, b: Gradients(x, None, None))
    item = NUMBA_DTYPES[floating(weight, "weight").name]
    if only_weight:
        return inlined(lambda x, w, b: ScaleGradients(x, w.astype(item)))
    return inlined(lambda x, w, b: Gradients(x, w.astype(item), b.astype(item)))


@inlined
def _as_it_is(array, groups):
    return array


def differentiator(slots, rest, axes, statistics_axes, kind, wanted, shaped=_as_it_is):
    """A function (arguments, extra, target) that writes all gradients.

    `slots` is the plan of groups, `rest` that of what shares a weight, which has these axes;
    `shaped` gives an array the axes of the plans.
    """
    full, per_weight = in_slots(slots), in_slots(slots, axes)
    per_group, rest_full = in_slots(slots, statistics_axes), in_slots(rest)
    rest_weight, rest_group = in_slots(rest, axes), in_slots(rest, statistics_axes)

    @inlined
    def apart(x, g, statistics, by_weight, by_bias):
        a, c = rest_full(x), rest_full(g)
        one = np.ones((1, 1, 1, 1, 1), a.dtype)
        views = rest_group(statistics[0]), rest_group(statistics[1])
        call_all(sums, a.dtype, (c, a, one, *views, by_bias, by_weight, CENTERED))

    def differentiate(arguments, extra, target):
        x, g, weight = arguments
        statistics, by_weight, by_bias, eps, groups = extra
        if x.size == 0:
            return
        x, g, target = shaped(x, groups), shaped(g, groups), shaped(target, groups)
        a, c, b = full(x), full(g), full(target)
        done, nothing = np.zeros(1, np.intp), np.empty((0, 0, 0, 0, 0))
        inputs = c, a, per_weight(weight), per_group(statistics[0]), per_group(statistics[1])
        if wanted:
            found = per_weight(by_weight), per_weight(by_bias)
            call_all(gradient, a.dtype, (*inputs, b, *found, kind, eps, done))
            if not done[0]:
                apart(x, g, statistics, rest_weight(by_weight), rest_weight(by_bias))
        if not done[0]:
            call_all(gradient, a.dtype, (*inputs, b, nothing, nothing, kind, eps, done))

    return inlined(differentiate)


def _last_axes_vjp(cotangent, x, mean, rstd, normalized_shape, weight, axis, out, kind):
    """What `layer_norm_vjp` and `rms_norm_vjp` share: a function of all their arguments."""
    dtype = floating(x)
    axes, check = last_axes(x, normalized_shape, axis)
    slots = plan(x, axes, join=True)
    rest = plan(x, tuple(axis for axis in range(x.ndim) if axis not in axes))
    joined = is_joined(slots) or is_joined(rest)
    read, parameters = ready(x, dtype, joined), parameters_for(x, axes, weight, None, dtype)
    read_cotangent = cotangent_reader(cotangent, x, dtype, joined)
    shape_of = statistics_shape(x.ndim, axes)
    read_rstd = statistic_reader(rstd, "rstd", x.ndim)
    if kind == CENTERED:
        read_mean = statistic_reader(mean, "mean", x.ndim)
    else:
        read_mean = inlined(lambda mean, shape: np.zeros(shape))
    stats_axes = tuple(range(x.ndim))
    run = differentiator(slots, rest, axes, stats_axes, kind, given(weight))
    write = writer(x, out, dtype, joined, run)
    collect = collector(weight, kind == SCALED)

    def vjp(cotangent, x, mean, rstd, normalized_shape, weight, out):
        check(x, normalized_shape)
        a, c = read(x), read_cotangent(cotangent, x)
        w, _ = parameters(weight, None, x)
        statistics = read_mean(mean, shape_of(x)), read_rstd(rstd, shape_of(x))
        by_weight, by_bias = np.zeros(w.shape), np.zeros(w.shape)
        result = write((a, c, w), (statistics, by_weight, by_bias, 0.0, 0), x, out)
        return collect(result, by_weight, by_bias)

    return inlined(vjp)


@overload(ops.layer_norm_vjp, prefer_literal=True)
def _layer_norm_vjp(
    cotangent, x, mean, rstd, normalized_shape=None, weight=None, axis=None, out=None
):
    run = _last_axes_vjp(cotangent, x, mean, rstd, normalized_shape, weight, axis, out, CENTERED)

    def layer_norm_vjp(
        cotangent, x, mean, rstd, normalized_shape=None, weight=None, axis=None, out=None
    ):
        return run(cotangent, x, mean, rstd, normalized_shape, weight, out)

    return layer_norm_vjp


@overload(ops.rms_norm_vjp, prefer_literal=True)
def _rms_norm_vjp(cotangent, x, rstd, normalized_shape=None, weight=None, axis=None, out=None):
    run = _last_axes_vjp(cotangent, x, None, rstd, normalized_shape, weight, axis, out, SCALED)

    def rms_norm_vjp(cotangent, x, rstd, normalized_shape=None, weight=None, axis=None, out=None):
        return run(cotangent, x, None, rstd, normalized_shape, weight, out)

    return rms_norm_vjp


def _rest_of_groups(x):
    """The plan for what shares a weight, of ``(N, groups, C // groups, *spatial)``."""
    places = tuple(range(3, x.ndim + 1))
    if x.layout == "C" or len(places) > 2:
        return (1,), (2,), (0,), (), places
    return (1,), (2,), (0,), *[()] * (2 - len(places)), *((place,) for place in places)


@overload(ops.group_norm_vjp, prefer_literal=True)
def _group_norm_vjp(cotangent, x, num_groups, mean, rstd, weight=None, out=None):
    check_channels(x)
    dtype = floating(x)
    slots, rest = group_slots(x, given(weight)), _rest_of_groups(x)
    joined = is_joined(slots) or is_joined(rest)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, None, dtype)
    read_cotangent = cotangent_reader(cotangent, x, dtype, joined)
    read_mean, read_rstd = statistic_reader(mean, "mean", 2), statistic_reader(rstd, "rstd", 2)
    run = differentiator(slots, rest, (1, 2), (0, 1), CENTERED, given(weight), divided)
    write = writer(x, out, dtype, joined, run)
    collect = collector(weight)

    def group_norm_vjp(cotangent, x, num_groups, mean, rstd, weight=None, out=None):
        if num_groups < 1 or x.shape[1] % num_groups:
            raise ValueError("num_groups must divide the number of channels of x")
        a, c = read(x), read_cotangent(cotangent, x)
        w, _ = parameters(weight, None, x)
        in_groups = (1, 1) if w.shape[0] == 1 else (num_groups, w.shape[0] // num_groups)
        by_weight, by_bias = np.zeros(in_groups), np.zeros(in_groups)
        shape = (x.shape[0], num_groups)
        statistics = read_mean(mean, shape), read_rstd(rstd, shape)
        extra = statistics, by_weight, by_bias, 0.0, num_groups
        result = write((a, c, w.reshape(in_groups)), extra, x, out)
        return collect(result, by_weight.reshape(w.shape), by_bias.reshape(w.shape))

    return group_norm_vjp


@overload(ops.instance_norm_vjp, prefer_literal=True)
def _instance_norm_vjp(cotangent, x, mean, rstd, weight=None, use_input_stats=True, out=None):
    check_channels(x)
    dtype = floating(x)
    places = tuple(range(2, x.ndim))
    slots, rest = plan(x, places), plan(x, (0, *places))
    joined = is_joined(slots) or is_joined(rest)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, None, dtype)
    read_cotangent = cotangent_reader(cotangent, x, dtype, joined)
    read_mean, read_rstd = statistic_reader(mean, "mean", 2), statistic_reader(rstd, "rstd", 2)
    kind = CENTERED if constant(use_input_stats, "use_input_stats", bool) else GIVEN
    run = differentiator(slots, rest, (1,), (0, 1), kind, given(weight))
    write = writer(x, out, dtype, joined, run)
    collect = collector(weight)

    def instance_norm_vjp(cotangent, x, mean, rstd, weight=None, use_input_stats=True, out=None):
        a, c = read(x), read_cotangent(cotangent, x)
        w, _ = parameters(weight, None, x)
        shape = (x.shape[0], x.shape[1])
        statistics = read_mean(mean, shape), read_rstd(rstd, shape)
        by_weight, by_bias = np.zeros(w.shape), np.zeros(w.shape)
        result = write((a, c, w), (statistics, by_weight, by_bias, 0.0, 0), x, out)
        return collect(result, by_weight, by_bias)

    return instance_norm_vjp


@overload(ops.batch_norm_vjp, prefer_literal=True)
def _batch_norm_vjp(cotangent, x, mean, rstd, weight=None, training=False, out=None):
    check_channels(x)
    dtype = floating(x)
    slots = plan(x, (0, *range(2, x.ndim)))
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, None, dtype)
    read_cotangent = cotangent_reader(cotangent, x, dtype, joined)
    read_mean, read_rstd = statistic_reader(mean, "mean", 1), statistic_reader(rstd, "rstd", 1)
    own = constant(training, "training", bool)
    kind = CENTERED if own else GIVEN
    full, per_channel = in_slots(slots), in_slots(slots, (1,))

    @inlined
    def run(arguments, extra, target):
        x, g, weight = arguments
        mean, rstd, by_weight, by_bias = extra
        if x.size == 0:
            return
        a, c = full(x), full(g)
        one = np.ones((1, 1, 1, 1, 1), a.dtype)
        center, factor = per_channel(mean), per_channel(rstd)
        found = per_channel(by_bias), per_channel(by_weight)
        call_all(sums, a.dtype, (c, a, one, center, factor, *found, CENTERED))
        shift, slope = by_bias.copy(), by_weight.copy()
        count = x.size // by_bias.size
        for i in range(by_bias.size):
            share = weight[min(i, weight.size - 1)] * (1.0 / count) if own else 0.0
            shift[i], slope[i] = by_bias[i] * share, by_weight[i] * share
        flow = per_channel(shift), per_channel(slope)
        w, b = per_channel(weight), full(target)
        call_all(write_kernel, a.dtype, (c, a, w, center, factor, *flow, b, kind))

    write = writer(x, out, dtype, joined, run)
    collect = collector(weight)

    def batch_norm_vjp(cotangent, x, mean, rstd, weight=None, training=False, out=None):
        a, c = read(x), read_cotangent(cotangent, x)
        w, _ = parameters(weight, None, x)
        shape = (x.shape[1],)
        by_weight, by_bias = np.zeros(shape), np.zeros(shape)
        extra = read_mean(mean, shape), read_rstd(rstd, shape), by_weight, by_bias
        result = write((a, c, w), extra, x, out)
        return collect(result, by_weight, by_bias)

    return batch_norm_vjp


@overload(ops.normalize_vjp, prefer_literal=True)
def _normalize_vjp(cotangent, x, ord=2, axis=-1, eps=1e-12, out=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, read_cotangent = ready(x, dtype, joined), cotangent_reader(cotangent, x, dtype, joined)
    full, shape_of = in_slots(slots), statistics_shape(x.ndim, axes)

    @inlined
    def run(arguments, extra, target):
        x, g = arguments
        zero, norm, measure, kind, eps = extra
        if x.size == 0:
            return
        a, c, b = full(x), full(g), full(target)
        call_all(statistics, a.dtype, (a, full(zero), full(norm), measure))
        factor = norm.reshape(norm.size)
        center = zero.reshape(zero.size)
        for i in range(factor.size):
            size = math.sqrt(factor[i]) if kind == OF_NORM else factor[i]
            center[i] = size if kind == OF_LARGEST else 0.0
            factor[i] = 1 / (eps if size < eps else size)
        nothing, done = np.empty((0, 0, 0, 0, 0)), np.zeros(1, np.intp)
        inputs = c, a, np.ones((1, 1, 1, 1, 1), a.dtype), full(zero), full(norm)
        call_all(gradient, a.dtype, (*inputs, b, nothing, nothing, kind, eps, done))

    write = writer(x, out, dtype, joined, run)

    def normalize_vjp(cotangent, x, ord=2, axis=-1, eps=1e-12, out=None):
        if ord == 2:
            measure, kind = SQUARES, OF_NORM
        elif ord == 1:
            measure, kind = MAGNITUDES, OF_MAGNITUDES
        elif ord == math.inf:
            measure, kind = LARGEST, OF_LARGEST
        else:
            raise ValueError("ord must be 1, 2 or infinity")
        shape = shape_of(x)
        extra = np.empty(shape), np.empty(shape), measure, kind, np.float64(eps)
        return write((read(x), read_cotangent(cotangent, x)), extra, x, out)

    return normalize_vjp
