"""Randomized singular value decomposition, eigendecomposition and range finder."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, like
from fastmat.core.devices import also_on_gpu
from fastmat.ops.approximations import Eigenpairs, ErrorEstimate, LowRank, RandomizedSVD
from fastmat.ops.decompositions import eigh_of_rank, of_rank, relative_errors, within
from fastmat.ops.draws import key_of
from fastmat.ops.low_rank import (
    iterations,
    normalizer_of,
    operand_of,
    tolerance,
    transposes,
    whole_number,
)
from fastmat.ops.range_finder import sketched
from fastmat.ops.statistics import entry_of


@also_on_gpu
def randomized_svd(
    x: Any,
    n_components: int | None = None,
    *,
    tol: float | None = None,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    transpose: bool | str = "auto",
    flip_sign: bool = True,
    norm: str = "fro",
    rng: Any = None,
) -> RandomizedSVD:
    """The largest singular values of a matrix and their vectors, to a rank or to a tolerance.

    Parameters
    ----------
    x
        Array-like ``(..., m, n)``; ``(m, n)``: a SciPy sparse array or matrix of any format, a
        ``LinearOperator``, or a `RowBlocks`, which need not fit in memory.
        Integers and bool count as float64, float16 and bfloat16 as float32.
    n_components
        How many; with `tol`, how many at the most. At least 1 and at most ``min(m, n)``.
    tol
        Stop at the least rank whose error is at most `tol` times the norm of `x`, by a bound that
        holds with a probability of 0.999, also for tolerances below the square root of the
        precision. Between 0 and 1. Not for stacks, whose ranks might differ.
    n_oversamples
        How many more random vectors there are than components; they are dropped in the end.
    n_iter
        Power iterations, each of two products with `x`. "auto": 7 if `n_components` is less than a
        tenth of the smaller side, else 4, as in scikit-learn; 1 with `tol` alone.
    power_iteration_normalizer
        What is done between products, so that small singular values are not lost: "QR", "LU"
        (SciPy's), or "none", where only the magnitude is kept in check. "auto" is QR after both
        products of an iteration or, where the singular values of the sketch span no more than
        the square root of the precision, after the second one: both are one pass over `x` then
        (`linalg.power_step`), and with few columns all iterations are (`linalg.gram`). (In
        scikit-learn "auto" is LU, and none for up to two iterations.)
    transpose
        Whether to work on the transposed matrix; "auto" does where `x` is wider than tall.
    flip_sign
        Make the entry of largest magnitude in each column of U real and positive, whether or not
        the matrix was transposed.
    norm
        Of the error that `tol` bounds: "fro" or "spectral".
    rng
        A seed, a `numpy.random.Generator`, or None: random numbers of the system.

    Returns
    -------
    RandomizedSVD
        A tuple ``(U, S, Vh)`` of shapes ``(..., m, k)``, ``(..., k)`` and ``(..., k, n)``, with
        the attributes `error` (bounds for the relative error, ``frobenius`` and ``spectral``, each
        of which holds with a probability of 0.999), `n_iter`, `n_passes` (how many times `x` was
        read) and `rank`.

    Raises
    ------
    ValueError
        Neither `n_components` nor `tol`; numbers out of range; NaN or infinity in `x`; a sparse
        `x` whose indices lead out of it; a ``LinearOperator`` whose products have another shape.
    TypeError
        Dtypes that are not numbers, arguments of other types; a ``LinearOperator`` that has no
        adjoint, or whose products have another dtype.

    Notes
    -----
    Random numbers are addressed by their position (`fastmat.random`), and sums are split by shape:
    the result has the same bits at any number of threads.

    The error is judged by 16 random vectors that the factors do not depend on and that share a
    pass over `x` with the sketch. Of what the sketch missed they give an upper bound in the
    Frobenius norm, too large by a factor of 2 as a rule, and in the spectral norm by lemma 4.1 of
    [1]_; what was dropped of the sketch is known.

    References
    ----------
    .. [1] N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness:
       Probabilistic algorithms for constructing approximate matrix decompositions", SIAM Review
       53(2), 2011: algorithms 4.4 and 5.1.
    .. [2] W. Yu, Y. Gu and Y. Li, "Efficient randomized algorithms for the fixed-precision
       low-rank matrix approximation", SIAM J. Matrix Anal. Appl. 39(3), 2018: algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.outer([1.0, 2.0, 2.0], [3.0, 0.0, 4.0, 0.0])
    >>> U, S, Vh = fm.randomized_svd(x, 1, rng=0)
    >>> S.round(6), U[:, 0].round(6)
    (array([15.]), array([0.333333, 0.666667, 0.666667]))
    >>> found = fm.randomized_svd(x, tol=1e-8, rng=0)
    >>> found.rank, found.error.frobenius < 1e-8
    (1, True)
    """
    a = operand_of(x)
    plan = planned(
        a.shape,
        n_components,
        tol,
        n_oversamples,
        n_iter,
        power_iteration_normalizer,
        transpose,
        flip_sign,
        norm,
        rng,
    )
    if a.ndim == 2:
        found = _factorized(a, plan)
    else:
        found = _of_stack([_factorized(a[index], plan) for index in np.ndindex(a.shape[:-2])], a)
    if isinstance(x, np.ndarray) or not isinstance(a, np.ndarray):
        return found
    return RandomizedSVD(*(like(part, x) for part in found), *found.__reduce__()[1][3:])


@also_on_gpu
def low_rank_approximation(
    x: Any,
    rank: int | None = None,
    *,
    tol: float | None = None,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    transpose: bool | str = "auto",
    norm: str = "fro",
    rng: Any = None,
) -> LowRank:
    """Two thin matrices whose product is near a matrix, to a rank or to a tolerance.

    Parameters
    ----------
    x
        As in `randomized_svd`.
    rank
        How many columns the first has; with `tol`, how many at the most.
    tol, n_oversamples, n_iter, power_iteration_normalizer, transpose, norm, rng
        As in `randomized_svd`.

    Returns
    -------
    LowRank
        A tuple ``(left, right)`` of shapes ``(..., m, k)`` and ``(..., k, n)``, with the
        attributes of what `randomized_svd` returns: `error`, `n_iter`, `n_passes` and `rank`. In
        its terms they are ``U * S`` and ``Vh``: the columns of `left` are orthogonal and get
        shorter, the rows of `right` are orthonormal. ``left @ right`` is the approximation, and
        ``found @ y`` multiplies it with a vector or matrix without multiplying it out.

    Raises
    ------
    ValueError, TypeError
        As `randomized_svd`.

    References
    ----------
    Halko, Martinsson and Tropp, SIAM Review 53(2), 2011: theorems 10.5 and 10.6 say how near it is
    to the best approximation; Eckart and Young, Psychometrika 1, 1936, what that is.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.outer([1.0, 2.0, 2.0], [3.0, 0.0, 4.0, 0.0])
    >>> left, right = fm.low_rank_approximation(x, tol=1e-6, rng=0)
    >>> left.shape, right.shape, np.allclose(left @ right, x)
    ((3, 1), (1, 4), True)
    """
    most = None if rank is None else whole_number(rank, "rank", 1, min(operand_of(x).shape[-2:]))
    if rank is None and tol is None:
        raise ValueError("neither rank nor tol was given; give one of them, or both")
    found = randomized_svd(
        x,
        most,
        tol=tol,
        n_oversamples=n_oversamples,
        n_iter=n_iter,
        power_iteration_normalizer=power_iteration_normalizer,
        transpose=transpose,
        norm=norm,
        rng=rng,
    )
    left = found.U * found.S[..., np.newaxis, :]
    return LowRank(left, found.Vh, found.error, found.n_iter, found.n_passes)


class Plan(NamedTuple):
    """What `randomized_svd` was asked for, checked."""

    components: int
    size: int  # columns of the sketch
    tol: float | None
    spectral: bool
    n_iter: int
    normalizer: int
    transposed: bool
    flip: bool
    seed: Any


def planned(
    shape: tuple[int, ...],
    n_components: Any,
    tol: Any,
    n_oversamples: Any,
    n_iter: Any,
    normalizer: Any,
    transpose: Any,
    flip_sign: Any,
    norm: Any,
    rng: Any,
) -> Plan:
    """The arguments of `randomized_svd`, checked."""
    m, n = shape[-2:]
    if n_components is None and tol is None:
        raise ValueError("neither n_components nor tol was given; give one of them, or both")
    most = min(m, n)
    if n_components is not None:
        most = whole_number(n_components, "n_components", 1, min(m, n))
    if norm not in ("fro", "spectral"):
        raise ValueError(f"norm is {norm!r}; it must be 'fro' or 'spectral'")
    limit = None if tol is None else tolerance(tol)
    if limit is not None and len(shape) > 2:
        raise ValueError(f"x has shape {shape}; with tol it must be a single matrix")
    extra = whole_number(n_oversamples, "n_oversamples", 0)
    return Plan(
        components=most,
        size=min(most + extra, m, n),
        tol=limit,
        spectral=norm == "spectral",
        n_iter=iterations(n_iter, None if n_components is None else most, min(m, n)),
        normalizer=normalizer_of(normalizer),
        transposed=transposes(transpose, m, n),
        flip=bool(flip_sign),
        seed=key_of(rng, 0)[0],
    )


def _factorized(x: Any, plan: Plan) -> RandomizedSVD:
    a = x.T if plan.transposed else x
    if min(a.shape) == 0:
        raise ValueError(f"x has shape {x.shape}; it has no singular values")
    settings = plan.n_iter, plan.normalizer, plan.seed
    if plan.tol is None:
        u, s, vh, rest, passes = of_rank(a, plan.components, plan.size, *settings)
    else:
        limits = plan.components, plan.tol, plan.spectral
        u, s, vh, rest, passes = within(a, *limits, *settings)
    kept = u.shape[1]
    error = ErrorEstimate(*map(float, relative_errors(s, kept, rest)))
    left, right = (vh.T, u.T) if plan.transposed else (u, vh)
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    if plan.flip:
        entry_of("randomized_svd", "flip_signs", left.dtype)(left, right)
    return RandomizedSVD(left, s[:kept].copy(), right, error, plan.n_iter, passes)


def _of_stack(items: list[RandomizedSVD], a: Array) -> RandomizedSVD:
    """The factors of all items of a stack; errors as arrays."""
    batch = a.shape[:-2]
    if not items:
        raise ValueError(f"x has shape {a.shape}; it has no matrices")
    factors = (
        np.stack(parts).reshape(*batch, *parts[0].shape) for parts in zip(*items, strict=True)
    )
    each = zip(*(item.error for item in items), strict=True)
    errors = ErrorEstimate(*(np.array(bounds).reshape(batch) for bounds in each))
    left, middle, right = factors
    return RandomizedSVD(left, middle, right, errors, items[0].n_iter, items[0].n_passes)


@also_on_gpu
def randomized_range(
    x: Any,
    size: int,
    *,
    n_iter: int = 2,
    power_iteration_normalizer: str = "auto",
    rng: Any = None,
) -> Any:
    """An orthonormal basis of about the range of a matrix.

    Parameters
    ----------
    x
        As in `randomized_svd`, but no stack: ``(m, n)``.
    size
        Columns of the basis, at most ``min(m, n)``.
    n_iter, power_iteration_normalizer, rng
        As in `randomized_svd`.

    Returns
    -------
    array ``(m, size)``

    Raises
    ------
    ValueError, TypeError
        As `randomized_svd`.

    References
    ----------
    Halko, Martinsson and Tropp, SIAM Review 53(2), 2011: algorithm 4.4.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.outer([3.0, 4.0], [1.0, 1.0, 1.0])
    >>> np.abs(fm.randomized_range(x, 1, rng=0)).round(6)
    array([[0.6],
           [0.8]])
    """
    a = _matrix(x)
    columns = whole_number(size, "size", 1, min(a.shape))
    count = whole_number(n_iter, "n_iter", 0)
    normalizer = normalizer_of(power_iteration_normalizer)
    basis = sketched(a, columns, count, normalizer, key_of(rng, 0)[0])[0]
    return like(np.ascontiguousarray(basis), x)


@also_on_gpu
def randomized_eigh(
    x: Any,
    n_components: int,
    *,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    rng: Any = None,
) -> Eigenpairs:
    """The eigenvalues of largest magnitude of a symmetric or Hermitian matrix, and their vectors.

    Parameters
    ----------
    x
        As in `randomized_svd`, square and no stack: ``(n, n)``. That it is Hermitian is not
        checked.
    n_components, n_oversamples, n_iter, power_iteration_normalizer, rng
        As in `randomized_svd`.

    Returns
    -------
    Eigenpairs
        A named tuple of `eigenvalues` ``(k,)``, real, in descending order of magnitude, and
        `eigenvectors` ``(n, k)``.

    Raises
    ------
    ValueError, TypeError
        As `randomized_svd`; a matrix that is not square.

    References
    ----------
    Halko, Martinsson and Tropp, SIAM Review 53(2), 2011: algorithm 5.3.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> values, vectors = fm.randomized_eigh(np.diag([1.0, -5.0, 3.0]), 2, rng=0)
    >>> values.round(6)
    array([-5.,  3.])
    """
    a = _matrix(x)
    if a.shape[0] != a.shape[1]:
        raise ValueError(f"x has shape {a.shape}; it must be square")
    kept = whole_number(n_components, "n_components", 1, a.shape[0])
    size = min(kept + whole_number(n_oversamples, "n_oversamples", 0), a.shape[0])
    count = iterations(n_iter, kept, a.shape[0])
    normalizer = normalizer_of(power_iteration_normalizer)
    values, vectors = eigh_of_rank(a, kept, size, count, normalizer, key_of(rng, 0)[0])
    return Eigenpairs(like(values, x), like(vectors, x))


def _matrix(x: Any) -> Any:
    a = operand_of(x)
    if a.ndim != 2:
        raise ValueError(f"x has shape {a.shape}; it must be a single matrix")
    return a
