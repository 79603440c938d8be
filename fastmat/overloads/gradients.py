"""Gradients of normalizations inside ``@njit``."""

import math

import numpy as np
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.cpu.gradients import gradient, sums
from fastmat.cpu.gradients import write as write_kernel
from fastmat.cpu.gradients_masked import masked_gradient, masked_sums, masked_write
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
from fastmat.overloads.channels import check_channels, group_slots
from fastmat.overloads.differentiated import collector, cotangent_reader, statistic_reader
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
from fastmat.overloads.mask_readers import masks_reader
from fastmat.overloads.parameters import parameters_for
from fastmat.overloads.typing import array_type, given


def _in_one_pass(slots, axes, statistics_axes, kind):
    """A function that finds all gradients together, if that is possible, and says whether it was.

    Its arguments are (x, g, weight, statistics, target, by weight, by bias, eps); `axes` are those
    of the weight.
    """
    full, per_weight = in_slots(slots), in_slots(slots, axes)
    per_group = in_slots(slots, statistics_axes)

    def find(x, g, weight, statistics, target, by_weight, by_bias, eps):
        a, c, b = full(x), full(g), full(target)
        done = np.zeros(1, np.intp)
        inputs = c, a, per_weight(weight), per_group(statistics[0]), per_group(statistics[1])
        found = per_weight(by_weight), per_weight(by_bias)
        call_all(gradient, a.dtype, (*inputs, b, *found, kind, eps, done))
        return done[0] != 0

    return inlined(find)


def _alone(slots, axes, statistics_axes, kind):
    """A function (x, g, weight, statistics, target, eps) that finds the gradient by x."""
    full, per_weight = in_slots(slots), in_slots(slots, axes)
    per_group = in_slots(slots, statistics_axes)

    def find(x, g, weight, statistics, target, eps):
        a, c, b = full(x), full(g), full(target)
        nothing, done = np.empty((0, 0, 0, 0, 0)), np.zeros(1, np.intp)
        inputs = c, a, per_weight(weight), per_group(statistics[0]), per_group(statistics[1])
        call_all(gradient, a.dtype, (*inputs, b, nothing, nothing, kind, eps, done))

    return inlined(find)


def _last_axes_vjp(cotangent, x, mean, rstd, normalized_shape, weight, axis, out, mask, kind):
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
    every, wanted = tuple(range(x.ndim)), given(weight)
    together, alone = _in_one_pass(slots, axes, every, kind), _alone(slots, axes, every, kind)
    rest_full, rest_weight = in_slots(rest), in_slots(rest, axes)
    full, per_weight = in_slots(slots), in_slots(slots, axes)

    keep = masks_reader(mask, x, slots, rest)

    @inlined
    def run_masked(arguments, extra, target):
        x, g, weight, kept, kept_rest = arguments
        statistics, by_weight, by_bias = extra
        if x.size == 0:
            return
        one = np.ones((1, 1, 1, 1, 1), x.dtype)
        if wanted:
            a, count = rest_full(x), np.zeros(by_bias.shape)
            known = rest_full(statistics[0]), rest_full(statistics[1])
            found = rest_weight(by_bias), rest_weight(by_weight), rest_weight(count)
            arrays = rest_full(g), a, kept_rest, one
            call_all(masked_sums, a.dtype, (*arrays, *known, *found, CENTERED))
        a = full(x)
        inputs = full(g), a, kept, per_weight(weight), full(statistics[0]), full(statistics[1])
        call_all(masked_gradient, a.dtype, (*inputs, full(target), kind))

    @inlined
    def run(arguments, extra, target):
        x, g, weight = arguments
        statistics, by_weight, by_bias = extra
        if x.size == 0:
            return
        if wanted:
            if together(x, g, weight, statistics, target, by_weight, by_bias, 0.0):
                return
            a, one = rest_full(x), np.ones((1, 1, 1, 1, 1), x.dtype)
            inputs = rest_full(g), a, one, rest_full(statistics[0]), rest_full(statistics[1])
            found = rest_weight(by_bias), rest_weight(by_weight)
            call_all(sums, a.dtype, (*inputs, *found, CENTERED))
        alone(x, g, weight, statistics, target, 0.0)

    write = writer(x, out, dtype, joined, run_masked if given(mask) else run)
    collect = collector(weight, kind == SCALED)

    def vjp(cotangent, x, mean, rstd, normalized_shape, weight, out, mask):
        check(x, normalized_shape)
        a, c = read(x), read_cotangent(cotangent, x)
        w, _ = parameters(weight, None, x)
        statistics = read_mean(mean, shape_of(x)), read_rstd(rstd, shape_of(x))
        by_weight, by_bias = np.zeros(w.shape), np.zeros(w.shape)
        kept = keep(mask, x)
        arguments = a, c, w, *kept
        result = write(arguments, (statistics, by_weight, by_bias), x, out)
        return collect(result, by_weight, by_bias)

    return inlined(vjp)


