"""`fm.masked_sum` and its kin: reductions of the numbers that a mask says are valid."""

from itertools import combinations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, SAME_VALUES, WRITABLE, makers_for, outside, unmodified
from masked_oracles import PLACES, REDUCTIONS
from masks import check, function, marks, poisoned
from normals import channels_last, values
from oracles import BFLOAT16, COMPLEX, DTYPES, FLOATS, name
from products import any_bits, bits

import fastmat as fm

SHAPES = [(2,), (7,), (5, 3), (13, 17), (2, 3, 4), (7, 1, 11), (2, 6, 5, 7), (65, 33), (64, 3, 64)]
SUMS = ("sum", "mean", "var", "std", "count")
EXTREMES = ("min", "max")


def operations(dtype):
    """Those that a dtype has."""
    return SUMS if np.dtype(dtype).kind == "c" else (*REDUCTIONS, *PLACES)


def keywords(op):
    """What an operation needs where nothing is valid."""
    return {"initial": 1} if op in EXTREMES else {}


def all_axes(op, ndim):
    """None and every choice of axes that an operation takes."""
    if op in PLACES:
        return [None, *range(ndim)]
    choices = [axes for count in range(ndim + 1) for axes in combinations(range(ndim), count)]
    return [None, *choices]


def every(x, mask, dtype=None):
    """All operations over all axes."""
    for op in operations(dtype or x.dtype):
        for axes in all_axes(op, x.ndim):
            if op not in PLACES or np.broadcast_to(mask, x.shape).any(axes).all():
                check(op, x, mask, axes, **keywords(op))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_shapes_and_axes(dtype):
    for shape in SHAPES:
        mask = marks(shape)
        every(poisoned(values(shape, dtype), mask), mask)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_dtypes_are_numpys(dtype):
    x, mask = values((3, 4), dtype), marks((3, 4))
    for op in operations(dtype):
        for axis in (None, 0):
            wanted = mask.sum(axis) if op == "count" else getattr(np, op)(x, axis=axis)
            assert np.asarray(function(op)(x, mask, axis)).dtype == np.asarray(wanted).dtype
    if np.dtype(dtype).kind == "c":
        for op in (*EXTREMES, *PLACES):
            with pytest.raises(TypeError, match="x has dtype complex"):
                function(op)(x, mask)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
def test_integers_over_their_whole_range(dtype):
    """Sums wrap as NumPy's do; unsigned numbers keep their order; any byte but 0 is True."""
    for shape in [(9, 7), (70, 300), (3, 5000)]:
        x, mask = any_bits(shape, dtype), marks(shape)
        for axis in (None, 0, 1):
            total = np.sum(x, axis=axis, where=mask)
            np.testing.assert_array_equal(fm.masked_sum(x, mask, axis), total)
            for op in ("min", "max", "argmin", "argmax"):
                check(op, x if dtype != "?" else x.view("u1") != 0, mask, axis)
                if dtype == "?":
                    np.testing.assert_array_equal(
                        function(op)(x, mask, axis), function(op)(x.view("u1") != 0, mask, axis)
                    )
            check("mean", x if dtype != "?" else x.view("u1") != 0, mask, axis)
            check("var", x if dtype != "?" else x.view("u1") != 0, mask, axis)


def test_masks_of_any_bytes():
    """Any byte but 0 means valid."""
    x, mask = values((70, 300), "f4"), any_bits((70, 300), "?")
    for op in (*REDUCTIONS, *PLACES):
        for axis in (None, 0, 1):
            plain = function(op)(x, mask.view("u1") != 0, axis)
            assert bits(function(op)(x, mask, axis)) == bits(plain)


EDGES = [31, 32, 33, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 65_535, 65_537]


@pytest.mark.parametrize("dtype", ["u1", "f2", BFLOAT16, "f4", "f8"], ids=name)
def test_numbers_at_the_edges_of_blocks(dtype):
    for n in EDGES:
        mask = marks((2, n))
        x = poisoned(values((2, n), dtype), mask)
        for op in (*REDUCTIONS, *PLACES):
            check(op, x, mask, 1)
            check(op, np.array(x.T), np.array(mask.T), 0)


