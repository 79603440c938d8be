"""Gradients of normalizations on a GPU."""

from __future__ import annotations

import math
from typing import Any

from fastmat.cuda.arrays import View, same_device, view
from fastmat.cuda.gradients import CENTERED, GIVEN, OF_LARGEST, OF_MAGNITUDES, OF_NORM, SCALED
from fastmat.ops.differentiated import Gradients, ScaleGradients
from fastmat.ops.groups import normalized_axes
from fastmat.ops.normalized import channels_of, last_axes
from fastmat.ops.on_gpu.differentiated import gradients, parameter_gradients, row_gradients
from fastmat.ops.on_gpu.normalization import divided, measure_of, real_pairs
from fastmat.ops.on_gpu.statistics import (
    REAL,
    Axes,
    Measured,
    Target,
    along,
    converted,
    kept_shape,
    kept_strides,
    mask_for,
    measured,
    numbers_of,
    parameters_for,
    split_statistics,
)
from fastmat.ops.statistics import integer, number


def layer_norm_vjp(
    cotangent: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    normalized_shape: Any = None,
    weight: Any = None,
    *,
    axis: Any = None,
    mask: Any = None,
    out: Any = None,
) -> Gradients:
    """See `fastmat.layer_norm_vjp`."""
    given = cotangent, x, mean, rstd, normalized_shape, weight, axis, mask, out
    return _last_axes_vjp(CENTERED, *given)


def rms_norm_vjp(
    cotangent: Any,
    x: Any,
    rstd: Any,
    normalized_shape: Any = None,
    weight: Any = None,
    *,
    axis: Any = None,
    out: Any = None,
) -> ScaleGradients:
    """See `fastmat.rms_norm_vjp`."""
    given = cotangent, x, None, rstd, normalized_shape, weight, axis, None, out
    found = _last_axes_vjp(SCALED, *given)
    return ScaleGradients(found.x, found.weight)


def _last_axes_vjp(
    kind: str,
    cotangent: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    normalized_shape: Any,
    weight: Any,
    axis: Any,
    mask: Any,
    out: Any,
) -> Gradients:
    array = numbers_of(x)
    g = converted(cotangent, "cotangent", array)
    axes = last_axes(array, normalized_shape, axis)
    lengths, shape = tuple(array.shape[i] for i in axes), kept_shape(array.shape, axes)
    w = parameters_for(array, weight, None, lengths)[0]
    center = None if kind == SCALED else statistic(mean, "mean", shape)
    factor = statistic(rstd, "rstd", shape)
    kept = None if mask is None else mask_for(mask, array)
    same_device(x=array, cotangent=g, weight=w, mean=center, rstd=factor, mask=kept)
    target = Target(out, array, (w, kept, center, factor), (g,))
    own = along(lengths, axes, array.ndim)
    statistics = split_statistics(center, factor, array)
    by_weight = None if weight is None else weight_like(weight)
    if kept is None:
        together = row_gradients(g, array, axes, w, statistics, target.view, kind, by_weight)
        if together is not None:
            return Gradients(target.delivered(), *together)
    stat_strides = kept_strides(array.shape, axes)
    found = (None, None)
    if by_weight is not None:
        others = tuple(i for i in range(array.ndim) if i not in axes)
        found = parameter_gradients(
            g, array, others, own, statistics, stat_strides, by_weight, lengths, kept
        )
    gradients(g, array, axes, w, own, statistics, stat_strides, target.view, kind, kept)
    return Gradients(target.delivered(), *found)


def statistic(given: Any, name: str, shape: Axes) -> View:
    """A statistic that the forward operation returned."""
    found = view(given, name)
    if found.dtype not in REAL:
        raise TypeError(f"{name} has dtype {found.dtype}; it must be float64")
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}; it must have {shape}")
    return found


def weight_like(weight: Any) -> View:
    """The weight, whose dtype and library its gradient has."""
    found = view(weight, "weight")
    return found if found.dtype in REAL else found._replace(dtype="float64")


def group_norm_vjp(
    cotangent: Any,
    x: Any,
    num_groups: int,
    mean: Any,
    rstd: Any,
    weight: Any = None,
    *,
    out: Any = None,
) -> Gradients:
    """See `fastmat.group_norm_vjp`."""
    array = numbers_of(x)
    channels, groups = channels_of(array), integer(num_groups, "num_groups")
    if groups < 1 or channels % groups:
        raise ValueError(f"num_groups is {groups}; it must divide the {channels} channels of x")
    return _channels_vjp(
        CENTERED, cotangent, array, mean, rstd, weight, (array.shape[0], groups), groups, None, out
    )


