"""Gradients of every memory layout, into every kind of `out`, of lists and tensors."""

import numpy as np
import pytest
from gradients import (
    ALL,
    arguments,
    arrays,
    called,
    check,
    check_variant,
    shape_of_gradient,
    shapes_for,
)
from layouts import LAYOUTS, SAME_VALUES, WRITABLE, makers_for, outside
from normals import channels_last, operation, values
from oracles import BOOL, COMPLEX, FLOATS, INTEGERS, name
from products import bits

SHAPES = [(9, 5), (3, 6, 35), (2, 4, 5, 3)]
SHAPED_AS_X = ("cotangent", "x", "result")


def laid_out(given, layout, keys):
    """Some of the arguments in a layout that leaves their values as they are."""
    changed = {}
    for key, part in arrays(given).items():
        if key in keys:
            changed[key] = makers_for(part.dtype).get(layout, LAYOUTS["block"])(part)
    return {**given, **changed}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_layouts(dtype, layout):
    """All arguments in one layout; those with stride 0 are x and the cotangent."""
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    for variant in ALL:
        for shape in shapes_for(variant, SHAPES):
            x = maker(values(shape, dtype))
            g = arguments(variant, x)["cotangent"]
            given = arguments(variant, x, maker(g))
            if layout in SAME_VALUES:
                given = laid_out(given, layout, given.keys() - {"x", "cotangent"})
            check(operation(variant), given)


@pytest.mark.parametrize("key", ["cotangent", "x", "result", "mean", "rstd", "weight"])
def test_layouts_that_differ(key):
    """One argument in a layout of its own; the others are C-ordered."""
    for variant in ALL:
        for shape in shapes_for(variant, SHAPES):
            given = arguments(variant, values(shape, "f8"))
            for layout in ("f_order", "transposed", "sliced", "negative") if key in given else ():
                check(operation(variant), laid_out(given, layout, (key,)))


def spread(x):
    """The same values with gaps along all axes after the first two: none of them can be joined."""
    room = np.zeros([n if axis < 2 else 2 * n for axis, n in enumerate(x.shape)], x.dtype)
    view = room[(slice(None), slice(None), *[slice(None, None, 2)] * (x.ndim - 2))]
    view[...] = x
    return view


@pytest.mark.parametrize("keys", [("x",), ("cotangent",), ("result",), SHAPED_AS_X], ids=str)
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_axes_that_cannot_be_joined(dtype, keys):
    """More axes than kernels have."""
    for shape in [(2, 4, 3, 5, 7), (1, 6, 4, 4, 4), (2, 3, 2, 3, 2, 3)]:
        for variant in ALL:
            given = arguments(variant, values(shape, dtype))
            for key in set(keys) & arrays(given).keys():
                if given[key].ndim == len(shape):
                    given[key] = spread(given[key])
            check(operation(variant), given)


@pytest.mark.parametrize("layout", SAME_VALUES)
@pytest.mark.parametrize("dtype", [np.dtype("c16"), np.dtype("i4"), np.dtype(bool)], ids=name)
def test_layouts_of_other_dtypes(dtype, layout):
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    real = ("layer_norm", "batch_norm", "normalize", "logsumexp")
    for variant in ("normalize",) if dtype.kind == "c" else real:
        check_variant(variant, maker(values((3, 6, 35), dtype)))


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_channels_last(dtype, variant):
    """NHWC in memory: of all, of x alone, of the cotangent alone, of out alone."""
    for shape in [(2, 3, 5, 7), (3, 64, 4, 5), (1, 130, 3, 3), (2, 6, 3, 2, 5)]:
        given, op = arguments(variant, values(shape, dtype)), operation(variant)
        turned = {
            key: channels_last(given[key])
            for key in SHAPED_AS_X
            if np.ndim(given.get(key)) == len(shape)
        }
        check(op, {**given, **turned})
        check(op, {**given, **turned}, out=channels_last(np.zeros(shape, dtype)))
        check(op, given, out=channels_last(np.zeros(shape, dtype)))
        for key, part in turned.items():
            check(op, {**given, key: part})


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_layouts_of_out(dtype, layout):
    """Every number of out is written, and nothing around it."""
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for variant in ALL:
        for shape in shapes_for(variant, SHAPES):
            out = maker(np.full(shape, 77, dtype))
            around = outside(out)
            check_variant(variant, values(shape, dtype), out=out)
            assert outside(out) == around


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_in_place(dtype, layout):
    """Of x, of the cotangent, of the result: whatever has the shape of the gradient."""
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for variant in ALL:
        for shape in shapes_for(variant, [(9, 5), (40, 4, 3)]):
            for key in SHAPED_AS_X:
                given = arguments(variant, values(shape, dtype))
                if np.shape(given.get(key)) != shape:
                    continue
                given[key] = maker(given[key])
                around = outside(given[key])
                check(operation(variant), given, out=given[key])
                assert outside(given[key]) == around


def test_out_is_both_cotangent_and_x():
    for variant in ALL:
        for shape in shapes_for(variant, SHAPES):
            if not variant.startswith("logsumexp"):
                x = values(shape, "f8")
                given = arguments(variant, x, x)
                check(operation(variant), given, out=x)


