"""`fm.matmul` with a semiring, a mask or an epilogue inside the user's ``@njit``: Python's bits."""

import pickle

import numba
import numpy as np
import pytest
from layouts import makers_for, unmodified
from numba import njit, prange
from numba.core.errors import TypingError
from products import bits, normal, same, small_integers
from programs import SHAPES, STACKS
from semiring_oracles import RINGS, product, result
from test_matmul_masks import marks, pair

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")
inf = np.inf


@njit
def cheaper(x, y):
    return x if x < y else y


@njit
def sum_of(x, y):
    return x + y


@njit
def shifted(x, u):
    return 3 * x + u


CHEAPEST = fm.Semiring(cheaper, sum_of, inf)
SEVEN = fm.modular(7)
OWN = fm.Semiring(lambda x, y: x + y, lambda x, y: abs(x - y) ** 1.5, 0)


@njit
def min_plus(x1, x2):
    return fm.matmul(x1, x2, semiring="min_plus")


@njit
def cheapest(x1, x2):
    return fm.matmul(x1, x2, semiring=CHEAPEST)


@njit
def by_argument(x1, x2, ring):
    return fm.matmul(x1, x2, semiring=ring)


@njit
def where(x1, x2, kept):
    return fm.matmul(x1, x2, mask=kept, fill=-9)


@njit
def below(x1, x2):
    return fm.matmul(x1, x2, mask=fm.masks.causal(x1.shape[-2], x2.shape[-1]))


@njit
def then(x1, x2, u):
    return fm.matmul(x1, x2, epilogue=shifted, epilogue_args=(u,))


@njit
def everything(x1, x2, kept, u, out):
    return fm.matmul(
        x1,
        x2,
        out,
        semiring=CHEAPEST,
        mask=kept,
        fill=None,
        epilogue=shifted,
        epilogue_args=(u,),
    )


def compiled(name):
    """A function of a constant semiring; each is compiled with the test that asks for it."""
    return njit(lambda x1, x2: fm.matmul(x1, x2, semiring=name))


def agree(function, x1, x2, *arguments, **keywords):
    """Compiled code and Python have the same bits, and no input changes."""
    arrays = [x for x in arguments if isinstance(x, np.ndarray)]
    with unmodified(x1, x2, *arrays):
        found = function(x1, x2, *arguments)
    expected = fm.matmul(x1, x2, **keywords)
    assert np.shape(found) == np.shape(expected)
    assert bits(np.asarray(found, expected.dtype)) == bits(expected)
    return found


# Semirings.


def test_shapes_and_stacks():
    for shape1, shape2 in [*(((m, k), (k, n)) for m, k, n in SHAPES), *STACKS]:
        x1, x2 = normal(shape1, "f8", 1), normal(shape2, "f8", 2)
        agree(min_plus, x1, x2, semiring="min_plus")
        agree(cheapest, x1, x2, semiring="min_plus")


def test_semirings_as_arguments():
    for shape1, shape2 in [((13, 400), (400, 33)), ((3, 5, 7), (7, 4))]:
        x1, x2 = normal(shape1, "f8", 1), normal(shape2, "f8", 2)
        agree(by_argument, x1, x2, CHEAPEST, semiring="min_plus")
        agree(by_argument, x1, x2, OWN, semiring=OWN)
        x1, x2 = pair(shape1, shape2, "i4")
        agree(by_argument, x1, x2, SEVEN, semiring=SEVEN)


@pytest.mark.parametrize("name", ["max_second", "plus_min", "plus_pair", "lxor_land", "hamming"])
def test_dtypes_that_results_have(name):
    function = compiled(name)
    for dtype in ("f4", "i8", "?"):
        x1, x2 = pair((13, 40), (40, 33), dtype)
        expected = result(product(x1, x2, name, exact=True))
        same(function(x1, x2), expected)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", RINGS)
def test_every_name(name):
    function = compiled(name)
    for dtype in ("f4", "f8") if name == "log_sum_exp" else ("f4", "f8", "i1", "u4", "i8", "?"):
        for shape1, shape2 in [((13, 400), (400, 33)), ((5,), (5, 40)), ((2, 3, 4), (4, 3))]:
            x1, x2 = pair(shape1, shape2, dtype)
            agree(function, x1, x2, semiring=name)


