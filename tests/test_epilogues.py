"""`fm.matmul(…, epilogue=, epilogue_args=)`: a function of each entry while its tile is at hand."""

import math

import numba
import numpy as np
import pytest
from layouts import WRITABLE, makers_for, outside, unmodified
from numba import njit
from oracles import BFLOAT16, DTYPES, name, widen
from products import bits, normal, same, small_integers
from programs import SHAPES, STACKS
from scipy.special import ndtr
from semiring_oracles import masked, product, result
from test_matmul_masks import broadcasting_to, marks, pair

import fastmat as fm

inf, nan = np.inf, np.nan


def call(x1, x2, function, *extras, **keywords):
    """`matmul` with an epilogue, of which the inputs are seen not to change."""
    with unmodified(x1, x2, *extras):
        found = fm.matmul(x1, x2, epilogue=function, epilogue_args=extras, **keywords)
    assert keywords.get("out") is None or found is keywords["out"]
    return found


def twice(x):
    return 2 * x + 1


def shifted(x, u):
    return 3 * x + u


BY_USERS = {
    "lambda": lambda x: 2 * x + 1,
    "function": twice,
    "njit": njit(twice),
    "njit with options": njit(twice, fastmath=True, inline="always"),
}


# Functions.


@pytest.mark.parametrize("kind", BY_USERS)
def test_functions_of_every_kind(kind):
    for m, k, n in SHAPES if kind == "njit" else SHAPES[:8]:
        for dtype in ("f4", "f8") if kind == "njit" else ("f4",):
            x1, x2 = pair((m, k), (k, n), dtype)
            same(call(x1, x2, BY_USERS[kind]), (2 * (x1 @ x2) + 1).astype(dtype))


def test_functions_that_are_not_pythons():
    x1, x2 = np.arange(12.0).reshape(3, 4), np.ones((4, 5))
    for function in (np.sqrt, math.sqrt, abs, np.negative):
        same(call(x1, x2, function), np.vectorize(function)(x1 @ x2))
    same(call(x1, x2, np.hypot, np.arange(5.0)), np.hypot(x1 @ x2, np.arange(5.0)))
    same(call(x1, x2, min, np.full(5, 20.0)), np.minimum(x1 @ x2, 20))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(dtype):
    """Integers wrap around, halves are rounded after the function, bool is made by `not`."""
    three = np.dtype(dtype).type(3) if dtype == "u8" else 3  # else Numba makes float64 of it
    function = (lambda x: not x) if np.dtype(dtype) == bool else (lambda x: x * three)
    for m, k, n in SHAPES[4:14]:
        x1, x2 = pair((m, k), (k, n), dtype)
        exact = product(x1, x2, "plus_times", exact=True)
        value = ~exact.value if exact.dtype == bool else exact.value * exact.value.dtype.type(3)
        same(call(x1, x2, function), result(exact._replace(value=value)))


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16], ids=name)
def test_functions_of_halves_get_float32(dtype):
    """4128, which neither format can tell from 4127 apart; 1 is what is left of it."""
    x1, x2 = np.full((13, 4128), 1, dtype), np.full((4128, 33), 1, dtype)
    same(call(x1, x2, lambda x: x - 4127), np.ones((13, 33), dtype))
    offset = np.full(33, 4127, "f4")
    same(call(x1, x2, lambda x, u: x - u, offset), np.ones((13, 33), dtype))


def test_once_and_after_the_whole_sum():
    """Squares of sums that are cut into pieces, by every way that a product is computed."""
    for shape1, shape2 in [
        ((50, 1200), (1200, 40)),
        ((3, 20_000), (20_000, 4)),
        ((1, 5000), (5000, 300)),
        ((300, 5000), (5000, 1)),
        ((500, 500), (500, 500)),
        ((2000, 30), (30, 3)),
        ((3, 30), (30, 2000)),
        ((600, 3, 4), (600, 4, 3)),
        *STACKS,
    ]:
        x1, x2 = (np.clip(x, -1, 1) for x in pair(shape1, shape2, "f8"))
        same(call(x1, x2, lambda x: x * x + 1), (x1 @ x2) ** 2 + 1)


def test_numbers_that_the_function_closes_over():
    def scaled(scale):
        return lambda x: scale * x

    x1, x2 = pair((5, 6), (6, 7), "f8")
    for scale in (2.0, 3.0, 2.0):
        same(call(x1, x2, scaled(scale)), scale * (x1 @ x2))


