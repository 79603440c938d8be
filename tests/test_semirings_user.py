"""`fm.Semiring`: the user's own addition and multiplication, compiled into the product."""

import math
import operator

import numpy as np
import pytest
from layouts import makers_for
from numba import njit
from oracles import BFLOAT16, name
from products import bits, normal, same, small_integers
from programs import SHAPES, STACKS, call
from semiring_oracles import fold, product, result

import fastmat as fm

inf, nan = np.inf, np.nan


@njit
def cheaper(x, y):
    return x if x < y else y


@njit
def sum_of(x, y):
    return x + y


def plain_sum(x, y):
    return x + y


def plain_times(x, y):
    return x * y


def pair(shape1, shape2, dtype="f4"):
    return small_integers(shape1, dtype, 1), small_integers(shape2, dtype, 2)


BY_USERS = {
    "njit": fm.Semiring(cheaper, sum_of, inf),
    "lambda": fm.Semiring(lambda x, y: x if x < y else y, lambda x, y: x + y, inf),
    "builtin": fm.Semiring(min, plain_sum, inf),
    "njit and plain": fm.Semiring(cheaper, plain_sum, inf),
}


@pytest.mark.parametrize("kind", BY_USERS)
def test_functions_of_every_kind(kind):
    for dtype in ("f4", "f8") if kind == "njit" else ("f4",):
        for m, k, n in SHAPES:
            x1, x2 = pair((m, k), (k, n), dtype)
            same(call(x1, x2, semiring=BY_USERS[kind]), result(product(x1, x2, "min_plus")))


def test_the_same_bits_as_the_named_one():
    for m, k, n in SHAPES:
        x1, x2 = normal((m, k), "f4", 1), normal((k, n), "f4", 2)
        named = fm.matmul(x1, x2, semiring="min_plus")
        assert bits(fm.matmul(x1, x2, semiring=BY_USERS["njit"])) == bits(named)


DTYPES = ["f8", "i1", "i4", "u1", "u8", "f2", BFLOAT16, "c8"]


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(dtype):
    """Sums of products of whole numbers: exact, or wrapped around."""
    ring = fm.Semiring(lambda x, y: x + y, lambda x, y: x * y, 0)
    for m, k, n in [(1, 1, 1), (13, 5, 33), (12, 391, 17), (2, 0, 3)]:
        x1, x2 = pair((m, k), (k, n), dtype)
        same(call(x1, x2, semiring=ring), result(product(x1, x2, "plus_times", exact=True)))


def test_stacks_vectors_and_layouts():
    ring = BY_USERS["njit"]
    for shape1, shape2 in STACKS:
        x1, x2 = pair(shape1, shape2)
        same(call(x1, x2, semiring=ring), result(product(x1, x2, "min_plus")))
    for maker in makers_for("f4").values():
        x1, x2 = (maker(x) for x in pair((25, 391), (391, 34)))
        same(call(x1, x2, semiring=ring), result(product(x1, x2, "min_plus")))


def test_operands_that_are_not_exchanged():
    """The first argument of multiply is the left operand's, however the kernel turns them."""
    ring = fm.Semiring(lambda x, y: x + y, lambda x, y: 10 * x - y, 0)
    for m, k, n in [*SHAPES, (3, 7, 400), (400, 7, 3)]:
        x1, x2 = pair((m, k), (k, n), "i4")
        expected, _ = fold(x1, x2, np.add, lambda x, y: 10 * x - y, 0)
        same(call(x1, x2, semiring=ring), expected.astype("i4"))


@njit
def common(x, y):
    """Greatest common divisor, by Euclid: a loop in the addition."""
    while y:
        x, y = y, x % y
    return x


