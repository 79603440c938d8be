"""`fm.softmax` and its kin: memory layouts, `out`, other libraries' arrays, bad arguments."""

import numpy as np
import pytest
from layouts import LAYOUTS, WRITABLE, makers_for, outside
from normals import channels_last, values
from oracles import BOOL, COMPLEX, FLOATS, INTEGERS, name
from products import bits
from softmaxes import OPS, SAME_SHAPE, check, check_all, expectation, result_shape, spread

import fastmat as fm

SHAPES = [(9, 5), (3, 6, 35), (70, 9, 2), (2, 3, 4, 5)]


def axes_for(shape):
    """Every single axis, the outer ones, all of them."""
    return [*range(len(shape)), (0, len(shape) - 1), None]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, np.dtype("i4")], ids=name)
def test_layouts(dtype, layout):
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    for shape in SHAPES:
        for axis in axes_for(shape):
            check_all(maker(spread(shape, dtype)), axis)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_layouts_of_large_arrays(dtype, layout):
    for shape in [(3, 5000), (1100, 70)]:
        for axis in (0, 1):
            check_all(LAYOUTS[layout](spread(shape, dtype)), axis)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_channels_last(dtype):
    x = channels_last(spread((3, 7, 5, 9), dtype))
    for axis in (0, 1, 2, 3, (2, 3), (0, 2, 3), (1, 3)):
        check_all(x, axis)


def scattered():
    """Eight axes, of which no two can be walked through as one."""
    x = spread((2, 3, 4, 2, 3, 2, 3, 2), "f4")
    return np.transpose(x, (1, 3, 5, 7, 0, 2, 4, 6))[::-1, :, ::-1]


@pytest.mark.parametrize("axis", [(0, 2, 4), (1, 3, 5), (0, 1, 4, 5, 7), (0, 1, 2, 3)], ids=str)
def test_scattered_axes(axis):
    """More than kernels have, some of them, so that the array is copied first."""
    check_all(scattered(), axis)
    for op in SAME_SHAPE:
        x = scattered()
        check(op, x, axis, out=np.full(x.shape, 7, "f4"))
        check(op, x, axis, out=x)


@pytest.mark.parametrize("op", OPS)
def test_axes_that_are_scattered_even_in_a_copy(op):
    check(op, scattered(), (0, 2, 4, 6))


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_layouts_of_out(dtype, layout):
    """Every number of out is written, and nothing around it."""
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for shape in SHAPES:
        for axis in axes_for(shape):
            for op in OPS:
                out = maker(np.full(result_shape(op, shape, axis), 77, dtype))
                around = outside(out)
                check(op, spread(shape, dtype), axis, out=out)
                assert outside(out) == around


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_in_place(dtype, layout):
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for op in SAME_SHAPE:
        for shape in [*SHAPES, (2, 9000), (1100, 3)]:
            for axis in axes_for(shape):
                x = maker(spread(shape, dtype))
                around = outside(x)
                check(op, x, axis, out=x)
                assert outside(x) == around