def test_functions_see_entries_of_the_product_only():
    """Neither padding nor what is beyond an edge, which would raise."""

    def positive(x, u):
        if x <= 0 or u <= 0:
            raise ValueError("not positive")
        return x + u

    for m, k, n in SHAPES:
        x1, x2 = (np.abs(x) + 1 for x in pair((m, max(k, 1)), (max(k, 1), n)))
        for extra in (np.arange(1.0, n + 1), np.arange(1.0, m + 1)[:, None]):
            same(call(x1, x2, positive, extra), (x1 @ x2 + extra).astype("f4"))


def test_division_by_zero_is_that_of_arrays():
    with np.errstate(all="ignore"):
        x1, x2 = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])
        same(call(x1, x2, lambda x: 1 / x), 1 / (x1 @ x2))


# Arrays that functions get.


def test_rows_columns_and_where_an_entry_is():
    for m, k, n in SHAPES:
        x1, x2 = pair((m, k), (k, n), "f8")
        rows, columns = np.arange(m)[:, None], np.arange(n)
        found = call(x1, x2, lambda x, i, j: 1_000_000 * x + 1000 * i + j, rows, columns)
        same(found, 1_000_000 * (x1 @ x2) + 1000 * rows + columns)
        weights = small_integers((m, n), "f8", 3)
        same(call(x1, x2, shifted, weights), 3 * (x1 @ x2) + weights)


def test_arrays_that_broadcast():
    for shape1, shape2 in [((13, 5), (5, 35)), *STACKS]:
        x1, x2 = pair(shape1, shape2, "f8")
        value = x1 @ x2
        for shape in (value.shape, *broadcasting_to(value.shape)):
            extra = small_integers(shape, "f8", 3)
            same(call(x1, x2, shifted, extra), np.asarray(3 * value + extra)[()])


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_dtypes_of_arrays(dtype):
    x1, x2 = pair((13, 5), (5, 35), "c16")
    extra = small_integers((13, 35), dtype, 3)
    same(call(x1, x2, shifted, extra), 3 * (x1 @ x2) + widen(extra, np.dtype(dtype)).astype("c16"))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_layouts_of_arrays_operands_and_out(dtype):
    x1, x2 = pair((25, 5), (5, 34), dtype)
    weights = small_integers((25, 34), dtype, 3)
    for maker in makers_for(dtype).values():
        a, b, u = maker(x1), maker(x2), maker(weights)
        expected = (3 * (a.astype(dtype) @ b.astype(dtype)) + u).astype(dtype)
        same(call(a, b, shifted, u), expected)
    for maker in makers_for(dtype, WRITABLE).values():
        out = maker(np.full((25, 34), 77, dtype))
        around = outside(out)
        call(x1, x2, shifted, weights, out=out)
        same(out.astype(dtype), (3 * (x1 @ x2) + weights).astype(dtype))
        assert outside(out) == around


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    x1, x2 = pair((5, 7), (7, 6))
    found = call(x1, x2, shifted, [1.0] * 6)
    same(found, 3 * (x1 @ x2) + np.float32(1))
    weights = torch.arange(6, dtype=torch.float32)
    found = fm.matmul(
        torch.from_numpy(x1), torch.from_numpy(x2), epilogue=shifted, epilogue_args=(weights,)
    )
    assert isinstance(found, torch.Tensor)
    same(found.numpy(), 3 * (x1 @ x2) + weights.numpy())


def test_out_that_overlaps():
    """As `out` that is the array added to, in place and shifted."""
    for offset in (0, 1):
        x1, x2 = pair((25, 7), (7, 40))
        memory = small_integers((26, 40), "f4", 3)
        extra, out = memory[:25], memory[offset : 25 + offset]
        expected = 3 * (x1 @ x2) + extra
        assert fm.matmul(x1, x2, out, epilogue=shifted, epilogue_args=(extra,)) is out
        same(out, expected)
    x1, x2 = pair((30, 30), (30, 30))
    expected = 3 * (x1 @ x2) + x1.T
    same(fm.matmul(x1, x2, x1, epilogue=shifted, epilogue_args=(x1.T,)), expected)


@pytest.mark.parametrize("dtype", ["f8", "f2", "c8"])
def test_out_of_another_dtype(dtype):
    x1, x2 = pair((25, 7), (7, 40))
    out = call(x1, x2, twice, out=np.empty((25, 40), dtype))
    same(out, (2 * (x1 @ x2) + 1).astype(dtype))


