"""fastmat.random: integers and signs by position."""

import ml_dtypes
import numba
import numpy as np
import pytest
import random_oracles as oracles
import scipy.stats

from fastmat import random

SEED, STREAM = 0x0123456789ABCDEF, 0xFEDC000000000010
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
NUMBERS = (*SIGNED, "float16", "float32", "float64", "complex64", "complex128")
# Of the last four some, a quarter, a third and almost half are drawn again.
EXTENTS = (1, 2, 3, 10, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**50 + 12345)
EXTENTS += (2**62 + 2**61 - 1, 3 * 2**62 - 1, 2**63 + 1, 2**64)


def positions(count, offset=0):
    return np.arange(count, dtype=np.uint64) + np.uint64(offset)


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("offset", [0, 3, 2**35 + 1])
def test_integers_are_exact(extent, offset):
    found = random.integers(0, extent, 1050, dtype="u8", rng=SEED, stream=STREAM, offset=offset)
    expected, attempts = oracles.integers(positions(1050, offset), 0, extent, SEED, STREAM)
    assert found.tolist() == expected
    assert (max(attempts) > 2) == (extent in (2**62 + 2**61 - 1, 3 * 2**62 - 1, 2**63 + 1))


def test_rare_attempts():
    """About one in 2**14 is drawn again; with a table of what is found where, all are checked."""
    extent, count = 2**50 + 2**49 + 1, 300_000
    found = random.integers(0, extent, count, rng=SEED)
    high, rest = oracles.double_words(positions(count), SEED)
    joined = [int(a) << 32 | int(b) for a, b in zip(high, rest, strict=True)]
    products = [x * extent for x in joined]
    again = [i for i, x in enumerate(products) if x % 2**64 < 2**64 % extent]
    assert len(again) > 3
    expected = np.array([x >> 64 for x in products])
    expected[again] = oracles.integers(again, 0, extent, SEED)[0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [*SIGNED, *UNSIGNED])
def test_whole_range_of_a_dtype(dtype):
    limits = np.iinfo(dtype)
    low, high = int(limits.min), int(limits.max)
    found = random.integers(low, high, 3000, dtype=dtype, endpoint=True, rng=SEED)
    assert found.dtype == dtype
    expected, _ = oracles.integers(positions(3000), low, high - low + 1, SEED)
    assert found.tolist() == expected
    few = random.integers(high - 2, high + 1, 100, dtype=dtype, rng=1)
    assert set(few.tolist()) == {high - 2, high - 1, high}
    least = random.integers(low, low + 2, 100, dtype=dtype, rng=1)
    assert set(least.tolist()) == {low, low + 1}


def test_spelling_is_numpys():
    one = random.integers(7, size=100, rng=1)
    assert one.dtype == np.int64
    np.testing.assert_array_equal(one, random.integers(0, 7, 100, rng=1))
    np.testing.assert_array_equal(one, random.integers(0, 6, 100, endpoint=True, rng=1))
    np.testing.assert_array_equal(one, random.integers(6, size=100, endpoint=True, rng=1))
    assert isinstance(random.integers(3), np.int64)
    bits = random.integers(2, size=100, dtype=bool, rng=1)
    np.testing.assert_array_equal(bits, random.integers(2, size=100, rng=1) == 1)
    assert bits.dtype == np.bool_
    out = np.zeros(100, np.int32)
    assert random.integers(7, out=out, rng=1) is out
    np.testing.assert_array_equal(out, one)


def test_signs_are_exact_and_the_same_in_all_dtypes():
    expected = oracles.signs(positions(5000, 77), SEED, STREAM)
    assert set(expected) == {-1, 1}
    for dtype in (*NUMBERS, ml_dtypes.bfloat16):
        found = random.rademacher(5000, dtype=dtype, rng=SEED, stream=STREAM, offset=77)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.astype(complex), expected)
    assert random.rademacher(3).dtype == np.float64


CALLS = {
    "integers": lambda *args, **keywords: random.integers(-7, 100, *args, **keywords),
    "rademacher": random.rademacher,
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
@pytest.mark.parametrize("dtype", SIGNED)
def test_any_part_or_block_is_the_same_of_the_whole(call, dtype):
    whole = call((50, 700), dtype=dtype, rng=SEED)
    rng = np.random.default_rng(0)
    for _ in range(20):
        begin, end = (int(i) for i in np.sort(rng.integers(0, whole.size + 1, 2)))
        part = call(end - begin, dtype=dtype, rng=SEED, offset=begin)
        np.testing.assert_array_equal(part, whole.ravel()[begin:end])
        i, j = int(rng.integers(50)), int(rng.integers(700))
        block = call((50 - i, 700 - j), dtype=dtype, rng=SEED, offset=(i, j), whole=whole.shape)
        np.testing.assert_array_equal(block, whole[i:, j:])


@every_call
@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_threads_and_strides_do_not_matter(call, dtype):
    expected = call((500, 301), dtype=dtype, rng=5, offset=3)
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        np.testing.assert_array_equal(call((500, 301), dtype=dtype, rng=5, offset=3), expected)
    for out in (np.empty((301, 500), dtype).T, np.empty((500, 602), dtype)[:, ::-2]):
        assert call(dtype=dtype, rng=5, offset=3, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("extent", [2, 3, 7, 100, 1000])
def test_integers_are_equally_likely(extent):
    counts = np.bincount(random.integers(extent, size=200_000, rng=1), minlength=extent)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


ERRORS = [
    (ValueError, "there are no integers", lambda r: r.integers(0)),
    (ValueError, "there are no integers", lambda r: r.integers(3, 3)),
    (ValueError, "there are no integers", lambda r: r.integers(4, 3, endpoint=True)),
    (ValueError, "int8 has integers from -128 to 127", lambda r: r.integers(129, dtype="i1")),
    (ValueError, "uint8 has integers from 0", lambda r: r.integers(-1, 3, dtype="u1")),
    (ValueError, "int64 has integers", lambda r: r.integers(0, 2**63 + 1)),
    (ValueError, "bool has integers from 0 to 1", lambda r: r.integers(3, dtype=bool)),
    (TypeError, "low is 1.5", lambda r: r.integers(1.5)),
    (TypeError, "high is 'a'", lambda r: r.integers(1, "a")),
    (TypeError, "dtype is float64", lambda r: r.integers(3, dtype=float)),
    (TypeError, "dtype is uint8", lambda r: r.rademacher(dtype="u1")),
    (TypeError, "dtype is bool", lambda r: r.rademacher(dtype=bool)),
    (ValueError, "rng is -1", lambda r: r.rademacher(rng=-1)),
    (TypeError, "out has dtype", lambda r: r.rademacher(dtype=float, out=np.empty(3, "i4"))),
]


@pytest.mark.parametrize(("error", "message", "call"), ERRORS)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call(random)
