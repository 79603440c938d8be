"""Philox 4x32-10 against the known answers of Random123 (its file kat_vectors)."""

import numpy as np
import pytest
from numba import njit

from fastmat.core import philox

# Counter, key, words.
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@njit
def words(c0, c1, c2, c3, k0, k1):
    return philox.philox4x32(c0, c1, c2, c3, k0, k1)


@njit
def draws(seed, count, trials):
    found = np.empty((count, trials))
    for i in range(count):
        for j in range(trials):
            found[i, j] = philox.uniform(seed, i, j)
    return found


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    numbers = [np.uint64(int(word, 16)) for word in f"{counter} {key}".split()]
    assert words(*numbers) == tuple(int(word, 16) for word in expected.split())


def test_uniform_numbers():
    """In [0, 1), of mean 1/2 and variance 1/12, and others for every seed and position."""
    found = np.stack([draws(np.uint64(seed), 100, 100) for seed in (0, 1, 2**32, 2**64 - 1)])
    assert 0 <= found.min() < 1e-3
    assert 1 - 1e-3 < found.max() < 1
    assert len(np.unique(found)) == found.size
    assert abs(found.mean() - 1 / 2) < 5 / np.sqrt(12 * found.size)
    assert abs(found.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / found.size)
    assert (found == np.round(found * 2.0**53) / 2.0**53).all()


def test_uniform_is_made_of_the_first_two_words():
    a, b = (int(word, 16) for word in KNOWN[0][2].split()[:2])
    assert draws(np.uint64(0), 1, 1)[0, 0] == ((a << 21) + (b >> 11)) / 2**53