# With masks and semirings.


def test_with_masks():
    """Only what is kept is put through the function; fill is not."""
    for shape1, shape2 in [((25, 400), (400, 70)), ((3, 13, 5), (5, 35)), ((5,), (5, 40))]:
        x1, x2 = pair(shape1, shape2, "f8")
        value = x1 @ x2
        weights = small_integers(value.shape, "f8", 3)
        kept = marks(value.shape)
        found = call(x1, x2, shifted, weights, mask=kept, fill=-9)
        same(found, masked(3 * value + weights, kept, -9))
        out = np.full(value.shape, 55.0)
        call(x1, x2, shifted, weights, mask=kept, fill=None, out=out)
        same(out, np.where(kept, 3 * value + weights, 55.0))
    x1, x2 = pair((50, 30), (30, 60), "f8")
    found = call(x1, x2, shifted, np.arange(60.0), mask=fm.masks.causal(50, 60))
    same(found, np.tril(3 * (x1 @ x2) + np.arange(60.0)))


def test_with_semirings():
    ring = fm.Semiring(min, lambda x, y: x + y, inf)
    for m, k, n in SHAPES:
        if not k:
            continue
        x1, x2 = pair((m, k), (k, n), "f8")
        expected = 3 * result(product(x1, x2, "min_plus")) + np.arange(n)
        for semiring in ("min_plus", ring):
            same(call(x1, x2, shifted, np.arange(n), semiring=semiring), expected)
    x1, x2 = pair((13, 40), (40, 17), "i8")
    found = call(x1, x2, lambda x: x * x % 7, semiring=fm.modular(7))
    same(found, ((x1 @ x2) % 7) ** 2 % 7)
    x1, x2 = pair((13, 40), (40, 17), "f8")
    distances = np.sqrt(((x1[:, :, None] - x2) ** 2).sum(1))
    same(call(x1, x2, math.sqrt, semiring="sqeuclidean"), distances)


@pytest.mark.parametrize("function", ["gelu", twice], ids=["gelu", "lambda"])
def test_the_same_bits_at_any_number_of_threads(function):
    for shape1, shape2 in [
        ((300, 310), (310, 320)),
        ((2000, 17), (17, 19)),
        ((19, 17), (17, 2000)),
        ((700, 800), (800,)),
        ((13, 9000), (9000, 7)),
        ((50, 16, 16), (16, 16)),
    ]:
        x1, x2 = normal(shape1, "f4", 1), normal(shape2, "f4", 2)
        results = set()
        for threads in (1, 2, 4, 8):
            numba.set_num_threads(threads)
            results.add(bits(fm.matmul(x1, x2, epilogue=function)))
        assert len(results) == 1, (shape1, shape2)


# Activations by name.

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * ndtr(x),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", BFLOAT16], ids=name)
def test_activations(activation, dtype):
    """The sums are exact, so that only the function rounds."""
    eps = np.float64({"f4": 2**-24, "f8": 2**-53, "f2": 2**-11}.get(dtype, 2**-8))
    for shape1, shape2 in [((13, 5), (5, 35)), ((25, 391), (391, 70)), ((3, 4, 5), (5, 6))]:
        x1, x2 = (x / 8 for x in pair(shape1, shape2, "f8"))
        x1, x2 = x1.astype(dtype), x2.astype(dtype)
        value = x1.astype("f8") @ x2.astype("f8")
        with np.errstate(over="ignore"):
            expected = ACTIVATIONS[activation](value)
        found = fm.matmul(x1, x2, epilogue=activation)
        assert found.dtype == np.dtype(dtype)
        error = np.abs(found.astype("f8") - expected)
        assert np.all(error <= 8 * eps * (np.abs(expected) + 1))


def test_activations_at_the_ends():
    x = np.array([[nan], [inf], [-inf], [0.0], [-0.0]], "f4")
    one = np.ones((1, 40), "f4")
    same(fm.matmul(x, one, epilogue="relu")[:, 7], np.array([nan, inf, 0, 0, 0], "f4"))
    for activation in ("gelu", "silu"):
        found = fm.matmul(x[[0, 1, 3]], one, epilogue=activation)[:, 7]
        same(found, np.array([nan, inf, 0], "f4"))