@pytest.mark.parametrize("dtype", ["i2", "f4", "f8"])
def test_groups_at_the_edges_of_blocks(dtype):
    for groups in (31, 33, 63, 64, 65, 127, 128, 129):
        for shape in [(groups, 7), (2, groups, 3), (40, groups)]:
            mask = marks(shape)
            every(poisoned(values(shape, dtype), mask), mask)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_masks_that_broadcast(dtype):
    """Of fewer axes, of length 1, or of stride 0; they are the same as those written out."""
    for shape, small in [
        ((9, 70), (70,)),
        ((9, 70), (9, 1)),
        ((9, 70), (1, 1)),
        ((9, 70), ()),
        ((70, 300), (70, 1)),
        ((6, 5, 4), (5, 1)),
        ((6, 5, 4), (6, 1, 4)),
        ((2, 3, 4, 5), (3, 1, 5)),
        ((2, 3, 4, 5), (2, 1, 4, 1)),
        ((3, 2, 2, 3, 5), (2, 1, 3, 1)),
    ]:
        mask = marks(small) if small else np.array(True)
        x = poisoned(values(shape, dtype), mask)
        every(x, mask)
        every(x, np.broadcast_to(mask, shape))
        if x.ndim == 4:
            every(np.asfortranarray(x), mask)


def test_a_mask_that_broadcasts_is_not_copied():
    """Masks of 2**40 bytes, if they were written out."""
    x = np.broadcast_to(np.float32(2), (2**20, 2**20))[:3]
    for mask in (np.ones((3, 1), bool), np.ones(2**20, bool)):
        assert fm.masked_sum(x, mask, 1)[0] == 2**21
        assert fm.masked_count(x, mask) == 3 * 2**20
    huge = np.broadcast_to(np.array([False]), (2**40,))
    assert fm.masked_count(np.broadcast_to(np.float32(1), (2**40,)), huge) == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["?", "i2", "u4", "f2", BFLOAT16, "f4", "f8", "c8"], ids=name)
def test_layouts(dtype, layout):
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    of_mask = makers_for(bool).get(layout, LAYOUTS["sliced"])
    for shape in [(37,), (9, 5), (3, 6, 35), (2, 4, 5, 3), (70, 9, 2)]:
        x, mask = values(shape, dtype), marks(shape)
        for op in operations(dtype):
            several = op not in PLACES and len(shape) > 1
            for axes in (None, 0, -1, *([(0, -1)] if several else [])):
                for other in (mask, of_mask(mask)):
                    if op not in PLACES or other.any(axes).all():
                        check(op, maker(x), other, axes, **keywords(op))


@pytest.mark.parametrize("dtype", ["f4", "u1"])
def test_channels_last(dtype):
    for shape in [(2, 3, 5, 7), (3, 64, 4, 5), (2, 6, 3, 2, 5)]:
        mask = marks(shape)
        x = channels_last(poisoned(values(shape, dtype), mask))
        rest = tuple(a for a in range(len(shape)) if a != 1)
        for op in REDUCTIONS:
            for axes in (rest, 1, (2, 3), None):
                check(op, x, mask, axes)
                check(op, x, channels_last(mask), axes)
        for op in PLACES:
            for axis in (1, None):
                check(op, x, mask, axis)


def test_first_of_several_whatever_the_layout():
    """Places count in C order, not as numbers lie in memory."""
    for shape in [(4, 5), (30, 40), (3, 4, 5), (2, 3, 4, 5), (300, 301)]:
        x = np.random.default_rng(1).integers(0, 3, shape).astype("f4")
        mask = marks(shape, share=0.3)
        for maker in SAME_VALUES.values():
            for axis in (None, 0, len(shape) - 1):
                check("argmin", maker(x), mask, axis)
                check("argmax", maker(x), mask, axis)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_nan_and_infinities(dtype):
    """They count where they are valid, and nowhere else; NaN wins over all."""
    x = np.array(values((6, 70), dtype))
    x[0, 3], x[1, 4], x[2, 5], x[3, 6] = np.nan, np.inf, -np.inf, np.nan
    x[4] = np.inf
    x[5] = -np.inf
    for seed in range(4):
        mask = marks(x.shape, seed)
        mask[:, 3:7] = seed % 2 == 0
        for op in (*REDUCTIONS, *PLACES):
            for axis in (1, 0, None):
                if op not in PLACES or mask.any(axis).all():
                    check(op, x, mask, axis, **keywords(op))
                    check(op, np.asfortranarray(x), mask, axis, **keywords(op))
    for op in (*EXTREMES, *PLACES):  # infinite throughout: the first valid one
        check(op, x[4:], marks((2, 70), 1), 1)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_initial(dtype):
    x, mask = values((6, 9), dtype), marks((6, 9))
    mask[2] = False
    for initial in (0, -3, 100, np.inf, 0.5):
        for op in ("min", "max", "sum"):
            check(op, x, mask, 1, initial=initial)
            check(op, x, mask, initial=initial)
    for op in EXTREMES:
        assert np.isnan(np.asarray(function(op)(x, mask, initial=np.nan), "f8"))


