"""Normalization over the last axes, alone or fused with what comes before it and after it."""

from __future__ import annotations

from typing import Any

from fastmat.core.arrays import Array
from fastmat.core.devices import also_on_gpu
from fastmat.cpu.kinds import MEAN_SPREAD, MOMENTS, SQUARES
from fastmat.ops.activations import map_address
from fastmat.ops.normalized import (
    Normalized,
    NormalizedSum,
    SumStatistics,
    empty_statistics,
    epsilon,
    last_axes,
    normalize_kept,
    normalized,
    parameters_for,
)
from fastmat.ops.statistics import (
    Axes,
    converted,
    delivered,
    entry_of,
    mask_for,
    number,
    numbers_of,
    target_for,
    views_of,
)


@also_on_gpu
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
        and `bias` have the lengths of these axes, in the order that they have in `x`.
    mask
        bool, broadcastable to `x`: True for the numbers that count. The others are no part of
        the statistics, and 0 in the result, whatever they are.
    residual
        Added to `x` before all else, of the same shape; the sum is returned, too.
    activation
        Applied to the result: ``"relu"``, ``"gelu"``, ``"silu"``, or a function of one number
        compiled by `numba.njit`, in which a division by zero gives what it gives in arrays.
    out
        Where to store the result; may be `x` itself, or overlap any argument. With `residual` a
        pair of such arrays or None, for result and sum; the sum may be `residual` itself.
    return_stats
        Whether to return mean and 1 / sqrt(variance + eps) of the groups as well.

    Returns
    -------
    array of the shape and dtype of `x`, or a named tuple of what was asked for: ``result``, the
    ``sum`` with a residual, and ``mean`` and ``rstd`` with `return_stats`, statistics in float64
    with length 1 along the normalized axes, NaN where all is masked

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; dtypes that are not real numbers; a mask that is not bool; an
        activation that is neither known nor compiled.

    Notes
    -----
    Statistics are held in float64: see `fastmat.moments`. NaN and infinities stay in their group.
    The sum is rounded to the dtype of `x`, and normalized while it is in the cache. The numbers
    that an activation gets are float64 if `x` is, otherwise float32; ``"gelu"`` is
    ``y * (1 + erf(y / sqrt(2))) / 2``, and ``"silu"`` ``y / (1 + exp(-y))``.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", 2016, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 7.0]])
    >>> fm.layer_norm(x, 3, eps=0.0).round(3)
    array([[-1.225,  0.   ,  1.225],
           [-0.707, -0.707,  1.414]])
    >>> result, total = fm.layer_norm(x, 3, residual=np.ones((2, 3)), activation="relu")
    >>> total
    array([[2., 3., 4.],
           [5., 5., 8.]])
    """
    return _last_axes_norm(
        MOMENTS,
        x,
        normalized_shape,
        (weight, bias),
        eps,
        axis,
        mask,
        residual,
        activation,
        out,
        return_stats,
    )


@also_on_gpu
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
    """Divide by the root of the mean square over the last axes, as `torch.nn.functional.rms_norm`.

    ``x / sqrt(mean(x**2) + eps) * weight``

    Parameters
    ----------
    x, normalized_shape, weight, axis, residual, activation, out, return_stats
        As `layer_norm`.
    eps
        Added to the mean square; by default the machine epsilon of the dtype of `x`.

    Returns
    -------
    as `layer_norm`, where mean is 0 and rstd is 1 / sqrt(mean(x**2) + eps)

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
    return _last_axes_norm(
        SQUARES,
        x,
        normalized_shape,
        (weight, None),
        eps,
        axis,
        None,
        residual,
        activation,
        out,
        return_stats,
    )


def _last_axes_norm(
    kind: int,
    x: Any,
    normalized_shape: Any,
    weight_and_bias: tuple[Any, Any],
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
    parameters = parameters_for(array, axes, *weight_and_bias, lengths)
    eps = epsilon(array.dtype) if eps is None else number(eps, "eps")
    address = map_address(activation, array.dtype)
    kept = None if mask is None else mask_for(mask, array)
    if residual is None and kept is not None:
        target = target_for(out, array, (kept, *parameters))
        mean, rstd, *_ = normalize_kept(array, kept, axes, parameters, target, eps, address)
        result = delivered(target, out, x)
        return Normalized(result, mean, rstd) if return_stats else result
    if residual is None:
        found = normalized(
            x, array, axes, parameters, out, kind, MEAN_SPREAD, eps, return_stats, address
        )
        return Normalized(*found) if return_stats else found[0]
    result, total, *statistics = _sum_normalized(
        x,
        array,
        residual,
        kept,
        axes,
        parameters,
        out,
        (kind, MEAN_SPREAD, eps, address),
        return_stats,
    )
    if return_stats:
        return SumStatistics(result, total, *statistics)
    return NormalizedSum(result, total)


def _sum_normalized(
    x: Any,
    array: Array,
    residual: Any,
    mask: Array | None,
    axes: Axes,
    parameters: list[Array],
    out: Any,
    how: tuple[Any, ...],
    keep: bool,
) -> tuple[Any, Any, Array, Array]:
    """Result, sum, and center and factor of each group."""
    added = converted(residual, "residual", array)
    if out is not None and not (isinstance(out, tuple | list) and len(out) == 2):
        raise TypeError(f"out is {type(out).__name__}; with a residual it must be a pair of arrays")
    for_result, for_sum = out or (None, None)
    if for_result is not None and for_result is for_sum:
        raise ValueError("out is the same array twice; result and sum need one each")
    target = target_for(for_result, array, (added, *parameters, for_sum, mask))
    total = target_for(for_sum, added, (array, *parameters, for_result, mask))
    center, factor = empty_statistics(array, axes, keep)
    if mask is not None:
        if array.size:
            for views in views_of(axes, [array, added], [total]):
                entry_of("addition", "add", array.dtype)(*views)
        _, _, eps, address = how
        found = normalize_kept(total, mask, axes, parameters, target, eps, address)
        center, factor = found[:2]
    elif array.size:
        entry = entry_of("layer_norm", "normalize_sum", array.dtype)
        inputs, outputs = [array, added, *parameters], [target, total]
        for views in views_of(axes, inputs, [*outputs, center, factor]):
            entry(*views, *how)
    return delivered(target, for_result, x), delivered(total, for_sum, x), center, factor
