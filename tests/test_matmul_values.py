"""`fm.matmul`: accuracy, wrap-around, NaN, infinities, zeros, subnormal and large numbers."""

import numpy as np
import pytest
from layouts import negative
from oracles import BFLOAT16, COMPLEX, FLOATS, INTEGERS, matmul, name, rounded
from products import any_bits, bits, check, check_near, normal, same, small_integers

import fastmat as fm

SHAPES = [
    (1, 1, 1),
    (4, 4, 4),
    (3, 5, 7),
    (16, 16, 16),
    (64, 64, 64),
    (41, 1, 33),
    (1, 1, 1000),
    (29, 31, 257),
    (130, 70, 600),
    (8, 8, 50_000),
]


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=name)
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_accuracy(m, n, k, dtype):
    check_near("matmul", normal((m, k), dtype, 1), normal((k, n), dtype, 2))


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_accuracy_of_batches(dtype):
    for size in (3, 4, 16, 40):
        x1, x2 = normal((50, size, size), dtype, 1), normal((50, size, size), dtype, 2)
        check_near("matmul", x1, x2)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_accuracy_under_cancellation(dtype):
    """Sums whose terms nearly cancel: the bound stays on |A||B|, not on the result."""
    half = normal((20, 300), dtype, 1)
    x1 = np.concatenate([half, -half], axis=1)
    other = normal((300, 30), dtype, 2)
    x2 = np.concatenate([other, other + other * np.finfo(dtype).eps * 8], axis=0)
    check_near("matmul", x1, x2)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_accuracy_over_a_wide_range(dtype):
    """Rows and columns of very different sizes: an elementwise bound, not one of norms."""
    scale = 10.0 ** np.arange(-12, 13)
    x1 = (normal((25, 40), dtype, 1) * scale[:, None]).astype(dtype)
    x2 = (normal((40, 25), dtype, 2) * scale[None, :]).astype(dtype)
    check_near("matmul", x1, x2)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16], ids=name)
def test_halves_are_summed_in_float32(dtype):
    """4096 + 1 is not a float16 (nor 512 + 1 a bfloat16), yet a thousand ones must count."""
    k = 5000
    check("matmul", np.ones((20, k), dtype), np.ones((k, 20), dtype))
    check("matmul", np.ones((3, 4000), dtype), np.ones(4000, dtype))


def test_float16_sums_may_pass_its_range():
    """An intermediate sum beyond 65504 is no overflow; a final one is."""
    x1 = np.array([[300, 300, -300], [300, 300, 300]], "f2")
    x2 = np.array([[300], [300], [300]], "f2")
    check("matmul", x1, np.tile(x2, (1, 3)))
    x2[2] = 600
    same(fm.matmul(x1, x2), np.array([[0], [np.inf]], "f2"))


def test_halves_round_to_nearest_even():
    x1 = np.array([[2048, 1], [2048, 3], [2048, 1.5], [-2048, -1], [-2048, -3]], "f2")
    x2 = np.ones((2, 20), "f2")
    expected = np.repeat(np.array([[2048], [2052], [2050], [-2048], [-2052]], "f2"), 20, 1)
    same(fm.matmul(x1, x2), expected)
    same(fm.matmul((x1 / 8).astype(BFLOAT16), x2.astype(BFLOAT16)), _bfloat16_sums())


def _bfloat16_sums():
    sums = np.array([[256], [256], [256], [-256], [-256]], "f4")
    sums += np.array([[0.125], [0.375], [0.1875], [-0.125], [-0.375]], "f4")
    return np.repeat(sums, 20, 1).astype(BFLOAT16)


@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_integers_wrap_around(dtype):
    for m, n, k in [(1, 1, 1), (4, 4, 4), (16, 16, 16), (33, 35, 300), (1, 40, 50), (40, 1, 50)]:
        x1, x2 = any_bits((m, k), dtype, 1), any_bits((k, n), dtype, 2)
        check("matmul", x1, x2)
        exact = x1.astype(object) @ x2.astype(object)
        modulus = 2 ** (8 * dtype.itemsize)
        remainder = (fm.matmul(x1, x2).astype(object) - exact) % modulus
        assert not remainder.any()


@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_extreme_integers(dtype):
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max, 0, 1], dtype)
    x1 = np.tile(values, (20, 10))
    check("matmul", x1, x1.T.copy())
    check("matmul", x1[:4, :4], x1[:4, :4])


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (16, 16, 16), (37, 39, 300), (1, 50, 60), (50, 1, 60)]
)
def test_bool_is_or_of_ands_of_any_bytes(shape):
    """A byte other than 0 is True: 2 and 4 have no bit in common, yet True and True is True."""
    m, n, k = shape
    x1, x2 = any_bits((m, k), bool, 1), any_bits((k, n), bool, 2)
    result = check("matmul", x1, x2)
    assert set(np.unique(result.view(np.uint8))) <= {0, 1}
    x1 = np.full((m, k), 2, np.uint8).view(bool)
    x2 = np.full((k, n), 4, np.uint8).view(bool)
    assert check("matmul", x1, x2).view(np.uint8).min() == 1


