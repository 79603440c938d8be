"""Principal components against the decomposition of the centred matrix, in float64."""

import pickle

import numba
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from layouts import makers_for, unmodified
from oracles import BFLOAT16
from products import bits
from spectra import SPECTRA, matrix

import fastmat as fm
from fastmat.ops import centred

FLOATS = ["f4", "f8", "c8", "c16"]
EPS = {dtype: np.finfo(dtype).eps for dtype in FLOATS}


def samples(m, n, rng, dtype="f8", offset=0.0):
    """Samples of falling variances, whose means are about so many deviations of the largest."""
    x = matrix(m, n, SPECTRA["geometric"](min(m, n)), rng, dtype)
    spread = np.linalg.norm(x - x.mean(0)) / np.sqrt(x.size)
    return (x + offset * spread * rng.standard_normal(n)).astype(dtype)


def exact(x, center=True):
    """Left vectors, singular values, components and mean of numbers as they are, in float64."""
    wide = x.astype(np.result_type(x, np.float64))
    mean = wide.mean(0) if center else np.zeros_like(wide[0])
    if center:
        mean = mean + (wide - mean).mean(0)
    return *np.linalg.svd(wide - mean, full_matrices=False), mean


def check(x, found, center=True, few=5, room=300):
    """Against the exact decomposition; of values that are apart from the next."""
    m, n = x.shape
    k = len(found.singular_values)
    _, s, vh, mean = exact(x, center)
    eps = np.finfo(found.components.dtype).eps
    assert [part.shape for part in found] == [(k, n), (k,), (k,), (k,), (n,), (m, k)]
    np.testing.assert_allclose(found.singular_values, s[:k], rtol=1e-3, atol=room * eps * s[0])
    near = {"rtol": room * eps, "atol": 0}
    np.testing.assert_allclose(found.singular_values[:few], s[:few], **near)
    np.testing.assert_allclose(found.explained_variance[:few], s[:few] ** 2 / (m - 1), **near)
    shares = s[:few] ** 2 / np.sum(s**2)
    np.testing.assert_allclose(found.explained_variance_ratio[:few], shares, **near)
    rounding = (2 * eps + 20 * EPS["f8"]) * np.abs(x).max()  # of one number, and of sums
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=rounding)
    alike = np.abs(np.sum(found.components[:few] * vh[:few].conj(), axis=1))
    np.testing.assert_allclose(alike, 1, atol=room * eps)
    gram = found.components @ found.components.conj().T
    np.testing.assert_allclose(gram, np.eye(k), atol=room * eps)
    scores = (x - mean) @ found.components[:few].conj().T
    np.testing.assert_allclose(found.scores[:, :few], scores, atol=room * eps * s[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_components(dtype):
    rng = np.random.default_rng(1)
    for m, n in [(90, 60), (40, 70), (2, 9), (9, 1)]:
        x = samples(m, n, rng, dtype, offset=1)
        k = min(m - 1, n, 10)
        with unmodified(x):
            found = fm.pca(x, k, n_iter=8, rng=1)
        assert {part.dtype for part in found} == {np.dtype(dtype), x.real.dtype}
        check(x, found, few=min(k, 5))
        check(x, fm.pca(x, k, center=False, n_iter=8, rng=1), center=False, few=min(k, 5))


@pytest.mark.parametrize("dtype", ["f4", "c8", "f8"])
@pytest.mark.parametrize("offset", [3, 30, 1e4])
def test_means_that_are_large_cost_no_digits(dtype, offset, monkeypatch):
    """By blocks of rows, of which there are several here; and a column that is far away."""
    monkeypatch.setattr(centred, "BLOCK_NUMBERS", 3000)
    rng = np.random.default_rng(2)
    x = samples(400, 90, rng, dtype, offset)
    check(x, fm.pca(x, 10, n_iter=8, rng=1), few=5)
    x = samples(50, 40, rng, dtype)
    x[:, 7] += offset * np.abs(x).max()
    check(x, fm.pca(x, 8, n_iter=8, rng=1), few=5)


def test_scikit_learn_has_the_same():
    """Signs, too: the largest entry of each component is positive."""
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = samples(80, 30, np.random.default_rng(3), offset=1)
    expected = decomposition.PCA(6, svd_solver="full")
    scores = expected.fit_transform(x)
    found = fm.pca(x, 6, n_iter=12, rng=1)
    for name in ("components", "explained_variance", "explained_variance_ratio", "mean"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, f"{name}_"), atol=1e-9)
    np.testing.assert_allclose(found.scores, scores, atol=1e-9)


def test_signs():
    for dtype in FLOATS:
        x = samples(40, 30, np.random.default_rng(4), dtype)
        found = fm.pca(x, 4, rng=1)
        for row in found.components:
            largest = row[np.argmax(np.abs(row))]
            assert largest.real > 0
            assert abs(np.imag(largest)) <= 4 * EPS[dtype]
        plain = fm.pca(x, 4, flip_sign=False, rng=1)
        np.testing.assert_array_equal(plain.singular_values, found.singular_values)


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_tolerances(dtype):
    rng = np.random.default_rng(5)
    x = samples(150, 80, rng, dtype, offset=50)
    _, s, _, mean = exact(x)
    tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1] / np.sum(s**2))
    for tol in (0.3, 1e-3):
        found = fm.pca(x, tol=tol, rng=1)
        rest = np.linalg.norm(x - mean - found.scores @ found.components) / np.linalg.norm(s)
        assert rest <= found.error.frobenius <= tol
        assert np.sum(tails > tol) <= found.rank <= 1.25 * np.sum(tails > tol) + 8
        assert found.explained_variance_ratio.sum() >= 1 - tol**2 - 100 * EPS[dtype]
    assert fm.pca(x, 3, tol=1e-3, rng=1).rank == 3


