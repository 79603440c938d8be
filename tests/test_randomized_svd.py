"""Randomized decompositions: reconstruction, orthonormality, and what is proved of errors."""

import pickle

import numba
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from layouts import makers_for, unmodified
from oracles import BFLOAT16
from products import bits
from spectra import SPECTRA, errors, matrix, orthonormal

import fastmat as fm

FLOATS = ["f4", "f8", "c8", "c16"]
EPS = {dtype: np.finfo(dtype).eps for dtype in FLOATS}
SHAPES = [(60, 40), (40, 60), (50, 50), (211, 13), (13, 211), (97, 101)]


def values_of(x):
    return np.linalg.svd(np.asarray(x, "c16"), compute_uv=False)


def orthonormality(found):
    u, _, vh = (np.asarray(part, "c16") for part in found)
    eye = np.eye(u.shape[-1])
    left = np.linalg.norm(u.conj().T @ u - eye, 2)
    return max(left, np.linalg.norm(vh @ vh.conj().T - eye, 2))


# To a rank.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_errors_are_the_least_there_are(dtype, spectrum):
    """Within a thousandth of the Eckart-Young optimum, where values decay at all."""
    rng = np.random.default_rng(1)
    for m, n in SHAPES:
        x = matrix(m, n, SPECTRA[spectrum](min(m, n)), rng, dtype)
        with unmodified(x):
            found = fm.randomized_svd(x, 10, n_iter=4, rng=1)
        s = values_of(x)
        least = np.sqrt(np.sum(s[10:] ** 2) / np.sum(s**2))
        true, spectral = errors(x, found)
        rounding = 100 * EPS[dtype]
        assert true <= least * (1 + 1e-3) + rounding
        assert np.all(np.abs(found.S - s[:10]) <= 1e-3 * s[:10] + rounding)
        assert orthonormality(found) <= 100 * EPS[dtype]
        assert [part.shape for part in found] == [(m, 10), (10,), (10, n)]
        assert found.U.dtype == found.Vh.dtype == x.dtype
        assert found.S.dtype == x.real.dtype
        assert true <= found.error.frobenius <= 4 * true + rounding
        assert spectral <= found.error.spectral


@pytest.mark.parametrize("oversamples", [2, 5, 10])
def test_bounds_of_halko_martinsson_and_tropp_hold(oversamples):
    """Theorems 10.5 and 10.6, for the mean over seeds, of a sketch without iterations."""
    rng, k = np.random.default_rng(2), 8
    for spectrum in SPECTRA.values():
        s = spectrum(60)
        x = matrix(80, 60, s, rng)
        found = []
        for seed in range(30):
            q = fm.randomized_range(x, k + oversamples, n_iter=0, rng=seed)
            rest = x - q @ (q.T @ x)
            found.append([np.linalg.norm(rest), np.linalg.norm(rest, 2)])
        mean = np.mean(found, axis=0)
        tail = np.sqrt(np.sum(s[k:] ** 2))
        assert mean[0] <= np.sqrt(1 + k / (oversamples - 1)) * tail
        first = (1 + np.sqrt(k / (oversamples - 1))) * s[k]
        assert mean[1] <= first + np.e * np.sqrt(k + oversamples) / oversamples * tail


def test_defaults_are_those_of_scikit_learn():
    x = np.random.default_rng(3).standard_normal((100, 90))
    assert fm.randomized_svd(x, 8, rng=0).n_iter == 7
    assert fm.randomized_svd(x, 9, rng=0).n_iter == 4
    found = fm.randomized_svd(x, 5, n_iter=3, power_iteration_normalizer="QR", rng=0)
    assert (found.n_iter, found.n_passes, found.rank) == (3, 8, 5)


@pytest.mark.parametrize(("dtype", "exponents"), [("f4", (-30, 30)), ("f8", (-150, 150))])
def test_scale_does_not_matter(dtype, exponents):
    x = matrix(50, 40, 0.7 ** np.arange(40), np.random.default_rng(5), dtype)
    expected = fm.randomized_svd(x, 6, rng=1)
    for exponent in exponents:
        factor = 2.0 ** round(exponent * np.log2(10))
        found = fm.randomized_svd(x * np.dtype(dtype).type(factor), 6, rng=1)
        np.testing.assert_allclose(found.S / factor, expected.S, rtol=20 * EPS[dtype])
        np.testing.assert_allclose(found.error, expected.error, rtol=1e-3)
        ranks = {fm.randomized_svd(y, tol=1e-2, rng=1).rank for y in (x, x * factor)}
        assert len(ranks) == 1


