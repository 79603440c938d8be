"""Sine and cosine of turns against mpmath, in units of the last place."""

import mpmath
import numba
import numpy as np
import pytest
from test_elementary import ulp_error

from fastmat.core.trigonometry import sincos_turns

DTYPES = (np.float32, np.float64)
MOST_ULP = 1.5


@numba.njit
def loop(x, sine, cosine):
    for i in range(x.size):
        sine[i], cosine[i] = sincos_turns(x[i])


def apply(x):
    sine, cosine = np.empty_like(x), np.empty_like(x)
    loop(x, sine, cosine)
    return sine, cosine


def points(dtype, count):
    rng = np.random.default_rng(20240607)
    near = (np.arange(-16, 17) / 8).astype(dtype)
    steps = rng.integers(-40, 41, (count // 4 // near.size + 1, near.size))
    parts = [
        rng.uniform(-0.5, 0.5, count // 4),
        rng.uniform(-1000, 1000, count // 4),
        np.ldexp(rng.uniform(-1, 1, count // 4), rng.integers(-140, 19, count // 4)),
        near + steps * np.spacing(near),
    ]
    return np.concatenate([part.astype(dtype).ravel() for part in parts])


def worst(dtype, count):
    """The greatest error at count points, and where."""
    x = points(dtype, count)
    found = apply(x)
    errors = []
    with mpmath.workdps(60):
        for which, function in enumerate((mpmath.sinpi, mpmath.cospi)):
            for at, value in zip(x, found[which], strict=True):
                errors.append((ulp_error(value, function(2 * mpmath.mpf(float(at)))), at, which))
    return max(errors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_error(dtype):
    error, at, which = worst(dtype, 3000)
    assert error <= MOST_ULP, f"{error:.3f} ULP at {at!r} of the {('sine', 'cosine')[which]}"


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_at_many_points(dtype):
    error, at, _ = worst(dtype, 200_000)
    assert error <= MOST_ULP, f"{error:.3f} ULP at {at!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_edges(dtype):
    x = np.array([0.0, -0.0, 0.25, 0.5, 0.75, 1.0, -0.25, 2.0**18, np.inf, np.nan], dtype)
    sine, cosine = apply(x)
    np.testing.assert_array_equal(sine, [0, 0, 1, 0, -1, 0, -1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(cosine, [1, 1, 0, -1, 0, 1, 0, 1, np.nan, np.nan])
    assert sine.dtype == cosine.dtype == dtype


def test_only_for_compiled_code_and_real_floats():
    with pytest.raises(TypeError, match="only for compiled code"):
        sincos_turns(1.0)
    with pytest.raises(numba.TypingError):
        apply(np.arange(3))
