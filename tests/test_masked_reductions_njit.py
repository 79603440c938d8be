"""Masked reductions and their gradients inside the user's own ``@njit`` functions."""

import masked_oracles
import numba
import numpy as np
import pytest
from layouts import LAYOUTS, unmodified
from masked_oracles import PLACES, REDUCTIONS
from masks import compare, function, marks, poisoned
from normals import near, values
from numba import njit, prange
from numba.core.errors import TypingError
from products import bits, same

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


def compiled(axis, keepdims=False):
    """All reductions over an axis, which is a constant for Numba."""

    @njit
    def reductions(x, mask):
        return (
            fm.masked_sum(x, mask, axis, keepdims),
            fm.masked_mean(x, mask, axis, keepdims),
            fm.masked_var(x, mask, axis, keepdims),
            fm.masked_std(x, mask, axis, keepdims),
            fm.masked_min(x, mask, axis, keepdims, initial=1),
            fm.masked_max(x, mask, axis, keepdims, initial=1),
            fm.masked_count(x, mask, axis, keepdims),
        )

    @njit
    def places(x, mask):
        first = fm.masked_argmin(x, mask, axis, keepdims)
        return first, fm.masked_argmax(x, mask, axis, keepdims)

    return reductions, places


FUNCTIONS = {axis: compiled(axis) for axis in (0, -1, (0, -1), None)}
KEPT = compiled(0, True)


@njit
def few(x, mask):
    """One of each kind, which takes a while to compile for each type of array."""
    return fm.masked_sum(x, mask, 0), fm.masked_mean(x, mask), fm.masked_argmin(x, mask)


def check_few(x, mask):
    """Hold those against the oracles."""
    with unmodified(x, mask):
        total, mean, place = few(x, mask)
    compare(total, masked_oracles.reduce("sum", x, mask, 0))
    expected = masked_oracles.reduce("mean", x, mask)
    compare(np.asarray(mean, expected.dtype), expected)
    assert place == masked_oracles.place("argmin", x, mask)


def check(axis, x, mask, functions=None, keepdims=False):
    """Hold what compiled code returns against the oracles."""
    reductions, places = functions or FUNCTIONS[axis]
    with unmodified(x, mask):
        found = reductions(x, mask)
    for op, result in zip(REDUCTIONS, found, strict=True):
        start = {"initial": 1} if op in ("min", "max") else {}
        expected = masked_oracles.reduce(op, x, mask, axis, keepdims, **start)
        assert np.ndim(result) == 0 or result.dtype == expected.dtype
        compare(np.asarray(result, expected.dtype), expected)
    if np.ndim(axis) == 0 and np.broadcast_to(mask, x.shape).any(axis).all():
        for op, result in zip(PLACES, places(x, mask), strict=True):
            np.testing.assert_array_equal(result, masked_oracles.place(op, x, mask, axis, keepdims))


@pytest.mark.parametrize("axis", FUNCTIONS, ids=str)
def test_axes_of_two_dimensions(axis):
    for shape in [(5, 3), (64, 65), (8, 5000), (1100, 7)]:
        mask = marks(shape)
        check(axis, poisoned(values(shape, "f4"), mask), mask)


@pytest.mark.parametrize("dtype", ["f8", "i4", "u1", "u8", "?"])
def test_dtypes(dtype):
    for shape in [(5, 30), (70, 300)]:
        mask = marks(shape)
        check(0, poisoned(values(shape, dtype), mask), mask)


def test_complex_numbers():
    @njit
    def sums(x, mask):
        return fm.masked_sum(x, mask, 0), fm.masked_mean(x, mask, 0), fm.masked_var(x, mask, 0)

    for dtype in ("c8", "c16"):
        x, mask = values((30, 40), dtype), marks((30, 40))
        for op, result in zip(("sum", "mean", "var"), sums(x, mask), strict=True):
            compare(result, masked_oracles.reduce(op, x, mask, 0))