def test_signs():
    """The largest entry of each column of U is positive, transposed or not."""
    rng = np.random.default_rng(6)
    for dtype in FLOATS:
        x = matrix(40, 30, 0.5 ** np.arange(30), rng, dtype)
        one, other = (fm.randomized_svd(x, 4, transpose=t, rng=1) for t in (False, True))
        for found in (one, other):
            for column in found.U.T:
                largest = column[np.argmax(np.abs(column))]
                assert largest.real > 0
                assert abs(np.imag(largest)) <= 4 * EPS[dtype]
        np.testing.assert_allclose(one.U, other.U, atol=1e3 * EPS[dtype])
        np.testing.assert_allclose(one.Vh, other.Vh, atol=1e3 * EPS[dtype])
    plain = fm.randomized_svd(x, 4, flip_sign=False, rng=1)
    assert errors(x, plain)[0] <= 1.01 * errors(x, one)[0]


def test_transposed_by_shape():
    """The wide matrix and its transpose have the same factors (scikit-learn's issue 4455)."""
    x = matrix(30, 80, 0.5 ** np.arange(30), np.random.default_rng(7))
    wide, tall = (fm.randomized_svd(y, 5, flip_sign=False, rng=1) for y in (x, x.T))
    np.testing.assert_array_equal(wide.S, tall.S)
    np.testing.assert_array_equal(wide.U, tall.Vh.T)


@pytest.mark.parametrize("dtype", FLOATS)
def test_low_rank_matrices(dtype):
    """Zeros, rank one, fewer values than asked for, one row, one column (cupy's issue 8009)."""
    rng = np.random.default_rng(8)
    for m, n, rank in [(30, 20, 0), (30, 20, 1), (30, 20, 3), (1, 20, 1), (20, 1, 1), (1, 1, 1)]:
        x = matrix(m, n, np.ones(rank), rng, dtype)
        k = min(m, n, 6)
        found = fm.randomized_svd(x, k, rng=1)
        s = np.r_[np.ones(rank), np.zeros(k)][:k]
        assert np.all(np.abs(found.S - s) <= 100 * EPS[dtype])
        assert orthonormality(found) <= 100 * EPS[dtype]
        assert found.error.frobenius <= 100 * EPS[dtype]
        assert fm.randomized_svd(x, tol=1e-3, rng=1).rank == max(rank, 1)


# To a tolerance.


@pytest.mark.parametrize(
    ("dtype", "spectrum"),
    [
        *((dtype, spectrum) for dtype in ("f4", "f8") for spectrum in SPECTRA),
        ("c8", "geometric"),
        *(
            pytest.param(dtype, spectrum, marks=pytest.mark.exhaustive)
            for dtype in ("c8", "c16")
            for spectrum in SPECTRA
        ),
    ],
)
def test_tolerances(dtype, spectrum):
    """The error is within it, by a rank that is not much more than the least; also below √eps."""
    rng = np.random.default_rng(9)
    for m, n in [(150, 120), (90, 130)]:
        x = matrix(m, n, SPECTRA[spectrum](min(m, n)), rng, dtype)
        s = values_of(x)
        tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1] / np.sum(s**2))
        for tol in (0.3, 1e-2, 1e-3, 1e-5 if dtype in ("f4", "c8") else 1e-11):
            found = fm.randomized_svd(x, tol=tol, rng=2)
            true, _ = errors(x, found)
            assert true <= found.error.frobenius <= tol
            assert np.sum(tails > tol) <= found.rank <= 1.25 * np.sum(tails > tol) + 8
            spectral = fm.randomized_svd(x, tol=tol, norm="spectral", rng=2)
            assert errors(x, spectral)[1] <= spectral.error.spectral <= tol


