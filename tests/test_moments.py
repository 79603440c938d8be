"""`fm.moments` and `fm.standardize`: mean and variance, and numbers standardized by them.

Numerics, NaN and threads are in `test_moments_values.py`.
"""

from itertools import combinations

import normal_oracles
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, SAME_VALUES, WRITABLE, makers_for, outside
from normals import bound_of, channels_last, check_moments, near, standardized, values
from oracles import BFLOAT16, DTYPES, FLOATS, name
from products import bits

import fastmat as fm

SHAPES = [
    (2,),
    (7,),
    (5, 3),
    (13, 17),
    (2, 3, 4),
    (7, 1, 11),
    (2, 6, 5, 7),
    (3, 2, 2, 3, 5),
    (65, 33),
    (64, 3, 64),
]


def all_axes(ndim):
    """None, and every choice of axes."""
    choices = [axes for count in range(ndim + 1) for axes in combinations(range(ndim), count)]
    return [None, *choices]


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_shapes_and_axes(dtype):
    for shape in SHAPES:
        x = values(shape, dtype)
        for axes in all_axes(len(shape)):
            check_moments(x, axes)
            if dtype.kind not in "cb" and np.prod([x.shape[a] for a in axes or ()]) > 1:
                standardized(x, axes)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_dtypes_are_numpys(dtype):
    x = values((3, 4), dtype)
    for axis in (None, 0):
        mean, variance = fm.moments(x, axis)
        assert np.asarray(mean).dtype == np.asarray(np.mean(x, axis=axis)).dtype
        assert np.asarray(variance).dtype == np.asarray(np.var(x, axis=axis)).dtype
    if dtype.kind != "c":
        assert fm.standardize(x).dtype == normal_oracles.result_dtype(x)
    else:
        with pytest.raises(TypeError, match="x"):
            fm.standardize(x)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i4"])
def test_keepdims_and_negative_axes(dtype):
    x = values((3, 4, 5), dtype)
    for axes in all_axes(3):
        plain = check_moments(x, axes)
        kept = check_moments(x, axes, keepdims=True)
        for part, other in zip(plain, kept, strict=True):
            assert np.ndim(other) == 3
            assert bits(part) == bits(other)
        if axes:
            again = fm.moments(x, tuple(a - 3 for a in axes))
            assert bits(again.mean) == bits(plain.mean)
            assert bits(again.variance) == bits(plain.variance)
        if axes is not None and len(axes) == 1:
            assert bits(fm.moments(x, axes[0]).variance) == bits(plain.variance)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i4"])
def test_correction(dtype):
    """A whole number or a fraction; as many as there are numbers, or more, as in NumPy."""
    x = values((6, 5), dtype)
    for correction in (0, 1, 2, 0.5, -1, np.float32(1.5), 4, True):
        for axis in (None, 0, 1):
            check_moments(x, axis, correction=correction)
            if dtype != "c8":
                standardized(x, axis, correction=correction)
    for correction in (5, 6, 100):
        with np.errstate(divide="ignore", invalid="ignore"), pytest.warns(RuntimeWarning):
            expected = np.var(x, axis=1, ddof=correction)
        np.testing.assert_array_equal(fm.moments(x, 1, correction=correction).variance, expected)
    assert np.isnan(fm.moments(np.ones((3, 1), dtype), 1, correction=1).variance).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_many_short_rows(dtype):
    for shape in [(1000, 3), (5000, 8), (300, 33)]:
        x = values(shape, dtype)
        for axis in (0, 1):
            check_moments(x, axis)
            check_moments(np.array(x.T), axis)
            standardized(x, axis)
            standardized(np.array(x.T), axis)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
def test_few_long_rows(dtype):
    for shape in [(2, 70_001), (1, 300_007), (70_001, 2), (300_007,)]:
        x = values(shape, dtype)
        axis = int(np.argmax(shape))
        for axes in (axis, None):
            check_moments(x, axes)
            if dtype != "c8":
                standardized(x, axes)


