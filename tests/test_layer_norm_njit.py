"""`layer_norm` and `rms_norm` with a residual or an activation, in the user's own functions."""

import numba
import numpy as np
import pytest
from normals import values
from numba import njit
from products import bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def leaky(y):
    return y if y > 0 else y / 8


@njit
def summed(x, residual, weight, bias):
    return fm.layer_norm(x, x.shape[-1], weight, bias, residual=residual, activation=leaky)


@njit
def summed_with_statistics(x, residual, weight):
    return fm.rms_norm(x, x.shape[-1], weight, residual=residual, return_stats=True)


@njit
def into(x, residual, weight, out, total):
    return fm.rms_norm(
        x, x.shape[-1], weight, residual=residual, activation="relu", out=(out, total)
    )


@njit
def gelu(x):
    return fm.layer_norm(x, x.shape[-1], activation="gelu")


@njit
def silu(x):
    return fm.layer_norm(x, x.shape[-1], activation="silu")


@njit
def over_two_axes(x, residual, out):
    return fm.layer_norm(x, axis=(0, 2), residual=residual, out=out)


def arguments(dtype="f8", shape=(70, 33)):
    return values(shape, dtype), values(shape, dtype, 5), values(shape[-1], dtype, 1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_residual_and_own_activation(dtype):
    x, residual, weight = arguments(dtype)
    found = summed(x, residual, weight, weight)
    expected = fm.layer_norm(x, 33, weight, weight, residual=residual, activation=leaky)
    assert found._fields == ("result", "sum")
    assert bits(found.result) == bits(expected.result)
    assert bits(found.sum) == bits(expected.sum)


def test_statistics():
    x, residual, weight = arguments()
    found = summed_with_statistics(x, residual, weight)
    expected = fm.rms_norm(x, 33, weight, residual=residual, return_stats=True)
    assert found._fields == expected._fields
    for part, wanted in zip(found, expected, strict=True):
        assert bits(part) == bits(wanted)


def test_activations_by_name():
    x = arguments()[0]
    assert bits(gelu(x)) == bits(fm.layer_norm(x, 33, activation="gelu"))
    assert bits(silu(x)) == bits(fm.layer_norm(x, 33, activation="silu"))


@pytest.mark.parametrize("where", ["new", "none", "in place", "exchanged", "strided", "float32"])
def test_out(where):
    x, residual, weight = arguments()
    expected = fm.rms_norm(x, 33, weight, residual=residual, activation="relu")
    wide = np.empty((70, 66))
    out, total = {
        "new": (np.empty_like(x), np.empty_like(x)),
        "none": (None, np.empty_like(x)),
        "in place": (x, residual),
        "exchanged": (residual, x),
        "strided": (wide[:, ::2], wide[:, 1::2]),
        "float32": (np.empty((70, 33), "f4"), None),
    }[where]
    found = into(x, residual, weight, out, total)
    assert bits(found.result) == bits(expected.result.astype(found.result.dtype))
    assert bits(found.sum) == bits(expected.sum)
    for given, result in ((out, found.result), (total, found.sum)):
        if given is not None:
            assert result.ctypes.data == given.ctypes.data
            assert bits(given) == bits(result)


def test_axes_that_need_contiguous_arrays():
    x, residual = values((4, 5, 6, 7, 8), "f8")[:, 0], values((4, 6, 7, 8), "f8", 5)
    expected = fm.layer_norm(x, axis=(0, 2), residual=residual)
    for out in (None, (np.empty(x.shape), np.empty((8, 7, 6, 4)).T)):
        found = over_two_axes(x, residual, out)
        np.testing.assert_allclose(found.result, expected.result, rtol=1e-13, atol=1e-15)
        assert bits(found.sum) == bits(expected.sum)


def test_bad_arguments():
    x, residual, weight = arguments()
    with pytest.raises(ValueError, match="residual has another shape than x"):
        summed(x, residual[1:], weight, weight)
    with pytest.raises(ValueError, match="out has another shape than the result"):
        into(x, residual, weight, np.empty((2, 33)), None)
    with pytest.raises(ValueError, match="out is the same array twice"):
        into(x, residual, weight, x, x)
    with pytest.raises(numba.TypingError, match="residual has 1 dimensions; x has 2"):
        summed(x, residual[0], weight, weight)
    with pytest.raises(numba.TypingError, match="residual has dtype complex128; it must be real"):
        summed(x, residual * 1j, weight, weight)

    @njit
    def unknown(x):
        return fm.layer_norm(x, 33, activation="tanh")

    with pytest.raises(numba.TypingError, match="activation is 'tanh'; it must be"):
        unknown(x)

    @njit
    def single(x, out):
        return fm.layer_norm(x, 33, residual=x, out=out)

    with pytest.raises(numba.TypingError, match="with a residual it must be a pair of arrays"):
        single(x, np.empty_like(x))
