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
from fastmat.ops import decompositions, low_rank, range_finder
from fastmat.ops import randomized_svd as ops
from fastmat.ops.randomized_svd import Eigenpairs, Factors
from fastmat.overloads.draws import seed_reader
from fastmat.overloads.groups import constant
from fastmat.overloads.typing import given, numpy_dtype

_matmul, _qr_tall = range_finder.matmul, range_finder.qr_tall
_gram, _power_step = range_finder.gram, range_finder.power_step


@njit
def _product(x1, x2):
    return _matmul(x1, x2)


@njit
def _factored(y):
    q, r = _qr_tall(y)
    return q, r


def _as_it_stands(function):
    """Have a function compiled wherever compiled code calls it."""
    overload(function, strict=False)(lambda *arguments: function)


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
    _as_it_stands(_function)


@overload(range_finder.times)  # one type of array, so that there is one product to compile
def _times(a, q):
    return lambda a, q: _product(as_any(a), as_any(q))


@overload(range_finder.times_adjoint)
def _times_adjoint(a, y):
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


def _operand(x, ndim=2):
    """A function of x: the matrix, as products take it, in a type that its transpose has, too."""
    dtype = numpy_dtype(x, "x")
    if x.ndim != ndim:
        raise errors.TypingError(f"x has {x.ndim} dimensions; inside njit it must be a matrix")
    if dtype.name in low_rank.COMPUTED:
        return njit(lambda x: as_any(x))
    if dtype.kind not in "biu":
        raise errors.TypingError(f"x has dtype {dtype}; convert it first")
    return njit(lambda x: as_any(x.astype(np.float64)))


def _integer(argument, name):
    if not isinstance(argument, types.Integer) and not isinstance(argument, int):
        raise errors.TypingError(f"{name} is of type {argument}; it must be an integer")


def _count(n_iter):
    """A function (n_iter, components, smaller, adaptive): the number of power iterations."""
    value = getattr(n_iter, "literal_value", getattr(n_iter, "value", n_iter))
    few = low_rank.ITERATIONS_OF_FEW, low_rank.FEW, low_rank.ITERATIONS
    if isinstance(value, str):
        if value != "auto":
            raise errors.TypingError(f"n_iter is {value!r}; it must be an integer or 'auto'")

        def count(n_iter, components, smaller, adaptive):
            if adaptive:
                return 1
            return few[0] if components < few[1] * smaller else few[2]

        return njit(count)
    _integer(n_iter, "n_iter")

    def checked(n_iter, components, smaller, adaptive):
        if n_iter < 0:
            raise ValueError("n_iter must be at least 0")
        return n_iter

    return njit(checked)


def _normalizer(name):
    """The number of a normalizer that is a constant."""
    try:
        return low_rank.normalizer_of(constant(name, "power_iteration_normalizer", str))
    except ValueError as error:
        raise errors.TypingError(str(error)) from None


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
    matrix, count, normalizer = _operand(x), _count(n_iter), _normalizer(power_iteration_normalizer)
    seeded, turned, size_of = seed_reader(rng), _transposes(transpose), _components(n_components)
    ranked, spectral = not given(tol), constant(norm, "norm", str) == "spectral"
    if constant(norm, "norm", str) not in ("fro", "spectral"):
        raise errors.TypingError(f"norm is {norm}; it must be 'fro' or 'spectral'")
    if ranked and not given(n_components):
        raise errors.TypingError("neither n_components nor tol was given")
    _integer(getattr(n_oversamples, "value", n_oversamples), "n_oversamples")
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


def _components(n_components):
    """A function (n_components, smaller): how many triplets are wanted at the most."""
    if not given(n_components):

        def all_of_them(n_components, smaller):
            if smaller == 0:
                raise ValueError("x has no singular values")
            return smaller

        return njit(all_of_them)
    _integer(n_components, "n_components")

    def checked(n_components, smaller):
        if not 1 <= n_components <= smaller:
            raise ValueError("n_components must be at least 1 and at most the smaller side of x")
        return n_components

    return njit(checked)


def _transposes(transpose):
    """A function (transpose, shape): whether to work on the transposed matrix."""
    value = getattr(transpose, "literal_value", getattr(transpose, "value", transpose))
    if value == "auto":
        return njit(lambda transpose, shape: shape[0] < shape[1])
    if not isinstance(transpose, types.Boolean) and not isinstance(value, bool):
        raise errors.TypingError(f"transpose is {transpose}; it must be True, False or 'auto'")
    return njit(lambda transpose, shape: bool(transpose))


@overload(ops.randomized_range, prefer_literal=True)
def _randomized_range(x, size, n_iter=2, power_iteration_normalizer="auto", rng=None):
    matrix, normalizer, seeded = (
        _operand(x),
        _normalizer(power_iteration_normalizer),
        seed_reader(rng),
    )
    _integer(size, "size")
    count = _count(n_iter)

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
        _operand(x),
        _normalizer(power_iteration_normalizer),
        seed_reader(rng),
    )
    count, size_of = _count(n_iter), _components(n_components)
    _integer(getattr(n_oversamples, "value", n_oversamples), "n_oversamples")

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
