"""`fm.matmul` on GPUs with semirings, masks and epilogues."""

import numba
import numpy as np
import pytest
from cuda_products import called, check_ring, check_ring_near, small_tiles
from oracles import BFLOAT16, DTYPES, INTEGERS, name
from products import any_bits, normal, same, small_integers
from semiring_oracles import RINGS, banded, blocks, masked, modular, supports

import fastmat as fm

SOME = ("min_plus", "max_times", "plus_pair", "cityblock")


@pytest.fixture(autouse=True)
def small():
    with small_tiles():
        yield


def pair(shape1, shape2, dtype="f4"):
    return small_integers(shape1, dtype, 1), small_integers(shape2, dtype, 2)


def product(x1, x2):
    return x1.astype("f8") @ x2.astype("f8")


@pytest.mark.parametrize("semiring", [*SOME, "lxor_land", "plus_first"])
def test_names(gpu, semiring):
    check_ring(gpu, *pair((13, 17), (17, 35)), semiring)


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_name_and_dtype(gpu, dtype):
    for semiring in RINGS:
        if not supports(semiring, dtype):
            continue
        exact = semiring != "log_sum_exp" and not (semiring == "cityblock" and dtype.kind == "c")
        check = check_ring if exact else check_ring_near
        for m, k, n in [(5, 6, 7), (14, 33, 35), (2, 0, 3), (3, 1040, 5)]:
            check(gpu, *pair((m, k), (k, n), dtype), semiring)


def test_log_sum_exp(gpu):
    check_ring_near(gpu, normal((5, 40), "f4", 1), normal((40, 6), "f4", 2), "log_sum_exp")


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", BFLOAT16], ids=name)
def test_numbers_that_are_rounded(gpu, dtype):
    for semiring in RINGS:
        if supports(semiring, dtype):
            check_ring_near(gpu, normal((14, 40), dtype, 1), normal((40, 35), dtype, 2), semiring)


def test_small_integers_wrap_around_in_each_step(gpu):
    check_ring(gpu, any_bits((9, 40), "i1", 1), any_bits((40, 7), "i1", 2), "min_plus")


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_integers_wrap_around(gpu, dtype):
    for semiring in ("min_plus", "max_times", "plus_min", "plus_second", "plus_times"):
        check_ring(gpu, any_bits((14, 40), dtype, 1), any_bits((40, 35), dtype, 2), semiring)


def test_modular(gpu):
    p = 2**31 - 1
    x1, x2 = any_bits((5, 30), "i8", 1), any_bits((30, 6), "u4", 2)
    same(called(gpu, "matmul", x1, x2, semiring=fm.modular(p)), modular(x1, x2, p))


def test_functions_of_the_user(gpu):
    @numba.njit
    def apart(x, y):
        return abs(x - y) + x

    ring = fm.Semiring(max, apart, -np.inf)
    x1, x2 = pair((9, 20), (20, 12))
    expected = (np.abs(x1[:, :, None] - x2) + x1[:, :, None]).max(1)
    same(called(gpu, "matmul", x1, x2, semiring=ring), expected)
    # The first argument is from the left operand, also where the kernel computes the transpose.
    transposed = np.zeros((12, 9), "f4").T
    same(called(gpu, "matmul", x1, x2, semiring=ring, out=transposed), expected)
    same(called(gpu, "matmul", x1[0], x2, semiring=ring), expected[0])


def test_functions_that_cannot_be_compiled(gpu):
    ring = fm.Semiring(max, lambda x, y: x.no_such_thing, -np.inf)
    a, b = map(gpu.array, pair((3, 4), (4, 5)))
    with pytest.raises(TypeError, match="cannot be compiled"):
        fm.matmul(a, b, semiring=ring)
    with pytest.raises(TypeError, match="cannot be compiled"):
        fm.matmul(a, b, epilogue=lambda x: x.no_such_thing)


def test_bands(gpu):
    x1, x2 = pair((70, 9), (9, 75))
    for mask, kept in [
        (fm.masks.causal(70, 75), banded(70, 75, 70, 0)),
        (fm.masks.banded(70, 75, -40, 60), banded(70, 75, -40, 60)),
    ]:
        expected = masked(product(x1, x2).astype("f4"), kept, 5)
        same(called(gpu, "matmul", x1, x2, mask=mask, fill=5), expected)
        transposed = np.zeros((75, 70), "f4").T
        same(called(gpu, "matmul", x1, x2, mask=mask, fill=5, out=transposed), expected)


