"""`fm.softmax`, `log_softmax` and `logsumexp`: shapes, axes, values and infinities.

Memory layouts, `out` and errors are in `test_softmax_layouts.py`.
"""

import numba
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from normals import near
from oracles import BFLOAT16, DTYPES, FLOATS, name
from products import bits
from softmaxes import OPS, SAME_SHAPE, check, check_all, expectation, spread

import fastmat as fm

REAL = [dtype for dtype in DTYPES if dtype.kind != "c"]
AXES_OF = {
    (1,): [0, -1, None, ()],
    (2,): [0, None],
    (7,): [-1],
    (5, 3): [0, 1, None, (0, 1), ()],
    (13, 17): [0, 1, None],
    (2, 3, 4): [0, 1, 2, (0, 1), (0, 2), (1, 2), (-1, 0), None],
    (7, 1, 11): [0, 1, -1, (0, 2)],
    (3, 2, 2, 3, 5): [0, 2, -1, (0, 2, 4), (1, 3), (0, 1, 3), (2, 3), None],
    (65, 33): [0, 1, None],
    (64, 3, 64): [0, 1, 2, (0, 2)],
}


@pytest.mark.parametrize("dtype", REAL, ids=name)
def test_shapes_and_axes(dtype):
    """First, middle and last, several at once, scattered ones, all and none."""
    for shape, choices in AXES_OF.items():
        for axis in choices:
            check_all(spread(shape, dtype), axis)


@pytest.mark.parametrize("op", OPS)
def test_axis_is_the_last_by_default(op):
    x = spread((3, 4, 5), "f8")
    assert bits(getattr(fm, op)(x)) == bits(getattr(fm, op)(x, 2))
    assert bits(getattr(fm, op)(x, axis=[0, 1])) == bits(getattr(fm, op)(x, (0, 1)))


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8"], ids=name)
def test_many_short_groups(dtype):
    for shape in [(5000, 8), (1000, 3), (300, 33)]:
        x = spread(shape, dtype)
        for axis in (0, 1):
            check_all(x, axis)
            check_all(np.array(x.T), axis)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8"], ids=name)
@pytest.mark.parametrize(
    "n", [31, 32, 33, 63, 64, 65, 255, 257, 1023, 1024, 1025, 4095, 4096, 4097]
)
def test_numbers_at_the_edges_of_blocks(dtype, n):
    x = spread((3, n), dtype)
    check_all(x, 1)
    check_all(np.array(x.T), 0)
    check_all(spread((3, n, 2), dtype), 1)
    check_all(spread((3, n, 2), dtype), (0, 1))
    check_all(spread((2, 2, n), dtype), (0, 2))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_neighbouring_groups_at_the_edges_of_blocks(dtype):
    for groups in (31, 32, 33, 63, 64, 65, 127, 128, 129):
        for shape in [(7, groups), (2, 40, groups), (groups, 40), (groups, 3)]:
            check_all(spread(shape, dtype), -2)
            check_all(spread(shape, dtype), -1)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_few_long_groups(dtype):
    for shape in [(70_001,), (2, 65_537), (2, 65_535), (2, 65_536), (70_001, 2)]:
        check_all(spread(shape, dtype), int(np.argmax(shape)))
        check_all(spread(shape, dtype), None)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_all_edges(dtype):
    edges = sorted({side + d for side in (1, 8, 32, 64, 128, 256, 1024) for d in (-1, 0, 1)} - {0})
    for m in edges:
        for n in edges:
            for axis in (0, 1):
                check_all(spread((m, n), dtype), axis)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_empty(dtype):
    """No numbers, and groups without numbers, whose logsumexp is -inf."""
    for shape, axis in [((0,), -1), ((0, 3), 0), ((0, 3), 1), ((3, 0), 1), ((2, 0, 3), (0, 2))]:
        check_all(spread(shape, dtype), axis)
    assert fm.logsumexp(np.empty((0, 3), dtype), 0).tolist() == [-np.inf] * 3
    assert fm.logsumexp(np.empty(0, dtype)) == -np.inf


