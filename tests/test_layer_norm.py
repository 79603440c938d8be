"""`layer_norm` and `rms_norm` fused with a sum before them, or an activation after them.

What they compute without either is tested in `test_normalization*.py`; here the fused forms are
held to the bits of the steps that they fuse.
"""

import math

import numpy as np
import pytest
from layouts import LAYOUTS, unmodified
from normals import values
from numba import njit
from oracles import BFLOAT16
from products import bits

import fastmat as fm

NORMS = {
    "layer_norm": lambda d: {"weight": values(d, "f8", 1), "bias": values(d, "f8", 2)},
    "rms_norm": lambda d: {"weight": values(d, "f8", 1)},
}
FLOATS = ["f2", BFLOAT16, "f4", "f8"]
# Short groups side by side, groups in cache, one in pieces; sums in several blocks.
SHAPES = [(3, 1), (5, 31), (70, 33), (3, 4097), (2, 70_001), (70_001, 8), (600, 1000), (0, 4)]


@njit
def leaky(y):
    return y if y > 0 else y / 8


@njit
def stepped(y):
    return 1 if y > 0 else 0


@njit
def inverse(y):
    return 1 / (y - y)


@njit
def strict(y):
    if y > 0:
        raise RuntimeError("a number is positive")
    return y


def layer(op, x, **keywords):
    return getattr(fm, op)(x, x.shape[-1], **{**NORMS[op](x.shape[-1]), **keywords})


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_residual(dtype, shape, op):
    x, residual = values(shape, dtype), values(shape, dtype, 5)
    with unmodified(x, residual):
        found = layer(op, x, residual=residual, return_stats=True)
        pair = layer(op, x, residual=residual)
    total = (
        (x.astype("f4") + residual.astype("f4")).astype(dtype) if dtype != "f8" else x + residual
    )
    expected = layer(op, total, return_stats=True)
    assert found._fields == ("result", "sum", "mean", "rstd")
    assert pair._fields == ("result", "sum")
    assert bits(found.sum) == bits(pair.sum) == bits(total)
    assert bits(found.result) == bits(pair.result) == bits(expected.result)
    assert bits(found.mean) == bits(expected.mean)
    assert bits(found.rstd) == bits(expected.rstd)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_residual_in_every_layout(layout):
    x, residual = LAYOUTS[layout](values((6, 40), "f8")), values((6, 40), "f8", 5)
    for first, second in ((x, residual), (residual, x)):
        found = layer("layer_norm", first, residual=second)
        assert bits(found.sum) == bits(np.add(first, second, order="C"))
        np.testing.assert_allclose(found.result, layer("layer_norm", found.sum), rtol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, (0, 2), (0, 1, 2)], ids=str)
def test_residual_over_any_axes(axis):
    x, residual = values((9, 70, 12), "f8"), values((9, 70, 12), "f8", 5)
    found = fm.layer_norm(x, axis=axis, residual=residual)
    assert bits(found.sum) == bits(x + residual)
    assert bits(found.result) == bits(fm.layer_norm(x + residual, axis=axis))


