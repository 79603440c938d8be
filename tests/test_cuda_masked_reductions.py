"""`fm.masked_sum` and its kin on GPUs, against the oracles that hold on the CPU."""

import masked_oracles
import numpy as np
import pytest
from gpus import on
from layouts import block, broadcast, f_order, negative, sliced
from masked_oracles import PLACES, REDUCTIONS
from masks import compare, function, marks, poisoned
from normals import values
from oracles import BFLOAT16, COMPLEX, DTYPES, name
from products import any_bits

import fastmat as fm

reduced_launch = pytest.importorskip("fastmat.cuda.reduced_launch")

SUMS = ("sum", "mean", "var", "std", "count")
EXTREMES = ("min", "max")
DEPTH = 48  # additions, one upon the other, that a result is made of, at most
# Of each way to share a group among threads, with 4 multiprocessors.
SHAPES = {
    "lanes": ((37, 5), -1),
    "lanes of runs": ((9, 100), -1),
    "block": ((5, 1300), -1),
    "long": ((9, 9000), -1),
    "split": ((2, 40_001), -1),
    "columns": ((5, 37), 0),
    "split columns": ((9000, 3), 0),
}


def operations(dtype):
    """Those that a dtype has."""
    return SUMS if np.dtype(dtype).kind == "c" else (*REDUCTIONS, *PLACES)


def error_of_sums(op, x, mask, axis, keepdims, value):
    """What sums in the dtype that is computed with are off by, at most."""
    computed = np.dtype(
        "f8" if np.dtype(x.dtype) in ("f8", "c16") or x.dtype.kind in "biu" else "f4"
    )
    eps = DEPTH * np.longdouble(np.finfo(computed).eps)
    mask = np.broadcast_to(mask, x.shape)
    with np.errstate(all="ignore"):
        numbers = np.where(mask, x, np.zeros((), x.dtype))
        size = np.abs(numbers.astype("c16" if x.dtype.kind == "c" else "f8"))
        keep = {"axis": axis, "keepdims": keepdims}
        n = np.maximum(mask.sum(**keep), 1)
        if op == "sum":
            return eps * size.sum(**keep)
        if op == "mean":
            return eps * size.sum(**keep) / n
        # The mean is off by eps times the mean magnitude, and that squared is what matters.
        off = (eps * size.sum(**keep) / n) ** 2
        if op == "var":
            return eps * value + off
        return eps * value + np.minimum(np.sqrt(off), off / value)


def check(gpu, op, x, mask, axis=None, keepdims=False, **keywords):
    """Call a reduction and compare its result with the oracle."""
    if op in PLACES:
        value = np.asarray(masked_oracles.place(op, x, mask, axis, keepdims))
        expected = masked_oracles.Reduced(value, np.zeros(value.shape), np.dtype(np.int64))
    else:
        expected = masked_oracles.reduce(op, x, mask, axis, keepdims, **keywords)
        if op in SUMS and expected.dtype.kind not in "biu":
            more = error_of_sums(op, x, mask, axis, keepdims, expected.value)
            expected = expected._replace(bound=expected.bound + more)
    result = function(op)(gpu.array(x), gpu.array(mask), axis, keepdims, **keywords)
    assert isinstance(result, gpu.kind)
    found = gpu.numpy(result)
    assert found.dtype == expected.dtype
    compare(found, expected)
    return found


@pytest.mark.parametrize("op", [*REDUCTIONS, *PLACES])
def test_reductions(gpu, op):
    shape, axis = SHAPES["lanes of runs"]
    mask = marks(shape)
    check(gpu, op, poisoned(values(shape, "f4"), mask), mask, axis)


WAYS = [(way, "sum") for way in SHAPES if way != "lanes of runs"]
WAYS += [(way, op) for way in ("split", "columns") for op in ("var", "argmin")]


@pytest.mark.parametrize(("way", "op"), WAYS)
def test_ways(gpu, way, op):
    shape, axis = SHAPES[way]
    mask = marks(shape)
    check(gpu, op, poisoned(values(shape, "f4"), mask), mask, axis)


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("way", SHAPES)
def test_everything(gpu, way, dtype):
    shape, axis = SHAPES[way]
    mask = marks(shape)
    x = poisoned(values(shape, dtype), mask)
    for op in operations(dtype):
        check(gpu, op, x, mask, axis)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f8", "u1", "i8", "?", "c8"], ids=name)