@overload(ops.layer_norm_vjp, prefer_literal=True)
def _layer_norm_vjp(
    cotangent, x, mean, rstd, normalized_shape=None, weight=None, axis=None, out=None, mask=None
):
    how = normalized_shape, weight, axis, out, mask, CENTERED
    run = _last_axes_vjp(cotangent, x, mean, rstd, *how)

    def layer_norm_vjp(
        cotangent, x, mean, rstd, normalized_shape=None, weight=None, axis=None, out=None, mask=None
    ):
        return run(cotangent, x, mean, rstd, normalized_shape, weight, out, mask)

    return layer_norm_vjp


@overload(ops.rms_norm_vjp, prefer_literal=True)
def _rms_norm_vjp(cotangent, x, rstd, normalized_shape=None, weight=None, axis=None, out=None):
    how = normalized_shape, weight, axis, out, None, SCALED
    run = _last_axes_vjp(cotangent, x, None, rstd, *how)

    def rms_norm_vjp(cotangent, x, rstd, normalized_shape=None, weight=None, axis=None, out=None):
        return run(cotangent, x, None, rstd, normalized_shape, weight, out, None)

    return rms_norm_vjp


def _by_channels(slots, statistics_axes, own, wanted):
    """A function that finds all gradients by the sums of each channel.

    Its arguments are (x, g, weight, center, factor, target, by weight, by bias, groups), as of
    `ops.differentiated.channel_gradients`.
    """
    full, per_channel = in_slots(slots), in_slots(slots, (1,))
    per_sum, kind = in_slots(slots, statistics_axes), CENTERED if own else GIVEN

    def find(x, g, weight, center, factor, target, by_weight, by_bias, groups):
        a, c, b = full(x), full(g), full(target)
        one = np.ones((1, 1, 1, 1, 1), a.dtype)
        first, second = np.zeros(center.shape), np.zeros(center.shape)
        views = per_sum(center), per_sum(factor)
        if own or wanted:
            call_all(sums, a.dtype, (c, a, one, *views, per_sum(first), per_sum(second), CENTERED))
        channels = x.shape[1]
        rows, rows2 = first.reshape(-1, channels), second.reshape(-1, channels)
        wide = channels // groups if groups else 1
        count = x.size // first.size * wide
        for i in range(rows.shape[0]):
            if by_bias.size == channels:
                by_bias += rows[i]
                by_weight += rows2[i]
            for j in range(channels):
                share = weight[min(j, weight.size - 1)] * (1.0 / count) if own else 0.0
                rows[i, j] *= share
                rows2[i, j] *= share
            if groups:
                for j in range(0, channels, wide):
                    rows[i, j : j + wide] = rows[i, j : j + wide].sum()
                    rows2[i, j : j + wide] = rows2[i, j : j + wide].sum()
        inputs = c, a, per_channel(weight), *views
        call_all(write_kernel, a.dtype, (*inputs, per_sum(first), per_sum(second), b, kind))

    return inlined(find)


