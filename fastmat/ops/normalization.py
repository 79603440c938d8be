"""Normalization of groups of numbers: PyTorch's functions, on kernels that reach memory's speed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array
from fastmat.core.dtypes import DType, kernel_name
from fastmat.cpu.kinds import (
    LARGEST,
    MAGNITUDES,
    MEAN_SPREAD,
    MOMENTS,
    NORM,
    ROOT_NORM,
    SQUARES,
)
from fastmat.ops.groups import normalized_axes
from fastmat.ops.statistics import (
    Axes,
    apply_statistics,
    compute_dtype,
    delivered,
    entry_of,
    integer,
    measured,
    no_parameters,
    number,
    numbers_of,
    target_for,
    views_of,
)


class Normalized(NamedTuple):
    """A result with the statistics it was made with."""

    result: Any
    mean: Any
    rstd: Any


def layer_norm(
    x: Any,
    normalized_shape: Any = None,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    axis: Any = None,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """Normalize over the last axes to mean 0 and variance 1, as `torch.nn.functional.layer_norm`.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, with mean and (biased) variance of each
    group of numbers that differ only in their place along the normalized axes.

    Parameters
    ----------
    x
        Array-like ``(..., *normalized_shape)`` of a floating dtype; integers and bool count as
        float64.
    normalized_shape
        Lengths of the last axes, an integer or a tuple; may be left out if `axis` is given.
    weight, bias
        ``normalized_shape``, multiplied with and added to the normalized numbers.
    eps
        Added to the variance.
    axis
        The axes to normalize over, an integer or a tuple, instead of `normalized_shape`; `weight`
        and `bias` have the lengths of these axes, in order.
    out
        Where to store the result; may be `x` itself, or overlap any argument.
    return_stats
        Whether to return mean and 1 / sqrt(variance + eps) of the groups as well.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_stats` a named tuple
    ``(result, mean, rstd)``, statistics in float64 with length 1 along the normalized axes

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; dtypes that are not real numbers.

    Notes
    -----
    Statistics are computed in float64, in two passes: see `fastmat.moments`. NaN and infinities
    stay in their group. An empty group gives an empty result.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", 2016, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.layer_norm(np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 7.0]]), 3, eps=0.0).round(3)
    array([[-1.225,  0.   ,  1.225],
           [-0.707, -0.707,  1.414]])
    """
    array = numbers_of(x)
    axes = _normalized_axes(array, normalized_shape, axis)
    lengths = tuple(array.shape[i] for i in axes)
    parameters = _parameters(array, axes, weight, bias, lengths)
    result, mean, rstd = _normalized(x, array, axes, parameters, out, MOMENTS, MEAN_SPREAD, eps)
    return Normalized(result, mean, rstd) if return_stats else result


def rms_norm(
    x: Any,
    normalized_shape: Any = None,
    weight: Any = None,
    eps: float | None = None,
    *,
    axis: Any = None,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """Divide by the root of the mean square over the last axes, as `torch.nn.functional.rms_norm`.

    ``x / sqrt(mean(x**2) + eps) * weight``

    Parameters
    ----------
    x, normalized_shape, weight, axis, out, return_stats
        As `layer_norm`.
    eps
        Added to the mean square; by default the machine epsilon of the dtype of `x`.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_stats` a named tuple
    ``(result, mean, rstd)``, where mean is 0 and rstd is 1 / sqrt(mean(x**2) + eps)

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`.

    References
    ----------
    Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019, arXiv:1910.07467.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.rms_norm(np.array([3.0, 4.0]), 2).round(3)
    array([0.849, 1.131])
    """
    array = numbers_of(x)
    axes = _normalized_axes(array, normalized_shape, axis)
    lengths = tuple(array.shape[i] for i in axes)
    parameters = _parameters(array, axes, weight, None, lengths)
    if eps is None:
        eps = _epsilon(array.dtype)
    result, mean, rstd = _normalized(x, array, axes, parameters, out, SQUARES, MEAN_SPREAD, eps)
    return Normalized(result, mean, rstd) if return_stats else result


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
    """Normalize each group of channels of each item, as `torch.nn.functional.group_norm`.

    Parameters
    ----------
    x
        ``(N, C, *spatial)``, see `layer_norm` for dtypes.
    num_groups
        Into how many groups of neighbours the C channels are divided; a divisor of C.
    weight, bias
        ``(C,)``
    eps, out, return_stats
        As `layer_norm`.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_stats` a named tuple
    ``(result, mean, rstd)``, statistics ``(N, num_groups)`` in float64

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`; a number of groups that does not divide C.

    References
    ----------
    Wu and He, "Group normalization", ECCV 2018, arXiv:1803.08494.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.arange(8.0).reshape(1, 4, 2)
    >>> fm.group_norm(x, 2).round(3)[0]
    array([[-1.342, -0.447],
           [ 0.447,  1.342],
           [-1.342, -0.447],
           [ 0.447,  1.342]])
    """
    array = numbers_of(x)
    channels = _channels(array)
    groups = integer(num_groups, "num_groups")
    if groups < 1 or channels % groups:
        raise ValueError(f"num_groups is {groups}; it must divide the {channels} channels of x")
    divided = _divided(array, groups)
    parameters = [
        _divided(parameter, groups if parameter.shape[1] > 1 else 1)
        for parameter in _parameters(array, (1,), weight, bias, (channels,))
    ]
    target = target_for(out, array, (weight, bias))
    axes = tuple(range(2, divided.ndim))
    mean, rstd = _run(
        divided, axes, parameters, _divided(target, groups), MOMENTS, MEAN_SPREAD, eps
    )
    result = delivered(target, out, x)
    shape = (array.shape[0], groups)
    return Normalized(result, mean.reshape(shape), rstd.reshape(shape)) if return_stats else result


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
    """Normalize each channel of each item, as `torch.nn.functional.instance_norm`.

    Parameters
    ----------
    x
        ``(N, C, *spatial)``, see `layer_norm` for dtypes.
    running_mean, running_var
        ``(C,)``, arrays that are updated in place if `use_input_stats`: with the means of the
        items' means and unbiased variances. Otherwise they are what is normalized with.
    weight, bias
        ``(C,)``
    use_input_stats
        Whether to normalize by the statistics of `x`.
    momentum
        The share of the new value in an updated one.
    eps, out, return_stats
        As `layer_norm`.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_stats` a named tuple
    ``(result, mean, rstd)``, statistics ``(N, C)`` in float64

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`; one number per channel only, or no running statistics where they are
        wanted.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016, arXiv:1607.08022.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.instance_norm(np.array([[[1.0, 3.0], [5.0, 5.0]]]), eps=1e-8).round(3)
    array([[[-1.,  1.],
            [ 0.,  0.]]])
    """
    array = numbers_of(x)
    channels = _channels(array)
    running = _running(running_mean, running_var, channels, use_input_stats, x)
    axes = tuple(range(2, array.ndim))
    per_channel = (1,)
    if not use_input_stats:
        parameters = _parameters(array, per_channel, weight, bias, (channels,))
        return _by_running(x, array, running, parameters, eps, out, return_stats)
    count = math.prod(array.shape[2:])
    if count == 1:
        raise ValueError(f"x has shape {array.shape}: one number of each channel has no variance")
    parameters = _parameters(array, per_channel, weight, bias, (channels,))
    result, mean, rstd = _normalized(x, array, axes, parameters, out, MOMENTS, MEAN_SPREAD, eps)
    if running is not None and array.size:
        with np.errstate(divide="ignore"):
            variance = (1 / rstd**2 - eps) * count / (count - 1)
        _update(running, momentum, mean.mean(0).reshape(-1), variance.mean(0).reshape(-1))
    shape = array.shape[:2]
    return Normalized(result, mean.reshape(shape), rstd.reshape(shape)) if return_stats else result


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
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """Normalize each channel over all items, as `torch.nn.functional.batch_norm`.

    Parameters
    ----------
    x
        ``(N, C)`` or ``(N, C, *spatial)`` in any memory layout, channels last among them; see
        `layer_norm` for dtypes.
    running_mean, running_var
        ``(C,)``. In training arrays that are updated in place, the variance with the unbiased
        one, or None; otherwise what is normalized with.
    weight, bias
        ``(C,)``
    training
        Whether to normalize by the statistics of `x`.
    momentum
        The share of the new value in an updated one.
    eps, out, return_stats
        As `layer_norm`.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_stats` a named tuple
    ``(result, mean, rstd)``, statistics ``(C,)`` in float64

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`; one number per channel only in training, no running statistics
        otherwise.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", ICML 2015, arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> mean, var = np.zeros(2), np.ones(2)
    >>> fm.batch_norm(x, mean, var, training=True).round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> mean, var
    (array([0.2, 2. ]), array([ 1.1, 20.9]))
    """
    array = numbers_of(x)
    channels = _channels(array)
    running = _running(running_mean, running_var, channels, training, x)
    parameters = _parameters(array, (1,), weight, bias, (channels,))
    if not training:
        return _by_running(x, array, running, parameters, eps, out, return_stats)
    count = array.size // max(channels, 1)
    if count == 1:
        raise ValueError(f"x has shape {array.shape}: one number of each channel has no variance")
    target = target_for(out, array, (weight, bias))
    axes = (0, *range(2, array.ndim))
    mean, spread = measured(array, axes, MOMENTS)
    rstd = 1 / np.sqrt(spread / max(count, 1) + number(eps, "eps"))
    apply_statistics(array, axes, parameters, target, mean, rstd)
    result = delivered(target, out, x)
    if running is not None and array.size:
        _update(running, momentum, mean.reshape(-1), spread.reshape(-1) / (count - 1))
    return Normalized(result, mean.reshape(-1), rstd.reshape(-1)) if return_stats else result


def normalize(x: Any, ord: Any = 2, axis: Any = -1, eps: float = 1e-12, *, out: Any = None) -> Any:
    """Divide by the norm along an axis, as `torch.nn.functional.normalize`.

    ``x / max(norm(x), eps)``

    Parameters
    ----------
    x
        Array-like of a floating or complex dtype; integers and bool count as float64.
    ord
        1, 2 or infinity.
    axis
        The axis, or axes, that a norm extends over.
    eps
        The least that is divided by.
    out
        Where to store the result; may be `x` itself, or overlap it.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    ValueError, TypeError
        Another `ord`; dtypes that are not numbers; axes out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    measures = {1: (MAGNITUDES, NORM), 2: (SQUARES, ROOT_NORM), math.inf: (LARGEST, NORM)}
    if not isinstance(ord, int | float) or ord not in measures:
        raise ValueError(f"ord is {ord!r}; it must be 1, 2 or infinity")
    kind, rule = measures[ord]
    array = numbers_of(x, complex_too=True)
    axes = normalized_axes(axis, array.ndim)
    target = target_for(out, array, ())
    if array.dtype.kind != "c":
        _run(array, axes, no_parameters(array), target, kind, rule, eps)
        return delivered(target, out, x)
    pairs, written = (_as_pairs(z) for z in (array, target))
    numbers = pairs if kind == SQUARES else np.abs(array)[..., np.newaxis]
    measured_axes = (*axes, array.ndim) if kind == SQUARES else axes
    zero, spread = measured(numbers, measured_axes, kind)
    norm = np.sqrt(spread) if rule == ROOT_NORM else spread
    factor = 1 / np.where(norm < eps, eps, norm)
    parameters = no_parameters(pairs)
    apply_statistics(pairs, (*axes, array.ndim), parameters, written, zero, factor)
    return delivered(target, out, x)


def _normalized(
    x: Any,
    array: Array,
    axes: Axes,
    parameters: list[Array],
    out: Any,
    kind: int,
    rule: int,
    eps: Any,
) -> tuple[Any, Array, Array]:
    """The result, and center and factor of each group."""
    target = target_for(out, array, parameters)
    center, factor = _run(array, axes, parameters, target, kind, rule, eps)
    return delivered(target, out, x), center, factor


def _run(
    array: Array,
    axes: Axes,
    parameters: list[Array],
    target: Array,
    kind: int,
    rule: int,
    eps: Any,
) -> tuple[Array, Array]:
    eps = number(eps, "eps")
    shape = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
    center, factor = np.empty(shape), np.empty(shape)
    if array.size == 0:
        center[...] = factor[...] = np.nan
        return center, factor
    entry = entry_of("normalization", "normalize", array.dtype)
    for views in views_of(axes, [array, *parameters], [target, center, factor]):
        entry(*views, kind, rule, eps)
    return center, factor


def _by_running(
    x: Any,
    array: Array,
    running: list[Array] | None,
    parameters: list[Array],
    eps: Any,
    out: Any,
    return_stats: bool,
) -> Any:
    """Normalize channels by statistics that are given."""
    assert running is not None
    shape = (1, -1, *[1] * (array.ndim - 2))
    mean, variance = (np.asarray(x, np.float64).reshape(shape) for x in running)
    with np.errstate(divide="ignore", invalid="ignore"):
        rstd = 1 / np.sqrt(variance + number(eps, "eps"))
    target = target_for(out, array, (*parameters, *running))
    apply_statistics(array, (0, *range(2, array.ndim)), parameters, target, mean, rstd)
    result = delivered(target, out, x)
    return Normalized(result, mean.reshape(-1), rstd.reshape(-1)) if return_stats else result


def _running(
    running_mean: Any, running_var: Any, channels: int, update: bool, x: Any
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


def _update(running: list[Array], momentum: Any, mean: Array, variance: Array) -> None:
    share = number(momentum, "momentum")
    for old, new in zip(running, (mean, variance), strict=True):
        old[...] = ((1 - share) * old.astype(np.float64) + share * new).astype(old.dtype)


def _normalized_axes(array: Array, normalized_shape: Any, axis: Any) -> Axes:
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


def _parameters(array: Array, axes: Axes, weight: Any, bias: Any, lengths: Axes) -> list[Array]:
    """Weight and bias in the dtype kernels compute with, with length 1 along the other axes."""
    compute = compute_dtype(array.dtype)
    found: list[Array | None] = []
    for name, given in (("weight", weight), ("bias", bias)):
        if given is None:
            found.append(None)
            continue
        parameter = as_array(given, name)
        if kernel_name(parameter.dtype) is None or parameter.dtype.kind == "c":
            raise TypeError(f"{name} has dtype {parameter.dtype}; it must be real numbers")
        if parameter.shape != lengths:
            raise ValueError(f"{name} has shape {parameter.shape}; it must have {lengths}")
        shape = [n if i in axes else 1 for i, n in enumerate(array.shape)]
        found.append(np.ascontiguousarray(parameter, compute).reshape(shape))
    shape_of = next((x.shape for x in found if x is not None), (1,) * array.ndim)
    neutral = (1.0, -0.0)  # what leaves even the sign of zero as it is
    return [
        np.full(shape_of, value, compute) if x is None else x
        for x, value in zip(found, neutral, strict=True)
    ]


def _channels(array: Array) -> int:
    if array.ndim < 2:
        raise ValueError(f"x has shape {array.shape}; it must have (N, C, *spatial)")
    return int(array.shape[1])


def _divided(array: Array, groups: int) -> Array:
    """The array with its channels in groups."""
    items, channels, *spatial = array.shape
    return array.reshape(items, groups, channels // groups, *spatial)


def _as_pairs(array: Array) -> Array:
    """Complex numbers as pairs of real ones, along a last axis."""
    part = np.dtype(f"f{array.dtype.itemsize // 2}")
    strides = (*array.strides, part.itemsize)
    return np.lib.stride_tricks.as_strided(
        array.real, (*array.shape, 2), strides, writeable=array.flags.writeable
    ).view(part)


def _epsilon(dtype: DType) -> float:
    if dtype.name == "bfloat16":
        return 2.0**-7
    return float(np.finfo(dtype).eps)
