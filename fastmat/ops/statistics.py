"""What the operations on groups of numbers share: arguments, statistics, results."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.checks import check_out
from fastmat.core.dtypes import DType, kernel_name, unsupported
from fastmat.ops.groups import ScatteredError, grouped

Axes = tuple[int, ...]

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
# Weight and bias that leave everything as it is, in the dtypes that are computed with.
_NEUTRAL = {dtype: (np.array(1, dtype), np.array(-0.0, dtype)) for dtype in (_SINGLE, _DOUBLE)}

_entries: dict[tuple[str, Any], Callable[..., None]] = {}


def measured(array: Array, axes: Axes, kind: int) -> tuple[Array, Array]:
    """Center and spread in float64 of the groups over some axes, which are kept with length 1."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
    center, spread = np.full(shape, np.nan), np.full(shape, np.nan)
    if array.size:
        for views in views_of(axes, [array], [center, spread]):
            entry_of("moments", "statistics", array.dtype)(*views, kind)
    return center, spread


def masked_moments(array: Array, mask: Array, axes: Axes) -> tuple[Array, Array, Array]:
    """Mean, sum of squares of deviations from it, and number of what a mask keeps, as `measured`.

    Groups of which nothing is kept have NaN, NaN and 0.
    """
    shape = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
    center, spread, count = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
    if array.size:
        entry = entry_of("masked_moments", "masked_moments", array.dtype)
        for views in views_of(axes, [array, mask], [center, spread, count]):
            entry(*views)
    return center, spread, count


def apply_statistics(
    array: Array,
    axes: Axes,
    parameters: list[Array],
    target: Array,
    center: Array,
    factor: Array,
    mask: Array | None = None,
    activation: int = 0,
) -> None:
    """Normalize by statistics that are known; 0 where it is masked."""
    if array.size == 0:
        return
    if mask is None:
        entry, inputs = entry_of("normalization", "affine", array.dtype), [array, *parameters]
    else:
        inputs = [array, mask, *parameters]
        name = "masked_affine_and_map" if activation else "masked_affine"
        entry = entry_of("masked_normalization", name, array.dtype)
    how = (activation,) if activation else ()
    for views in views_of(axes, inputs, [target], [center, factor]):
        entry(*views, *how)


def views_of(
    axes: Axes, inputs: list[Array], outputs: list[Array], more: list[Array] | None = None
) -> Iterator[tuple[Array, ...]]:
    """The arrays as kernels take them; by way of a copy where axes are too scattered."""
    try:
        yield from grouped(axes, *inputs, *outputs, *(more or []))
    except ScatteredError:
        copies = [_side_by_side(x, inputs[0].shape, axes) for x in (*inputs, *outputs)]
        yield from grouped(axes, *copies, *(more or []))
        for output, copy in zip(outputs, copies[len(inputs) :], strict=True):
            output[...] = copy


def _side_by_side(x: Array, shape: tuple[int, ...], axes: Axes) -> Array:
    """A copy in whose memory the numbers of a group lie side by side."""
    if any(x.shape[i] > 1 for i in axes):
        full = [shape[i] if i in axes else n for i, n in enumerate(x.shape)]
        x = np.broadcast_to(x, full)
    order = [*(i for i in range(x.ndim) if i not in axes), *axes]
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def entry_of(module: str, kernel: str, dtype: DType) -> Callable[..., None]:
    """The entry point of a kernel for a dtype."""
    entry = _entries.get((kernel, dtype))
    if entry is None:
        found = getattr(importlib.import_module(f"fastmat.cpu.{module}"), kernel)
        entry = _entries[kernel, dtype] = found.entry(dtype)
    return entry


def numbers_of(x: Any, complex_too: bool = False, name: str = "x") -> Array:
    """`x` as an array of floating numbers that kernels can read."""
    array = as_array(x, name)
    if kernel_name(array.dtype) is None:
        raise unsupported(name, array.dtype)
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.kind == "c" and not complex_too:
        raise TypeError(f"{name} has dtype {array.dtype}; it must be real")
    return native(array)


def converted(given: Any, name: str, array: Array) -> Array:
    """An argument of the shape and dtype of x, converted from another dtype of real numbers."""
    found = as_array(given, name)
    if kernel_name(found.dtype) is None or (found.dtype.kind == "c" and array.dtype.kind != "c"):
        raise TypeError(f"{name} has dtype {found.dtype}; it must be real numbers")
    if found.shape != array.shape:
        raise ValueError(f"{name} has shape {found.shape}; it must have {array.shape}, as x")
    return native(found).astype(array.dtype, copy=False)


def mask_for(given: Any, array: Array, name: str = "x") -> Array:
    """A mask in as many axes as x, of length 1 where it is alike."""
    found = as_array(given, "mask")
    if found.dtype != np.bool_:
        raise TypeError(f"mask has dtype {found.dtype}; it must be bool")
    missing = array.ndim - found.ndim
    shape = (1,) * missing + found.shape
    if missing < 0 or any(n not in (1, m) for n, m in zip(shape, array.shape, strict=True)):
        raise ValueError(
            f"mask has shape {found.shape}; it must broadcast to {array.shape}, the shape of {name}"
        )
    return found.reshape(shape)


def target_for(out: Any, array: Array, others: Any) -> Array:
    """Where to compute the result: `out` itself, if kernels can write it as they read `array`.

    `others` are the arrays that are still read, or written, while the result is stored.
    """
    if out is None:
        return np.empty(array.shape, array.dtype)
    target = check_out(out, array.shape, array.dtype)
    if target.dtype != array.dtype or not target.flags.aligned:
        return np.empty(array.shape, array.dtype)
    read = [np.asarray(x) for x in others if x is not None]
    if not _is_same(target, array):
        read.append(array)
    if any(np.may_share_memory(target, x) for x in read):
        return np.empty(array.shape, array.dtype)
    return target


def _is_same(x: Array, y: Array) -> bool:
    """Whether two arrays of one shape and dtype have each item in the same place."""
    if x is y:
        return True
    if not np.may_share_memory(x, y):
        return False
    same_start = x.__array_interface__["data"] == y.__array_interface__["data"]
    return same_start and x.strides == y.strides


def delivered(target: Array, out: Any, x: Any) -> Any:
    """The result as the caller wants it."""
    if out is None:
        return like(target, x)
    destination = out if isinstance(out, np.ndarray) else np.from_dlpack(out)
    if not np.may_share_memory(destination, target):
        np.copyto(destination, target, casting="same_kind")
    return out


def integer(value: Any, name: str) -> int:
    """The argument of this name as an integer."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an integer") from None


def number(value: Any, name: str) -> float:
    """The argument of this name as a number."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; it must be a number") from None


def compute_dtype(dtype: DType) -> DType:
    """What kernels compute with for numbers of this dtype."""
    return _DOUBLE if dtype == _DOUBLE else _SINGLE


def no_parameters(array: Array) -> list[Array]:
    """Weight and bias that leave everything as it is, even the sign of zero."""
    shape = (1,) * array.ndim
    return [single.reshape(shape) for single in _NEUTRAL[compute_dtype(array.dtype)]]
