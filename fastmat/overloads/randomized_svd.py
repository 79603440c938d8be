"""`randomized_svd`, `randomized_range` and `randomized_eigh` inside ``@njit``.

The bodies in `ops.range_finder` and `ops.decompositions` are compiled as they stand. Here is
what they call that is another thing in compiled code, and what users call.
"""

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.randomized_svd import column_lengths, flip_signs
from fastmat.cpu.views import as_any
from fastmat.ops import decompositions, range_finder
from fastmat.ops import randomized_svd as ops
from fastmat.ops.approximations import Eigenpairs, Factors, LowRankFactors
from fastmat.overloads.draws import seed_reader
from fastmat.overloads.groups import constant
from fastmat.overloads.low_rank import (
    as_it_stands,
    check_integer,
    components_reader,
    count_reader,
    normalizer_of,
    operand_reader,
    transposes_reader,
)
from fastmat.overloads.typing import given

_matmul, _qr_tall = range_finder.matmul, range_finder.qr_tall
_gram, _power_step = range_finder.gram, range_finder.power_step


@njit
def _product(x1, x2):
    return _matmul(x1, x2)


@njit
def _factored(y):
    q, r = _qr_tall(y)
    return q, r


for _function in (
    range_finder.normalized,
    range_finder.scaled,
    range_finder.random_block,
    range_finder.sketched,
    range_finder.squared_steps,
    range_finder.check_finite,
    range_finder.without,
    range_finder.adaptive,
    range_finder.above_noise,
    range_finder.extended,
    range_finder.norm,
    range_finder.rounding,
    range_finder.bounds,
    decompositions.adjoint,
    decompositions.of_adjoint,
    decompositions.of_rank,
    decompositions.within,
    decompositions.beyond,
    decompositions.rank_within,
    decompositions.eigh_of_rank,
):
    as_it_stands(_function)


@overload(range_finder.times)  # one type of array, so that there is one product to compile
def _times(a, q):
    if not isinstance(a, types.Array):
        return None
    return lambda a, q: _product(as_any(a), as_any(q))


@overload(range_finder.times_adjoint)
def _times_adjoint(a, y):
    if not isinstance(a, types.Array):
        return None
    if isinstance(a.dtype, types.Complex):
        return lambda a, y: np.conj(_product(as_any(a.T), as_any(np.conj(y))))
    return lambda a, y: _product(as_any(a.T), as_any(y))


@overload(range_finder.factored)
def _factored_once(y):
    return lambda y: _factored(as_any(y))


@overload(range_finder.squared)
def _squared(a):
    return lambda a: _gram(as_any(a))


@overload(range_finder.squared_times)
def _squared_times(a, q):
    return lambda a, q: _power_step(as_any(a), as_any(q))


@overload(range_finder.is_array)
def _is_array(a):
    return lambda a: True


@overload(range_finder.passes_of_step)
def _passes_of_step(a, few):
    return lambda a, few: 1


@overload(range_finder.lengths)
def _lengths(w):
    def lengths(w):
        found = np.empty(w.shape[1])
        call_all(column_lengths, w.dtype, (w, found))
        return found

    return lengths


@overload(range_finder.unit_lower)
def _unit_lower(y):
    def unit_lower(y):
        if y.shape[0] >= 0:  # always; else the type of what is returned would not be known
            raise ValueError("the normalizer LU is for Python; QR is as good")
        return y

    return unit_lower


@overload(decompositions.small_svd)
def _small_svd(r):
    return lambda r: np.linalg.svd(r, False)


@overload(decompositions.small_eigh)
def _small_eigh(t):
    return lambda t: np.linalg.eigh(t)


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

    @njit
    def of_rank(a, kept, extra, tol, n_iter, seed):
        size = min(kept + extra, a.shape[0], a.shape[1])
        u, s, vh, _, _ = decompositions.of_rank(a, kept, size, n_iter, normalizer, seed)
        return u, s, vh

    @njit
    def within(a, kept, extra, tol, n_iter, seed):
        if not 0 < tol < 1:
            raise ValueError("tol must lie between 0 and 1, both excluded")
        u, s, vh, _, _ = decompositions.within(a, kept, tol, spectral, n_iter, normalizer, seed)
        return u, s, vh

    factorized = of_rank if ranked else within

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
        u, s, vh = factorized(b, kept, n_oversamples, tol, iterations, seeded(rng))
        if transposed:
            left, right = _flipped(vh.T, u.T, flip_sign)
        else:
            left, right = _flipped(u, vh, flip_sign)
        return Factors(left, s[: left.shape[1]].copy(), right)

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
        return range_finder.sketched(a, size, iterations, normalizer, seeded(rng))[0]

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
        found = decompositions.eigh_of_rank(a, kept, size, iterations, normalizer, seeded(rng))
        return Eigenpairs(found[0], found[1])

    return randomized_eigh
