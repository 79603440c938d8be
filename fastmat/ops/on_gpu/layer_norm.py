"""Normalization over the last axes, alone or fused with what comes before it and after it."""

from __future__ import annotations

import math
from typing import Any

from fastmat.cuda import layer_norm as rows
from fastmat.cuda.arrays import View, empty, same_device, stream_of
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
    overlap,
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
        if overlap(target.view, total.view):
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
    found = rows_of(axes, x, y)
    if found is None or x.size == 0:
        return False
    count, n, (step, y_step) = found
    if (
        added is not None
        and total is not None
        and not (added.contiguous and total.contiguous and step == n)
    ):
        return False
    weight, bias = parameters
    given = weight if weight is not None else bias
    run = 16 // x.itemsize
    width = min(run * (1 if given is None else given.itemsize), 16)
    aligned = all(v is None or v.pointer % 16 == 0 for v in (x, y, added, total))
    aligned = aligned and all(v is None or v.pointer % width == 0 for v in parameters)
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
        statistics is not None,
        activation,
        run,
    )
    return normalize_rows(
        variant, (x, added, weight, bias, y, total, *(statistics or (None, None))),
        count, n, step, y_step, eps,
    )  # fmt: skip


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
    x = views[0]
    assert x is not None
    pointers = [0 if v is None else v.pointer for v in views]
    arguments = (
        *pointers,
        count,
        n,
        step,
        y_step,
        1 / n if share is None else share,
        eps,
        period,
        length,
    )
    kernel(-(-count // kernel.rows), arguments, stream_of(x), x.device)
    return True


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
