"""Principal components on GPUs, against the exact decomposition and the CPU."""

import numpy as np
import pytest
from spectra import SPECTRA, matrix
from test_pca import check, samples

import fastmat as fm

FULL = pytest.mark.cuda_full


def found_by(gpu, x, *args, **options):
    """What the GPU finds, as NumPy arrays, of the dtypes of the CPU and with its attributes."""
    found = fm.pca(gpu.array(x), *args, rng=1, **options)
    want = fm.pca(x, *args, rng=1, **options)
    assert all(isinstance(part, gpu.kind) for part in found)
    arrays = fm.pca(x, *args, rng=1, **options)._replace(**{
        name: gpu.numpy(getattr(found, name)) for name in found._fields
    })  # fmt: skip
    assert [part.dtype for part in arrays] == [part.dtype for part in want]
    assert (found.n_iter, found.rank) == (want.n_iter, want.rank)
    np.testing.assert_allclose(found.error, want.error, rtol=0.2, atol=1e-4)
    return arrays, want


@pytest.mark.parametrize("dtype", ["f4", pytest.param("f8", marks=FULL)])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_components(gpu, dtype, offset):
    x = samples(70, 40, np.random.default_rng(0), dtype, offset)
    found, want = found_by(gpu, np.asfortranarray(x) if offset else x, 6)
    check(x, found)
    eps = np.finfo(dtype).eps
    # float32 is summed in float32 on GPUs, in float64 on the CPU.
    near = 4 * eps * np.mean(np.abs(x), axis=0)
    assert np.all(np.abs(found.mean - want.mean) <= near)
    np.testing.assert_allclose(found.scores[:, :3], want.scores[:, :3], atol=1e4 * eps)


@FULL
def test_complex_numbers_and_stretched_ones(gpu):
    x = matrix(50, 64, SPECTRA["geometric"](50), np.random.default_rng(0), "c8")
    check(x, found_by(gpu, x, 5)[0], few=3, room=1000)


def test_without_means_and_by_tolerance(gpu):
    x = samples(60, 40, np.random.default_rng(1), "f4", 2.0)
    check(x, found_by(gpu, x, 5, center=False)[0], center=False)
    found, want = found_by(gpu, x, tol=0.2)
    assert found.components.shape == want.components.shape


@FULL
def test_integers_count_as_doubles(gpu):
    x = np.random.default_rng(2).integers(-9, 9, (40, 12))
    found, _ = found_by(gpu, x, 4)
    assert found.components.dtype == np.float64
    check(x, found, few=3)


def test_bad_input(gpu):
    x = np.ones((6, 4), "f4")
    for error, message, change, options in [
        (ValueError, "single matrix", lambda x: x[np.newaxis], {}),
        (ValueError, "2 rows or more", lambda x: x[:1], {}),
        (ValueError, "n_components is 9", lambda x: x, {"n_components": 9}),
        (ValueError, "NaN or infinity", lambda x: np.where(x == 1, np.nan, x), {}),
        (TypeError, "'LU' does not run", lambda x: x, {"power_iteration_normalizer": "LU"}),
    ]:
        with pytest.raises(error, match=message):
            fm.pca(gpu.array(change(x)), **{"n_components": 2, **options})
