"""Sparse matrices and linear operators in randomized decompositions."""

import numba
import numpy as np
import pytest
import scipy.sparse
from products import bits, normal, small_integers
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from spectra import errors

import fastmat as fm
from fastmat.ops import sparse as ops
from fastmat.ops.low_rank import operand_of
from fastmat.ops.operators import Operator

FLOATS = ["f4", "f8", "c8", "c16"]
SHAPES = [(1, 1), (40, 7), (7, 40), (300, 20), (20, 300), (97, 101)]
COLUMNS = [1, 3, 8, 16, 17, 33, 70, 130]


def entries(m, n, dtype, density=0.1, seed=0):
    """A dense matrix, most of whose numbers are 0: exact sums, empty rows and empty columns."""
    rng = np.random.default_rng([seed, m, n])
    x = np.where(rng.random((m, n)) < density, small_integers((m, n), dtype, seed), 0)
    x[m // 2 : m // 2 + 2], x[:, n // 3] = 0, 0
    return x.astype(dtype)


def with_index(x, index):
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
    return x


def matrix_of(x):
    return ops.sparse_matrix(x, x.dtype, "x")


def check_products(found, x, few):
    """All products with a block, exactly: numbers are small integers."""
    m, n = x.shape
    q, y = small_integers((n, few), x.dtype, 1), small_integers((m, few), x.dtype, 2)
    for a, b in ((found, x), (found.T.T, x)):
        assert (a.shape, a.dtype, a.ndim) == (b.shape, b.dtype, 2)
        np.testing.assert_array_equal(a.times(q), b @ q)
        np.testing.assert_array_equal(a.times_adjoint(y), b.conj().T @ y)
        np.testing.assert_array_equal(a.power_step(q), b.conj().T @ (b @ q))
    np.testing.assert_array_equal(found.T.times(y), x.T @ y)
    np.testing.assert_array_equal(found.T.times_adjoint(q), x.conj() @ q)
    np.testing.assert_array_equal(found.T.power_step(y), x.conj() @ (x.T @ y))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", ["csr", "csc"])
def test_products(dtype, form):
    """By either side, whether sums are row by row or added to: both are chosen by shape."""
    for m, n in SHAPES:
        x = entries(m, n, dtype)
        for index, few in zip(["i4", "i8"] * 4, COLUMNS, strict=True):
            given = with_index(scipy.sparse.csr_array(x).asformat(form), index)
            check_products(matrix_of(given), x, few)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_each_way_of_summing(form, monkeypatch):
    """Sums that fit no cache are gathered, of rows of the transpose; others are scattered."""
    x = entries(500, 30, "f4", 0.3)
    for bytes_ in (0, 2**40):
        monkeypatch.setattr(ops, "SUMS_BYTES", bytes_)
        check_products(matrix_of(scipy.sparse.csr_array(x).asformat(form)), x, 33)
        wide = np.ascontiguousarray(x.T)
        check_products(matrix_of(scipy.sparse.csr_array(wide).asformat(form)), wide, 33)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_forms(form, kind):
    x = entries(40, 24, "f4", 0.05)
    given = getattr(scipy.sparse, f"{form}_{kind}")(x)
    found = fm.randomized_svd(given, 3, rng=1)
    assert all(type(part) is np.ndarray for part in found)
    np.testing.assert_allclose(found.S, fm.randomized_svd(x, 3, rng=1).S, rtol=1e-5)
    check_products(matrix_of(given), x, 5)


@pytest.mark.parametrize(("dtype", "number"), [("?", 1), ("i1", 100)])
@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_duplicates_are_added_up_as_by_scipy(kind, dtype, number):
    """In their own dtype, as `toarray` does, whatever the format and the operation."""
    pieces = np.full(4, number, dtype), np.array([0, 0, 1, 0]), np.array([0, 2, 3, 4])
    x = getattr(scipy.sparse, kind + "_array")(pieces, shape=(3, 3))
    dense = x.toarray().astype("f8")
    np.testing.assert_array_equal(operand_of(x).times(np.eye(3)), dense)
    np.testing.assert_allclose(fm.pca(x, 1, rng=0).mean, dense.mean(axis=0))
    assert x.nnz == 4


def test_duplicates_and_order():
    rows, columns = np.random.default_rng(1).integers(0, 9, (2, 200))
    data = small_integers(200, "f8")
    x = np.zeros((9, 9))
    np.add.at(x, (rows, columns), data)
    order = np.argsort(rows, kind="stable")
    starts = np.r_[0, np.cumsum(np.bincount(rows, minlength=9))]
    given = scipy.sparse.csr_array((data[order], columns[order], starts), shape=(9, 9))
    assert not given.has_canonical_format
    before = given.data.copy(), given.indices.copy()
    check_products(matrix_of(given), x, 4)
    fm.randomized_svd(given, 2, rng=1)
    assert np.array_equal(given.data, before[0])  # it is not put in order behind one's back
    assert np.array_equal(given.indices, before[1])
    coo = scipy.sparse.coo_array((data, (rows, columns)), shape=(9, 9))
    check_products(matrix_of(coo), x, 4)


def test_arrays_of_any_kind():
    """Big-endian, read-only, longer than they need be; blocks of any strides."""
    x = entries(60, 20, "f4", 0.2)
    given = scipy.sparse.csr_array(x)
    for change in (
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.repeat(a, 2)[::2],
        lambda a: np.frombuffer(a.tobytes(), a.dtype),
    ):
        other = given.copy()
        other.data, other.indices, other.indptr = map(
            change, (given.data, given.indices, given.indptr)
        )
        found = operand_of(other)
        assert found.dtype.isnative
        check_products(found, x, 4)
    other = given.copy()
    other.data, other.indices = (np.r_[a, a[:3]] for a in (given.data, given.indices))
    found = matrix_of(other)
    check_products(found, x, 4)
    q = small_integers((40, 30), "f4")
    for block in (q[::2, ::3], np.asfortranarray(q[:20]), q[19::-1, ::-1], q[:20, 3:7]):
        before = block.copy()
        np.testing.assert_array_equal(found.times(block), x @ block)
        np.testing.assert_array_equal(block, before)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8"])
def test_whole_numbers(dtype):
    x = entries(40, 30, "f8", 0.2) ** 2
    found = fm.randomized_svd(scipy.sparse.csr_array(x.astype(dtype)), 3, rng=1)
    assert found.U.dtype == "f8"
    np.testing.assert_allclose(found.S, fm.randomized_svd(x.astype(dtype), 3, rng=1).S, rtol=1e-12)


@pytest.mark.parametrize("shape", [(20_000, 50), (50, 20_000), (3000, 2500)])
def test_the_same_bits_at_any_number_of_threads(shape):
    rng = np.random.default_rng(2)
    a = scipy.sparse.random_array(shape, density=0.01, rng=rng, format="csr", dtype=np.float32)
    q, y = normal((shape[1], 20), "f4", 1), normal((shape[0], 20), "f4", 2)
    results = set()
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        found = []
        for x in (a, a.tocsc()):
            x = matrix_of(x)
            found += [x.times(q), x.times_adjoint(y), x.power_step(q), x.T.power_step(y)]
        found += [*fm.randomized_svd(a, 5, n_iter=2, rng=1)]
        results.add(tuple(bits(part) for part in found))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_factors_are_those_of_the_dense_matrix(dtype):
    x = entries(150, 60, dtype, 0.1)
    eps = np.finfo(dtype).eps
    for given in (x, np.ascontiguousarray(x.T)):
        a = scipy.sparse.csr_array(given)
        for options in ({"n_components": 6}, {"tol": 0.3}):
            found, expected = (fm.randomized_svd(b, rng=1, **options) for b in (a, given))
            np.testing.assert_allclose(found.S, expected.S, rtol=1e3 * eps)
            assert errors(given, found)[0] <= found.error.frobenius
        q = fm.randomized_range(a, 8, rng=1)
        assert np.linalg.norm(q.conj().T @ q - np.eye(8)) <= 100 * eps
    h = scipy.sparse.csr_array(x.conj().T @ x)
    values = fm.randomized_eigh(h, 3, rng=1).eigenvalues
    np.testing.assert_allclose(values, fm.randomized_eigh(h.toarray(), 3, rng=1)[0], rtol=1e3 * eps)


def _within_tolerance(trial):
    """A random matrix, of which rows and columns may be 0."""
    rng = np.random.default_rng([4, trial])
    (m, n), density = rng.integers(5, 61, 2), rng.uniform(0.02, 0.3)
    dtype = FLOATS[trial % 2]
    x = scipy.sparse.random_array((m, n), density=density, rng=rng, dtype=np.float64)
    x = x.tocsr().astype(dtype)
    norm = ("fro", "spectral")[trial // 2 % 2]
    found = fm.randomized_svd(x, tol=1e-5, norm=norm, rng=trial)
    if x.nnz == 0:
        assert np.all(found.S == 0)
        return
    true = errors(x.toarray(), found)
    assert true[norm == "spectral"] <= found.error[norm == "spectral"] <= 1e-5


def test_tolerances_of_small_matrices():
    for trial in range(60):
        _within_tolerance(trial)


@pytest.mark.exhaustive
def test_tolerances_of_more_small_matrices():
    for trial in range(60, 240):
        _within_tolerance(trial)


# What cannot be.


def broken(form, **parts):
    given = scipy.sparse.csr_array(np.eye(12)).asformat(form)
    for name, change in parts.items():
        values = getattr(given, name).copy()
        change(values)
        try:
            setattr(given, name, values)
        except AttributeError:
            given._data = values
    return given


def _set(where, value):
    return lambda values: values.__setitem__(where, value)


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        ("csr", {"indices": _set(3, 12)}),
        ("csc", {"indices": _set(3, -1)}),
        ("csr", {"indices": _set(3, 2**31 - 1)}),
        ("bsr", {"indices": _set(3, 10**6)}),
        ("coo", {"row": _set(3, 10**6)}),
        ("coo", {"col": _set(3, -5)}),
        ("csr", {"indptr": _set(0, 1)}),
        ("csr", {"indptr": _set(0, -1)}),
        ("csc", {"indptr": _set(5, 9)}),
        ("csr", {"indptr": _set(12, 13)}),
        ("bsr", {"indptr": _set(12, 10**6)}),
    ],
)
def test_malformed_matrices(form, parts):
    given = broken(form, **parts)
    for call in (
        lambda: fm.randomized_svd(given, 2, rng=1),
        lambda: fm.randomized_range(given, 2, rng=1),
        lambda: fm.randomized_eigh(given, 2, rng=1),
    ):
        with pytest.raises(ValueError, match="x is not a valid sparse matrix"):
            call()


