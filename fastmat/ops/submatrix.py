"""Submatrices: rows and columns taken out of matrices, and written back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, native
from fastmat.core.devices import also_on_gpu
from fastmat.ops.casting import cast, items_of
from fastmat.ops.statistics import delivered, entry_of, integer, numbers_of, target_for
from fastmat.ops.transpose import copy_items

AXES = 8  # of the arrays that kernels take

Selection = tuple[slice, Array | None]  # either all but a slice, or indices

_Kernel = tuple[Callable[..., None], int, int]  # entry point, bytes to share, bytes to stream

_kernels: dict[tuple[str, int], _Kernel] = {}
_padding = [(np.newaxis,) * (AXES - ndim) + (...,) for ndim in range(AXES + 1)]
_ALL = slice(None)
_NEVER = sys.maxsize  # bytes
_NO_INDICES = np.zeros(0, np.intp)


@also_on_gpu
def take_submatrix(x: Any, rows: Any, cols: Any, *, out: Any = None) -> Any:
    """Some rows and some columns of matrices, as a new array: ``x[..., rows[:, None], cols]``.

    Parameters
    ----------
    x
        Array-like ``(..., m, n)`` of any strides, with items of 1, 2, 4, 8 or 16 bytes.
    rows, cols
        Which rows and which columns, each a slice, a 1-D array of integers, which may repeat
        and may count from the end, a mask of bool ``(m,)`` or ``(n,)``, or None for all of them.
    out
        Where to store the result. It may overlap any argument.

    Returns
    -------
    array ``(..., k, l)``
        A copy with the dtype of `x`, with columns side by side in memory if those of `x` are; or
        `out`.

    Raises
    ------
    IndexError
        An index that is out of range, the first of them in the message; a mask of another length.
    ValueError
        An `x` of fewer than two axes; an `out` of the wrong shape or read-only.
    TypeError
        Indices that are neither integers nor bool; items of another size.

    See Also
    --------
    put_submatrix : Write to some rows and columns.
    mask_rows_cols : Keep rows and columns in their place.

    Notes
    -----
    NumPy spells it ``x[..., rows[:, None], cols]`` or ``x[np.ix_(rows, cols)]``. Single integers,
    which would drop an axis, are not accepted. Rows are copied whole where columns are a slice.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.arange(12).reshape(3, 4)
    >>> fm.take_submatrix(x, [0, -1], [True, False, False, True])
    array([[ 0,  3],
           [ 8, 11]])
    >>> fm.take_submatrix(x, None, slice(None, None, -2))
    array([[ 3,  1],
           [ 7,  5],
           [11,  9]])
    """
    array = _matrices(x)
    row_selection = selection(rows, "rows", array.shape[-2])
    col_selection = selection(cols, "cols", array.shape[-1])
    view, row_indices, col_indices = _viewed(array, row_selection, col_selection)
    shape = (*array.shape[:-2], *_lengths(view, row_indices, col_indices))
    if out is None:
        target = _empty_like(array, shape)
    else:
        result = np.broadcast_to(np.empty((), array.dtype), shape)
        target = target_for(out, result, (array, row_indices, col_indices))
    if target.size:
        if row_indices is None and col_indices is None:
            copy_items(view, target)
        else:
            _call("take", view, row_indices, col_indices, target)
    return delivered(target, out, x)


@also_on_gpu
def put_submatrix(x: Any, rows: Any, cols: Any, values: Any) -> Any:
    """Write to some rows and some columns: ``x[..., rows[:, None], cols] = values``.

    Parameters
    ----------
    x
        Array ``(..., m, n)`` of any strides, with items of 1, 2, 4, 8 or 16 bytes; it is changed.
    rows, cols
        Which rows and which columns, as for `take_submatrix`. Where one is named twice, what is
        written last stays, as in NumPy.
    values
        A number, or an array-like that broadcasts to ``(..., k, l)`` and may overlap `x`. It is
        cast to the dtype of `x`, which must be of the same kind or a higher one; of Python's
        numbers only the kind counts.

    Returns
    -------
    `x`

    Raises
    ------
    IndexError
        As `take_submatrix`.
    ValueError
        An `x` of fewer than two axes, or read-only; `values` that do not broadcast.
    TypeError
        An `x` that is no array; `values` that cannot be cast to its dtype; indices that are
        neither integers nor bool; items of another size.
    OverflowError
        A Python integer that the dtype of `x` does not hold.

    See Also
    --------
    take_submatrix : Read some rows and columns.

    Notes
    -----
    Nothing is written before all arguments have been checked. Unlike in NumPy, numbers are not
    truncated silently: floats cannot be written to integers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.zeros((3, 4), int)
    >>> fm.put_submatrix(x, [0, 2], slice(1, 3), [[1, 2], [3, 4]])
    array([[0, 1, 2, 0],
           [0, 0, 0, 0],
           [0, 3, 4, 0]])
    """
    if not isinstance(x, np.ndarray) and not hasattr(x, "__dlpack__"):
        raise TypeError(f"x is of type {type(x).__name__}; it must be an array")
    array = _matrices(x)
    if not array.flags.writeable:
        raise ValueError("x is read-only; it must be writeable")
    row_selection = selection(rows, "rows", array.shape[-2])
    col_selection = selection(cols, "cols", array.shape[-1])
    found = cast(values, "values", array.dtype)
    view, row_indices, col_indices = _viewed(array, row_selection, col_selection)
    shape = (*array.shape[:-2], *_lengths(view, row_indices, col_indices))
    found = _fitted(found, shape)
    if 0 in shape:
        return x
    if np.may_share_memory(found, array):
        found = found.copy()
    row_indices, col_indices = (
        part.copy() if part is not None and np.may_share_memory(part, array) else part
        for part in (row_indices, col_indices)
    )
    if row_indices is None and col_indices is None:
        copy_items(np.broadcast_to(found, shape), view)
    else:
        # One thread goes from the first to the last, and leaves what it writes last.
        in_order = _repeats(row_indices) or _repeats(col_indices)
        _call("put", found, row_indices, col_indices, view, in_order)
    return x


@also_on_gpu
def take_submatrix_vjp(cotangent: Any, rows: Any, cols: Any, shape: Any, *, out: Any = None) -> Any:
    """Gradient of `take_submatrix` by x: what was taken several times is added up.

    Parameters
    ----------
    cotangent
        ``(..., k, l)``, the gradient by the result, of real or complex numbers; integers and bool
        count as float64.
    rows, cols
        As they were given to `take_submatrix`.
    shape
        The shape of `x`, ``(..., m, n)``.
    out
        Where to store the gradient; may overlap any argument.

    Returns
    -------
    array of this shape, with the dtype of the cotangent; 0 where nothing was taken

    Raises
    ------
    IndexError
        As `take_submatrix`.
    ValueError
        A cotangent that has not the shape of the result; an `out` that does not fit.
    TypeError
        Dtypes that are not numbers; indices that are neither integers nor bool.

    Notes
    -----
    Sums are held in float64 or complex128, and go from the first index to the last.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.take_submatrix_vjp(np.ones((3, 2)), [0, 2, 0], slice(1, 3), (3, 4))
    array([[0., 2., 2., 0.],
           [0., 0., 0., 0.],
           [0., 1., 1., 0.]])
    """
    g = numbers_of(cotangent, complex_too=True, name="cotangent")
    full = tuple(integer(n, "shape") for n in (shape if np.iterable(shape) else (shape,)))
    if len(full) < 2 or min(full) < 0:
        raise ValueError(f"shape is {full}; it must be that of x, of 2 or more dimensions")
    row_selection = selection(rows, "rows", full[-2])
    col_selection = selection(cols, "cols", full[-1])
    result = np.broadcast_to(np.empty((), g.dtype), full)
    view, row_indices, col_indices = _viewed(result, row_selection, col_selection)
    taken = (*full[:-2], *_lengths(view, row_indices, col_indices))
    if g.shape != taken:
        raise ValueError(f"cotangent has shape {g.shape}; the result has shape {taken}")
    target = target_for(out, result, (g, row_indices, col_indices))
    view = target[..., row_selection[0], col_selection[0]]
    if view.shape != target.shape or 0 in taken:
        target[...] = 0
    if 0 in taken:
        pass
    elif row_indices is None and col_indices is None:
        copy_items(g, view)
    else:
        m = view.shape[-2]
        if row_indices is None:
            order, starts = np.arange(m), np.arange(m + 1)
        else:
            order = np.argsort(row_indices, kind="stable")
            starts = np.searchsorted(row_indices[order], np.arange(m + 1))
        _add_up(g, order, starts, col_indices, view)
    return delivered(target, out, cotangent)


def _matrices(x: Any) -> Array:
    array = items_of(x)
    if array.ndim < 2:
        raise ValueError(f"x has shape {array.shape}; it must have 2 or more dimensions")
    return array


def selection(given: Any, name: str, length: int) -> Selection:
    """What rows or columns an argument names, checked: a slice, or indices counted from 0."""
    if given is None:
        return _ALL, None
    if isinstance(given, slice):
        return given, None
    array = as_array(given, name)
    if array.size == 0 and not isinstance(given, np.ndarray):
        array = array.astype(np.intp)  # NumPy makes floats of an empty list
    if array.ndim != 1 or array.dtype.kind not in "biu":
        got = f"{array.ndim} dimensions" if array.ndim != 1 else f"dtype {array.dtype}"
        raise TypeError(
            f"{name} has {got}; it must be a slice, a 1-D array of integers or bool, or None"
        )
    if array.dtype.kind == "b":
        if array.size != length:
            raise IndexError(f"{name} is a mask of {array.size}; x has {length} {name}")
        return _kept(np.flatnonzero(array))
    if array.size == 0:
        return _ALL, _NO_INDICES
    least, most = array.min(), array.max()
    if least < -length or most >= length:
        bad = int(np.argmax((array < -length) | (array >= length)))
        allowed = f"from {-length} to {length - 1}" if length else "absent"
        raise IndexError(
            f"{name}[{bad}] is {array[bad]}; x has {length} {name}, so it must be {allowed}"
        )
    indices = native(array).astype(np.intp, copy=False)
    if least < 0:
        indices = np.where(indices < 0, indices + length, indices)
    return _ALL, np.ascontiguousarray(indices)


def _kept(indices: Array) -> Selection:
    """The indices of a mask, as a slice where they have no gaps."""
    if indices.size and indices[-1] - indices[0] == indices.size - 1:
        return slice(int(indices[0]), int(indices[-1]) + 1), None
    return _ALL, indices


def _viewed(
    array: Array, rows: Selection, cols: Selection
) -> tuple[Array, Array | None, Array | None]:
    """The view by the slices, and the indices into it."""
    return array[..., rows[0], cols[0]], rows[1], cols[1]


def _lengths(view: Array, rows: Array | None, cols: Array | None) -> tuple[int, int]:
    """How many rows and columns are selected."""
    return (
        view.shape[-2] if rows is None else rows.size,
        view.shape[-1] if cols is None else cols.size,
    )


def _empty_like(x: Array, shape: tuple[int, ...]) -> Array:
    """A new array in whose memory those of the last two axes lie as in x."""
    if abs(x.strides[-2]) < abs(x.strides[-1]):
        return np.empty((*shape[:-2], shape[-1], shape[-2]), x.dtype).swapaxes(-1, -2)
    return np.empty(shape, x.dtype)


def _fitted(values: Array, shape: tuple[int, ...]) -> Array:
    """The values, if they broadcast to the shape; as in NumPy, leading axes of length 1 may go."""
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = values[0]
    pairs = zip(values.shape[::-1], shape[::-1], strict=False)
    if values.ndim > len(shape) or not all(n in (1, length) for n, length in pairs):
        raise ValueError(f"values has shape {values.shape}, which does not broadcast to {shape}")
    return values


def _repeats(indices: Array | None) -> bool:
    """Whether an index is there twice."""
    if indices is None or bool((indices[1:] > indices[:-1]).all()):
        return False
    return np.unique(indices).size < indices.size


def _call(
    name: str,
    source: Array,
    rows: Array | None,
    cols: Array | None,
    target: Array,
    in_order: bool = False,
) -> None:
    """Call a kernel, for each of the leading axes that it has no room for."""
    ndim = max(source.ndim, target.ndim)
    if ndim > AXES:
        lead = ndim - AXES
        source = np.broadcast_to(source, (*target.shape[:-2], *source.shape[-2:]))
        for index in np.ndindex(target.shape[:lead]):
            _call(name, source[index], rows, cols, target[index], in_order)
        return
    size = target.itemsize
    entry, *crossovers = _kernels.get((name, size)) or _load(name, size)
    indices = (_NO_INDICES if index is None else index for index in (rows, cols))
    a, b = source[_padding[source.ndim]], target[_padding[target.ndim]]
    entry(a, *indices, b, *((_NEVER, _NEVER) if in_order else crossovers))


def _add_up(g: Array, order: Array, starts: Array, cols: Array | None, target: Array) -> None:
    """Call the kernel of the gradient, for each of the leading axes that it has no room for."""
    if g.ndim > AXES:
        for i in range(len(g)):
            _add_up(g[i], order, starts, cols, target[i])
        return
    entry = entry_of("submatrix_vjp", "add_up", g.dtype)
    indices = order, starts, _NO_INDICES if cols is None else cols
    entry(g[_padding[g.ndim]], *indices, target[_padding[target.ndim]])


def _load(name: str, size: int) -> _Kernel:
    """Find the kernel that moves items of this size."""
    from fastmat.cpu import submatrix
    from fastmat.cpu.blocking_transpose import tuning
    from fastmat.cpu.strides import BITS

    entry = getattr(submatrix, name).entry(np.dtype(BITS[size].name))
    row = tuning(size)
    _kernels[name, size] = entry, row.parallel, row.streamed
    return _kernels[name, size]