EDGES = [31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 4095, 4096, 4097, 65_535, 65_536, 65_537]


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8"], ids=name)
def test_numbers_at_the_edges_of_blocks(dtype):
    for n in EDGES:
        x = values((2, n), dtype)
        check_moments(x, 1)
        check_moments(np.array(x.T), 0)
        standardized(x, 1)
        standardized(np.array(x.T), 0)
        if n < 5000:
            check_moments(values((3, n, 2), dtype), (0, 1))
            check_moments(values((3, 2, n), dtype), (0, 2))
            standardized(values((3, n, 2), dtype), (0, 1))


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_groups_at_the_edges_of_blocks(dtype):
    for groups in (31, 32, 33, 63, 64, 65, 127, 128, 129):
        for shape in [(groups, 7), (2, groups, 3), (40, groups)]:
            x = values(shape, dtype)
            for axes in all_axes(len(shape)):
                check_moments(x, axes)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_all_edges(dtype):
    edges = sorted({side + d for side in (1, 8, 16, 32, 64, 128, 256) for d in (-1, 0, 1)} - {0})
    for m in edges:
        for n in edges:
            for shape in [(m, n), (2, m, n)]:
                for axis in range(len(shape)):
                    check_moments(values(shape, dtype), axis)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((0,), None), ((0, 3), 0), ((0, 3), 1), ((3, 0), 1), ((2, 0, 3), 1), ((2, 0, 3), (0, 2))],
)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "c8"])
def test_empty(shape, axis, dtype):
    """The mean of nothing is NaN, as in NumPy."""
    x = values(shape, dtype)
    check_moments(x, axis)
    check_moments(x, axis, keepdims=True)
    if dtype != "c8":
        result = fm.standardize(x, axis)
        assert result.shape == shape
        assert result.dtype == normal_oracles.result_dtype(x)


def test_numbers_without_axes():
    for x in (3, 3.0, np.float32(3), np.array(3.0), np.complex64(3 + 1j), True):
        for axis in (None, ()):
            mean, variance = check_moments(x, axis)
            assert mean == x
            assert variance == 0
    assert np.isnan(fm.standardize(3.0))
    assert type(fm.standardize(np.float32(3))) is np.float32


def test_equal_numbers_that_are_whole():
    """Their sum is exact: the variance is 0, and there is nothing to divide by."""
    for dtype in (*FLOATS, "i4"):
        for n in (1, 2, 3, 33, 1000, 1025):
            x = np.full((2, n), 7, dtype)
            mean, variance = check_moments(x, 1)
            assert (mean == 7).all()
            assert (variance == 0).all()
            assert np.isnan(fm.standardize(x, 1)).all()


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4"], ids=name)
def test_equal_numbers(dtype):
    """NaN where all numbers of a group are equal; sums of narrow numbers in float64 are exact."""
    for value in (0.1, 1 / 3, -7.7e-5, 3e4):
        for n in (3, 7, 1000, 5000):
            x = np.full((2, n), value, dtype)
            assert np.isnan(fm.standardize(x, 1)).all()
            assert np.isnan(fm.standardize(np.array(x.T), 0)).all()


@pytest.mark.parametrize(("value", "n"), [(0.1, 3), (0.1, 1000), (1 / 3, 5000), (-7.7e-5, 7)])
def test_equal_float64_numbers(value, n):
    """NaN where all numbers of a group are equal, says the docstring."""
    assert np.isnan(fm.standardize(np.full(n, value))).all()