def test_errors_cover_what_is_left():
    rng = np.random.default_rng(6)
    for trial in range(30):
        x = samples(60, 40, rng, "f4", offset=float(rng.integers(0, 20)))
        found = fm.pca(x, int(rng.integers(1, 30)), n_iter=1, rng=trial)
        _, s, _, mean = exact(x)
        rest = x - mean - found.scores @ found.components
        assert np.linalg.norm(rest) <= found.error.frobenius * np.linalg.norm(s)
        assert np.linalg.norm(rest, 2) <= found.error.spectral * s[0]
    assert (found.n_iter, found.n_passes) == (1, 5)


@pytest.mark.parametrize(("dtype", "exponents"), [("f4", (-30, 30)), ("f8", (-150, 150))])
def test_scale_does_not_matter(dtype, exponents):
    """Variances of float32 are beyond its range there, shares are not."""
    for offset in (0, 100):
        x = samples(50, 40, np.random.default_rng(7), dtype, offset)
        expected = fm.pca(x, 6, rng=1)
        for exponent in exponents:
            factor = np.dtype(dtype).type(2.0 ** round(exponent * np.log2(10)))
            found = fm.pca(x * factor, 6, rng=1)
            near = {"rtol": 100 * EPS[dtype], "atol": 100 * EPS[dtype]}
            np.testing.assert_allclose(found.singular_values / factor, expected[3], **near)
            np.testing.assert_allclose(found.explained_variance_ratio, expected[2], **near)
            np.testing.assert_allclose(found.components, expected[0], atol=1e4 * EPS[dtype])


def test_no_variance():
    """Equal rows, zeros, one column, fewer directions than components."""
    for x in (np.zeros((6, 4), "f4"), np.full((6, 4), 7.1, "f4"), np.full((6, 1), -1e30, "f4")):
        found = fm.pca(x, 1, rng=1)
        np.testing.assert_array_equal(found.singular_values, 0)
        np.testing.assert_array_equal(found.explained_variance_ratio, 0)
        np.testing.assert_array_equal(found.scores, 0)
        np.testing.assert_array_equal(found.mean, x[0])
    x = np.outer(np.arange(5.0), [3.0, 4.0, 0.0])
    found = fm.pca(x, 3, rng=1)
    np.testing.assert_allclose(found.explained_variance_ratio, [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(found.components[0], [0.6, 0.8, 0], atol=1e-15)


def test_layouts():
    x = samples(40, 30, np.random.default_rng(8), "f4", offset=2)
    for maker in makers_for("f4").values():
        y = maker(x)
        if y.strides[0] == 0 or y.strides[1] == 0:
            continue
        with unmodified(y):
            check(y, fm.pca(y, 6, n_iter=8, rng=1))


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", BFLOAT16])
def test_other_dtypes(dtype):
    x = np.random.default_rng(9).integers(0, 2, (60, 30)).astype(dtype)
    x[:30, :9] = 1
    found = fm.pca(x, 5, n_iter=20, rng=1)
    wide = "f4" if dtype in ("f2", BFLOAT16) else "f8"
    assert found.components.dtype == wide
    check(x.astype(wide), found, few=1)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "operator"])
