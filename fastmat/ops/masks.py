"""Masks of products that take no memory, or little: bands of diagonals and blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array


class Band(NamedTuple):
    """The entries (i, j) of an (m, n) matrix with ``-lower <= j - i <= upper``."""

    m: int
    n: int
    lower: int
    upper: int


class Blocks(NamedTuple):
    """The entries (i, j) with ``mask[..., i // height, j // width]``."""

    mask: Any
    height: int
    width: int


def banded(m: int, n: int, lower: int, upper: int) -> Band:
    """The diagonals from `lower` below the main one to `upper` above it.

    Parameters
    ----------
    m, n
        Shape of the product.
    lower, upper
        How many diagonals to keep on either side; negative ones leave the main diagonal out.

    Returns
    -------
    Band

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.matmul(np.ones((3, 1), int), np.ones((1, 3), int), mask=fm.masks.banded(3, 3, 0, 1))
    array([[1, 1, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """
    return Band(m, n, lower, upper)


def lower(m: int, n: int) -> Band:
    """The entries on and below the main diagonal, as `numpy.tril` keeps them.

    Parameters
    ----------
    m, n
        Shape of the product.

    Returns
    -------
    Band
    """
    return Band(m, n, m, 0)


def causal(m: int, n: int) -> Band:
    """What attention to the past keeps, ``j <= i``: the same as `lower`.

    Parameters
    ----------
    m, n
        Shape of the product.

    Returns
    -------
    Band
    """
    return Band(m, n, m, 0)


def upper(m: int, n: int) -> Band:
    """The entries on and above the main diagonal, as `numpy.triu` keeps them.

    Parameters
    ----------
    m, n
        Shape of the product.

    Returns
    -------
    Band
    """
    return Band(m, n, 0, n)


def blocks(block_mask: Any, block_shape: tuple[int, int]) -> Blocks:
    """Whole blocks of entries.

    Parameters
    ----------
    block_mask
        Booleans ``(..., ceil(m / height), ceil(n / width))``: which blocks to keep.
    block_shape
        ``(height, width)`` of a block; those at the end are cut.

    Returns
    -------
    Blocks

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> kept = fm.masks.blocks(np.eye(2, dtype=bool), (2, 1))
    >>> fm.matmul(np.ones((3, 1), int), np.ones((1, 2), int), mask=kept)
    array([[1, 0],
           [1, 0],
           [0, 1]])
    """
    return Blocks(block_mask, *block_shape)


Kept = tuple[Array, int, int, int, int]  # blocks, their height and width, the band


def kept_by(mask: Any, shape: tuple[int, ...], removed: tuple[int, ...]) -> Kept:
    """A mask as kernels take it: blocks ``(..., rows, columns)`` and a band.

    Parameters
    ----------
    mask
        None, a `Band`, `Blocks`, or booleans that broadcast to the result.
    shape
        Of the product, with the axes that the result lacks.
    removed
        Those axes.
    """
    m, n = shape[-2:]
    height, width, below, above = m + 1, n + 1, m + n, m + n
    if mask is None:
        return np.ones((1, 1), bool), height, width, below, above
    if isinstance(mask, Band):
        numbers = [_integer(f"mask.{name}", x) for name, x in mask._asdict().items()]
        if tuple(numbers[:2]) != (m, n):
            raise ValueError(f"mask is of shape {tuple(numbers[:2])}; the product is {(m, n)}")
        below, above = (min(max(x, -(m + n)), m + n) for x in numbers[2:])
        return np.ones((1, 1), bool), height, width, below, above
    if isinstance(mask, Blocks):
        array = _booleans(mask.mask)
        height, width = (_integer(f"mask.{x}", getattr(mask, x)) for x in ("height", "width"))
        if min(height, width) < 1:
            raise ValueError(f"mask has blocks of {height} x {width}; they must not be empty")
        wanted = (-(-m // height), -(-n // width))
        if array.ndim < 2 or array.shape[-2:] != wanted:
            raise ValueError(
                f"mask has blocks of shape {array.shape}; a product of shape {(m, n)} in blocks of "
                f"{height} x {width} wants (..., {wanted[0]}, {wanted[1]})"
            )
        _check_batch(array.shape[:-2], shape[:-2])
        return array, height, width, below, above
    array = _booleans(mask)
    result = tuple(length for axis, length in enumerate(shape) if axis not in removed)
    try:
        fits = np.broadcast_shapes(array.shape, result) == result
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"mask has shape {array.shape}, which does not broadcast to the result's, {result}"
        )
    array = array.reshape((1,) * (len(result) - array.ndim) + array.shape)
    array = np.expand_dims(array, removed) if removed else array
    return np.broadcast_to(array, (*array.shape[:-2], m, n)), 1, 1, below, above


def dense(kept: Kept, shape: tuple[int, ...]) -> Array:
    """A mask as booleans that broadcast to a product of this shape."""
    array, height, width, below, above = kept
    i, j = np.arange(shape[-2])[:, np.newaxis], np.arange(shape[-1])
    return array[..., i // height, j // width] & (-below <= j - i) & (j - i <= above)


def _booleans(mask: Any) -> Array:
    array = as_array(mask, "mask")
    if array.dtype != bool:
        raise TypeError(f"mask has dtype {array.dtype}; it must be bool")
    return array


def _check_batch(got: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    try:
        fits = np.broadcast_shapes(got, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"mask has leading axes {got}, which do not broadcast to {wanted}")


def _integer(name: str, value: Any) -> int:
    try:
        return int(value.__index__())
    except AttributeError:
        raise TypeError(f"{name} is {value!r}; it must be an integer") from None
