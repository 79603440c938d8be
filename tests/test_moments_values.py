"""Moments of means far from 0, extreme magnitudes, NaN; the same bits at any threads."""

import normal_oracles
import numba
import numpy as np
import pytest
from normals import channels_last, check_moments, near, standardized, values
from oracles import COMPLEX, FLOATS, HALVES, name
from products import bits

import fastmat as fm


@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_means_far_from_zero(dtype, ratio):
    for shape, axis in [
        ((7, 100), 1),
        ((100, 7), 0),
        ((3, 9001), 1),
        ((9001, 3), 0),
        ((5, 4, 70), 1),
    ]:
        x = np.random.default_rng(5).standard_normal(shape) + ratio
        if dtype[0] == "c":
            x = x * (1 - 2j)
        x = x.astype(dtype)
        check_moments(x, axis)
        check_moments(-x, axis, correction=1)
        if dtype[0] != "c":
            standardized(x, axis)


def test_variances_of_float32_are_right_to_their_last_digit():
    """With means of ten thousand standard deviations: 1e-7 of the variance."""
    for shape in [(7, 100), (7, 5000), (2, 70_001)]:
        x = (np.random.default_rng(9).standard_normal(shape) + 1e4).astype("f4")
        for turned, axis in ((x, 1), (np.array(x.T), 0)):
            variance = fm.moments(turned, axis).variance
            exact = normal_oracles.moments(turned, axis).variance
            assert np.max(np.abs(variance / exact - 1)) < 1e-7


@pytest.mark.parametrize("dtype", [*HALVES, "f4", "f8"], ids=name)
def test_values_that_drift(dtype):
    """Each part of a group has a mean of its own, and the deviations are small beside it."""
    for n in (100, 4099, 70_001):
        drift = np.linspace(1000, 1100 if dtype in HALVES else 1001, n)
        x = (drift + 0.01 * np.random.default_rng(6).standard_normal((2, n))).astype(dtype)
        check_moments(x, 1)
        check_moments(np.array(x.T), 0)
        check_moments(x)
        standardized(x, 1)
        standardized(np.array(x.T), 0)


SCALES = {
    "f4": [1e17, 1e-17, 1e-38, 1e-40],
    "f8": [1e140, 1e-140],
    "c8": [1e17, 1e-17],
    "c16": [1e140, 1e-140],
}


@pytest.mark.parametrize(
    ("dtype", "scale"), [(d, s) for d, several in SCALES.items() for s in several]
)
def test_magnitudes(dtype, scale):
    for shape in [(5, 8), (3, 400), (2, 5000)]:
        x = np.random.default_rng(7).standard_normal(shape) * scale
        x = (x * (1 + 2j) if dtype[0] == "c" else x).astype(dtype)
        for axis in (0, 1, None):
            check_moments(x, axis)
            if dtype[0] != "c":
                standardized(x, axis)


def test_standard_deviations_that_no_float32_variance_has():
    """Squares of these over- and underflow in float32, and not in float64."""
    for scale in (1e30, 1e36, 1e-30, 1e-43):
        x = (np.random.default_rng(7).standard_normal((3, 40)) * scale).astype("f4")
        for axis in (0, 1, None):
            standardized(x, axis)
            near(fm.moments(x, axis).mean, *_mean_and_bound(x, axis))


def _mean_and_bound(x, axis):
    expected = normal_oracles.moments(x, axis)
    return expected.mean, np.finfo("f4").eps * expected.size + np.longdouble(1e-45)


def test_large_integers():
    """Of 64 bits, that float64 rounds; and sums that would wrap in their own dtype."""
    for dtype in ("i8", "u8", "i1", "u2"):
        info = np.iinfo(dtype)
        x = np.random.default_rng(3).integers(info.min, info.max, (4, 300), dtype, endpoint=True)
        for axis in (None, 0, 1):
            check_moments(x, axis)
            standardized(x, axis)


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=name)
def test_nan_and_inf_stay_in_their_group(dtype):
    """The others have the same bits as without them."""
    for shape, where in [((9, 5), (4, 2)), ((3, 6, 35), (1, 4, 30)), ((70, 4, 33), (65, 1, 0))]:
        x = values(shape, dtype)
        for axis in (0, 1, -1, (0, 1)):
            clean = fm.moments(x, axis)
            for bad in (np.nan, np.inf, -np.inf):
                poisoned = x.copy()
                poisoned[where] = bad
                result = fm.moments(poisoned, axis)
                group = np.zeros(shape, bool)
                group[where] = True
                group = group.any(axis=axis)
                assert np.isnan(result.variance.astype("f8")[group]).all()
                mean = result.mean.real.astype("f8") if dtype.kind == "c" else result.mean
                assert (np.isnan(mean) | (mean == np.real(bad)))[group].all()
                for part, other in zip(result, clean, strict=True):
                    assert bits(part[~group]) == bits(other[~group])
                if dtype.kind != "c":
                    members = np.broadcast_to(np.expand_dims(group, axis), shape)
                    scaled, other = fm.standardize(poisoned, axis), fm.standardize(x, axis)
                    assert np.isnan(scaled.astype("f8")[members]).all()
                    assert bits(scaled[~members]) == bits(other[~members])


def test_infinite_means():
    """As in NumPy: a mean of one infinity is infinite, one of both signs is NaN."""
    x = np.array([[1.0, np.inf, 2.0], [np.inf, -np.inf, 0.0], [-np.inf, 1.0, 1.0]])
    for dtype in ("f4", "f8"):
        for turned, axis in ((x, 1), (x.T, 0)):
            mean = fm.moments(turned.astype(dtype), axis).mean
            np.testing.assert_array_equal(mean, np.array([np.inf, np.nan, -np.inf], dtype))


# Threads


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_same_bits_at_any_number_of_threads(dtype):
    for shape in [(2, 70_001), (300_007,), (70_001, 2), (5000, 8), (1000, 3), (8, 16, 33, 5)]:
        x = values(shape, dtype)
        arrays = [x] + ([channels_last(x)] if x.ndim > 1 else [])
        for array in arrays:
            for axis in (None, 0, -1, tuple(a for a in range(x.ndim) if a != 1)):
                results = set()
                for threads in (1, 2, 4, 8):
                    numba.set_num_threads(threads)
                    parts = tuple(fm.moments(array, axis))
                    if dtype != "c8":
                        parts += (fm.standardize(array, axis),)
                    results.add(tuple(bits(part) for part in parts))
                assert len(results) == 1, (shape, axis)