def test_sparse_matrices_and_operators(form, dtype):
    """Stored zeros and doubled entries of a sparse matrix count as what they add up to."""
    rng = np.random.default_rng(10)
    dense = np.where(rng.random((80, 30)) < 0.2, 1 + rng.standard_normal((80, 30)), 0)
    dense = (dense * 0.8 ** np.arange(30)).astype(dtype)
    if dtype == "c16":
        dense *= np.exp(1j * rng.random(dense.shape))
    given = {
        "csr": scipy.sparse.csr_array,
        "csc": scipy.sparse.csc_matrix,
        "coo": lambda x: scipy.sparse.coo_array(
            (
                np.r_[x.ravel() / 2, x.ravel() / 2],
                tuple(np.tile(np.indices(x.shape).reshape(2, -1), 2)),
            ),
            shape=x.shape,
        ),
        "operator": scipy.sparse.linalg.aslinearoperator,
    }[form](dense)
    assert dense[0, 0] == 0 or form != "coo" or given.nnz == 2 * dense.size
    found = fm.pca(given, 6, n_iter=12, rng=1)
    if form == "operator":  # whose norm is estimated
        shares = exact(dense)[1] ** 2
        true = shares[:6] / shares.sum()
        np.testing.assert_allclose(found.explained_variance_ratio, true, rtol=0.1)
        found = type(found)(*found[:2], true, *found[3:])
    check(dense, found)
    total = fm.pca(given, 6, center=False, n_iter=12, rng=1)
    np.testing.assert_allclose(total.singular_values, exact(dense, False)[1][:6], rtol=1e-4)
    if form != "operator":
        check(dense, total, center=False)
    else:
        np.testing.assert_array_equal(total.mean, 0)


def test_shares_of_an_operator_have_no_bias():
    x = samples(60, 40, np.random.default_rng(11))
    s = exact(x)[1]
    given = scipy.sparse.linalg.aslinearoperator(x)
    found = [fm.pca(given, 2, rng=seed).explained_variance_ratio[0] for seed in range(50)]
    assert abs(np.mean(found) * np.sum(s**2) / s[0] ** 2 - 1) < 0.03


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    x = torch.arange(12.0).reshape(4, 3) ** 2
    found = fm.pca(x, 2, rng=1)
    assert all(isinstance(part, torch.Tensor) for part in found)
    check(x.numpy(), fm.pca(x.numpy(), 2, rng=1), few=1)


def test_the_same_bits_at_any_number_of_threads():
    x = samples(9000, 300, np.random.default_rng(12), "f4", offset=1)
    results = set()
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        parts = (*fm.pca(x, 10, rng=1), *fm.pca(x + np.float32(9), 10, rng=1))
        results.add(tuple(bits(part) for part in parts))
    assert len(results) == 1


def test_results_can_be_pickled():
    found = fm.pca(np.eye(5), 2, rng=1)
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found)
    assert (again.error, again.n_iter) == (found.error, 4)
    assert again.n_passes == found.n_passes
    assert all(bits(x) == bits(y) for x, y in zip(found, again, strict=True))


X = np.ones((4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fm.pca(X), ValueError, "neither n_components nor tol"),
        (lambda: fm.pca(X, 0), ValueError, "n_components is 0"),
        (lambda: fm.pca(X, 4), ValueError, "n_components is 4; it must be .* at most 3"),
        (lambda: fm.pca(X, 1.5), TypeError, "n_components is 1.5"),
        (lambda: fm.pca(X, 1, n_oversamples=-1), ValueError, "n_oversamples is -1"),
        (lambda: fm.pca(X, 1, n_iter="many"), ValueError, "n_iter is 'many'"),
        (lambda: fm.pca(X, 1, power_iteration_normalizer=3), ValueError, "normalizer is 3"),
        (lambda: fm.pca(X, tol=1.0), ValueError, "tol is 1"),
        (lambda: fm.pca(X, tol=0.1, norm="nuc"), ValueError, "norm is 'nuc'"),
        (lambda: fm.pca(X[:1], 1), ValueError, r"shape \(1, 3\); variances need 2 rows"),
        (lambda: fm.pca(X[:, :0], 1), ValueError, "and a column"),
        (lambda: fm.pca(X[None], 1), ValueError, "single matrix"),
        (lambda: fm.pca(X.astype("U3"), 1), TypeError, "x has dtype"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_numbers_that_are_not_finite(bad, dtype):
    for offset in (0, 1e4):
        x = samples(30, 20, np.random.default_rng(13), dtype, offset)
        x[7, 3] = bad
        for given in (x, x.T, scipy.sparse.csr_array(x)):
            for options in ({"n_components": 2}, {"tol": 0.1}):
                with pytest.raises(ValueError, match="NaN or infinity"):
                    fm.pca(given, **options)
