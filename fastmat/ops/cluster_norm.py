"""Normalization of rows within clusters that are given, or that k-means finds; its gradient."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.dtypes import kernel_name
from fastmat.ops.differentiated import Gradients
from fastmat.ops.normalized import parameters_for
from fastmat.ops.statistics import (
    delivered,
    entry_of,
    number,
    numbers_of,
    target_for,
)

MOST_LABELS = 65536  # that any array of rows may have; a longer one may have one for each row
SEEDS = 2**63  # how many seeds a Generator gives: what Numba's generators can give, too


class ClusterNormalized(NamedTuple):
    """A result with the statistics it was made with, and the cluster of each row."""

    result: Any
    mean: Any
    rstd: Any
    labels: Any


def cluster_norm(
    x: Any,
    clusters: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    rng: Any = None,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """Normalize each feature of the rows of each cluster to mean 0 and variance 1.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, with mean and (biased) variance of each
    feature over the rows of one cluster: batch normalization, cluster by cluster.

    Parameters
    ----------
    x
        Array-like ``(n, d)`` of a floating dtype; integers and bool count as float64.
    clusters
        Integers ``(n,)``, the cluster of each row, numbered from 0; the largest must be less than
        n or 65536, and some may be absent. Or an integer k from 1 to n: then k-means finds
        clusters.
    weight, bias
        ``(d,)``, multiplied with and added to the normalized numbers.
    eps
        Added to the variance.
    rng
        The seed of k-means: an integer from 0 to 2**64 - 1, a `numpy.random.Generator`, from
        which one integer is drawn, whatever else `numpy.random.default_rng` takes, or None for a
        seed from the operating system (inside njit, from Numba's `np.random`). Not used where
        `clusters` is an array.
    out
        Where to store the result; may be `x` itself, or overlap any argument.
    return_stats
        Whether to return mean, 1 / sqrt(variance + eps) and labels as well.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_stats` a named tuple
    ``(result, mean, rstd, labels)``, statistics ``(k, d)`` in float64 where k is the number of
    clusters (the largest label + 1), labels ``(n,)`` in intp

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; dtypes that are not real numbers; labels that are negative, too
        large or no integers; NaN or infinities where k-means is to find clusters.

    Notes
    -----
    Statistics are held in float64: see `fastmat.moments`. NaN and infinities stay in their feature
    of their cluster. A cluster of one row has the variance 0, so that its row becomes `bias` (NaN
    if `eps` is 0, too); a cluster without rows has NaN for mean and rstd, and touches nothing.

    k-means starts by greedy k-means++ [1]_ and moves centers by at most 300 of Lloyd's
    iterations [2]_, as scikit-learn does. Rows that are at the same distance from two centers, as
    far as rounding tells, go to the lower label. A center that loses all of its rows stays where it
    is, so a cluster may be empty. The same seed gives the same labels at any number of threads, and
    in compiled code.

    References
    ----------
    .. [1] Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    .. [2] Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28(2), 1982.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0], [10.0], [3.0], [30.0]])
    >>> fm.cluster_norm(x, np.array([0, 1, 0, 1]), eps=0.0)
    array([[-1.],
           [-1.],
           [ 1.],
           [ 1.]])
    >>> fm.cluster_norm(x, 2, rng=0, return_stats=True).labels.shape
    (4,)
    """
    array = _by_rows(numbers_of(x))
    eps = number(eps, "eps")
    parameters = parameters_for(array, (1,), weight, bias, array.shape[1:])
    target = _target_by_rows(out, array, parameters)
    labels, count = _clustered(array, clusters, rng)
    mean, rstd = (
        np.full((count, array.shape[1]) if return_stats else (0, 0), np.nan) for _ in range(2)
    )
    if array.size:
        views = (_in_groups(part) for part in (array, *parameters, target))
        entry = entry_of("cluster_norm", "cluster_norm", array.dtype)
        entry(*views, labels, mean, rstd, count, eps)
    result = delivered(target, out, x)
    return ClusterNormalized(result, mean, rstd, labels) if return_stats else result


def cluster_norm_vjp(
    cotangent: Any,
    x: Any,
    labels: Any,
    mean: Any,
    rstd: Any,
    weight: Any = None,
    *,
    out: Any = None,
) -> Gradients:
    """Gradients of `cluster_norm`: the vector-Jacobian product of a cotangent.

    Labels count as constants, also those that k-means has found.

    Parameters
    ----------
    cotangent
        ``(n, d)``, the gradient by the result of `cluster_norm`; converted to the dtype of `x`.
    x
        What `cluster_norm` was given, ``(n, d)``.
    labels, mean, rstd
        What `cluster_norm` returned, ``(n,)`` and ``(k, d)``.
    weight
        What `cluster_norm` was given, ``(d,)``.
    out
        Where to store the gradient by `x`; may overlap any argument.

    Returns
    -------
    named tuple ``(x, weight, bias)``
        The gradient by `x`, in its shape and dtype, and those by weight and bias, ``(d,)`` in the
        dtype of `weight`; None where `weight` is None.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; dtypes that are not real numbers; labels that mean does not have.

    Notes
    -----
    Computed in float64, and rounded to the dtype that is computed in (float32 for 16-bit floats)
    and that of the result. The row of a cluster of one row has the gradient 0, because its result
    does not depend on it; NaN if `eps` was 0, and then those by the weight are NaN, too.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0], [10.0], [3.0], [30.0]])
    >>> result, *statistics = fm.cluster_norm(x, np.array([0, 1, 0, 1]), return_stats=True)
    >>> gradients = fm.cluster_norm_vjp(np.ones((4, 1)), x, statistics[2], *statistics[:2])
    >>> gradients.x.ravel()
    array([0., 0., 0., 0.])
    """
    array = _by_rows(numbers_of(x))
    n, d = array.shape
    given = _real(cotangent, "cotangent", array.shape).astype(array.dtype, copy=False)
    means, factors = (as_array(part, name) for part, name in ((mean, "mean"), (rstd, "rstd")))
    if means.ndim != 2 or means.shape[1] != d:
        raise ValueError(f"mean has shape {means.shape}; it must have (k, {d})")
    statistics = [
        np.ascontiguousarray(_real(part, name, means.shape), np.float64)
        for part, name in ((means, "mean"), (factors, "rstd"))
    ]
    weights = np.ones(d) if weight is None else _real(weight, "weight", (d,))
    wide = np.ascontiguousarray(weights, np.float64)
    rows, count = _labelled(as_array(labels, "labels"), "labels", n)
    if count > len(means):
        raise ValueError(f"labels has the label {count - 1}; mean has {len(means)} clusters")
    target = _target_by_rows(out, array, (given, *statistics, wide))
    dweight, dbias = np.zeros(d), np.zeros(d)
    if array.size:
        views = (_in_groups(part) for part in (_by_rows(native(given)), array, target))
        entry = entry_of("cluster_norm_vjp", "cluster_norm_vjp", array.dtype)
        entry(*views, rows, *statistics, wide, dweight, dbias)
    result = delivered(target, out, x)
    if weight is None:
        return Gradients(result, None, None)
    dtype = np.dtype(np.float64) if weights.dtype.kind in "biu" else native(weights).dtype
    return Gradients(result, *(like(sums.astype(dtype), weight) for sums in (dweight, dbias)))


def _by_rows(array: Array) -> Array:
    """Rows (n, d), by way of a copy where columns lie in one piece.

    Rows are read in any order, so that a cache line would be fetched for each number: with
    100,000 rows of 64 numbers that took three times as long.
    """
    if array.ndim != 2:
        raise ValueError(f"x has shape {array.shape}; it must have (n, d)")
    return np.ascontiguousarray(array) if _is_by_columns(array) else array


def _target_by_rows(out: Any, array: Array, others: Any) -> Array:
    """As `target_for`, but a new array where the columns of `out` lie in one piece."""
    target = target_for(out, array, others)
    return np.empty(array.shape, array.dtype) if _is_by_columns(target) else target


def _is_by_columns(array: Array) -> bool:
    return min(array.shape) > 1 and abs(array.strides[0]) < abs(array.strides[1])


def _real(x: Any, name: str, shape: tuple[int, ...]) -> Array:
    """An argument of real numbers of this shape."""
    array = as_array(x, name)
    if kernel_name(array.dtype) is None or array.dtype.kind == "c":
        raise TypeError(f"{name} has dtype {array.dtype}; it must be real numbers")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it must have {shape}")
    return array


def _in_groups(array: Array) -> Array:
    """Rows (n, d) as kernels take them, ``(1, d, 1, 1, n)``."""
    return array.T[np.newaxis, :, np.newaxis, np.newaxis]


def _clustered(array: Array, clusters: Any, rng: Any) -> tuple[Array, int]:
    """The label of each row, and the number of clusters."""
    given = as_array(clusters, "clusters")
    if given.ndim:
        return _labelled(given, "clusters", len(array))
    try:
        count = operator.index(clusters)
    except TypeError:
        raise TypeError(
            f"clusters is {clusters!r}; it must be an integer, or one for each row of x"
        ) from None
    if not 1 <= count <= len(array):
        raise ValueError(f"clusters is {count}; it must be from 1 to {len(array)}, the rows of x")
    if not np.isfinite(array).all():
        raise ValueError("x has NaN or infinities; k-means wants finite numbers")
    labels = np.zeros(len(array), np.int64)
    seed = seed_of(rng)
    if array.size:
        entry_of("kmeans", "kmeans", array.dtype)(array, labels, count, seed)
    return labels.astype(np.intp, copy=False), count


def _labelled(given: Array, name: str, n: int) -> tuple[Array, int]:
    """Labels as integers from 0, and how many there are."""
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {given.dtype}; it must be integers")
    if given.shape != (n,):
        raise ValueError(f"{name} has shape {given.shape}; it must have {(n,)}, one for each row")
    if n == 0:
        return np.empty(0, np.intp), 0
    least, largest = int(given.min()), int(given.max())
    if least < 0:
        raise ValueError(f"{name} has the label {least}; labels are numbered from 0")
    if largest >= max(n, MOST_LABELS):
        raise ValueError(
            f"{name} has the label {largest}; it must be less than {max(n, MOST_LABELS)}: number "
            "labels without gaps by np.unique(labels, return_inverse=True)"
        )
    return np.array(given, np.intp), largest + 1


def seed_of(rng: Any) -> int:
    """The seed that `rng` stands for: itself, or a number drawn from a generator."""
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool):
        seed = int(rng)
        if not 0 <= seed < 2**64:
            raise ValueError(f"rng is {seed}; a seed must be from 0 to 2**64 - 1")
        return seed
    try:
        generator = np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng is {rng!r}; it must be a seed, a numpy.random.Generator or None"
        ) from error
    return int(generator.integers(SEEDS - 1))
