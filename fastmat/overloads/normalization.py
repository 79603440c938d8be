"""Normalization inside ``@njit``."""

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
from fastmat.cpu.kinds import (
    LARGEST,
    MAGNITUDES,
    MEAN_SPREAD,
    MOMENTS,
    NORM,
    ROOT_NORM,
    SQUARES,
)
from fastmat.cpu.moments import statistics
from fastmat.cpu.normalization import affine
from fastmat.cpu.normalization import normalize as normalize_kernel
from fastmat.ops import normalization as ops
from fastmat.ops.normalization import Normalized
from fastmat.ops.statistics import compute_dtype
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


def _last_axes(x, normalized_shape, axis):
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


def _parameters(x, axes, weight, bias, dtype):
    """A function (weight, bias, x) of the arrays that kernels read, of the lengths of the axes."""
    item = NUMBA_DTYPES[compute_dtype(dtype).name]
    either = given(weight) or given(bias)
    first, second = (
        _parameter(value, name, axes, item, neutral, either)
        for value, name, neutral in ((weight, "weight", 1.0), (bias, "bias", -0.0))
    )
    return inlined(lambda weight, bias, x: (first(weight, x), second(bias, x)))


def _parameter(value, name, axes, item, neutral, either):
    count = len(axes)
    ones = (1,) * count
    if not given(value):

        def neutral_array(value, x):
            shape = ones
            if either:
                for k in range(count):
                    shape = tuple_setitem(shape, k, x.shape[axes[k]])
            return np.full(shape, item(neutral), item)

        return inlined(neutral_array)
    floating(value, name)
    if value.ndim != count:
        raise errors.TypingError(f"{name} has {value.ndim} dimensions; it must have {count}")
    message = f"{name} has not the lengths of the axes of x that it belongs to"

    @inlined
    def check(value, x):
        for k in range(count):
            if value.shape[k] != x.shape[axes[k]]:
                raise ValueError(message)

    if value.dtype == item and value.layout == "C":

        def as_it_is(value, x):
            check(value, x)
            return value

        return inlined(as_it_is)

    def converted(value, x):
        check(value, x)
        return np.ascontiguousarray(value).astype(item)

    return inlined(converted)


def _normalizer(slots, parameter_axes, kind, rule):
    """A function (arguments, (center, factor, eps), target) that calls the kernel."""
    full, parameters = in_slots(slots), in_slots(slots, parameter_axes)

    def run(arguments, extra, target):
        x, weight, bias = arguments
        center, factor, eps = extra
        if x.size == 0:
            center[...] = np.nan
            factor[...] = np.nan
            return
        a, b = full(x), full(target)
        w, s = parameters(weight), parameters(bias)
        call_all(
            normalize_kernel,
            a.dtype,
            (a, w, s, b, full(center), full(factor), kind, rule, np.float64(eps)),
        )

    return inlined(run)


def _last_axes_norm(x, normalized_shape, weight, bias, axis, out, return_stats, kind):
    """What `layer_norm` and `rms_norm` share: a function of all their arguments."""
    dtype = floating(x)
    axes, check = _last_axes(x, normalized_shape, axis)
    slots = plan(x.ndim, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), _parameters(x, axes, weight, bias, dtype)
    shape_of = statistics_shape(x.ndim, axes)
    write = writer(x, out, dtype, joined, _normalizer(slots, axes, kind, MEAN_SPREAD))
    with_stats = constant(return_stats, "return_stats", bool)

    def without(x, normalized_shape, weight, bias, eps, out):
        check(x, normalized_shape)
        a = read(x)
        w, b = parameters(weight, bias, x)
        center, factor = np.empty(shape_of(x)), np.empty(shape_of(x))
        return write((a, w, b), (center, factor, eps), x, out)

    def with_statistics(x, normalized_shape, weight, bias, eps, out):
        check(x, normalized_shape)
        a = read(x)
        w, b = parameters(weight, bias, x)
        center, factor = np.empty(shape_of(x)), np.empty(shape_of(x))
        return Normalized(write((a, w, b), (center, factor, eps), x, out), center, factor)

    return inlined(with_statistics if with_stats else without)