def test_blocks_and_booleans(gpu):
    x1, x2 = pair((2, 70, 9), (9, 45))
    whole = product(x1, x2).astype("f4")
    rng = np.random.default_rng(0)
    few = rng.random((2, 4, 5)) < 0.3
    mask = fm.masks.blocks(gpu.array(few), (20, 10))
    kept = blocks(few, 20, 10, 70, 45)
    same(called(gpu, "matmul", x1, x2, mask=mask), masked(whole, kept, 0))
    dense = rng.random((70, 1)) < 0.5
    dense[:32] = False
    same(called(gpu, "matmul", x1, x2, mask=dense, fill=-1), masked(whole, dense, -1))
    out = np.full(whole.shape, 9, "f4")
    same(called(gpu, "matmul", x1, x2, mask=dense, fill=None, out=out), masked(whole, dense, 9))


def test_what_is_masked_is_not_computed(gpu):
    """Tiles of which nothing is kept are not: NaN there would be seen in no other way."""
    x1, x2 = pair((64, 8), (8, 64))
    calls = fm.masks.banded(64, 64, -32, 64)
    found = called(gpu, "matmul", x1, x2, mask=calls, epilogue=lambda x: x / x)
    assert (
        np.isnan(found[banded(64, 64, -32, 64)]).sum()
        == (product(x1, x2) == 0)[banded(64, 64, -32, 64)].sum()
    )


def test_epilogues(gpu):
    x1, x2 = pair((9, 12), (12, 16))
    z = product(x1, x2).astype("f4")
    same(called(gpu, "matmul", x1, x2, epilogue="relu"), np.maximum(z, 0))
    row, column = np.arange(16, dtype="i4"), np.ones((9, 1), "?")
    found = called(
        gpu, "matmul", x1, x2, epilogue=lambda x, i, y: x * i + y, epilogue_args=(row, column)
    )
    same(found, z * row.astype("f4") + 1)


def test_epilogues_of_sums_that_are_split(gpu):
    x1, x2 = pair((3, 1100), (1100, 8))
    z = product(x1, x2).astype("f4")
    keywords = {"mask": fm.masks.causal(3, 8), "epilogue": "relu", "fill": -2}
    expected = masked(np.maximum(z, 0), banded(3, 8, 3, 0), -2)
    same(called(gpu, "matmul", x1, x2, **keywords), expected)
    same(called(gpu, "matmul", x1, x2[:, 0], epilogue="relu"), np.maximum(z[:, 0], 0))


def test_errors(gpu):
    a, b = map(gpu.array, pair((3, 4), (4, 5)))
    for keywords, kind, text in [
        ({"semiring": "min_pluss"}, ValueError, "semiring is 'min_pluss'"),
        ({"semiring": "lor_land", "dtype": "f4"}, TypeError, "'lor_land' gives bool, not float32"),
        ({"semiring": fm.modular(7)}, TypeError, "x1 has dtype float32; modular(7) wants integers"),
        ({"mask": fm.masks.causal(4, 5)}, ValueError, "mask is of shape (4, 5); the product is"),
        ({"mask": np.ones((3, 5), bool)}, TypeError, "mask is not on a GPU"),
        ({"mask": a}, TypeError, "mask has dtype float32; it must be bool"),
        ({"epilogue": "tanh"}, ValueError, "epilogue is 'tanh'; it must be a function, or"),
        ({"mask": fm.masks.causal(3, 5), "fill": None}, ValueError, "fill is None, which leaves"),
        ({"epilogue": min, "epilogue_args": (a,)}, ValueError, "epilogue_args[0] has shape (3, 4)"),
    ]:
        with pytest.raises(kind) as caught:
            fm.matmul(a, b, **keywords)
        assert text in str(caught.value)


def test_zeros_of_both_signs_fill(gpu):
    x1, x2 = pair((3, 4), (4, 3))
    mask = np.zeros((3, 3), bool)
    for fill in (-0.0, 0.0, -0.0):
        found = called(gpu, "matmul", x1, x2, mask=mask, fill=fill)
        assert (np.signbit(found) == np.signbit(fill)).all()
