"""`randomized_svd` and its relatives inside ``@njit``, by `factorizations`."""

import numpy as np
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.randomized_svd import flip_signs
from fastmat.cpu.views import as_any
from fastmat.ops import randomized_svd as ops
from fastmat.ops.approximations import Eigenpairs, Factors, LowRankFactors
from fastmat.overloads.draws import seed_reader
from fastmat.overloads.factorizations import (
    eigh_of_rank,
    factorizer,
    range_of_rank,
    svd_of_rank,
    svd_within,
)
from fastmat.overloads.groups import constant
from fastmat.overloads.low_rank import (
    check_integer,
    components_reader,
    count_reader,
    normalizer_of,
    operand_reader,
    transposes_reader,
)
from fastmat.overloads.typing import given


def _flipped(left, right, flip):
    """The factors, contiguous, with signs that are settled."""


@overload(_flipped)
def _flip(left, right, flip):
    def flipped(left, right, flip):
        u, vh = np.ascontiguousarray(left), np.ascontiguousarray(right)
        if flip:
            call_all(flip_signs, u.dtype, (u, vh))
        return u, vh

    return flipped


@overload(ops.randomized_svd, prefer_literal=True)
def _randomized_svd(
    x,
    n_components=None,
    tol=None,
    n_oversamples=10,
    n_iter="auto",
    power_iteration_normalizer="auto",
    transpose="auto",
    flip_sign=True,
    norm="fro",
    rng=None,
):
    matrix, count, seeded = operand_reader(x), count_reader(n_iter), seed_reader(rng)
    normalizer = normalizer_of(power_iteration_normalizer)
    turned, size_of = transposes_reader(transpose), components_reader(n_components)
    ranked, spectral = not given(tol), constant(norm, "norm", str) == "spectral"
    if constant(norm, "norm", str) not in ("fro", "spectral"):
        raise errors.TypingError(f"norm is {norm}; it must be 'fro' or 'spectral'")
    if ranked and not given(n_components):
        raise errors.TypingError("neither n_components nor tol was given")
    check_integer(getattr(n_oversamples, "value", n_oversamples), "n_oversamples")
    auto = not given(n_components)

    factorized = factorizer(svd_of_rank, svd_within, normalizer, ranked, spectral)

    def randomized_svd(
        x,
        n_components=None,
        tol=None,
        n_oversamples=10,
        n_iter="auto",
        power_iteration_normalizer="auto",
        transpose="auto",
        flip_sign=True,
        norm="fro",
        rng=None,
    ):
        a = matrix(x)
        smaller = min(a.shape)
        kept = size_of(n_components, smaller)
        if n_oversamples < 0:
            raise ValueError("n_oversamples must be at least 0")
        iterations = count(n_iter, kept, smaller, auto)
        transposed = turned(transpose, a.shape)
        b = as_any(a.T) if transposed else a
        u, s, vh = factorized((b,), kept, n_oversamples, tol, iterations, seeded(rng))
        if transposed:
            left, right = _flipped(vh.T, u.T, flip_sign)
        else:
            left, right = _flipped(u, vh, flip_sign)
        return Factors(left, s.copy(), right)

    return randomized_svd


@overload(ops.low_rank_approximation, prefer_literal=True)
def _low_rank_approximation(
    x,
    rank=None,
    tol=None,
    n_oversamples=10,
    n_iter="auto",
    power_iteration_normalizer="auto",
    transpose="auto",
    norm="fro",
    rng=None,
):
    if not given(rank) and not given(tol):
        raise errors.TypingError("neither rank nor tol was given")
    check = components_reader(rank, "rank")

    def low_rank_approximation(
        x,
        rank=None,
        tol=None,
        n_oversamples=10,
        n_iter="auto",
        power_iteration_normalizer="auto",
        transpose="auto",
        norm="fro",
        rng=None,
    ):
        check(rank, min(x.shape))
        u, s, vh = ops.randomized_svd(
            x,
            rank,
            tol=tol,
            n_oversamples=n_oversamples,
            n_iter=n_iter,
            power_iteration_normalizer=power_iteration_normalizer,
            transpose=transpose,
            norm=norm,
            rng=rng,
        )
        return LowRankFactors(u * s, vh)

    return low_rank_approximation


@overload(ops.randomized_range, prefer_literal=True)
def _randomized_range(x, size, n_iter=2, power_iteration_normalizer="auto", rng=None):
    matrix, normalizer, seeded = (
        operand_reader(x),
        normalizer_of(power_iteration_normalizer),
        seed_reader(rng),
    )
    check_integer(size, "size")
    count = count_reader(n_iter)

    def randomized_range(x, size, n_iter=2, power_iteration_normalizer="auto", rng=None):
        a = matrix(x)
        if not 1 <= size <= min(a.shape):
            raise ValueError("size must be at least 1 and at most the smaller side of x")
        iterations = count(n_iter, size, size, False)
        q = np.empty((a.shape[0], size), a.dtype)
        args = a, iterations, normalizer, np.uint64(seeded(rng)), as_any(q)
        call_all(range_of_rank, a.dtype, args)
        return q

    return randomized_range


@overload(ops.randomized_eigh, prefer_literal=True)
def _randomized_eigh(
    x,
    n_components,
    n_oversamples=10,
    n_iter="auto",
    power_iteration_normalizer="auto",
    rng=None,
):
    matrix, normalizer, seeded = (
        operand_reader(x),
        normalizer_of(power_iteration_normalizer),
        seed_reader(rng),
    )
    count, size_of = count_reader(n_iter), components_reader(n_components)
    check_integer(getattr(n_oversamples, "value", n_oversamples), "n_oversamples")

    def randomized_eigh(
        x,
        n_components,
        n_oversamples=10,
        n_iter="auto",
        power_iteration_normalizer="auto",
        rng=None,
    ):
        a = matrix(x)
        n = a.shape[0]
        if a.shape[1] != n:
            raise ValueError("x must be square")
        kept = size_of(n_components, n)
        if n_oversamples < 0:
            raise ValueError("n_oversamples must be at least 0")
        size, iterations = min(kept + n_oversamples, n), count(n_iter, kept, n, False)
        values, vectors = np.empty(kept, a.real.dtype), np.empty((n, kept), a.dtype)
        numbers = size, iterations, normalizer, np.uint64(seeded(rng))
        call_all(eigh_of_rank, a.dtype, (a, *numbers, values, as_any(vectors)))
        return Eigenpairs(values, vectors)

    return randomized_eigh
