"""`fm.linalg.qr_tall`, i.e. linalg.qr_tall: orthogonality and residual, whatever the spectrum."""

import math

import numpy as np
import pytest
import scipy.linalg
from layouts import LAYOUTS, SAME_VALUES, makers_for, unmodified
from numba import njit
from numba.core import errors
from products import bits, normal

import fastmat as fm

DTYPES = ["f4", "f8", "c8", "c16"]
SHAPES = [(1, 1), (2, 1), (7, 1), (7, 7), (31, 17), (100, 13), (1009, 131), (200, 200)]
SHAPES += [(3000, 60), (9001, 7), (400, 300), (20_000, 3)]


def columns(a):
    """Lengths of columns in long double, of which none overflows or underflows."""
    return np.sqrt(np.sum(np.square(np.abs(a).astype("g")), 0))


def check(a, given=None):
    """Q is orthonormal to 10 eps sqrt(n), and Q R is a, column by column.

    A triangular solve is exact for a row of R off by n eps |R|, each round again, so columns of
    the residual are at most a multiple of n eps times those of a; where rounding errors are
    independent, of sqrt(n) eps. What is subnormal has an absolute error.
    """
    m, n = a.shape
    given = a if given is None else given
    with unmodified(given):
        q, r = fm.linalg.qr_tall(given)
    dtype = a.dtype.newbyteorder("=")
    assert (q.dtype, r.dtype, q.shape, r.shape) == (dtype, dtype, (m, n), (n, n))
    assert (np.tril(r, -1) == 0).all()
    assert ((np.diagonal(r).real >= 0) & (np.diagonal(r).imag == 0)).all()
    finfo = np.finfo(dtype)
    wide = np.dtype("G" if dtype.kind == "c" else "g")
    q, r, exact = (x.astype(wide) for x in (q, r, a))
    blocks = [q[i : i + 512] for i in range(0, m, 512)]  # long double has 11 bits to spare
    gram = np.array([x.conj().T @ x for x in blocks]).sum(0) if m else np.zeros((n, n))
    assert np.sqrt(np.sum(np.abs(gram - np.eye(n)) ** 2)) <= 10 * finfo.eps * math.sqrt(n)
    allowed = 10 * finfo.eps * math.sqrt(n) * columns(exact)
    allowed = allowed + 8 * n * math.sqrt(m) * np.longdouble(finfo.smallest_subnormal)
    assert (columns(exact - q @ r) <= allowed).all()
    return q, r


