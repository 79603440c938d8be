"""Gradients of masked reductions on GPUs, against the formulas that hold on the CPU."""

import masked_oracles
import numpy as np
import pytest
from gpus import on
from layouts import block, broadcast, f_order, negative, sliced
from masks import function, marks, poisoned
from normals import near, values
from oracles import BFLOAT16, name
from products import any_bits
from tolerances import rounding_bound

import fastmat as fm

OPS = ("sum", "mean", "var", "std", "min", "max")
EXTREMES = ("min", "max")
DEPTH = 64  # roundings, one upon the other, that a gradient is made of, at most
# Of each way to share a group among threads, with 4 multiprocessors.
SHAPES = {
    "lanes": ((37, 5), -1),
    "lanes of runs": ((9, 100), -1),
    "block": ((5, 1300), -1),
    "long": ((9, 9000), -1),
    "split": ((2, 40_001), -1),
    "columns": ((9, 37), 0),
    "split columns": ((9000, 3), 0),
}


def gradient(op):
    """The operation of fastmat."""
    return getattr(fm, f"masked_{op}_vjp")


def arguments(op, g, x, mask, axis, keepdims, **keywords):
    """The positional ones before the axis, as NumPy arrays."""
    if op not in EXTREMES:
        return g, x, mask
    result = function(op)(x, mask, axis, initial=0, keepdims=keepdims, **keywords)
    return g, x, mask, np.asarray(result)


def check(gpu, op, x, mask, axis=None, keepdims=False, g=None, out=None, **keywords):
    """Call a gradient and compare it with its formula."""
    dtype = np.dtype("f8") if x.dtype.kind in "biu" else x.dtype
    if g is None:
        shape = np.sum(np.empty(x.shape, "?"), axis, keepdims=keepdims).shape
        g = np.asarray(values(shape, dtype, 9))
    given = arguments(op, g, x, mask, axis, keepdims)
    further = {"result": given[3]} if op in EXTREMES else {}
    with np.errstate(all="ignore"):
        value, size = masked_oracles.gradient(op, g, x, mask, axis, keepdims, **further, **keywords)
        eps = np.finfo("f8" if dtype == "f8" else "f4").eps
        bound = rounding_bound(np.abs(value), DEPTH * np.longdouble(eps) * size, dtype)
    if out is None:
        result = gradient(op)(*map(gpu.array, given), axis, keepdims, **keywords)
        assert isinstance(result, gpu.kind)
    else:
        moved = [out if part is x else gpu.array(part) for part in given]
        result = gradient(op)(*moved, axis, keepdims, **keywords, out=out)
        assert result is out
    found = gpu.numpy(result)
    assert found.dtype == dtype
    assert found.shape == x.shape
    near(found, value, bound)
    assert not found[~np.broadcast_to(mask, x.shape)].astype("f8").any()
    return found


@pytest.mark.parametrize("op", OPS)
def test_gradients(gpu, op):
    shape, axis = SHAPES["lanes of runs"]
    mask = marks(shape)
    check(gpu, op, poisoned(values(shape, "f4"), mask), mask, axis)


WAYS = [(way, "std") for way in SHAPES if way != "lanes of runs"]
WAYS += [("split", "mean"), ("split", "min"), ("columns", "max"), ("columns", "mean")]


@pytest.mark.parametrize(("way", "op"), WAYS)
def test_ways(gpu, way, op):
    shape, axis = SHAPES[way]
    mask = marks(shape)
    check(gpu, op, poisoned(values(shape, "f4"), mask), mask, axis)


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "i4", "?"], ids=name)
@pytest.mark.parametrize("way", SHAPES)
def test_everything(gpu, way, dtype):
    shape, axis = SHAPES[way]
    mask = marks(shape)
    x = poisoned(values(shape, dtype), mask)
    for op in OPS:
        check(gpu, op, x, mask, axis)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f8", "u1", "i8", "?"], ids=name)
def test_dtypes(gpu, dtype):
    shape = (3, 48)
    mask = marks(shape)
    x = poisoned(values(shape, dtype), mask)
    for op in ("sum", "max") if x.dtype.kind in "biu" else ("var",):
        check(gpu, op, x, mask, 1)