@pytest.mark.parametrize("key", SHAPED_AS_X)
@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_out_overlaps_what_has_its_shape(dtype, key):
    """Shifted by a row or an item, to either side, and in another order of axes."""
    for variant in ALL:
        for shape in shapes_for(variant, [(9, 5), (3, 6, 35), (20, 4, 30), (70, 70)]):
            given, op = arguments(variant, values(shape, dtype)), operation(variant)
            if np.shape(given.get(key)) != shape:
                continue
            size = int(np.prod(shape))
            for by in (int(np.prod(shape[1:])), 1):
                for first in (0, by):
                    base = np.zeros(size + by, dtype)
                    part = base[first : first + size].reshape(shape)
                    part[...] = given[key]
                    out = base[by - first : by - first + size].reshape(shape)
                    check(op, {**given, key: part}, out=out)
            backwards = np.array(given[key][::-1])
            check(op, {**given, key: backwards[::-1]}, out=backwards)
            if shape == (70, 70):
                square = np.array(given[key].T)
                check(op, {**given, key: square.T}, out=square)


@pytest.mark.parametrize("key", ["mean", "rstd", "weight", "cotangent", "result"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_out_overlaps_smaller_arguments(dtype, key):
    """The argument is a part of out, in its beginning, middle or end."""
    for variant in ALL:
        for shape in shapes_for(variant, [(40, 6, 10), (4, 5, 70)]):
            given = arguments(variant, values(shape, dtype))
            if key not in given or np.shape(given[key]) == shape or variant == "layer_norm plain":
                continue
            part = given[key]
            for place in (0, 0.5, 1):
                out = np.zeros(shape, dtype)
                memory = out.reshape(-1).view(part.dtype)
                start = int(place * (memory.size - part.size))
                view = memory[start : start + part.size].reshape(part.shape)
                view[...] = part
                check(operation(variant), {**given, key: view}, out=out)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_out_of_every_dtype(dtype):
    """What `same_kind` allows is the gradient cast to it; anything else is a TypeError."""
    for variant in ("layer_norm", "batch_norm", "normalize", "softmax"):
        given, op = arguments(variant, values((6, 4, 9), dtype)), operation(variant)
        plain = called(op, given)
        for out_dtype in (*FLOATS, *COMPLEX, *INTEGERS, *BOOL):
            out = np.full((6, 4, 9), 1, out_dtype)
            if np.can_cast(dtype, out_dtype, "same_kind"):
                parts = called(op, given, out)
                assert parts[0] is out
                assert [bits(part) for part in parts[1:]] == [bits(part) for part in plain[1:]]
                if out_dtype.kind == "c":
                    assert not out.imag.any()
                    out = out.real
                assert bits(out) == bits(plain[0].astype(out.dtype))
            else:
                with pytest.raises(TypeError, match="out"):
                    called(op, given, out)
                assert bits(out) == bits(np.full((6, 4, 9), 1, out_dtype))


@pytest.mark.parametrize("variant", ALL)
def test_lists(variant):
    """Lists of numbers count as float64."""
    given = arguments(variant, values((2, 4, 3), "f8"))
    expected = called(operation(variant), given)
    lists = {key: part.tolist() for key, part in arrays(given).items()}
    for part, wanted in zip(called(operation(variant), {**given, **lists}), expected, strict=True):
        assert (part is None and wanted is None) or bits(part) == bits(wanted)


@pytest.mark.parametrize("variant", ALL)
def test_torch_tensors(variant):
    """A tensor in, a tensor out, with the same bits; an out that is a tensor is filled."""
    torch = pytest.importorskip("torch")
    for dtype in ("f2", "f4", "f8"):
        given, op = arguments(variant, values((4, 6, 5), dtype)), operation(variant)
        expected = called(op, given)
        tensors = {
            key: torch.from_numpy(np.array(part))
            for key, part in arrays(given).items()
            if key not in ("mean", "rstd")  # which the forward operation returns as arrays
        }
        parts = called(op, {**given, **tensors})
        assert isinstance(parts[0], torch.Tensor)
        for part, wanted in zip(parts, expected, strict=True):
            assert (part is None and wanted is None) or bits(np.asarray(part)) == bits(wanted)
        for key, part in tensors.items():
            assert bits(part.numpy()) == bits(given[key])
        out = torch.full_like(parts[0], 7)
        assert called(op, {**given, **tensors}, out)[0] is out
        assert bits(out.numpy()) == bits(expected[0])
        array = np.zeros(shape_of_gradient(given), dtype)
        assert called(op, {**given, **tensors}, array)[0] is array
        assert bits(array) == bits(expected[0])


def test_memory_of_inputs_is_not_returned():
    """Also where the gradient equals the cotangent."""
    for variant in ALL:
        given = arguments(variant, np.ones((3, 4, 5)))
        for part in called(operation(variant), given):
            for other in arrays(given).values():
                assert part is None or not np.may_share_memory(part, other)
