"""`fm.linalg.solve_triangular`, i.e. linalg.solve_triangular: backward errors, layouts, njit."""

import numpy as np
import pytest
import scipy.linalg
from layouts import LAYOUTS, SAME_VALUES, WRITABLE, makers_for, outside, unmodified
from numba import njit
from numba.core import errors
from products import bits, normal

import fastmat as fm

DTYPES = ["f4", "f8", "c8", "c16"]
# Few and many right-hand sides; blocks of columns (128) and of rows (16 to 128), and around them.
SHAPES = [
    (1, 1),
    (3, 5),
    (17, 31),
    (33, 100),
    (127, 129),
    (128, 40),
    (129, 1),
    (300, 50),
    (20, 9000),
]


def triangular(n, dtype, seed=0):
    """A matrix of which both triangles are well-conditioned."""
    return (normal((n, n), dtype, seed) / (2 * n) + np.eye(n) * 1.5).astype(dtype)


def check(a, b, lower=False, trans=0, unit=False, **keywords):
    """|op(A) x - b| <= (n + 4) eps |A||x| (Higham, theorem 8.5), four times for complex numbers."""
    with unmodified(a, b):
        x = fm.linalg.solve_triangular(
            a, b, lower=lower, trans=trans, unit_diagonal=unit, **keywords
        )
    dtype = np.result_type(a.dtype, b.dtype)
    assert x.dtype == dtype
    assert x.shape == b.shape
    wide = np.dtype("G" if dtype.kind == "c" else "g")
    op = np.tril(a) if lower else np.triu(a)
    op = op.astype(wide)
    if unit:
        np.fill_diagonal(op, 1)
    op = {0: op, 1: op.T, 2: op.conj().T}[trans]
    n, room = len(a), 4 if dtype.kind == "c" else 1
    bound = room * (n + 4) * np.finfo(dtype).eps * (np.abs(op) @ np.abs(x.astype(wide)))
    assert (np.abs(op @ x.astype(wide) - b) <= bound).all()
    return x


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(dtype):
    for n, k in SHAPES:
        check(triangular(n, dtype), normal((n, k), dtype))
        check(triangular(n, dtype), normal((n,), dtype), lower=True)
    for n, k in [(0, 3), (3, 0), (0, 0)]:
        assert fm.linalg.solve_triangular(np.ones((n, n)), np.ones((n, k))).shape == (n, k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1, 2])
@pytest.mark.parametrize("unit", [False, True])
def test_systems(dtype, lower, trans, unit):
    a, b = triangular(40, dtype), normal((40, 20), dtype)
    x = check(a, b, lower, trans, unit)
    options = {"lower": lower, "trans": trans, "unit_diagonal": unit}
    expected = scipy.linalg.solve_triangular(a, b, **options)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e3 * np.finfo(dtype).eps)
    options["trans"] = "NTC"[trans]
    assert bits(fm.linalg.solve_triangular(a, b, **options)) == bits(x)
    kept = np.tri(40, k=-1 if unit else 0, dtype=bool)
    junk = np.where(kept if lower else kept.T, a, np.nan).astype(dtype)
    assert bits(fm.linalg.solve_triangular(junk, b, **options)) == bits(x)


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_layouts(dtype):
    a, b = triangular(50, dtype), normal((50, 30), dtype)
    expected = fm.linalg.solve_triangular(a, b)
    for make in makers_for(dtype, SAME_VALUES).values():
        assert bits(check(make(a), make(b))) == bits(expected)
    check(a, LAYOUTS["broadcast"](b))
    for make in makers_for(dtype, WRITABLE).values():
        out = make(np.zeros((50, 30), dtype))
        around = outside(out)
        assert fm.linalg.solve_triangular(a, b, out=out) is out
        assert outside(out) == around
        assert bits(out) == bits(expected)
    fm.linalg.solve_triangular(a, b, out=b)
    assert bits(b) == bits(expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [-100, 100, -1000, 1000])