def test_other_rings():
    """Bits, greatest common divisors, conjugates, logic of bool."""
    x1, x2 = pair((13, 400), (400, 17), "i4")
    ring = fm.Semiring(lambda x, y: x ^ y, lambda x, y: x & y, 0)
    same(call(x1, x2, semiring=ring), fold(x1, x2, np.bitwise_xor, np.bitwise_and, 0)[0])
    x1, x2 = 6 * abs(x1), 4 * abs(x2)
    ring = fm.Semiring(common, lambda x, y: max(x, y), 0)
    same(call(x1, x2, semiring=ring), fold(x1, x2, np.gcd, np.maximum, 0)[0])
    x1, x2 = pair((13, 40), (40, 17), "c16")
    ring = fm.Semiring(lambda x, y: x + y, lambda x, y: x.conjugate() * y, 0)
    same(call(x1, x2, semiring=ring), x1.conj() @ x2)
    x1, x2 = pair((13, 40), (40, 17), bool)
    ring = fm.Semiring(lambda x, y: x != y, lambda x, y: x and y, False)
    same(call(x1, x2, semiring=ring), result(product(x1, x2, "lxor_land")))


def test_integers_wrap_around():
    x = np.array([[100, 3], [-100, 7]], "i1")
    ring = fm.Semiring(lambda x, y: max(x, y), lambda x, y: x + y, lambda d: np.iinfo(d).min)
    same(fm.matmul(x, x, semiring=ring), fold(x, x, np.maximum, np.add, -128)[0])


def test_halves_are_added_up_in_float32():
    """4096 times 1.0009765625, of which no partial sum beyond 2048 is a float16."""
    ring = fm.Semiring(lambda x, y: x + y, lambda x, y: x * y, 0)
    for dtype in ("f2", BFLOAT16):
        x = np.full((1, 4096), 1 + 2**-7, dtype)
        same(fm.matmul(x, np.ones((4096, 1), dtype), semiring=ring), np.full((1, 1), 4128, dtype))


def test_numbers_that_the_function_closes_over():
    def scaled(scale):
        return fm.Semiring(lambda x, y: x + y, lambda x, y: scale * x * y, 0)

    x1, x2 = pair((5, 6), (6, 7), "f8")
    for scale in (2.0, 3.0, 2.0):
        same(fm.matmul(x1, x2, semiring=scaled(scale)), scale * (x1 @ x2))


def test_a_dtype_of_its_own():
    """The dtype to compute in and to return; operands are cast to it if that is of their kind."""
    ring = fm.Semiring(min, lambda x, y: x + y, inf, dtype="f4")
    for dtype in ("f4", "f8", "i4", "f2"):
        x1, x2 = pair((13, 5), (5, 17), dtype)
        same(fm.matmul(x1, x2, semiring=ring), result(product(x1, x2, "min_plus", "f4")))
    x1, x2 = pair((13, 5), (5, 17), "f8")
    same(fm.matmul(x1, x2, semiring=ring, dtype="f8"), result(product(x1, x2, "min_plus")))
    x = np.ones((2, 2), "c8")
    with pytest.raises(TypeError, match="x1 has dtype complex64"):
        fm.matmul(x, x, semiring=ring)
    wide = fm.Semiring(lambda x, y: x + y, lambda x, y: x * y, 0, dtype="i8")
    x = np.full((2, 300), 127, "i1")
    same(fm.matmul(x, x.T, semiring=wide), np.full((2, 2), 300 * 127 * 127, "i8"))


def test_an_identity_for_each_dtype():
    ring = fm.Semiring(min, max, lambda dtype: np.iinfo(dtype).max)
    for dtype in ("i1", "u2", "i8", "u8"):
        x1, x2 = pair((13, 0), (0, 17), dtype)
        same(fm.matmul(x1, x2, semiring=ring), np.full((13, 17), np.iinfo(dtype).max, dtype))
        x1, x2 = pair((13, 5), (5, 17), dtype)
        same(fm.matmul(x1, x2, semiring=ring), result(product(x1, x2, "min_max")))
    with pytest.raises(ValueError, match="identity is inf, which no int32 is"):
        fm.matmul(*pair((2, 3), (3, 2), "i4"), semiring=BY_USERS["lambda"])