def test_dtypes(gpu, dtype):
    shape = (3, 48)
    mask = marks(shape)
    x = poisoned(values(shape, dtype), mask)
    for op in ("sum", "var") if dtype in COMPLEX else ("mean", "max"):
        check(gpu, op, x, mask, 1)


@pytest.mark.parametrize("dtype", ["i1", "u8"])
def test_integers_over_their_whole_range(gpu, dtype):
    x, mask = any_bits((4, 32), dtype), marks((4, 32))
    check(gpu, "sum", x, mask, 1)
    check(gpu, "min", x, mask, 1)


def test_masks_of_any_bytes(gpu):
    x, mask = values((7, 32), "f4"), any_bits((7, 32), "?")
    true = mask.view("u1") != 0
    for op in ("sum", "mean", "count", "max"):
        given = gpu.array(x), gpu.array(mask), 1
        plain = gpu.array(x), gpu.array(true), 1
        found, wanted = function(op)(*given), function(op)(*plain)
        assert gpu.numpy(found).tobytes() == gpu.numpy(wanted).tobytes()


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), (1, -1), ()])
def test_axes(gpu, axis):
    x, mask = values((3, 4, 5), "f4"), marks((3, 4, 5))
    for keepdims in (False, True):
        check(gpu, "sum", poisoned(x, mask), mask, axis, keepdims)
        check(gpu, "count", poisoned(x, mask), mask, axis, keepdims)


@pytest.mark.parametrize("layout", [f_order, sliced, negative, block, broadcast])
def test_layouts(gpu, layout):
    x, mask = layout(values((3, 4, 5, 8), "f4")), layout(marks((3, 4, 5, 8)))
    for axis in (3, (1, 3), None):
        check(gpu, "sum", x, mask, axis)
    check(gpu, "argmax", x, mask)
    check(gpu, "argmax", x, mask, 1)


def test_masks_broadcast(gpu):
    x = values((2, 3, 4, 16), "f4")
    for shape in ((2, 1, 1, 16), (4, 1), (3, 1, 1), (1,), ()):
        mask = np.asarray(marks(shape) if shape else True)
        for axis in (None, -1, (1, 3)):
            check(gpu, "sum", x, mask, axis)
            check(gpu, "count", x, mask, axis)


def test_counts_of_masks_that_repeat(gpu):
    """What is repeated is not read once more: the emulator would take a minute for it."""
    x = np.broadcast_to(np.float32(2), (2**12, 2**13))
    found = fm.masked_count(gpu.array(x), gpu.array(np.ones((1, 1), bool)))
    assert gpu.numpy(found) == 2**25
    found = fm.masked_count(gpu.array(x[:3]), gpu.array(np.ones((3, 1), bool)), 1)
    assert (gpu.numpy(found) == 2**13).all()


def test_nan_and_infinities(gpu):
    x = np.array([[1, np.nan, 3, np.nan], [np.inf, 1, 2, 3], [-np.inf, np.inf, 0, 0]], "f4")
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
    with np.errstate(invalid="ignore"):
        for op in (*REDUCTIONS, *PLACES):
            check(gpu, op, x, mask, 1)
            check(gpu, op, x, mask & (x == x), 1)


