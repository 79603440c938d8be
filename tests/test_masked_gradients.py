"""Gradients of masked reductions: against their formulas, and by finite differences."""

from itertools import combinations

import masked_oracles
import numpy as np
import pytest
from layouts import LAYOUTS, WRITABLE, makers_for, outside, unmodified
from masks import function, marks, poisoned
from normals import near, values
from oracles import BFLOAT16, FLOATS, name
from products import bits
from tolerances import rounding_bound

import fastmat as fm

OPS = ("sum", "mean", "var", "std", "min", "max")
EXTREMES = ("min", "max")
NAMES = (
    "masked_sum_vjp",
    "masked_mean_vjp",
    "masked_var_vjp",
    "masked_std_vjp",
    "masked_min_vjp",
    "masked_max_vjp",
)
SHAPES = [(7,), (5, 3), (13, 17), (2, 3, 4), (7, 1, 11), (2, 6, 5, 7), (65, 33), (3, 5000)]


def gradient(op):
    """The operation of fastmat."""
    return getattr(fm, f"masked_{op}_vjp")


def result_of(op, x, mask, axis, **keywords):
    """What the reduction returns."""
    more = {"initial": 0} if op in EXTREMES else {}
    return function(op)(x, mask, axis, **more, **keywords)


def check(op, x, mask, axis=None, keepdims=False, out=None, cotangent=None, **keywords):
    """Call a gradient and compare it with its formula.

    The mean is off by n eps64 times the size of the numbers, sums of squares by (n + 8) eps64 of
    themselves; what is left is the rounding of a few products in float64, and one to the dtype.
    """
    result = result_of(op, x, mask, axis, keepdims=keepdims, **keywords)
    dtype = np.dtype("f8") if x.dtype.kind in "biu" else x.dtype.newbyteorder("=")
    g = values(np.shape(result), dtype, 9) if cotangent is None else cotangent
    further = {"result": result} if op in EXTREMES else {}
    value, size = masked_oracles.gradient(op, g, x, mask, axis, keepdims, **further, **keywords)
    inputs = [part for part in (x, mask, g) if out is None or not np.may_share_memory(part, out)]
    given = {} if out is None else {"out": out}
    args = (g, x, mask, result) if op in EXTREMES else (g, x, mask)
    with unmodified(*inputs):
        found = gradient(op)(*args, axis, keepdims, **keywords, **given)
    if out is None:
        assert found.dtype == dtype
        assert type(found) is np.ndarray or found.ndim == 0
    else:
        assert found is out
    bound = 4 * (x.size + 16) * np.longdouble(np.finfo("f8").eps) * size
    near(found, value, rounding_bound(np.abs(value), bound, dtype))
    assert not np.asarray(found)[~np.broadcast_to(mask, x.shape)].astype("f8").any()
    return found


@pytest.mark.parametrize("dtype", ["?", "i4", *FLOATS], ids=name)
def test_shapes_and_axes(dtype):
    for shape in SHAPES:
        mask = marks(shape)
        x = poisoned(values(shape, dtype), mask)
        choices = [axes for n in range(len(shape) + 1) for axes in combinations(range(x.ndim), n)]
        for axes in (None, *choices):
            for op in OPS:
                if op != "std" or np.broadcast_to(mask, shape).sum(axes).min() > 2:
                    check(op, x, mask, axes)


