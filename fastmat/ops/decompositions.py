"""Factors of a matrix from a basis of its range, in Python and in compiled code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.ops.range_finder import (
    adaptive,
    bounds,
    factored,
    rounding,
    sketched,
    times,
    times_adjoint,
)

ROWS = 2**14  # of a product that is subtracted at once: no second array of its size


def small_svd(r: Array) -> tuple[Array, Array, Array]:
    """LAPACK's decomposition of a small matrix, by the library that compiled code calls, too."""
    from scipy.linalg import svd

    found: tuple[Array, Array, Array] = svd(
        r, full_matrices=False, check_finite=False, lapack_driver="gesdd"
    )
    return found


def small_eigh(t: Array) -> tuple[Array, Array]:
    """LAPACK's eigenpairs of a small Hermitian matrix, in ascending order."""
    from scipy.linalg import eigh

    found: tuple[Array, Array] = eigh(t, check_finite=False, driver="evd")
    return found


def adjoint(r: Array) -> Array:
    """The conjugate transpose of a small matrix."""
    return np.ascontiguousarray(np.conj(r.T))


def of_rank(
    a: Any, kept: int, size: int, n_iter: int, normalizer: int, seed: Any
) -> tuple[Array, Array, Array, Array, int]:
    """The first of `size` triplets of a sketch, all values, probes of what is beyond, and passes.

    Halko, Martinsson and Tropp, algorithm 5.1.
    """
    q, probes, seen, passes = sketched(a, size, n_iter, normalizer, seed)
    w, s, vh = of_adjoint(times_adjoint(a, q))
    rest = beyond(q, w, s, vh, probes, seen)
    return times(q, w[:, :kept]), s, vh[:kept], rest, passes + 1


def within(
    a: Any, most: int, tol: float, spectral: bool, n_iter: int, normalizer: int, seed: Any
) -> tuple[Array, Array, Array, Array, int]:
    """Triplets enough for a tolerance, all values, probes of what is beyond, and passes."""
    q, z, probes, seen, blocks = adaptive(a, most, tol, spectral, n_iter, normalizer, seed)
    w, s, vh = of_adjoint(z)
    rest = beyond(q, w, s, vh, probes, seen)
    kept = rank_within(s, tol, spectral, rest)
    return times(q, w[:, :kept]), s, vh[:kept], rest, 1 + blocks * (2 + 2 * n_iter)


def of_adjoint(z: Array) -> tuple[Array, Array, Array]:
    """The decomposition of the adjoint of a tall matrix, by way of its QR decomposition."""
    v, r = factored(z)
    w, s, th = small_svd(adjoint(r))
    return w, s, times(th, adjoint(v))


def beyond(q: Array, w: Array, s: Array, vh: Array, probes: Array, seen: Array) -> Array:
    """What a matrix has beyond all triplets, rounding errors of theirs included, times probes.

    It takes the place of `seen`, the matrix times probes.
    """
    captured = times(w, s.reshape(-1, 1) * times(vh, probes))
    for i in range(0, seen.shape[0], ROWS):
        seen[i : i + ROWS] -= times(q[i : i + ROWS], captured)
    return seen


def relative_errors(s: Array, kept: int, rest: Array) -> tuple[float, float]:
    """Upper bounds for the errors of the first `kept` triplets, relative to the matrix.

    What is dropped of the triplets and what is beyond them are orthogonal, so squares add up; and
    a bound for a ratio x / (c + x) is the same of a bound for x. The singular values themselves
    are off by some rounding errors.
    """
    frobenius, spectral = bounds(rest)
    if s[0] == 0.0:
        return 0.0, 0.0
    top = np.float64(s[0])
    squares, missing = (s / top).astype(np.float64) ** 2, (frobenius / top) ** 2
    first = math.sqrt((np.sum(squares[kept:]) + missing) / (np.sum(squares) + missing))
    following = squares[kept] if kept < s.size else 0.0
    second = math.sqrt(following + (spectral / top) ** 2)
    allowance = rounding(s, s.size)
    return first + allowance, min(second, 1.0) + allowance


def rank_within(s: Array, tol: float, spectral: bool, rest: Array) -> int:
    """The fewest triplets whose error is within the tolerance.

    Where rounding errors alone are more than that, what is as small as they are is dropped.
    """
    tol = max(tol - rounding(s, s.size), 0.0)
    missing, longest = bounds(rest)
    if s[0] == 0.0:
        return 1
    top = np.float64(s[0])
    squares = (s / top).astype(np.float64) ** 2
    if spectral:
        allowed = max(tol * tol - (longest / top) ** 2, rounding(s, s.size) ** 2)
        return max(1, int(np.sum(squares > allowed)))
    outside = (missing / top) ** 2
    allowed = max(tol * tol * (np.sum(squares) + outside) - outside, rounding(s, s.size) ** 2)
    kept = s.size
    while kept > 1 and allowed >= squares[kept - 1]:
        allowed -= squares[kept - 1]
        kept -= 1
    return kept


def eigh_of_rank(
    a: Any, kept: int, size: int, n_iter: int, normalizer: int, seed: Any
) -> tuple[Array, Array]:
    """The eigenpairs of largest magnitude of a Hermitian matrix (algorithm 5.3)."""
    q = sketched(a, size, n_iter, normalizer, seed)[0]
    t = times_adjoint(q, times(a, q))
    values, w = small_eigh((t + adjoint(t)) / t.real.dtype.type(2))
    order = np.argsort(-np.abs(values), kind="mergesort")[:kept]
    return values[order], times(q, np.ascontiguousarray(w[:, order]))
