"""Gradients of normalizations on GPUs."""

import gradients
import numpy as np
import pytest
from cuda_norms import check_gradient, on_gpu
from gpus import on
from layouts import LAYOUTS
from normals import VARIANTS, channels_last, fits, operation, values
from oracles import BFLOAT16
from products import bits

import fastmat as fm

SHAPE = (3, 4, 17, 5)


def check_variant(gpu, variant, x, out=None, **more):
    """Call the gradient of a variant and compare it with its oracle."""
    check_gradient(gpu, operation(variant), gradients.arguments(variant, x, **more), out)


# Those that are left out go the same ways; `test_everything` has them.
_ALIKE = ("layer_norm 2", "layer_norm middle", "rms_norm first", "group_norm 1", "batch_norm given")


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v not in _ALIKE])
def test_variants(gpu, variant):
    check_variant(gpu, variant, values(SHAPE, "f4"))


# Lanes of a warp, a warp, a block; what does not fit into registers; in pieces.
@pytest.mark.parametrize("n", [1, 30, 512, 4096, 9000])
def test_rows(gpu, n):
    check_variant(gpu, "layer_norm", values((5, n), "f4"))


@pytest.mark.parametrize(
    ("variant", "dtype"),
    [("layer_norm", "f2"), ("layer_norm", BFLOAT16), ("layer_norm", "f8"), ("batch_norm", "f2")],
    ids=str,
)
def test_dtypes(gpu, variant, dtype):
    check_variant(gpu, variant, values((5, 4, 16), dtype))


@pytest.mark.cuda_full
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "i4"], ids=str)
@pytest.mark.parametrize("shape", [SHAPE, (2, 6, 64), (7, 4), (2, 2, 5000), (64, 130)], ids=str)
def test_everything(gpu, shape, dtype, variant):
    if fits(variant, shape):
        check_variant(gpu, variant, values(shape, dtype))


@pytest.mark.parametrize("shape", [(1000, 8), (75, 250), (9, 1024)], ids=str)
def test_blocks_that_take_many_rows(gpu, shape, monkeypatch):
    monkeypatch.setattr("fastmat.cuda.layer_norm_vjp.GRADIENT_PIECES", 2)
    check_variant(gpu, "layer_norm", values(shape, "f4"))


@pytest.mark.parametrize("dtype", ["f2", "f8", "i4"])
def test_weight_of_another_dtype(gpu, dtype):
    given = gradients.arguments("layer_norm", values((3, 24), "f4"))
    given["weight"] = values(24, dtype, 1)
    check_gradient(gpu, "layer_norm", given)


@pytest.mark.parametrize("variant", ["layer_norm", "batch_norm", "group_norm"])
def test_in_pieces(gpu, variant):
    check_variant(gpu, variant, values((2, 4, 4500), "f4"))


@pytest.mark.parametrize("variant", ["layer_norm", "batch_norm", "group_norm", "normalize"])
@pytest.mark.parametrize("layout", [channels_last, LAYOUTS["sliced"]], ids=lambda f: f.__name__)
def test_layouts(gpu, layout, variant):
    check_variant(gpu, variant, layout(values((3, 12, 5, 4), "f4")))


@pytest.mark.parametrize("variant", ["layer_norm", "batch_norm"])
@pytest.mark.parametrize("where", ["x", "cotangent"])
def test_in_place(gpu, where, variant):
    given = on_gpu(gpu, gradients.arguments(variant, values((5, 8, 16), "f4")))
    function = getattr(fm, f"{operation(variant)}_vjp")
    expected = gpu.numpy(tuple(function(**given)))
    found = function(**given, out=given[where])
    assert found.x is given[where]
    assert list(map(bits, gpu.numpy(tuple(found)))) == list(map(bits, expected))


@pytest.mark.parametrize("op", ["layer_norm", "batch_norm"])
def test_mask(gpu, op):
    """Like the gradient of what is left, one group at a time."""
    x, g, mask = values((6, 5), "f8"), values((6, 5), "f8", 3), values((6, 5), "?")
    mask[:2] = True
    weight, along = np.ones(5), {"layer_norm": 1, "batch_norm": 0}[op]
    more = {"axis": 1} if op == "layer_norm" else {"training": True}
    kept = np.where(mask, x, np.nan)
    mean = np.nanmean(kept, along, keepdims=True)
    rstd = 1 / np.sqrt(np.nanvar(kept, along, keepdims=True) + 1e-5)
    shape = mean.shape if op == "layer_norm" else (5,)
    given = {"mean": mean.reshape(shape), "rstd": rstd.reshape(shape), "weight": weight, **more}
    x[~mask], g[~mask] = np.nan, np.nan
    given = on_gpu(gpu, {"cotangent": g, "x": x, "mask": mask, **given})
    found = gpu.numpy(tuple(getattr(fm, f"{op}_vjp")(**given)))
    normal = (x - mean) * rstd
    inner = g - np.nanmean(g, along, keepdims=True)
    inner -= normal * np.nanmean(g * normal, along, keepdims=True)
    np.testing.assert_allclose(found[0], np.where(mask, inner * rstd, 0), atol=1e-12)
    np.testing.assert_allclose(found[1], np.nansum(g * normal, 0), atol=1e-12)
    np.testing.assert_allclose(found[2], np.nansum(g, 0), atol=1e-12)


def test_complex(gpu):
    check_variant(gpu, "normalize", values((5, 12), "c8"))


@pytest.mark.parametrize("ord", [1, 2, np.inf])
def test_zeros_and_ties(gpu, ord):
    x = np.round(values((6, 40), "f4"))
    x[0] = 0
    check_variant(gpu, "normalize", x, ord=ord)


@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 4, 0)], ids=str)
def test_empty(gpu, shape):
    given = gradients.arguments("layer_norm", values(shape, "f4"))
    found = gpu.numpy(tuple(fm.layer_norm_vjp(**on_gpu(gpu, given))))
    assert found[0].shape == shape
    np.testing.assert_array_equal(found[1], np.zeros(shape[-1]))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"cotangent": values((4, 7), "f4")}, ValueError, r"cotangent has shape \(4, 7\)"),
        ({"mean": values(4, "f8")}, ValueError, r"mean has shape \(4,\); it must have \(4, 1\)"),
        ({"rstd": values((4, 1), "i4")}, TypeError, "rstd has dtype int32; it must be float64"),
        ({"weight": values(5, "f4")}, ValueError, r"weight has shape \(5,\); it must have \(8,\)"),
    ],
)
def test_bad_arguments(gpu, change, kind, message):
    given = {**gradients.arguments("layer_norm", values((4, 8), "f4")), **change}
    with pytest.raises(kind, match=message):
        fm.layer_norm_vjp(**on_gpu(gpu, given))


@pytest.mark.parametrize("variant", ["layer_norm", "batch_norm"])
def test_reproducible(variant, monkeypatch):
    """The same bits whatever the order that threads run in."""
    monkeypatch.setattr("fastmat.cuda.layer_norm_vjp.GRADIENT_PIECES", 2)
    given, found = gradients.arguments(variant, values((50, 40), "f4")), set()
    for seed in (1, 2):
        with on("emulator", seed=seed) as gpu:
            result = getattr(fm, f"{variant}_vjp")(**on_gpu(gpu, given))
            found.add(tuple(map(bits, gpu.numpy(tuple(result)))))
    assert len(found) == 1
