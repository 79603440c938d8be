"""Softmax, its logarithm, the logarithm of a sum of exponentials, and their gradients."""

from __future__ import annotations

from typing import Any

from fastmat.cuda import arrays, copy
from fastmat.cuda import logsumexp_vjp as logsumexp_gradient
from fastmat.cuda import reductions_masked as reductions
from fastmat.cuda import softmax as programs
from fastmat.cuda.arrays import View
from fastmat.cuda.mapped_launch import launch
from fastmat.ops.groups import normalized_axes
from fastmat.ops.on_gpu.groups import (
    computed,
    floating,
    gathered,
    mask_of,
    overlaps,
    real,
    reduced,
    reduced_shapes,
    with_axes,
)


def softmax(x: Any, axis: Any = -1, *, mask: Any = None, out: Any = None) -> Any:
    """As on the CPU."""
    return _same_shape("softmax", x, axis, mask, out)


def log_softmax(x: Any, axis: Any = -1, *, mask: Any = None, out: Any = None) -> Any:
    """As on the CPU."""
    return _same_shape("log_softmax", x, axis, mask, out)


def softmax_vjp(
    cotangent: Any, result: Any, axis: Any = -1, *, mask: Any = None, out: Any = None
) -> Any:
    """As on the CPU."""
    return _gradient("softmax_vjp", cotangent, result, axis, mask, out)


def log_softmax_vjp(
    cotangent: Any, result: Any, axis: Any = -1, *, mask: Any = None, out: Any = None
) -> Any:
    """As on the CPU."""
    return _gradient("log_softmax_vjp", cotangent, result, axis, mask, out)


def _same_shape(op: str, x: Any, axis: Any, mask: Any, out: Any) -> Any:
    numbers = real(x, "x")
    axes = normalized_axes(axis, numbers.ndim)
    kept = None
    if mask is not None:
        kept = mask_of(mask, numbers, "x")
        arrays.same_device(x=numbers, mask=kept)
    return _run(op, axes, numbers, None, kept, out)


def _gradient(op: str, cotangent: Any, result: Any, axis: Any, mask: Any, out: Any) -> Any:
    numbers = real(result, "result")
    g = cotangent_for(cotangent, numbers)
    axes = normalized_axes(axis, numbers.ndim)
    kept = None if mask is None else mask_of(mask, numbers, "result")
    arrays.same_device(result=numbers, cotangent=g, mask=kept)
    return _run(op, axes, numbers, g, kept, out)


def cotangent_for(given: Any, x: View) -> View:
    """The cotangent, of the shape of x."""
    found = arrays.view(given, "cotangent")
    if found.dtype.startswith("complex"):
        raise TypeError(f"cotangent has dtype {found.dtype}; it must be real numbers")
    if found.shape != x.shape:
        raise ValueError(f"cotangent has shape {found.shape}; it must have {x.shape}, as x")
    return found


def _run(
    op: str,
    axes: tuple[int, ...],
    x: View,
    y: View | None,
    mask: View | None,
    out: Any,
) -> Any:
    dtype = floating(x.dtype)
    array, target = arrays.target(out, x.shape, dtype, x)
    if x.size == 0:
        return array
    stream = arrays.stream_of(x)
    written = target
    if out is not None and overlaps(target, (x, y, mask)):
        _, written = arrays.empty(x.shape, dtype, x)
    how = programs.program, (op, computed(dtype))
    if not launch(*how, axes, x, y, mask, written, stream):
        copies = gathered(axes, tuple(v for v in (x, y, mask) if v is not None), written)
        given = iter(copies.inputs)
        x = next(given)
        y = None if y is None else next(given)
        mask = None if mask is None else next(given)
        served = launch(*how, copies.axes, x, y, mask, copies.output, stream)
        assert served, copies
        copies.deliver(stream)
    if written is not target:
        copy.copy(written, target, stream)
    return array


def logsumexp(
    x: Any, axis: Any = -1, *, mask: Any = None, keepdims: bool = False, out: Any = None
) -> Any:
    """As on the CPU."""
    numbers = real(x, "x")
    axes = normalized_axes(axis, numbers.ndim)
    kept = None if mask is None else mask_of(mask, numbers, "x")
    arrays.same_device(x=numbers, mask=kept)
    how = reductions.program, ("logsumexp", numbers.dtype)
    return reduced(how, numbers, kept, axes, keepdims, floating(numbers.dtype), out)


def logsumexp_vjp(
    cotangent: Any,
    x: Any,
    result: Any,
    axis: Any = -1,
    *,
    mask: Any = None,
    keepdims: bool = False,
    out: Any = None,
) -> Any:
    """As on the CPU."""
    numbers = real(x, "x")
    axes = normalized_axes(axis, numbers.ndim)
    kept, shape = reduced_shapes(numbers.shape, axes, keepdims)
    given = (
        _statistic(cotangent, "cotangent", shape, kept),
        _statistic(result, "result", shape, kept),
    )
    kept_numbers = None if mask is None else mask_of(mask, numbers, "x")
    arrays.same_device(x=numbers, cotangent=given[0], result=given[1], mask=kept_numbers)
    inputs = (numbers, *given) if kept_numbers is None else (numbers, *given, kept_numbers)
    dtype = floating(numbers.dtype)
    array, target = arrays.target(out, numbers.shape, dtype, numbers)
    if numbers.size == 0:
        return array
    stream = arrays.stream_of(numbers)
    written = target
    if out is not None and overlaps(target, inputs):
        _, written = arrays.empty(numbers.shape, dtype, numbers)
    launch_it = logsumexp_gradient.launch
    if not launch_it(axes, numbers, *given, kept_numbers, written, stream):
        copies = gathered(axes, inputs, written)
        first, second, third, *rest = copies.inputs
        fourth = rest[0] if rest else None
        served = launch_it(copies.axes, first, second, third, fourth, copies.output, stream)
        assert served, copies
        copies.deliver(stream)
    if written is not target:
        copy.copy(written, target, stream)
    return array


def _statistic(given: Any, name: str, shape: tuple[int, ...], kept: tuple[int, ...]) -> View:
    """What flows back, or what came out, with length 1 along the axes of a group."""
    found = arrays.view(given, name)
    if found.dtype.startswith("complex"):
        raise TypeError(f"{name} has dtype {found.dtype}; it must be float64")
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}; it must have {shape}")
    return with_axes(found, kept)