def test_numbers_without_axes():
    for x in (3, 3.0, np.float32(3), np.array(3.0), True, np.float16(3)):
        for axis in (None, ()):
            assert check("softmax", x, axis) == 1
            assert check("log_softmax", x, axis) == 0
            assert check("logsumexp", x, axis) == x


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_keepdims(dtype):
    x = spread((3, 4, 5), dtype)
    for axis in (0, 1, -1, (0, 2), None, ()):
        kept = check("logsumexp", x, axis, keepdims=True)
        assert np.ndim(kept) == 3
        assert bits(kept) == bits(check("logsumexp", x, axis))


@pytest.mark.parametrize("op", OPS)
def test_as_scipy(op):
    x = spread((6, 50), "f8")
    for axis in (0, 1, None, (0, 1)):
        expected = getattr(scipy.special, op)(x, axis=axis)
        np.testing.assert_allclose(getattr(fm, op)(x, axis), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_numbers_far_apart(dtype):
    """Exponentials of every size, down to those that are subnormal, and 0."""
    for n in (20, 500, 5000):
        x = np.linspace(-800, 50, 3 * n, dtype=dtype).reshape(3, n)
        for axis in (0, 1, None):
            check_all(x, axis)
            check_all(x[:, ::-1], axis)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_numbers_of_any_size(dtype):
    """Nothing overflows."""
    largest = float(np.finfo(dtype).max)
    for scale in (1e-30, 1e4, 1e30, largest / 64):
        for shape in [(3, 20), (20, 3), (2, 5000), (1100, 2)]:
            x = (spread(shape, dtype) * dtype_of(dtype)(scale)).astype(dtype)
            for axis in (0, 1):
                check_all(x, axis)
    x = np.array([-largest, largest, 0], dtype)
    assert fm.softmax(x).tolist() == [0, 1, 0]
    assert fm.logsumexp(x) == largest


def dtype_of(code):
    return np.dtype(code).type


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_equal_numbers(dtype):
    for n in (1, 2, 64, 4096, 8192):
        for value in (0, -7.5, 300):
            x = np.full((2, n), value, dtype)
            for axis, rows in ((1, x), (0, np.array(x.T))):
                assert (np.asarray(fm.softmax(rows, axis), "f8") == 1 / n).all()
                check_all(rows, axis)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(3, 7), (7, 100), (3, 5000), (2, 70_001)])
def test_results_add_up_to_one(dtype, shape):
    x = spread(shape, dtype)
    for axis in (0, 1):
        result = fm.softmax(x, axis)
        assert ((result >= 0) & (result <= 1)).all()
        _, bound, _ = expectation("softmax", x, axis)
        error = np.abs(np.sum(result.astype("g"), axis) - 1)
        assert (error <= np.sum(bound, axis)).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(6, 9), (70, 40), (3, 9000)])
def test_a_constant_changes_nothing(dtype, shape):
    """softmax(x + c) has the bits of softmax(x) where x + c is exact."""
    x = np.round(spread(shape, dtype) * 16) / 16
    assert x.dtype == dtype
    for axis in (0, 1):
        for c in (1, -100, 1024):
            for op in SAME_SHAPE:
                assert bits(getattr(fm, op)(x + c, axis)) == bits(getattr(fm, op)(x, axis))
            moved = fm.logsumexp(x + c, axis)
            value, bound, _ = expectation("logsumexp", x + c, axis)
            near(moved, value, bound)


# One group of each path: a chunk or less, several of a piece, pieces; and the same across.
LENGTHS = [1, 2, 7, 64, 1000, 1025, 4096, 4097, 9000, 70_001]


