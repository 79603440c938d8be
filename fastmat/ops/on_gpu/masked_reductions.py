"""Reductions of the numbers that a mask says are valid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.dtypes import DType, dtype_named
from fastmat.cuda import arrays
from fastmat.cuda.arrays import View
from fastmat.cuda.reductions_masked import program
from fastmat.ops.groups import normalized_axes
from fastmat.ops.masked_groups import scalar
from fastmat.ops.on_gpu.groups import floating, reduced
from fastmat.ops.statistics import number

_BFLOAT16 = "bfloat16"


def masked_sum(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = 0,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    numbers, valid, axes = masked(x, mask, axis)
    dtype = _sum_dtype(numbers.dtype)
    start = _start(initial, dtype)
    parameters = (start.real, start.imag, 1)
    how = program, ("sum", numbers.dtype)
    return reduced(how, numbers, valid, axes, keepdims, dtype, out, parameters)


def masked_mean(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """As on the CPU."""
    numbers, valid, axes = masked(x, mask, axis)
    how = program, ("mean", numbers.dtype)
    return reduced(how, numbers, valid, axes, keepdims, floating(numbers.dtype), out)


def masked_var(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    return _spread("var", x, mask, axis, keepdims, correction, out)


def masked_std(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    return _spread("std", x, mask, axis, keepdims, correction, out)


def masked_min(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    return _extreme("min", x, mask, axis, keepdims, initial, out)


def masked_max(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    return _extreme("max", x, mask, axis, keepdims, initial, out)


def masked_argmin(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """As on the CPU."""
    return _place("argmin", x, mask, axis, keepdims, out)


def masked_argmax(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """As on the CPU."""
    return _place("argmax", x, mask, axis, keepdims, out)


def masked_count(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """As on the CPU."""
    numbers, valid, axes = masked(x, mask, axis)
    # What is repeated of the mask is counted once; along axes of groups it has stride 0.
    alike = [i for i in axes if valid.shape[i] == 1 or valid.strides[i] == 0]
    times = math.prod(numbers.shape[i] for i in alike)
    shape = tuple(1 if i in alike else n for i, n in enumerate(numbers.shape))
    shorter = valid._replace(shape=tuple(1 if i in alike else n for i, n in enumerate(valid.shape)))
    counted = shorter.broadcast_to(shape)._replace(library=numbers.library)
    how = program, ("count", "bool")
    return reduced(how, counted, None, axes, keepdims, "int64", out, (times, 0, 1))


def masked(x: Any, mask: Any, axis: Any) -> tuple[View, View, tuple[int, ...]]:
    """The arguments of a masked reduction."""
    numbers = arrays.view(x, "x")
    axes = normalized_axes(axis, numbers.ndim)
    valid = arrays.view(mask, "mask")
    if valid.dtype != "bool":
        raise TypeError(f"mask has dtype {valid.dtype}; it must be bool, where True means valid")
    missing = numbers.ndim - valid.ndim
    lengths = (1,) * missing + valid.shape
    fits = len(lengths) == numbers.ndim and all(
        n in (1, full) for n, full in zip(lengths, numbers.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"mask has shape {valid.shape}, which does not broadcast to {numbers.shape}, that of x"
        )
    arrays.same_device(x=numbers, mask=valid)
    return numbers, valid._replace(shape=lengths, strides=(0,) * missing + valid.strides), axes


def _spread(
    op: str, x: Any, mask: Any, axis: Any, keepdims: bool, correction: Any, out: Any
) -> Any:
    numbers, valid, axes = masked(x, mask, axis)
    less = number(correction, "correction")
    dtype = floating(numbers.dtype)
    dtype = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    how = program, (op, numbers.dtype)
    return reduced(how, numbers, valid, axes, keepdims, dtype, out, (less, 0, 1))


def _extreme(op: str, x: Any, mask: Any, axis: Any, keepdims: bool, initial: Any, out: Any) -> Any:
    numbers, valid, axes = masked(x, mask, axis)
    start = None if initial is None else _start(initial, numbers.dtype)
    _check_order(numbers)
    how = program, (op, numbers.dtype)
    if start is not None:
        parameters = (start, 0, 1)
        return reduced(how, numbers, valid, axes, keepdims, numbers.dtype, out, parameters)
    complaint = f"masked_{op} of a slice where mask is False throughout: it needs initial="
    return reduced(
        how, numbers, valid, axes, keepdims, numbers.dtype, out, (0, 0, 0), complaint
    )  # fmt: skip


def _place(op: str, x: Any, mask: Any, axis: Any, keepdims: bool, out: Any) -> Any:
    if isinstance(axis, tuple | list):
        raise TypeError(f"axis is {axis!r}; it must be an integer or None")
    numbers, valid, axes = masked(x, mask, axis)
    _check_order(numbers)
    how = program, (op, numbers.dtype)
    complaint = f"masked_{op} of a slice where mask is False throughout: there is no place"
    return reduced(
        how, numbers, valid, axes, keepdims, "int64", out, (0, 0, 0), complaint, True
    )  # fmt: skip


def _check_order(x: View) -> None:
    if x.dtype.startswith("complex"):
        raise TypeError(f"x has dtype {x.dtype}; it must be real, so that it has an order")


def _sum_dtype(dtype: str) -> str:
    if dtype.startswith("uint"):
        return "uint64"
    return "int64" if dtype == "bool" or dtype.startswith("int") else dtype


def _start(initial: Any, dtype: str) -> Any:
    """What a reduction starts with, a Python number that this dtype has."""
    kind: DType = np.dtype(np.float32 if dtype == _BFLOAT16 else dtype)
    rounded = scalar(initial, kind)
    if dtype == _BFLOAT16:
        rounded = rounded.astype(dtype_named(dtype)).astype(np.float32)
    value = rounded.item()
    return int(value) if isinstance(value, bool) else value
