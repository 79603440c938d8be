"""Call a product, check all that it promises, and compare it with its oracle."""

import numpy as np
from layouts import unmodified
from oracles import BFLOAT16, ORACLES, rounded
from tolerances import product_bound

import fastmat as fm


def small_integers(shape, dtype, seed=0):
    """Whole numbers so small that every sum of fewer than 400,000 products is exact in float32.

    Whatever order a kernel sums them in, it has to return exactly the oracle's result, so that
    one product left out or counted twice is seen at any size.
    """
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    dtype = np.dtype(dtype)
    if dtype.kind == "b":  # so sparse that about half of the results are False
        return rng.random(shape) < 0.8 / np.sqrt(max(np.atleast_1d(shape), default=1) + 1)
    low = 0 if dtype.kind == "u" else -3
    x = rng.integers(low, low + 7, shape)
    if dtype.kind == "c":
        x = x + 1j * rng.integers(-3, 4, shape)
    return np.asarray(x).astype(dtype)


def any_bits(shape, dtype, seed=0):
    """Integers over the whole range of their dtype; bool as bytes of any value."""
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    x = rng.integers(0, 256, size, np.uint8)
    if np.dtype(dtype) == bool:
        x[rng.random(size) < 0.8] = 0
    return x.view(dtype).reshape(shape)


def normal(shape, dtype, seed=0):
    """Normally distributed values."""
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x).astype(dtype)


def check(op, x1, x2, **keywords):
    """Call a product and assert that it equals the exact result, rounded once.

    For values whose sums are exact in the accumulator, such as `small_integers`.
    """
    result, product = _call(op, x1, x2, keywords, exact=True)
    expected = rounded(product.value, np.asarray(result).dtype)
    same(result, expected)
    return result


def check_near(op, x1, x2, **keywords):
    """Call a product and assert that it is within the bound of the error analysis."""
    result, product = _call(op, x1, x2, keywords, exact=False)
    wide = np.asarray(result).astype(product.value.dtype)
    error = np.abs(wide - product.value)
    bound = product_bound(product)
    wrong = ~(error <= bound)
    assert not wrong.any(), (
        f"{np.count_nonzero(wrong)} of {wrong.size} results are off, by up to "
        f"{np.max(error[wrong] / bound[wrong])} times the bound; first at {np.argwhere(wrong)[0]}"
    )
    return result


def same(result, expected):
    """Assert equal values, with NaN and inf in the same places, in both parts of complex."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    if result.dtype == BFLOAT16:  # NumPy does not know its NaN
        result, expected = result.astype("f4"), expected.astype("f4")
    if result.dtype.kind == "c":
        np.testing.assert_array_equal(result.real, expected.real)
        np.testing.assert_array_equal(result.imag, expected.imag)
    else:
        np.testing.assert_array_equal(result, expected)


def bits(x):
    """The bytes of an array in C order and native byte order: tells 0.0 from -0.0."""
    x = np.asarray(x)
    return x.astype(x.dtype.newbyteorder("=")).tobytes()


def _call(op, x1, x2, keywords, exact):
    plain = {key: value for key, value in keywords.items() if key != "out"}
    product = ORACLES[op](x1, x2, **plain, exact=exact)
    with unmodified(x1, x2):
        result = getattr(fm, op)(x1, x2, **keywords)
    out = keywords.get("out")
    if out is not None:
        assert result is out
    else:
        assert np.asarray(result).dtype == product.dtype
        assert np.asarray(result).dtype.isnative
        assert type(result) is (np.ndarray if product.value.ndim else product.dtype.type)
    assert np.shape(result) == product.value.shape
    return result, product