# Layouts


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_layouts(dtype, layout):
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    for shape in [(37,), (9, 5), (3, 6, 35), (2, 4, 5, 3), (70, 9, 2)]:
        x = maker(values(shape, dtype))
        for axes in (None, 0, -1, (0, -1) if len(shape) > 1 else (0,)):
            check_moments(x, axes)
            if layout in SAME_VALUES and dtype.kind not in "cb":
                standardized(x, axes)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_channels_last(dtype):
    for shape in [(2, 3, 5, 7), (3, 64, 4, 5), (1, 130, 3, 3), (2, 6, 3, 2, 5)]:
        x = channels_last(values(shape, dtype))
        rest = tuple(a for a in range(len(shape)) if a != 1)
        for axes in (rest, 1, (2, 3), None):
            check_moments(x, axes)
            if dtype != "c8":
                standardized(x, axes)


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_layouts_of_out(dtype, layout):
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for shape in [(37,), (9, 5), (3, 6, 35), (70, 9, 2)]:
        for axes in (None, 0, -1):
            out = maker(np.full(shape, 77, dtype))
            around = outside(out)
            standardized(values(shape, dtype), axes, out=out)
            assert outside(out) == around
            x = maker(values(shape, dtype))
            around = outside(x)
            standardized(x, axes, out=x)
            assert outside(x) == around


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_out_overlaps_x(dtype):
    for shape in [(9, 5), (100, 120), (12, 6, 35)]:
        size, row = int(np.prod(shape)), int(np.prod(shape[1:]))
        for axes in (None, 0, -1):
            for by in (row, 1, 3):
                for forward in (True, False):
                    base = values((size + by,), dtype)
                    parts = base[:size].reshape(shape), base[by:].reshape(shape)
                    x, out = parts if forward else parts[::-1]
                    standardized(x, axes, out=out)
            x = values(shape, dtype)
            standardized(x[::-1], axes, out=x)
    square = values((70, 70), dtype)
    standardized(square.T, 0, out=square)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_out_of_every_dtype(dtype):
    """What `same_kind` allows is the result cast to it; anything else is a TypeError."""
    x = values((6, 9), dtype)
    for out_dtype in DTYPES:
        out = np.full(x.shape, 1, out_dtype)
        if np.can_cast(dtype, out_dtype, "same_kind"):
            assert fm.standardize(x, 0, out=out) is out
            if out_dtype.kind == "c":
                assert bits(out.imag) == bits(np.zeros(x.shape, out.imag.dtype))
                out = out.real
            assert bits(out) == bits(fm.standardize(x, 0).astype(out.dtype))
        else:
            with pytest.raises(TypeError, match="out"):
                fm.standardize(x, 0, out=out)
            assert bits(out) == bits(np.full(x.shape, 1, out_dtype))


def test_lists():
    x = [[1, 2, 4], [8, 5, 7]]
    assert bits(fm.moments(x, 0).variance) == bits(fm.moments(np.array(x), 0).variance)
    assert fm.moments(x).mean == 4.5
    assert bits(fm.standardize(x, 1)) == bits(fm.standardize(np.array(x), 1))


def test_torch_tensors():
    """A tensor in, tensors out."""
    torch = pytest.importorskip("torch")
    for dtype in ("f2", "f4", "f8", "i4", "c8"):
        x = values((4, 6, 5), dtype)
        tensor = torch.from_numpy(x.copy())
        for axis in (None, 1):
            result = fm.moments(tensor, axis)
            for part, other in zip(result, fm.moments(x, axis), strict=True):
                assert isinstance(part, torch.Tensor)
                assert bits(part.numpy()) == bits(other)
            if dtype != "c8":
                result = fm.standardize(tensor, axis)
                assert isinstance(result, torch.Tensor)
                assert bits(result.numpy()) == bits(fm.standardize(x, axis))
                out = torch.zeros_like(result)
                assert fm.standardize(x, axis, out=out) is out
                assert bits(out.numpy()) == bits(result.numpy())
        assert bits(tensor.numpy()) == bits(x)


# Random calls


@st.composite
def calls(draw):
    """An array in any layout, and axes."""
    dtype = draw(st.sampled_from(DTYPES))
    lengths = st.lists(st.sampled_from([1, 2, 3, 4, 5, 8, 17, 33]), max_size=4)
    shape = tuple(draw(lengths))
    while np.prod(shape) > 5000:
        shape = tuple(min(n, 5) for n in shape)
    axes = tuple(draw(st.permutations(range(len(shape))))[: draw(st.integers(0, len(shape)))])
    axes = tuple(a - len(shape) if draw(st.booleans()) else a for a in axes)
    layout = draw(st.sampled_from(sorted(makers_for(dtype, SAME_VALUES))))
    x = values(shape, dtype, draw(st.integers(0, 5)))
    return makers_for(dtype)[layout](x), draw(st.sampled_from([axes, None]))


@given(calls(), st.sampled_from([0, 1, 0.5]), st.booleans())
def test_random_calls_of_moments(call, correction, keepdims):
    x, axes = call
    check_moments(x, axes, correction=correction, keepdims=keepdims)