def test_ranges_that_are_exhausted():
    """Zero rows, and few rows that are not: what is left of the last block is noise within them."""
    rng = np.random.default_rng(20)
    corner = np.zeros((200, 200))
    corner[:40, :40] = rng.standard_normal((40, 40))
    sparse = np.where(rng.random((100, 100)) < 0.01, rng.standard_normal((100, 100)), 0)
    steps = np.diag(np.r_[np.arange(1.0, 41), np.zeros(60)])
    for x in (corner, sparse, steps, np.diag(np.r_[np.ones(40), np.zeros(24)])):
        for dtype in ("f4", "f8"):
            y = x.astype(dtype)
            found = fm.randomized_svd(y, tol=1e-4, rng=0)
            assert errors(y, found)[0] <= found.error.frobenius <= 1e-4
            assert orthonormality(found) <= 100 * EPS[dtype]


def test_tolerance_and_rank():
    """The rank is at most the one given; the error tells that the tolerance is not reached."""
    x = matrix(100, 80, 0.9 ** np.arange(80), np.random.default_rng(10))
    found = fm.randomized_svd(x, 5, tol=1e-6, rng=1)
    assert found.rank == 5
    assert errors(x, found)[0] <= found.error.frobenius
    assert found.error.frobenius > 1e-6
    assert fm.randomized_svd(x, tol=1e-14, rng=1).rank == 80


def _coverage(count):
    """How many of so many estimates are at least the true error, in either norm."""
    rng = np.random.default_rng(11)
    covered = np.zeros(2, int)
    for trial in range(count):
        spectrum = list(SPECTRA.values())[trial % len(SPECTRA)]
        dtype = FLOATS[trial // 4 % 2]
        m, n = rng.integers(5, 80, 2)
        x = matrix(m, n, spectrum(min(m, n)), rng, dtype)
        k = int(rng.integers(1, min(m, n) + 1))
        options = {"n_iter": int(rng.integers(0, 5)), "rng": 1000 + trial}
        if trial % 3:
            found = fm.randomized_svd(x, k, **options)
        else:
            found = fm.randomized_svd(x, tol=10.0 ** -rng.integers(1, 6), **options)
        covered += [
            true <= bound for true, bound in zip(errors(x, found), found.error, strict=True)
        ]
    return covered / count


def test_estimates_cover_the_error():
    assert np.all(_coverage(100) >= 0.99)


@pytest.mark.exhaustive
def test_estimates_cover_the_error_of_a_thousand_matrices():
    assert np.all(_coverage(1000) >= 0.99)


# What goes in.


def test_layouts():
    x = matrix(40, 30, 0.5 ** np.arange(30), np.random.default_rng(12), "f4")
    expected = fm.randomized_svd(x, 3, rng=1)
    for maker in makers_for("f4").values():
        y = maker(x)
        if y.strides[0] == 0 or y.strides[1] == 0:
            continue
        with unmodified(y):
            found = fm.randomized_svd(y, 3, rng=1)
        assert errors(x, found)[0] <= 1.001 * errors(x, expected)[0]


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", BFLOAT16])
def test_other_dtypes(dtype):
    x = np.random.default_rng(13).integers(0, 2, (40, 30)).astype(dtype)
    found = fm.randomized_svd(x, 5, rng=1)
    assert found.U.dtype == ("f4" if dtype in ("f2", BFLOAT16) else "f8")
    s = values_of(x.astype("f8"))[:5]
    np.testing.assert_allclose(found.S, s, rtol=2e-2)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "operator", "matrix"])
def test_sparse_matrices_and_operators(form):
    x = scipy.sparse.random_array(
        (80, 60), density=0.2, rng=np.random.default_rng(14), dtype=np.float64
    )
    integers = scipy.sparse.linalg.aslinearoperator(np.diag(np.arange(9, 0, -1)))
    np.testing.assert_allclose(fm.randomized_svd(integers, 2, rng=1).S, [9, 8])
    given = {
        "operator": lambda: scipy.sparse.linalg.aslinearoperator(x.tocsr()),
        "matrix": lambda: scipy.sparse.csr_matrix(x),
    }.get(form, lambda: x.asformat(form))()
    dense = x.toarray()
    for options in ({"n_components": 10}, {"tol": 0.3}):
        for transpose in (False, True):
            found = fm.randomized_svd(given, transpose=transpose, rng=1, **options)
            expected = fm.randomized_svd(dense, transpose=transpose, rng=1, **options)
            np.testing.assert_allclose(found.S, expected.S, rtol=1e-6)
            assert errors(dense, found)[0] <= found.error.frobenius


