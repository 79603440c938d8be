"""What the normalizations share: parameters, running statistics, the calls of the kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array, native
from fastmat.core.dtypes import DType, kernel_name
from fastmat.cpu.kinds import MOMENTS, ROOT_NORM, SQUARES
from fastmat.ops.groups import normalized_axes
from fastmat.ops.statistics import (
    Axes,
    apply_statistics,
    compute_dtype,
    delivered,
    entry_of,
    integer,
    masked_moments,
    measured,
    no_parameters,
    number,
    target_for,
    views_of,
)

WRITTEN_OUT = 1 << 14  # numbers of a parameter that is not given


class Normalized(NamedTuple):
    """A result with the statistics it was made with."""

    result: Any
    mean: Any
    rstd: Any


class NormalizedSum(NamedTuple):
    """A result with the sum that it was made of."""

    result: Any
    sum: Any


class SumStatistics(NamedTuple):
    """A result with the sum that it was made of, and the statistics of that."""

    result: Any
    sum: Any
    mean: Any
    rstd: Any


def normalized(
    x: Any,
    array: Array,
    axes: Axes,
    parameters: list[Array],
    out: Any,
    kind: int,
    rule: int,
    eps: Any,
    keep: bool,
    activation: int = 0,
) -> tuple[Any, Array, Array]:
    """The result, and center and factor of each group."""
    target = target_for(out, array, parameters)
    center, factor = run(array, axes, parameters, target, kind, rule, eps, keep, activation)
    return delivered(target, out, x), center, factor


def run(
    array: Array,
    axes: Axes,
    parameters: list[Array],
    target: Array,
    kind: int,
    rule: int,
    eps: Any,
    keep: bool,
    activation: int = 0,
) -> tuple[Array, Array]:
    """Normalize by own statistics; center and factor of each group, if they are to be kept."""
    eps = number(eps, "eps")
    center, factor = empty_statistics(array, axes, keep)
    if array.size:
        how = (kind, rule, eps, activation) if activation else (kind, rule, eps)
        name = "normalize_and_map" if activation else "normalize"
        entry = entry_of("normalization", name, array.dtype)
        for views in views_of(axes, [array, *parameters], [target, center, factor]):
            entry(*views, *how)
    return center, factor


def empty_statistics(array: Array, axes: Axes, keep: bool) -> tuple[Array, Array]:
    """Room for center and factor of each group; for one number each, unless they are kept."""
    if keep:
        shape = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
    else:
        shape = (1,) * array.ndim
    if array.size:
        return np.empty(shape), np.empty(shape)
    return np.full(shape, np.nan), np.full(shape, np.nan)


def normalize_complex(
    array: Array, axes: Axes, target: Array, kind: int, rule: int, eps: Any
) -> None:
    """Divide complex numbers by norms of their moduli."""
    eps = number(eps, "eps")
    pairs, written = (as_pairs(z) for z in (array, target))
    numbers = pairs if kind == SQUARES else np.abs(array)[..., np.newaxis]
    measured_axes = (*axes, array.ndim) if kind == SQUARES else axes
    zero, spread = measured(numbers, measured_axes, kind)
    norm = np.sqrt(spread) if rule == ROOT_NORM else spread
    with np.errstate(divide="ignore"):
        factor = 1 / np.where(norm < eps, eps, norm)
    parameters = no_parameters(pairs)
    apply_statistics(pairs, (*axes, array.ndim), parameters, written, zero, factor)


def measured_and_normalized(
    x: Any,
    array: Array,
    axes: Axes,
    parameters: list[Array],
    out: Any,
    eps: Any,
) -> tuple[Any, Array, Array, Array]:
    """The result, and mean, factor and sum of squared deviations of each group."""
    epsilon = number(eps, "eps")
    target = target_for(out, array, parameters)
    mean, spread = measured(array, axes, MOMENTS)
    count = max(array.size // max(mean.size, 1), 1)
    with np.errstate(divide="ignore"):
        rstd = 1 / np.sqrt(spread / count + epsilon)
    apply_statistics(array, axes, parameters, target, mean, rstd)
    return delivered(target, out, x), mean, rstd, spread


def normalize_kept(
    array: Array,
    mask: Array,
    axes: Axes,
    parameters: list[Array],
    target: Array,
    eps: float,
    activation: int = 0,
) -> tuple[Array, Array, Array, Array]:
    """Normalize what a mask keeps by its own statistics, and write 0 where it does not.

    Returns mean, factor, sum of squared deviations and number of what is kept of each group.
    """
    mean, spread, count = masked_moments(array, mask, axes)
    with np.errstate(divide="ignore", invalid="ignore"):
        rstd = 1 / np.sqrt(spread / count + eps)
    apply_statistics(array, axes, parameters, target, mean, rstd, mask, activation)
    return mean, rstd, spread, count


def by_running(
    x: Any,
    array: Array,
    running: list[Array] | None,
    parameters: list[Array],
    eps: Any,
    out: Any,
    mask: Array | None = None,
) -> tuple[Any, Array, Array]:
    """Channels normalized by statistics that are given, and those, ``(C,)``."""
    assert running is not None
    shape = (1, -1, *[1] * (array.ndim - 2))
    mean, variance = (np.asarray(x, np.float64) for x in running)
    with np.errstate(divide="ignore", invalid="ignore"):
        rstd = 1 / np.sqrt(variance + number(eps, "eps"))
    target = target_for(out, array, (*parameters, *running, mask))
    axes = (0, *range(2, array.ndim))
    kept = mean.copy()  # out may overlap it
    statistics = kept.reshape(shape), rstd.reshape(shape)
    apply_statistics(array, axes, parameters, target, *statistics, mask)
    return delivered(target, out, x), kept, rstd


def running_statistics(
    running_mean: Any, running_var: Any, channels: int, update: bool
) -> list[Array] | None:
    """The running statistics, which can be written to if they are to be updated."""
    if running_mean is None and running_var is None and update:
        return None
    found = []
    for name, given in (("running_mean", running_mean), ("running_var", running_var)):
        if given is None:
            raise ValueError(f"{name} is None; running statistics are wanted, both of them")
        array = as_array(given, name)
        if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
            raise TypeError(f"{name} has dtype {array.dtype}; it must be of floating numbers")
        if array.shape != (channels,):
            raise ValueError(f"{name} has shape {array.shape}; it must have {(channels,)}")
        if update and not (array.flags.writeable and np.may_share_memory(array, given)):
            raise ValueError(f"{name} must be a writeable array: it is to be updated")
        found.append(array)
    return found


def update(
    running: list[Array], share: float, mean: Array, variance: Array, where: Any = True
) -> None:
    """Move running statistics towards new ones, where there are any."""
    for old, new in zip(running, (mean, variance), strict=True):
        moved = (1 - share) * old.astype(np.float64) + share * new
        old[...] = np.where(where, moved, old).astype(old.dtype)


def last_axes(array: Any, normalized_shape: Any, axis: Any) -> Axes:
    """The axes that either of two arguments names."""
    if (normalized_shape is None) == (axis is None):
        raise TypeError("either normalized_shape or axis must be given, and not both")
    if axis is not None:
        return normalized_axes(axis, array.ndim)
    given = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    lengths = tuple(integer(n, "normalized_shape") for n in given)
    if not lengths or array.shape[-len(lengths) :] != lengths:
        raise ValueError(
            f"normalized_shape is {lengths}; x has shape {array.shape}, which must end with it"
        )
    return tuple(range(array.ndim - len(lengths), array.ndim))


def parameters_for(array: Array, axes: Axes, weight: Any, bias: Any, lengths: Axes) -> list[Array]:
    """Weight and bias in the dtype kernels compute with, with length 1 along the other axes."""
    found = [
        parameter(array, axes, given, name, lengths)
        for name, given in (("weight", weight), ("bias", bias))
    ]
    weight, bias = found
    one, zero = no_parameters(array)
    if weight is None and bias is None:
        return [one, zero]
    return [
        _repeated(one, bias.shape) if weight is None else weight,
        _repeated(zero, weight.shape) if bias is None else bias,
    ]


def _repeated(single: Array, shape: Axes) -> Array:
    """A parameter that is not given: written out only where that takes no time."""
    found = np.broadcast_to(single, shape)
    return found.copy() if found.size <= WRITTEN_OUT else found


def parameter(array: Array, axes: Axes, given: Any, name: str, lengths: Axes) -> Array | None:
    """Weight or bias of these lengths along the axes, and of length 1 along the others."""
    if given is None:
        return None
    found = as_array(given, name)
    compute = compute_dtype(array.dtype)
    if found.dtype != compute and (kernel_name(found.dtype) is None or found.dtype.kind == "c"):
        raise TypeError(f"{name} has dtype {found.dtype}; it must be real numbers")
    if found.shape != lengths:
        raise ValueError(f"{name} has shape {found.shape}; it must have {lengths}")
    shape = [n if i in axes else 1 for i, n in enumerate(array.shape)]
    return np.ascontiguousarray(native(found), compute).reshape(shape)


def channels_of(array: Any) -> int:
    """How many channels an array has."""
    if array.ndim < 2:
        raise ValueError(f"x has shape {array.shape}; it must have (N, C, *spatial)")
    return int(array.shape[1])


def divided(array: Array, groups: int) -> Array:
    """The array with its channels in groups."""
    items, channels, *spatial = array.shape
    return array.reshape(items, groups, channels // groups, *spatial)


def as_pairs(array: Array) -> Array:
    """Complex numbers as pairs of real ones, along a last axis."""
    part = np.dtype(f"f{array.dtype.itemsize // 2}")
    strides = (*array.strides, part.itemsize)
    return np.lib.stride_tricks.as_strided(
        array.real, (*array.shape, 2), strides, writeable=array.flags.writeable
    ).view(part)


def epsilon(dtype: DType) -> float:
    """The machine epsilon of a floating dtype."""
    if dtype.name == "bfloat16":
        return 2.0**-7
    return float(np.finfo(dtype).eps)
