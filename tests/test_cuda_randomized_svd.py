"""Randomized factorizations on GPUs, held against the truth and against the CPU."""

import numpy as np
import pytest
from gpus import on
from spectra import SPECTRA, errors, matrix

import fastmat as fm


def given(shape, dtype, spectrum="geometric", seed=0):
    return matrix(*shape, SPECTRA[spectrum](60), np.random.default_rng(seed), dtype)


def compared(gpu, x, *args, **options):
    """Factors of the GPU, beside those of the CPU: about the same, and bounds that hold."""
    found = fm.randomized_svd(gpu.array(x), *args, rng=1, **options)
    want = fm.randomized_svd(x, *args, rng=1, **options)
    assert all(isinstance(part, gpu.kind) for part in found)
    u, s, vh = map(gpu.numpy, found)
    assert (u.dtype, s.dtype, vh.dtype) == tuple(part.dtype for part in want)
    assert (u.shape, s.shape, vh.shape) == tuple(part.shape for part in want)
    assert (found.n_iter, found.rank) == (want.n_iter, want.rank)
    eps = np.finfo(u.dtype).eps
    for basis in (u, vh.conj().T):
        wide = basis.astype(np.result_type(basis, "f8"))
        off = np.linalg.norm(wide.conj().T @ wide - np.eye(len(s)))
        assert off <= 100 * eps * np.sqrt(len(s))
    true, of_cpu = errors(x, (u, s, vh)), errors(x, want)
    for bound, error, other in zip(found.error, true, of_cpu, strict=True):
        assert error <= bound
        assert error <= 1.01 * other + 100 * eps
    np.testing.assert_allclose(found.error, want.error, rtol=0.2, atol=100 * eps)
    return found, want


FULL = pytest.mark.cuda_full  # the emulator compiles many variants of products for these


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("f4", (96, 64)),
        pytest.param("f4", (48, 80), marks=FULL),
        pytest.param("c8", (96, 64), marks=FULL),
        pytest.param("c8", (48, 80), marks=FULL),
    ],
)
def test_by_rank(gpu, dtype, shape):
    x = given(shape, dtype)
    found, want = compared(gpu, x, 8)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(gpu.numpy(found.S), want.S, rtol=100 * eps)
    # Vectors whose values lie apart are the same, signs included.
    np.testing.assert_allclose(gpu.numpy(found.U)[:, :4], want.U[:, :4], atol=1e4 * eps)
    np.testing.assert_allclose(gpu.numpy(found.Vh)[:4], want.Vh[:4], atol=1e4 * eps)


def test_passes(gpu):
    """Two in a step of the squared matrix, where the CPU takes one."""
    x = given((64, 200), "f4")
    found, want = compared(gpu, x, 4, n_iter=3, n_oversamples=4, transpose=False)
    assert (want.n_passes, found.n_passes) == (5, 8)
    for normalizer in ("QR", "none"):
        options = {"power_iteration_normalizer": normalizer, "n_iter": 2}
        found, want = compared(gpu, x, 4, **options)
        assert found.n_passes == want.n_passes == 6


@FULL
def test_small_values_are_not_lost(gpu):
    """Below the square root of the precision: steps of the squared matrix are given up."""
    x = matrix(96, 64, 10.0 ** -np.arange(12), np.random.default_rng(0), "f4")
    compared(gpu, x, 6)


@pytest.mark.parametrize("spectrum", ["geometric", pytest.param("staircase", marks=FULL)])
def test_tolerances(gpu, spectrum):
    x = given((96, 64), "f4", spectrum)
    for options in ({"tol": 0.03}, {"tol": 1e-3, "norm": "spectral"}):
        found, want = compared(gpu, x, **options)
        assert found.n_passes == want.n_passes
    found, _ = compared(gpu, x, 5, tol=1e-3)
    assert found.rank == 5


