"""The random draws inside the user's own functions: the bits of Python's, and the same errors."""

import numba
import numpy as np
import pytest
from numba import njit

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")

SEED, STREAM = 0xFEDCBA9876543210, 2**64 - 1


def same(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@njit
def plain(seed):
    return (
        fm.random.uniform(rng=seed),
        fm.random.standard_normal(rng=seed),
        fm.random.normal(2, rng=seed),
        fm.random.integers(10, rng=seed),
        fm.random.rademacher(rng=seed),
    )


def test_scalars():
    for found, expected in zip(plain(7), plain.py_func(7), strict=True):
        same(found, expected)


@njit
def sizes(n, seed):
    one = fm.random.uniform(0, 1, n, rng=seed)
    pair = fm.random.standard_normal((n, 3), np.float32, rng=seed)
    empty = fm.random.normal(0.0, 1.0, (0, n), rng=seed)
    mixed = fm.random.uniform(size=(np.int32(n), 2, 1, 1, 2, 1, 1, 1), rng=seed)
    number = fm.random.rademacher((), np.float64, rng=seed)
    return one, pair, empty, mixed, number


def test_sizes():
    one, pair, empty, mixed, number = sizes(5, 3)
    same(one, fm.random.uniform(size=5, rng=3))
    same(pair, fm.random.standard_normal((5, 3), dtype=np.float32, rng=3))
    same(empty, np.empty((0, 5)))
    same(mixed, fm.random.uniform(size=(5, 2, 1, 1, 2, 1, 1, 1), rng=3))
    same(number, fm.random.rademacher(rng=3))


@njit
def complex_ones(seed, offset):
    return (
        fm.random.standard_normal((3, 5), dtype=np.complex64, rng=seed, offset=offset),
        fm.random.normal(1 - 2j, 3, 7, dtype=np.complex128, rng=seed, stream=STREAM),
        fm.random.normal(4, 3, 7, dtype=np.complex128, rng=seed, offset=offset),
        fm.random.rademacher(7, dtype=np.complex64, rng=seed),
        fm.random.standard_normal(
            (2, 3), dtype=np.complex64, rng=seed, offset=(1, 2), whole=(4, 6)
        ),
    )


def test_complex_numbers():
    found = complex_ones(SEED, 2**40 + 1)
    same(found[0], fm.random.standard_normal((3, 5), dtype="c8", rng=SEED, offset=2**40 + 1))
    same(found[1], fm.random.normal(1 - 2j, 3, 7, dtype="c16", rng=SEED, stream=STREAM))
    same(found[2], fm.random.normal(4, 3, 7, dtype="c16", rng=SEED, offset=2**40 + 1))
    same(found[3], fm.random.rademacher(7, dtype="c8", rng=SEED))
    whole = fm.random.standard_normal((4, 6), dtype="c8", rng=SEED)
    same(found[4], whole[1:3, 2:5])


@njit
def whole_ranges(seed):
    return (
        fm.random.integers(0, 255, 20, np.uint8, endpoint=True, rng=seed),
        fm.random.integers(-(1 << 63), (1 << 63) - 1, 20, np.int64, True, rng=seed),
        fm.random.integers(np.uint64(2**64 - 1), None, 20, np.uint64, True, rng=seed),
        fm.random.integers(-(1 << 63), np.uint64(2**63), 20, rng=seed),
        fm.random.integers(2**63, np.uint64(2**64 - 1), 20, np.uint64, rng=seed),
        fm.random.integers(2, size=20, dtype=np.bool_, rng=seed),
        fm.random.integers(-7, -3, 20, np.int16, rng=seed),
        fm.random.integers(1 << 62, size=20, rng=seed, stream=1),
    )


def test_whole_ranges_of_integers():
    most = 2**63 - 1
    expected = (
        fm.random.integers(0, 256, 20, dtype="u1", rng=1),
        fm.random.integers(-most - 1, most, 20, endpoint=True, rng=1),
        fm.random.integers(2**64, size=20, dtype="u8", rng=1),
        fm.random.integers(-most - 1, most + 1, 20, rng=1),
        fm.random.integers(2**63, 2**64 - 1, 20, dtype="u8", rng=1),
        fm.random.integers(2, size=20, dtype=bool, rng=1),
        fm.random.integers(-7, -3, 20, dtype="i2", rng=1),
        fm.random.integers(1 << 62, size=20, rng=1, stream=1),
    )
    for found, wanted in zip(whole_ranges(1), expected, strict=True):
        same(found, wanted)


@njit
def into(out, seed):
    return fm.random.standard_normal(rng=seed, out=out)


@njit
def block_into(out, seed):
    return fm.random.uniform(out=out, rng=seed, offset=(3, 4), whole=(300, 400))


@njit
def sized_into(out, seed):
    return fm.random.integers(100, size=(70, 90), out=out, rng=seed, dtype=np.int32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_out_of_any_strides(dtype):
    expected = fm.random.standard_normal((70, 90), dtype=dtype, rng=SEED)
    block = fm.random.uniform(size=(300, 400), dtype=dtype, rng=SEED)[3:73, 4:94]
    numbers = fm.random.integers(100, size=(70, 90), rng=SEED)
    for out in (
        np.empty((70, 90), dtype),
        np.empty((90, 70), dtype).T,
        np.empty((140, 180), dtype)[::2, ::-2],
    ):
        assert into(out, SEED) is out or np.shares_memory(into(out, SEED), out)
        np.testing.assert_array_equal(out, expected)
        block_into(out, SEED)
        np.testing.assert_array_equal(out, block)
        sized_into(out, SEED)
        np.testing.assert_array_equal(out, numbers)


@njit
def fresh():
    return fm.random.uniform(size=3), fm.random.uniform(size=3, rng=None)


def test_none_draws_a_seed():
    first, second = fresh()
    assert not (first == second).any()


@njit(parallel=True)
def in_blocks(m, n, seed):
    out = np.empty((m, n))
    for i in numba.prange(m):
        out[i] = fm.random.normal(1, 2, n, rng=seed, offset=i * n)
    return out


def test_blocks_in_a_parallel_loop():
    same(in_blocks(40, 700, 9), fm.random.normal(1, 2, (40, 700), rng=9))


RUN_TIME = [
    ("size has a negative length", lambda n: fm.random.uniform(size=n - 4)),
    ("size has a negative length", lambda n: fm.random.uniform(size=(2, n - 4))),
    ("rng is negative", lambda n: fm.random.uniform(rng=n - 4)),
    ("stream is negative", lambda n: fm.random.uniform(stream=n - 4)),
    ("offset is out of range", lambda n: fm.random.uniform(offset=n - 4)),
    ("offset is out of range", lambda n: fm.random.uniform(size=n, offset=(1 << 62) - 2)),
    ("is not within whole", lambda n: fm.random.uniform(size=n, offset=(1,), whole=3)),
    ("is not within whole", lambda n: fm.random.uniform(size=n, offset=(n - 4,), whole=9)),
    ("at most", lambda n: fm.random.uniform(size=(n, n), whole=(1 << 40, 1 << 40))),
    ("must be finite", lambda n: fm.random.uniform(0, n * np.inf)),
    ("must be finite", lambda n: fm.random.uniform(0, n * 1e39, dtype=np.float32)),
    ("must not be less than low", lambda n: fm.random.uniform(n, n - 1)),
    ("scale must be at least 0", lambda n: fm.random.normal(0, n - 4)),
    ("scale must be at least 0", lambda n: fm.random.normal(0, n * np.nan)),
    ("there are no integers", lambda n: fm.random.integers(n - 3)),
    ("there are no integers", lambda n: fm.random.integers(n, n)),
    ("int8 has integers", lambda n: fm.random.integers(n, 129, dtype=np.int8)),
    ("uint8 has integers", lambda n: fm.random.integers(n - 4, 3, dtype=np.uint8)),
    ("uint64 has integers", lambda n: fm.random.integers(n - 4, 3, dtype=np.uint64)),
    ("int64 has integers", lambda n: fm.random.integers(n, np.uint64(2**63 + 1))),
    ("out has another shape", lambda n: fm.random.uniform(size=n, out=np.empty(4))),
]
COMPILE_TIME = [
    ("dtype is int32", lambda n: fm.random.uniform(dtype=np.int32)),
    ("dtype is uint8", lambda n: fm.random.rademacher(dtype=np.uint8)),
    ("dtype is float64", lambda n: fm.random.integers(3, dtype=np.float64)),
    ("it must be a dtype", lambda n: fm.random.uniform(dtype=3)),
    ("low is of type", lambda n: fm.random.uniform("a")),
    ("low is of type", lambda n: fm.random.integers(1.5)),
    ("loc is of type", lambda n: fm.random.normal(1j)),
    ("scale is of type", lambda n: fm.random.normal(0, 1j)),
    ("size is of type", lambda n: fm.random.uniform(size=1.5)),
    ("rng is of type", lambda n: fm.random.uniform(rng=1.5)),
    ("stream is of type", lambda n: fm.random.uniform(stream=0.5)),
    ("without whole", lambda n: fm.random.uniform(size=2, offset=(1,))),
    ("offset is of type", lambda n: fm.random.uniform(size=2, offset=0.5)),
    ("with whole", lambda n: fm.random.uniform(size=2, offset=1, whole=4)),
    ("must have the same", lambda n: fm.random.uniform(size=2, offset=(1,), whole=(4, 4))),
    ("must have the same", lambda n: fm.random.uniform(size=2, whole=(4, 4))),
    ("out is of type", lambda n: fm.random.uniform(out=3)),
    ("out has dtype", lambda n: fm.random.uniform(dtype=np.float64, out=np.empty(3, np.int32))),
    ("out has 1 dimensions", lambda n: fm.random.uniform(size=(2, 3), out=np.empty(3))),
    ("8 are the most", lambda n: fm.random.uniform(size=(1, 1, 1, 1, 1, 1, 1, 1, 1))),
    ("endpoint is of type", lambda n: fm.random.integers(3, endpoint=1.5)),
]


@pytest.mark.parametrize(("message", "call"), RUN_TIME)
def test_values_are_checked_as_it_runs(message, call):
    with pytest.raises(ValueError, match=message):
        njit(call)(3)


@pytest.mark.parametrize(("message", "call"), COMPILE_TIME)
def test_types_are_checked_as_it_is_compiled(message, call):
    with pytest.raises(numba.TypingError, match=message):
        njit(call)(3)
