"""Random draws have the distribution they say, and neighbours of any kind are independent.

Seeds are fixed, so nothing fails by chance; the larger battery is `random_battery.py`.
"""

import numpy as np
import pytest
import random_tests as tests

from fastmat import random

COUNT = 500_000
LEAST = 1e-4
REALS = (np.float32, np.float64)
# Next to each other by position, stream or seed.
NEIGHBOURS = {
    "positions": ({"offset": 0}, {"offset": 1}),
    "pairs of normal numbers": ({"offset": 0}, {"offset": 2}),
    "blocks": ({"offset": 0}, {"offset": 4}),
    "high positions": ({"offset": 0}, {"offset": 2**34}),
    "streams": ({"stream": 0}, {"stream": 1}),
    "high streams": ({"stream": 0}, {"stream": 2**32}),
    "seeds": ({}, {"rng": 13}),
    "high seeds": ({}, {"rng": 12 + 2**32}),
}


def drawn(draw, dtype=np.float64, **keywords):
    return draw(size=COUNT, dtype=dtype, **{"rng": 12, **keywords})


@pytest.mark.parametrize("dtype", REALS)
def test_distributions(dtype):
    u, z = drawn(random.uniform, dtype), drawn(random.standard_normal, dtype)
    assert tests.kolmogorov_smirnov(u) > LEAST
    assert tests.kolmogorov_smirnov(z, "norm") > LEAST
    assert tests.kolmogorov_smirnov(z[::2], "norm") > LEAST
    assert tests.moments(z) > LEAST
    pair = drawn(random.standard_normal, np.complex64 if dtype == np.float32 else np.complex128)
    assert tests.kolmogorov_smirnov(np.abs(pair) ** 2, "expon") > LEAST


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("which", NEIGHBOURS)
def test_neighbours_are_independent(which, dtype):
    first, second = NEIGHBOURS[which]
    u, v = (drawn(random.uniform, dtype, **where) for where in (first, second))
    assert tests.correlation(u, v) > LEAST
    step = 2 if which == "positions" else 4  # each number is in one cell only
    assert tests.cells(u[::step], v[::step]) > LEAST
    x, y = (drawn(random.standard_normal, dtype, **where) for where in (first, second))
    assert tests.correlation(x, y) > LEAST
    assert tests.correlation(x**2, y**2) > LEAST


def test_bits():
    integers = random.integers(0, 2**64, COUNT, dtype=np.uint64, rng=12)
    assert tests.bits(integers) > LEAST
    assert tests.pairs_of_bits(integers) > LEAST
    assert tests.birthday_spacings(integers) > LEAST
    signs = drawn(random.rademacher, np.int8)
    assert tests.chi_square(np.bincount(signs + 1)[::2]) > LEAST
    assert tests.correlation(signs[1:], signs[:-1]) > LEAST


@pytest.mark.parametrize("dtype", REALS)
def test_order(dtype):
    u = drawn(random.uniform, dtype)
    assert tests.runs(u) > LEAST
    assert tests.gaps(u) > LEAST


def test_bad_numbers_are_found_out():
    """The tests themselves: numbers of a poor generator, and of a wrong distribution."""
    u = drawn(random.uniform)
    z = drawn(random.standard_normal)
    integers = random.integers(0, 2**64, COUNT, dtype=np.uint64, rng=12)
    assert tests.kolmogorov_smirnov(u**1.01) < LEAST
    assert tests.kolmogorov_smirnov(z * 1.02, "norm") < LEAST
    assert tests.moments(z * 1.01) < LEAST
    assert tests.correlation(u, u + 50 * u[::-1]) < LEAST
    assert tests.cells(u, (u * 32) % 1, sides=64) < LEAST
    assert tests.bits(integers | (integers >> np.uint64(7) & np.uint64(64))) < LEAST
    assert tests.pairs_of_bits(integers & ~(integers >> np.uint64(9))) < LEAST
    assert tests.birthday_spacings(integers & ~np.uint64(255 << 40)) < LEAST
    assert tests.runs(np.sort(u.reshape(-1, 2), axis=1).ravel()) < LEAST
    assert tests.gaps(np.where(u[:-1] + u[1:] > 1, u[1:], u[:-1])) < LEAST
