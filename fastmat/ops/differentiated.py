"""What the gradients share: arguments, the calls of the kernels, results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.dtypes import kernel_name
from fastmat.cpu.kinds import CENTERED, GIVEN
from fastmat.ops.groups import ScatteredError, grouped
from fastmat.ops.normalized import parameter
from fastmat.ops.statistics import (
    Axes,
    converted,
    delivered,
    entry_of,
    no_parameters,
    target_for,
    views_of,
)

_UNWANTED = np.empty((0,) * 5)


class Gradients(NamedTuple):
    """Gradients by the arguments of a normalization; None where there is no weight."""

    x: Any
    weight: Any
    bias: Any


class ScaleGradients(NamedTuple):
    """Gradients by the arguments of a normalization without bias."""

    x: Any
    weight: Any


def statistic(given: Any, name: str, shape: tuple[int, ...], kept: tuple[int, ...]) -> Array:
    """A statistic that the forward operation returned, in the shape that kernels read."""
    array = as_array(given, name)
    if kernel_name(array.dtype) is None or array.dtype.kind in "biuc":
        raise TypeError(f"{name} has dtype {array.dtype}; it must be float64")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it must have {shape}")
    return np.ascontiguousarray(native(array), np.float64).reshape(kept)


def kept_shape(array: Array, axes: Axes) -> tuple[int, ...]:
    """The lengths of statistics: 1 along the axes of a group."""
    return tuple(1 if i in axes else n for i, n in enumerate(array.shape))


def weight_for(array: Array, axes: Axes, weight: Any, lengths: Axes) -> Array:
    """The weight with length 1 along the other axes; a single 1 if there is none."""
    found = parameter(array, axes, weight, "weight", lengths)
    return no_weight(array) if found is None else found


def no_weight(array: Array) -> Array:
    """The weight that leaves everything as it is."""
    return no_parameters(array)[0]


def target_of_gradient(
    out: Any, array: Array, cotangent: Array, others: Sequence[Array | None]
) -> Array:
    """Where the gradient is computed: in `out`, which may be either array, if that is possible."""
    if isinstance(out, np.ndarray) and np.may_share_memory(out, cotangent):
        return target_for(out, cotangent, (array, *others))
    return target_for(out, array, (cotangent, *others))


def gradients(
    cotangent: Array,
    array: Array,
    axes: Axes,
    weight: Array,
    statistics: tuple[Array, Array],
    target: Array,
    kind: int,
    wanted: bool,
    eps: float = 0.0,
) -> tuple[Array, Array]:
    """Write the gradient by x; return those by weight and bias, in float64, if they are wanted."""
    by_weight, by_bias = np.zeros(weight.shape), np.zeros(weight.shape)
    if array.size == 0:
        return by_weight, by_bias
    inputs = [array, cotangent, weight, *statistics]
    if wanted and not together(inputs, axes, target, [by_weight, by_bias], kind, eps):
        others = tuple(i for i, n in enumerate(weight.shape) if n == 1)
        one = no_weight(array)
        add_up(cotangent, array, others, one, statistics, by_bias, by_weight, CENTERED)
        wanted = False
    if not wanted:
        together(inputs, axes, target, [], kind, eps)
    return by_weight, by_bias


def masked_gradients(
    cotangent: Array,
    array: Array,
    mask: Array,
    axes: Axes,
    weight: Array,
    statistics: tuple[Array, Array],
    target: Array,
    kind: int,
    wanted: bool,
) -> tuple[Array, Array]:
    """The same of numbers with a mask; what it masks counts for nothing, and gets 0."""
    by_weight, by_bias = np.zeros(weight.shape), np.zeros(weight.shape)
    if array.size == 0:
        return by_weight, by_bias
    if wanted:
        others = tuple(i for i, n in enumerate(weight.shape) if n == 1)
        one = no_weight(array)
        add_up(cotangent, array, others, one, statistics, by_bias, by_weight, CENTERED, mask)
    entry = entry_of("masked_vjps", "masked_gradient", array.dtype)
    for x, g, *rest in views_of(axes, [array, cotangent, mask, weight, *statistics], [target]):
        entry(g, x, *rest, kind)
    return by_weight, by_bias


def together(
    inputs: list[Array], axes: Axes, target: Array, sums: list[Array], kind: int, eps: float = 0.0
) -> bool:
    """Write all gradients in one pass over memory, if that is possible.

    Sums have the shape of the weight, so they cannot follow it into copies of scattered axes.
    """
    entry = entry_of("gradients", "gradient", inputs[0].dtype)
    done = np.zeros(1, np.intp)
    views = grouped(axes, *inputs, target, *sums) if sums else views_of(axes, inputs, [target])
    try:
        for x, g, *rest in views:
            entry(g, x, *rest, *([] if sums else [_UNWANTED, _UNWANTED]), kind, eps, done)
            if not done[0]:
                return False
    except ScatteredError:
        return False
    return True


def add_up(
    cotangent: Array,
    array: Array,
    axes: Axes,
    weight: Array,
    statistics: tuple[Array, Array],
    first: Array,
    second: Array,
    kind: int,
    mask: Array | None = None,
    count: Array | None = None,
) -> None:
    """Sums over some axes, of the cotangent and of that times what it is the gradient of.

    With a mask, `count` becomes the numbers that they are of.
    """
    sums = [first, second]
    if mask is None:
        inputs = [array, cotangent, weight, *statistics]
        entry = entry_of("gradients", "sums", array.dtype)
    else:
        inputs = [array, cotangent, mask, weight, *statistics]
        entry = entry_of("masked_vjps", "masked_sums", array.dtype)
        sums.append(np.zeros(first.shape) if count is None else count)
    for x, g, *rest in views_of(axes, inputs, sums):
        entry(g, x, *rest, kind)


def write(
    cotangent: Array,
    array: Array,
    axes: Axes,
    weight: Array,
    statistics: tuple[Array, Array],
    flow: tuple[Array, Array],
    target: Array,
    kind: int,
    mask: Array | None = None,
) -> None:
    """Write the gradient by x, of known shift and slope."""
    if mask is None:
        inputs = [array, cotangent, weight, *statistics, *flow]
        entry = entry_of("gradients", "write", array.dtype)
    else:
        inputs = [array, cotangent, mask, weight, *statistics, *flow]
        entry = entry_of("masked_vjps", "masked_write", array.dtype)
    for x, g, *rest in views_of(axes, inputs, [target]):
        entry(g, x, *rest, kind)


def channel_gradients(
    cotangent: Array,
    array: Array,
    axes: Axes,
    weight: Array,
    statistics: tuple[Array, Array],
    target: Array,
    own: bool,
    wanted: bool,
    groups: int = 0,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """The same where the numbers of a channel share a weight: by the sums of each channel.

    Statistics are those of channels, over these axes. If they are of groups of channels, `groups`
    says how many; `own` says whether they are those of x, or of what a mask keeps of it.
    """
    shape = statistics[0].shape
    first, second, kept = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    if array.size:
        if own or wanted:
            one = no_weight(array)
            add_up(cotangent, array, axes, one, statistics, first, second, CENTERED, mask, kept)
        flow = np.zeros(shape), np.zeros(shape)
        if own:
            count = array.size // first.size * (shape[1] // groups if groups else 1)
            with np.errstate(divide="ignore", invalid="ignore"):  # infinities become NaN
                share = weight.astype(np.float64) * (1 / (count if mask is None else kept))
                flow = _of_groups(first * share, groups), _of_groups(second * share, groups)
        kind = CENTERED if own else GIVEN
        write(cotangent, array, axes, weight, statistics, flow, target, kind, mask)
    return second.sum(0), first.sum(0)


def _of_groups(sums: Array, groups: int) -> Array:
    """For each channel the sum over those of its group."""
    if not groups:
        return sums
    items, channels = sums.shape[:2]
    totals = sums.reshape(items, groups, -1).sum(-1)
    return np.repeat(totals, channels // groups, 1).reshape(sums.shape)


def as_parameter(gradient: Array, weight: Any, lengths: tuple[int, ...]) -> Any:
    """The gradient by weight or bias in the dtype and the library of the weight."""
    dtype = as_array(weight, "weight").dtype
    dtype = np.dtype(np.float64) if dtype.kind in "biu" else dtype.newbyteorder("=")
    return like(gradient.reshape(lengths).astype(dtype), weight)


def delivered_gradients(
    target: Array,
    out: Any,
    x: Any,
    weight: Any,
    lengths: tuple[int, ...],
    found: tuple[Array, Array],
) -> Gradients:
    """The gradients as the caller wants them."""
    by_x = delivered(target, out, x)
    if weight is None:
        return Gradients(by_x, None, None)
    return Gradients(by_x, *(as_parameter(part, weight, lengths) for part in found))


def cotangent_for(given: Any, array: Array) -> Array:
    """The cotangent as an array of the shape and the dtype of x."""
    return converted(given, "cotangent", array)