def test_stacks():
    x = np.random.default_rng(15).standard_normal((2, 3, 30, 20)).astype("f4")
    found = fm.randomized_svd(x, 4, rng=1)
    assert [part.shape for part in found] == [(2, 3, 30, 4), (2, 3, 4), (2, 3, 4, 20)]
    assert found.error.frobenius.shape == (2, 3)
    for i in np.ndindex(2, 3):
        for part, expected in zip(found, fm.randomized_svd(x[i], 4, rng=1), strict=True):
            np.testing.assert_array_equal(part[i], expected)


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    x = torch.arange(12.0).reshape(4, 3)
    found = fm.randomized_svd(x, 2, rng=1)
    assert all(isinstance(part, torch.Tensor) for part in found)
    assert found.rank == 2


def test_random_numbers():
    x = np.random.default_rng(16).standard_normal((50, 40))
    first = fm.randomized_svd(x, 4, rng=7)
    assert bits(first.U) == bits(fm.randomized_svd(x, 4, rng=7).U)
    assert bits(first.U) != bits(fm.randomized_svd(x, 4, rng=8).U)
    assert bits(first.U) != bits(fm.randomized_svd(x, 4).U)
    one, other = (fm.randomized_svd(x, 4, rng=np.random.default_rng(3)).U for _ in range(2))
    assert bits(one) == bits(other)


def test_results_can_be_pickled():
    found = fm.randomized_svd(np.eye(5), 2, rng=1)
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found)
    assert (again.error, again.n_iter, again.n_passes, again.rank) == (
        found.error,
        found.n_iter,
        found.n_passes,
        2,
    )
    assert all(bits(x) == bits(y) for x, y in zip(found, again, strict=True))


def test_the_same_bits_at_any_number_of_threads():
    x = matrix(700, 500, 0.95 ** np.arange(500), np.random.default_rng(17), "f4")
    results = set()
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        parts = (*fm.randomized_svd(x, 20, rng=1), *fm.randomized_svd(x, tol=0.1, rng=1))
        results.add(tuple(bits(part) for part in parts))
    assert len(results) == 1


# Eigenpairs, ranges.


@pytest.mark.parametrize("dtype", FLOATS)
def test_eigenpairs(dtype):
    rng = np.random.default_rng(18)
    values = np.array([5.0, -4.0, 3.0, -2.0, 1.0, *(0.01 * 0.9 ** np.arange(45))])
    v = orthonormal(50, 50, rng, dtype)
    x = ((v * values) @ v.conj().T).astype(dtype)
    found, vectors = fm.randomized_eigh(x, 5, rng=1)
    np.testing.assert_allclose(found, values[:5], rtol=1e3 * EPS[dtype])
    rest = np.linalg.norm(x @ vectors - vectors * found, axis=0)
    assert np.all(rest <= 1e3 * EPS[dtype])
    assert found.dtype == x.real.dtype
    assert vectors.dtype == x.dtype


@pytest.mark.parametrize("dtype", FLOATS)
def test_ranges(dtype):
    x = matrix(70, 50, 0.5 ** np.arange(50), np.random.default_rng(19), dtype)
    q = fm.randomized_range(x, 20, rng=1)
    assert q.shape == (70, 20)
    assert np.linalg.norm(q.conj().T @ q - np.eye(20), 2) <= 100 * EPS[dtype]
    assert np.linalg.norm(x - q @ (q.conj().T @ x)) <= 2 * 0.5**20 + 100 * EPS[dtype]


# Two factors.


