"""Operations under masks that fill: by a mask of items, or of rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array, like
from fastmat.core.checks import check_out
from fastmat.core.devices import also_on_gpu
from fastmat.core.dtypes import DType
from fastmat.ops.casting import cast, items_of
from fastmat.ops.statistics import delivered, entry_of, integer, numbers_of, target_for

AXES = 8  # of the arrays that kernels take

_Kernel = tuple[Callable[..., None], int, int]  # entry point, bytes to share, bytes to stream

_kernels: dict[int, _Kernel] = {}
_padding = [(np.newaxis,) * (AXES - ndim) + (...,) for ndim in range(AXES + 1)]
_NONE = np.zeros((1,) * AXES, np.int8)
_ALL = np.ones((1,) * AXES, np.int8)


@also_on_gpu
def masked_fill(x: Any, mask: Any, value: Any, *, out: Any = None) -> Any:
    """Copy of an array with a value where a mask is True: ``where(mask, value, x)``.

    As `torch.masked_fill`; `mask` and `value` broadcast with `x` as in `numpy.where`.

    Parameters
    ----------
    x
        Array-like of any shape and strides, with items of 1, 2, 4, 8 or 16 bytes.
    mask
        Array-like of bool; True is filled.
    value
        What to fill with: a number, or an array-like that broadcasts. It is cast to the dtype of
        `x`, which must be of the same kind or a higher one; of Python's numbers only the kind
        counts.
    out
        Where to store the result. It may be `x` itself, or overlap any argument.

    Returns
    -------
    array of the shape that all three broadcast to, with the dtype of `x`, in Fortran order if `x`
    is; or `out`

    Raises
    ------
    ValueError
        Shapes that do not broadcast; an `out` of the wrong shape or read-only.
    TypeError
        A `mask` that is not bool, a `value` that cannot be cast to the dtype of `x`, items of
        another size.
    OverflowError
        A Python integer that the dtype of `x` does not hold.

    See Also
    --------
    mask_rows_cols : Keep rows and columns, and fill all else.

    Notes
    -----
    Unlike the result of `numpy.where`, that of `masked_fill` always has the dtype of `x`, even
    its byte order. Items are moved as bits.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, np.nan]])
    >>> fm.masked_fill(x, np.isnan(x), 0.0)
    array([[1., 0., 3.],
           [4., 5., 0.]])
    >>> fm.masked_fill(x, np.isnan(x), [[-1.0], [-2.0]])
    array([[ 1., -1.,  3.],
           [ 4.,  5., -2.]])
    """
    array, marks = items_of(x), _mask(mask, "mask")
    values = cast(value, "value", array.dtype)
    shape = joint_shape(x=array.shape, mask=marks.shape, value=values.shape)
    target = _target(array, shape, out, (marks, values))
    _fill(array, marks, _NONE, values, target, True)
    return delivered(target, out, x)


@also_on_gpu
def mask_rows_cols(x: Any, row_mask: Any, col_mask: Any, fill: Any = 0, *, out: Any = None) -> Any:
    """Copy of matrices that keeps what is both in a kept row and in a kept column.

    ``where(row_mask[..., :, None] & col_mask[..., None, :], x, fill)``, without that mask.

    Parameters
    ----------
    x
        Array-like ``(..., m, n)`` of any strides, with items of 1, 2, 4, 8 or 16 bytes.
    row_mask
        Array-like of bool ``(..., m)``: True is kept. None keeps all rows.
    col_mask
        Array-like of bool ``(..., n)``: True is kept. None keeps all columns. Leading axes of
        both masks broadcast to those of `x`.
    fill
        The number that takes the place of all else, cast as the value of `masked_fill`; of bool
        0 is False.
    out
        Where to store the result. It may be `x` itself, or overlap any argument.

    Returns
    -------
    array of the shape and dtype of `x`, in Fortran order if `x` is; or `out`

    Raises
    ------
    ValueError
        An `x` of fewer than two axes, masks that do not fit it, a `fill` that is no single
        number; an `out` of the wrong shape or read-only.
    TypeError, OverflowError
        As `masked_fill`.

    See Also
    --------
    take_submatrix : Keep rows and columns, and drop all else.

    Notes
    -----
    Rows that are not kept are not read.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.arange(1, 7).reshape(2, 3)
    >>> fm.mask_rows_cols(x, [True, False], [True, False, True])
    array([[1, 0, 3],
           [0, 0, 0]])
    >>> fm.mask_rows_cols(x, None, [True, False, True], fill=-1)
    array([[ 1, -1,  3],
           [ 4, -1,  6]])
    """
    return _lines_kept(x, items_of(x), "x", row_mask, col_mask, fill, out)


class FillGradients(NamedTuple):
    """Gradients by what was filled, and by the value; None where no value was given."""

    x: Any
    value: Any


@also_on_gpu
def masked_fill_vjp(
    cotangent: Any, mask: Any, value: Any = None, *, shape: Any = None, out: Any = None
) -> FillGradients:
    """Gradients of `masked_fill` by x and by the value.

    Parameters
    ----------
    cotangent
        The gradient by the result, of its shape, of real or complex numbers; integers and bool
        count as float64.
    mask
        As it was given to `masked_fill`.
    value
        As it was given to it, if the gradient by it is wanted; of which only the shape counts.
    shape
        The shape of `x`, if it was broadcast; by default that of `cotangent`.
    out
        Where to store the gradient by x; may be `cotangent` itself, or overlap any argument.

    Returns
    -------
    named tuple ``(x, value)``: gradients of the shapes of `x` and of `value`, or None without a
    value, with the dtype of the cotangent

    Raises
    ------
    ValueError, TypeError
        Shapes that do not broadcast to that of the cotangent; a mask that is not bool; dtypes
        that are not numbers; an `out` that does not fit.

    Notes
    -----
    The gradient by x is the cotangent with 0 where the mask is True, that by the value the
    cotangent with 0 elsewhere; each is summed over the axes along which its argument was
    repeated. Sums are held in float64 or complex128.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> by_x, by_value = fm.masked_fill_vjp([1.0, 2.0, 3.0], [True, False, True], 0.0)
    >>> by_x
    array([0., 2., 0.])
    >>> by_value
    np.float64(4.0)
    """
    g = numbers_of(cotangent, complex_too=True, name="cotangent")
    marks = _mask(mask, "mask")
    repeated("mask", marks.shape, g.shape)
    x_shape = g.shape if shape is None else repeated("shape", shape, g.shape)
    by_value = None
    if value is not None:
        value_shape = repeated("value", as_array(value, "value").shape, g.shape)
    if x_shape == g.shape:
        target = _target(g, g.shape, out, (marks,))
    elif out is not None:
        check_out(out, x_shape, g.dtype)
    if value is not None:
        by_value = like(_summed(g, marks, value_shape, True), cotangent)
    if x_shape == g.shape:
        _fill(g, marks, _NONE, np.zeros((), g.dtype), target, True)
    else:
        target = _summed(g, marks, x_shape, False)
    return FillGradients(delivered(target, out, cotangent), by_value)


@also_on_gpu
def mask_rows_cols_vjp(cotangent: Any, row_mask: Any, col_mask: Any, *, out: Any = None) -> Any:
    """Gradient of `mask_rows_cols` by x: the cotangent, with 0 where x was not kept.

    Parameters
    ----------
    cotangent
        ``(..., m, n)``, the gradient by the result, of real or complex numbers; integers and bool
        count as float64.
    row_mask, col_mask
        As they were given to `mask_rows_cols`.
    out
        Where to store the result; may be `cotangent` itself, or overlap any argument.

    Returns
    -------
    array of the shape of `cotangent`

    Raises
    ------
    ValueError, TypeError
        As `mask_rows_cols`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.mask_rows_cols_vjp(np.ones((2, 3)), [True, False], [True, False, True])
    array([[1., 0., 1.],
           [0., 0., 0.]])
    """
    g = numbers_of(cotangent, complex_too=True, name="cotangent")
    return _lines_kept(cotangent, g, "cotangent", row_mask, col_mask, 0, out)


def _lines_kept(
    x: Any, array: Array, name: str, row_mask: Any, col_mask: Any, fill: Any, out: Any
) -> Any:
    """`mask_rows_cols` of an argument of this name."""
    if array.ndim < 2:
        raise ValueError(f"{name} has shape {array.shape}; it must have 2 or more dimensions")
    rows = _line_mask(row_mask, "row_mask", name, array, -2)
    cols = _line_mask(col_mask, "col_mask", name, array, -1)
    if type(fill) is int and fill == 0 and array.dtype == np.bool_:
        fill = False
    value = cast(fill, "fill", array.dtype)
    if value.ndim:
        raise ValueError(f"fill has shape {value.shape}; it must be a single number")
    target = _target(array, array.shape, out, (rows, cols, value))
    _fill(array, rows, cols, value, target, False)
    return delivered(target, out, x)


def _mask(mask: Any, name: str) -> Array:
    """A mask as an array of bool."""
    array = as_array(mask, name)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} has dtype {array.dtype}; it must be bool")
    return array


def _line_mask(mask: Any, name: str, of: str, x: Array, axis: int) -> Array:
    """A mask of rows or columns, with an axis of length 1 for the other of the two."""
    if mask is None:
        return _ALL
    array = _mask(mask, name)
    shape = (*x.shape[:-2], x.shape[axis])
    if not array.ndim or array.shape[-1] != shape[-1] or not broadcasts(array.shape, shape):
        raise ValueError(
            f"{name} has shape {array.shape}, which does not broadcast to {shape}, "
            f"as {of} of shape {x.shape} wants it"
        )
    return array[..., np.newaxis] if axis == -2 else array[..., np.newaxis, :]


def broadcasts(got: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array of one shape can be repeated to another."""
    pairs = zip(got[::-1], shape[::-1], strict=False)
    return len(got) <= len(shape) and all(n in (1, length) for n, length in pairs)