def test_modular_products_of_any_integers():
    p = fm.modular(2**31 - 1)
    function = njit(lambda x1, x2: fm.matmul(x1, x2, semiring=p))
    rng = np.random.default_rng(1)
    x1 = rng.integers(-(2**63), 2**63, (13, 40))
    for x2 in (rng.integers(-100, 100, (40, 33), "i1"), rng.integers(0, 2**64, (40, 33), "u8")):
        expected = (x1.astype(object) @ x2.astype(object)) % (2**31 - 1)
        same(function(x1, x2), expected.astype("i8"))


def test_a_dtype_to_compute_in():
    function = njit(lambda x1, x2: fm.matmul(x1, x2, dtype=np.float64, semiring="plus_plus"))
    x1, x2 = pair((13, 40), (40, 33), "i4")
    agree(function, x1, x2, dtype="f8", semiring="plus_plus")
    x1, x2 = pair((13, 40), (40, 33), "f4")
    agree(function, x1, x2, dtype="f8", semiring="plus_plus")


def test_closures_of_different_numbers():
    def ring(scale):
        return fm.Semiring(lambda x, y: x + y, lambda x, y: scale * x * y, 0)

    x1, x2 = pair((5, 6), (6, 7), "f8")
    for scale in (2.0, 3.0):
        same(by_argument(x1, x2, ring(scale)), scale * (x1 @ x2))


# Masks.


def test_masks_as_arrays():
    for shape1, shape2 in [((25, 5), (5, 70)), *STACKS]:
        x1, x2 = pair(shape1, shape2, "f8")
        shape = np.matmul(x1, x2).shape
        if not shape:
            continue
        for kept in (marks(shape), marks(shape[-1:])):
            agree(where, x1, x2, kept, mask=kept, fill=-9)
    x1, x2 = pair((25, 5), (5, 70), "f8")
    for maker in makers_for(bool).values():
        kept = maker(marks((25, 70)))
        if kept.dtype.isnative and kept.flags.aligned:
            agree(where, x1, x2, kept, mask=kept, fill=-9)


def test_structured_masks():
    for m, k, n in SHAPES:
        x1, x2 = pair((m, k), (k, n), "f8")
        agree(below, x1, x2, mask=fm.masks.causal(m, n))
    agree(below, *pair((3, 13, 5), (5, 33), "f8"), mask=fm.masks.lower(13, 33))


@njit
def band(x1, x2, lower, upper):
    mask = fm.masks.banded(x1.shape[0], x2.shape[1], lower, upper)
    return fm.matmul(x1, x2, mask=mask, fill=2.5)


@njit
def few_blocks(x1, x2, few, height, width):
    return fm.matmul(x1, x2, mask=fm.masks.blocks(few, (height, width)))


@njit
def above(x1, x2):
    return fm.matmul(x1, x2, mask=fm.masks.upper(x1.shape[0], x2.shape[1]))