def test_initial_of_integers():
    x, mask = values((6, 9), "i4"), np.zeros((6, 9), bool)
    for op in ("min", "max", "sum"):
        np.testing.assert_array_equal(function(op)(x, mask, 1, initial=7), np.full(6, 7))
        assert function(op)(x, ~mask, initial=2) == getattr(np, op)(x, initial=2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "c8", "f2"])
def test_nothing_valid(dtype):
    """As NumPy's reductions with ``where=``, but without their warnings."""
    x, mask = values((4, 5), dtype), np.ones((4, 5), bool)
    mask[1] = False
    for op in ("mean", "var", "std"):
        result = function(op)(x, mask, 1)
        assert list(np.isnan(result)) == [False, True, False, False]
        assert np.isnan(function(op)(x, False))
    assert fm.masked_sum(x, mask, 1)[1] == 0
    assert list(fm.masked_count(x, mask, 1)) == [5, 0, 5, 5]
    if np.dtype(dtype).kind == "c":
        return
    for op in EXTREMES:
        with pytest.raises(ValueError, match="initial="):
            function(op)(x, mask, 1)
        assert function(op)(x, mask, 1, initial=7)[1] == 7
    for op in PLACES:
        out = np.full(4, 77)
        with pytest.raises(ValueError, match="mask is False"):
            function(op)(x, mask, 1, out=out)
        assert (out == 77).all()


def test_correction():
    x, mask = values((6, 30), "f8"), marks((6, 30))
    for correction in (0, 1, 0.5, 3):
        for axis in (None, 0, 1):
            check("var", x, mask, axis, correction=correction)
            check("std", x, mask, axis, correction=correction)
    few = np.arange(30) < 2
    assert np.isinf(fm.masked_var(x, few, 1, correction=2)).all()


@pytest.mark.parametrize(
    ("shape", "axis"), [((0,), None), ((0, 3), 0), ((0, 3), 1), ((3, 0), 1), ((2, 0, 3), 1)]
)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_empty(shape, axis, dtype):
    x, mask = values(shape, dtype), np.ones(shape, bool)
    for op in SUMS:
        check(op, x, mask, axis)
        check(op, x, mask, axis, keepdims=True)
    for op in EXTREMES:
        check(op, x, mask, axis, initial=1)
    full = x.sum(axis).size > 0
    for op in (*EXTREMES, *PLACES):
        if full:
            with pytest.raises(ValueError, match="mask is False"):
                function(op)(x, mask, axis)
        else:
            assert np.shape(function(op)(x, mask, axis)) == x.sum(axis).shape


def test_numbers_without_axes():
    for x in (3, 3.0, np.float32(3), np.array(3.0), True):
        for op in REDUCTIONS:
            check(op, np.asarray(x), True)
        assert fm.masked_argmin(x, True) == 0


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_keepdims(dtype):
    x, mask = values((3, 4, 5), dtype), marks((3, 4, 5))
    for op in (*REDUCTIONS, *PLACES):
        for axes in all_axes(op, 3):
            kept = check(op, x, mask, axes, keepdims=True, **keywords(op))
            assert np.ndim(kept) == 3
            assert bits(kept) == bits(check(op, x, mask, axes, **keywords(op)))


# out


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_out(dtype, layout):
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    x, mask = values((9, 5, 7), dtype), marks((9, 5, 7))
    for op in (*REDUCTIONS, *PLACES):
        result = function(op)(x, mask, 1)
        out = maker(np.full(result.shape, 1, result.dtype))
        around = outside(out)
        check(op, x, mask, 1, out=out)
        assert bits(out) == bits(result)
        assert outside(out) == around


def test_out_overlaps():
    x, mask = values((9, 9), "f8"), marks((9, 9))
    for op in ("sum", "mean", "var", "min"):
        expected = function(op)(x, mask, 0)
        memory = x.copy()
        assert bits(function(op)(memory, mask, 0, out=memory[3])) == bits(expected)
    memory = mask.copy()
    fm.masked_max(mask, memory, 0, out=memory[0])
    assert bits(memory[0]) == bits(fm.masked_max(mask, mask, 0))