@pytest.mark.parametrize("op", SAME_SHAPE)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_out_overlaps_x(dtype, op):
    """Shifted by a row, by an item, and in another order of axes."""
    for shape in [(9, 5), (3, 6, 35), (2, 9000), (1100, 3)]:
        size = int(np.prod(shape))
        for axis in axes_for(shape):
            for by in (size // shape[0], 1):
                for forwards in (True, False):
                    base = spread((size + by,), dtype)
                    pair = base[:size].reshape(shape), base[by:].reshape(shape)
                    x, out = pair if forwards else pair[::-1]
                    check(op, x, axis, out=out)
            backwards = spread(shape, dtype)
            check(op, backwards[::-1], axis, out=backwards)
    for axis in (0, 1):
        square = spread((70, 70), dtype)
        check(op, square.T, axis, out=square)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_out_of_logsumexp_overlaps_x(dtype):
    for shape, axis in [((9, 5), 1), ((9, 5), 0), ((100, 70), 0), ((3, 9000), 1)]:
        for place in (0, 1):
            x = spread(shape, dtype)
            (n,) = result_shape("logsumexp", shape, axis)
            start = place * (x.size - n)
            check("logsumexp", x, axis, out=x.reshape(-1)[start : start + n])


def test_out_of_logsumexp_with_axes_kept_and_without_axes():
    x = spread((3, 4), "f8")
    check("logsumexp", x, 0, keepdims=True, out=np.full((1, 4), 7.0))
    check("logsumexp", x, None, keepdims=True, out=np.full((1, 1), 7.0))
    check("logsumexp", x, None, out=np.full((), 7.0))
    check("logsumexp", np.empty((0, 4)), 0, out=np.full(4, 7.0))


@pytest.mark.parametrize("dtype", [*FLOATS, np.dtype("i4")], ids=name)
def test_out_of_every_dtype(dtype):
    """What `same_kind` allows is the result cast to it; anything else is a TypeError."""
    x = spread((6, 4, 9), dtype)
    for out_dtype in (*FLOATS, *COMPLEX, *INTEGERS, *BOOL):
        for op in OPS:
            plain = getattr(fm, op)(x, 1)
            out = np.full(plain.shape, 1, out_dtype)
            if np.can_cast(plain.dtype, out_dtype, "same_kind"):
                check(op, x, 1, out=out)
                if out_dtype.kind == "c":
                    assert bits(out.imag) == bits(np.zeros(out.shape, out.imag.dtype))
                    out = out.real
                assert bits(out) == bits(plain.astype(out.dtype))
            else:
                with pytest.raises(TypeError, match="out"):
                    getattr(fm, op)(x, 1, out=out)
                assert bits(out) == bits(np.full(plain.shape, 1, out_dtype))


@pytest.mark.parametrize("op", OPS)
def test_lists(op):
    x = [[1, 2, 4], [8, 5, 7]]
    assert bits(getattr(fm, op)(x)) == bits(check(op, np.array(x)))
    assert bits(getattr(fm, op)(((0.5, 1.5),), 0)) == bits(check(op, np.array([[0.5, 1.5]]), 0))


@pytest.mark.parametrize("op", OPS)
def test_torch_tensors(op):
    """A tensor in, a tensor out, with the same bits; an out that is a tensor is filled."""
    torch = pytest.importorskip("torch")
    function = getattr(fm, op)
    for dtype in ("f2", "f4", "f8", "i4"):
        x = spread((4, 6, 5), dtype)
        for axis in (1, -1, (0, 2), None):
            expected = np.asarray(function(x, axis))
            tensor = torch.from_numpy(x.copy())
            result = function(tensor, axis)
            assert isinstance(result, torch.Tensor)
            assert bits(result.numpy()) == bits(expected)
            assert result.shape == expected.shape
            assert bits(tensor.numpy()) == bits(x)
            out = torch.full_like(result, 7)
            assert function(tensor, axis, out=out) is out
            assert bits(out.numpy()) == bits(expected)
            assert function(x, axis, out=out) is out
            array = np.zeros(expected.shape, expected.dtype)
            assert function(tensor, axis, out=array) is array
            assert bits(array) == bits(expected)
        turned = torch.from_numpy(np.array(x.T)).permute(2, 1, 0)
        assert bits(function(turned, 1).numpy()) == bits(function(np.array(x.T).T, 1))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_as_torch(dtype):
    torch = pytest.importorskip("torch")
    x = spread((6, 50), dtype)
    x[2] = -np.inf
    x[3, 5], x[4, 6] = np.nan, np.inf
    tensor = torch.from_numpy(x)
    room = 400 * np.finfo(dtype).eps
    for axis in (0, 1):
        for op in OPS:
            expected = getattr(torch, op)(tensor, axis).numpy()
            np.testing.assert_allclose(getattr(fm, op)(x, axis), expected, room, room)


ERRORS = [
    ({"axis": 3}, ValueError, "axis"),
    ({"axis": -4}, ValueError, "axis"),
    ({"axis": (0, 7)}, ValueError, "axis"),
    ({"axis": (1, 1)}, ValueError, "axis"),
    ({"axis": (1, -2)}, ValueError, "axis"),
    ({"axis": 1.0}, TypeError, "axis"),
    ({"axis": "a"}, TypeError, "axis"),
    ({"axis": (0, 1.5)}, TypeError, "axis"),
    ({"axis": (0, None)}, TypeError, "axis"),
    ({"axis": np.ones(2)}, TypeError, "axis"),
]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("keywords", "error", "match"), ERRORS)
def test_bad_axes(op, keywords, error, match):
    """The message names the argument; out is not touched."""
    x, out = values((3, 4, 5), "f4"), np.full((3, 4, 5), 7, "f4")
    for given_out in ({}, {"out": out}):
        with pytest.raises(error, match=match):
            getattr(fm, op)(x, **keywords, **given_out)
    assert bits(out) == bits(np.full((3, 4, 5), 7, "f4"))


