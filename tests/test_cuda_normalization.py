"""Normalizations of channels, and by norms, on GPUs."""

import cuda_norms
import normal_oracles
import numpy as np
import pytest
from cuda_norms import check
from gpus import on
from layouts import LAYOUTS
from normals import VARIANTS, channels_last, fits, keywords_for, operation, values
from oracles import BFLOAT16
from products import bits

import fastmat as fm

NORMS = [v for v in VARIANTS if operation(v) not in ("layer_norm", "rms_norm")]
SHAPE = (3, 4, 17, 5)


def check_variant(gpu, variant, x, **more):
    """Call a variant with its keywords and compare with the oracle."""
    stats = operation(variant) != "normalize"
    check(gpu, operation(variant), x, stats=stats, **{**keywords_for(variant, x), **more})


@pytest.mark.parametrize("variant", NORMS)
def test_variants(gpu, variant):
    check_variant(gpu, variant, values(SHAPE, "f4"))


@pytest.mark.parametrize("variant", ["group_norm", "batch_norm", "normalize 1"])
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_dtypes(gpu, dtype, variant):
    check_variant(gpu, variant, values((3, 4, 16), dtype))


@pytest.mark.cuda_full
@pytest.mark.parametrize("variant", NORMS)
@pytest.mark.parametrize(
    "dtype", ["f2", BFLOAT16, "f4", "f8", "i4"], ids=lambda d: np.dtype(d).name
)
@pytest.mark.parametrize("shape", [SHAPE, (2, 6, 64), (7, 4), (2, 2, 5000), (64, 130)], ids=str)
def test_everything(gpu, shape, dtype, variant):
    if fits(variant, shape):
        check_variant(gpu, variant, values(shape, dtype))


@pytest.mark.parametrize("variant", ["batch_norm", "instance_norm", "group_norm", "normalize inf"])
@pytest.mark.parametrize("layout", [channels_last, LAYOUTS["sliced"]], ids=lambda f: f.__name__)
def test_layouts(gpu, layout, variant):
    check_variant(gpu, variant, layout(values((3, 12, 5, 4), "f4")))


def test_many_dimensions(gpu):
    x = LAYOUTS["sliced"](values((2, 3, 2, 2, 3), "f8"))
    check(gpu, "normalize", x, axis=(0, 2, 4))
    with pytest.raises(TypeError, match="more than 3 axes that are not contiguous"):
        check(gpu, "normalize", x, axis=(0, 1, 3, 4))


@pytest.mark.parametrize("shape", [(2, 3, 9001), (2100, 5)], ids=str)
def test_in_pieces(gpu, shape):
    """Groups that several blocks measure, in runs of 16 bytes or not."""
    check_variant(gpu, "batch_norm", values(shape, "f4"))


