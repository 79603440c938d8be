"""The gradient of a truncated decomposition against differences, in float64."""

import numba
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from layouts import makers_for, unmodified
from numba import njit
from numba.core.errors import TypingError
from products import bits
from spectra import matrix

import fastmat as fm


def triplets(x, k):
    """The first k, by LAPACK, with the phases of `flip_sign`."""
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    largest = np.take_along_axis(u, np.abs(u).argmax(0)[np.newaxis], 0)[0]
    phases = largest / np.abs(largest)
    return (u * phases.conj())[:, :k], s[:k], (vh * phases[:, np.newaxis])[:k]


def normal(rng, shape, dtype):
    x = rng.standard_normal(shape)
    return x if np.dtype(dtype).kind != "c" else x + 1j * rng.standard_normal(shape)


def slope(function, x, along):
    """A difference of the fourth order."""
    h = 2e-5
    far, near = ((function(x + t * along) - function(x - t * along)) / (2 * t) for t in (2 * h, h))
    return (4 * near - far) / 3


SHAPES = [(12, 9, 3), (9, 12, 3), (7, 7, 7), (8, 5, 1), (1, 6, 1), (6, 1, 1)]


@pytest.mark.parametrize("dtype", ["f8", "c16"])
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_derivatives(m, n, k, dtype):
    """Of a function of all of U, S and Vh, and of their phases; and of each of them alone."""
    rng = np.random.default_rng(1)
    x = matrix(m, n, 0.7 ** np.arange(min(m, n)), rng, dtype)
    along = normal(rng, (m, n), dtype)
    parts = normal(rng, (m, k), dtype), rng.standard_normal(k), normal(rng, (k, n), dtype)
    for given in (
        parts,
        *(tuple(p if i == j else None for j, p in enumerate(parts)) for i in range(3)),
    ):

        def value(y, given=given):
            pairs = zip(given, triplets(y, k), strict=True)
            return sum(np.vdot(g, part).real for g, part in pairs if g is not None)

        with unmodified(x, *parts):
            found = fm.randomized_svd_vjp(given, x, *triplets(x, k))
        assert (found.shape, found.dtype) == (x.shape, x.dtype)
        scale = np.linalg.norm(found) * np.linalg.norm(along)
        assert abs(np.vdot(found, along).real - slope(value, x, along)) <= 1e-8 * (scale + 1)


@pytest.mark.parametrize("dtype", ["f8", "c16"])
def test_of_what_randomized_svd_returns(dtype):
    """Its phases are those that are held, and the gap need not be large."""
    rng = np.random.default_rng(2)
    x = matrix(40, 30, 0.95 ** np.arange(30), rng, dtype)
    along, weight = normal(rng, (40, 30), dtype), normal(rng, (40, 4), dtype)

    def value(y):
        return np.vdot(weight, triplets(y, 4)[0]).real

    found = fm.randomized_svd(x, 4, n_iter=60, rng=1)
    gradient = fm.randomized_svd_vjp((weight, None, None), x, *found)
    expected = slope(value, x, along)
    np.testing.assert_allclose(np.vdot(gradient, along).real, expected, rtol=1e-6)


def test_without_the_matrix():
    """Exact for matrices of rank k, and for S alone."""
    rng = np.random.default_rng(3)
    x = matrix(10, 8, [3.0, 2.0, 1.0], rng)
    parts = rng.standard_normal((10, 3)), rng.standard_normal(3), rng.standard_normal((3, 8))
    one, other = (fm.randomized_svd_vjp(parts, given, *triplets(x, 3)) for given in (x, None))
    np.testing.assert_allclose(one, other, atol=1e-12)
    x = matrix(10, 8, 0.9 ** np.arange(8), rng)
    only = None, parts[1], None
    u, s, vh = triplets(x, 3)
    for given in (x, None):
        np.testing.assert_allclose(
            fm.randomized_svd_vjp(only, given, u, s, vh), (u * parts[1]) @ vh, atol=1e-14
        )


def test_float32_and_scale():
    """As near as float32 can be, at any scale of x."""
    rng = np.random.default_rng(4)
    x = matrix(60, 40, 0.7 ** np.arange(40), rng, "f4")
    parts = [rng.standard_normal(shape) for shape in ((60, 5), (5,), (5, 40))]
    exact = triplets(x.astype("f8"), 5)
    expected = fm.randomized_svd_vjp(parts, x.astype("f8"), *exact)
    only_vectors = parts[0], None, parts[2]
    of_vectors = fm.randomized_svd_vjp(only_vectors, x.astype("f8"), *exact)
    u, s, vh = (part.astype("f4") for part in exact)
    found = fm.randomized_svd_vjp(parts, x, u, s, vh)
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)
    for scale in np.float32(2.0**-100), np.float32(2.0**100):
        found = fm.randomized_svd_vjp(only_vectors, x * scale, u, s * scale, vh) * scale
        assert np.linalg.norm(found - of_vectors) <= 1e-4 * np.linalg.norm(of_vectors)