def both_ways(rows):
    """The rows as groups along the last axis, and across it."""
    return [(rows, 1), (np.array(rows.T), 0)]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_and_inf_make_their_group_nan(dtype, bad, n):
    for place in (0, n // 2, n - 1):
        rows = spread((3, n), dtype)
        clean = rows.copy()
        clean[1] = 0
        rows[1, place] = bad
        for (x, axis), (y, _) in zip(both_ways(rows), both_ways(clean), strict=True):
            for op in SAME_SHAPE:
                found, plain = (np.moveaxis(getattr(fm, op)(z, axis), axis, 1) for z in (x, y))
                assert np.isnan(found[1]).all()
                assert bits(found[::2]) == bits(plain[::2])
            found, plain = fm.logsumexp(x, axis), fm.logsumexp(y, axis)
            np.testing.assert_equal(found[1], dtype_of(dtype)(bad))
            assert bits(found[::2]) == bits(plain[::2])


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_beside_infinities(dtype, n):
    """NaN wins over both, wherever they are."""
    for first, second in [(np.nan, np.inf), (np.nan, -np.inf), (np.inf, -np.inf)]:
        for places in [(0, n - 1), (n - 1, 0), (n // 2, 0)]:
            rows = spread((2, n), dtype)
            rows[1, places[1]] = second
            rows[1, places[0]] = first
            for x, axis in both_ways(rows):
                check_all(x, axis)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_groups_of_minus_infinity(dtype, n):
    """As in PyTorch: NaN, and the logarithm of 0."""
    rows = spread((3, n), dtype)
    rows[1] = -np.inf
    for x, axis in both_ways(rows):
        check_all(x, axis)
        for op in SAME_SHAPE:
            assert np.isnan(np.moveaxis(getattr(fm, op)(x, axis), axis, 1)[1]).all()
        assert fm.logsumexp(x, axis)[1] == -np.inf


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_runs_of_minus_infinity(dtype):
    """They count for nothing, even if a chunk or a piece of a group consists of them."""
    for n, runs in [
        (10, [(0, 9), (1, 10), (3, 7)]),
        (1500, [(0, 256), (256, 512), (1300, 1500), (0, 1499), (1, 1500)]),
        (9000, [(0, 4096), (4096, 8192), (8192, 9000), (0, 8192), (4096, 9000), (0, 8999)]),
        (140_000, [(0, 65_536), (65_536, 131_072), (131_072, 140_000), (65_000, 140_000)]),
    ]:
        for first, last in runs:
            rows = spread((2, n), dtype)
            rows[1, first:last] = -np.inf
            for x, axis in both_ways(rows):
                check_all(x, axis)
                result = np.moveaxis(fm.softmax(x, axis), axis, 1)[1, first:last]
                assert bits(result) == bits(np.zeros_like(result))
                assert (
                    np.moveaxis(fm.log_softmax(x, axis), axis, 1)[1, first:last] == -np.inf
                ).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(6, 9), (70, 40), (130, 7), (5, 5000), (3, 70_001)])
def test_groups_do_not_influence_each_other(dtype, shape):
    """Whatever stands in another group, the bits of this one stay."""
    x = spread(shape, dtype)
    other = x.copy()
    other[1::2] = 1e30
    for op in OPS:
        function = getattr(fm, op)
        assert bits(function(other)[::2]) == bits(function(x)[::2])
        turned = (np.array(part.T) for part in (other, x))
        found, plain = (np.moveaxis(function(part, 0), -1, 0)[::2] for part in turned)
        assert bits(found) == bits(plain)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_same_bits_at_any_number_of_threads(dtype):
    for shape, axis in [
        ((5000, 8), 1),
        ((300, 300), 0),
        ((300, 300), 1),
        ((40, 3, 5000), (0, 2)),
        ((1500, 70), 0),
        ((200_000,), 0),
        ((3, 90_000), 1),
    ]:
        x = spread(shape, dtype)
        for op in OPS:
            found = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                found.add(bits(getattr(fm, op)(x, axis)))
            assert len(found) == 1


def test_no_warnings():
    """Neither of overflow nor of dividing by 0 (pytest makes errors of them here)."""
    with np.errstate(all="raise"):
        for x in ([1e300, -1e300], [-np.inf] * 2, [np.inf, np.nan], [0.0, -745.0]):
            for op in OPS:
                getattr(fm, op)(x)


numbers = st.floats(-200, 200, width=32) | st.sampled_from([np.inf, -np.inf, np.nan, 0.0, -0.0])


@st.composite
def calls(draw):
    """An array of any shape up to four axes, and an axis."""
    shape = tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)))
    axes = st.lists(st.integers(0, len(shape) - 1), unique=True, max_size=3).map(tuple)
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1) | axes)
    size = int(np.prod(shape))
    items = draw(st.lists(numbers, min_size=min(size, 40), max_size=min(size, 40)))
    return np.resize(np.array(items, "f8"), shape) if size else np.empty(shape), axis


@given(calls(), st.sampled_from(["f2", "f4", "f8"]), st.sampled_from("CF"))
def test_random_calls(call, dtype, order):
    x, axis = call
    check_all(np.array(x, dtype, order=order), axis)


@given(calls(), st.booleans())
def test_random_calls_of_logsumexp(call, keepdims):
    check("logsumexp", *call, keepdims=keepdims)
