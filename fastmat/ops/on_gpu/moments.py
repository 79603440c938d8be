"""Mean and variance on a GPU."""

from __future__ import annotations

from typing import Any

from fastmat.cuda.arrays import empty, same_device, stream_of
from fastmat.cuda.moments import DEVIATION, MEAN_SPREAD
from fastmat.cuda.moments import MOMENTS as KIND
from fastmat.cuda.statistics import mean_and_variance
from fastmat.ops.groups import normalized_axes
from fastmat.ops.moments import Moments
from fastmat.ops.on_gpu.statistics import (
    REAL,
    Target,
    apply,
    as_pairs,
    groups_of,
    kept_shape,
    kept_strides,
    mask_for,
    measured,
    numbers_of,
)
from fastmat.ops.statistics import number


def moments(
    x: Any, axis: Any = None, *, correction: float = 0, mask: Any = None, keepdims: bool = False
) -> Any:
    """See `fastmat.moments`."""
    array = numbers_of(x, complex_too=True)
    axes = normalized_axes(axis, array.ndim)
    kept = None if mask is None else mask_for(mask, array)
    same_device(x=array, mask=kept)
    freedom = number(correction, "correction")
    shape = kept_shape(array.shape, axes)
    if not keepdims:
        shape = tuple(n for i, n in enumerate(array.shape) if i not in axes)
    groups, parts, source = groups_of(array.shape, axes), 1, array
    if array.dtype not in REAL:
        parts, source = 2, as_pairs(array)
        if kept is not None:
            kept = kept._replace(shape=source.shape, strides=(*kept.strides, 0))
    mean, mean_view = empty(shape, array.dtype, array)
    variance, variance_view = empty(shape, source.dtype, array)
    if groups:
        found = measured(source, axes, KIND, MEAN_SPREAD, 0.0, kept)
        kernel = mean_and_variance(source.dtype, parts)
        arguments = (
            found.planes.pointer, found.spread.pointer, mean_view.pointer, variance_view.pointer,
            groups, freedom,
        )  # fmt: skip
        kernel(-(-groups // kernel.threads), arguments, stream_of(array), array.device)
    return Moments(mean, variance)


def standardize(x: Any, axis: Any = None, *, correction: float = 0, out: Any = None) -> Any:
    """See `fastmat.standardize`."""
    array = numbers_of(x)
    axes = normalized_axes(axis, array.ndim)
    freedom = number(correction, "correction")
    target = Target(out, array, ())
    found = measured(array, axes, KIND, DEVIATION, freedom)
    own = kept_strides(array.shape, axes)
    apply(array, found, own, [None, None], (0,) * array.ndim, target.view)
    return target.delivered()
