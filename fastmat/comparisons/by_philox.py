"""Random numbers by position as plain NumPy has them, to check fastmat's against."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

SEED = 1  # of every row; its high word is 0

_WORD, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def words(positions: Array) -> Array:
    """The word of 32 bits at each position, as uint64: Salmon et al., SC 2011."""
    block = positions // np.uint64(4)
    found = _block(block & _WORD, block >> _HALF)
    return np.choose((positions % np.uint64(4)).astype(np.intp), found)


def _block(c0: Array, c1: Array) -> tuple[Array, ...]:
    """The four words for counters of two words, in stream 0."""
    c2, c3 = np.zeros_like(c0), np.zeros_like(c0)
    k0, k1 = SEED, 0
    for _ in range(10):
        x, y = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (y >> _HALF) ^ c1 ^ np.uint64(k0), y & _WORD
        c2, c3 = (x >> _HALF) ^ c3 ^ np.uint64(k1), x & _WORD
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def double_words(positions: Array) -> tuple[Array, Array]:
    """The two words of a number of 64 bits, the high one first."""
    twice = positions * np.uint64(2)
    return words(twice), words(twice + np.uint64(1))


def joined(positions: Array) -> Array:
    """The 64 bits at each position."""
    high, low = double_words(positions)
    return np.asarray(high << _HALF | low)


def uniform(positions: Array, dtype: np.dtype[Any]) -> Array:
    """In [0, 1), exactly."""
    if dtype == np.float32:
        drawn = words(positions) >> np.uint64(8)
        return np.asarray(drawn.astype(dtype) * dtype.type(2.0**-24))
    return np.asarray((joined(positions) >> np.uint64(11)).astype(dtype) * 2.0**-53)


def normal(positions: Array, dtype: np.dtype[Any]) -> Array:
    """Box and Muller's numbers in long double, from uniform ones rounded as the dtype has them."""
    even = positions & ~np.uint64(1)
    if dtype == np.float32:
        u = (words(even).astype(dtype) + dtype.type(0.5)).astype(np.longdouble) / 2**32
        turn = words(even + np.uint64(1)).astype(np.uint32).view(np.int32).astype(dtype)
        turn = turn.astype(np.longdouble) / 2**32
    else:
        scale = np.longdouble(2) ** 64
        u = (joined(even).astype(dtype) + 0.5).astype(np.longdouble) / scale
        turn = joined(even + np.uint64(1)).view(np.int64).astype(dtype).astype(np.longdouble)
        turn = turn / scale
    quarters = np.rint(turn * 4)
    quarter = np.arctan2(np.longdouble(1), np.longdouble(0))
    angle = quarter * (turn * 4 - quarters)
    sine, cosine = np.sin(angle), np.cos(angle)
    # the sine of the next quadrant is the cosine of this one
    which = (quarters.astype(np.int64) + (positions % np.uint64(2) == 0)) % 4
    chosen = np.choose(which, (sine, cosine, -sine, -cosine))
    return np.asarray(np.sqrt(-2 * np.log(u)) * chosen)


def integers(positions: Array, extent: int) -> Array:
    """From 0 up to `extent`, less than 2**32; none of the few that are drawn again."""
    high, low = double_words(positions)
    product = high * np.uint64(extent) + (low * np.uint64(extent) >> _HALF)
    return np.asarray((product >> _HALF).astype(np.int64))


def signs(positions: Array) -> Array:
    """-1 where the highest bit is set, else 1."""
    return np.asarray(1 - 2 * (words(positions) >> np.uint64(31)).astype(np.int64))


def column(rows: int, count: int, number: int) -> tuple[list[int], list[int]]:
    """Rows and signs of a column of a sparse matrix: Floyd's sample, in order."""
    steps = np.arange((count + 1) // 2, dtype=np.uint64)
    words = np.stack(_block(steps, np.full_like(steps, number)), axis=1).ravel()
    found: set[int] = set()
    signs = []
    for t in range(count):
        bits = int(words[2 * t]) << 32 | int(words[2 * t + 1])
        last = rows - count + t
        drawn = bits * (last + 1) >> 64
        found.add(last if drawn in found else drawn)
        signs.append(-1 if bits & 1 else 1)
    return sorted(found), signs
