"""Masked fills and submatrices in plain NumPy."""

import numpy as np


def cast(value, dtype):
    """A value in this dtype, as NumPy casts it."""
    with np.errstate(all="ignore"):
        return np.asarray(value).astype(dtype)


def masked_fill(x, mask, value):
    """Of byte-swapped items NumPy's `where` would change the order; indexing keeps their bits."""
    x, mask, value = np.broadcast_arrays(x, mask, cast(value, np.asarray(x).dtype))
    result = x.copy()
    result[mask] = value[mask]
    return result


def mask_rows_cols(x, row_mask, col_mask, fill=0):
    rows = np.ones(x.shape[-2], bool) if row_mask is None else row_mask
    cols = np.ones(x.shape[-1], bool) if col_mask is None else col_mask
    kept = np.asarray(rows)[..., :, None] & np.asarray(cols)[..., None, :]
    return masked_fill(x, ~kept, fill)


def repeated_sum(x, shape):
    """The sums of x over the axes along which an array of this shape is repeated, in long double.

    As many digits as NumPy has: so that the rounding of the sums themselves can be seen.
    """
    wide = np.clongdouble if x.dtype.kind == "c" else np.longdouble
    lead = x.ndim - len(shape)
    axes = [k for k in range(x.ndim) if k < lead or (shape[k - lead] == 1 and x.shape[k] != 1)]
    return np.sum(x, tuple(axes), wide, keepdims=True).reshape(shape)


def indices(selection, length):
    """The indices that a selection names, counted from 0."""
    if selection is None:
        return np.arange(length)
    if isinstance(selection, slice):
        return np.arange(length)[selection]
    selection = np.asarray(selection)
    if selection.dtype == bool:
        assert selection.shape == (length,)
        return np.flatnonzero(selection)
    selection = selection.astype(np.intp)
    return np.where(selection < 0, selection + length, selection)


def take_submatrix(x, rows, cols):
    r, c = indices(rows, x.shape[-2]), indices(cols, x.shape[-1])
    return x[..., r[:, None], c]


def put_submatrix(x, rows, cols, values):
    """The array after NumPy has written to it, item after item."""
    result = x.copy()
    written = take_submatrix(x, rows, cols)
    written[...] = cast(values, x.dtype)
    for i, row in enumerate(indices(rows, x.shape[-2])):
        for j, col in enumerate(indices(cols, x.shape[-1])):
            result[..., row, col] = written[..., i, j]
    return result


def take_submatrix_vjp(cotangent, rows, cols, shape):
    wide = np.clongdouble if cotangent.dtype.kind == "c" else np.longdouble
    result = np.zeros(shape, wide)
    for i, row in enumerate(indices(rows, shape[-2])):
        for j, col in enumerate(indices(cols, shape[-1])):
            result[..., row, col] += cotangent[..., i, j]
    return result
