"""Gradients of masked reductions: vector-Jacobian products."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, native
from fastmat.core.devices import also_on_gpu
from fastmat.core.dtypes import kernel_name
from fastmat.cpu.kinds import ALIKE, DEVIATIONS, EXTREMES, TIES
from fastmat.ops.masked_groups import (
    Masked,
    counted,
    kept_shape,
    masked,
    masked_views,
    moments,
    result_shape,
    sums,
)
from fastmat.ops.statistics import delivered, entry_of, number, target_for


@also_on_gpu
def masked_sum_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    out: Any = None,
) -> Any:
    """Gradient of `masked_sum`: the cotangent where valid, otherwise 0.

    Parameters
    ----------
    cotangent
        The gradient by the result, of its shape.
    x, mask, axis, keepdims
        As they were given to the reduction. Of `x` only shape and dtype count here.
    out
        Where to store the gradient; may be `x` itself, or overlap any argument.

    Returns
    -------
    array of the shape and dtype of `x`, or float64 if that is one of integers: 0 where not valid,
    whatever the number, and where nothing is valid. A plain array for a `numpy.ma.MaskedArray`.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; a mask that is not bool; dtypes that are not real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_sum_vjp(2.0, np.zeros(3), [True, False, True])
    array([2., 0., 2.])
    """
    found, g = _arguments(cotangent, x, mask, axis, keepdims)
    return _written(found, np.zeros(g.shape), g, ALIKE, out, x)


@also_on_gpu
def masked_mean_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    out: Any = None,
) -> Any:
    """Gradient of `masked_mean`: the cotangent over the number of valid values.

    Parameters
    ----------
    cotangent, x, mask, axis, keepdims, out
        As `masked_sum_vjp`.

    Returns
    -------
    array, see `masked_sum_vjp`

    Raises
    ------
    ValueError, TypeError
        As `masked_sum_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_mean_vjp(1.0, np.zeros(3), [True, False, True])
    array([0.5, 0. , 0.5])
    """
    found, g = _arguments(cotangent, x, mask, axis, keepdims)
    count = counted(found)
    return _written(found, np.zeros(g.shape), g / np.maximum(count, 1), ALIKE, out, x)


@also_on_gpu
def masked_var_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    out: Any = None,
) -> Any:
    """Gradient of `masked_var`: ``cotangent * 2 * (x - mean) / (count - correction)``.

    Parameters
    ----------
    cotangent, x, mask, axis, keepdims, out
        As `masked_sum_vjp`.
    correction
        As it was given to the reduction.

    Returns
    -------
    array, see `masked_sum_vjp`

    Raises
    ------
    ValueError, TypeError
        As `masked_sum_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_var_vjp(1.0, [1.0, 3.0, np.nan], [True, True, False])
    array([-1.,  1.,  0.])
    """
    found, g = _arguments(cotangent, x, mask, axis, keepdims)
    less = number(correction, "correction")
    mean, _, count = moments(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = g * (2 / np.maximum(count - less, 0))
    return _written(found, mean, factor, DEVIATIONS, out, x)


@also_on_gpu
def masked_std_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    out: Any = None,
) -> Any:
    """Gradient of `masked_std`: ``cotangent * (x - mean) / (count - correction) / std``.

    Parameters
    ----------
    cotangent, x, mask, axis, keepdims, correction, out
        As `masked_var_vjp`.

    Returns
    -------
    array, see `masked_sum_vjp`; 0 where the deviation is 0, as in PyTorch

    Raises
    ------
    ValueError, TypeError
        As `masked_sum_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_std_vjp(1.0, [1.0, 3.0, np.nan], [True, True, False])
    array([-0.5,  0.5,  0. ])
    """
    found, g = _arguments(cotangent, x, mask, axis, keepdims)
    less = number(correction, "correction")
    mean, total, count = moments(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.maximum(count - less, 0)
        factor = np.where(total == 0, 0.0, g / (left * np.sqrt(total / left)))
    return _written(found, mean, factor, DEVIATIONS, out, x)


@also_on_gpu
def masked_min_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    result: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    out: Any = None,
) -> Any:
    """Gradient of `masked_min`: the cotangent, shared evenly by the valid numbers that are least.

    Parameters
    ----------
    cotangent, x, mask, axis, keepdims, out
        As `masked_sum_vjp`; `x` is read.
    result
        What the reduction returned. Where that was its `initial`, and no valid number equals it,
        the gradient is 0.

    Returns
    -------
    array, see `masked_sum_vjp`

    Raises
    ------
    ValueError, TypeError
        As `masked_sum_vjp`.

    Notes
    -----
    Ties share the cotangent evenly, as with ``torch.amin``. Where the result is NaN, the numbers
    that are NaN share it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x, mask = np.array([4.0, 1.0, 2.0, 2.0]), [True, False, True, True]
    >>> fm.masked_min_vjp(1.0, x, mask, fm.masked_min(x, mask))
    array([0. , 0. , 0.5, 0.5])
    """
    return _extreme_vjp(cotangent, x, mask, result, axis, keepdims, out)


@also_on_gpu
def masked_max_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    result: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    out: Any = None,
) -> Any:
    """Gradient of `masked_max`: the cotangent, shared evenly by the valid numbers that are largest.

    Parameters
    ----------
    cotangent, x, mask, result, axis, keepdims, out
        As `masked_min_vjp`.

    Returns
    -------
    array, see `masked_sum_vjp`

    Raises
    ------
    ValueError, TypeError
        As `masked_sum_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x, mask = np.array([4.0, 9.0, 2.0]), [True, False, True]
    >>> fm.masked_max_vjp(1.0, x, mask, fm.masked_max(x, mask))
    array([1., 0., 0.])
    """
    return _extreme_vjp(cotangent, x, mask, result, axis, keepdims, out)


def _extreme_vjp(
    cotangent: Any, x: Any, mask: Any, result: Any, axis: Any, keepdims: bool, out: Any
) -> Any:
    found, g = _arguments(cotangent, x, mask, axis, keepdims)
    extreme = _of_groups(result, "result", found, keepdims)
    ties, _ = sums(found, TIES, extreme)
    return _written(found, extreme, g / np.maximum(ties, 1), EXTREMES, out, x)


def _arguments(
    cotangent: Any, x: Any, mask: Any, axis: Any, keepdims: bool
) -> tuple[Masked, Array]:
    """Numbers and mask, and the cotangent in float64 with all axes."""
    found = masked(x, mask, axis)
    if found.array.dtype.kind == "c":
        raise TypeError(f"x has dtype {found.array.dtype}; it must be real")
    if found.array.dtype.kind in "biu":
        found = found._replace(array=found.array.astype(np.float64))
    return found, _of_groups(cotangent, "cotangent", found, keepdims)


def _of_groups(given: Any, name: str, found: Masked, keepdims: bool) -> Array:
    """One number for each group, in float64; what a `numpy.ma.MaskedArray` masks is 0."""
    array = as_array(
        np.ma.filled(given, 0) if isinstance(given, np.ma.MaskedArray) else given, name
    )
    if kernel_name(array.dtype) is None or array.dtype.kind == "c":
        raise TypeError(f"{name} has dtype {array.dtype}; it must be real numbers")
    shape = result_shape(found, keepdims)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it must have {shape}, as the result")
    return np.ascontiguousarray(native(array), np.float64).reshape(kept_shape(found))


def _written(found: Masked, center: Array, factor: Array, kind: int, out: Any, x: Any) -> Any:
    """The gradient of the shape of x."""
    array = found.array
    target = target_for(out, array, (found.mask, center, factor))
    if array.size:
        entry = entry_of("masked_gradients", "spread_cotangent", array.dtype)
        for a, m, middle, scale, y in masked_views(found, [center, factor], [target]):
            entry(a, m, middle, scale, y, kind)
    return delivered(target, out, x)
