"""`fm.transpose` and `fm.matrix_transpose` inside the user's own ``@njit`` functions."""

import numpy as np
import oracles
import pytest
from layouts import WRITABLE, outside, read_only, unmodified
from numba import njit, prange
from numba.core.errors import TypingError
from products import any_bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def transpose(x):
    return fm.transpose(x)


@njit
def transpose_axes(x, axes):
    return fm.transpose(x, axes)


@njit
def transpose_into(x, axes, out):
    return fm.transpose(x, axes, out)


@njit
def transpose_to(x, out):
    return fm.transpose(x, out=out)


@njit
def transpose_literal(x):
    return fm.transpose(x, (2, 0, -2), None)


@njit
def matrix_transpose(x):
    return fm.matrix_transpose(x)


@njit
def matrix_transpose_into(x, out):
    return fm.matrix_transpose(x, out)


@njit(parallel=True)
def transpose_each(x, out):
    for i in prange(len(x)):
        fm.transpose(x[i], None, out[i])


def same(result, expected):
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["?", "u2", "i4", "f4", "f8", "c16", "M8[s]"])
def test_dtypes(dtype):
    x = any_bits((37, 21), "i1" if dtype == "?" else dtype).view(dtype)
    same(transpose(x), oracles.transpose(x))


def test_axes():
    x = any_bits((5, 6, 70), "f4")
    with unmodified(x):
        same(transpose(x), oracles.transpose(x))
        for axes in [(0, 1, 2), (1, 0, 2), (-1, 0, 1), (0, 2, 1)]:
            same(transpose_axes(x, axes), oracles.transpose(x, axes))
        same(transpose_literal(x), oracles.transpose(x, (2, 0, 1)))
        same(matrix_transpose(x), oracles.matrix_transpose(x))


def test_axes_of_mixed_integer_types():
    @njit
    def mixed(x, axis):
        return fm.transpose(x, (axis, np.int8(0)))

    x = any_bits((3, 4), "f4")
    same(mixed(x, -1), oracles.transpose(x))


def test_any_number_of_dimensions():
    for shape in [(), (7,), (2, 3, 1, 2, 2, 2, 3, 2, 2, 2)]:
        x = any_bits(shape, "i4")
        same(np.asarray(transpose(x)), oracles.transpose(x))
    same(transpose_axes(x, tuple(range(10))), x)
    x = any_bits((7,), "i4")
    same(transpose_axes(x, 0), x)
    same(transpose(any_bits((0, 3), "f8")), np.empty((3, 0)))


@pytest.mark.parametrize("layout", ["f_order", "sliced", "negative", "unaligned", "record"])
def test_layouts(layout):
    x = WRITABLE[layout](any_bits((40, 37), "f8"))
    out = WRITABLE[layout](np.zeros((37, 40)))
    around = outside(out)
    with unmodified(x):
        same(transpose(x), oracles.transpose(x))
        transpose_to(x, out)
    same(np.array(out), oracles.transpose(x))
    assert outside(out) == around


def test_read_only():
    x = read_only(any_bits((40, 37), "f4"))
    same(transpose(x), oracles.transpose(x))


def test_out():
    x, out = any_bits((5, 6, 70), "f4"), np.empty((6, 70, 5), "f4")
    assert transpose_into(x, (1, 2, 0), out).ctypes.data == out.ctypes.data
    same(out, oracles.transpose(x, (1, 2, 0)))
    out = np.empty((5, 70, 6), "f4")
    matrix_transpose_into(x, out)
    same(out, oracles.matrix_transpose(x))
    out = np.empty((70, 6, 5), "f4")
    transpose_into(x, None, out)
    same(out, oracles.transpose(x))


def test_in_place():
    for n in (1, 7, 64, 131):
        x = any_bits((n, n), "f8")
        expected = oracles.transpose(x)
        transpose_to(x, x)
        same(x, expected)
    x = any_bits((3, 40, 40), "f8")
    expected = oracles.matrix_transpose(x)
    matrix_transpose_into(x, x)
    same(x, expected)
    x = any_bits((9, 9, 9), "f8")
    for axes in [(2, 1, 0), (1, 2, 0), (0, 1, 2)]:
        expected = oracles.transpose(x, axes)
        transpose_into(x, axes, x)
        same(x, expected)


def test_out_overlaps_x():
    base = any_bits((100,), "f8")
    x, out = base[:64].reshape(8, 8), base[10:74].reshape(8, 8)
    expected = oracles.transpose(x)
    transpose_to(x, out)
    same(out, expected)


def test_inside_prange():
    x, out = any_bits((20, 300, 40), "f8"), np.empty((20, 40, 300))
    transpose_each(x, out)
    same(out, oracles.matrix_transpose(x))


@pytest.mark.parametrize("axes", [(0, 0), (0, 2), (-3, 0)])
def test_bad_axes(axes):
    out = np.zeros((3, 2))
    with pytest.raises(ValueError, match="axes must be a permutation of the 2 axes of x"):
        transpose_into(np.ones((2, 3)), axes, out)
    assert not out.any()


def test_bad_shape_of_out():
    out = np.zeros((2, 3))
    with pytest.raises(ValueError, match="out has another shape than the result"):
        transpose_into(np.ones((2, 3)), None, out)
    assert not out.any()


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (transpose, (3.0,), "x is of type float64"),
        (transpose, (np.zeros((2, 2), "S3"),), "items of 3 bytes"),
        (transpose_axes, (np.ones((2, 3)), (0,)), "axes has 1 items; x has 2 dimensions"),
        (transpose_axes, (np.ones((2, 3)), (0.0, 1.0)), "must be a tuple of integers"),
        (transpose_to, (np.ones((2, 3)), 1), "out is of type int64"),
        (transpose_to, (np.ones((2, 3)), np.ones((3, 2), "f4")), "out has dtype float32"),
        (transpose_to, (np.ones((2, 3)), np.ones(6)), "out has 1 dimensions; the result has 2"),
        (transpose_to, (np.ones((2, 3)), read_only(np.ones((3, 2)))), "out is read-only"),
        (matrix_transpose, (np.ones(3),), "matrix_transpose wants 2 or more"),
    ],
)
def test_wrong_types(function, arguments, message):
    with pytest.raises(TypingError, match=message):
        function(*arguments)