@overload(ops.layer_norm, prefer_literal=True)
def _layer_norm(
    x,
    normalized_shape=None,
    weight=None,
    bias=None,
    eps=1e-5,
    axis=None,
    out=None,
    return_stats=False,
):
    run = _last_axes_norm(x, normalized_shape, weight, bias, axis, out, return_stats, MOMENTS)

    def layer_norm(
        x,
        normalized_shape=None,
        weight=None,
        bias=None,
        eps=1e-5,
        axis=None,
        out=None,
        return_stats=False,
    ):
        return run(x, normalized_shape, weight, bias, eps, out)

    return layer_norm


@overload(ops.rms_norm, prefer_literal=True)
def _rms_norm(
    x, normalized_shape=None, weight=None, eps=None, axis=None, out=None, return_stats=False
):
    run = _last_axes_norm(x, normalized_shape, weight, None, axis, out, return_stats, SQUARES)
    default = float(np.finfo(floating(x)).eps)
    if given(eps):

        def rms_norm(
            x,
            normalized_shape=None,
            weight=None,
            eps=None,
            axis=None,
            out=None,
            return_stats=False,
        ):
            return run(x, normalized_shape, weight, None, eps, out)

    else:

        def rms_norm(
            x,
            normalized_shape=None,
            weight=None,
            eps=None,
            axis=None,
            out=None,
            return_stats=False,
        ):
            return run(x, normalized_shape, weight, None, default, out)

    return rms_norm


def _check_channels(x):
    if array_type(x, "x").ndim < 2:
        raise errors.TypingError(f"x has {x.ndim} dimensions; it must have (N, C, *spatial)")


@overload(ops.group_norm, prefer_literal=True)
def _group_norm(x, num_groups, weight=None, bias=None, eps=1e-5, out=None, return_stats=False):
    _check_channels(x)
    dtype = floating(x)
    slots = plan(x.ndim + 1, tuple(range(2, x.ndim + 1)))
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), _parameters(x, (1,), weight, bias, dtype)
    full, per_channel, per_group = (in_slots(slots, axes) for axes in (None, (1, 2), (0, 1)))
    with_stats = constant(return_stats, "return_stats", bool)

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

    if with_stats:

        def group_norm(
            x, num_groups, weight=None, bias=None, eps=1e-5, out=None, return_stats=False
        ):
            return normalized(x, num_groups, weight, bias, eps, out)

    else:

        def group_norm(
            x, num_groups, weight=None, bias=None, eps=1e-5, out=None, return_stats=False
        ):
            return normalized(x, num_groups, weight, bias, eps, out).result

    return group_norm


def _affine(slots, parameter_axes, statistics_axes):
    """A function (arguments, (center, factor), target) that normalizes by given statistics."""
    full, parameters = in_slots(slots), in_slots(slots, parameter_axes)
    per_group = in_slots(slots, statistics_axes)

    def run(arguments, extra, target):
        x, weight, bias = arguments
        if x.size:
            a, b = full(x), full(target)
            w, s = parameters(weight), parameters(bias)
            statistics = per_group(extra[0]), per_group(extra[1])
            call_all(affine, a.dtype, (a, w, s, b, *statistics))

    return inlined(run)


def _check_running(running_mean, running_var, update):
    """Whether running statistics are given; a TypingError if they cannot be used."""
    if not given(running_mean) and not given(running_var):
        return False
    for value, name in ((running_mean, "running_mean"), (running_var, "running_var")):
        if not given(value):
            raise errors.TypingError(f"{name} is None; running statistics are wanted, both of them")
        if floating(value, name) != as_dtype(value.dtype) or value.ndim != 1:
            raise errors.TypingError(
                f"{name} is {value}; it must be a 1-D array of floating numbers"
            )
        if update and not value.mutable:
            raise errors.TypingError(f"{name} is read-only; it is to be updated")
    return True


@inlined
def _updated(running, share, new):
    for c in range(running.shape[0]):
        running[c] = (1 - share) * running[c] + share * new[c]


@inlined
def _check_channel_count(running, x):
    if running.shape[0] != x.shape[1]:
        raise ValueError("running_mean and running_var must have one number for each channel")


@inlined
def _of_variance(variance, eps):
    factor = np.empty(variance.shape[0])
    for c in range(factor.shape[0]):
        factor[c] = 1 / math.sqrt(variance[c] + eps)
    return factor


