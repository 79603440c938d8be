"""Operations under masks that fill, on GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.cuda.arrays import View, empty, same_device, stream_of, view, writable
from fastmat.cuda.copy import copy
from fastmat.cuda.masked_sums import sum_where
from fastmat.ops.masked import FillGradients, broadcasts, joint_shape, repeated
from fastmat.ops.on_gpu.filling import filled, value_of, zero

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_REAL_OF = {"complex64": "float32", "complex128": "float64"}


def masked_fill(x: Any, mask: Any, value: Any, *, out: Any = None) -> Any:
    """`fastmat.masked_fill` for arrays on a GPU."""
    a, marks = view(x, "x"), _mask(mask, "mask")
    values = value_of(value, "value", a.dtype)
    value_shape = () if isinstance(values, bytes) else values.shape
    shape = joint_shape(x=a.shape, mask=marks.shape, value=value_shape)
    result, target = _target(a, shape, out)
    same_device(x=a, mask=marks, value=_array(values), out=target)
    filled(a, marks, None, values, target, True, stream_of(a))
    return result


def mask_rows_cols(x: Any, row_mask: Any, col_mask: Any, fill: Any = 0, *, out: Any = None) -> Any:
    """`fastmat.mask_rows_cols` for arrays on a GPU."""
    return _lines_kept(view(x, "x"), "x", row_mask, col_mask, fill, out)


def masked_fill_vjp(
    cotangent: Any, mask: Any, value: Any = None, *, shape: Any = None, out: Any = None
) -> FillGradients:
    """`fastmat.masked_fill_vjp` for arrays on a GPU."""
    g, marks = numbers(cotangent, "cotangent"), _mask(mask, "mask")
    repeated("mask", marks.shape, g.shape)
    x_shape = g.shape if shape is None else repeated("shape", shape, g.shape)
    value_shape = None
    if value is not None:
        single = isinstance(value, bool | int | float | complex | np.generic)
        value_shape = repeated("value", () if single else view(value, "value").shape, g.shape)
    place = None if out is None else writable(out, x_shape, g.dtype)
    same_device(cotangent=g, mask=marks, out=place)
    stream = stream_of(g)
    by_value = None
    if value_shape is not None:
        by_value = _summed(g, marks, value_shape, True, None, stream)
    if x_shape == g.shape:
        result, target = _target(g, g.shape, out)
        filled(g, marks, None, bytes(g.itemsize), target, True, stream)
    else:
        result = _summed(g, marks, x_shape, False, out, stream)
    return FillGradients(result, by_value)


def mask_rows_cols_vjp(cotangent: Any, row_mask: Any, col_mask: Any, *, out: Any = None) -> Any:
    """`fastmat.mask_rows_cols_vjp` for arrays on a GPU."""
    g = numbers(cotangent, "cotangent")
    return _lines_kept(g, "cotangent", row_mask, col_mask, 0, out)


def _lines_kept(a: View, name: str, row_mask: Any, col_mask: Any, fill: Any, out: Any) -> Any:
    if a.ndim < 2:
        raise ValueError(f"{name} has shape {a.shape}; it must have 2 or more dimensions")
    rows = _line_mask(row_mask, "row_mask", name, a, -2)
    columns = _line_mask(col_mask, "col_mask", name, a, -1)
    if type(fill) is int and fill == 0 and a.dtype == "bool":
        fill = False
    value = value_of(fill, "fill", a.dtype)
    if isinstance(value, View) and value.ndim:
        raise ValueError(f"fill has shape {value.shape}; it must be a single number")
    result, target = _target(a, a.shape, out)
    same_device(x=a, row_mask=rows, col_mask=columns, fill=_array(value), out=target)
    filled(a, rows, columns, value, target, False, stream_of(a))
    return result


def _array(value: View | bytes) -> View | None:
    return value if isinstance(value, View) else None


def _mask(mask: Any, name: str) -> View:
    found = view(mask, name)
    if found.dtype != "bool":
        raise TypeError(f"{name} has dtype {found.dtype}; it must be bool")
    return found


def numbers(x: Any, name: str) -> View:
    """An argument of floating-point or complex numbers."""
    found = view(x, name)
    if found.dtype not in (*_FLOATS, *_REAL_OF):
        raise TypeError(
            f"{name} has dtype {found.dtype}; on GPUs it must be floating-point or complex"
        )
    return found


def _line_mask(mask: Any, name: str, of: str, x: View, axis: int) -> View | None:
    """A mask of rows or columns, with an axis of length 1 for the other of the two."""
    if mask is None:
        return None
    found = _mask(mask, name)
    shape = (*x.shape[:-2], x.shape[axis])
    if not found.ndim or found.shape[-1] != shape[-1] or not broadcasts(found.shape, shape):
        raise ValueError(
            f"{name} has shape {found.shape}, which does not broadcast to {shape}, "
            f"as {of} of shape {x.shape} wants it"
        )
    *outer, n = found.shape
    *steps, step = found.strides
    if axis == -2:
        return found._replace(shape=(*outer, n, 1), strides=(*steps, step, 0))
    return found._replace(shape=(*outer, 1, n), strides=(*steps, 0, step))


def _target(x: View, shape: tuple[int, ...], out: Any) -> tuple[Any, View]:
    """`out`, checked, or a new array, in Fortran order if x is."""
    if out is not None:
        return out, writable(out, shape, x.dtype)
    axes = range(x.ndim - 1, -1, -1)
    if x.shape != shape or x.contiguous or not x.transposed(axes).contiguous:
        return empty(shape, x.dtype, x)
    made, target = empty(shape[::-1], x.dtype, x)
    turned = x.library.permuted(made, axes)
    if turned is None:
        return empty(shape, x.dtype, x)
    return turned, target.transposed(axes)._replace(owner=turned)


def _summed(
    g: View, marks: View, shape: tuple[int, ...], wanted: bool, out: Any, stream: int
) -> Any:
    """Sums of the cotangent where the mask is `wanted`, over what was repeated from this shape."""
    if shape == g.shape:
        result, target = empty(shape, g.dtype, g)
        filled(g, marks, None, bytes(g.itemsize), target, not wanted, stream)
        return result
    result, target = empty(shape, g.dtype, g)
    marks = marks.broadcast_to(g.shape)
    new = g.ndim - len(shape)
    axes = tuple(k for k, n in enumerate(g.shape) if k < new or (n > 1 and shape[k - new] == 1))
    if not g.size:
        zero(target, stream)
    else:
        sums = target
        if g.dtype in _REAL_OF:
            g, sums = _reals(g), _reals(target)
            marks = marks._replace(shape=(*marks.shape, 2), strides=(*marks.strides, 0))
        sum_where(g, marks, wanted, axes, sums, stream)
    if out is None:
        return result
    copy(target, writable(out, shape, target.dtype), stream)
    return out


def _reals(x: View) -> View:
    """The real and imaginary parts along one more axis."""
    return x._replace(
        shape=(*x.shape, 2), strides=(*(2 * s for s in x.strides), 1), dtype=_REAL_OF[x.dtype]
    )