def test_bad_out():
    x, mask = values((3, 4), "f8"), marks((3, 4))
    for out, error in [
        (np.zeros(4), ValueError),
        (np.zeros(3, "i4"), TypeError),
        (1.0, TypeError),
        ([0, 0, 0], TypeError),
    ]:
        for op in ("sum", "mean", "var", "max"):
            with pytest.raises(error, match="out"):
                function(op)(x, mask, 1, out=out)
    locked = np.zeros(3)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        fm.masked_sum(x, mask, 1, out=locked)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    x, mask = values((4, 6), "f4"), marks((4, 6))
    for op in (*REDUCTIONS, *PLACES):
        for axis in (None, 1):
            result = function(op)(torch.from_numpy(x), torch.from_numpy(mask), axis)
            assert isinstance(result, torch.Tensor)
            assert bits(result.numpy()) == bits(function(op)(x, mask, axis))


# Random calls


@st.composite
def calls(draw):
    """An operation, an array in any layout, a mask that broadcasts to it, axes."""
    dtype = draw(st.sampled_from(DTYPES))
    op = draw(st.sampled_from(operations(dtype)))
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 5, 8, 17, 33]), max_size=5)))
    while np.prod(shape) > 5000:
        shape = tuple(min(n, 5) for n in shape)
    axes = tuple(draw(st.permutations(range(len(shape))))[: draw(st.integers(0, len(shape)))])
    axes = draw(st.sampled_from([axes, None]))
    if op in PLACES:
        axes = axes[0] if axes else None
    layout = draw(st.sampled_from(sorted(makers_for(dtype, SAME_VALUES))))
    lengths = [n if draw(st.booleans()) else 1 for n in shape]
    mask = marks(tuple(lengths[draw(st.integers(0, len(shape))) :]), draw(st.integers(0, 5)))
    of_mask = draw(st.sampled_from(sorted(makers_for(bool, SAME_VALUES))))
    x = poisoned(values(shape, dtype, draw(st.integers(0, 5))), mask)
    return op, makers_for(dtype)[layout](x), makers_for(bool)[of_mask](mask), axes


@given(calls())
def test_random_calls(call):
    op, x, mask, axes = call
    if op not in PLACES or np.broadcast_to(mask, x.shape).any(axes).all():
        check(op, x, mask, axes, **keywords(op))


# Bad input


@pytest.mark.parametrize("op", [*REDUCTIONS, *PLACES])
def test_bad_arguments(op):
    x, mask = values((3, 4), "f4"), marks((3, 4))
    for bad in (np.ones((3, 4), int), np.ones(4), [1, 0, 1, 1], None, "a"):
        with pytest.raises(TypeError, match="mask"):
            function(op)(x, bad)
    for shape in [(3,), (4, 3), (2, 3, 4), (1, 3, 4), (0, 4), (2, 4)]:
        with pytest.raises(ValueError, match="mask has shape"):
            function(op)(x, np.ones(shape, bool))
    with pytest.raises(ValueError, match="mask has shape"):
        function(op)(x[:, :1], mask)
    for axis in (2, -3):
        with pytest.raises(ValueError, match="axis"):
            function(op)(x, mask, axis)
    for axis in (1.0, "a"):
        with pytest.raises(TypeError, match="axis"):
            function(op)(x, mask, axis)
    if op in PLACES:
        with pytest.raises(TypeError, match="axis"):
            function(op)(x, mask, (0, 1))
    else:
        with pytest.raises(ValueError, match="axis"):
            function(op)(x, mask, (0, 0))
    for dtype in ("M8[s]", "S3", object):
        with pytest.raises(TypeError, match="x has dtype"):
            function(op)(np.zeros((3, 4), dtype), mask)


def test_bad_initial_and_correction():
    x, mask = values((3, 4), "i1"), marks((3, 4))
    for op in ("sum", "min", "max"):
        for bad in ("a", [1, 2], {}, 1j if op != "sum" else "b"):
            with pytest.raises(TypeError, match="initial"):
                function(op)(x, mask, initial=bad)
    for op in EXTREMES:
        with pytest.raises(ValueError, match="initial"):
            function(op)(x, mask, initial=300)
    for op in ("var", "std"):
        for bad in ("1", None, [1, 2]):
            with pytest.raises(TypeError, match="correction"):
                function(op)(x, mask, correction=bad)


def test_read_only_inputs_stay_as_they_are():
    x, mask = values((30, 40), "f4"), marks((30, 40))
    x.flags.writeable = mask.flags.writeable = False
    for op in (*REDUCTIONS, *PLACES):
        with unmodified(x, mask):
            function(op)(x, mask, 0)


def test_bfloat16_of_ml_dtypes():
    x = np.array([[1, 2, 3]], ml_dtypes.bfloat16)
    assert fm.masked_max(x, [True, True, False], 1).dtype == BFLOAT16
    assert {np.dtype(c) for c in COMPLEX} == {np.dtype("c8"), np.dtype("c16")}
