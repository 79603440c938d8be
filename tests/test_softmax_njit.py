"""`fm.softmax`, `log_softmax` and `logsumexp` inside the user's own ``@njit`` functions."""

import numba
import numpy as np
import pytest
from layouts import LAYOUTS, unmodified
from normals import near
from numba import njit, prange
from numba.core.errors import TypingError
from products import bits
from softmaxes import OPS, expectation, spread

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")

COMPILED = ("f_order", "sliced", "negative")  # kinds of array types
# Along which axes, and what of it a test compiles: literals of every kind.
AXES = [0, -1, (0,), (0, -1), None]


def compiled(axis):
    """The three operations over an axis, which is a constant for Numba."""

    @njit
    def function(x):
        return fm.softmax(x, axis), fm.log_softmax(x, axis), fm.logsumexp(x, axis)

    return function


FUNCTIONS = {axis: compiled(axis) for axis in AXES}


@njit
def by_default(x):
    return fm.softmax(x), fm.log_softmax(x), fm.logsumexp(x)


@njit
def into(x, first, second, third):
    return (
        fm.softmax(x, 0, first),
        fm.log_softmax(x, axis=0, out=second),
        fm.logsumexp(x, 0, out=third),
    )


def check(function, x, axis):
    """Each result is the oracle's within the bound, and x is as it was."""
    with unmodified(x):
        results = function(x)
    for op, result in zip(OPS, results, strict=True):
        value, bound, dtype = expectation(op, x, axis)
        assert np.ndim(result) == value.ndim
        if value.ndim:
            assert result.dtype == dtype
            assert result.flags.c_contiguous
        near(result, value, bound)
    return results


def as_from_python(results, x, axis):
    """The bits of the call from Python."""
    for op, result in zip(OPS, results, strict=True):
        expected = getattr(fm, op)(x, axis)
        assert bits(np.asarray(result, expected.dtype)) == bits(expected), op


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_axes_of_two_dimensions(axis):
    for shape in [(1, 1), (5, 3), (64, 65), (8, 5000), (1100, 7), (2, 70_001)]:
        x = spread(shape, "f4")
        as_from_python(check(FUNCTIONS[axis], x, axis), x, axis)


@pytest.mark.parametrize("dtype", ["f8", "i4", "?"])
def test_dtypes(dtype):
    for shape in [(5, 3), (8, 5000)]:
        x = spread(shape, dtype)
        as_from_python(check(FUNCTIONS[-1], x, -1), x, -1)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((50,), 0),
        ((50,), None),
        ((7, 40, 5), 0),
        ((7, 40, 5), -1),
        ((7, 40, 5), (0, -1)),
        ((7, 40, 5), None),
        ((3, 4, 5, 6), 0),
        ((3, 4, 5, 6), (0, -1)),
        ((2, 3, 4, 5, 6), 0),
        ((2, 3, 4, 5, 6), -1),
        ((2, 3, 4, 5, 6), None),
    ],
)
def test_dimensions(shape, axis):
    x = spread(shape, "f4")
    as_from_python(check(FUNCTIONS[axis], x, axis), x, axis)


@pytest.mark.parametrize("axis", [1, (0, 1), (0, 2, 3), (1, 2)], ids=str)
def test_axes_in_the_middle(axis):
    function, x = compiled(axis), spread((3, 7, 4, 5), "f4")
    as_from_python(check(function, x, axis), x, axis)


def test_axis_left_out():
    x = spread((5, 40), "f4")
    as_from_python(check(by_default, x, -1), x, -1)


@pytest.mark.parametrize(
    "layout", sorted(set(LAYOUTS) - {"unaligned", "packed_record", "byte_swapped"})
)
def test_layouts(layout):
    for shape in [(9, 35), (3, 5000)]:
        for axis in (0, -1):
            x = LAYOUTS[layout](spread(shape, "f4"))
            check(FUNCTIONS[axis], x, axis)


@pytest.mark.parametrize("layout", COMPILED)
def test_layouts_of_many_dimensions(layout):
    """The axes of one slot of the kernel are joined, which takes a copy of some of these."""
    for shape, axis in [((7, 40, 5), (0, -1)), ((2, 3, 4, 5, 6), -1), ((2, 3, 4, 5, 6), None)]:
        check(FUNCTIONS[axis], LAYOUTS[layout](spread(shape, "f4")), axis)


def test_empty():
    for shape in [(0, 3), (3, 0)]:
        for axis in (0, -1):
            check(FUNCTIONS[axis], np.empty(shape, "f4"), axis)
    assert by_default(np.empty(0, "f4"))[2] == -np.inf