@overload(ops.group_norm_vjp, prefer_literal=True)
def _group_norm_vjp(cotangent, x, num_groups, mean, rstd, weight=None, out=None):
    check_channels(x)
    dtype = floating(x)
    slots, channel_slots = group_slots(x, given(weight)), plan(x, tuple(range(2, x.ndim)))
    joined = is_joined(slots) or is_joined(channel_slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, None, dtype)
    read_cotangent = cotangent_reader(cotangent, x, dtype, joined)
    read_mean, read_rstd = statistic_reader(mean, "mean", 2), statistic_reader(rstd, "rstd", 2)
    together = _in_one_pass(slots, (1, 2), (0, 1), CENTERED)
    apart = _by_channels(channel_slots, (0, 1), True, given(weight))

    @inlined
    def run(arguments, extra, target):
        x, g, weight = arguments
        (mean, rstd), by_weight, by_bias, groups = extra
        if x.size == 0:
            return
        in_groups = (1, 1) if weight.size == 1 else (groups, weight.size // groups)
        views = divided(x, groups), divided(g, groups), weight.reshape(in_groups)
        found = by_weight.reshape(in_groups), by_bias.reshape(in_groups)
        if together(*views, (mean, rstd), divided(target, groups), *found, 0.0):
            return
        center, factor = np.empty((2, x.shape[0], x.shape[1]))
        wide = x.shape[1] // groups
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                center[i, j], factor[i, j] = mean[i, j // wide], rstd[i, j // wide]
        apart(x, g, weight, center, factor, target, by_weight, by_bias, groups)

    write = writer(x, out, dtype, joined, run)
    collect = collector(weight)

    def group_norm_vjp(cotangent, x, num_groups, mean, rstd, weight=None, out=None):
        if num_groups < 1 or x.shape[1] % num_groups:
            raise ValueError("num_groups must divide the number of channels of x")
        a, c = read(x), read_cotangent(cotangent, x)
        w, _ = parameters(weight, None, x)
        shape = (x.shape[0], num_groups)
        statistics = read_mean(mean, shape), read_rstd(rstd, shape)
        by_weight, by_bias = np.zeros(w.shape), np.zeros(w.shape)
        result = write((a, c, w), (statistics, by_weight, by_bias, num_groups), x, out)
        return collect(result, by_weight, by_bias)

    return group_norm_vjp


def _kept_by_channels(slots, own, wanted):
    """The same of what a mask keeps: a function with the mask as kernels read it after g."""
    full, per_channel = in_slots(slots), in_slots(slots, (1,))
    kind = CENTERED if own else GIVEN

    def find(x, g, kept, weight, center, factor, target, by_weight, by_bias):
        a, c, b = full(x), full(g), full(target)
        one = np.ones((1, 1, 1, 1, 1), a.dtype)
        first, second, count = np.zeros((3, x.shape[1]))
        views = per_channel(center), per_channel(factor)
        flow = per_channel(first), per_channel(second)
        if own or wanted:
            totals = per_channel(first), per_channel(second), per_channel(count)
            call_all(masked_sums, a.dtype, (c, a, kept, one, *views, *totals, CENTERED))
        if wanted:
            by_bias += first
            by_weight += second
        for j in range(x.shape[1]):
            share = weight[min(j, weight.size - 1)] / count[j] if own else 0.0
            first[j] *= share
            second[j] *= share
        inputs = c, a, kept, per_channel(weight)
        call_all(masked_write, a.dtype, (*inputs, *views, *flow, b, kind))

    return inlined(find)


def _channel_vjp(cotangent, x, mean, rstd, weight, out, own, axes, statistics_axes, mask):
    """What `instance_norm_vjp` and `batch_norm_vjp` share: a function of all their arguments."""
    check_channels(x)
    dtype, ndim = floating(x), len(statistics_axes)
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, None, dtype)
    read_cotangent = cotangent_reader(cotangent, x, dtype, joined)
    read_mean, read_rstd = (
        statistic_reader(mean, "mean", ndim),
        statistic_reader(rstd, "rstd", ndim),
    )
    if ndim == 2:
        together = _in_one_pass(slots, (1,), statistics_axes, CENTERED if own else GIVEN)
        shape_of = inlined(lambda x: (x.shape[0], x.shape[1]))
    else:
        together = inlined(lambda x, g, w, statistics, target, by_weight, by_bias, eps: False)
        shape_of = inlined(lambda x: (x.shape[1],))
    apart = _by_channels(slots, statistics_axes, own, given(weight))
    find_kept = _kept_by_channels(slots, own, given(weight))
    keep = masks_reader(mask, x, slots)

    @inlined
    def run_masked(arguments, extra, target):
        x, g, weight, kept = arguments
        (mean, rstd), by_weight, by_bias = extra
        if x.size:
            find_kept(x, g, kept, weight, mean, rstd, target, by_weight, by_bias)

    @inlined
    def run(arguments, extra, target):
        x, g, weight = arguments
        statistics, by_weight, by_bias = extra
        if x.size and not together(x, g, weight, statistics, target, by_weight, by_bias, 0.0):
            apart(x, g, weight, statistics[0], statistics[1], target, by_weight, by_bias, 0)

    write = writer(x, out, dtype, joined, run_masked if given(mask) else run)
    collect = collector(weight)

    def vjp(cotangent, x, mean, rstd, weight, out, mask):
        a, c = read(x), read_cotangent(cotangent, x)
        w, _ = parameters(weight, None, x)
        statistics = read_mean(mean, shape_of(x)), read_rstd(rstd, shape_of(x))
        by_weight, by_bias = np.zeros(w.shape), np.zeros(w.shape)
        kept = keep(mask, x)
        arguments = a, c, w, *kept
        result = write(arguments, (statistics, by_weight, by_bias), x, out)
        return collect(result, by_weight, by_bias)

    return inlined(vjp)


@overload(ops.instance_norm_vjp, prefer_literal=True)
def _instance_norm_vjp(cotangent, x, mean, rstd, weight=None, use_input_stats=True, out=None):
    own = constant(use_input_stats, "use_input_stats", bool)
    axes = tuple(range(2, array_type(x, "x").ndim))
    run = _channel_vjp(cotangent, x, mean, rstd, weight, out, own, axes, (0, 1), None)

    def instance_norm_vjp(cotangent, x, mean, rstd, weight=None, use_input_stats=True, out=None):
        return run(cotangent, x, mean, rstd, weight, out, None)

    return instance_norm_vjp


@overload(ops.batch_norm_vjp, prefer_literal=True)
def _batch_norm_vjp(cotangent, x, mean, rstd, weight=None, training=False, out=None, mask=None):
    own = constant(training, "training", bool)
    axes = (0, *range(2, array_type(x, "x").ndim))
    run = _channel_vjp(cotangent, x, mean, rstd, weight, out, own, axes, (1,), mask)

    def batch_norm_vjp(cotangent, x, mean, rstd, weight=None, training=False, out=None, mask=None):
        return run(cotangent, x, mean, rstd, weight, out, mask)

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