def test_values_that_are_near():
    """Right for a function that does not see how their vectors are turned; finite if equal."""
    rng = np.random.default_rng(5)
    weight, along = rng.standard_normal((9, 7)), rng.standard_normal((9, 7))

    def value(y):
        u, s, vh = triplets(y, 2)
        return np.sum(weight * ((u * s) @ vh))

    for gap in (1e-2, 1e-7, 0):
        x = matrix(9, 7, [2.0, 2.0 - gap, 1.0, 0.5, 0.2], rng)
        u, s, vh = triplets(x, 2)
        parts = weight @ vh.T * s, np.sum(u * (weight @ vh.T), axis=0), (u * s).T @ weight
        found = fm.randomized_svd_vjp(parts, x, u, s, vh)
        assert np.isfinite(found).all()
        if gap:
            np.testing.assert_allclose(np.sum(found * along), slope(value, x, along), rtol=1e-6)
    damped = fm.randomized_svd_vjp(parts, x, u, np.array([2.0, 1.9]), vh, regularization=1e9)
    kept = fm.randomized_svd_vjp((None, parts[1], None), x, u, s, vh)
    np.testing.assert_allclose(u.T @ damped @ vh.T, u.T @ kept @ vh.T, atol=1e-6)
    for regularization in (None, 0):
        zeros = [np.zeros_like(part) for part in (x, u, s, vh)]
        given = np.ones_like(u), None, None
        found = fm.randomized_svd_vjp(given, *zeros, regularization=regularization)
        assert np.isfinite(found).all()


def test_layouts_and_other_operands():
    rng = np.random.default_rng(6)
    x = matrix(20, 15, 0.6 ** np.arange(15), rng, "f4")
    found = fm.randomized_svd(x, 3, rng=1)
    parts = [rng.standard_normal(part.shape).astype("f4") for part in found]
    expected = fm.randomized_svd_vjp(parts, x, *found)
    near = {"rtol": 0, "atol": 1e-4 * np.abs(expected).max()}
    for maker in makers_for("f4").values():
        y = maker(x)
        if 0 in y.strides:
            continue
        u, vh, gu, gvh = (maker(part) for part in (found.U, found.Vh, parts[0], parts[2]))
        moved = fm.randomized_svd_vjp((gu, parts[1], gvh), y, u, found.S, vh)
        np.testing.assert_allclose(moved, expected, **near)
    for given in (scipy.sparse.csr_array(x), scipy.sparse.linalg.aslinearoperator(x)):
        np.testing.assert_allclose(fm.randomized_svd_vjp(parts, given, *found), expected, **near)


def test_the_same_bits_at_any_number_of_threads():
    x = matrix(500, 400, 0.95 ** np.arange(400), np.random.default_rng(7), "f4")
    found = fm.randomized_svd(x, 8, rng=1)
    results = set()
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        results.add(bits(fm.randomized_svd_vjp((found.U[::-1], None, found.Vh), x, *found)))
    assert len(results) == 1


X = np.ones((4, 3))
U, S, VH = (part[..., :1] if i < 2 else part[:1] for i, part in enumerate(np.linalg.svd(X, False)))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (((None, None), X, U, S, VH), {}, ValueError, "cotangent has 2 parts"),
        (((U[:3], None, None), X, U, S, VH), {}, ValueError, r"U has shape \(3, 1\)"),
        (((U * 1j, None, None), X, U, S, VH), {}, TypeError, "U has dtype complex128"),
        (((None, None, None), X.T, U, S, VH), {}, ValueError, r"x has shape \(3, 4\)"),
        (((None, None, None), X, U, S[:0], VH), {}, ValueError, "have shapes"),
        (((None, None, None), X, U, S.astype("f4"), VH), {}, TypeError, "have dtypes"),
        ((None, X, U, S, VH), {}, TypeError, "cotangent is of type NoneType"),
        (((None, None, None), X * 1j, U, S, VH), {}, TypeError, "x has dtype complex128"),
        (((None,) * 3, X, U, S, VH), {"regularization": "a"}, TypeError, "regularization is 'a'"),
        (((None,) * 3, X, U, S, VH), {"regularization": -1}, ValueError, "regularization is -1"),
        (((None,) * 3, X, U, S, VH), {"regularization": np.nan}, ValueError, "regularization"),
    ],
)
def test_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        fm.randomized_svd_vjp(*arguments, **options)


@njit
def compiled(cotangent, x, u, s, vh):
    return fm.randomized_svd_vjp(cotangent, x, u, s, vh)


def equal(dtype, without):
    rng = np.random.default_rng(8)
    x = matrix(60, 40, 0.8 ** np.arange(40), rng, dtype)
    found = fm.randomized_svd(x, 4, rng=1)
    given = found.U[::-1].copy(), None, found.Vh.copy()
    for operand in (x, None) if without else (x,):
        expected = fm.randomized_svd_vjp(given, operand, *found)
        assert bits(compiled(given, operand, *found)) == bits(expected)


@pytest.mark.usefixtures("overloads")
def test_the_bits_of_python_in_compiled_code():
    equal("f4", without=False)
    with pytest.raises(ValueError, match="x must have the shape"):
        compiled(
            (np.ones((60, 1), "f4"), None, np.ones((1, 40), "f4")),
            np.ones((40, 60), "f4"),
            np.ones((60, 1), "f4"),
            np.ones(1, "f4"),
            np.ones((1, 40), "f4"),
        )


@pytest.mark.exhaustive
@pytest.mark.usefixtures("overloads")
@pytest.mark.parametrize("dtype", ["f8", "c8"])
def test_the_bits_of_python_for_other_dtypes(dtype):
    equal(dtype, without=True)


@pytest.mark.usefixtures("overloads")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda u, s, vh: fm.randomized_svd_vjp((None, s), None, u, s, vh), "three parts"),
        (lambda u, s, vh: fm.randomized_svd_vjp((s, s, None), None, u, s, vh), "2 dimensions"),
        (lambda u, s, vh: fm.randomized_svd_vjp((u, s, vh), None, s, s, vh), "U must have 2"),
        (lambda u, s, vh: fm.randomized_svd_vjp((u, s, vh), None, u, s, vh, "x"), "regulariz"),
    ],
)
def test_errors_when_compiling(function, message):
    with pytest.raises(TypingError, match=message):
        njit(function)(U, S, VH)
