"""What masked reductions should give, in plain NumPy, and how far off they may be.

Never imports fastmat. Numbers that are not valid are replaced before anything is computed, and
floats are added up in long double.
"""

from typing import NamedTuple

import numpy as np
from normal_oracles import Moments, axes_of, result_dtype, wide
from tolerances import moments_bounds, rounding_bound

REDUCTIONS = ("sum", "mean", "var", "std", "min", "max", "count")
PLACES = ("argmin", "argmax")


class Reduced(NamedTuple):
    """A result, how far off it may be, and its dtype."""

    value: np.ndarray
    bound: np.ndarray
    dtype: np.dtype


def _full(x, mask):
    x = np.asarray(x)
    return x, np.broadcast_to(mask, x.shape)


def _moments(x, mask, axes, correction):
    """Mean and variance of valid numbers, with bounds as `tolerances.moments_bounds` has them."""
    keep = {"axis": axes, "keepdims": True}
    numbers = wide(x)
    n = mask.sum(**keep)
    with np.errstate(all="ignore"):
        chosen = np.where(mask, numbers, 0)
        mean = chosen.sum(**keep) / n
        size = np.abs(chosen).sum(**keep) / n
        apart = np.where(mask, numbers - mean, 0)
        total = (apart.real**2 + apart.imag**2).sum(**keep)
        variance = total / np.maximum(n - np.longdouble(correction), 0)
    dtype = result_dtype(x)
    real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    return Moments(mean, variance, size, n, (dtype, real)), total / np.maximum(n, 1), n


def reduce(op, x, mask, axis=None, keepdims=False, *, correction=0, initial=None):
    """The value of a reduction, the bound on its error, and the dtype of the result."""
    x, mask = _full(x, mask)
    axes = axes_of(axis, x.ndim)
    if op == "count":
        value = mask.sum(axis=axes, keepdims=keepdims, dtype=np.intp)
        return Reduced(value, np.zeros(value.shape), np.dtype(np.intp))
    if op in ("min", "max"):
        found = _extreme(op, x, mask, axes, initial)
    elif op == "sum":
        found = _sum(x, mask, axes, 0 if initial is None else initial)
    else:
        found = _of_moments(op, x, mask, axes, correction)
    if keepdims:
        return found
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return found._replace(value=found.value.reshape(shape), bound=found.bound.reshape(shape))


def _sum(x, mask, axes, initial):
    keep = {"axis": axes, "keepdims": True}
    if x.dtype.kind in "biu":
        dtype = np.dtype(np.uint64 if x.dtype.kind == "u" else np.int64)
        value = np.where(mask, x, 0).sum(dtype=dtype, **keep) + dtype.type(initial)
        return Reduced(value, np.zeros(value.shape), dtype)
    dtype = result_dtype(x)
    with np.errstate(all="ignore"):
        chosen = np.where(mask, wide(x), 0)
        value = chosen.sum(**keep) + wide(np.asarray(initial, dtype))
        size = np.abs(chosen).sum(**keep) + np.abs(initial)
        bound = 2 * (mask.sum(**keep) + 1) * np.longdouble(np.finfo("f8").eps) * size
        real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
        return Reduced(value, rounding_bound(np.abs(value), bound, real), dtype)


def _of_moments(op, x, mask, axes, correction):
    found, spread, n = _moments(x, mask, axes, correction)
    with np.errstate(all="ignore"):
        mean, variance = moments_bounds(found)
        if op == "mean":
            return Reduced(found.mean, mean, found.dtypes[0])
        if correction:  # the bound is on the sum of squares over n
            share = n / np.maximum(n - np.longdouble(correction), 0)
            plain = found._replace(variance=spread)
            variance = rounding_bound(
                found.variance, moments_bounds(plain)[1] * share, found.dtypes[1]
            )
        if op == "var":
            return Reduced(found.variance, variance, found.dtypes[1])
        root = np.sqrt(found.variance)
        # |sqrt(a) - sqrt(b)| <= sqrt(|a - b|), and <= |a - b| / sqrt(a)
        bound = np.fmin(np.sqrt(variance), variance / root)
        return Reduced(root, rounding_bound(root, bound, found.dtypes[1]), found.dtypes[1])


def _ends(x):
    """What no number of an array is above, and below."""
    if x.dtype.kind == "b":
        return True, False
    if x.dtype.kind in "iu":
        return np.iinfo(x.dtype).max, np.iinfo(x.dtype).min
    return np.inf, -np.inf


def _keys(op, x, mask):
    """Numbers in a dtype that NumPy orders, what is not valid at the far end."""
    end = _ends(x)[0 if op.endswith("min") else 1]
    numbers = x if x.dtype.kind in "biu" else wide(x)
    return np.where(mask, numbers, numbers.dtype.type(end))


def _extreme(op, x, mask, axes, initial):
    """Of a slice without a valid number it is `initial`, which must be given then."""
    end = np.asarray(_ends(x)[0 if op == "min" else 1])
    start = end if initial is None else np.asarray(initial, x.dtype)
    keys = _keys(op, x, mask)
    value = getattr(np, op)(keys, axis=axes, keepdims=True, initial=start.astype(keys.dtype))
    dtype = x.dtype.newbyteorder("=")
    return Reduced(value, np.zeros(value.shape), dtype)


def place(op, x, mask, axis=None, keepdims=False):
    """The first place of the extreme number that is valid; of a slice with a valid number."""
    x, mask = _full(x, mask)
    keys = _keys(op, x, mask)
    extreme = getattr(np, op[3:])(keys, axis=axis, keepdims=True)
    hit = mask & ((keys == extreme) | ((keys != keys) & (extreme != extreme)))
    return np.argmax(hit, axis=axis, keepdims=keepdims)


def gradient(op, g, x, mask, axis=None, keepdims=False, *, correction=0, result=None):
    """The gradient in long double, and the size of its terms before anything cancels."""
    x, mask = _full(x, mask)
    axes = axes_of(axis, x.ndim)
    numbers = wide(x)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    g = wide(g).reshape(kept)
    found, spread, n = _moments(x, mask, axes, correction)
    with np.errstate(all="ignore"):
        if op == "sum":
            value = size = g * np.ones(x.shape)
        elif op == "mean":
            value = size = g / n * np.ones(x.shape)
        elif op in ("var", "std"):
            left = np.maximum(n - np.longdouble(correction), 0)
            factor = 2 * g / left
            if op == "std":
                root = np.sqrt(found.variance)
                factor = np.where(spread == 0, 0, g / left / root)
            value = factor * (numbers - found.mean)
            size = np.abs(factor) * (np.abs(numbers) + found.size)
        else:
            extreme = wide(result).reshape(kept)
            hit = mask & ((numbers == extreme) | ((numbers != numbers) & (extreme != extreme)))
            value = np.where(hit, g / np.maximum(hit.sum(axes, keepdims=True), 1), 0)
            size = value
    return np.where(mask, value, 0), np.where(mask, np.abs(size), 0)