@pytest.mark.parametrize("dtype", FLOATS)
def test_low_rank_approximations(dtype):
    x = matrix(50, 70, 0.7 ** np.arange(50), np.random.default_rng(21), dtype)
    for options in ({"rank": 6}, {"tol": 0.05}):
        found = fm.low_rank_approximation(x, rng=1, **options)
        expected = fm.randomized_svd(x, options.get("rank"), tol=options.get("tol"), rng=1)
        assert bits(found.left) == bits(expected.U * expected.S)
        assert bits(found.right) == bits(expected.Vh)
        assert (found.error, found.rank) == (expected.error, expected.rank)
        y = x[0]
        near = found.left @ found.right
        np.testing.assert_allclose(found @ y, near @ y, rtol=0, atol=100 * EPS[dtype])
        assert np.linalg.norm(x - near) <= found.error.frobenius * np.linalg.norm(x)
    again = pickle.loads(pickle.dumps(found))
    assert (type(again), again.error, again.rank) == (type(found), found.error, found.rank)
    stack = fm.low_rank_approximation(np.stack((x, 2 * x)), 3, rng=1)
    assert [part.shape for part in stack] == [(2, 50, 3), (2, 3, 70)]


# What cannot be.

X = np.ones((4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fm.randomized_svd(X), ValueError, "neither n_components nor tol"),
        (lambda: fm.randomized_svd(X, 0), ValueError, "n_components is 0"),
        (lambda: fm.randomized_svd(X, 4), ValueError, "at most 3"),
        (lambda: fm.randomized_svd(X, 1.5), TypeError, "n_components is 1.5"),
        (lambda: fm.randomized_svd(X, 1, n_oversamples=-1), ValueError, "n_oversamples is -1"),
        (lambda: fm.randomized_svd(X, 1, n_iter=-1), ValueError, "n_iter is -1"),
        (lambda: fm.randomized_svd(X, 1, n_iter="many"), ValueError, "n_iter is 'many'"),
        (
            lambda: fm.randomized_svd(X, 1, power_iteration_normalizer="lu"),
            ValueError,
            "power_iteration_normalizer is 'lu'",
        ),
        (lambda: fm.randomized_svd(X, 1, transpose="yes"), TypeError, "transpose is 'yes'"),
        (lambda: fm.randomized_svd(X, tol=0), ValueError, "tol is 0"),
        (lambda: fm.randomized_svd(X, tol=1.0), ValueError, "tol is 1"),
        (lambda: fm.randomized_svd(X, tol="x"), TypeError, "tol is 'x'"),
        (lambda: fm.randomized_svd(X, tol=0.1, norm="nuc"), ValueError, "norm is 'nuc'"),
        (lambda: fm.randomized_svd(X[0], 1), ValueError, "two or more dimensions"),
        (lambda: fm.randomized_svd(X[None], tol=0.1), ValueError, "single matrix"),
        (lambda: fm.randomized_svd(np.ones((0, 3)), 1), ValueError, "n_components is 1"),
        (lambda: fm.randomized_svd(np.ones((0, 3)), tol=0.1), ValueError, "no singular values"),
        (lambda: fm.randomized_svd(X.astype("U3"), 1), TypeError, "x has dtype"),
        (lambda: fm.randomized_svd(X, 1, rng=-1), ValueError, "rng"),
        (lambda: fm.low_rank_approximation(X), ValueError, "neither rank nor tol"),
        (lambda: fm.low_rank_approximation(X, 4), ValueError, "rank is 4; it must be .* at most 3"),
        (lambda: fm.low_rank_approximation(X, 2.0), TypeError, "rank is 2.0"),
        (lambda: fm.low_rank_approximation(X, tol=2), ValueError, "tol is 2"),
        (lambda: fm.randomized_range(X, 4), ValueError, "size is 4"),
        (lambda: fm.randomized_range(X[None], 1), ValueError, "single matrix"),
        (lambda: fm.randomized_eigh(X, 1), ValueError, "square"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_numbers_whose_squares_are_too_large():
    for options in ({"n_components": 1}, {"tol": 0.1}):
        with pytest.raises(ValueError, match="too large"):
            fm.randomized_svd(np.full((50, 50), 1e307), **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_numbers_that_are_not_finite(bad, dtype):
    x = np.ones((30, 20), dtype)
    x[7, 3] = bad
    for call in (
        lambda: fm.randomized_svd(x, 2),
        lambda: fm.randomized_svd(x.T, 2),
        lambda: fm.randomized_svd(x, tol=0.1),
        lambda: fm.randomized_range(x, 2),
        lambda: fm.randomized_eigh(x[:20], 2),
    ):
        with pytest.raises(ValueError, match="NaN or infinity"):
            call()
