"""`fm.linalg.gram` and `fm.linalg.power_step`, i.e. linalg.gram and linalg.power_step."""

import numpy as np
import oracles
import pytest
from layouts import LAYOUTS, WRITABLE, makers_for, outside, unmodified
from numba import njit
from numba.core import errors
from oracles import DTYPES, Product, name, rounded
from products import bits, normal, same, small_integers
from tolerances import product_bound

import fastmat as fm

FLOATS = ["f4", "f8", "c8", "c16"]
# One of each path: empty, a tile and around it, more than a block, long sums, both.
SHAPES = [(0, 3), (3, 0), (1, 1), (5, 3), (2, 31), (100, 12), (50, 33), (384, 65), (385, 17)]
SHAPES += [(1537, 7), (3000, 131), (20_000, 3), (90, 300), (7, 1), (1, 7)]


def adjoint(a):
    return np.conj(np.swapaxes(a, -1, -2)) if a.dtype.kind == "c" else np.swapaxes(a, -1, -2)


def check_gram(a, exact=False, **keywords):
    product = oracles.matmul(adjoint(np.asarray(a)), a, exact=exact)
    with unmodified(a):
        result = fm.linalg.gram(a, **keywords)
    assert result.dtype == (keywords["out"].dtype if keywords else product.dtype)
    assert result.shape == product.value.shape
    if exact:
        same(result, rounded(product.value, result.dtype))
    else:
        assert (
            np.abs(result.astype(product.value.dtype) - product.value) <= product_bound(product)
        ).all()
    assert bits(result) == bits(adjoint(result)) or (adjoint(result) == result).all()
    return result


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_shapes(dtype):
    for shape in SHAPES:
        check_gram(small_integers(shape, dtype), exact=True)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding(dtype):
    for shape in SHAPES:
        check_gram(normal(shape, dtype))
    for shape in [(2, 3, 40, 5), (1000, 4, 4), (3, 2000, 20), (0, 4, 4), (2, 0, 3)]:
        check_gram(normal(shape, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_is_hermitian_with_a_real_diagonal(dtype):
    for shape in [(500, 40), (5000, 20)]:
        result = fm.linalg.gram(normal(shape, dtype) * 1.1)
        assert (result == adjoint(result)).all()
        assert (np.diagonal(result).imag == 0).all()


@pytest.mark.parametrize("dtype", ["f4", "c16", "i4", "?", "f2"])
def test_layouts(dtype):
    for shape in [(33, 17), (2, 40, 9)]:
        x = small_integers(shape, dtype)
        for make in makers_for(dtype, LAYOUTS).values():
            check_gram(make(x), exact=True)


@pytest.mark.parametrize("dtype", ["f4", "c8", "i4", "f2"])
def test_out(dtype):
    for shape in [(33, 17), (2, 40, 9), (2000, 20)]:
        x = small_integers(shape, dtype)
        n = shape[-1]
        for make in makers_for(dtype, WRITABLE).values():
            out = make(np.zeros((*shape[:-2], n, n), dtype))
            around = outside(out)
            assert check_gram(x, exact=True, out=out) is out
            assert outside(out) == around
    x = small_integers((30, 30), dtype)
    expected = fm.linalg.gram(x)
    same(fm.linalg.gram(x, out=x), expected)
    y = small_integers((30, 30), "f4")
    out = np.zeros((30, 30), "f8")
    assert (fm.linalg.gram(y, out=out) == fm.linalg.gram(y)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_stay_in_their_columns(bad):
    for m in (40, 2000):
        x = normal((m, 20), "f8")
        x[7, 3] = bad
        result = fm.linalg.gram(x)
        rest = np.arange(20) != 3
        assert not np.isfinite(result[3]).any()
        assert np.isfinite(result[rest][:, rest]).all()


def test_errors():
    with pytest.raises(ValueError, match=r"a has shape \(3,\)"):
        fm.linalg.gram(np.ones(3))
    with pytest.raises(TypeError, match="a has dtype"):
        fm.linalg.gram(np.ones((3, 3), "g"))
    out = np.full((2, 2), 7.0)
    with pytest.raises(ValueError, match="out has shape"):
        fm.linalg.gram(np.ones((3, 3)), out=out)
    with pytest.raises(TypeError, match="cannot be cast"):
        fm.linalg.gram(np.ones((3, 2), complex), out=out)
    assert (out == 7).all()
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fm.linalg.gram(np.ones((3, 2)), out=out)


def check_step(a, q, **keywords):
    """Two products: the errors of the first are terms of the second."""
    wide = np.result_type(a.dtype, q.dtype, "f8")
    dtype = np.result_type(a.dtype, q.dtype)
    first = oracles.matmul(np.asarray(a).astype(wide), np.asarray(q).astype(wide))
    value = oracles.matmul(adjoint(np.asarray(a)).astype(first.value.dtype), first.value).value
    magnitude = np.abs(adjoint(a)).astype("f8") @ np.asarray(first.magnitude, "f8")
    with unmodified(a, q):
        result = fm.linalg.power_step(a, q, **keywords)
    assert result.shape == q.shape
    allowed = product_bound(Product(value, magnitude, sum(a.shape), dtype))
    assert (np.abs(result - value) <= allowed).all()
    return result


STEPS = [(1, 1, 1), (5, 3, 2), (7, 40, 1), (100, 33, 30), (3000, 17, 5), (1000, 531, 40)]
STEPS += [(0, 4, 3), (4, 0, 3), (4, 3, 0), (50, 300, 100), (397, 701, 33), (20_000, 10, 3)]


@pytest.mark.parametrize("dtype", FLOATS)
def test_power_step(dtype):
    for m, n, few in STEPS:
        check_step(normal((m, n), dtype), normal((n, few), dtype, 1))


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_layouts_of_power_step(dtype):
    a, q = normal((60, 41), dtype), normal((41, 7), dtype, 1)
    expected = fm.linalg.power_step(a, q)
    for key, make in makers_for(dtype, LAYOUTS).items():
        result = check_step(make(a), make(q))
        assert key.startswith("broadcast") or bits(result) == bits(expected)
    for make in makers_for(dtype, WRITABLE).values():
        out = make(np.zeros((41, 7), dtype))
        around = outside(out)
        assert check_step(a, q, out=out) is out
        assert outside(out) == around
        assert bits(out) == bits(expected)
    same(fm.linalg.power_step(a, q, out=q), expected)


def test_power_step_promotes():
    a = np.arange(6).reshape(3, 2)
    assert (fm.linalg.power_step(a, np.eye(2)) == a.T @ a).all()
    assert fm.linalg.power_step(np.eye(2, dtype="f4"), np.eye(2, dtype="c8")).dtype == "c8"


def test_errors_of_power_step():
    with pytest.raises(ValueError, match="must be as many as the rows of q"):
        fm.linalg.power_step(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="wants 2 dimensions"):
        fm.linalg.power_step(np.ones((3, 2)), np.ones(2))
    with pytest.raises(TypeError, match="q has dtype float16"):
        fm.linalg.power_step(np.ones((3, 2)), np.ones((2, 2), "f2"))


@njit
def compiled_gram(a):
    return fm.linalg.gram(a)


@njit
def compiled_gram_into(a, out):
    return fm.linalg.gram(a, out=out)


@njit
def compiled_step(a, q):
    return fm.linalg.power_step(a, q)


@njit
def compiled_step_into(a, q, out):
    return fm.linalg.power_step(a, q, out=out)


@pytest.mark.usefixtures("overloads")
@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_in_njit(dtype):
    for shape in [(50, 7), (2000, 20), (2, 3, 40, 5), (0, 3), (2, 0, 3)]:
        a = normal(shape, dtype)
        expected = fm.linalg.gram(a)
        assert bits(compiled_gram(a)) == bits(expected)
        out = np.empty_like(expected)
        compiled_gram_into(a, out)
        assert bits(out) == bits(expected)
    a, q = normal((60, 41), dtype), normal((41, 7), dtype, 1)
    expected = fm.linalg.power_step(a, q)
    assert bits(compiled_step(a[:, ::1], q)) == bits(expected)
    compiled_step_into(a, q, q)
    assert bits(q) == bits(expected)
    square = normal((9, 9), dtype)
    expected = fm.linalg.gram(square)
    compiled_gram_into(square, square)
    assert bits(square) == bits(expected)
    i = small_integers((9, 4), "i8")
    assert (compiled_gram(i) == i.T @ i).all()


@pytest.mark.usefixtures("overloads")
def test_errors_in_njit():
    with pytest.raises(errors.TypingError, match="gram wants 2 or more"):
        compiled_gram(np.ones(3))
    with pytest.raises(ValueError, match="out has another shape"):
        compiled_gram_into(np.ones((3, 2)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="as many as the rows of q"):
        compiled_step(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(errors.TypingError, match="power_step wants 2"):
        compiled_step(np.ones((3, 2)), np.ones(3))