@pytest.mark.parametrize("shape", [(7, 40, 5), (2, 3, 4, 5)])
def test_dimensions(shape):
    mask = marks(shape)
    x = poisoned(values(shape, "f4"), mask)
    check_few(x, mask)
    check_few(np.asfortranarray(x), mask)


def test_masks_that_broadcast():
    for shape, small in [
        ((9, 70), (70,)),
        ((9, 70), (9, 1)),
        ((6, 5, 4), (5, 1)),
        ((2, 3, 4, 5), (3, 1, 5)),
    ]:
        mask = marks(small)
        check_few(poisoned(values(shape, "f4"), mask), mask)


@pytest.mark.parametrize(
    "layout", sorted(set(LAYOUTS) - {"unaligned", "packed_record", "byte_swapped"})
)
def test_layouts(layout):
    x, mask = LAYOUTS[layout](values((9, 35), "f4")), marks((9, 35))
    check_few(x, mask)
    check_few(x, LAYOUTS["sliced"](mask))
    check_few(x, np.broadcast_to(mask[:1], (9, 35)))


def test_same_bits_as_from_python():
    for shape in [(300, 700), (5000, 8)]:
        x, mask = values(shape, "f4"), marks(shape)
        for axis in (0, -1, None):
            for op, result in zip(REDUCTIONS, FUNCTIONS[axis][0](x, mask), strict=True):
                start = {"initial": 1} if op in ("min", "max") else {}
                wanted = function(op)(x, mask, axis, **start)
                assert bits(np.asarray(result, np.asarray(wanted).dtype)) == bits(wanted)


def test_keepdims_and_empty():
    for shape in [(5, 30), (0, 3), (3, 0)]:
        mask = np.ones(shape, bool)
        check(0, values(shape, "f4"), mask, KEPT, keepdims=True)
        check(0, values(shape, "f4"), mask)


def test_scalars_initial_and_correction():
    @njit
    def numbers(x, mask, start):
        return (
            fm.masked_sum(x, mask, initial=start),
            fm.masked_max(x, mask, initial=start),
            fm.masked_var(x, mask, correction=1),
            fm.masked_argmin(x, mask),
        )

    x, mask = values((5, 6), "f8"), marks((5, 6))
    found = numbers(x, mask, 1000.0)
    assert isinstance(found[0], float)
    assert found[1] == 1000.0
    assert found[0] == fm.masked_sum(x, mask, initial=1000.0)
    assert found[2] == fm.masked_var(x, mask, correction=1)
    assert found[3] == fm.masked_argmin(x, mask)


def test_nothing_valid():
    @njit
    def least(x, mask):
        return fm.masked_min(x, mask, 1)

    @njit
    def place(x, mask):
        return fm.masked_argmax(x, mask, 1)

    x, mask = values((3, 4), "f4"), marks((3, 4))
    same(least(x, mask), fm.masked_min(x, mask, 1))
    mask[1] = False
    with pytest.raises(ValueError, match="initial="):
        least(x, mask)
    with pytest.raises(ValueError, match="mask is False"):
        place(x, mask)
    means = FUNCTIONS[-1][0](x, mask)[1]
    assert list(np.isnan(means)) == [False, True, False]


def test_out():
    @njit
    def into(x, mask, out):
        return fm.masked_mean(x, mask, 0, out=out)

    x, mask = values((40, 30), "f4"), marks((40, 30))
    for out in (np.zeros(30, "f4"), np.zeros(60)[::2]):
        result = into(x, mask, out)
        assert result.ctypes.data == out.ctypes.data
        assert bits(out.astype("f4")) == bits(fm.masked_mean(x, mask, 0))
    expected = fm.masked_mean(x, mask, 0)
    into(x, mask, x[3])
    assert bits(x[3]) == bits(expected)
    with pytest.raises(ValueError, match="out"):
        into(x, mask, np.zeros(31, "f4"))
    with pytest.raises(TypingError, match="out has dtype"):
        into(x, mask, np.zeros(30, "i4"))