def instance_norm_vjp(
    cotangent: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    weight: Any = None,
    use_input_stats: bool = True,
    *,
    out: Any = None,
) -> Gradients:
    """See `fastmat.instance_norm_vjp`."""
    array = numbers_of(x)
    channels_of(array)
    kind = CENTERED if use_input_stats else GIVEN
    return _channels_vjp(kind, cotangent, array, mean, rstd, weight, array.shape[:2], 0, None, out)


def batch_norm_vjp(
    cotangent: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    weight: Any = None,
    training: bool = False,
    *,
    mask: Any = None,
    out: Any = None,
) -> Gradients:
    """See `fastmat.batch_norm_vjp`."""
    array = numbers_of(x)
    channels = channels_of(array)
    kind = CENTERED if training else GIVEN
    return _channels_vjp(kind, cotangent, array, mean, rstd, weight, (channels,), 0, mask, out)


def _channels_vjp(
    kind: str,
    cotangent: Any,
    array: View,
    mean: Any,
    rstd: Any,
    weight: Any,
    shape: Axes,
    groups: int,
    mask: Any,
    out: Any,
) -> Gradients:
    """Gradients where a weight belongs to a channel, and statistics have this shape."""
    g = converted(cotangent, "cotangent", array)
    channels = array.shape[1]
    w = parameters_for(array, weight, None, (channels,))[0]
    center, factor = statistic(mean, "mean", shape), statistic(rstd, "rstd", shape)
    kept = None if mask is None else mask_for(mask, array)
    same_device(x=array, cotangent=g, weight=w, mean=center, rstd=factor, mask=kept)
    target = Target(out, array, (w, kept, center, factor), (g,))
    source, cotangents, written = array, g, target.view
    weighted: Axes = (1,)
    if groups:
        source, cotangents, written = (divided(v, groups) for v in (array, g, target.view))
        weighted = (1, 2)
    ndim = source.ndim
    own = along(tuple(source.shape[i] for i in weighted), weighted, ndim)
    kept_axes = (0, 1) if len(shape) == 2 else (1,)
    axes = tuple(i for i in range(ndim) if i not in kept_axes)
    stat_strides = along(shape, kept_axes, ndim)
    statistics = split_statistics(center, factor, array)
    found = (None, None)
    if weight is not None:
        others = tuple(i for i in range(ndim) if i not in weighted)
        like = weight_like(weight)
        found = parameter_gradients(
            cotangents, source, others, own, statistics, stat_strides, like, (channels,), kept
        )
    gradients(cotangents, source, axes, w, own, statistics, stat_strides, written, kind, kept)
    return Gradients(target.delivered(), *found)


def normalize_vjp(
    cotangent: Any, x: Any, ord: Any = 2, axis: Any = -1, eps: float = 1e-12, *, out: Any = None
) -> Any:
    """See `fastmat.normalize_vjp`."""
    measure, rule = measure_of(ord)
    kind = {1: OF_MAGNITUDES, 2: OF_NORM, math.inf: OF_LARGEST}[ord]
    array = numbers_of(x, complex_too=True)
    if array.dtype not in REAL and ord != 2:
        raise TypeError(f"x has dtype {array.dtype}; with ord={ord} it must be real")
    g = converted(cotangent, "cotangent", array)
    axes, least = normalized_axes(axis, array.ndim), number(eps, "eps")
    same_device(x=array, cotangent=g)
    target = Target(out, array, (), (g,))
    source, cotangents, written = (real_pairs(v, ord) for v in (array, g, target.view))
    if source is not array:
        axes = (*axes, array.ndim)
    found = measured(source, axes, measure, rule, least)
    if kind == OF_LARGEST:
        found = largest_as_center(found)
    gradients(
        cotangents, source, axes, None, (0,) * source.ndim, found,
        kept_strides(source.shape, axes), written, kind, None, least,
    )  # fmt: skip
    return target.delivered()


def largest_as_center(found: Measured) -> Measured:
    """What was measured, with the norm for a center."""
    return Measured(found.planes, found.spread, found.groups, center=found.spread)