def test_bytes_of_bool_count_as_one_in_other_dtypes():
    x1 = np.array([[2, 0, 255], [1, 4, 0]], np.uint8).view(bool)
    x2 = np.ones((3, 20))
    same(fm.matmul(x1, x2), np.full((2, 20), 2.0))
    same(fm.matmul(x1, x1.T.copy(), dtype="i4"), np.array([[2, 1], [1, 2]], "i4"))


def test_sums_of_bool_do_not_overflow():
    """256 hits would be 0 in a byte."""
    for k in (256, 512, 65536):
        assert fm.matmul(np.ones((20, k), bool), np.ones((k, 20), bool)).all()


SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0)


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=name)
@pytest.mark.parametrize("share", [0.002, 0.02, 0.3])
def test_nan_and_infinity(dtype, share):
    """inf * 0 and inf - inf are NaN, exactly where they occur and nowhere else."""
    rng = np.random.default_rng(7)
    for m, n, k in [(3, 4, 5), (16, 16, 16), (33, 50, 20), (43, 49, 300), (1, 30, 40), (30, 1, 40)]:
        x1, x2 = _special((m, k), dtype, share, rng), _special((k, n), dtype, share, rng)
        check("matmul", x1, x2)
        check("matmul", negative(x1), np.asfortranarray(x2))
    x1, x2 = _special((40, 3, 5), dtype, share, rng), _special((40, 5, 4), dtype, share, rng)
    check("matmul", x1, x2)


def _special(shape, dtype, share, rng):
    x = small_integers(shape, dtype, 3)
    for part in (x.real, x.imag) if x.dtype.kind == "c" else (x,):
        where = rng.random(shape) < share
        part[where] = rng.choice(SPECIAL, np.count_nonzero(where))
    return x


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_one_nan_spoils_one_row_and_one_column(dtype):
    """Padding and neighbouring tiles must not spread it."""
    for m, n, k in [(4, 4, 4), (29, 67, 40), (29, 67, 600)]:
        for i, j in [(0, 0), (m - 1, k - 1), (m // 2, k // 2)]:
            x1, x2 = np.ones((m, k), dtype), np.ones((k, n), dtype)
            x1[i, j] = np.nan
            rows = np.isnan(fm.matmul(x1, x2).astype("f4"))
            assert rows[i].all()
            assert np.count_nonzero(rows) == n
            columns = np.isnan(fm.matmul(x2.T, x1.T).astype("f4"))
            assert columns[:, i].all()
            assert np.count_nonzero(columns) == n


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_zeros_have_the_sign_of_a_sum(dtype):
    """Products that are all +0 sum to +0, and so do x and -x; nothing flips a sign."""
    for m, n, k in [(1, 1, 1), (4, 4, 4), (20, 40, 30), (1, 30, 300), (30, 1, 300)]:
        zeros, ones = np.zeros((m, k), dtype), np.ones((k, n), dtype)
        assert bits(fm.matmul(zeros, ones)) == bits(np.zeros((m, n), dtype))
        if k % 2 == 0:
            x1 = np.ones((m, k), dtype)
            x1[:, ::2] = -1
            assert bits(fm.matmul(x1, ones)) == bits(np.zeros((m, n), dtype))
        assert not fm.matmul(-zeros, ones).any()


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_subnormal_numbers_survive(dtype):
    """Nothing is flushed to zero: neither inputs, nor products, nor results."""
    tiny = rounded(np.float64("1e-39") if dtype == BFLOAT16 else _subnormal(dtype), dtype)
    assert tiny != 0
    for m, n, k in [(4, 4, 4), (20, 40, 30), (40, 1, 30), (1, 40, 30)]:
        x1 = np.zeros((m, k), dtype)
        x1[:, 1] = tiny
        x2 = small_integers((k, n), dtype, 1)
        check("matmul", x1, x2)
    if dtype.itemsize > 2:  # a product of two normal numbers that is subnormal
        small = np.ldexp(dtype.type(1), np.finfo(dtype).minexp // 2 - 5)
        check("matmul", np.full((20, 1), small), np.full((1, 20), small))


def _subnormal(dtype):
    return np.finfo(dtype).smallest_subnormal * 8


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_overflow_gives_infinity(dtype):
    big = np.finfo(dtype).max
    x1 = np.array([[big, big], [big, -big], [-big, -big]], dtype)
    for n in (1, 2, 40):
        expected = np.repeat(np.array([[np.inf], [0], [-np.inf]], dtype), n, 1)
        same(fm.matmul(x1, np.ones((2, n), dtype)), expected)


def test_oracle_agrees_with_numpy():
    """The oracle itself, against NumPy's own matmul."""
    for dtype in ("?", "i1", "u8", "f8", "c16"):
        x1, x2 = small_integers((4, 7, 5), dtype, 1), small_integers((5, 6), dtype, 2)
        same(rounded(matmul(x1, x2).value, dtype), np.matmul(x1, x2))