def test_arrays_of_the_wrong_length():
    given = scipy.sparse.csr_array(np.eye(12))
    for name, values in (
        ("indptr", given.indptr[:-1]),
        ("indices", given.indices[:-1]),
        ("data", given.data[:-1]),
        ("indices", given.indices.astype("f8")),
    ):
        other = given.copy()
        setattr(other, name, values)
        with pytest.raises(ValueError, match="x is not a valid sparse matrix"):
            fm.randomized_svd(other, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite(bad):
    x = entries(40, 30, "f4", 0.2)
    given = scipy.sparse.csr_array(x)
    given.data[5] = bad
    for call in (
        lambda: fm.randomized_svd(given, 2),
        lambda: fm.randomized_svd(given.T, 2),
        lambda: fm.randomized_svd(given, tol=0.1),
        lambda: fm.randomized_range(given, 2),
    ):
        with pytest.raises(ValueError, match="NaN or infinity"):
            call()


def test_other_dtypes_are_refused():
    for dtype in ("g", "G"):
        with pytest.raises(TypeError, match="x has dtype"):
            fm.randomized_svd(scipy.sparse.csr_array((5, 4), dtype=dtype), 2)


# Operators.


def operator(x, **methods):
    """A linear operator of a matrix, some of whose methods are others."""
    given = {"matvec": lambda v: x @ v, "rmatvec": lambda v: x.conj().T @ v}
    given |= {"matmat": lambda q: x @ q, "rmatmat": lambda y: x.conj().T @ y}
    given |= methods
    return LinearOperator(x.shape, dtype=x.dtype, **given)


def test_operators_that_write_into_what_they_are_given():
    """Or return it, or return the same memory each time."""
    x = np.diag(np.arange(20.0, 0, -1))
    kept = np.empty((20, 64))

    def spoil(q):
        found = x @ q
        q[...] = np.nan
        return found

    def in_place(q):
        q *= np.diag(x)[:, None]
        return q

    def in_kept(q):
        return np.matmul(x, q, out=kept[:, : q.shape[1]])

    for options in ({"n_components": 4}, {"tol": 0.1}):
        expected = fm.randomized_svd(operator(x), rng=1, **options)
        for product in (spoil, in_place, in_kept):
            for transpose in (False, True):
                given = operator(x, matmat=product, rmatmat=product)
                found = fm.randomized_svd(given, rng=1, transpose=transpose, **options)
                np.testing.assert_allclose(found.S, expected.S, rtol=1e-10)


@pytest.mark.parametrize("transpose", [False, True])
def test_operators_that_return_something_else(transpose):
    x = normal((9, 9), "f4")
    for methods, error, message in (
        ({"matmat": lambda q: (x @ q)[:-1]}, ValueError, r"matmat that returned .* shape \(8"),
        ({"rmatmat": lambda q: (x.T @ q)[0]}, ValueError, "rmatmat that returned .* shape"),
        ({"matmat": lambda q: x @ q + 0j}, TypeError, "matmat that returned complex64"),
        ({"rmatmat": lambda q: (x.T @ q).astype("f8")}, TypeError, "returned float64; it must"),
        ({"matmat": lambda q: None}, ValueError, "matmat that returned"),
        ({"rmatvec": None, "rmatmat": None}, TypeError, "x .* has neither rmatmat nor rmatvec"),
    ):
        given = operator(x, **methods)
        with pytest.raises(error, match=message):
            fm.randomized_svd(given, 2, transpose=transpose, rng=1)


def test_operators_of_complex_numbers():
    x = normal((30, 20), "c8")
    for given in (aslinearoperator(x), operator(x)):
        for transpose in (False, True):
            found = fm.randomized_svd(given, 3, transpose=transpose, rng=1)
            expected = fm.randomized_svd(x, 3, transpose=transpose, rng=1)
            np.testing.assert_allclose(found.S, expected.S, rtol=1e-4)
            assert found.U.dtype == "c8"


def test_what_has_more_rows_than_int32_can_number(monkeypatch):
    monkeypatch.setattr(ops, "MOST", 25)
    x = entries(40, 20, "f4", 0.2)
    given = scipy.sparse.coo_array(x)
    assert isinstance(operand_of(given), Operator)
    check_products(operand_of(given), x, 3)
    np.testing.assert_allclose(
        fm.randomized_svd(given, 3, rng=1).S, fm.randomized_svd(x, 3, rng=1).S, rtol=1e-5
    )