def test_bands_and_blocks():
    x1, x2 = pair((25, 5), (5, 67), "f8")
    agree(above, x1, x2, mask=fm.masks.upper(25, 67))
    for lower, upper in [(0, 0), (3, 5), (-2, 9), (100, -70), (2**62, 2**62), (-(2**62), 2**62)]:
        mask = fm.masks.banded(25, 67, lower, upper)
        agree(band, x1, x2, lower, upper, mask=mask, fill=2.5)
    for height, width in [(1, 1), (12, 16), (7, 30), (25, 67), (100, 100)]:
        few = marks((-(-25 // height), -(-67 // width)))
        mask = fm.masks.blocks(few, (height, width))
        agree(few_blocks, x1, x2, few, height, width, mask=mask)
    few = marks((3, 3, 7))
    x1 = small_integers((3, 25, 5), "f8", 1)
    agree(few_blocks, x1, x2, few, 10, 10, mask=fm.masks.blocks(few, (10, 10)))


@njit
def filled(x1, x2, kept, fill):
    return fm.matmul(x1, x2, mask=kept, fill=fill)


@pytest.mark.parametrize("dtype", ["f4", "i4", "c8", "?"])
def test_fills(dtype):
    x1, x2 = pair((13, 4), (4, 35), dtype)
    kept = marks((13, 35))
    for fill in (0, 1, True):
        agree(filled, x1, x2, kept, fill, mask=kept, fill=fill)


# Epilogues.


def test_epilogues():
    for shape1, shape2 in [*(((m, k), (k, n)) for m, k, n in SHAPES), *STACKS]:
        x1, x2 = pair(shape1, shape2, "f8")
        shape = np.matmul(x1, x2).shape
        if not shape:
            continue
        for extra in (np.arange(float(shape[-1])), small_integers(shape, "f8", 3)):
            agree(then, x1, x2, extra, epilogue=shifted, epilogue_args=(extra,))
    x1, x2 = pair((25, 7), (7, 40), "f8")
    for dtype in ("f4", "i8", "?", "u1"):
        extra = small_integers((25, 1), dtype, 3)
        agree(then, x1, x2, extra, epilogue=shifted, epilogue_args=(extra,))


@njit
def placed(x, i, j):
    return 1_000_000 * x + 1000 * i + j


@njit
def with_places(x1, x2):
    rows, columns = np.arange(x1.shape[0]).reshape(-1, 1), np.arange(x2.shape[1])
    return fm.matmul(x1, x2, epilogue=placed, epilogue_args=(rows, columns))


def test_where_an_entry_is():
    for m, k, n in SHAPES:
        x1, x2 = pair((m, k), (k, n), "f8")
        expected = 1_000_000 * (x1 @ x2) + 1000 * np.arange(m)[:, None] + np.arange(n)
        same(with_places(x1, x2), expected)


@pytest.mark.parametrize("name", ["relu", "gelu", "silu"])
def test_activations(name):
    function = njit(lambda x1, x2: fm.matmul(x1, x2, epilogue=name))
    for dtype in ("f4", "f8"):
        for shape1, shape2 in [((13, 400), (400, 33)), ((3, 5, 7), (7, 4)), ((5,), (5, 40))]:
            x1, x2 = normal(shape1, dtype, 1), normal(shape2, dtype, 2)
            agree(function, x1, x2, epilogue=name)


# All of it, `out`, threads.


def everything_in_python(x1, x2, kept, u, out):
    keywords = {"mask": kept, "fill": None, "epilogue": shifted, "epilogue_args": (u,)}
    return fm.matmul(x1, x2, out, semiring="min_plus", **keywords)


def test_all_together():
    for shape1, shape2 in [
        ((25, 391), (391, 70)),
        ((3, 13, 5), (5, 35)),
        ((2, 1, 3, 5), (3, 5, 4)),
    ]:
        x1, x2 = pair(shape1, shape2, "f8")
        shape = np.matmul(x1, x2).shape
        kept, u = marks(shape), small_integers(shape[-1], "f8", 3)
        found, expected = np.full(shape, 77.0), np.full(shape, 77.0)
        everything(x1, x2, kept, u, found)
        everything_in_python(x1, x2, kept, u, expected)
        same(found, expected)


def test_out_that_overlaps():
    for offset in (0, 1):
        memory1 = small_integers((31, 30), "f8", 3)
        memory2 = memory1.copy()
        kept, u = marks((30, 30)), np.arange(30.0)
        for run, x in ((everything, memory1), (everything_in_python, memory2)):
            run(x[:30], x[:30].T, kept, u, x[offset : 30 + offset])
            run(x[:30], np.ones((30, 30)), kept, x[:30], x[offset : 30 + offset])
        same(memory1, memory2)
    into = njit(lambda a, b, m, out: fm.matmul(a, b, out, mask=m, fill=None))
    x1, x2 = pair((25, 25), (25, 25), "?")
    for place in (lambda x: x, lambda x: x.T, lambda x: x[::-1]):
        memory = marks((25, 25), 0.4)
        expected = np.where(memory.copy(), x1 @ x2, place(memory).copy())
        same(into(x1, x2, memory, place(memory)), expected)


def test_out_of_another_dtype():
    x1, x2 = pair((25, 5), (5, 40), "f4")
    into = njit(lambda a, b, out: fm.matmul(a, b, out, semiring="min_plus"))
    out = np.empty((25, 40))
    assert into(x1, x2, out) is not None
    same(out, result(product(x1, x2, "min_plus")).astype("f8"))


def test_in_prange():
    @njit(parallel=True)
    def each(x1, x2, out):
        for i in prange(len(x1)):
            fm.matmul(x1[i], x2[i], out[i], semiring=CHEAPEST)

    x1, x2 = pair((20, 13, 5), (20, 5, 33), "f8")
    out = np.empty((20, 13, 33))
    each(x1, x2, out)
    same(out, result(product(x1, x2, "min_plus")))


def test_the_same_bits_at_any_number_of_threads():
    x1, x2, u = normal((300, 410), "f8", 1), normal((410, 320), "f8", 2), np.arange(320.0)
    results = set()
    for threads in (1, 2, 5):
        numba.set_num_threads(threads)
        results.add((bits(then(x1, x2, u)), bits(by_argument(x1, x2, OWN))))
    assert len(results) == 1


# What cannot be.


@njit
def too_big(x, u):
    if x > 100:
        raise OverflowError("too big")
    return x + u


@njit
def no_seven(x, y):
    if x == 7:
        raise OverflowError("seven")
    return x + y


NO_SEVEN = fm.Semiring(cheaper, no_seven, inf)


def test_functions_that_raise_leave_out_alone():
    epilogue = njit(lambda a, b, out, u: fm.matmul(a, b, out, epilogue=too_big, epilogue_args=(u,)))
    semiring = njit(lambda a, b, out, u: fm.matmul(a, b, out, semiring=NO_SEVEN))
    x1, x2, u = np.ones((30, 40)), np.ones((40, 50)), np.ones(50)
    for function, wrong, value in ((epilogue, 200, 41.0), (semiring, 7, 2.0)):
        x1[29, 39] = 1
        out = np.full((30, 50), 55.0)
        same(function(x1, x2, out, u), np.full((30, 50), value))
        out[:], x1[29, 39] = 55, wrong
        with pytest.raises(OverflowError):
            function(x1, x2, out, u)
        same(out, np.full((30, 50), 55.0))


X = np.ones((3, 4)), np.ones((4, 5))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (lambda a, b: fm.matmul(a, b, semiring="foo"), X, "semiring is 'foo'"),
        (lambda a, b: fm.matmul(a, b, semiring=3), X, "semiring is of type"),
        (lambda a, b, c: fm.matmul(a, b, semiring=c), (*X, "min_plus"), "constant name"),
        (lambda a, b: fm.matmul(a, b, mask=a), X, "mask has dtype float64; it must be bool"),
        (lambda a, b: fm.matmul(a, b, mask=a > 0, fill=None), X, "give out"),
        (lambda a, b: fm.matmul(a, b, mask=a > 0, fill=1j), X, "fill is of type complex128"),
        (lambda a, b: fm.matmul(a, b, epilogue=3), X, "epilogue is"),
        (lambda a, b: fm.matmul(a, b, epilogue="tanh"), X, "gelu"),
        (lambda a, b: fm.matmul(a, b, epilogue=shifted, epilogue_args=b), X, "must be a tuple"),
        (lambda a, b: fm.matmul(a, b, semiring="min_plus", epilogue_args=(b,)), X, "no epilogue"),
        (lambda a, b: fm.matmul(a * 1j, b, semiring="min_plus"), X, "complex128"),
        (lambda a, b: fm.matmul(a, b, semiring=SEVEN), X, "wants integers"),
        (lambda a, b: fm.matmul(a, b, epilogue=shifted), X, "argument"),
        (lambda a, b, o: fm.matmul(a, b, o, semiring="min_plus"), (*X, np.ones(3)), "dimension"),
    ],
)
def test_errors_when_compiling(function, arguments, message):
    with pytest.raises(TypingError, match=message):
        njit(function)(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (min_plus, (np.ones((3, 4)), np.ones((5, 6))), "length to sum over"),
        (where, (*X, np.ones((3, 4), bool)), "broadcast"),
        (then, (*X, np.ones(4)), "broadcast"),
        (few_blocks, (*X, np.ones((2, 2), bool), 1, 1), "number of blocks"),
        (few_blocks, (*X, np.ones((2, 2), bool), 0, 1), "without entries"),
        (njit(lambda a, b: fm.matmul(a, b, mask=fm.masks.causal(2, 5))), X, "another shape"),
        (
            njit(lambda a, b, o: fm.matmul(a, b, o, semiring="min_plus")),
            (*X, np.full((3, 4), 7.0)),
            "out has another shape",
        ),
    ],
)
def test_errors_when_running(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
    if len(arguments) == 3 and arguments[2].dtype == float:
        assert np.all((arguments[2] == 7) | (arguments[2] == 1))


def test_compiled_functions_can_be_pickled():
    again = pickle.loads(pickle.dumps(min_plus))
    x1, x2 = pair((3, 4), (4, 5), "f8")
    same(again(x1, x2), min_plus(x1, x2))