def test_first_of_equals(gpu):
    for n in (40, 1300):
        x, mask = np.zeros((2, n), "f4"), np.ones((2, n), bool)
        mask[:, : n // 2] = False
        assert (gpu.numpy(fm.masked_argmax(gpu.array(x), gpu.array(mask), 1)) == n // 2).all()


@pytest.mark.parametrize("op", PLACES)
@pytest.mark.parametrize("way", ["lanes of runs", "block", "split"])
def test_places_of_the_last_and_of_nan(gpu, way, op):
    """What is masked is not mistaken for the last of all numbers, nor NaN passed over."""
    n = SHAPES[way][0][1]
    last = -np.inf if op == "argmax" else np.inf
    x, mask = np.full((4, n), last, "f4"), np.ones((4, n), bool)
    mask[:, : n // 2] = False
    x[1, [n // 2 + 3, n - 1]] = np.nan
    x[2, [0, n - 1]] = np.nan
    x[3] = np.where(np.arange(n) % 2, 0.0, -0.0)
    found = check(gpu, op, x, mask, 1)
    np.testing.assert_array_equal(found, [n // 2, n // 2 + 3, n - 1, n // 2])


def test_older_gpus():
    """They have no instructions for the larger number or NaN, and for bfloat16."""
    with on("emulator", capability=(7, 5)) as gpu:
        test_nan_and_infinities(gpu)
        test_dtypes(gpu, BFLOAT16)


@pytest.fixture
def counting_in_int64(monkeypatch):
    """All groups are counted as those of 2**31 numbers and more."""
    monkeypatch.setattr(reduced_launch, "FEW", 0)
    reduced_launch._plan.cache_clear()
    yield
    reduced_launch._plan.cache_clear()


@pytest.mark.parametrize("way", ["lanes of runs", "split"])
def test_many_numbers(gpu, counting_in_int64, way):
    shape, axis = SHAPES[way]
    mask = marks(shape)
    x = poisoned(values(shape, "f4"), mask)
    for op in ("count", "mean", "var", "argmax"):
        check(gpu, op, x, mask, axis)


def test_nothing_valid(gpu):
    x, mask = values((3, 16), "f4"), marks((3, 16))
    mask[1] = False
    assert np.isnan(check(gpu, "mean", x, mask, 1)[1])
    assert np.isnan(check(gpu, "var", x, mask, 1)[1])
    assert check(gpu, "sum", x, mask, 1, initial=3)[1] == 3
    assert check(gpu, "count", x, mask, 1)[1] == 0
    for op in EXTREMES:
        found = check(gpu, op, x, mask, 1, initial=0.25)
        assert found[1] == 0.25
        out = gpu.array(np.full(3, 7, "f4"))
        with pytest.raises(ValueError, match=f"masked_{op} of a slice.*it needs initial="):
            function(op)(gpu.array(x), gpu.array(mask), 1, out=out)
        assert (gpu.numpy(out) == 7).all()
    for op in PLACES:
        with pytest.raises(ValueError, match=f"masked_{op} of a slice.*there is no place"):
            function(op)(gpu.array(x), gpu.array(mask), 1)


def test_correction(gpu):
    x, mask = values((4, 16), "f4"), marks((4, 16))
    for correction in (1, 2.5):
        check(gpu, "var", x, mask, 1, correction=correction)


def test_empty(gpu):
    cases = [((0, 4), 1), ((3, 0), 1), ((0,), None), ((3, 0), None), ((2, 0, 3), (0, 1))]
    for shape, axis in cases:
        x, mask = np.zeros(shape, "f4"), np.zeros(shape, bool)
        check(gpu, "sum", x, mask, axis, initial=2)
        check(gpu, "mean", x, mask, axis)
        check(gpu, "max", x, mask, axis, initial=5)
    with pytest.raises(ValueError, match="it needs initial="):
        fm.masked_max(gpu.array(np.zeros((3, 0), "f4")), gpu.array(np.zeros((3, 0), bool)), 1)


def test_out(gpu):
    x, mask = values((6, 16), "f4"), marks((6, 16))
    expected = gpu.numpy(fm.masked_sum(gpu.array(x), gpu.array(mask), 1))
    memory = gpu.array(x)
    out = memory[:, 5]
    assert fm.masked_sum(memory, gpu.array(mask), 1, out=out) is out
    np.testing.assert_array_equal(gpu.numpy(memory)[:, 5], expected)


MISTAKES = [
    (lambda f, a: f.masked_sum(a("f4"), a("f4")), "mask has dtype float32; it must be bool, where"),
    (lambda f, a: f.masked_sum(a("f4"), a("?", (3,))), "mask has shape .*, that of x"),
    (lambda f, a: f.masked_sum(a("f4"), a("?"), 5), "axis 5 is out of bounds"),
    (lambda f, a: f.masked_min(a("c8"), a("?"), initial=1), "so that it has an order"),
    (lambda f, a: f.masked_argmax(a("f4"), a("?"), (0, 1)), "it must be an integer or None"),
    (lambda f, a: f.masked_min(a("f4"), a("?"), initial="a"), "initial is 'a'; it must be a num"),
    (lambda f, a: f.masked_max(a("i1"), a("?"), initial=999), "initial is 999; it must fit into"),
    (lambda f, a: f.masked_var(a("f4"), a("?"), correction="a"), "correction is 'a'; it must be"),
    (lambda f, a: f.masked_sum(a("f4"), a("?"), out=a("f4")), "out has shape .*result has shape"),
    (lambda f, a: f.masked_sum(a("f4"), a("?"), 0, out=a("i1", (4,))), "out has dtype int8; the"),
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
    found = set()
    for seed in (0, 1):
        with on("emulator", seed=seed) as gpu:
            for op in ("sum", "var"):
                found.add(gpu.numpy(function(op)(gpu.array(x), gpu.array(mask), axis)).tobytes())
    assert len(found) == 2