@pytest.mark.parametrize("where", ["new", "sum in residual", "both in place", "exchanged", "other"])
def test_residual_out(where):
    x, residual = values((80, 40), "f8"), values((80, 40), "f8", 5)
    expected = layer("layer_norm", x, residual=residual, activation="relu")
    room = np.empty((80, 80))
    out = {
        "new": (np.empty_like(x), np.empty_like(x)),
        "sum in residual": (None, residual),
        "both in place": (x, residual),
        "exchanged": (residual, x),
        "other": (room[:, ::2], np.empty((80, 40), "f4")),
    }[where]
    found = layer("layer_norm", x, residual=residual, activation="relu", out=out)
    assert all(a is b for a, b in zip(found, out, strict=True) if b is not None)
    assert bits(found.result) == bits(expected.result)
    assert bits(found.sum) == bits(expected.sum.astype(found.sum.dtype))


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_relu(dtype, shape, op):
    x = values(shape, dtype)
    assert bits(layer(op, x, activation="relu")) == bits(np.maximum(layer(op, x), 0) + 0.0)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_smooth_activations(dtype):
    """In units of what the activation is given; the error functions used are within a unit."""
    x = values((40, 300), dtype) * np.asarray(4, dtype)
    y = layer("layer_norm", x)
    exact = y.astype("f8")
    erf = np.vectorize(math.erf)
    eps = np.finfo(dtype).eps
    for name, expected in (
        ("gelu", exact * (1 + erf(exact / math.sqrt(2))) / 2),
        ("silu", exact / (1 + np.exp(-exact))),
    ):
        assert np.all(
            np.abs(layer("layer_norm", x, activation=name) - expected) <= 3 * eps * abs(y)
        )


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16])
def test_activation_of_halves_is_computed_in_float32(dtype):
    x = values((9, 300), dtype)
    wide = layer("layer_norm", x.astype("f4"), activation="gelu")
    np.testing.assert_array_equal(layer("layer_norm", x, activation="gelu"), wide.astype(dtype))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_own_activation(dtype, shape):
    x = values(shape, dtype)
    y = layer("layer_norm", x)
    assert bits(layer("layer_norm", x, activation=leaky)) == bits(np.where(y > 0, y, y / 8))
    assert bits(layer("layer_norm", x, activation=stepped)) == bits((y > 0).astype(dtype))


def test_activation_and_nan():
    x = np.array([[np.nan, 1, 2], [1, 2, 3]])
    for activation in ("relu", "gelu", "silu", leaky):
        found = fm.layer_norm(x, 3, activation=activation)
        assert np.isnan(found[0]).all()
        assert np.isfinite(found[1]).all()


def test_own_activation_divides_as_arrays_do():
    assert np.isinf(fm.layer_norm(values((4, 5), "f8"), 5, activation=inverse)).all()


@pytest.mark.parametrize("shape", [(5, 31), (70, 33), (600, 1000), (2, 70_001)], ids=str)
def test_own_activation_may_raise(shape):
    with pytest.raises(RuntimeError, match="a number is positive"):
        layer("layer_norm", values(shape, "f8"), activation=strict)


@njit
def not_zero(y):
    if y == 0:
        raise ValueError("a number that is not there")
    return y


@pytest.mark.parametrize("shape", [(3, 16), (70, 16), (3, 2000)], ids=str)
def test_own_activation_sees_no_other_numbers(shape):
    """Groups beside each other are computed in blocks, which may have room for more of them."""
    x = values(shape, "f8")
    assert bits(fm.layer_norm(x, axis=1, activation=not_zero)) == bits(fm.layer_norm(x, axis=1))
    assert bits(fm.layer_norm(x, axis=0, activation=not_zero)) == bits(fm.layer_norm(x, axis=0))


def test_bad_input():
    x, out = values((4, 5), "f8"), np.full((4, 5), 7.0)
    for error, words, keywords in (
        (ValueError, 'activation is .tanh.; it must be "relu"', {"activation": "tanh"}),
        (TypeError, "compiled by numba.njit", {"activation": math.tanh}),
        (
            TypeError,
            "activation cannot be compiled for float64",
            {"activation": njit(lambda y: y.shape)},
        ),
        (ValueError, r"residual has shape \(3, 5\); it must have \(4, 5\)", {"residual": x[1:]}),
        (TypeError, "residual has dtype complex128", {"residual": x * 1j}),
    ):
        pair = out if "residual" not in keywords else (out, out.copy())
        with pytest.raises(error, match=words):
            fm.layer_norm(x, 5, **keywords, out=pair)
        assert (out == 7).all()
    with pytest.raises(TypeError, match="out is ndarray; with a residual it must be a pair"):
        fm.layer_norm(x, 5, residual=x, out=out)
    with pytest.raises(ValueError, match="out is the same array twice"):
        fm.layer_norm(x, 5, residual=x, out=(out, out))
    with pytest.raises(ValueError, match="out has shape"):
        fm.layer_norm(x, 5, residual=x, out=(out, out[1:].copy()))
    assert (out == 7).all()