def test_infinities_and_nan():
    x = spread((7, 40), "f4")
    x[1], x[2, 3], x[3, 4], x[4, 5] = -np.inf, np.inf, np.nan, -np.inf
    for axis in (0, -1):
        check(FUNCTIONS[axis], x, axis)


def test_keepdims():
    @njit
    def kept(x):
        return fm.logsumexp(x, 0, True), fm.logsumexp(x, None, keepdims=True)

    x = spread((5, 40), "f4")
    for result, axis in zip(kept(x), (0, None), strict=True):
        expected = fm.logsumexp(x, axis, keepdims=True)
        assert result.shape == expected.shape
        assert bits(result) == bits(expected)


def test_logsumexp_of_all_is_a_scalar():
    result = FUNCTIONS[None](spread((5, 3), "f8"))[2]
    assert isinstance(result, float)


@pytest.mark.parametrize("layout", ["c_order", "f_order", "sliced", "negative"])
def test_out(layout):
    maker, x = LAYOUTS[layout], spread((40, 30), "f4")
    outs = maker(np.full((40, 30), 7, "f4")), np.full((40, 30), 7, "f4"), np.full(30, 7, "f4")
    results = into(x, *outs)
    for op, out, result in zip(OPS, outs, results, strict=True):
        assert result.ctypes.data == out.ctypes.data
        assert bits(result) == bits(out) == bits(getattr(fm, op)(x, 0))


def test_out_none_and_of_another_dtype():
    @njit
    def explicit(x):
        return (
            fm.softmax(x, 0, None),
            fm.log_softmax(x, 0, out=None),
            fm.logsumexp(x, 0, False, None),
        )

    x = spread((40, 30), "f4")
    as_from_python(explicit(x), x, 0)
    outs = np.full((40, 30), 7.0), np.full((40, 30), 7.0), np.full(30, 7.0)
    into(x, *outs)
    as_from_python([out.astype("f4") for out in outs], x, 0)
    double = spread((40, 30), "f8")
    narrow = np.full((40, 30), 7, "f4"), np.full((40, 30), 7, "f4"), np.full(30, 7, "f4")
    into(double, *narrow)
    for op, out in zip(OPS, narrow, strict=True):
        assert bits(out) == bits(getattr(fm, op)(double, 0).astype("f4"))


def test_out_of_many_dimensions():
    """Where the kernel wants joined axes, and where it does not."""

    @njit
    def all_of(x, out):
        return fm.softmax(x, -1, out)

    x = spread((2, 3, 4, 5, 6), "f4")
    for layout in ("c_order", "f_order", "sliced"):
        out = LAYOUTS[layout](np.full(x.shape, 7, "f4"))
        assert bits(all_of(x, out)) == bits(fm.softmax(x))
    a = x.copy()
    all_of(a, a)
    assert bits(a) == bits(fm.softmax(x))


def test_in_place_and_overlapping():
    """The result is as if out shared nothing with x."""

    @njit
    def first(x, out):
        return fm.softmax(x, 0, out)

    @njit
    def second(x, out):
        return fm.log_softmax(x, -1, out)

    for function, op, axis in [(first, "softmax", 0), (second, "log_softmax", -1)]:
        for shape in [(9, 9), (70, 70), (1100, 3), (3, 9000)]:
            x = spread(shape, "f4")
            expected = getattr(fm, op)(x, axis)
            a = x.copy()
            function(a, a)
            assert bits(a) == bits(expected)
            memory = np.concatenate([x, x])
            rows = shape[0]
            expected = getattr(fm, op)(memory[:rows].copy(), axis)
            function(memory[:rows], memory[1 : rows + 1])
            assert bits(memory[1 : rows + 1]) == bits(expected)
            expected = getattr(fm, op)(memory[2 : rows + 2].copy(), axis)
            function(memory[2 : rows + 2], memory[1 : rows + 1])
            assert bits(memory[1 : rows + 1]) == bits(expected)
        square = spread((70, 70), "f4")
        value, bound, _ = expectation(op, square.T.copy(), axis)
        function(square.T, square)
        near(square, value, bound)


def test_out_of_logsumexp_overlaps_x():
    @njit
    def function(x, out):
        return fm.logsumexp(x, 0, out=out)

    for row in (0, 39):
        x = spread((40, 30), "f4")
        expected = fm.logsumexp(x.copy(), 0)
        function(x, x[row])
        assert bits(x[row]) == bits(expected)