def test_relu_of_integers():
    for dtype in ("i1", "i4", "u2"):
        x1, x2 = pair((13, 5), (5, 35), dtype)
        same(fm.matmul(x1, x2, epilogue="relu"), np.maximum(x1 @ x2, 0).astype(dtype))


# What cannot be.


@pytest.mark.parametrize("out", [None, np.full((3, 5), 7.0)], ids=["new", "out"])
def test_functions_that_raise(out):
    """Their own exception, with a note that names the function; out is as it was."""

    def four(x, u):
        if x == 4:
            raise OverflowError("four is too much")
        return x + u

    extra = np.arange(5)
    with pytest.raises(OverflowError, match="four is too much") as error:
        fm.matmul(np.ones((3, 4)), np.ones((4, 5)), out, epilogue=four, epilogue_args=(extra,))
    if hasattr(error.value, "add_note"):
        assert any("'four'" in note for note in error.value.__notes__)
    if out is not None:
        same(out, np.full((3, 5), 7.0))
    same(call(np.ones((3, 3)), np.ones((3, 5)), four, extra), np.full((3, 5), 3.0) + extra)


@pytest.mark.parametrize(
    ("function", "extras", "reason"),
    [
        (lambda x: "text", (), "returns"),
        (lambda x: x * 1j, (), "returns complex128"),
        (lambda x: None, (), "returns none"),
        (lambda x: x.foo, (), "foo"),
        (lambda x, y: x, (), "argument"),
        (lambda x: x, (np.ones(5),), "argument"),
    ],
)
def test_functions_that_do_not_compile(function, extras, reason):
    function.__name__ = "spoiled"
    out = np.full((3, 5), 7.0)
    with pytest.raises(TypeError, match="spoiled") as error:
        fm.matmul(np.ones((3, 4)), np.ones((4, 5)), out, epilogue=function, epilogue_args=extras)
    assert reason in str(error.value)
    same(out, np.full((3, 5), 7.0))


def test_a_fraction_is_no_integer():
    with pytest.raises(TypeError, match="returns float64"):
        fm.matmul(*pair((2, 3), (3, 2), "i4"), epilogue=lambda x: x / 2)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"epilogue": 3}, TypeError, "epilogue is 3; it must be a function"),
        ({"epilogue": ()}, TypeError, r"epilogue is \(\)"),
        ({"epilogue": "tanh"}, ValueError, r"epilogue is 'tanh'.*gelu"),
        ({"epilogue": "bias"}, ValueError, "epilogue is 'bias'"),
        ({"epilogue": shifted, "epilogue_args": np.ones(5)}, TypeError, "must be a tuple"),
        ({"epilogue_args": (np.ones(5),), "mask": True}, ValueError, "no epilogue"),
        ({"epilogue": shifted, "epilogue_args": (np.ones(4),)}, ValueError, r"\[0\] has shape"),
        (
            {"epilogue": shifted, "epilogue_args": (np.ones((2, 3, 5)),)},
            ValueError,
            r"epilogue_args\[0\] has shape \(2, 3, 5\)",
        ),
        ({"epilogue": shifted, "epilogue_args": (["a"] * 5,)}, TypeError, r"\[0\] has dtype"),
        ({"epilogue": "gelu", "epilogue_args": (np.ones(5),)}, ValueError, "epilogue is 'gelu'"),
    ],
)
def test_bad_arguments(keywords, error, message):
    out = np.full((3, 5), 7.0)
    with pytest.raises(error, match=message):
        fm.matmul(np.ones((3, 4)), np.ones((4, 5)), out, **keywords)
    same(out, np.full((3, 5), 7.0))


def test_activations_of_dtypes_that_have_none():
    for dtype in ("i4", "?", "c8"):
        with pytest.raises(TypeError, match="epilogue 'gelu' is not defined for"):
            fm.matmul(*pair((3, 4), (4, 5), dtype), epilogue="gelu")


def test_bad_shapes_and_out():
    for shape1, shape2 in [((2, 3), (4, 5)), ((3,), (4, 2)), ((), (3, 2))]:
        with pytest.raises(ValueError, match=r"x[12]"):
            fm.matmul(np.ones(shape1), np.ones(shape2), epilogue=twice)
    for out, error in [(np.ones((2, 3)), ValueError), (np.ones((3, 5), "i4"), TypeError)]:
        before = out.copy()
        with pytest.raises(error, match="out"):
            fm.matmul(np.ones((3, 4)), np.ones((4, 5)), out, epilogue=twice)
        same(out, before)
