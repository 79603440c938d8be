"""Normalization of groups of numbers on a GPU."""

from __future__ import annotations

import math
from typing import Any

from fastmat.cuda import layer_norm as rows
from fastmat.cuda.arrays import View, empty, same_device, stream_of, view
from fastmat.cuda.moments import (
    LARGEST,
    MAGNITUDES,
    MEAN_SPREAD,
    MOMENTS,
    NORM,
    ROOT_NORM,
    SQUARES,
)
from fastmat.cuda.statistics import update
from fastmat.ops.groups import normalized_axes
from fastmat.ops.normalized import Normalized, channels_of
from fastmat.ops.on_gpu.layer_norm import normalize_rows, rows_of
from fastmat.ops.on_gpu.statistics import (
    REAL,
    Axes,
    Measured,
    Strides,
    Target,
    along,
    apply,
    as_pairs,
    kept_strides,
    mask_for,
    measured,
    numbers_of,
    parameters_for,
    split_statistics,
)
from fastmat.ops.on_gpu.strided import copied
from fastmat.ops.statistics import integer, number

Parameters = list[View | None]


def group_norm(
    x: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """See `fastmat.group_norm`."""
    array = numbers_of(x)
    channels = channels_of(array)
    groups = integer(num_groups, "num_groups")
    if groups < 1 or channels % groups:
        raise ValueError(f"num_groups is {groups}; it must divide the {channels} channels of x")
    parameters = parameters_for(array, weight, bias, (channels,))
    same_device(x=array, weight=parameters[0], bias=parameters[1])
    target = Target(out, array, parameters)
    source, written = divided(array, groups), divided(target.view, groups)
    axes = tuple(range(2, source.ndim))
    own = along(source.shape[1:3], (1, 2), source.ndim)
    place = rows.BY_RUN, groups, math.prod(array.shape[2:])
    how = axes, parameters, own, written, place, number(eps, "eps")
    return _normalized(source, *how, target, (array.shape[0], groups), return_stats)


def divided(x: View, groups: int) -> View:
    """The array with its channels in groups."""
    items, channels, *spatial = x.shape
    size = channels // groups
    strides = (x.strides[0], x.strides[1] * size, *x.strides[1:])
    return x._replace(shape=(items, groups, size, *spatial), strides=strides)


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """See `fastmat.instance_norm`."""
    array = numbers_of(x)
    channels = channels_of(array)
    share = number(momentum, "momentum")
    running = running_statistics(running_mean, running_var, channels, use_input_stats)
    parameters = parameters_for(array, weight, bias, (channels,))
    same_device(x=array, weight=parameters[0], bias=parameters[1], **running)
    eps, shape = number(eps, "eps"), array.shape[:2]
    if not use_input_stats:
        result, stats = _by_running(array, running, parameters, eps, out, return_stats)
        if not return_stats:
            return result
        return Normalized(result, *(_repeated(stat, shape) for stat in stats))
    count = math.prod(array.shape[2:])
    if count == 1:
        raise ValueError(f"x has shape {array.shape}: one number of each channel has no variance")
    target = Target(out, array, parameters)
    axes, own = tuple(range(2, array.ndim)), along((channels,), (1,), array.ndim)
    if not running:
        place = rows.BY_ROW, channels, 1
        where = target.view, place, eps, target, shape, return_stats
        return _normalized(array, axes, parameters, own, *where)
    how = axes, parameters, own, target, eps, shape, return_stats
    found, result = _measured_and_normalized(array, None, *how)
    _update(running, found, shape[0], channels, share)
    return result


def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    mask: Any = None,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """See `fastmat.batch_norm`."""
    array = numbers_of(x)
    channels = channels_of(array)
    share = number(momentum, "momentum")
    running = running_statistics(running_mean, running_var, channels, training)
    parameters = parameters_for(array, weight, bias, (channels,))
    kept = None if mask is None else mask_for(mask, array)
    same_device(x=array, weight=parameters[0], bias=parameters[1], mask=kept, **running)
    eps = number(eps, "eps")
    if not training:
        result, stats = _by_running(array, running, parameters, eps, out, return_stats, kept)
        return Normalized(result, *(stat[0] for stat in stats)) if return_stats else result
    if kept is None and array.size // max(channels, 1) == 1:
        raise ValueError(f"x has shape {array.shape}: one number of each channel has no variance")
    target = Target(out, array, (*parameters, kept))
    axes, own = (0, *range(2, array.ndim)), along((channels,), (1,), array.ndim)
    how = axes, parameters, own, target, eps, (channels,), return_stats
    found, result = _measured_and_normalized(array, kept, *how)
    if array.size:
        _update(running, found, 1, channels, share)
    return result


def normalize(x: Any, ord: Any = 2, axis: Any = -1, eps: float = 1e-12, *, out: Any = None) -> Any:
    """See `fastmat.normalize`."""
    kind, rule = measure_of(ord)
    array = numbers_of(x, complex_too=True)
    axes = normalized_axes(axis, array.ndim)
    least = number(eps, "eps")
    target = Target(out, array, ())
    source, written = real_pairs(array, ord), real_pairs(target.view, ord)
    if source is not array:
        axes = (*axes, array.ndim)
    if kind == SQUARES and _norm_by_rows(source, axes, written, least):
        return target.delivered()
    found = measured(source, axes, kind, rule, least)
    nothing = (0,) * source.ndim
    apply(source, found, kept_strides(source.shape, axes), [None, None], nothing, written)
    return target.delivered()


def measure_of(ord: Any) -> tuple[str, str]:
    """What is measured for a norm, and what is made of it."""
    measures = {1: (MAGNITUDES, NORM), 2: (SQUARES, ROOT_NORM), math.inf: (LARGEST, NORM)}
    if not isinstance(ord, int | float) or ord not in measures:
        raise ValueError(f"ord is {ord!r}; it must be 1, 2 or infinity")
    return measures[ord]


def real_pairs(x: View, ord: Any) -> View:
    """X itself, or the pairs of real numbers that complex ones are."""
    if x.dtype in REAL:
        return x
    if ord != 2:
        raise TypeError(f"x has dtype {x.dtype}; with ord={ord} it does not run on GPUs")
    return as_pairs(x)


def _norm_by_rows(x: View, axes: Axes, y: View, eps: float) -> bool:
    found = rows_of(axes, x, y) if x.size else None
    if found is None:
        return False
    count, n, (step, y_step) = found
    run = _run(x, y, n, step if count > 1 else 0, y_step if count > 1 else 0)
    variant = rows.Variant(x.dtype, False, run=run, norm=True)
    views = x, None, None, None, y, None, None, None
    return normalize_rows(variant, views, count, n, step, y_step, eps, share=1.0)


def _run(x: View, y: View, *multiples: int) -> int:
    """How many numbers one access takes."""
    run = 16 // x.itemsize
    aligned = x.pointer % 16 == 0 and y.pointer % 16 == 0
    return run if aligned and not any(m % run for m in multiples) else 1


def _normalized(
    x: View,
    axes: Axes,
    parameters: Parameters,
    own: Strides,
    y: View,
    place: tuple[int, int, int],
    eps: float,
    target: Target,
    shape: Axes,
    return_stats: bool,
) -> Any:
    """Normalize by own statistics, which have this shape."""
    statistics = (empty(shape, "float64", x), empty(shape, "float64", x)) if return_stats else None
    views = None if statistics is None else (statistics[0][1], statistics[1][1])
    weight, bias = parameters
    given = weight if weight is not None else bias
    done = False
    if x.size and x.contiguous and y.contiguous:
        n = math.prod(x.shape[i] for i in axes)
        how, period, length = place
        run = _run(x, y, n, length if how == rows.BY_RUN else 0)
        variant = rows.Variant(
            x.dtype, True, None if given is None else given.dtype, weight is not None,
            bias is not None, how, False, return_stats, None, run,
        )  # fmt: skip
        pointers = x, None, weight, bias, y, None, *(views or (None, None))
        done = normalize_rows(variant, pointers, x.size // n, n, n, n, eps, period, length)
    if not done:
        found = measured(x, axes, MOMENTS, MEAN_SPREAD, eps, None, views)
        apply(x, found, kept_strides(x.shape, axes), parameters, own, y)
    result = target.delivered()
    if statistics is None:
        return result
    return Normalized(result, statistics[0][0], statistics[1][0])


def _measured_and_normalized(
    x: View,
    mask: View | None,
    axes: Axes,
    parameters: Parameters,
    own: Strides,
    target: Target,
    eps: float,
    shape: Axes,
    return_stats: bool,
) -> tuple[Measured, Any]:
    """The same, and what was measured."""
    statistics = (empty(shape, "float64", x), empty(shape, "float64", x)) if return_stats else None
    views = None if statistics is None else (statistics[0][1], statistics[1][1])
    found = measured(x, axes, MOMENTS, MEAN_SPREAD, eps, mask, views)
    apply(x, found, kept_strides(x.shape, axes), parameters, own, target.view, mask)
    result = target.delivered()
    if statistics is None:
        return found, result
    return found, Normalized(result, statistics[0][0], statistics[1][0])


def running_statistics(
    running_mean: Any, running_var: Any, channels: int, written: bool
) -> dict[str, View]:
    """The running statistics, which can be written to if they are to be updated."""
    if running_mean is None and running_var is None and written:
        return {}
    found = {}
    for name, given in (("running_mean", running_mean), ("running_var", running_var)):
        if given is None:
            raise ValueError(f"{name} is None; running statistics are wanted, both of them")
        array = view(given, name)
        if array.dtype not in REAL:
            raise TypeError(f"{name} has dtype {array.dtype}; it must be of floating numbers")
        if array.shape != (channels,):
            raise ValueError(f"{name} has shape {array.shape}; it must have {(channels,)}")
        if written and array.readonly:
            raise ValueError(f"{name} must be a writeable array: it is to be updated")
        found[name] = array
    return found


def _by_running(
    x: View,
    running: dict[str, View],
    parameters: Parameters,
    eps: float,
    out: Any,
    return_stats: bool,
    mask: View | None = None,
) -> tuple[Any, list[tuple[Any, View]]]:
    """Channels normalized by statistics that are given, and mean and rstd if they are wanted."""
    target = Target(out, x, (*parameters, mask))
    shape, (mean, variance) = x.shape[1:2], running.values()
    kept = [empty(shape, "float64", x) for _ in range(2)] if return_stats else []
    outputs = (kept[0][1], kept[1][1]) if kept else None
    found = split_statistics(mean, variance, x, eps, outputs)
    own = along(shape, (1,), x.ndim)
    apply(x, found, own, parameters, own, target.view, mask)
    return target.delivered(), kept


def _repeated(statistic: tuple[Any, View], shape: Axes) -> Any:
    array, target = empty(shape, "float64", statistic[1])
    copied(statistic[1].broadcast_to(shape), "float64", target)
    return array


def _update(
    running: dict[str, View], found: Measured, items: int, channels: int, share: float
) -> None:
    """Move running statistics towards new ones, where there are any."""
    if not running or not channels:
        return
    mean, variance = running.values()
    kernel = update(found.planes.dtype, mean.dtype, variance.dtype)
    arguments = (
        found.planes.pointer, found.spread.pointer, mean.pointer, variance.pointer, items,
        channels, mean.strides[0], variance.strides[0], share,
    )  # fmt: skip
    kernel(-(-channels // kernel.threads), arguments, stream_of(mean), mean.device)
