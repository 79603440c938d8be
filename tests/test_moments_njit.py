"""`fm.moments` and `fm.standardize` inside the user's own ``@njit`` functions."""

import normal_oracles
import numba
import numpy as np
import pytest
from layouts import LAYOUTS, unmodified
from normals import bound_of, near, values
from numba import njit, prange
from numba.core.errors import TypingError
from products import bits
from tolerances import moments_bounds

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")

AXES = [0, -1, (0,), (0, -1), None]


def compiled(axis):
    """The two operations over an axis, which is a constant for Numba."""

    @njit
    def function(x):
        return fm.moments(x, axis), fm.standardize(x, axis)

    return function


FUNCTIONS = {axis: compiled(axis) for axis in AXES}


@njit
def corrected(x, correction):
    return fm.moments(x, 0, correction, True), fm.standardize(x, 0, correction=correction)


@njit
def into(x, out):
    return fm.standardize(x, -1, out=out)


def check(results, x, axis, same, **keywords):
    """Near the oracle, and with the bits of the call from Python if both see the same arrays."""
    found, standardized = results
    assert found._fields == ("mean", "variance")
    options = {key: value for key, value in keywords.items() if key != "keepdims"}
    expected = normal_oracles.moments(x, axis, **keywords)
    plain = fm.moments(x, axis, **keywords)
    for part, value, bound, dtype, wanted in zip(
        found, expected[:2], moments_bounds(expected), expected.dtypes, plain, strict=True
    ):
        assert np.shape(part) == value.shape
        assert value.ndim == 0 or part.dtype == dtype
        near(part, value, bound)
        assert not same or bits(np.asarray(part, dtype)) == bits(wanted)
    expected = normal_oracles.standardize(x, axis, **options)
    assert standardized.dtype == expected.dtype
    near(standardized, expected.value, bound_of(expected))
    assert not same or bits(standardized) == bits(fm.standardize(x, axis, **options))


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_axes_of_two_dimensions(axis):
    for shape in [(5, 3), (64, 65), (8, 5000), (1100, 7), (2, 70_001)]:
        x = values(shape, "f4")
        with unmodified(x):
            results = FUNCTIONS[axis](x)
        check(results, x, axis, (np.ndim(axis) == 0 and axis is not None) or axis == (0,))


@pytest.mark.parametrize("dtype", ["f8", "i4", "?"])
def test_dtypes(dtype):
    for shape in [(5, 30), (8, 5000)]:
        x = values(shape, dtype)
        check(FUNCTIONS[-1](x), x, -1, True)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((50,), None),
        ((7, 40, 5), 0),
        ((7, 40, 5), (0, -1)),
        ((3, 4, 5, 6), -1),
        ((2, 3, 4, 5, 6), None),
        ((2, 3, 4, 5, 6), (0, -1)),
    ],
)
def test_dimensions(shape, axis):
    x = values(shape, "f4")
    check(FUNCTIONS[axis](x), x, axis, axis in (0, -1))
    x = np.asfortranarray(x)
    check(FUNCTIONS[axis](x), x, axis, False)


@pytest.mark.parametrize(
    "layout", sorted(set(LAYOUTS) - {"unaligned", "packed_record", "byte_swapped", "broadcast"})
)
def test_layouts(layout):
    if layout == "broadcast_last":  # equal numbers have no deviation
        pytest.skip("see test_equal_numbers")
    for shape in [(9, 35), (3, 5000)]:
        x = LAYOUTS[layout](values(shape, "f4"))
        check(FUNCTIONS[-1](x), x, -1, False)


def test_correction_and_keepdims():
    x = values((6, 5), "f4")
    for correction in (0, 1, 2):
        check(corrected(x, correction), x, 0, True, correction=correction, keepdims=True)
    check(corrected(x, 0.5), x, 0, True, correction=0.5, keepdims=True)


def test_scalars():
    mean, variance = FUNCTIONS[None](values((5, 3), "f8"))[0]
    assert isinstance(mean, float)
    assert isinstance(variance, float)


def test_empty():
    @njit
    def mean_of(x):
        return fm.moments(x, 0)

    for shape in [(0, 3), (3, 0)]:
        x = np.empty(shape, "f4")
        for part, expected in zip(mean_of(x), fm.moments(x, 0), strict=True):
            assert bits(part) == bits(expected)


