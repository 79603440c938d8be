"""Masked fills and submatrices inside the user's own ``@njit`` functions."""

import fill_oracles as oracles
import numpy as np
import pytest
from layouts import WRITABLE, outside, read_only, unmodified
from numba import njit, prange
from numba.core.errors import TypingError
from products import any_bits, normal
from test_masked import mask_of, same_bits
from test_submatrix import selections

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def fill(x, mask, value):
    return fm.masked_fill(x, mask, value)


@njit
def fill_into(x, mask, value, out):
    return fm.masked_fill(x, mask, value, out=out)


@njit
def keep(x, rows, cols):
    return fm.mask_rows_cols(x, rows, cols)


@njit
def keep_into(x, rows, cols, value, out):
    return fm.mask_rows_cols(x, rows, cols, value, out=out)


@njit
def take(x, rows, cols):
    return fm.take_submatrix(x, rows, cols)


@njit
def take_into(x, rows, cols, out):
    return fm.take_submatrix(x, rows, cols, out=out)


@njit
def put(x, rows, cols, values):
    return fm.put_submatrix(x, rows, cols, values)


@njit
def fill_vjp(cotangent, mask):
    return fm.masked_fill_vjp(cotangent, mask)


@njit
def fill_vjp_of(cotangent, mask, value):
    return fm.masked_fill_vjp(cotangent, mask, value)


@njit
def fill_vjp_shaped(cotangent, mask, value, shape, out):
    return fm.masked_fill_vjp(cotangent, mask, value, shape=shape, out=out)


@njit
def keep_vjp(cotangent, rows, cols):
    return fm.mask_rows_cols_vjp(cotangent, rows, cols)


@njit
def take_vjp(cotangent, rows, cols, shape):
    return fm.take_submatrix_vjp(cotangent, rows, cols, shape)


@njit
def take_vjp_into(cotangent, rows, cols, shape, out):
    return fm.take_submatrix_vjp(cotangent, rows, cols, shape, out=out)


@pytest.mark.parametrize("dtype", ["?", "u1", "f8", "c16", "M8[s]"])
def test_dtypes(dtype):
    x, mask = any_bits((37, 21), "i1" if dtype == "?" else dtype).view(dtype), mask_of((37, 21))
    with unmodified(x, mask):
        same_bits(fill(x, mask, x[0]), oracles.masked_fill(x, mask, x[0]))
        rows, cols = selections(37)["shuffled"], selections(21)["mask"]
        same_bits(take(x, rows, cols), oracles.take_submatrix(x, rows, cols))
    if dtype != "M8[s]":
        same_bits(fill(x, mask, True), oracles.masked_fill(x, mask, True))
        same_bits(keep(x, mask[:, 0], mask[0]), oracles.mask_rows_cols(x, mask[:, 0], mask[0]))
    expected = oracles.put_submatrix(x, rows, cols, x[0, 0:1])
    same_bits(put(x.copy(), rows, cols, x[0, 0:1]), expected)


@pytest.mark.parametrize(
    ("x", "mask", "value"),
    [((5, 7, 9), (7, 1), ()), ((7, 1), (5, 7, 9), (9,)), ((4, 3), (), (4, 1)), ((0, 3), (3,), ())],
)
def test_shapes_broadcast(x, mask, value):
    x, mask, value = any_bits(x, "f4"), mask_of(mask), any_bits(value, "f4", 1)
    expected = oracles.masked_fill(x, np.asarray(mask), value)
    same_bits(fill(x, np.asarray(mask), value), expected)
    out = np.zeros(expected.shape, "f4")
    assert fill_into(x, np.asarray(mask), value, out).ctypes.data == out.ctypes.data
    same_bits(out, expected)


@pytest.mark.parametrize("layout", ["sliced", "unaligned"])
def test_layouts(layout):
    maker = WRITABLE[layout]
    x, mask, out = maker(any_bits((40, 37), "f8")), mask_of((40, 37)), maker(np.zeros((40, 37)))
    rows, cols, around = selections(40)["repeated"], selections(37)["steps"], outside(out)
    with unmodified(x, mask):
        same_bits(fill(x, mask, 1), oracles.masked_fill(x, mask, 1))
        fill_into(x, mask, 2, out)
        same_bits(out, oracles.masked_fill(x, mask, 2))
        keep_into(x, None, mask[0], 3, out)
        same_bits(out, oracles.mask_rows_cols(x, None, mask[0], 3))
        same_bits(take(x, rows, cols), oracles.take_submatrix(x, rows, cols))
    assert outside(out) == around
    expected = oracles.put_submatrix(x, rows, cols, 4)
    around = outside(x)
    put(x, rows, cols, 4)
    same_bits(x, expected)
    assert outside(x) == around