def spread(shape, dtype, condition, seed=0):
    """A matrix whose singular values fall from 1 to 1/condition."""
    m, n = shape
    u, v = (np.linalg.qr(normal((k, n), dtype, seed))[0] for k in (m, n))
    values = 10.0 ** np.linspace(0, -np.log10(condition), n)
    return (u * values @ v).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(dtype):
    for shape in SHAPES:
        check(normal(shape, dtype))
    for shape in [(0, 0), (5, 0)]:
        q, r = fm.linalg.qr_tall(np.ones(shape, dtype))
        assert (q.shape, r.shape) == (shape, (0, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("condition", [1, 1e2, 1e4, 1e6, 1e8, 1e12, 1e16, 1e30, 1e100, 1e300])
def test_spectra(dtype, condition):
    check(spread((700, 30), dtype, condition))
    check(spread((40, 40), dtype, condition))
    with np.errstate(under="ignore"):
        graded = normal((300, 30), dtype) * 10.0 ** np.linspace(0, -np.log10(condition), 30)
        check(graded.astype(dtype))
        check(np.array(graded.astype(dtype)[:, ::-1]))


def deficient(dtype):
    """Matrices of low rank, to the last bit or to rounding."""
    x = normal((500, 20), dtype)
    zeros, repeated = x.copy(), x.copy()
    zeros[:, [0, 3, 19]] = 0
    repeated[:, 5] = repeated[:, 4]
    repeated[:, 6] = 2 * repeated[:, 4]
    whole = np.random.default_rng(1)
    low = (whole.integers(-3, 4, (400, 7)) @ whole.integers(-3, 4, (7, 50))).astype(dtype)
    return {
        "zero columns": zeros,
        "repeated columns": repeated,
        "rank 1": np.outer(x[:, 0], x[0]).astype(dtype),
        "rank 7": low,
        "rank 7 of 50": low[:50],
        "zeros": np.zeros((300, 9), dtype),
        "square zeros": np.zeros((40, 40), dtype),
        "ones": np.ones((500, 20), dtype),
        "square ones": np.ones((64, 64), dtype),
        "many ones": np.ones((20_000, 9), dtype),
        "stairs": np.minimum.outer(np.arange(300), np.arange(40)).astype(dtype),
        "blocks": np.kron(np.eye(10), np.ones((20, 6))).astype(dtype),
        "Hilbert": scipy.linalg.hilbert(50)[:, :30].astype(dtype),
        "Vandermonde": np.vander(np.linspace(0, 1, 300), 30).astype(dtype),
        "one row": np.eye(1, dtype=dtype),
        "zero": np.zeros((1, 1), dtype),
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_missing(dtype):
    """Columns that depend on others but for rounding errors, and some that nearly do."""
    rng = np.random.default_rng(3)
    for n in (29, 64, 66):
        check(np.vander(np.linspace(-1, 1, n), n).astype(dtype))
    for trial in range(60):
        n = rng.integers(2, 45)
        x = rng.integers(-3, 4, (n + trial % 3 * 5, n)) * (rng.random((n + trial % 3 * 5, n)) < 0.3)
        check(x.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", deficient("f8"))
def test_rank_deficient(dtype, kind):
    check(deficient(dtype)[kind])


@pytest.mark.parametrize("dtype", DTYPES)
def test_scales(dtype):
    """Squares overflow or underflow, and the columns do not."""
    largest = 1e30 if np.finfo(dtype).bits == 32 else 1e150
    x = normal((300, 20), dtype)
    zeros = x.copy()
    zeros[:, [2, 7]] = 0
    for scale in (largest, 1 / largest):
        for matrix in (x, zeros):
            check((matrix * scale).astype(dtype))
    check((x * largest ** np.linspace(-1, 1, 20)).astype(dtype))
    check((x * 1000 * float(np.finfo(dtype).smallest_subnormal)).astype(dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_rounding_of_like_terms_adds_up_to_nothing(dtype):
    for m in range(100, 3000, 97):
        check(np.ones((m, 1), dtype))
        check(np.ones((m, 2), dtype) * np.array([1, 3], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_an_orthonormal_matrix(dtype):
    q, _ = fm.linalg.qr_tall(normal((500, 20), dtype))
    again, r = check(q)
    assert np.max(np.abs(again - q)) < 20 * np.finfo(dtype).eps
    assert np.max(np.abs(r - np.eye(20))) < 20 * np.finfo(dtype).eps


def test_is_the_factorization_of_householder():
    a = normal((200, 30), "f8")
    q, r = fm.linalg.qr_tall(a)
    expected = np.linalg.qr(a)
    signs = np.sign(np.diagonal(expected.R))
    np.testing.assert_allclose(q, expected.Q * signs, atol=1e-13)
    np.testing.assert_allclose(r, expected.R * signs[:, None], atol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_layouts(dtype):
    a = normal((150, 20), dtype)
    expected = fm.linalg.qr_tall(a)
    for make in makers_for(dtype, SAME_VALUES).values():
        check(a, make(a))
        found = fm.linalg.qr_tall(make(a))
        assert bits(found.Q) == bits(expected.Q)
        assert bits(found.R) == bits(expected.R)
    for key in ("broadcast", "broadcast_last"):
        check(LAYOUTS[key](a))


def test_dtypes_and_errors():
    assert fm.linalg.qr_tall([[3], [4]]).R.tolist() == [[5]]
    for shape in [(2, 3), (3,), (2, 2, 2), (0, 1)]:
        with pytest.raises(ValueError, match="a has shape"):
            fm.linalg.qr_tall(np.ones(shape))
    for bad in (np.nan, np.inf, -np.inf):
        for m in (5, 5000):
            a = normal((m, 4), "f8")
            a[m // 2, 2] = bad
            with pytest.raises(ValueError, match="finite"):
                fm.linalg.qr_tall(a)
            with pytest.raises(ValueError, match="finite"):
                fm.linalg.qr_tall(a.astype("c8"))
    with pytest.raises(TypeError, match="a has dtype float16"):
        fm.linalg.qr_tall(np.ones((2, 2), "f2"))


@njit
def compiled(a):
    q, r = fm.linalg.qr_tall(a)
    return q, r


@pytest.mark.usefixtures("overloads")
@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_in_njit(dtype):
    a = normal((150, 20), dtype)
    for x in (a, a[::2, ::-1], deficient(dtype)["zero columns"], a[:0, :0]):
        found, expected = compiled(x), fm.linalg.qr_tall(x)
        assert bits(found[0]) == bits(expected.Q)
        assert bits(found[1]) == bits(expected.R)


@pytest.mark.usefixtures("overloads")
def test_errors_in_njit():
    with pytest.raises(ValueError, match="fewer rows than columns"):
        compiled(np.ones((2, 3)))
    with pytest.raises(ValueError, match="finite"):
        compiled(np.full((3, 2), np.nan))
    with pytest.raises(errors.TypingError, match="qr_tall wants 2"):
        compiled(np.ones(3))