@pytest.mark.parametrize("op", OPS)
def test_finite_differences(op):
    """Away from ties a reduction of float64 is smooth: central differences are right to 1e-6."""
    x, mask = values((4, 6), "f8", 3), marks((4, 6), 3)
    g = values((4,), "f8", 4)
    args = (g, x, mask, function(op)(x, mask, 1)) if op in EXTREMES else (g, x, mask)
    by_x = gradient(op)(*args, 1)
    step = 1e-6
    for at in np.ndindex(x.shape):
        sides = []
        for change in (step, -step):
            moved = x.copy()
            moved[at] += change
            sides.append(np.dot(g, function(op)(moved, mask, 1)))
        assert by_x[at] == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def test_as_pytorch():
    """Of what is valid, in the order that it is: ties share evenly, as with `amin`."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).integers(0, 3, (6, 30)).astype("f8")
    mask = marks(x.shape)
    for op in OPS:
        for row, valid in zip(x, mask, strict=True):
            tensor = torch.from_numpy(row[valid]).requires_grad_()
            kind = {"min": "amin", "max": "amax"}.get(op, op)
            more = {"correction": 1} if op in ("var", "std") else {}
            result = getattr(torch, kind)(tensor, **more)
            wanted = torch.autograd.grad(result, tensor)[0].numpy()
            args = (1.0, row, valid, result.item()) if op in EXTREMES else (1.0, row, valid)
            found = gradient(op)(*args, **more)
            np.testing.assert_allclose(found[valid], wanted, rtol=1e-12, atol=1e-13)
            assert not found[~valid].any()


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8"], ids=name)
def test_nothing_valid_and_numbers_that_are_not(dtype):
    """0 where nothing is valid, never NaN, whatever the numbers are."""
    x, mask = np.full((3, 70), np.nan, dtype), np.zeros((3, 70), bool)
    x[1], mask[1] = values(70, dtype), True
    for axis in (0, 1, None):
        for op in OPS:
            found = check(op, x, mask, axis)
            assert not found[[0, 2]].astype("f8").any()
    for op in OPS:
        result = result_of(op, x, False, 1)
        args = (result, x, False, result) if op in EXTREMES else (np.ones(3, dtype), x, False)
        assert not gradient(op)(*args, 1).astype("f8").any()


def test_equal_numbers():
    """Ties share evenly; the deviation of equal numbers is 0, and so is its gradient."""
    x = np.full((2, 5), 3.0)
    mask = np.array([[1, 1, 1, 1, 0], [0, 0, 1, 0, 0]], bool)
    for op in EXTREMES:
        found = gradient(op)(np.ones(2), x, mask, np.full(2, 3.0), 1)
        np.testing.assert_array_equal(found, [[0.25, 0.25, 0.25, 0.25, 0], [0, 0, 1, 0, 0]])
    assert not fm.masked_std_vjp(np.ones(2), x, mask, 1).any()


def test_nan_and_initial():
    x, mask = np.array([1.0, np.nan, 2.0, np.nan]), np.ones(4, bool)
    found = fm.masked_min_vjp(1.0, x, mask, fm.masked_min(x, mask))
    np.testing.assert_array_equal(found, [0, 0.5, 0, 0.5])
    low = fm.masked_min(x[::2], mask[::2], initial=-5.0)
    assert not fm.masked_min_vjp(1.0, x[::2], mask[::2], low).any()


def test_masks_that_broadcast():
    for shape, small in [
        ((9, 70), (70,)),
        ((9, 70), (9, 1)),
        ((9, 70), ()),
        ((6, 5, 4), (5, 1)),
        ((2, 3, 4, 5), (3, 1, 5)),
    ]:
        mask = marks(small) if small else np.array(True)
        x = values(shape, "f4")
        for op in OPS:
            for axes in (None, 0, -1, (0, -1)):
                found = check(op, x, mask, axes)
                assert bits(found) == bits(check(op, x, np.broadcast_to(mask, shape), axes))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_layouts(dtype, layout):
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    of_mask = makers_for(bool).get(layout, LAYOUTS["sliced"])
    for shape in [(37,), (9, 5), (3, 6, 35), (2, 4, 5, 3), (70, 9, 2)]:
        x, mask = maker(values(shape, dtype)), of_mask(marks(shape))
        for op in OPS:
            for axes in (None, 0, -1, (0, -1) if len(shape) > 1 else (0,)):
                if op != "std" or np.broadcast_to(mask, shape).sum(axes).min() > 2:
                    check(op, x, mask, axes)


@pytest.mark.parametrize("layout", WRITABLE)
def test_layouts_of_out(layout):
    for dtype in ("f4", "f8"):
        maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
        for shape in [(37,), (9, 5), (70, 9, 2)]:
            x, mask = values(shape, dtype), marks(shape, 2)
            for op in ("mean", "var", "max"):
                out = maker(np.full(shape, 77, dtype))
                around = outside(out)
                check(op, x, mask, 0, out=out)
                assert outside(out) == around


def test_out_overlaps_everything():
    shape = (40, 50)
    mask = marks(shape)
    for op in OPS:
        x = values(shape, "f8")
        expected = check(op, x, mask, 1)
        own = x.copy()
        assert bits(check(op, own, mask, 1, out=own)) == bits(expected)
        memory = values((41, 50), "f8")
        for a, b in ((0, 1), (1, 0)):
            memory[a : a + 40] = x
            check(op, memory[a : a + 40], mask, 1, out=memory[b : b + 40])
        memory[0, :40] = values((40,), "f8", 9)
        g = memory[0, :40]
        check(op, x, mask, 1, out=memory[:40], cotangent=g)
    out = np.zeros((4, 80))
    aliased = out.view(bool)[:, :80]
    aliased[...] = marks((4, 80))
    valid, x = aliased.copy(), values((4, 80), "f8")
    fm.masked_sum_vjp(np.ones(4), x, aliased, 1, out=out)
    np.testing.assert_array_equal(out, valid)


def test_keepdims_and_correction():
    x, mask = values((4, 5, 6), "f8"), marks((4, 5, 6))
    for op in OPS:
        for axes in (None, 1, (0, 2)):
            g = values(np.shape(x.sum(axes)), "f8", 9)
            of_kept = g.reshape(x.sum(axes, keepdims=True).shape)
            kept = check(op, x, mask, axes, keepdims=True, cotangent=of_kept)
            assert bits(kept) == bits(check(op, x, mask, axes, cotangent=g))
    for op in ("var", "std"):
        for correction in (1, 0.5):
            check(op, x, mask, (0, 2), correction=correction)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty(shape):
    x, mask = np.zeros(shape, "f4"), np.ones(shape, bool)
    for op in OPS:
        for axis in (0, None):
            assert check(op, x, mask, axis).shape == shape


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    x, mask, g = values((4, 6), "f4"), marks((4, 6)), values((4,), "f4", 3)
    for op in OPS:
        args = (g, x, mask, function(op)(x, mask, 1)) if op in EXTREMES else (g, x, mask)
        tensors = [torch.from_numpy(part) for part in args]
        result = gradient(op)(*tensors, 1)
        assert isinstance(result, torch.Tensor)
        assert bits(result.numpy()) == bits(gradient(op)(*args, 1))


def test_bad_arguments():
    x, mask, g = values((3, 4), "f4"), marks((3, 4)), np.ones(3)
    out = np.full((3, 4), 77, "f4")
    for op in OPS:
        more = (np.ones(3),) if op in EXTREMES else ()
        for bad, error in [(np.ones(4), ValueError), (np.ones(3, "c8"), TypeError)]:
            with pytest.raises(error, match="cotangent"):
                gradient(op)(bad, x, mask, *more, 1, out=out)
        with pytest.raises(TypeError, match="must be real"):
            gradient(op)(g, x.astype("c8"), mask, *more, 1, out=out)
        with pytest.raises(TypeError, match="mask"):
            gradient(op)(g, x, mask.astype(int), *more, 1, out=out)
        with pytest.raises(ValueError, match="mask has shape"):
            gradient(op)(g, x, mask[:2], *more, 1, out=out)
        with pytest.raises(ValueError, match="axis"):
            gradient(op)(g, x, mask, *more, 2, out=out)
        with pytest.raises(ValueError, match="out has shape"):
            gradient(op)(g, x, mask, *more, 1, out=out[:2])
        if op in EXTREMES:
            with pytest.raises(ValueError, match="result"):
                gradient(op)(g, x, mask, np.ones(4), 1, out=out)
    assert (out == 77).all()
