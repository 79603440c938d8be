"""What `batch_norm`, `instance_norm` and `group_norm` share inside ``@njit``."""

import math

import numpy as np
from numba.core import errors
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.inline import overload as inlined_overload
from fastmat.cpu.kinds import MOMENTS
from fastmat.cpu.moments import statistics
from fastmat.cpu.normalization import affine
from fastmat.ops.normalized import Normalized
from fastmat.overloads.groups import (
    floating,
    in_slots,
    is_joined,
    plan,
    ready,
    writer,
)
from fastmat.overloads.masks import factors_of, kept_moments, kept_normalizer, mask_reader
from fastmat.overloads.parameters import parameters_for
from fastmat.overloads.typing import array_type, given


def group_slots(x, weighted):
    """The plan for groups of channels of ``(N, groups, C // groups, *spatial)``.

    Channels stay apart from places if each of them has a weight.
    """
    places = tuple(range(3, x.ndim + 1))
    if not weighted and x.layout == "C":
        return (0,), (1,), (), (), (2, *places)
    return (0,), (1,), (), (2,) if places else (), places or (2,)


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


@inlined
def _of_each_item(statistic, x):
    """Statistics of channels, again for each item."""
    found = np.empty((x.shape[0], x.shape[1]))
    for n in range(found.shape[0]):
        found[n] = statistic
    return found


def channel_norm(x, running_mean, running_var, weight, bias, out, own, axes, statistics_axes):
    """What `batch_norm` and `instance_norm` share: a function of all their arguments.

    `own` says whether x is normalized by its own statistics.
    """
    check_channels(x)
    dtype = floating(x)
    running = _check_running(running_mean, running_var, own)
    if not running and not own:
        raise errors.TypingError("running_mean is None; running statistics are wanted")
    batch_slots = plan(x, (0, *range(2, x.ndim)))
    slots = plan(x, axes)
    joined = is_joined(slots) or is_joined(batch_slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, bias, dtype)
    by_given = writer(x, out, dtype, joined, _affine(batch_slots, (1,), (1,)))
    by_own = writer(x, out, dtype, joined, _affine(slots, (1,), statistics_axes))
    full, per_group = in_slots(slots), in_slots(slots, statistics_axes)
    per_item = len(statistics_axes) == 2

    of_items = _of_each_item if per_item else inlined(lambda statistic, x: statistic)

    @inlined
    def with_given(x, mean, var, weight, bias, momentum, eps, out):
        _check_channel_count(mean, x)
        _check_channel_count(var, x)
        a = read(x)
        w, b = parameters(weight, bias, x)
        center, factor = mean.astype(np.float64), _of_variance(var, eps)
        result = by_given((a, w, b), (center, factor), x, out)
        return Normalized(result, of_items(center, x), of_items(factor, x))

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


def kept_channel_norm(x, running_mean, running_var, weight, bias, out, own, mask):
    """`batch_norm` with a mask: a function of all its arguments."""
    check_channels(x)
    dtype, axes = floating(x), (0, *range(2, x.ndim))
    running = _check_running(running_mean, running_var, own)
    if not running and not own:
        raise errors.TypingError("running_mean is None; running statistics are wanted")
    slots = plan(x, axes)
    joined = is_joined(slots)
    read, parameters = ready(x, dtype, joined), parameters_for(x, (1,), weight, bias, dtype)
    read_mask, measure = mask_reader(mask, x, slots), kept_moments(x, dtype, axes)
    write = writer(x, out, dtype, joined, kept_normalizer(slots, (1,), (1,), None, dtype))

    @inlined
    def with_given(x, mean, var, weight, bias, momentum, eps, out, mask):
        _check_channel_count(mean, x)
        _check_channel_count(var, x)
        a, m = read(x), read_mask(mask, x)
        w, b = parameters(weight, bias, x)
        center, factor = mean.astype(np.float64), _of_variance(var, eps)
        result = write((a, m, w, b), (center, factor), x, out)
        return Normalized(result, center, factor)

    @inlined
    def with_own(x, mean, var, weight, bias, momentum, eps, out, mask):
        if running:
            _check_channel_count(mean, x)
            _check_channel_count(var, x)
        a, m = read(x), read_mask(mask, x)
        w, b = parameters(weight, bias, x)
        found = measure(x, m)
        center, squares, count = found[0].reshape(-1), found[1].reshape(-1), found[2].reshape(-1)
        factor = factors_of(squares, count, eps)
        result = write((a, m, w, b), (center, factor), x, out)
        if running:
            _update_kept(mean, var, momentum, center, squares, count)
        return Normalized(result, center, factor)

    return with_own if own else with_given


def _update_kept(mean, var, momentum, means, squares, counts):
    raise TypeError("only for compiled code")


@inlined_overload(_update_kept)
def _update_kept_if_given(mean, var, momentum, means, squares, counts):
    """Move running statistics of channels that have two numbers or more."""
    if not given(mean):
        return lambda mean, var, momentum, means, squares, counts: None

    def update(mean, var, momentum, means, squares, counts):
        for c in range(mean.shape[0]):
            if counts[c] > 1:
                variance = squares[c] / (counts[c] - 1)
                mean[c] = (1 - momentum) * mean[c] + momentum * means[c]
                var[c] = (1 - momentum) * var[c] + momentum * variance

    return update


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


def check_channels(x):
    if array_type(x, "x").ndim < 2:
        raise errors.TypingError(f"x has {x.ndim} dimensions; it must have (N, C, *spatial)")