@pytest.mark.parametrize("op", OPS)
def test_axes_of_a_number(op):
    for axis in (0, -1, (0,)):
        with pytest.raises(ValueError, match="axis"):
            getattr(fm, op)(np.float64(3), axis)
    with pytest.raises(ValueError, match="axis"):  # the default
        getattr(fm, op)(3.0)


@pytest.mark.parametrize("op", OPS)
def test_bad_x(op):
    x = values((3, 4), "f8")
    function, out = getattr(fm, op), np.full((3, 4), 7.0)
    for bad in (
        None,
        "abc",
        x.astype(object),
        x.astype("U"),
        x.astype("g"),
        x.astype("c8"),
        x.astype("c16"),
        x.astype("M8[s]"),
        np.zeros((3, 4), [("a", "f4")]),
        {"a": 1},
    ):
        with pytest.raises(TypeError, match="x"):
            function(bad)
        with pytest.raises(TypeError, match="x"):
            function(bad, 0, out=out)
    with pytest.raises((ValueError, TypeError), match="x"):
        function([[1.0, 2.0], [3.0]])
    with pytest.raises(TypeError):
        function(x, 0, out)  # by keyword only
    assert (out == 7).all()


@pytest.mark.parametrize("op", OPS)
def test_bad_out(op):
    """The message names it, and it is not touched."""
    shape = result_shape(op, (3, 4, 5), 1)
    read_only = np.full(shape, 7.0)
    read_only.flags.writeable = False
    for out, error in [
        (np.full((3, 4), 7.0), ValueError),
        (np.full(shape[::-1], 7.0), ValueError),
        (np.full((1, *shape), 7.0), ValueError),
        (np.full((), 7.0), ValueError),
        (read_only, ValueError),
        (np.full(shape, 7, "i4"), TypeError),
        (np.full(shape, True), TypeError),
        (np.full(shape, 7, "M8[s]"), TypeError),
        ([7.0], TypeError),
        (7.0, TypeError),
        ("out", TypeError),
    ]:
        guard = bits(out) if isinstance(out, np.ndarray) else None
        with pytest.raises(error, match="out"):
            getattr(fm, op)(values((3, 4, 5), "f8"), 1, out=out)
        assert guard is None or bits(out) == guard


def test_out_is_the_result_rounded():
    """The result of float32 input in a float64 out is that of float32."""
    x = spread((5, 40), "f4")
    for op in OPS:
        _, _, dtype = expectation(op, x)
        out = np.zeros(result_shape(op, x.shape))
        getattr(fm, op)(x, out=out)
        assert bits(out.astype(dtype)) == bits(getattr(fm, op)(x))