def test_scaled_by_powers_of_two(dtype, power):
    """Nothing overflows or underflows that need not."""
    power = power // 9 if np.finfo(dtype).bits == 32 else power
    a, b = triangular(30, dtype), normal((30, 5), dtype)
    x = fm.linalg.solve_triangular(a, b)
    scaled = (a * 2.0**power).astype(dtype)
    assert bits(fm.linalg.solve_triangular(scaled, (b * 2.0**power).astype(dtype))) == bits(x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_do_not_influence_each_other(dtype):
    a, b = triangular(30, dtype), normal((30, 300), dtype)
    clean = fm.linalg.solve_triangular(a, b)
    b[7, 5], b[9, 200] = np.nan, np.inf
    found = fm.linalg.solve_triangular(a, b)
    rest = ~np.isin(np.arange(300), (5, 200))
    assert bits(found[:, rest]) == bits(clean[:, rest])
    assert np.isnan(found[7, 5])


def test_dtypes_and_errors():
    a = np.array([[2, 1], [0, 4]])
    assert fm.linalg.solve_triangular(a, [4, 8]).tolist() == [1, 2]
    assert fm.linalg.solve_triangular(a.astype("f4"), np.ones(2, "c8")).dtype == "c8"
    with pytest.raises(np.linalg.LinAlgError, match="0 at index 1"):
        fm.linalg.solve_triangular(np.diag([1.0, 0, 0]), np.ones(3))
    assert fm.linalg.solve_triangular(np.zeros((2, 2)), [1, 2], unit_diagonal=True).tolist() == [
        1,
        2,
    ]
    for shapes in [((2, 3), (2,)), ((2, 2), (3,)), ((2, 2), (2, 2, 2)), ((2,), (2,)), ((2, 2), ())]:
        with pytest.raises(ValueError, match="solve_triangular wants"):
            fm.linalg.solve_triangular(*map(np.ones, shapes))
    with pytest.raises(ValueError, match="trans is 3"):
        fm.linalg.solve_triangular(a, [1, 2], trans=3)
    with pytest.raises(TypeError, match="b has dtype float16"):
        fm.linalg.solve_triangular(a, np.ones(2, "f2"))
    out = np.full(3, 7.0)
    with pytest.raises(ValueError, match="out has shape"):
        fm.linalg.solve_triangular(a, [1, 2], out=out)
    with pytest.raises(np.linalg.LinAlgError, match="0 at index 0"):
        fm.linalg.solve_triangular(np.zeros((3, 3)), np.ones(3), out=out)
    assert (out == 7).all()


@njit
def compiled(a, b, lower, trans, unit):
    return fm.linalg.solve_triangular(a, b, lower=lower, trans=trans, unit_diagonal=unit)


@njit
def compiled_into(a, b, out):
    return fm.linalg.solve_triangular(a, b, out=out)


@pytest.mark.usefixtures("overloads")
@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_in_njit(dtype):
    a = triangular(30, dtype)
    for b in (normal((30,), dtype), normal((30, 5), dtype)):
        for lower in (False, True):
            for trans in (0, 1, 2):
                for unit in (False, True):
                    options = {"lower": lower, "trans": trans, "unit_diagonal": unit}
                    expected = fm.linalg.solve_triangular(a, b, **options)
                    assert bits(compiled(a, b, lower, trans, unit)) == bits(expected)
        expected = fm.linalg.solve_triangular(a, b)
        compiled_into(a, b, b)
        assert bits(b) == bits(expected)


@pytest.mark.usefixtures("overloads")
def test_errors_in_njit():
    with pytest.raises(np.linalg.LinAlgError, match="0 at index 1"):
        compiled(np.diag(np.array([1.0, 0, 0])), np.ones(3), False, 0, False)
    with pytest.raises(ValueError, match="solve_triangular wants"):
        compiled(np.ones((2, 3)), np.ones(2), False, 0, False)
    with pytest.raises(ValueError, match="trans must be"):
        compiled(np.eye(2), np.ones(2), False, 3, False)
    with pytest.raises(ValueError, match="out has another shape"):
        compiled_into(np.eye(2), np.ones(2), np.ones(3))
    with pytest.raises(errors.TypingError, match="solve_triangular wants 2"):
        compiled(np.ones(2), np.ones(2), False, 0, False)
