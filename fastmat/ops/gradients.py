"""Gradients of normalizations: vector-Jacobian products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.devices import also_on_gpu
from fastmat.cpu.kinds import (
    CENTERED,
    GIVEN,
    LARGEST,
    MAGNITUDES,
    OF_LARGEST,
    OF_MAGNITUDES,
    OF_NORM,
    SCALED,
    SQUARES,
)
from fastmat.ops.differentiated import (
    Gradients,
    ScaleGradients,
    channel_gradients,
    cotangent_for,
    delivered_gradients,
    gradients,
    kept_shape,
    masked_gradients,
    no_weight,
    statistic,
    target_of_gradient,
    together,
    weight_for,
)
from fastmat.ops.groups import normalized_axes
from fastmat.ops.normalized import as_pairs, channels_of, divided, last_axes
from fastmat.ops.statistics import (
    delivered,
    integer,
    mask_for,
    measured,
    number,
    numbers_of,
)


@also_on_gpu
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
    """Gradients of `layer_norm` by x, weight and bias.

    Parameters
    ----------
    cotangent
        The gradient by the result, of the shape of `x`.
    x
        What was normalized.
    mean, rstd
        What the normalization returned with ``return_stats=True``.
    normalized_shape, weight, axis, mask
        As they were given to it. Without a weight there are no gradients by weight and bias; if
        there is a bias only, give ones. The gradient by what is masked is 0, and the cotangent
        there counts for nothing.
    out
        Where to store the gradient by x; may be `x` or `cotangent` itself, or overlap any
        argument.

    Returns
    -------
    named tuple ``(x, weight, bias)``: gradients of the shapes and dtypes of `x` and `weight`, or
    None without a weight

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; dtypes that are not real numbers.

    Notes
    -----
    With g = cotangent * weight and the normalized numbers y, the gradient by x is
    ``(g - mean(g) - y * mean(g * y)) * rstd``; that by the weight is the sum of cotangent * y over
    the groups, that by the bias the sum of the cotangent. Sums are held in float64, and groups
    that fit into the cache are read from memory once.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x, weight = np.array([[1.0, 2.0, 6.0]]), np.ones(3)
    >>> y, mean, rstd = fm.layer_norm(x, 3, weight, return_stats=True)
    >>> by_x, by_weight, by_bias = fm.layer_norm_vjp([[1.0, 0.0, 0.0]], x, mean, rstd, 3, weight)
    >>> by_x.round(3)
    array([[ 0.176, -0.22 ,  0.044]])
    """
    arrays = cotangent, x, mean, rstd
    return _last_axes_vjp(CENTERED, *arrays, normalized_shape, weight, axis, mask, out)


@also_on_gpu
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
    """Gradients of `rms_norm` by x and weight.

    Parameters
    ----------
    cotangent, x, rstd, normalized_shape, weight, axis, out
        As `layer_norm_vjp`.

    Returns
    -------
    named tuple ``(x, weight)``, see `layer_norm_vjp`

    Raises
    ------
    ValueError, TypeError
        As `layer_norm_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([3.0, 4.0])
    >>> y, _, rstd = fm.rms_norm(x, 2, return_stats=True)
    >>> fm.rms_norm_vjp([1.0, 0.0], x, rstd, 2).x.round(3)
    array([ 0.181, -0.136])
    """
    arrays = cotangent, x, None, rstd
    found = _last_axes_vjp(SCALED, *arrays, normalized_shape, weight, axis, None, out)
    return ScaleGradients(found.x, found.weight)


def _last_axes_vjp(
    kind: int,
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
    g = cotangent_for(cotangent, array)
    axes = last_axes(array, normalized_shape, axis)
    lengths = tuple(array.shape[i] for i in axes)
    w, shape = weight_for(array, axes, weight, lengths), kept_shape(array, axes)
    center = np.zeros(shape) if kind == SCALED else statistic(mean, "mean", shape, shape)
    statistics = center, statistic(rstd, "rstd", shape, shape)
    kept = None if mask is None else mask_for(mask, array)
    target = target_of_gradient(out, array, g, [w, *statistics, kept])
    how = axes, w, statistics, target, kind, weight is not None
    if kept is None:
        found = gradients(g, array, *how)
    else:
        found = masked_gradients(g, array, kept, *how)
    return delivered_gradients(target, out, x, weight, lengths, found)


@also_on_gpu
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
    """Gradients of `group_norm` by x, weight and bias.

    Parameters
    ----------
    cotangent, x, out
        As `layer_norm_vjp`.
    num_groups, weight
        As they were given to `group_norm`.
    mean, rstd
        ``(N, num_groups)``, what it returned with ``return_stats=True``.

    Returns
    -------
    named tuple ``(x, weight, bias)``, see `layer_norm_vjp`

    Raises
    ------
    ValueError, TypeError
        As `layer_norm_vjp`; a number of groups that does not divide the channels.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x, weight = np.array([[1.0, 3.0, 5.0, 7.0]]), np.ones(4)
    >>> y, mean, rstd = fm.group_norm(x, 2, weight, return_stats=True)
    >>> fm.group_norm_vjp(np.ones((1, 4)), x, 2, mean, rstd, weight).bias
    array([1., 1., 1., 1.])
    """
    array = numbers_of(x)
    g = cotangent_for(cotangent, array)
    channels, groups = channels_of(array), integer(num_groups, "num_groups")
    if groups < 1 or channels % groups:
        raise ValueError(f"num_groups is {groups}; it must divide the {channels} channels of x")
    w = weight_for(array, (1,), weight, (channels,))
    shape = array.shape[0], groups
    kept = (*shape, *[1] * (array.ndim - 1))
    statistics = statistic(mean, "mean", shape, kept), statistic(rstd, "rstd", shape, kept)
    target = target_of_gradient(out, array, g, [w, *statistics])
    view, g_view, target_view = (divided(part, groups) for part in (array, g, target))
    inputs = [view, g_view, divided(w, groups if w.shape[1] > 1 else 1), *statistics]
    found = np.zeros(inputs[2].shape), np.zeros(inputs[2].shape)
    axes = tuple(range(2, view.ndim))
    if array.size and not together(inputs, axes, target_view, list(found), CENTERED):
        center, factor = (np.repeat(part[:, :, 0], channels // groups, 1) for part in statistics)
        places = tuple(range(2, array.ndim))
        own = center, factor
        wanted = weight is not None
        found = channel_gradients(g, array, places, w, own, target, True, wanted, groups)
    return delivered_gradients(target, out, x, weight, (channels,), found)


@also_on_gpu
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
    """Gradients of `instance_norm` by x, weight and bias.

    Parameters
    ----------
    cotangent, x, out
        As `layer_norm_vjp`.
    mean, rstd
        ``(N, C)``, what `instance_norm` returned with ``return_stats=True``.
    weight, use_input_stats
        As they were given to it.

    Returns
    -------
    named tuple ``(x, weight, bias)``, see `layer_norm_vjp`

    Raises
    ------
    ValueError, TypeError
        As `layer_norm_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[[1.0, 2.0, 6.0]]])
    >>> y, mean, rstd = fm.instance_norm(x, return_stats=True)
    >>> fm.instance_norm_vjp([[[1.0, 0.0, 0.0]]], x, mean, rstd).x.round(3)
    array([[[ 0.176, -0.22 ,  0.044]]])
    """
    array = numbers_of(x)
    g = cotangent_for(cotangent, array)
    channels = channels_of(array)
    w = weight_for(array, (1,), weight, (channels,))
    axes, shape = tuple(range(2, array.ndim)), array.shape[:2]
    kept = kept_shape(array, axes)
    statistics = statistic(mean, "mean", shape, kept), statistic(rstd, "rstd", shape, kept)
    target = target_of_gradient(out, array, g, [w, *statistics])
    kind = CENTERED if use_input_stats else GIVEN
    inputs, found = [array, g, w, *statistics], (np.zeros(w.shape), np.zeros(w.shape))
    if array.size and not together(inputs, axes, target, list(found), kind):
        wanted = weight is not None
        found = channel_gradients(g, array, axes, w, statistics, target, use_input_stats, wanted)
    return delivered_gradients(target, out, x, weight, (channels,), found)


@also_on_gpu
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
    """Gradients of `batch_norm` by x, weight and bias.

    Parameters
    ----------
    cotangent, x, out
        As `layer_norm_vjp`.
    mean, rstd
        ``(C,)``, what `batch_norm` returned with ``return_stats=True``.
    weight, training, mask
        As they were given to it.

    Returns
    -------
    named tuple ``(x, weight, bias)``, see `layer_norm_vjp`

    Raises
    ------
    ValueError, TypeError
        As `layer_norm_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0], [2.0], [6.0]])
    >>> y, mean, rstd = fm.batch_norm(x, training=True, return_stats=True)
    >>> fm.batch_norm_vjp([[1.0], [0.0], [0.0]], x, mean, rstd, training=True).x.round(3)
    array([[ 0.176],
           [-0.22 ],
           [ 0.044]])
    """
    array = numbers_of(x)
    g = cotangent_for(cotangent, array)
    channels = channels_of(array)
    w = weight_for(array, (1,), weight, (channels,))
    kept = (1, channels, *[1] * (array.ndim - 2))
    shape = (channels,)
    statistics = statistic(mean, "mean", shape, kept), statistic(rstd, "rstd", shape, kept)
    marked = None if mask is None else mask_for(mask, array)
    target = target_of_gradient(out, array, g, [w, *statistics, marked])
    axes = (0, *range(2, array.ndim))
    how = statistics, target, training, weight is not None
    found = channel_gradients(g, array, axes, w, *how, mask=marked)
    return delivered_gradients(target, out, x, weight, shape, found)


@also_on_gpu
def normalize_vjp(
    cotangent: Any, x: Any, ord: Any = 2, axis: Any = -1, eps: float = 1e-12, *, out: Any = None
) -> Any:
    """Gradient of `normalize`.

    Parameters
    ----------
    cotangent, x, out
        As `layer_norm_vjp`; complex numbers, too, if `ord` is 2, with the convention of PyTorch.
    ord, axis, eps
        As they were given to `normalize`.

    Returns
    -------
    array of the shape and dtype of `x`. What flows back through the largest magnitude (`ord`
    infinity) is shared by all numbers that have it; a norm less than `eps` counts as constant.

    Raises
    ------
    ValueError, TypeError
        As `layer_norm_vjp` and `normalize`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.normalize_vjp([1.0, 0.0], [3.0, 4.0]).round(3)
    array([ 0.128, -0.096])
    """
    kinds = {1: (MAGNITUDES, OF_MAGNITUDES), 2: (SQUARES, OF_NORM), math.inf: (LARGEST, OF_LARGEST)}
    if not isinstance(ord, int | float) or ord not in kinds:
        raise ValueError(f"ord is {ord!r}; it must be 1, 2 or infinity")
    measure, kind = kinds[ord]
    array = numbers_of(x, complex_too=True)
    is_complex = array.dtype.kind == "c"
    if is_complex and ord != 2:
        raise TypeError(f"x has dtype {array.dtype}; with ord={ord} it must be real")
    g = cotangent_for(cotangent, array)
    axes, least = normalized_axes(axis, array.ndim), number(eps, "eps")
    target = target_of_gradient(out, array, g, [])
    written = target
    if is_complex:
        axes = (*axes, array.ndim)
        g, array, written = (as_pairs(part) for part in (g, array, target))
    zero, spread = measured(array, axes, measure)
    norm = np.sqrt(spread) if ord == 2 else spread
    with np.errstate(divide="ignore"):
        factor = 1 / np.where(norm < least, least, norm)
    statistics = (norm if kind == OF_LARGEST else zero), factor
    gradients(g, array, axes, no_weight(array), statistics, written, kind, False, least)
    return delivered(target, out, x)
