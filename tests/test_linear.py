"""Linear layers and gradients of products, against oracles in NumPy."""

import math

import numpy as np
import pytest
from numba import njit

import fastmat as fm

SHAPES = ((7,), (5, 7), (2, 3, 7), (0, 7), (37, 400))
_erf = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS = {
    None: (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "gelu": (
        lambda z: z * (1 + _erf(z / np.sqrt(2))) / 2,
        lambda z: (1 + _erf(z / np.sqrt(2))) / 2 + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": (
        lambda z: z / (1 + np.exp(-z)),
        lambda z: (1 + z * (1 - 1 / (1 + np.exp(-z)))) / (1 + np.exp(-z)),
    ),
}


def operands(shape, seed=0):
    rng = np.random.default_rng(seed)
    x, weight = rng.normal(size=shape), rng.normal(size=(13, shape[-1]))
    return x, weight, rng.normal(size=13), rng.normal(size=(*shape[:-1], 13))


def near(got, expected, terms):
    """Within the rounding of sums of so many terms of the size of 10 and less."""
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=terms * 1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_linear_and_gradients(shape, activation):
    x, weight, bias, cotangent = operands(shape)
    apply, slope = ACTIVATIONS[activation]
    for offset in (bias, None):
        z = x @ weight.T + (0 if offset is None else offset)
        near(fm.linear(x, weight, offset, activation=activation), apply(z), x.size + 10)
        given = cotangent * slope(z)
        rows = given.reshape(-1, 13)
        found = fm.linear_vjp(cotangent, x, weight, offset, activation=activation)
        near(found.x, given @ weight, x.size + 10)
        near(found.weight, rows.T @ x.reshape(-1, shape[-1]), x.size + 10)
        if offset is None:
            assert found.bias is None
        else:
            near(found.bias, rows.sum(0), x.size + 10)


def test_a_function_as_activation_and_out_that_overlaps():
    x, weight, bias, _ = operands((13, 13))
    expected = (x @ weight.T + bias) * 2 + 1
    near(fm.linear(x, weight, bias, activation=lambda z: z * 2 + 1), expected, 20)
    assert fm.linear(x, weight, bias, activation=lambda z: z * 2 + 1, out=x) is x
    near(x, expected, 20)


@pytest.mark.parametrize(
    ("left", "right"),
    [((5, 7), (7, 3)), ((2, 5, 7), (7, 3)), ((7,), (7, 3)), ((5, 7), (7,)), ((7,), (7,))],
)
def test_gradients_of_products(left, right):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=left), rng.normal(size=right)
    cotangent = rng.normal(size=np.shape(a @ b))
    found = fm.matmul_vjp(cotangent, a, b)
    for which, gradient in enumerate(found):
        assert gradient.shape == (left, right)[which]
        step = rng.normal(size=gradient.shape)
        moved = (a + step) @ b - a @ b if which == 0 else a @ (b + step) - a @ b
        np.testing.assert_allclose(np.sum(gradient * step), np.sum(cotangent * moved), rtol=1e-9)


def test_gradients_of_a_masked_product():
    rng = np.random.default_rng(2)
    a, b, cotangent = rng.normal(size=(5, 7)), rng.normal(size=(7, 5)), rng.normal(size=(5, 5))
    for mask in (fm.masks.causal(5, 5), np.tri(5, dtype=bool)):
        found = fm.matmul_vjp(cotangent, a, b, mask=mask)
        near(found.x1, np.tril(cotangent) @ b.T, 10)
        near(found.x2, a.T @ np.tril(cotangent), 10)


@njit
def _layer(x, weight, bias):
    return fm.linear(x, weight, bias, activation="gelu")


@njit
def _layer_vjp(cotangent, x, weight, bias):
    return fm.linear_vjp(cotangent, x, weight, bias, activation="gelu")


@njit
def _product_vjp(cotangent, a, b):
    return fm.matmul_vjp(cotangent, a, b)


def test_inside_njit():
    x, weight, bias, cotangent = operands((5, 7))
    expected = fm.linear(x, weight, bias, activation="gelu")
    np.testing.assert_array_equal(_layer(x, weight, bias), expected)
    wanted = fm.linear_vjp(cotangent, x, weight, bias, activation="gelu")
    for got, want in zip(_layer_vjp(cotangent, x, weight, bias), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    b = np.ascontiguousarray(weight.T)
    for got, want in zip(
        _product_vjp(cotangent, x, b), fm.matmul_vjp(cotangent, x, b), strict=True
    ):
        near(got, want, 10)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": np.ones((3, 4))}, ValueError, "weight has shape"),
        ({"bias": np.ones(3)}, ValueError, "bias has shape"),
        ({"activation": "tanh"}, ValueError, "activation is 'tanh'"),
        ({"activation": 3}, TypeError, "activation is 3"),
        ({"out": np.empty((5, 3))}, ValueError, "out has shape"),
        ({"x": np.array(["a"])}, TypeError, "x has dtype"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    x, weight, bias, _ = operands((5, 7))
    with pytest.raises(error, match=message):
        fm.linear(**({"x": x, "weight": weight, "bias": bias} | change))
