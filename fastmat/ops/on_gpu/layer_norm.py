"""Normalization over the last axes, alone or fused with what comes before it and after it."""

from __future__ import annotations

import functools
import math
from typing import Any

from fastmat.cuda import layer_norm as rows
from fastmat.cuda.arrays import View, empty, same_device, stream_of
from fastmat.cuda.copy import may_overlap
from fastmat.cuda.moments import MEAN_SPREAD, MOMENTS, SQUARES
from fastmat.ops.activations import ACTIVATIONS, NAMES
from fastmat.ops.normalized import Normalized, NormalizedSum, SumStatistics, last_axes
from fastmat.ops.on_gpu.statistics import (
    Axes,
    Target,
    along,
    apply,
    converted,
    kept_shape,
    kept_strides,
    mask_for,
    measured,
    numbers_of,
    parameters_for,
)
from fastmat.ops.on_gpu.strided import added_to, grouped
from fastmat.ops.statistics import number

EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def layer_norm(
    x: Any,
    normalized_shape: Any = None,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    axis: Any = None,
    mask: Any = None,
    residual: Any = None,
    activation: Any = None,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """See `fastmat.layer_norm`."""
    given = x, normalized_shape, weight, bias, eps, axis, mask, residual, activation, out
    return _last_axes_norm(True, *given, return_stats)


def rms_norm(
    x: Any,
    normalized_shape: Any = None,
    weight: Any = None,
    eps: float | None = None,
    *,
    axis: Any = None,
    residual: Any = None,
    activation: Any = None,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """See `fastmat.rms_norm`."""
    given = x, normalized_shape, weight, None, eps, axis, None, residual, activation, out
    return _last_axes_norm(False, *given, return_stats)


def _last_axes_norm(
    centred: bool,
    x: Any,
    normalized_shape: Any,
    weight: Any,
    bias: Any,
    eps: Any,
    axis: Any,
    mask: Any,
    residual: Any,
    activation: Any,
    out: Any,
    return_stats: bool,
) -> Any:
    array = numbers_of(x)
    axes = last_axes(array, normalized_shape, axis)
    lengths = tuple(array.shape[i] for i in axes)
    parameters = parameters_for(array, weight, bias, lengths)
    eps = EPSILON[array.dtype] if eps is None else number(eps, "eps")
    checked_activation(activation)
    kept = None if mask is None else mask_for(mask, array)
    added = total = None
    for_result = out
    if residual is not None:
        added = converted(residual, "residual", array)
        if out is not None and not (isinstance(out, tuple | list) and len(out) == 2):
            raise TypeError(
                f"out is {type(out).__name__}; with a residual it must be a pair of arrays"
            )
        for_result, for_sum = out or (None, None)
        if for_result is not None and for_result is for_sum:
            raise ValueError("out is the same array twice; result and sum need one each")
    w, b = parameters
    same_device(x=array, weight=w, bias=b, mask=kept, residual=added)
    target = Target(for_result, array, (w, b, kept, added))
    if added is not None:
        total = Target(for_sum, array, (w, b, kept), (added,))
        if may_overlap(target.view, total.view):
            target.view = empty(array.shape, array.dtype, array)[1]
    mean = rstd = statistics = None
    if return_stats:
        shape = kept_shape(array.shape, axes)
        (mean, mean_view), (rstd, rstd_view) = (empty(shape, "float64", array) for _ in range(2))
        statistics = mean_view, rstd_view
    views = parameters, target.view, None if total is None else total.view
    how: tuple[Any, ...] = (centred, eps, activation, statistics)
    if kept is not None or not by_rows(array, axes, added, *views, *how):
        source = array
        if added is not None:
            assert total is not None
            source = added_to(array, added, total.view)
        by_groups(source, axes, kept, parameters, target.view, *how)
    if total is None:
        result = target.delivered()
        return Normalized(result, mean, rstd) if return_stats else result
    found = target.delivered(), total.delivered()
    return SumStatistics(*found, mean, rstd) if return_stats else NormalizedSum(*found)


def checked_activation(activation: Any) -> None:
    """Raise unless this is an activation."""
    if activation is None:
        return
    known = activation in NAMES if isinstance(activation, str) else hasattr(activation, "py_func")
    if not known:
        kind = ValueError if isinstance(activation, str) else TypeError
        raise kind(f"activation is {activation!r}; it must be {ACTIVATIONS}")


def by_rows(
    x: View,
    axes: Axes,
    added: View | None,
    parameters: list[View | None],
    y: View,
    total: View | None,
    centred: bool,
    eps: float,
    activation: Any,
    statistics: tuple[View, View] | None,
) -> bool:
    """Normalize contiguous rows in one pass over memory, if they are that and fit."""
    views = (x, added, *parameters, y, total)
    plan = _plan_by_rows(
        axes,
        tuple([v and (v.pointer % 16, v.shape, v.strides, v.dtype) for v in views]),
        centred, activation, statistics is not None,
    )  # fmt: skip
    if plan is None:
        return False
    kernel, count, n, step, y_step = plan
    given = (*views, *(statistics or (None, None)))
    launch_rows(kernel, given, count, n, step, y_step, eps)
    return True


@functools.lru_cache(4096)
def _plan_by_rows(
    axes: Axes,
    arrays: tuple[tuple[Any, ...] | None, ...],
    centred: bool,
    activation: Any,
    statistics: bool,
) -> tuple[Any, int, int, int, int] | None:
    """The kernel, the number of rows, their length and how far they lie apart."""
    x, added, weight, bias, y, total = [None if a is None else _without_memory(*a) for a in arrays]
    assert x is not None
    assert y is not None
    found = rows_of(axes, x, y)
    if found is None or x.size == 0:
        return None
    count, n, (step, y_step) = found
    if (
        added is not None
        and total is not None
        and not (added.contiguous and total.contiguous and step == n)
    ):
        return None
    given = weight if weight is not None else bias
    run = 16 // x.itemsize
    width = min(run * (1 if given is None else given.itemsize), 16)
    aligned = all(v is None or v.pointer == 0 for v in (x, y, added, total))
    aligned = aligned and all(v is None or v.pointer % width == 0 for v in (weight, bias))
    if not aligned or n % run or (count > 1 and (step % run or y_step % run)):
        run = 1
    variant = rows.Variant(
        x.dtype,
        centred,
        None if given is None else given.dtype,
        weight is not None,
        bias is not None,
        rows.BY_COLUMN,
        added is not None,
        statistics,
        activation,
        run,
    )
    kernel = rows.norm(variant, n, count)
    return None if kernel is None else (kernel, count, n, step, y_step)


def _without_memory(
    pointer: int, shape: Axes, strides: Axes, dtype: str, library: Any = None
) -> View:
    """A view that only says how an array lies."""
    return View(pointer, shape, strides, dtype, 0, library, None)


def rows_of(axes: Axes, *arrays: View) -> tuple[int, int, tuple[int, ...]] | None:
    """Rows, their length and how far they lie apart in each array; None if they are scattered."""
    x = arrays[0]
    if axes == tuple(range(x.ndim - len(axes), x.ndim)) and all(v.contiguous for v in arrays):
        n = math.prod(x.shape[i] for i in axes)
        return x.size // max(n, 1), n, (n,) * len(arrays)
    lengths = tuple(x.shape[i] for i in axes)
    own = along(lengths, axes, x.ndim), kept_strides(x.shape, axes)
    found = next(grouped(x.shape, axes, *(v.strides for v in arrays), *own))
    o, i, p, r, q = found.lengths
    inner = [strides[4] for strides in found.strides[:-1]]
    if o * p * r != 1 or i * q != x.size or (q > 1 and any(s != 1 for s in inner)):
        return None
    if i > 1 and found.strides[-1][1] != 1:
        return None
    return i, q, tuple(strides[1] for strides in found.strides[: len(arrays)])


def normalize_rows(
    variant: rows.Variant,
    views: tuple[View | None, ...],
    count: int,
    n: int,
    step: int,
    y_step: int,
    eps: float,
    period: int = 1,
    length: int = 1,
    share: float | None = None,
) -> bool:
    """Launch the kernel for contiguous rows, if they fit."""
    kernel = rows.norm(variant, n, count)
    if kernel is None:
        return False
    launch_rows(kernel, views, count, n, step, y_step, eps, period, length, share)
    return True


def launch_rows(
    kernel: Any,
    views: tuple[View | None, ...],
    count: int,
    n: int,
    step: int,
    y_step: int,
    eps: float,
    period: int = 1,
    length: int = 1,
    share: float | None = None,
) -> None:
    """Launch a kernel for contiguous rows."""
    x = views[0]
    assert x is not None
    arguments = (
        *[0 if v is None else v.pointer for v in views],
        count, n, step, y_step, 1 / n if share is None else share, eps, period, length,
    )  # fmt: skip
    kernel(-(-count // kernel.rows), arguments, stream_of(x), x.device)


def by_groups(
    x: View,
    axes: Axes,
    mask: View | None,
    parameters: list[View | None],
    y: View,
    centred: bool,
    eps: float,
    activation: Any,
    statistics: tuple[View, View] | None,
) -> None:
    """Normalize groups of any strides."""
    kind = MOMENTS if centred else SQUARES
    found = measured(x, axes, kind, MEAN_SPREAD, eps, mask, statistics)
    lengths = tuple(x.shape[i] for i in axes)
    apply(
        x, found, kept_strides(x.shape, axes), parameters, along(lengths, axes, x.ndim), y, mask,
        activation,
    )  # fmt: skip
