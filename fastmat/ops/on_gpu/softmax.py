"""Softmax, its logarithm, the logarithm of a sum of exponentials, and their gradients."""

from __future__ import annotations

from typing import Any

from fastmat.cuda import arrays, copy
from fastmat.cuda import softmax as programs
from fastmat.cuda.arrays import View
from fastmat.cuda.mapped_launch import launch
from fastmat.ops.groups import normalized_axes
from fastmat.ops.on_gpu.groups import computed, fitted, floating, mask_of, overlaps, real


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
    kept = None if mask is None else mask_of(mask, numbers, "x")
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
    if out is not None:
        arrays.same_device(x=x, out=target)
    if x.size == 0:
        return array
    stream = arrays.stream_of(x)
    written = target
    if out is not None and overlaps(target, (x, y, mask)):
        _, written = arrays.empty(x.shape, dtype, x)
    inputs = tuple(v for v in (x, y, mask) if v is not None)
    how = fitted(axes, inputs, (written,))
    given = list(how.inputs)
    first = given.pop(0)
    second = None if y is None else given.pop(0)
    third = None if mask is None else given.pop(0)
    launch(programs.program, (op, computed(dtype)), how.axes, first, second, third,
           how.outputs[0], stream)  # fmt: skip
    how.deliver(stream)
    if written is not target:
        copy.copy(written, target, stream)
    return array
