"""Linear layers and gradients of products on GPUs, against oracles in NumPy."""

import numpy as np
import pytest
from cuda_products import small_tiles
from layouts import sliced
from test_linear import ACTIVATIONS

import fastmat as fm

OUTPUTS = 13


@pytest.fixture(autouse=True)
def small():
    with small_tiles():
        yield


def operands(shape, dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    shapes = [shape, (OUTPUTS, shape[-1]), (OUTPUTS,), (*shape[:-1], OUTPUTS)]
    return [rng.normal(size=s).astype(dtype) for s in shapes]


def near(found, expected, terms):
    """Within the rounding of sums of so many terms of the size of 10 and less."""
    assert found.shape == expected.shape
    eps = np.finfo(found.dtype).eps
    np.testing.assert_allclose(found, expected, rtol=20 * eps, atol=20 * terms * eps)


def check(gpu, shape, activation, biased, dtype="f4"):
    x, weight, bias, cotangent = operands(shape, dtype)
    apply, slope = ACTIVATIONS[activation]
    offset = bias if biased else None
    wide = [v.astype("f8") for v in (x, weight, bias, cotangent)]
    z = wide[0] @ wide[1].T + (wide[2] if biased else 0)
    on_gpu = [None if v is None else gpu.array(v) for v in (x, weight, offset)]
    found = gpu.numpy(fm.linear(*on_gpu, activation=activation))
    assert found.dtype == x.dtype
    near(found, apply(z), shape[-1])
    given = wide[3] * slope(z)
    rows = given.reshape(-1, OUTPUTS)
    gradients = fm.linear_vjp(gpu.array(cotangent), *on_gpu, activation=activation)
    near(gpu.numpy(gradients.x), given @ wide[1], OUTPUTS)
    near(gpu.numpy(gradients.weight), rows.T @ wide[0].reshape(-1, shape[-1]), x.size + 1)
    if biased:
        near(gpu.numpy(gradients.bias), rows.sum(0), len(rows) + 1)
    else:
        assert gradients.bias is None


@pytest.mark.parametrize(
    ("activation", "biased"), [(None, False), ("relu", True), ("gelu", True), ("silu", False)]
)
def test_linear_and_gradients(gpu, activation, biased):
    check(gpu, (2, 3, 7), activation, biased)


@pytest.mark.cuda_full
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (0, 7), (37, 400)])
def test_all(gpu, shape, activation):
    for biased in (True, False):
        for dtype in ("f4", "f8"):
            check(gpu, shape, activation, biased, dtype)


def test_a_function_as_activation_and_out_that_overlaps(gpu):
    x, weight, bias, _ = operands((13, 13))
    given = gpu.array(x)
    found = fm.linear(
        given, gpu.array(weight), gpu.array(bias), activation=lambda z: z * 2, out=given
    )
    assert found is given
    near(gpu.numpy(given), (x.astype("f8") @ weight.T + bias) * 2, 13)


def test_strides(gpu):
    x, weight, _, _ = operands((4, 3, 7))
    out = gpu.array(sliced(np.zeros((4, 3, OUTPUTS), "f4")))
    fm.linear(gpu.array(sliced(x)), gpu.array(weight), out=out)
    near(gpu.numpy(out), x.astype("f8") @ weight.T, 7)


def vjp(cotangent, x1, x2):
    wide = cotangent.astype("f8")
    return wide @ np.swapaxes(x2, -1, -2), np.swapaxes(x1, -1, -2) @ wide


def test_gradients_of_products(gpu):
    rng = np.random.default_rng(1)
    for shape1, shape2 in [((5, 7), (7, 4)), ((3, 5, 7), (7, 4)), ((2, 1, 5, 7), (3, 7, 4))]:
        x1, x2 = (rng.normal(size=s).astype("f4") for s in (shape1, shape2))
        cotangent = rng.normal(size=np.matmul(x1, x2).shape).astype("f4")
        found = fm.matmul_vjp(*map(gpu.array, (cotangent, x1, x2)))
        for got, full, x in zip(found, vjp(cotangent, x1, x2), (x1, x2), strict=True):
            extra = full.sum(axis=tuple(range(full.ndim - x.ndim)))
            axes = tuple(i for i, n in enumerate(x.shape) if n != extra.shape[i])
            near(gpu.numpy(got), extra.sum(axis=axes, keepdims=True), full.size // x.size * 8)


def test_gradients_of_a_masked_product(gpu):
    rng = np.random.default_rng(2)
    x1, x2, cotangent = (rng.normal(size=s).astype("f4") for s in ((5, 7), (7, 4), (5, 4)))
    found = fm.matmul_vjp(*map(gpu.array, (cotangent, x1, x2)), mask=fm.masks.causal(5, 4))
    for got, expected in zip(found, vjp(np.tril(cotangent), x1, x2), strict=True):
        near(gpu.numpy(got), expected, 7)


def test_gradients_of_vectors(gpu):
    x1, x2 = np.arange(5, dtype="f4"), np.ones((5, 3), "f4")
    found = fm.matmul_vjp(gpu.array(np.ones(3, "f4")), gpu.array(x1), gpu.array(x2))
    np.testing.assert_array_equal(gpu.numpy(found.x1), np.full(5, 3, "f4"))
    np.testing.assert_array_equal(gpu.numpy(found.x2), np.repeat(x1[:, None], 3, 1))


def test_errors(gpu):
    x, weight, bias, _ = map(gpu.array, operands((2, 7)))
    for call, kind, text in [
        (lambda: fm.linear(x, bias), ValueError, "they must be (..., inputs)"),
        (lambda: fm.linear(x, weight, x), ValueError, "bias has shape (2, 7); it must have (13,)"),
        (lambda: fm.linear(x, weight, activation="tanh"), ValueError, "activation is 'tanh'"),
        (lambda: fm.linear_vjp(x, x, weight), ValueError, "cotangent has shape (2, 7)"),
        (lambda: fm.linear(x, weight, np.ones(13)), TypeError, "bias is not on a GPU"),
    ]:
        with pytest.raises(kind) as caught:
            call()
        assert text in str(caught.value)


def test_what_follows_tensor_cores(gpu):
    rng = np.random.default_rng(3)
    x, weight, bias = (rng.integers(-3, 4, s).astype("f2") for s in ((2, 5, 16), (24, 16), (24,)))
    found = gpu.numpy(fm.linear(*map(gpu.array, (x, weight, bias)), activation="relu"))
    expected = np.maximum(x.astype("f4") @ weight.T.astype("f4") + bias, 0)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, expected.astype("f2"))