def test_moments_of_an_array_without_axes():
    @njit
    def function(x):
        return fm.moments(x)

    assert function(np.array(3.0)) == (3, 0)


def test_equal_numbers():
    """NaN where all numbers of a group are equal, as from Python."""
    for x in (np.full((3, 5), 7, "f4"), np.array([[1, 2, 3], [4, 4, 4]], "f4")):
        result = FUNCTIONS[-1](x)[1]
        np.testing.assert_array_equal(result, fm.standardize(x, -1))


def test_correction_that_leaves_nothing_to_divide_by():
    x = np.ones((1, 3), "f4")
    found, standardized = corrected(x, 1)
    assert np.isnan(found.variance).all()
    assert np.isnan(standardized).all()


@pytest.mark.parametrize("layout", ["c_order", "f_order", "sliced"])
def test_out(layout):
    x = values((40, 30), "f4")
    out = LAYOUTS[layout](np.full((40, 30), 7, "f4"))
    result = into(x, out)
    assert result.ctypes.data == out.ctypes.data
    assert bits(out) == bits(result) == bits(fm.standardize(x, -1))


def test_out_of_another_dtype_in_place_and_overlapping():
    x = values((40, 30), "f4")
    out = np.full((40, 30), 7.0)
    into(x, out)
    assert bits(out.astype("f4")) == bits(fm.standardize(x, -1))
    a = x.copy()
    into(a, a)
    assert bits(a) == bits(fm.standardize(x, -1))
    for first, second in [(0, 1), (1, 0)]:
        memory = values((41, 30), "f4")
        a, out = memory[first : first + 40], memory[second : second + 40]
        expected = fm.standardize(a.copy(), -1)
        into(a, out)
        assert bits(out) == bits(expected)


def test_in_a_parallel_loop():
    @njit(parallel=True)
    def many(x, out):
        variances = np.empty(x.shape[0], x.dtype)
        for i in prange(x.shape[0]):
            fm.standardize(x[i], 0, out=out[i])
            variances[i] = fm.moments(x[i, 0]).variance
        return variances

    for shape in [(9, 6, 5), (9, 70, 600)]:
        x = values(shape, "f4")
        expected = np.stack([fm.standardize(part, 0) for part in x])
        variances = np.stack([fm.moments(part[0]).variance for part in x])
        for threads in (1, 2, 8):
            numba.set_num_threads(threads)
            out = np.empty_like(x)
            assert bits(many(x, out)) == bits(variances)
            assert bits(out) == bits(expected)


def test_wrong_shape_of_out_raises_at_run_time():
    for shape in [(3, 4), (4, 4), (0, 3)]:
        out = np.full(shape, 7, "f4")
        with pytest.raises(ValueError, match="out"):
            into(values((4, 3), "f4"), out)
        assert (out == 7).all()


@pytest.mark.parametrize("op", ["moments", "standardize"])
def test_wrong_types_do_not_compile(op):
    """The message names the argument, and says what is wrong with it."""
    function, good = getattr(fm, op), np.ones((4, 3))

    @njit
    def along(x, axis):
        return function(x, axis)

    for bad in (1.0, "text", np.ones((3, 3), "M8[s]")):
        with pytest.raises(TypingError, match=r"x (is|has)"):
            along(bad, None)
    with pytest.raises(TypingError, match=r"x has dtype .* must be real"):
        along(good * 1j, None)
    for axis in (1, (0, 1), 1.0):
        with pytest.raises(TypingError, match="axis must be a constant"):
            along(good, axis)

    @njit
    def out_of_range(x):
        return function(x, 2)

    with pytest.raises(TypingError, match="out of range"):
        out_of_range(good)


def test_wrong_out_and_keepdims_do_not_compile():
    read_only = np.ones((4, 3))
    read_only.flags.writeable = False
    for out, message in [
        (read_only, "out is read-only"),
        (np.ones(3), "out has 1 dimensions"),
        (np.ones((4, 3), "i8"), "out has dtype int64"),
        (2.0, "out is of type"),
    ]:
        with pytest.raises(TypingError, match=message):
            into(np.ones((4, 3)), out)

    @njit
    def kept(x, keepdims):
        return fm.moments(x, 0, 0, keepdims)

    with pytest.raises(TypingError, match="keepdims must be a constant"):
        kept(np.ones((4, 3)), True)
