"""`layer_norm` and `rms_norm` on GPUs."""

import math
import warnings

import cuda_norms
import numpy as np
import pytest
from cuda_norms import check
from gpus import on
from layouts import LAYOUTS
from normals import values
from numba import njit
from oracles import BFLOAT16
from products import bits

import fastmat as fm

FLOATS = ("f2", BFLOAT16, "f4", "f8")
# Lanes of a warp, a warp, a block; a length that is no multiple of an access; in pieces.
LENGTHS = (1, 8, 100, 1030, 4096)


def parameters(op, n, dtype):
    """Keywords of a normalization over the last axis."""
    given = {"normalized_shape": n, "weight": values(n, dtype, 1)}
    return {**given, "bias": values(n, dtype, 2)} if op == "layer_norm" else given


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(gpu, n):
    x = values((5, n), "f4")
    check(gpu, "layer_norm", x, stats=True, **parameters("layer_norm", n, "f4"))


@pytest.mark.parametrize("n", [7, 1024])
def test_rms_norm(gpu, n):
    check(gpu, "rms_norm", values((5, n), "f4"), stats=True, **parameters("rms_norm", n, "f4"))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_dtypes(gpu, dtype):
    check(gpu, "layer_norm", values((5, 104), dtype), **parameters("layer_norm", 104, dtype))


@pytest.mark.cuda_full
@pytest.mark.parametrize("op", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("n", [*LENGTHS, 2, 3, 31, 32, 33, 257, 2048, 8192, 16384, 40_000])
def test_lengths_and_dtypes(gpu, n, dtype, op):
    check(gpu, op, values((3, n), dtype), stats=True, **parameters(op, n, dtype))


@pytest.mark.parametrize("n", [9000, 33_000])
def test_long_rows(gpu, n):
    """Few long rows, in pieces, and rows that do not fit into registers."""
    check(gpu, "layer_norm", values((2, n), "f4"), stats=True, normalized_shape=n)


@pytest.mark.parametrize("given", ["weight", "bias"])
@pytest.mark.parametrize("dtype", ["i4", "f2", "f8"])
def test_parameters_of_another_dtype(gpu, dtype, given):
    check(gpu, "layer_norm", values((3, 24), "f4"), axis=-1, **{given: values(24, dtype, 1)})


def test_integers_count_as_float64(gpu):
    check(gpu, "layer_norm", values((3, 24), "i4"), axis=-1)


@pytest.mark.parametrize("axis", [0, 1, (0, 2), (0, 1, 2), (1, 2)], ids=str)
def test_axes(gpu, axis):
    x = values((6, 5, 12), "f8")
    lengths = [x.shape[i] for i in np.atleast_1d(axis)]
    weight, bias = values(lengths, "f8", 1), values(lengths, "f8", 2)
    check(gpu, "layer_norm", x, stats=True, axis=axis, weight=weight, bias=bias)


@pytest.mark.parametrize("layout", ["f_order", "sliced", "sliced_rows", "negative", "odd_offset",
                                    "block", "broadcast", "broadcast_last"])  # fmt: skip
def test_layouts(gpu, layout):
    x = LAYOUTS[layout](values((6, 40), "f4"))
    check(gpu, "layer_norm", x, **parameters("layer_norm", 40, "f4"))


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)], ids=str)
def test_empty(gpu, shape):
    x = gpu.array(values(shape, "f4"))
    found = fm.layer_norm(x, shape[-1], return_stats=True)
    assert gpu.numpy(found.result).shape == shape
    assert np.isnan(gpu.numpy(found.mean)).all()
    assert gpu.numpy(found.rstd).shape == (shape[0], 1)


@pytest.mark.parametrize("where", ["x", "other", "overlapping"])
@pytest.mark.parametrize("n", [24, 1032])
def test_out(gpu, n, where):
    x = values((9, n), "f4")
    expected = gpu.numpy(fm.layer_norm(gpu.array(x), n))
    a = gpu.array(x)
    out = {"x": a, "other": gpu.array(np.asfortranarray(x)), "overlapping": None}[where]
    if where == "overlapping":
        a = gpu.array(np.concatenate([x, x]))
        a, out = a[4:13], a[5:14]
        expected = gpu.numpy(fm.layer_norm(gpu.array(gpu.numpy(a)), n))
    found = fm.layer_norm(a, n, out=out)
    assert found is out
    np.testing.assert_allclose(gpu.numpy(found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 24), (3, 1030), (4, 2048)], ids=str)
def test_residual(gpu, shape):
    x, residual = values(shape, "f4"), values(shape, "f4", 5)
    given = {k: gpu.array(v) if isinstance(v, np.ndarray) else v
             for k, v in parameters("layer_norm", shape[-1], "f4").items()}  # fmt: skip
    found = fm.layer_norm(gpu.array(x), residual=gpu.array(residual), return_stats=True, **given)
    expected = fm.layer_norm(gpu.array(x + residual), return_stats=True, **given)
    assert found._fields == ("result", "sum", "mean", "rstd")
    assert bits(gpu.numpy(found.sum)) == bits(x + residual)
    for part in ("result", "mean", "rstd"):
        assert bits(gpu.numpy(getattr(found, part))) == bits(gpu.numpy(getattr(expected, part)))