@njit
def gradients(x, mask, g):
    return (
        fm.masked_sum_vjp(g, x, mask, 1),
        fm.masked_mean_vjp(g, x, mask, 1),
        fm.masked_var_vjp(g, x, mask, 1, correction=1),
        fm.masked_std_vjp(g, x, mask, 1),
        fm.masked_min_vjp(g, x, mask, fm.masked_min(x, mask, 1, initial=99), 1),
        fm.masked_max_vjp(g, x, mask, fm.masked_max(x, mask, 1, initial=-99), 1),
    )


def test_gradients():
    """As from Python, which other tests hold against formulas and differences."""
    for dtype in ("f4", "f8"):
        for shape in [(5, 30), (300, 70), (3, 5000)]:
            x, mask, g = values(shape, dtype), marks(shape), values(shape[:1], dtype, 3)
            x[0, 0], mask[0, 0] = np.nan, False
            least = fm.masked_min(x, mask, 1, initial=99)
            largest = fm.masked_max(x, mask, 1, initial=-99)
            wanted = (
                fm.masked_sum_vjp(g, x, mask, 1),
                fm.masked_mean_vjp(g, x, mask, 1),
                fm.masked_var_vjp(g, x, mask, 1, correction=1),
                fm.masked_std_vjp(g, x, mask, 1),
                fm.masked_min_vjp(g, x, mask, least, 1),
                fm.masked_max_vjp(g, x, mask, largest, 1),
            )
            for result, expected in zip(gradients(x, mask, g), wanted, strict=True):
                assert result.dtype == expected.dtype
                eps = 8 * np.finfo(dtype).eps
                near(result, expected.astype("f8"), eps * np.abs(expected))


def test_gradients_of_all_numbers_into_out():
    @njit
    def into(x, mask, out):
        return fm.masked_mean_vjp(2.0, x, mask, out=out)

    x, mask = values((40, 30), "f4"), marks((40, 30))
    expected = fm.masked_mean_vjp(2.0, x, mask)
    out = np.zeros((40, 30), "f4")
    assert bits(into(x, mask, out)) == bits(expected)
    assert bits(into(x, mask, x)) == bits(expected)
    row = marks((30,))
    assert bits(into(x, row, out)) == bits(fm.masked_mean_vjp(2.0, x, row))


def test_in_a_parallel_loop():
    @njit(parallel=True)
    def many(x, mask, out):
        for i in prange(x.shape[0]):
            out[i] = fm.masked_var(x[i], mask[i])

    for shape in [(9, 6, 5), (9, 70, 600)]:
        x, mask = values(shape, "f4"), marks(shape)
        expected = np.stack([fm.masked_var(a, m) for a, m in zip(x, mask, strict=True)])
        for threads in (1, 2, 8):
            numba.set_num_threads(threads)
            out = np.empty(9, "f4")
            many(x, mask, out)
            assert bits(out) == bits(expected)


def test_wrong_types_do_not_compile():
    @njit
    def total(x, mask):
        return fm.masked_sum(x, mask)

    @njit
    def least(x, mask):
        return fm.masked_min(x, mask)

    @njit
    def along(x, mask, axis):
        return fm.masked_mean(x, mask, axis)

    @njit
    def places(x, mask):
        return fm.masked_argmin(x, mask, (0, 1))

    x, mask = np.ones((4, 3)), np.ones((4, 3), bool)
    for bad, message in [
        (np.ones((4, 3), int), "mask has dtype"),
        (1.0, "mask is of type"),
        (np.ones((2, 4, 3), bool), "mask has 3 dimensions"),
    ]:
        with pytest.raises(TypingError, match=message):
            total(x, bad)
    with pytest.raises(ValueError, match="mask does not broadcast"):
        total(x, np.ones((3, 3), bool))
    with pytest.raises(TypingError, match="x has dtype"):
        total(np.ones((4, 3), "M8[s]"), mask)
    with pytest.raises(TypingError, match="must be real"):
        least(x * 1j, mask)
    with pytest.raises(TypingError, match="axis must be a constant"):
        along(x, mask, 1)
    with pytest.raises(TypingError, match="axis is"):
        places(x, mask)
