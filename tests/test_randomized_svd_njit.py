"""Randomized decompositions inside ``@njit``: the steps and the bits of Python."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from products import bits
from spectra import SPECTRA, matrix

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def to_rank(x, k):
    return fm.randomized_svd(x, k, rng=1)


@njit
def to_tolerance(x, tol):
    return fm.randomized_svd(x, tol=tol, n_iter=0, norm="spectral", rng=2)


@njit
def eigenpairs(x):
    return fm.randomized_eigh(x, 4, n_iter=2, rng=3)


@njit
def basis(x):
    return fm.randomized_range(x, 5, power_iteration_normalizer="none", rng=4)


@njit
def low_rank(x, k):
    return fm.low_rank_approximation(x, k, n_iter=1, rng=5)


def equal(found, expected):
    for part, other in zip(found, expected, strict=True):
        assert part.dtype == other.dtype
        assert bits(np.ascontiguousarray(part)) == bits(np.ascontiguousarray(other))


def check(dtype):
    rng = np.random.default_rng(1)
    for m, n in [(90, 70), (30, 110), (12, 12)]:
        x = matrix(m, n, SPECTRA["geometric"](min(m, n)), rng, dtype)
        equal(to_rank(x, 6), fm.randomized_svd(x, 6, rng=1))
        equal([basis(x)], [fm.randomized_range(x, 5, power_iteration_normalizer="none", rng=4)])
    equal(to_rank(x.T, 6), fm.randomized_svd(x.T, 6, rng=1))
    h = x + x.conj().T
    equal(eigenpairs(h), fm.randomized_eigh(h, 4, n_iter=2, rng=3))


def test_the_bits_of_python():
    check("f4")


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["f8", "c8", "c16"])
def test_the_bits_of_python_for_every_dtype(dtype):
    check(dtype)


@pytest.mark.exhaustive
def test_tolerances():
    x = matrix(90, 70, SPECTRA["polynomial"](70), np.random.default_rng(2), "f4")
    for tol in (0.1, 1e-3):
        expected = fm.randomized_svd(x, tol=tol, n_iter=0, norm="spectral", rng=2)
        equal(to_tolerance(x, tol), expected)
    with pytest.raises(ValueError, match="tol"):
        to_tolerance(x, 1.0)


def test_errors_when_running():
    x = np.ones((8, 6), "f4")
    equal(low_rank(x, 3), fm.low_rank_approximation(x, 3, n_iter=1, rng=5))
    with pytest.raises(ValueError, match="rank must be at least 1"):
        low_rank(x, 7)
    for k in (0, 7):
        with pytest.raises(ValueError, match="n_components"):
            to_rank(x, k)
    x[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        to_rank(x, 2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: fm.randomized_svd(x), "neither n_components nor tol"),
        (lambda x: fm.randomized_svd(x[0], 1), "must be a matrix"),
        (lambda x: fm.randomized_svd(x, 1.5), "n_components is of type"),
        (lambda x: fm.randomized_svd(x, 1, n_iter="many"), "n_iter is 'many'"),
        (lambda x: fm.randomized_svd(x, 1, power_iteration_normalizer="lu"), "normalizer is 'lu'"),
        (lambda x: fm.randomized_svd(x, 1, transpose="yes"), "transpose is"),
        (lambda x: fm.randomized_svd(x, tol=0.1, norm="nuc"), "norm is"),
        (lambda x: fm.randomized_svd(x, 1, rng="seed"), "rng is of type"),
        (lambda x: fm.low_rank_approximation(x), "neither rank nor tol"),
        (lambda x: fm.randomized_range(x, 1.0), "size is of type"),
        (lambda x: fm.randomized_eigh(x, 1.0), "n_components is of type"),
    ],
)
def test_errors_when_compiling(function, message):
    with pytest.raises(TypingError, match=message):
        njit(function)(np.ones((5, 4), "f4"))