def test_in_a_parallel_loop():
    """The kernels run serially inside the user's prange, with the same bits."""

    @njit(parallel=True)
    def many(x, out):
        sums = np.empty(x.shape[0], x.dtype)
        for i in prange(x.shape[0]):
            fm.softmax(x[i], 0, out[i])
            out[i] += fm.log_softmax(x[i], -1)
            sums[i] = fm.logsumexp(x[i], None)
        return sums

    for shape in [(9, 6, 5), (9, 70, 600)]:
        x = spread(shape, "f4")
        expected = np.stack([fm.softmax(part, 0) + fm.log_softmax(part) for part in x])
        sums = np.stack([fm.logsumexp(part, None) for part in x])
        for threads in (1, 2, 8):
            numba.set_num_threads(threads)
            out = np.empty_like(x)
            assert bits(many(x, out)) == bits(sums)
            assert bits(out) == bits(expected)


def test_in_a_parallel_function():
    @njit(parallel=True)
    def function(x):
        return fm.softmax(x + 1, -1) * 2

    x = spread((100, 600), "f4")
    assert bits(function(x)) == bits(fm.softmax(x + np.float32(1)) * np.float32(2))


def test_wrong_shape_of_out_raises_at_run_time():
    """And out is not touched."""
    x = spread((4, 3), "f4")
    good = np.full((4, 3), 7, "f4"), np.full((4, 3), 7, "f4"), np.full(3, 7, "f4")
    for place, shape in [(0, (3, 4)), (0, (4, 4)), (0, (0, 3)), (1, (4, 2)), (2, (4,)), (2, (0,))]:
        outs = list(good)
        outs[place] = np.full(shape, 7, "f4")
        with pytest.raises(ValueError, match="out"):
            into(x, *outs)
        assert (outs[place] == 7).all()


@pytest.mark.parametrize("op", OPS)
def test_wrong_types_do_not_compile(op):
    """The message names the argument, and says what is wrong with it."""
    function, good = getattr(fm, op), np.ones((4, 3))

    @njit
    def plain(x):
        return function(x)

    for bad in (1.0, "text", (1, 2), np.ones((3, 3), "M8[s]"), np.ones((3, 3), "U3")):
        with pytest.raises(TypingError, match=r"x (is|has)"):
            plain(bad)
    for dtype in ("c8", "c16"):
        with pytest.raises(TypingError, match=r"x has dtype .* must be real"):
            plain(np.ones((3, 3), dtype))

    @njit
    def along(x, axis):
        return function(x, axis)

    for axis in (1, (0, 1), 1.0):
        with pytest.raises(TypingError, match="axis must be a constant"):
            along(good, axis)

    @njit
    def with_out(x, out):
        return function(x, 0, out=out)

    read_only = np.ones((4, 3) if op != "logsumexp" else 3)
    read_only.flags.writeable = False
    for out, message in [
        (read_only, "out is read-only"),
        (np.ones((4, 3, 1)), "out has 3 dimensions"),
        (np.ones(()), "out has 0 dimensions"),
        (np.ones(read_only.shape, "i8"), "out has dtype int64"),
        (2.0, "out is of type"),
        ("out", "out is of type"),
    ]:
        with pytest.raises(TypingError, match=message):
            with_out(good, out)


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (2, "axis is .* out of range"),
        (-3, "axis is .* out of range"),
        ((0, 2), "axis is .* out of range"),
        ((0, 0), "axis is .* twice"),
        ((1, -1), "axis is .* twice"),
        (1.0, "axis must be a constant"),
        ("a", "axis must be a constant"),
    ],
    ids=str,
)
def test_wrong_axes_do_not_compile(axis, message):
    for op in ("softmax", "logsumexp"):
        with pytest.raises(TypingError, match=message):
            _along(getattr(fm, op), axis)(np.ones((4, 3)))


def _along(function, axis):
    @njit
    def along(x):
        return function(x, axis)

    return along


def test_axes_too_scattered_do_not_compile():
    with pytest.raises(TypingError, match="too scattered"):
        _along(fm.softmax, (1, 3))(np.ones((2, 2, 2, 2, 2)))


def test_keepdims_must_be_constant():
    @njit
    def kept(x, keepdims):
        return fm.logsumexp(x, 0, keepdims)

    with pytest.raises(TypingError, match="keepdims must be a constant"):
        kept(np.ones((4, 3)), True)


def test_array_without_axes():
    x = np.array(3.0)
    assert bits(_along(fm.softmax, None)(x)) == bits(fm.softmax(x, None))
    assert bits(_along(fm.log_softmax, None)(x)) == bits(fm.log_softmax(x, None))


def test_logsumexp_of_an_array_without_axes():
    assert _along(fm.logsumexp, None)(np.array(3.0)) == 3