def test_what_is_given_has_a_dtype_of_its_own(gpu):
    x, mask = values((4, 40), "f4"), marks((4, 40))
    for dtype in ("f8", "f2", "i4", "?"):
        g = values((4,), dtype, 3)
        for op in ("sum", "mean"):
            check(gpu, op, x, mask, 1, g=g)
    whole = np.rint(x)
    result = gpu.array(np.asarray(function("max")(whole, mask, 1)).astype("i8"))
    given = gpu.array(np.ones(4, "f4")), gpu.array(whole), gpu.array(mask), result
    found = gpu.numpy(fm.masked_max_vjp(*given, 1))
    np.testing.assert_array_equal(found != 0, mask & (whole == gpu.numpy(result)[:, None]))


def test_python_numbers(gpu):
    x, mask = values((4, 40), "f4"), marks((4, 40))
    for op in ("sum", "var"):
        wanted = gradient(op)(gpu.array(np.float32(0.5)), gpu.array(x), gpu.array(mask))
        found = gradient(op)(0.5, gpu.array(x), gpu.array(mask))
        np.testing.assert_array_equal(gpu.numpy(found), gpu.numpy(wanted))


def test_masks_of_any_bytes(gpu):
    x, mask = values((7, 32), "f4"), any_bits((7, 32), "?")
    true = mask.view("u1") != 0
    for op in OPS:
        g, *rest = arguments(op, values((7,), "f4", 9), x, true, 1, False)
        result = map(gpu.array, rest[2:])
        found = gradient(op)(gpu.array(g), gpu.array(x), gpu.array(mask), *result, 1)
        plain = gradient(op)(*map(gpu.array, (g, *rest)), 1)
        assert gpu.numpy(found).tobytes() == gpu.numpy(plain).tobytes()


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), (1, -1), ()])
def test_axes(gpu, axis):
    x, mask = values((3, 4, 5), "f4"), marks((3, 4, 5))
    for keepdims in (False, True):
        for op in ("sum", "mean", "min"):
            check(gpu, op, poisoned(x, mask), mask, axis, keepdims)


@pytest.mark.parametrize("layout", [f_order, sliced, negative, block, broadcast])
def test_layouts(gpu, layout):
    x, mask = layout(values((3, 4, 5, 8), "f4")), layout(marks((3, 4, 5, 8)))
    for axis in (3, (1, 3), None):
        for op in ("sum", "mean", "max"):
            check(gpu, op, x, mask, axis)


def test_cotangents_of_any_layout(gpu):
    x, mask = values((6, 5, 8), "f4"), marks((6, 5, 8))
    for g in (values((5, 6), "f4", 2).T, np.broadcast_to(np.float32(2), (6, 5))):
        for op in ("sum", "mean", "max"):
            check(gpu, op, x, mask, 2, g=g)


def test_masks_broadcast(gpu):
    x = values((2, 3, 4, 16), "f4")
    for shape in ((2, 1, 1, 16), (4, 1), (3, 1, 1), (1,), ()):
        mask = np.asarray(marks(shape) if shape else True)
        for axis, ops in ((-1, ("sum", "mean", "min")), ((1, 3), ("mean", "min"))):
            for op in ops:
                check(gpu, op, x, mask, axis)


def test_ties(gpu):
    for n in (40, 1300):
        x = np.random.default_rng(1).integers(0, 3, (3, n)).astype("f4")
        for op in EXTREMES:
            check(gpu, op, x, marks((3, n)), 1)


def test_nan_and_initial(gpu):
    x, mask = np.array([[1, np.nan, 2, np.nan]], "f4"), np.ones((1, 4), bool)
    for op in EXTREMES:
        found = check(gpu, op, x, mask, 1, g=np.ones(1, "f4"))
        np.testing.assert_array_equal(found, [[0, 0.5, 0, 0.5]])
        given = gpu.array(np.full(1, -5, "f4")), gpu.array(x), gpu.array(mask)
        found = gradient(op)(*given, gpu.array(np.full(1, -5, "f4")), 1)
        assert not gpu.numpy(found).any()
    for op in ("mean", "var", "std"):
        check(gpu, op, x, mask, 1)
        check(gpu, op, x, mask & (x == x), 1)
    for op in OPS:
        check(gpu, op, np.ones((1, 4), "f4"), mask, 1, g=np.full(1, np.nan, "f4"))


