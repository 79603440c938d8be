"""Gradients of masked reductions: vector-Jacobian products."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmat.cuda import arrays, copy
from fastmat.cuda.arrays import View
from fastmat.cuda.mapped_launch import launch
from fastmat.cuda.masked_gradients import program
from fastmat.ops.on_gpu.filling import filled
from fastmat.ops.on_gpu.groups import (
    Axes,
    computed,
    floating,
    gathered,
    overlaps,
    reduced_shapes,
    with_axes,
)
from fastmat.ops.on_gpu.masked_reductions import masked
from fastmat.ops.on_gpu.strided import copied
from fastmat.ops.statistics import number


class _Given(NamedTuple):
    """Arguments on the GPU; what groups have one of has length 1 along the axes of a group."""

    cotangent: View
    x: View
    mask: View
    axes: Axes
    result: View | None = None


def masked_sum_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    given = _arguments(cotangent, x, mask, axis, keepdims)
    dtype = floating(given.x.dtype)
    array, target = _target(given, dtype, out)
    if target.size:
        g = given.cotangent
        g = g if g.dtype == dtype else copied(g, dtype)
        zero = bytes(target.itemsize)
        filled(g, given.mask, None, zero, target, False, arrays.stream_of(given.x))
    return array


def masked_mean_vjp(
    cotangent: Any,
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    return _written("mean", _arguments(cotangent, x, mask, axis, keepdims), 0.0, out)


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
    """As on the CPU."""
    given = _arguments(cotangent, x, mask, axis, keepdims)
    return _written("var", given, number(correction, "correction"), out)


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
    """As on the CPU."""
    given = _arguments(cotangent, x, mask, axis, keepdims)
    return _written("std", given, number(correction, "correction"), out)


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
    """As on the CPU."""
    return _extreme_vjp(cotangent, x, mask, result, axis, keepdims, out)


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
    """As on the CPU."""
    return _extreme_vjp(cotangent, x, mask, result, axis, keepdims, out)


def _extreme_vjp(
    cotangent: Any, x: Any, mask: Any, result: Any, axis: Any, keepdims: bool, out: Any
) -> Any:
    given = _arguments(cotangent, x, mask, axis, keepdims)
    extreme = _of_groups(result, "result", given.x, given.axes, keepdims)
    return _written("extreme", given._replace(result=extreme), 0.0, out)


def _arguments(cotangent: Any, x: Any, mask: Any, axis: Any, keepdims: bool) -> _Given:
    numbers, valid, axes = masked(x, mask, axis)
    if numbers.dtype.startswith("complex"):
        raise TypeError(f"x has dtype {numbers.dtype}; it must be real")
    return _Given(_of_groups(cotangent, "cotangent", numbers, axes, keepdims), numbers, valid, axes)


def _of_groups(given: Any, name: str, x: View, axes: Axes, keepdims: bool) -> View:
    """One number for each group, with length 1 along the axes of a group."""
    if isinstance(given, bool | int | float):
        found = arrays.on_device(np.asarray(given, np.float64), x)
    else:
        found = arrays.view(given, name)
    if found.dtype.startswith("complex"):
        raise TypeError(f"{name} has dtype {found.dtype}; it must be real numbers")
    kept, shape = reduced_shapes(x.shape, axes, keepdims)
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}; it must have {shape}, as the result")
    arrays.same_device(x=x, **{name: found})
    return with_axes(found, kept)


def _target(given: _Given, dtype: str, out: Any) -> tuple[Any, View]:
    return arrays.target(out, given.x.shape, dtype, given.x)


def _written(op: str, given: _Given, correction: float, out: Any) -> Any:
    """The gradient of the shape of x."""
    cotangent, x, mask, axes, result = given
    dtype = floating(x.dtype)
    array, target = _target(given, dtype, out)
    if target.size == 0:
        return array
    stream = arrays.stream_of(x)
    written = target
    if out is not None and overlaps(target, (cotangent, x, mask, result)):
        _, written = arrays.empty(x.shape, dtype, x)
    how = program, (op, computed(dtype))
    read = written if op == "mean" else x  # which reads no numbers
    if not launch(*how, axes, read, cotangent, mask, written, stream, result, correction):
        inputs = (x, cotangent, mask) if result is None else (x, cotangent, mask, result)
        copies = gathered(axes, inputs, written)
        x, cotangent, mask, *rest = copies.inputs
        result = rest[0] if rest else None
        read = copies.output if op == "mean" else x
        launch(
            *how, copies.axes, read, cotangent, mask, copies.output, stream, result, correction
        )  # fmt: skip
        copies.deliver(stream)
    if written is not target:
        copy.copy(written, target, stream)
    return array
