"""`fm.linalg.cholesky`, i.e. linalg.cholesky: backward errors, layouts, failures, njit."""

import numpy as np
import pytest
from layouts import LAYOUTS, makers_for, unmodified
from numba import njit
from numba.core import errors
from products import bits, normal

import fastmat as fm

DTYPES = ["f4", "f8", "c8", "c16"]
SHAPES = [(1, 1), (2, 2), (5, 5), (63, 63), (64, 64), (65, 65), (131, 131), (300, 300)]
SHAPES += [(40, 3, 3), (15, 4, 4), (16, 4, 4), (3, 17, 17), (2, 3, 16, 16), (33, 16, 16)]
SHAPES += [(0, 0), (0, 3, 3), (5, 0, 0), (20, 1, 1)]


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def definite(shape, dtype, seed=0):
    x = normal((*shape[:-1], shape[-1] + 2), dtype, seed)
    return (x @ adjoint(x)).astype(dtype)


def check(x, upper=False, given=None):
    """The factor is that of a matrix within (n + 1) eps |L||L|ᴴ (Higham, theorem 10.3).

    Complex operations are off by sqrt(8) times as much as real ones (lemma 3.5), for which the
    factor of 4 is. The oracle's product is in long double.
    """
    n = x.shape[-1]
    given = x if given is None else given
    with unmodified(given):
        result = fm.linalg.cholesky(given, upper=upper)
    assert result.dtype == x.dtype.newbyteorder("=")
    assert result.shape == x.shape
    lower = adjoint(result) if upper else result
    lower = lower.astype("G" if x.dtype.kind == "c" else "g")
    assert (np.triu(lower, 1) == 0).all()
    diagonal = np.diagonal(lower, axis1=-2, axis2=-1)
    assert ((diagonal.real > 0) & (diagonal.imag == 0)).all()
    bound = 4 * (n + 1) * np.finfo(x.dtype).eps * (np.abs(lower) @ np.abs(adjoint(lower)))
    assert (np.abs(lower @ adjoint(lower) - x) <= bound).all()
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [False, True])
def test_shapes(dtype, upper):
    for shape in SHAPES:
        check(definite(shape, dtype), upper)


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_layouts(dtype):
    for shape in [(70, 70), (20, 5, 5), (2, 3, 20, 20)]:
        x = definite(shape, dtype)
        expected = fm.linalg.cholesky(x)
        for key, make in makers_for(dtype, LAYOUTS).items():
            if not key.startswith("broadcast"):
                assert bits(check(make(x))) == bits(expected)
    item = definite((4, 4), dtype)
    stack = np.broadcast_to(item, (20, 4, 4))
    assert (check(stack) == check(stack)[0]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [False, True])
def test_other_triangle_is_not_read(dtype, upper):
    for shape in [(20, 20), (100, 100), (30, 5, 5)]:
        x = definite(shape, dtype)
        kept = np.tri(shape[-1], dtype=bool)
        junk = np.where(kept.T if upper else kept, x, np.nan).astype(dtype)
        check(x, upper, junk)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [-16, 16, -120, 120])
def test_graded_matrices(dtype, exponent):
    """Scaled by powers of 2, symmetrically, the factor is just scaled."""
    n = 80
    if np.finfo(dtype).bits == 32:
        exponent //= 4
    powers = 2.0 ** np.round(np.linspace(0, exponent, n))
    x = definite((n, n), dtype)
    scaled = (x * powers[:, None] * powers).astype(dtype)
    assert bits(fm.linalg.cholesky(scaled)) == bits(
        (fm.linalg.cholesky(x) * powers[:, None]).astype(dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [False, True])
def test_failures_name_the_minor_and_the_item(dtype, upper):
    for n in (1, 7, 70, 150):
        for minor in {1, n // 2 + 1, n}:
            x = np.eye(n, dtype=dtype)
            x[minor - 1, minor - 1] = -1
            with pytest.raises(np.linalg.LinAlgError, match=rf"x is not .* order {minor} is"):
                fm.linalg.cholesky(x, upper=upper)
    for n in (3, 20):
        stack = np.tile(np.eye(n, dtype=dtype), (5, 7, 1, 1))
        stack[2, 3, 1, 1] = np.nan
        stack[4, 3, 0, 0] = 0
        with pytest.raises(ValueError, match=r"x\[2, 3\] is not .* order 2 is"):
            fm.linalg.cholesky(stack, upper=upper)


def test_semidefinite_matrices_fail():
    with pytest.raises(np.linalg.LinAlgError, match="order 2"):
        fm.linalg.cholesky(np.ones((70, 70)))


def test_integers_and_errors():
    assert fm.linalg.cholesky(np.array([[4, 2], [2, 5]])).tolist() == [[2, 0], [1, 2]]
    for shape in [(3,), (2, 3), ()]:
        with pytest.raises(ValueError, match="square"):
            fm.linalg.cholesky(np.ones(shape))
    with pytest.raises(TypeError, match="x has dtype float16"):
        fm.linalg.cholesky(np.ones((2, 2), "f2"))


@njit
def compiled(x, upper):
    return fm.linalg.cholesky(x, upper=upper)


@pytest.mark.usefixtures("overloads")
@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_in_njit(dtype):
    for shape in [(5, 5), (130, 130), (2, 3, 4, 4), (40, 4, 4), (0, 0)]:
        x = definite(shape, dtype)
        for upper in (False, True):
            assert bits(compiled(x, upper)) == bits(fm.linalg.cholesky(x, upper=upper))


@pytest.mark.usefixtures("overloads")
def test_errors_in_njit():
    stack = np.tile(np.eye(3), (5, 7, 1, 1))
    stack[2, 3, 1, 1] = -1
    with pytest.raises(np.linalg.LinAlgError, match=r"x\[2, 3\] is not .* order 2 is"):
        compiled(stack, False)
    with pytest.raises(np.linalg.LinAlgError, match=r"x is not .* order 2 is"):
        compiled(stack[2, 3], True)
    with pytest.raises(ValueError, match="square"):
        compiled(np.ones((2, 3)), False)
    with pytest.raises(errors.TypingError, match="cholesky wants 2 or more"):
        compiled(np.ones(3), False)
