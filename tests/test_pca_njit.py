"""`pca` inside ``@njit``: the bits of Python."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from products import bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def to_rank(x, k):
    return fm.pca(x, k, n_iter=2, rng=1)


@njit
def to_tolerance(x, tol):
    return fm.pca(x, tol=tol, center=False, flip_sign=False, norm="spectral", rng=2)


def equal(found, expected):
    for name, part in expected._asdict().items():
        other = getattr(found, name)
        assert part.dtype == other.dtype
        assert bits(np.ascontiguousarray(part)) == bits(np.ascontiguousarray(other))


def check(dtype):
    rng = np.random.default_rng(1)
    for m, n, offset in [(90, 70, 0), (30, 110, 1e3), (3000, 200, 30)]:
        x = (rng.standard_normal((m, n)) * 0.9 ** np.arange(n) + offset).astype(dtype)
        if np.dtype(dtype).kind == "c":
            x += 1j * x[::-1]
        equal(to_rank(x, 6), fm.pca(x, 6, n_iter=2, rng=1))
    return x


def test_the_bits_of_python():
    x = check("f4")
    for k in (0, 201):
        with pytest.raises(ValueError, match="n_components"):
            to_rank(x, k)
    with pytest.raises(ValueError, match="2 rows"):
        to_rank(x[:1], 1)
    x[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        to_rank(x, 2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["f8", "c8", "c16"])
def test_the_bits_of_python_for_every_dtype(dtype):
    x = check(dtype)
    equal(to_rank(x.T, 6), fm.pca(x.T, 6, n_iter=2, rng=1))


@pytest.mark.exhaustive
def test_tolerances():
    x = np.random.default_rng(2).standard_normal((90, 60)).astype("f4")
    for tol in (0.5, 0.1):
        options = {"center": False, "flip_sign": False, "norm": "spectral", "rng": 2}
        equal(to_tolerance(x, tol), fm.pca(x, tol=tol, **options))
    with pytest.raises(ValueError, match="tol"):
        to_tolerance(x, 1.0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: fm.pca(x), "neither n_components nor tol"),
        (lambda x: fm.pca(x[0], 1), "must be a matrix"),
        (lambda x: fm.pca(x, 1.5), "n_components is of type"),
        (lambda x: fm.pca(x, 1, n_iter="many"), "n_iter is 'many'"),
        (lambda x: fm.pca(x, 1, norm="nuc"), "norm is"),
        (lambda x: fm.pca(x, 1, center=2.5), "center"),
    ],
)
def test_errors_when_compiling(function, message):
    with pytest.raises(TypingError, match=message):
        njit(function)(np.ones((5, 4), "f4"))