def repeated(name: str, given: Any, cotangent: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that was broadcast to that of the cotangent."""
    shape = tuple(integer(n, name) for n in (given if np.iterable(given) else (given,)))
    if not broadcasts(shape, cotangent):
        got = "is" if name == "shape" else "has shape"
        raise ValueError(
            f"{name} {got} {shape}, which does not broadcast to {cotangent}, "
            "the shape of the cotangent"
        )
    return shape


def joint_shape(**shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that arguments broadcast to."""
    given = [shape for shape in shapes.values() if shape]
    if len(given) == 1 or (given and given.count(given[0]) == len(given)):
        return given[0]
    try:
        return np.broadcast_shapes(*given)
    except ValueError:
        found = ", ".join(f"{name} has shape {shape}" for name, shape in shapes.items())
        raise ValueError(f"{found}; they must broadcast") from None


def _target(array: Array, shape: tuple[int, ...], out: Any, others: tuple[Array, ...]) -> Array:
    """Where to compute the result: `out` itself if kernels can write it as they read the rest."""
    if out is not None:
        return target_for(out, np.broadcast_to(array, shape), others)
    fortran = array.shape == shape and array.flags.fnc
    return np.empty(shape, array.dtype, "F" if fortran else "C")


def _fill(x: Array, first: Array, second: Array, value: Array, out: Array, filled: bool) -> None:
    """Call the kernel, for each of the leading axes that it has no room for."""
    if out.size == 0:
        return
    if out.ndim > AXES:
        lead = out.ndim - AXES
        parts = [np.broadcast_to(a, out.shape) for a in (x, first, second, value)]
        for index in np.ndindex(out.shape[:lead]):
            a, b, c, d = (part[index] for part in parts)
            _fill(a, b, c, d, out[index], filled)
        return
    entry, parallel, streamed = _kernels.get(x.itemsize) or _load(x.dtype)
    views = [a[_padding[a.ndim]] for a in (x, first, second, value, out)]
    entry(*views, filled, parallel, streamed)


def _summed(g: Array, mask: Array, shape: tuple[int, ...], wanted: bool) -> Array:
    """Sums of the cotangent where the mask is `wanted`, over what was repeated from this shape."""
    result = np.empty(shape, g.dtype)
    if shape == g.shape:
        _fill(g, mask, _NONE if not wanted else _ALL, np.zeros((), g.dtype), result, not wanted)
        return result
    total = np.zeros(shape, np.complex128 if g.dtype.kind == "c" else np.float64)
    full = total.reshape((1,) * (g.ndim - total.ndim) + shape)
    _add_up(g, np.broadcast_to(mask, g.shape), full, wanted)
    with np.errstate(over="ignore"):
        result[...] = total
    return result


def _add_up(g: Array, mask: Array, total: Array, wanted: bool) -> None:
    """Call the kernel, for each of the leading axes that it has no room for."""
    if g.size == 0:
        return
    if g.ndim > AXES:
        for i in range(len(g)):
            _add_up(g[i], mask[i], total[i if len(total) > 1 else 0], wanted)
        return
    views = [a[_padding[a.ndim]] for a in (g, mask, total)]
    entry_of("sum_where", "sum_where", g.dtype)(*views, wanted)


def _load(dtype: DType) -> _Kernel:
    """Find the kernel that moves items of this dtype."""
    from fastmat.cpu.blocking_transpose import tuning
    from fastmat.cpu.masked import fill
    from fastmat.cpu.strides import BITS

    size = dtype.itemsize
    entry, row = fill.entry(np.dtype(BITS[size].name)), tuning(size)
    _kernels[size] = entry, row.parallel, row.streamed
    return _kernels[size]