def test_read_only_and_order():
    x, mask = read_only(any_bits((40, 37), "f4")), read_only(mask_of((40, 37)))
    same_bits(fill(x, mask, 0), oracles.masked_fill(x, mask, 0))
    same_bits(keep(x, mask[:, 0], None), oracles.mask_rows_cols(x, mask[:, 0], None))
    rows = read_only(selections(40)["sorted"])
    same_bits(take(x, rows, mask[0]), oracles.take_submatrix(x, rows, mask[0]))
    x = np.asfortranarray(x)
    assert fill(x, mask, 0).flags.f_contiguous
    assert take(x, rows, mask[0]).flags.f_contiguous


@pytest.mark.parametrize("kind", ["all", "steps", "mask", "repeated"])
def test_selections(kind):
    x = any_bits((3, 20, 30), "i4")
    rows, cols = selections(20)[kind], selections(30, 1)
    for c in (cols["slice"], cols["shuffled"], cols["none"]):
        expected = oracles.take_submatrix(x, rows, c)
        same_bits(take(x, rows, c), expected)
        values = any_bits(expected.shape, "i4", 1)
        same_bits(put(x.copy(), rows, c, values), oracles.put_submatrix(x, rows, c, values))
        g = normal(expected.shape, "f4")
        same_bits(take_vjp(g, rows, c, x.shape), fm.take_submatrix_vjp(g, rows, c, x.shape))
    out = np.zeros((3, len(oracles.indices(rows, 20)), 30), "i8")
    take_into(x, rows, None, out)
    np.testing.assert_array_equal(out, oracles.take_submatrix(x, rows, None))


def test_many_repeated_indices():
    x, rows = any_bits((90, 7), "f8"), np.random.default_rng(1).integers(-90, 90, 300)
    values = any_bits((300, 7), "f8", 1)
    expected = oracles.put_submatrix(x, rows, None, values)
    same_bits(put(x.copy(), rows, None, values), expected)


def test_out_overlaps():
    base = any_bits((500,), "f8")
    x, out = base[:400].reshape(20, 20), base[50:450].reshape(20, 20)
    mask = mask_of((20, 20))
    expected = oracles.masked_fill(x, mask, 1)
    fill_into(x, mask, 1, out)
    same_bits(out, expected)
    expected = oracles.masked_fill(x, mask, x[::-1])
    fill_into(x, mask, x[::-1], x)
    same_bits(x, expected)
    expected = oracles.take_submatrix(x, slice(None, None, -1), mask[0] | True)
    take_into(x, slice(None, None, -1), mask[0] | True, out)
    same_bits(out, expected)
    expected = oracles.put_submatrix(x, None, slice(None, None, -1), x)
    put(x, None, slice(None, None, -1), x)
    same_bits(x, expected)
    flags = mask_of((9,))
    fill_into(flags, flags, False, flags)
    assert not flags.any()


def test_gradients():
    for dtype in ("f4", "c16"):
        g, mask, value = normal((9, 70), dtype), mask_of((70,)), normal((9, 1), dtype)
        found, expected = fill_vjp(g, mask), fm.masked_fill_vjp(g, mask)
        assert found.value is None
        same_bits(found.x, expected.x)
        found, expected = fill_vjp_of(g, mask, value), fm.masked_fill_vjp(g, mask, value)
        same_bits(found.value, expected.value)
        found, expected = fill_vjp_of(g, mask, 1.0), fm.masked_fill_vjp(g, mask, 1.0)
        assert found.value == expected.value
        out = np.zeros((1, 70), dtype)
        found = fill_vjp_shaped(g, mask, None, (1, 70), out)
        same_bits(out, fm.masked_fill_vjp(g, mask, shape=(1, 70)).x)
        same_bits(keep_vjp(g, mask[:9], mask), fm.mask_rows_cols_vjp(g, mask[:9], mask))
        rows, out = selections(9)["repeated"], np.full((9, 70), 7, dtype)
        expected = fm.take_submatrix_vjp(np.vstack((g, g[:3])), rows, None, (9, 70))
        take_vjp_into(np.vstack((g, g[:3])), rows, None, (9, 70), out)
        same_bits(out, expected)