def _channel_norm(x, running_mean, running_var, weight, bias, out, own, axes, statistics_axes):
    """What `batch_norm` and `instance_norm` share: a function of all their arguments.

    `own` says whether x is normalized by its own statistics.
    """
    _check_channels(x)
    dtype = floating(x)
    running = _check_running(running_mean, running_var, own)
    if not running and not own:
        raise errors.TypingError("running_mean is None; running statistics are wanted")
    batch_slots = plan(x.ndim, (0, *range(2, x.ndim)))
    slots = plan(x.ndim, axes)
    joined = is_joined(slots) or is_joined(batch_slots)
    read, parameters = ready(x, dtype, joined), _parameters(x, (1,), weight, bias, dtype)
    by_given = writer(x, out, dtype, joined, _affine(batch_slots, (1,), (1,)))
    by_own = writer(x, out, dtype, joined, _affine(slots, (1,), statistics_axes))
    full, per_group = in_slots(slots), in_slots(slots, statistics_axes)
    per_item = len(statistics_axes) == 2

    @inlined
    def with_given(x, mean, var, weight, bias, momentum, eps, out):
        _check_channel_count(mean, x)
        _check_channel_count(var, x)
        a = read(x)
        w, b = parameters(weight, bias, x)
        center, factor = mean.astype(np.float64), _of_variance(var, eps)
        return Normalized(by_given((a, w, b), (center, factor), x, out), center, factor)

    @inlined
    def with_own(x, mean, var, weight, bias, momentum, eps, out):
        if running:
            _check_channel_count(mean, x)
            _check_channel_count(var, x)
        shape = (x.shape[0], x.shape[1]) if per_item else (x.shape[1],)
        a = read(x)
        w, b = parameters(weight, bias, x)
        center, spread, factor = np.full(shape, np.nan), np.full(shape, np.nan), np.empty(shape)
        count = x.size // max(center.size, 1)
        if count == 1:
            raise ValueError("x has one number of each channel, which has no variance")
        if x.size:
            view = full(a)
            call_all(statistics, view.dtype, (view, per_group(center), per_group(spread), MOMENTS))
        flat, squares = factor.reshape(factor.size), spread.reshape(spread.size)
        for g in range(flat.shape[0]):
            flat[g] = 1 / math.sqrt(squares[g] / max(count, 1) + eps)
        result = by_own((a, w, b), (center, factor), x, out)
        if running and x.size:
            items, channels = center.size // x.shape[1], x.shape[1]
            means, variances = np.zeros(channels), np.zeros(channels)
            middle = center.reshape(center.size)
            for g in range(items * channels):
                means[g % channels] += middle[g] / items
                variances[g % channels] += squares[g] / (count - 1) / items
            _update_both(mean, var, momentum, means, variances)
        return Normalized(result, center, factor)

    return with_own if own else with_given


def _update_both(mean, var, momentum, means, variances):
    raise TypeError("only for compiled code")


@inlined_overload(_update_both)
def _update_both_if_given(mean, var, momentum, means, variances):
    if not given(mean):
        return lambda mean, var, momentum, means, variances: None

    def update(mean, var, momentum, means, variances):
        _updated(mean, momentum, means)
        _updated(var, momentum, variances)

    return update


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
    run = _channel_norm(
        x, running_mean, running_var, weight, bias, out, own, tuple(range(2, ndim)), (0, 1)
    )
    if constant(return_stats, "return_stats", bool):

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
            return run(x, running_mean, running_var, weight, bias, momentum, eps, out)

    else:

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
            return run(x, running_mean, running_var, weight, bias, momentum, eps, out).result

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
):
    own = constant(training, "training", bool)
    ndim = array_type(x, "x").ndim
    run = _channel_norm(
        x, running_mean, running_var, weight, bias, out, own, (0, *range(2, ndim)), (1,)
    )
    if constant(return_stats, "return_stats", bool):

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
        ):
            return run(x, running_mean, running_var, weight, bias, momentum, eps, out)

    else:

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
        ):
            return run(x, running_mean, running_var, weight, bias, momentum, eps, out).result

    return batch_norm


@overload(ops.normalize, prefer_literal=True)
def _normalize(x, ord=2, axis=-1, eps=1e-12, out=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    slots = plan(x.ndim, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), _parameters(x, (), None, None, dtype)
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