@pytest.mark.parametrize("where", ["sum in residual", "both in place", "exchanged"])
def test_residual_out(gpu, where):
    shape = (5, 512)
    x, residual = values(shape, "f4"), values(shape, "f4", 5)
    a, b = gpu.array(x), gpu.array(residual)
    expected = gpu.numpy(fm.layer_norm(gpu.array(x + residual), 512))
    out = {"sum in residual": (None, b), "both in place": (a, b), "exchanged": (b, a)}[where]
    found = fm.layer_norm(a, 512, residual=b, out=out)
    assert all(f is o for f, o in zip(found, out, strict=True) if o is not None)
    assert bits(gpu.numpy(found.sum)) == bits(x + residual)
    assert bits(gpu.numpy(found.result)) == bits(expected)


def test_residual_over_the_first_axis(gpu):
    x, residual = values((9, 40), "f4"), values((9, 40), "f4", 5)
    found = fm.layer_norm(gpu.array(x), axis=0, residual=gpu.array(residual))
    expected = fm.layer_norm(gpu.array(x + residual), axis=0)
    assert bits(gpu.numpy(found.sum)) == bits(x + residual)
    assert bits(gpu.numpy(found.result)) == bits(gpu.numpy(expected))


@njit
def leaky(y):
    return y if y > 0 else y / 8


ACTIVATED = {
    "relu": lambda y: np.maximum(y, 0),
    "gelu": lambda y: y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2,
    "silu": lambda y: y / (1 + np.exp(-y)),
    leaky: lambda y: np.where(y > 0, y, y / 8),
}


@pytest.mark.parametrize("activation", ACTIVATED, ids=lambda a: getattr(a, "__name__", a))
def test_activations(gpu, activation):
    x = gpu.array(values((4, 48), "f4") * np.float32(3))
    y = gpu.numpy(fm.layer_norm(x, 48)).astype("f8")
    found = gpu.numpy(fm.layer_norm(x, 48, activation=activation))
    expected = ACTIVATED[activation](y)
    assert np.all(np.abs(found - expected) <= 4 * np.finfo("f4").eps * np.abs(y))


@pytest.mark.parametrize("axis", [0, 1])
def test_mask(gpu, axis):
    x, mask = values((6, 40), "f4"), values((6, 40), "?")
    mask[0], mask[:, 3] = False, False
    kept = np.where(mask, x.astype("f8"), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of groups without numbers
        mean = np.nanmean(kept, axis, keepdims=True)
        rstd = 1 / np.sqrt(np.nanvar(kept, axis, keepdims=True) + 1e-5)
    x[~mask] = np.nan
    found = fm.layer_norm(gpu.array(x), axis=axis, mask=gpu.array(mask), return_stats=True)
    wanted = np.where(mask, (kept - mean) * rstd, 0), mean, rstd
    for part, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(gpu.numpy(part), expected, rtol=2e-5, atol=2e-6)


def test_far_from_zero(gpu):
    """The mean has two parts: its size costs nothing."""
    x = (values((3, 500), "f8") + 1e5).astype("f4")
    check(gpu, "layer_norm", x, stats=True, normalized_shape=500)
    check(gpu, "layer_norm", x, stats=True, axis=0)


def test_equal_numbers(gpu):
    x = np.full((3, 100), 0.1, "f4")
    found = gpu.numpy(fm.layer_norm(gpu.array(x), 100, eps=0.0))
    assert np.isnan(found).all()
    assert not gpu.numpy(fm.layer_norm(gpu.array(x), 100)).any()


@pytest.mark.parametrize("axis", [0, 1])
def test_nan_and_infinities_stay_in_their_group(gpu, axis):
    x = values((8, 9), "f4")
    x[1, 1], x[2, 2], x[3, 3], x[3, 4] = np.nan, np.inf, -np.inf, -np.inf
    check(gpu, "layer_norm", x, stats=True, axis=axis)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"weight": values(5, "f4")}, ValueError, r"weight has shape \(5,\); it must have \(8,\)"),
        ({"weight": values(8, "c8")}, TypeError, "weight has dtype complex64; it must be real"),
        ({"normalized_shape": 5}, ValueError, r"normalized_shape is \(5,\); x has shape \(4, 8\)"),
        ({"eps": "1"}, TypeError, "eps is '1'; it must be a number"),
        ({"mask": values((4, 8), "f4")}, TypeError, "mask has dtype float32; it must be bool"),
        ({"activation": "tanh"}, ValueError, "activation is 'tanh'; it must be"),
        ({"residual": values((4, 7), "f4")}, ValueError, r"residual has shape \(4, 7\)"),
        ({"out": values((4, 7), "f4")}, ValueError, r"out has shape \(4, 7\)"),
    ],
)
def test_bad_arguments(gpu, change, kind, message):
    given = {"normalized_shape": 8, **cuda_norms.on_gpu(gpu, change)}
    with pytest.raises(kind, match=message):
        fm.layer_norm(gpu.array(values((4, 8), "f4")), **given)


def test_numpy_beside_a_gpu(gpu):
    with pytest.raises(TypeError, match="weight is not on a GPU"):
        fm.layer_norm(gpu.array(values((4, 8), "f4")), 8, np.ones(8, "f4"))


@pytest.mark.parametrize("n", [24, 4096, 9000])
def test_reproducible(n):
    """The same bits whatever the order that threads run in."""
    x = values((3, n), "f4")
    found = set()
    for seed in (1, 2):
        with on("emulator", seed=seed) as gpu:
            found.add(bits(gpu.numpy(fm.layer_norm(gpu.array(x), n))))
    assert len(found) == 1