def test_padding_is_no_input():
    """Functions see numbers of the operands only: nothing that is made up raises."""

    def positive(x, y):
        if x <= 0 or y <= 0:
            raise ValueError("not positive")
        return x + y

    ring = fm.Semiring(min, positive, inf)
    for m, k, n in SHAPES:
        x1, x2 = pair((m, k), (k, n))
        x1, x2 = abs(x1) + 1, abs(x2) + 1
        same(fm.matmul(x1, x2, semiring=ring), result(product(x1, x2, "min_plus")))


# What cannot be.


@pytest.mark.parametrize("out", [None, np.full((3, 5), 7.0)], ids=["new", "out"])
def test_functions_that_raise(out):
    """Their own exception, with a note that names the semiring; out is as it was."""

    def seven(x, y):
        if x == 7:
            raise OverflowError("seven is too much")
        return x + y

    ring = fm.Semiring(min, seven, inf)
    x = np.ones((3, 4))
    same(fm.matmul(x, np.ones((4, 5)), semiring=ring), np.full((3, 5), 2.0))
    x[2, 3] = 7
    with pytest.raises(OverflowError, match="seven is too much") as error:
        fm.matmul(x, np.ones((4, 5)), out, semiring=ring)
    if hasattr(error.value, "add_note"):
        assert any("seven" in note for note in error.value.__notes__)
    if out is not None:
        same(out, np.full((3, 5), 7.0))


def test_an_addition_that_raises():
    ring = fm.Semiring(checked_sum, lambda x, y: x * y, 0)
    out = np.full((2, 2), 7.0)
    with pytest.raises(ValueError, match="beyond 1000") as error:
        fm.matmul(np.full((2, 400), 2.0), np.full((400, 2), 2.0), out, semiring=ring)
    if hasattr(error.value, "add_note"):
        assert any("Semiring" in note for note in error.value.__notes__)
    same(out, np.full((2, 2), 7.0))


@njit
def checked_sum(x, y):
    if x + y > 1000:
        raise ValueError("beyond 1000")
    return x + y


@pytest.mark.parametrize(
    ("multiply", "reason"),
    [
        (lambda x, y: "text", "returns"),
        (lambda x, y: x * 1j, "returns complex128"),
        (lambda x, y: None, "returns none"),
        (lambda x, y: x.foo(y), "foo"),
        (lambda x: x, "argument"),
        (lambda x, y, z: x, "argument"),
    ],
)
def test_functions_that_do_not_compile(multiply, reason):
    multiply.__name__ = "spoiled"
    out = np.full((2, 2), 7.0)
    with pytest.raises(TypeError, match="spoiled") as error:
        fm.matmul(np.ones((2, 3)), np.ones((3, 2)), out, semiring=fm.Semiring(min, multiply, inf))
    assert reason in str(error.value)
    same(out, np.full((2, 2), 7.0))


def test_a_fraction_is_no_integer():
    half = fm.Semiring(lambda x, y: x + y, lambda x, y: (x + y) / 2, 0)
    with pytest.raises(TypeError, match="returns float64"):
        fm.matmul(*pair((2, 3), (3, 2), "i4"), semiring=half)


@pytest.mark.parametrize(
    ("add", "multiply"),
    [
        pytest.param(np.minimum, np.add, id="ufuncs"),
        pytest.param(operator.add, operator.mul, id="operator"),
        pytest.param(plain_sum, math.fmod, id="math"),
    ],
)
@pytest.mark.xfail(strict=True, reason="the error names neither the semiring nor its function")
def test_functions_that_are_not_pythons(add, multiply):
    """They work, or an error says which argument is at fault."""
    identity = inf if add is np.minimum else 0
    x1, x2 = np.full((2, 3), 2.0), np.ones((3, 2))
    message = "none"
    try:
        found = fm.matmul(x1, x2, semiring=fm.Semiring(add, multiply, identity))
    except TypeError as error:
        message = str(error)
    else:
        same(found, np.full((2, 2), {np.add: 3.0, operator.mul: 6.0, math.fmod: 0.0}[multiply]))
    assert any(x in message for x in ("none", "Semiring", "add is", "multiply is"))


