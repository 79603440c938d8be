"""Random permutations, orthogonal and sparse matrices, and the weights that layers begin with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array
from fastmat.core.arrays import like as in_library_of
from fastmat.core.checks import check_out
from fastmat.core.devices import also_on_gpu
from fastmat.ops.draws import (
    FLOATING,
    REAL,
    Shape,
    draw,
    dtype_of,
    key_of,
    place_of,
    shape_of,
)
from fastmat.ops.statistics import entry_of, integer, number

MOST_ROWS = 2**32  # of a sparse matrix, and columns

_SINGLE_INDEX = np.dtype(np.int64)


@also_on_gpu
def permutation(
    x: Any, *, out: Any = None, rng: Any = None, stream: int = 0, offset: int = 0
) -> Any:
    """The numbers up to `x`, or the items of an array along its first axis, in random order.

    Parameters
    ----------
    x
        An integer, for ``np.arange(x)``, or array-like.
    out
        Where to store the result; it may be `x` itself, or overlap it.
    rng, stream
        As `uniform`.
    offset
        The position in the stream of the first key.

    Returns
    -------
    array of the shape and dtype of `x`, ``(x,)`` and int64 for an integer

    Raises
    ------
    ValueError
        A negative integer, or an array without axes; else as `uniform`.
    TypeError
        As `uniform`.

    Notes
    -----
    All orders are equally likely. Item i has a key of 64 random bits, those of the position
    offset + i, and the order is that of the keys; of items, where keys are alike.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.permutation(6, rng=1)
    array([4, 3, 1, 2, 5, 0])
    >>> fm.random.permutation(["a", "b", "c"], rng=3)
    array(['c', 'b', 'a'], dtype='<U1')
    """
    array = None if isinstance(x, int | np.integer) else as_array(x, "x")
    if array is None or (array.ndim == 0 and array.dtype.kind in "iu"):
        array, count = None, int(x)
        if count < 0:
            raise ValueError(f"x is {count}; it must not be negative")
    elif array.ndim == 0:
        raise ValueError("x has no axes; it must have one or more, or be an integer")
    else:
        count = len(array)
    key = key_of(rng, stream)
    first = place_of(count, offset, None, None).first
    destination = None
    if out is not None:
        shape, dtype = ((count,), _SINGLE_INDEX) if array is None else (array.shape, array.dtype)
        destination = check_out(out, shape, dtype)
    order = np.empty(count, np.int64)
    if count:
        entry_of("random_matrices", "permutation", _SINGLE_INDEX)(order, first, *key)
    result = order if array is None else array[order]
    if destination is None:
        return result if array is None else in_library_of(result, x)
    np.copyto(destination, result, casting="same_kind")
    return out


@also_on_gpu
def orthogonal(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: int = 0,
    like: Any = None,
) -> Any:
    """A matrix with orthonormal columns, or rows where it has more columns, by Haar's measure.

    Parameters
    ----------
    n, m
        Rows and columns; without `m` it is square.
    dtype
        As `standard_normal`; complex matrices are unitary.
    out, rng, stream, like
        As `uniform`.
    offset
        The position in the stream of the first normal number that is drawn.

    Returns
    -------
    array (n, m), or `out`

    Raises
    ------
    ValueError, TypeError
        As `uniform`.

    Notes
    -----
    The first factor of the QR decomposition, by LAPACK, of a matrix of normal numbers, its columns
    multiplied by signs (phases, if complex) that make the diagonal of R positive. Without that it
    would not be equally likely in all directions. Its bits are those of the LAPACK in SciPy; on
    GPUs they are those of `linalg.qr_tall`.

    References
    ----------
    Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the
    AMS 54(5), 2007, section 5.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> q = fm.random.orthogonal(5, 3, rng=1)
    >>> np.allclose(q.T @ q, np.eye(3))
    True
    """
    from scipy import linalg

    kind = dtype_of(dtype, out, "float64", FLOATING)
    rows, cols = lengths_of(n, m)
    destination = None if out is None else check_out(out, (rows, cols), kind)
    size = (max(rows, cols), min(rows, cols))
    place, key = place_of(size, offset, None, None), key_of(rng, stream)
    factor = 1.0 if kind.kind == "f" else math.sqrt(0.5)
    result = draw("random", "normal", kind, place, key, None, 0.0, 0.0, factor)
    if result.size:
        result, triangle = linalg.qr(result, mode="economic", check_finite=False)
        result = _turned(result, np.diagonal(triangle))
    if rows < cols:
        result = result.T
    if destination is None:
        return in_library_of(np.ascontiguousarray(result), like)
    np.copyto(destination, result, casting="same_kind")
    return out


def lengths_of(n: Any, m: Any) -> tuple[int, int]:
    """Rows and columns."""
    rows = integer(n, "n")
    cols = rows if m is None else integer(m, "m")
    for length, name in ((rows, "n"), (cols, "m")):
        if length < 0:
            raise ValueError(f"{name} is {length}; it must not be negative")
    return rows, cols


def _turned(q: Array, diagonal: Array) -> Array:
    """Each column times the sign of its number, by real arithmetic: the same in compiled code."""
    if q.dtype.kind == "f":
        return np.asarray(q * np.sign(diagonal))
    real, imag = diagonal.real.astype(np.float64), diagonal.imag.astype(np.float64)
    size = np.sqrt(real * real + imag * imag)
    a, b = ((part / size).astype(q.real.dtype) for part in (real, imag))
    result = np.empty(q.shape, q.dtype)
    result.real = q.real * a - q.imag * b
    result.imag = q.real * b + q.imag * a
    return result


def sparse_sign(
    shape: Any,
    nnz_per_column: int,
    *,
    dtype: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: int = 0,
) -> Any:
    """A sparse matrix with as many entries in each column, 1 or -1 over the root of their number.

    Parameters
    ----------
    shape
        Rows and columns, each at most 2**32.
    nnz_per_column
        How many entries a column has, in different rows: from 1 to the number of rows.
    dtype
        float32 or float64, the default.
    rng, stream
        As `uniform`.
    offset
        The number of the first column: the result is then the columns from there on of a larger
        matrix.

    Returns
    -------
    scipy.sparse.csc_array
        With sorted indices. Inside njit the three arrays ``(data, indices, indptr)`` of one.

    Raises
    ------
    ValueError
        More entries than rows; a shape of other than two lengths; else as `uniform`.
    TypeError
        As `uniform`.

    Notes
    -----
    Column j depends on (seed, stream, j), the number of rows and that of entries alone. Its rows
    are a sample without replacement by Floyd's algorithm, each of the integers in it with a bias
    below 2**-32. Sketches by such matrices keep lengths about as well as those by dense ones, with
    8 entries in a column; the columns are orthonormal in expectation.

    References
    ----------
    Bentley and Floyd, "Programming pearls: a sample of brilliance", CACM 30(9), 1987. Martinsson
    and Tropp, "Randomized numerical linear algebra", Acta Numerica 29, 2020, section 9.2.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.sparse_sign((4, 3), 2, rng=1).toarray().round(2)
    array([[ 0.  ,  0.71, -0.71],
           [ 0.  , -0.71,  0.  ],
           [ 0.71,  0.  , -0.71],
           [-0.71,  0.  ,  0.  ]])
    """
    from scipy import sparse

    kind = dtype_of(dtype, None, "float64", REAL)
    lengths = shape_of(shape, "shape")
    if len(lengths) != 2:
        raise ValueError(f"shape is {shape!r}; it must have two lengths")
    rows, columns = lengths
    entries, first = integer(nnz_per_column, "nnz_per_column"), integer(offset, "offset")
    if columns and not 1 <= entries <= rows:
        raise ValueError(
            f"nnz_per_column is {entries}; it must be from 1 to {rows}, the number of rows"
        )
    if first < 0 or first + columns > MOST_ROWS or rows > MOST_ROWS:
        raise ValueError(
            f"shape is {lengths} and offset {first}; there are at most 2**32 rows and columns, "
            "from 0 on"
        )
    key = key_of(rng, stream)
    entries = entries if columns else 0
    data, indices = np.empty((columns, entries), kind), np.empty((columns, entries), np.int64)
    if data.size:
        entry = entry_of("random_matrices", "sparse_sign", kind)
        entry(data, indices, rows, first, *key)
    starts = np.arange(columns + 1, dtype=np.int64) * entries
    found = sparse.csc_array((data.reshape(-1), indices.reshape(-1), starts), shape=lengths)
    found.has_sorted_indices = found.has_canonical_format = True
    return found


@also_on_gpu
def glorot_uniform(
    shape: Any,
    *,
    gain: float = 1.0,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """Weights of a layer, uniform, whose variance suits both ways through it.

    Parameters
    ----------
    shape
        ``(outputs, inputs, *receptive_field)``, as PyTorch has it: two lengths or more.
    gain
        What the bound is multiplied by, at least 0.
    dtype, out, rng, stream, offset, whole, like
        As `uniform`. Of a block, it is `whole` that says how many inputs there are.

    Returns
    -------
    array of this shape, or `out`

    Raises
    ------
    ValueError, TypeError
        Fewer than two lengths, a negative gain; else as `uniform`.

    Notes
    -----
    Uniform up to gain * sqrt(6 / (fan_in + fan_out)), as `torch.nn.init.xavier_uniform_`: inputs
    and outputs, times the size of the receptive field.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, equation 16.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.glorot_uniform((2, 3), rng=1).round(3)
    array([[ 0.855,  0.188,  0.377],
           [-0.053, -0.553,  0.467]])
    """
    kind = dtype_of(dtype, out, "float64", REAL)
    inputs, outputs = fans(shape, whole)
    bound = factor_of(gain) * math.sqrt(6.0 / max(1, inputs + outputs))
    place, key = place_of(shape, offset, whole, out), key_of(rng, stream)
    return draw("random", "uniform", kind, place, key, out, -bound, bound + bound, like=like)


@also_on_gpu
def he_normal(
    shape: Any,
    *,
    gain: float = math.sqrt(2.0),
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """Weights of a layer before a relu, normal, that keep the variance of what goes through it.

    Parameters
    ----------
    shape
        As `glorot_uniform`.
    gain
        What the deviation is multiplied by, at least 0; sqrt(2) is that of a relu.
    dtype, out, rng, stream, offset, whole, like
        As `glorot_uniform`.

    Returns
    -------
    array of this shape, or `out`

    Raises
    ------
    ValueError, TypeError
        As `glorot_uniform`.

    Notes
    -----
    Normal, of deviation gain / sqrt(fan_in), as `torch.nn.init.kaiming_normal_`: inputs, times the
    size of the receptive field.

    References
    ----------
    He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015, equation 10.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.he_normal((2, 3), rng=1).round(3)
    array([[-0.338, -0.202, -0.719],
           [ 0.111, -0.313, -1.328]])
    """
    kind = dtype_of(dtype, out, "float64", REAL)
    inputs, _ = fans(shape, whole)
    deviation = factor_of(gain) / math.sqrt(max(1, inputs))
    place, key = place_of(shape, offset, whole, out), key_of(rng, stream)
    return draw("random", "normal", kind, place, key, out, 0.0, 0.0, deviation, like=like)


def fans(shape: Any, whole: Any) -> tuple[int, int]:
    """How many numbers come together at an output, and leave an input."""
    lengths: Shape = shape_of(shape, "shape") if whole is None else shape_of(whole, "whole")
    if len(lengths) < 2:
        raise ValueError(f"shape is {shape!r}; it must have two lengths or more")
    field = math.prod(lengths[2:])
    return lengths[1] * field, lengths[0] * field


def factor_of(gain: Any) -> float:
    """What weights are multiplied with."""
    found = number(gain, "gain")
    if not 0 <= found < math.inf:
        raise ValueError(f"gain is {found}; it must be at least 0, and finite")
    return found
