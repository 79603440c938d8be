"""`moments` and `standardize` on GPUs."""

import numpy as np
import pytest
from cuda_norms import check, check_moments
from layouts import LAYOUTS
from normals import values

import fastmat as fm


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes(gpu, keepdims, axis):
    x = values((5, 7, 40), "f4")
    check_moments(gpu, x, axis, correction=1, keepdims=keepdims)


@pytest.mark.parametrize("dtype", ["f2", "f8", "i2", "?", "c8"])
def test_dtypes(gpu, dtype):
    check_moments(gpu, values((5, 33), dtype), 1)


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "c8", "c16"])
@pytest.mark.parametrize("shape", [(1,), (31, 33), (3, 5000), (5000, 3), (20_000,)], ids=str)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_everything(gpu, axis, shape, dtype):
    check_moments(gpu, values(shape, dtype), axis)


@pytest.mark.parametrize("layout", ["f_order", "sliced", "negative", "broadcast"])
def test_layouts(gpu, layout):
    check_moments(gpu, LAYOUTS[layout](values((9, 20), "f4")), 0)


def test_far_from_zero(gpu):
    check_moments(gpu, (values((2, 9001), "f8") + 1e5).astype("f4"), 1)


@pytest.mark.parametrize("dtype", ["f4", "c8"])
def test_mask(gpu, dtype):
    x, mask = values((6, 50), dtype), values((6, 50), "?")
    mask[2] = False
    x[~mask] = np.nan
    found = fm.moments(gpu.array(x), 1, mask=gpu.array(mask))
    for row in range(6):
        kept = x[row, mask[row]].astype("c16" if dtype == "c8" else "f8")
        for part, of in zip(found, (np.mean, np.var), strict=True):
            expected = of(kept) if kept.size else np.nan
            np.testing.assert_allclose(gpu.numpy(part)[row], expected, rtol=1e-5, atol=1e-6)


def test_infinities(gpu):
    x = np.ones((4, 50), "f4")
    x[1, 3], x[2, 4:6], x[3, 5:7] = np.inf, -np.inf, (np.inf, -np.inf)
    mean, variance = map(gpu.numpy, fm.moments(gpu.array(x), 1))
    np.testing.assert_array_equal(mean, [1, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(variance, [0, np.nan, np.nan, np.nan])


def test_empty(gpu):
    mean, variance = map(gpu.numpy, fm.moments(gpu.array(np.ones((3, 0), "f4")), 1))
    assert np.isnan(mean).all()
    assert np.isnan(variance).all()
    assert gpu.numpy(fm.moments(gpu.array(np.ones((3, 0), "f4")), 0).mean).shape == (0,)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("correction", [0, 1])
def test_standardize(gpu, correction, axis):
    check(gpu, "standardize", values((6, 40), "f4"), axis=axis, correction=correction)


def test_standardize_equal_numbers(gpu):
    assert np.isnan(gpu.numpy(fm.standardize(gpu.array(np.full((3, 37), 0.1, "f4")), 1))).all()


def test_bad_arguments(gpu):
    x = gpu.array(values((4, 8), "f4"))
    with pytest.raises(ValueError, match="must not name an axis twice"):
        fm.moments(x, (0, 0))
    with pytest.raises(TypeError, match="mask has dtype float32; it must be bool"):
        fm.moments(x, mask=x)
    with pytest.raises(TypeError, match="x has dtype complex64; it must be real"):
        fm.standardize(gpu.array(values((4, 8), "c8")))