@FULL
def test_exhausted_ranges(gpu):
    x = matrix(96, 64, np.ones(3), np.random.default_rng(0), "f4")
    found, _ = compared(gpu, x, tol=1e-4)
    assert found.rank == 3
    zeros = fm.randomized_svd(gpu.array(np.zeros((20, 10), "f4")), tol=1e-3, rng=0)
    assert gpu.numpy(zeros.S).tolist() == [0.0]
    zeros = fm.randomized_svd(gpu.array(np.zeros((20, 10), "f4")), 2, rng=0)
    assert gpu.numpy(zeros.S).tolist() == [0.0, 0.0]


@FULL
def test_stacks_and_layouts(gpu):
    x = np.stack([given((48, 32), "f4", seed=seed) for seed in range(2)])
    stack = fm.randomized_svd(gpu.array(x), 3, rng=1)
    for i in range(2):
        single = fm.randomized_svd(gpu.array(x[i]), 3, rng=1)
        for one, other in zip(stack, single, strict=True):
            np.testing.assert_array_equal(gpu.numpy(one)[i], gpu.numpy(other))
        assert stack.error.frobenius[i] == single.error.frobenius
    for a in (np.asfortranarray(x[0]), x[0][::2, 3:]):
        compared(gpu, a, 3)


@FULL
def test_dtypes(gpu):
    """Integers count as float64, float16 as float32."""
    x = np.outer(np.arange(20), [1, -2, 3, 1]).astype("f2")
    found = fm.randomized_svd(gpu.array(x), 1, rng=0)
    assert gpu.numpy(found.U).dtype == np.float32
    np.testing.assert_allclose(gpu.numpy(found.S), np.linalg.norm(x.astype("f8")), rtol=1e-6)


@FULL
def test_low_rank_approximation(gpu):
    x = given((96, 64), "f4")
    found = fm.low_rank_approximation(gpu.array(x), 4, rng=1)
    want = fm.low_rank_approximation(x, 4, rng=1)
    np.testing.assert_allclose(
        gpu.numpy(found.left) @ gpu.numpy(found.right), want.left @ want.right, atol=1e-5
    )
    assert found.rank == 4


def test_range_and_eigenpairs(gpu):
    x = given((96, 64), "f4")
    basis = gpu.numpy(fm.randomized_range(gpu.array(x), 8, rng=1))
    other = fm.randomized_range(x, 8, rng=1)
    np.testing.assert_allclose(basis @ basis.T, other @ other.T, atol=2e-4)
    h = np.asarray(x.T @ x - 0.05 * np.eye(64), "f4")
    found, want = fm.randomized_eigh(gpu.array(h), 4, rng=1), fm.randomized_eigh(h, 4, rng=1)
    values, vectors = map(gpu.numpy, found)
    np.testing.assert_allclose(values, want.eigenvalues, rtol=1e-5)
    np.testing.assert_allclose(h @ vectors, vectors * values, atol=1e-3)


def test_the_same_bits_in_any_order_of_threads():
    x, found = given((96, 64), "f4"), []
    for seed in (0, 1):
        with on("emulator", seed=seed) as gpu:
            found.append(gpu.numpy(tuple(fm.randomized_svd(gpu.array(x), 5, rng=3))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "neither n_components nor tol", {}),
        (ValueError, "n_components is 9", {"n_components": 9}),
        (ValueError, "tol is 2", {"tol": 2}),
        (ValueError, "norm is 'x'", {"tol": 0.1, "norm": "x"}),
        (TypeError, "'LU' does not run on GPUs", {"tol": 0.1, "power_iteration_normalizer": "LU"}),
        (ValueError, "NaN or infinity", {"n_components": 2}),
    ],
)
def test_errors(gpu, error, message, options):
    x = np.ones((8, 8), "f4")
    x[3, 5] = np.nan
    with pytest.raises(error, match=message):
        fm.randomized_svd(gpu.array(x), **options)