@pytest.mark.parametrize("dtype", ["f4", "f8", BFLOAT16], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
def test_running_statistics(gpu, op, dtype):
    x = values((3, 4, 10), "f4")
    mean, variance = values(4, dtype, 3), np.abs(values(4, dtype, 4))
    given = gpu.array(mean), gpu.array(variance)
    training = {"training": True} if op == "batch_norm" else {}
    getattr(fm, op)(gpu.array(x), *given, momentum=0.3, **training)
    expected = getattr(normal_oracles, op)(x, mean, variance, momentum=0.3, **training)[1]
    rtol = {"f4": 2e-6, "f8": 2e-6}.get(dtype, 2.0**-8)
    for new, wanted in zip(given, expected, strict=True):
        np.testing.assert_allclose(
            gpu.numpy(new).astype("f8"), wanted.astype("f8"), rtol=rtol, atol=1e-6
        )


def test_batch_norm_of_what_a_mask_keeps(gpu):
    x, mask = values((3, 4, 10), "f4"), values((3, 1, 10), "?")
    everywhere = np.broadcast_to(mask, x.shape)
    kept = np.where(everywhere, x.astype("f8"), np.nan)
    mean, variance = np.nanmean(kept, (0, 2)), np.nanvar(kept, (0, 2))
    running = gpu.array(np.zeros(4)), gpu.array(np.ones(4))
    found = gpu.numpy(fm.batch_norm(
        gpu.array(x), *running, training=True, mask=gpu.array(mask)
    ))  # fmt: skip
    expected = (kept - mean[:, None]) / np.sqrt(variance[:, None] + 1e-5)
    np.testing.assert_allclose(found, np.where(everywhere, expected, 0), rtol=1e-5, atol=2e-6)
    count = mask.sum()
    np.testing.assert_allclose(gpu.numpy(running[0]), 0.1 * mean, rtol=1e-5, atol=1e-6)
    unbiased = 0.9 + 0.1 * variance * count / (count - 1)
    np.testing.assert_allclose(gpu.numpy(running[1]), unbiased, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
@pytest.mark.parametrize("axis", [0, -1])
def test_complex(gpu, axis, dtype):
    check(gpu, "normalize", values((5, 12), dtype), axis=axis)
    with pytest.raises(TypeError, match="with ord=1 it does not run on GPUs"):
        fm.normalize(gpu.array(values((5, 12), dtype)), ord=1)


@pytest.mark.parametrize("ord", [1, 2, np.inf])
def test_nan_infinities_and_zeros(gpu, ord):
    x = values((5, 9), "f4")
    x[0] = 0
    x[1, 2], x[2, 3], x[3] = np.nan, np.inf, 1e-30
    check(gpu, "normalize", x, ord=ord)


@pytest.mark.parametrize("variant", ["batch_norm", "normalize"])
def test_in_place(gpu, variant):
    x = values((3, 4, 16), "f4")
    keywords = cuda_norms.on_gpu(gpu, keywords_for(variant, x))
    expected = gpu.numpy(getattr(fm, operation(variant))(gpu.array(x), **keywords))
    a = gpu.array(x)
    assert getattr(fm, operation(variant))(a, **keywords, out=a) is a
    assert bits(gpu.numpy(a)) == bits(expected)


@pytest.mark.parametrize("op", ["group_norm", "instance_norm", "batch_norm", "normalize"])
def test_empty(gpu, op):
    keywords = {"group_norm": {"num_groups": 2}, "batch_norm": {"training": True}}.get(op, {})
    found = getattr(fm, op)(gpu.array(values((0, 4, 3), "f4")), **keywords)
    assert gpu.numpy(found).shape == (0, 4, 3)


@pytest.mark.parametrize(
    ("op", "change", "kind", "message"),
    [
        ("group_norm", {"num_groups": 3}, ValueError, "num_groups is 3; it must divide the 4"),
        ("batch_norm", {}, ValueError, "running_mean is None; running statistics are wanted"),
        ("instance_norm", {"weight": values(3, "f4")}, ValueError, r"weight has shape \(3,\)"),
        ("normalize", {"ord": 3}, ValueError, "ord is 3; it must be 1, 2 or infinity"),
        ("normalize", {"axis": 5}, np.exceptions.AxisError, "axis 5 is out of bounds"),
    ],
)
def test_bad_arguments(gpu, op, change, kind, message):
    with pytest.raises(kind, match=message):
        getattr(fm, op)(gpu.array(values((2, 4, 3), "f4")), **cuda_norms.on_gpu(gpu, change))


def test_reproducible():
    """The same bits whatever the order that threads run in."""
    x = values((2, 3, 9001), "f4")
    found = set()
    for seed in (1, 2):
        with on("emulator", seed=seed) as gpu:
            found.add(bits(gpu.numpy(fm.batch_norm(gpu.array(x), training=True))))
    assert len(found) == 1


@pytest.mark.parametrize("op", ["normalize", "standardize"])
def test_out_on_another_device(op):
    with on("emulator"):
        from cuda_emulator import EmulatedArray

        x = EmulatedArray.from_numpy(values((4, 8), "f4"))
        out = EmulatedArray.empty((4, 8), "f4", device=1)
        with pytest.raises(ValueError, match="out is on device 1 and x on device 0"):
            getattr(fm, op)(x, axis=-1, out=out)