def test_in_a_parallel_loop():
    @njit(parallel=True)
    def each(x, mask, rows, out):
        for i in prange(len(x)):
            kept = fm.mask_rows_cols(fm.masked_fill(x[i], mask, 0), mask[0], None)
            out[i] = fm.take_submatrix(kept, rows, rows)

    x, mask, rows = any_bits((40, 60, 60), "f4"), mask_of((60, 60)), np.arange(59, -1, -2)
    out = np.empty((40, 30, 30), "f4")
    each(x, mask, rows, out)
    for i in range(40):
        kept = oracles.mask_rows_cols(oracles.masked_fill(x[i], mask, 0), mask[0], None)
        same_bits(out[i], oracles.take_submatrix(kept, rows, rows))


def test_bytes_of_masks_other_than_one():
    mask = np.array([0, 1, 2, 128, 255], np.uint8).view(bool)
    x = np.arange(25.0).reshape(5, 5)
    same_bits(take(x, mask, None), x[1:])
    same_bits(keep(x, mask, None), np.vstack((0 * x[:1], x[1:])))


def test_errors_when_it_runs():
    x, mask, out = np.ones((3, 4)), np.ones((3, 4), bool), np.full((3, 4), 7.0)
    wrong = [
        (lambda: fill_into(x, mask[:2], 0, out), ValueError, "do not broadcast"),
        (lambda: fill_into(x, mask, 0, out[:2]), ValueError, "out has another shape"),
        (lambda: fill(x.astype("u1"), mask, 256), OverflowError, "value is out of range for uint8"),
        (lambda: keep_into(x, mask[0], None, 0, out), ValueError, "row_mask has a shape"),
        (lambda: keep_into(x, None, mask[0, :3], 0, out), ValueError, "col_mask has a shape"),
        (lambda: take_into(x, None, mask[0, :3], out), IndexError, "cols is a mask of another"),
        (lambda: take_into(x, mask[:, 0], None, out[:2]), ValueError, "out has another shape"),
        (lambda: put(out, None, None, np.ones((2, 4))), ValueError, "values has a shape"),
        (lambda: take_vjp(x, [0] and np.array([0]), None, (3, 4)), ValueError, "cotangent has"),
        (lambda: fill_vjp(x, mask[:2]), ValueError, "mask has a shape"),
        (lambda: fill_vjp_of(x, mask, np.ones(3)), ValueError, "value has a shape"),
    ]
    for call, error, message in wrong:
        with pytest.raises(error, match=message):
            call()
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("indices", "place", "index"),
    [(np.array([0, 5, 9]), 1, 5), (np.array([-4, -5], "i1"), 1, -5), (np.array([7], "u8"), 0, 7)],
)
def test_the_first_bad_index_is_named(indices, place, index):
    x = np.ones((4, 4))
    for call in (lambda: take(x, None, indices), lambda: put(x, None, indices, 0)):
        with pytest.raises(IndexError) as error:
            call()
        message, *numbers = error.value.args
        assert message.startswith("cols has an index out of range")
        assert numbers == [place, index, -4, 3]
    assert (x == 1).all()


def test_errors_when_it_is_compiled():
    x, mask = np.ones((3, 4)), np.ones((3, 4), bool)
    wrong = [
        (lambda: fill(1.0, mask, 0), "x is of type float64; it must be an array"),
        (lambda: fill(x, x, 0), "mask is of type .* it must be an array of bool"),
        (lambda: fill(x.astype("i4"), mask, 0.5), "value is of type float64, which cannot be cast"),
        (lambda: fill(x, mask, x * 1j), "value has dtype complex128, which cannot be cast"),
        (lambda: fill_into(x, mask, 0, read_only(x)), "out is read-only"),
        (lambda: fill_into(x, mask, 0, x[0]), "out has 1 dimensions; the result has 2"),
        (lambda: fill_into(x, mask, 0, x.astype("i8")), "out has dtype int64"),
        (lambda: fill(np.ones((1,) * 9), mask, 0), "x has 9 dimensions"),
        (lambda: keep(x[0], None, None), "x has 1 dimensions; it must have 2 or more"),
        (lambda: keep(x, mask, None), "row_mask has 2 dimensions"),
        (lambda: keep_into(x, None, None, x, x), "fill is of type .* it must be a number"),
        (lambda: take(x, 1, None), "rows is of type .* it must be a slice, a 1-D array"),
        (lambda: take(x, None, x[0]), "cols is of type"),
        (lambda: put(read_only(x), None, None, 0), "x is read-only"),
        (lambda: put(x, None, None, x[None]), "values has 3 dimensions; x has 2"),
        (lambda: take_vjp(x, None, None, (3,)), "shape is of type"),
        (lambda: fill_vjp_of(x, mask, x[None]), "value has 3 dimensions; the cotangent has 2"),
    ]
    for call, message in wrong:
        with pytest.raises(TypingError, match=message):
            call()
