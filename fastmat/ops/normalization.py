"""Normalization of groups of numbers: PyTorch's functions, on kernels that reach memory's speed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.devices import also_on_gpu
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
from fastmat.ops.normalized import (
    Normalized,
    by_running,
    channels_of,
    divided,
    measured_and_normalized,
    normalize_complex,
    normalize_kept,
    normalized,
    parameters_for,
    run,
    running_statistics,
    update,
)
from fastmat.ops.statistics import (
    delivered,
    integer,
    mask_for,
    no_parameters,
    number,
    numbers_of,
    target_for,
)


@also_on_gpu
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
    >>> fm.group_norm(np.array([[1.0, 3.0, 5.0, 7.0]]), 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    array = numbers_of(x)
    channels = channels_of(array)
    groups = integer(num_groups, "num_groups")
    if groups < 1 or channels % groups:
        raise ValueError(f"num_groups is {groups}; it must divide the {channels} channels of x")
    view = divided(array, groups)
    parameters = [
        divided(parameter, groups if parameter.shape[1] > 1 else 1)
        for parameter in parameters_for(array, (1,), weight, bias, (channels,))
    ]
    target = target_for(out, array, parameters)
    axes = tuple(range(2, view.ndim))
    mean, rstd = run(
        view,
        axes,
        parameters,
        divided(target, groups),
        MOMENTS,
        MEAN_SPREAD,
        eps,
        return_stats,
    )
    result = delivered(target, out, x)
    if not return_stats:
        return result
    shape = (array.shape[0], groups)
    return Normalized(result, mean.reshape(shape), rstd.reshape(shape))


@also_on_gpu
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
    channels = channels_of(array)
    share = number(momentum, "momentum")
    running = running_statistics(running_mean, running_var, channels, use_input_stats)
    parameters = parameters_for(array, (1,), weight, bias, (channels,))
    shape = array.shape[:2]
    if not use_input_stats:
        result, mean, rstd = by_running(x, array, running, parameters, eps, out)
        stats = (np.broadcast_to(stat, shape).copy() for stat in (mean, rstd))
        return Normalized(result, *stats) if return_stats else result
    count = math.prod(array.shape[2:])
    if count == 1:
        raise ValueError(f"x has shape {array.shape}: one number of each channel has no variance")
    axes = tuple(range(2, array.ndim))
    if running is None:
        result, mean, rstd = normalized(
            x, array, axes, parameters, out, MOMENTS, MEAN_SPREAD, eps, return_stats
        )
    else:
        result, mean, rstd, spread = measured_and_normalized(x, array, axes, parameters, out, eps)
        if array.size:
            variances = spread.reshape(shape) / (count - 1)
            update(running, share, mean.reshape(shape).mean(0), variances.mean(0))
    return Normalized(result, mean.reshape(shape), rstd.reshape(shape)) if return_stats else result


@also_on_gpu
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
    mask
        bool, broadcastable to `x`, ``(N, 1, L)`` for padded sequences: True for the numbers that
        count. The others are no part of the statistics, and 0 in the result. Running statistics
        of a channel with less than two numbers that count stay as they are.
    eps, out, return_stats
        As `layer_norm`.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_stats` a named tuple
    ``(result, mean, rstd)``, statistics ``(C,)`` in float64, NaN where all is masked

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`; one number per channel only in training without a mask, no running
        statistics otherwise.

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
    >>> padded = np.array([[[1.0, 3.0, 9.0]], [[5.0, 9.0, 9.0]]])
    >>> lengths = np.array([2, 1])
    >>> fm.batch_norm(padded, training=True, mask=np.arange(3) < lengths[:, None, None]).round(3)
    array([[[-1.225,  0.   ,  0.   ]],
    <BLANKLINE>
           [[ 1.225,  0.   ,  0.   ]]])
    """
    array = numbers_of(x)
    channels = channels_of(array)
    share = number(momentum, "momentum")
    running = running_statistics(running_mean, running_var, channels, training)
    parameters = parameters_for(array, (1,), weight, bias, (channels,))
    kept = None if mask is None else mask_for(mask, array)
    if not training:
        result, mean, rstd = by_running(x, array, running, parameters, eps, out, kept)
        return Normalized(result, mean, rstd) if return_stats else result
    if kept is not None:
        return _masked_batch_norm(
            x, array, kept, running, share, parameters, eps, out, return_stats
        )
    count = array.size // max(channels, 1)
    if count == 1:
        raise ValueError(f"x has shape {array.shape}: one number of each channel has no variance")
    axes = (0, *range(2, array.ndim))
    result, mean, rstd, spread = measured_and_normalized(x, array, axes, parameters, out, eps)
    if running is not None and array.size:
        update(running, share, mean.reshape(-1), spread.reshape(-1) / (count - 1))
    return Normalized(result, mean.reshape(-1), rstd.reshape(-1)) if return_stats else result


def _masked_batch_norm(
    x: Any,
    array: Array,
    mask: Array,
    running: list[Array] | None,
    share: float,
    parameters: list[Array],
    eps: Any,
    out: Any,
    return_stats: bool,
) -> Any:
    epsilon, axes = number(eps, "eps"), (0, *range(2, array.ndim))
    target = target_for(out, array, (mask, *parameters))
    found = normalize_kept(array, mask, axes, parameters, target, epsilon)
    mean, rstd, spread, count = (statistic.reshape(-1) for statistic in found)
    if running is not None:
        update(running, share, mean, spread / np.maximum(count - 1, 1), count > 1)
    result = delivered(target, out, x)
    return Normalized(result, mean, rstd) if return_stats else result


@also_on_gpu
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
        run(array, axes, no_parameters(array), target, kind, rule, eps, False)
        return delivered(target, out, x)
    normalize_complex(array, axes, target, kind, rule, eps)
    return delivered(target, out, x)