def test_nothing_valid(gpu):
    x, mask = np.full((3, 100), np.nan, "f4"), np.zeros((3, 100), bool)
    x[1], mask[1] = values(100, "f4"), True
    for op in OPS:
        assert not check(gpu, op, x, mask, 1)[[0, 2]].any()
        assert not check(gpu, op, x, mask & False).any()


@pytest.mark.parametrize("n", [1, 5, 100, 1300, 9000])
def test_the_deviation_of_equal_numbers_is_0(gpu, n):
    x, mask = np.full((2, n), 0.1, "f4"), marks((2, n))
    mask[:, 0] = True
    assert not check(gpu, "std", x, mask, 1).any()
    assert not check(gpu, "std", np.ascontiguousarray(x.T), mask.T, 0).any()


def test_correction(gpu):
    x, mask = values((4, 16), "f4"), marks((4, 16))
    for correction in (1, 2.5):
        for op in ("var", "std"):
            check(gpu, op, x, mask, 1, correction=correction)
    mask[:, 1:] = False
    for op in ("var", "std"):
        check(gpu, op, x, mask, 1, correction=1)


def test_empty(gpu):
    for shape, axis in (((0, 4), 1), ((3, 0), 1), ((0,), None)):
        for op in OPS:
            check(gpu, op, np.zeros(shape, "f4"), np.zeros(shape, bool), axis)


def test_out(gpu):
    x, mask = values((6, 16), "f4"), marks((6, 16))
    for op in OPS:
        check(gpu, op, x, mask, 1, out=gpu.array(x))
        check(gpu, op, x, mask, (), out=gpu.array(x))
    memory = gpu.array(x)  # the cotangent is where the gradient goes
    g = memory[:, 3]
    wanted = fm.masked_mean_vjp(gpu.array(x[:, 3]), gpu.array(x), gpu.array(mask), 1)
    found = fm.masked_mean_vjp(g, memory, gpu.array(mask), 1, out=memory)
    np.testing.assert_array_equal(gpu.numpy(found), gpu.numpy(wanted))


MISTAKES = [
    (lambda f, a: f.masked_sum_vjp(a("f4", (2,)), a("f4"), a("f4"), 1), "mask has dtype float32"),
    (lambda f, a: f.masked_sum_vjp(a("f4", (2,)), a("f4"), a("?", (3,)), 1), "mask has shape"),
    (lambda f, a: f.masked_sum_vjp(a("f4"), a("f4"), a("?"), 5), "axis 5 is out of bounds"),
    (lambda f, a: f.masked_var_vjp(a("f4", (2,)), a("c8"), a("?"), 1), "x has dtype complex64; it"),
    (lambda f, a: f.masked_mean_vjp(a("f4", (4,)), a("f4"), a("?"), 1), r"cotangent .*as the resu"),
    (lambda f, a: f.masked_mean_vjp(a("c8", (2,)), a("f4"), a("?"), 1), "it must be real numbers"),
    (
        lambda f, a: f.masked_min_vjp(a("f4", (2,)), a("f4"), a("?"), a("f4", (4,)), 1),
        r"result has shape \(4,\); it must have \(2,\), as the result",
    ),
    (
        lambda f, a: f.masked_std_vjp(a("f4", (2,)), a("f4"), a("?"), 1, correction="a"),
        "correction is 'a'; it must be",
    ),
    (
        lambda f, a: f.masked_sum_vjp(a("f4", (2,)), a("f4"), a("?"), 1, out=a("f4", (2,))),
        "out has shape",
    ),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_mistakes(gpu, call, message):
    """The errors are those of the CPU."""
    caught = []
    for move in (np.asarray, gpu.array):
        with pytest.raises((ValueError, TypeError), match=message) as error:
            call(fm, lambda dtype, shape=(2, 4), move=move: move(np.zeros(shape, dtype)))
        caught.append(error.type)
    assert caught[0] is caught[1]


@pytest.mark.parametrize("way", ["lanes of runs", "split", "split columns"])
def test_the_same_bits(way):
    shape, axis = SHAPES[way]
    x, mask = values(shape, "f4"), marks(shape)
    g = values((shape[axis - 1],), "f4", 9)
    found = set()
    for seed in (0, 1):
        with on("emulator", seed=seed) as gpu:
            result = fm.masked_std_vjp(*map(gpu.array, (g, x, mask)), axis)
            found.add(gpu.numpy(result).tobytes())
    assert len(found) == 1