@pytest.mark.parametrize(
    ("add", "identity"),
    [
        (lambda x, y: x + y, 1),
        (lambda x, y: x * y, 0),
        (lambda x, y: min(x, y), 0),
        (lambda x, y: max(x, y), inf),
        (lambda x, y: x, 0),  # only a right identity
        (lambda x, y: x + y, nan),
    ],
)
def test_identities_that_are_none(add, identity):
    with pytest.raises(ValueError, match="identity is"):
        fm.Semiring(add, lambda x, y: x, identity)


def test_arguments_of_semiring():
    with pytest.raises(TypeError, match="add is 3"):
        fm.Semiring(3, plain_sum, 0)
    with pytest.raises(TypeError, match="multiply is None"):
        fm.Semiring(plain_sum, None, 0)
    with pytest.raises(ValueError, match="identity is 'zero'"):
        fm.Semiring(plain_sum, plain_times, "zero")
    with pytest.raises(ValueError, match="identity is inf"):
        fm.Semiring(min, plain_sum, inf, dtype="i4")
    for dtype in ("U3", object, "M8[s]"):
        with pytest.raises(TypeError, match="dtype"):
            fm.Semiring(plain_sum, plain_times, 0, dtype=dtype)
    with pytest.raises(TypeError, match="add cannot be evaluated"):
        fm.Semiring(lambda x: x, plain_times, 0)
    assert "sum_of" in repr(fm.Semiring(cheaper, sum_of, inf))


def test_arguments_of_matmul():
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"semiring is 'min_foo'.*min_plus"):
        fm.matmul(x, x.T, semiring="min_foo")
    for wrong in (3, min, ("min", "plus"), fm.Semiring):
        with pytest.raises(TypeError, match="semiring is of type"):
            fm.matmul(x, x.T, semiring=wrong)
    for shape1, shape2 in [((2, 3), (4, 5)), ((3,), (4, 2)), ((5, 2, 3), (4, 3, 2)), ((), (3, 2))]:
        with pytest.raises(ValueError, match=r"x[12]"):
            fm.matmul(np.ones(shape1), np.ones(shape2), semiring="min_plus")
    out = np.full((2, 2), 7.0)
    out.flags.writeable = False
    for spoiled, error in [
        (out, ValueError),
        (np.full((2, 3), 7.0), ValueError),
        (np.full((2, 2), 7, "i4"), TypeError),
        ([[7.0] * 2] * 2, TypeError),
    ]:
        with pytest.raises(error, match="out"):
            fm.matmul(x, x.T, spoiled, semiring="min_plus")
        assert np.all(np.asarray(spoiled) == 7)
    for dtype in ("U1", object, "M8[s]", "g"):
        with pytest.raises(TypeError, match="x2 has dtype"):
            fm.matmul(x, np.ones((3, 2)).astype(dtype), semiring="min_plus")
    with pytest.raises(TypeError, match="cannot be cast"):
        fm.matmul(x, x.T, semiring="min_plus", dtype="i4")


@pytest.mark.parametrize("semiring", ["min_plus", "plus_max", "chebyshev", "log_sum_exp"])
def test_complex_numbers_have_no_order(semiring):
    with pytest.raises(TypeError, match=f"{semiring}.*complex64"):
        fm.matmul(np.ones((2, 3), "c8"), np.ones((3, 2)).astype("f4"), semiring=semiring)


def test_logarithms_are_no_integers():
    for dtype in ("i4", "?", "u1"):
        with pytest.raises(TypeError, match="log_sum_exp"):
            fm.matmul(np.ones((2, 3), dtype), np.ones((3, 2), dtype), semiring="log_sum_exp")