@given(calls(), st.sampled_from([0, 1]), st.sampled_from([None, *sorted(WRITABLE)]))
def test_random_calls_of_standardize(call, correction, layout):
    """Groups of equal numbers are left out: see `test_equal_float64_numbers`."""
    x, axes = call
    if x.dtype.kind == "c":
        return
    expected = normal_oracles.standardize(x, axes, correction=correction)
    dtype = expected.dtype
    maker = makers_for(dtype, WRITABLE).get(layout)
    out = None if maker is None else maker(np.zeros(x.shape, dtype))
    result = fm.standardize(x, axes, correction=correction, out=out)
    assert out is None or result is out
    assert result.shape == x.shape
    usable = np.isfinite(np.broadcast_to(expected.value, x.shape))
    bound = np.broadcast_to(bound_of(expected), x.shape)
    near(np.asarray(result)[usable], expected.value[usable], bound[usable])


# Bad input

ERRORS = [
    *(({"axis": bad}, ValueError, "axis") for bad in (3, -4, (0, 7), (1, 1), (1, -2))),
    *(({"axis": bad}, TypeError, "axis") for bad in (1.0, "a", (0, 1.5), (0, None), 1j, {})),
    *(({"correction": bad}, TypeError, "correction") for bad in ("a", None, [1, 2], 1j, {})),
]


@pytest.mark.parametrize(("keywords", "error", "match"), ERRORS)
def test_bad_arguments(keywords, error, match):
    """The message names the argument, and out is not touched."""
    x, out = values((3, 4, 5), "f4"), np.full((3, 4, 5), 7, "f4")
    with pytest.raises(error, match=match):
        fm.moments(x, **keywords)
    for more in ({}, {"out": out}):
        with pytest.raises(error, match=match):
            fm.standardize(x, **keywords, **more)
    assert bits(out) == bits(np.full((3, 4, 5), 7, "f4"))


@pytest.mark.parametrize("op", ["moments", "standardize"])
@pytest.mark.parametrize("number", ["1", b"1", "nan"])
def test_strings_are_no_numbers(op, number):
    with pytest.raises(TypeError, match="correction"):
        getattr(fm, op)(values((3, 4), "f4"), correction=number)


@pytest.mark.filterwarnings("error")
def test_no_warnings():
    """Where there is nothing to divide by, there is NaN or infinity, and no warning."""
    for x in (np.zeros((3, 4)), np.ones((3, 1)), np.zeros((3, 0)), np.full((2, 2), np.inf)):
        for correction in (0, 1, 4, 9):
            for axis in (None, 0, 1):
                fm.moments(x, axis, correction=correction)
                fm.standardize(x, axis, correction=correction)


@pytest.mark.parametrize("op", ["moments", "standardize"])
def test_bad_x(op):
    x = values((3, 4), "f8")
    for bad in (
        None,
        "abc",
        b"abc",
        x.astype(object),
        x.astype("S"),
        x.astype("U"),
        x.astype("g"),
        x.astype("M8[s]"),
        np.zeros((3, 4), [("a", "f4")]),
        {"a": 1},
        object(),
    ):
        with pytest.raises(TypeError, match="x"):
            getattr(fm, op)(bad)
    with pytest.raises((ValueError, TypeError), match="x"):
        getattr(fm, op)([[1.0, 2.0], [3.0]])
    with pytest.raises(ValueError, match="axis"):
        getattr(fm, op)(3.0, 0)
    with pytest.raises(TypeError):
        getattr(fm, op)(x, None, 1)


def test_bad_out():
    x = values((3, 4), "f8")
    read_only = np.full((3, 4), 7.0)
    read_only.flags.writeable = False
    for out, error in [
        (np.full((4, 3), 7.0), ValueError),
        (np.full(4, 7.0), ValueError),
        (np.full((1, 3, 4), 7.0), ValueError),
        (read_only, ValueError),
        (np.full((3, 4), 7, "i4"), TypeError),
        (np.full((3, 4), True), TypeError),
        (np.full((3, 4), 7, "M8[s]"), TypeError),
        ([7.0], TypeError),
        (7.0, TypeError),
        ("out", TypeError),
    ]:
        guard = bits(out) if isinstance(out, np.ndarray) else None
        with pytest.raises(error, match="out"):
            fm.standardize(x, 0, out=out)
        assert guard is None or bits(out) == guard
