"""`fm.matmul(…, semiring=)`: every named semiring, in every dtype, and the user's own."""

from contextlib import suppress

import numpy as np
import pytest
from layouts import LAYOUTS, WRITABLE, c_order, makers_for, outside
from oracles import BFLOAT16, DTYPES, INTEGERS, name
from products import any_bits, bits, normal, same, small_integers
from programs import SHAPES, STACKS, call, check_ring, check_ring_near, near
from semiring_oracles import (
    LOGICAL,
    RINGS,
    dtype_of,
    modular,
    product,
    result,
    supports,
)
from tolerances import log_sum_exp_bound

import fastmat as fm

SOME = ("min_plus", "max_times", "plus_min", "plus_pair", "max_second", "cityblock", "lxor_land")
MANY = (*SOME, "plus_times", "min_first", "max_min", "sqeuclidean", "chebyshev", "log_sum_exp")
DISTANCES = ("sqeuclidean", "cityblock", "chebyshev", "hamming")
inf, nan = np.inf, np.nan


def pair(shape1, shape2, dtype="f4"):
    return small_integers(shape1, dtype, 1), small_integers(shape2, dtype, 2)


def is_defect(semiring, dtype):
    """What `test_plus_times_of_bytes` expects to fail."""
    return semiring == "plus_times" and np.dtype(dtype) in (np.dtype(bool), np.dtype("u1"))


# Every name and dtype.


@pytest.mark.parametrize("dtype", ["f4", "i4", "f8"])
def test_every_name_around_tiles_and_blocks(dtype):
    for semiring in RINGS:
        if not supports(semiring, dtype):
            continue
        for m, k, n in SHAPES if semiring in SOME else SHAPES[::2]:
            if semiring == "log_sum_exp":
                check_ring_near(*pair((m, k), (k, n), dtype), semiring)
            else:
                check_ring(*pair((m, k), (k, n), dtype), semiring)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(dtype):
    """One shape within a tile, one of many tiles and two blocks, and sums of nothing."""
    for semiring in RINGS if dtype in ("i8", "u1") else MANY:
        if not supports(semiring, dtype) or is_defect(semiring, dtype):
            continue
        exact = semiring != "log_sum_exp" and not (semiring == "cityblock" and dtype.kind == "c")
        for m, k, n in [(5, 6, 7), (14, 391, 35), (2, 0, 3)]:
            (check_ring if exact else check_ring_near)(*pair((m, k), (k, n), dtype), semiring)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", BFLOAT16, "c8", "c16"], ids=name)
def test_numbers_that_are_rounded(dtype):
    """Sums within the bound of the error analysis; minima and maxima rounded once, to the bit."""
    for semiring in RINGS:
        if supports(semiring, dtype):
            for m, k, n in [(3, 5, 4), (14, 40, 35), (13, 391, 17), (2, 1500, 3)]:
                x1, x2 = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
                check_ring_near(x1, x2, semiring)


@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_integers_wrap_around(dtype):
    """Over the whole range, each term wraps before the smallest or largest is taken."""
    for semiring in RINGS if dtype in ("i8", "u1") else MANY:
        if semiring == "log_sum_exp" or (dtype.kind == "i" and semiring in DISTANCES):
            continue
        if is_defect(semiring, dtype):
            continue
        for m, k, n in [(3, 5, 4), (14, 40, 35)]:
            check_ring(any_bits((m, k), dtype, 1), any_bits((k, n), dtype, 2), semiring)


def test_bool_of_any_byte():
    """Any byte other than 0 is True."""
    for semiring in RINGS:
        if semiring == "log_sum_exp" or is_defect(semiring, bool):
            continue
        for m, k, n in [(3, 5, 4), (14, 40, 35)]:
            check_ring(any_bits((m, k), bool, 1), any_bits((k, n), bool, 2), semiring)


@pytest.mark.parametrize("dtype", ["?", "u1"])
@pytest.mark.xfail(strict=True, reason="bool does not compile, and uint8 is taken for bool")
def test_plus_times_of_bytes(dtype):
    check_ring(*pair((5, 6), (6, 7), dtype), "plus_times")


def test_logical_products_of_numbers():
    """Numbers other than 0 are True, NaN is, too; the result is bool."""
    for dtype in ("f4", "i8", "c8", "f2", BFLOAT16):
        x1, x2 = pair((13, 4), (4, 17), dtype)
        for semiring in LOGICAL:
            check_ring(x1, x2, semiring)
    x = np.array([[nan, 0.0, 1e-320]])
    assert fm.matmul(x[:, :1], x[:, :1].T, semiring="lor_land")[0, 0]
    assert fm.matmul(x[:, 2:], x[:, 2:].T, semiring="lor_land")[0, 0]
    assert not fm.matmul(x[:, 1:2], x[:, :1], semiring="lor_land")[0, 0]


def test_plus_times_is_the_plain_product():
    for dtype in ("f4", "i4"):
        x1, x2 = pair((25, 391), (391, 34), dtype)
        same(fm.matmul(x1, x2, semiring="plus_times"), fm.matmul(x1, x2))


def test_tall_wide_and_long():
    """Shapes that are shared out among threads."""
    for m, k, n in [(701, 30, 90), (90, 30, 701), (9, 9001, 5), (2003, 3, 2), (150, 800, 130)]:
        check_ring(*pair((m, k), (k, n)), "min_plus")
        check_ring(*pair((m, k), (k, n)), "plus_second")


# Shapes and layouts.


@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_stacks_and_vectors(dtype):
    for semiring in SOME:
        for shape1, shape2 in STACKS:
            check_ring(*pair(shape1, shape2, dtype), semiring)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "f2", "i4"])
def test_layouts(dtype):
    semiring = "plus_second" if dtype == "c16" else "min_plus"
    for m, k, n in [(5, 6, 7), (25, 391, 34)]:
        x1, x2 = pair((m, k), (k, n), dtype)
        for maker in makers_for(dtype).values():
            check_ring(maker(x1), maker(x2), semiring)
            check_ring(maker(x1), c_order(x2), semiring)
            check_ring(c_order(x1), maker(x2), semiring)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_stacks(layout):
    for dtype in ("f4", "i4"):
        maker = LAYOUTS[layout]
        x1, x2 = pair((3, 13, 5), (3, 5, 33), dtype)
        for semiring in ("max_plus", "cityblock", "lor_land"):
            check_ring(maker(x1), maker(x2), semiring)
            check_ring(maker(x1[0, 0]), maker(x2), semiring)
            check_ring(maker(x1), maker(x2[0]), semiring)


@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_layouts_of_out(dtype):
    """Every item of out is written, and nothing around it."""
    for shape1, shape2 in [((5, 6), (6, 7)), ((25, 391), (391, 34)), *STACKS]:
        x1, x2 = pair(shape1, shape2, dtype)
        shape = np.matmul(x1, x2).shape
        for maker in WRITABLE.values():
            out = maker(np.full(shape, 77, dtype))
            around = outside(out)
            check_ring(x1, x2, "min_plus", out=out)
            assert outside(out) == around


def test_nan_in_out_is_no_input():
    for semiring in ("plus_second", "min_plus", "chebyshev", "log_sum_exp"):
        for m, k, n in [(4, 4, 4), (25, 391, 34), (3, 0, 4)]:
            x1, x2 = pair((m, k), (k, n))
            expected = fm.matmul(x1, x2, semiring=semiring)
            out = np.full((m, n), nan, "f4")
            assert bits(fm.matmul(x1, x2, out, semiring=semiring)) == bits(expected)


@pytest.mark.parametrize("n", [2, 12, 13, 33, 130])
def test_out_overlaps_the_operands(n):
    for overlapping in (
        lambda a, b: (a, b, a),
        lambda a, b: (a, b, b),
        lambda a, b: (a, a.T, a),
        lambda a, b: (a, b, a.T),
        lambda a, b: (a, b, b[::-1]),
        lambda a, b: (a[:-1], b, a[1:]),
    ):
        a, b = small_integers((n, n), "f4", 1), small_integers((n, n), "f4", 2)
        x1, x2, out = overlapping(a, b)
        expected = result(product(x1.copy(), x2.copy(), "min_plus", exact=True))
        same(fm.matmul(x1, x2, out=out, semiring="min_plus"), expected)


def test_out_and_dtype():
    x1, x2 = pair((13, 5), (5, 17), "i4")
    for dtype in ("i8", "f4", "f8", "i2"):
        found = fm.matmul(x1, x2, semiring="min_plus", dtype=dtype)
        same(found, result(product(x1, x2, "min_plus", dtype, exact=True)))
        out = np.empty((13, 17), dtype)
        check_ring(x1, x2, "max_plus", out=out)
    x = np.full((2, 2), 100, "i1")
    same(fm.matmul(x, x, semiring="max_plus"), np.full((2, 2), -56, "i1"))
    same(fm.matmul(x, x, semiring="max_plus", dtype="i4"), np.full((2, 2), 200, "i4"))


@pytest.mark.xfail(strict=True, raises=AttributeError, reason="bool has no programmed kernel")
def test_dtype_of_logical_products():
    x1, x2 = pair((13, 5), (5, 17), "f8")
    expected = result(product(x1, x2, "lor_land")).astype("f8")
    same(fm.matmul(x1, x2, semiring="lor_land", dtype="f8"), expected)


def test_mixed_dtypes_promote():
    for dtype1, dtype2 in [("i1", "f4"), ("u4", "i4"), ("?", "u1"), ("f4", "c8"), ("u8", "i8")]:
        x1, x2 = small_integers((5, 4), dtype1, 1), small_integers((4, 7), dtype2, 2)
        for semiring in ("plus_first", "plus_pair", "lor_land"):
            check_ring(x1, x2, semiring)


def test_the_same_bits_in_any_layout():
    for dtype in ("f4", "f8"):
        for m, k, n in [(5, 6, 7), (25, 391, 34), (3, 2000, 4)]:
            x1, x2 = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
            expected = {s: bits(fm.matmul(x1, x2, semiring=s)) for s in ("sqeuclidean", "max_plus")}
            for maker in (LAYOUTS[x] for x in ("f_order", "sliced", "negative", "unaligned")):
                for semiring, wanted in expected.items():
                    assert bits(fm.matmul(maker(x1), maker(x2), semiring=semiring)) == wanted


def test_tensors():
    torch = pytest.importorskip("torch")
    x1, x2 = pair((13, 5), (5, 33))
    found = fm.matmul(torch.from_numpy(x1), torch.from_numpy(x2), semiring="min_plus")
    assert isinstance(found, torch.Tensor)
    same(found.numpy(), result(product(x1, x2, "min_plus")))
    out = torch.full((13, 33), 7.0)
    assert fm.matmul(torch.from_numpy(x1), x2, out, semiring="max_plus") is out
    same(out.numpy(), result(product(x1, x2, "max_plus")))


# Meaning.


@pytest.mark.parametrize("semiring", RINGS)
def test_a_sum_of_nothing_is_the_identity(semiring):
    for dtype in ("f4", "i4", "u1", "?", "f2"):
        if not supports(semiring, dtype) or is_defect(semiring, dtype):
            continue
        x1, x2 = np.ones((3, 0), dtype), np.ones((0, 4), dtype)
        wanted = dtype_of(semiring, x1, x2)
        if semiring == "log_sum_exp" and wanted.kind != "f":
            continue
        identity = np.array(RINGS[semiring].identity(wanted), wanted)
        same(fm.matmul(x1, x2, semiring=semiring), np.full((3, 4), identity, wanted))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_terms_that_are_nan_are_left_out_of_minima_and_maxima(dtype):
    """Also where all of them are: what is left is the identity. Sums of NaN are NaN."""
    rng = np.random.default_rng(1)
    for m, k, n in [(5, 3, 7), (13, 20, 35), (12, 391, 33)]:
        x1, x2 = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
        x1[rng.random((m, k)) < 0.4] = nan
        x2[rng.random((k, n)) < 0.4] = nan
        x1[0], x2[:, 0] = nan, nan
        for semiring in ("min_plus", "min_times", "max_plus", "max_first", "min_second"):
            same(fm.matmul(x1, x2, semiring=semiring), result(product(x1, x2, semiring)))
        found = fm.matmul(x1, x2, semiring="chebyshev")
        same(found, result(product(x1, x2, "chebyshev")))
        for semiring in ("plus_plus", "cityblock", "log_sum_exp", "plus_first"):
            found, expected = fm.matmul(x1, x2, semiring=semiring), product(x1, x2, semiring)
            same(np.isnan(found), np.isnan(expected.value))


@pytest.mark.parametrize("semiring", ["plus_min", "plus_max", "min_max", "max_min"])
@pytest.mark.xfail(strict=True, reason="NaN in the second operand is not propagated")
def test_minimum_and_maximum_as_terms_are_nan_of_either(semiring):
    x1, x2 = np.array([[nan], [3.0]]), np.array([[3.0, nan]])
    same(fm.matmul(x1, x2, semiring=semiring), result(product(x1, x2, semiring)))


def test_infinities():
    """An edge that does not exist costs inf; inf - inf is NaN, and left out."""
    x = np.array([[0, 1, inf], [-inf, inf, 2], [inf, inf, -inf]])
    for semiring in ("min_plus", "max_plus", "min_times", "max_times", "min_max", "max_min"):
        for dtype in ("f4", "f8", "f2"):
            check_ring(x.astype(dtype), x.T.astype(dtype), semiring)
    found = fm.matmul(x, x, semiring="plus_plus")
    same(found, result(product(x, x, "plus_plus")))


def test_no_cancellation_in_distances():
    """The squares of differences, not the difference of squares."""
    x1, x2 = normal((14, 30), "f8", 1) * 1e-3 + 1e4, normal((30, 35), "f8", 2) * 1e-3 + 1e4
    for dtype in ("f4", "f8"):
        for semiring in DISTANCES:
            check_ring_near(x1.astype(dtype), x2.astype(dtype), semiring)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_distances_against_scipy(dtype):
    distance = pytest.importorskip("scipy.spatial.distance")
    for m, k, n in [(1, 1, 1), (13, 3, 35), (200, 64, 101), (7, 391, 9)]:
        x1, x2 = normal((m, k), dtype, 1), normal((n, k), dtype, 2)
        x2[:, ::2] = np.round(x2[:, ::2])
        x1[:, ::2] = np.round(x1[:, ::2])
        for semiring in DISTANCES:
            expected = distance.cdist(x1.astype("f8"), x2.astype("f8"), semiring)
            expected = expected * k if semiring == "hamming" else expected  # a part of k
            found = fm.matmul(x1, x2.T, semiring=semiring)
            assert found.dtype == dtype
            # SciPy's float64 is off by as much as ours: half of the room is its own.
            bound = 2 * (k + 2) * np.finfo(dtype).eps * np.abs(expected)
            near(found, expected, bound + (k * 1e-16 if semiring == "hamming" else 0))


def test_log_sum_exp_against_scipy():
    special = pytest.importorskip("scipy.special")
    for dtype in ("f4", "f8"):
        for m, k, n in [(1, 1, 1), (13, 3, 35), (12, 400, 17)]:
            x1, x2 = 30 * normal((m, k), dtype, 1), 30 * normal((k, n), dtype, 2)
            x1[:, 0], x2[0] = -inf, 5
            terms = x1[:, :, None].astype("f8") + x2
            expected = special.logsumexp(terms, axis=1)
            room = np.finfo("f8").eps * (np.abs(np.where(np.isinf(terms), 0, terms)).max() + k)
            bound = log_sum_exp_bound(product(x1, x2, "log_sum_exp")) + room
            near(fm.matmul(x1, x2, semiring="log_sum_exp"), expected, bound)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_log_sum_exp_of_infinities(dtype):
    """exp(-inf) is 0 and exp(inf) is inf; only inf - inf and NaN are NaN."""
    values = np.array([-inf, -inf, -3.0, 0.0, 2.0, inf, nan], dtype)
    x1 = np.array(np.meshgrid(values, values, values, indexing="ij")).reshape(3, -1).T
    for x2 in np.zeros((3, 2)), np.array([[0, -inf], [-inf, 1], [2, inf]]):
        check_ring_near(x1, x2.astype(dtype), "log_sum_exp")
    same(
        fm.matmul(
            np.full((3, 400), -inf, dtype), np.zeros((400, 4), dtype), semiring="log_sum_exp"
        ),
        np.full((3, 4), -inf, dtype),
    )


def test_log_sum_exp_far_from_zero():
    """Neither overflow nor underflow of the exponentials."""
    for dtype, far in (("f4", 1e4), ("f8", 1e5)):
        for shift in (-far, far):
            x1, x2 = normal((13, 400), dtype, 1) + shift, normal((400, 17), dtype, 2)
            check_ring_near(x1.astype(dtype), x2.astype(dtype), "log_sum_exp")
    steep = np.linspace(-1e30, 1e30, 400, dtype="f4")[None]
    same(
        fm.matmul(steep, np.zeros((400, 1), "f4"), semiring="log_sum_exp"),
        np.array([[1e30]], "f4"),
    )


# Integers modulo another.


@pytest.mark.parametrize("p", [1, 2, 3, 255, 65_537, 2**30, 2**31 - 3, 2**31 - 2, 2**31 - 1])
def test_modular_is_exact(p):
    rng = np.random.default_rng(p)
    for m, k, n in [(1, 1, 1), (5, 7, 6), (13, 391, 17), (12, 16, 32), (2, 0, 3)]:
        low = max(p - 50, 0)
        for start, stop in ((0, p), (low, p), (-(2**63), 2**63 - 1)):
            x1 = rng.integers(start, stop, (m, k), dtype=np.int64)
            x2 = rng.integers(start, stop, (k, n), dtype=np.int64)
            same(call(x1, x2, semiring=fm.modular(p)), modular(x1, x2, p))


def test_modular_of_every_integer():
    for dtype in (np.dtype(bool), *INTEGERS):
        x1, x2 = any_bits((13, 30), dtype, 1), any_bits((30, 17), dtype, 2)
        x1, x2 = ((x.view("u1") != 0 if dtype.kind == "b" else x) for x in (x1, x2))
        for p in (2, 10_007, 2**31 - 1):
            same(call(x1, x2, semiring=fm.modular(p)), modular(x1, x2, p))
    x1 = np.array([[-(2**63), 2**63 - 1, -1, 0]])
    same(fm.matmul(x1, x1.T, semiring=fm.modular(2**31 - 1)), modular(x1, x1.T, 2**31 - 1))
    x1 = np.array([[2**64 - 1, 2**63]], "u8")
    same(fm.matmul(x1, x1.T, semiring=fm.modular(2**31 - 1)), modular(x1, x1.T, 2**31 - 1))


def test_modular_in_stacks_and_layouts():
    p = 2**31 - 1
    rng = np.random.default_rng(0)
    for shape1, shape2 in STACKS:
        x1, x2 = rng.integers(0, p, shape1), rng.integers(0, p, shape2)
        expected = np.asarray(modular(x1, x2, p))
        same(fm.matmul(x1, x2, semiring=fm.modular(p)), expected)
    for maker in makers_for("i8").values():
        x1, x2 = maker(rng.integers(0, p, (13, 5))), maker(rng.integers(0, p, (5, 17)))
        same(call(x1, x2, semiring=fm.modular(p)), modular(x1, x2, p))


@pytest.mark.parametrize("dtype", ["f8", "i1", "f4"])
@pytest.mark.xfail(strict=True, reason="residues are computed in the dtype asked for")
def test_modular_with_dtype(dtype):
    """What residues are is not the dtype's to say: an error, or a cast of them."""
    x = np.full((2, 2), 2**31 - 2)
    with suppress(TypeError):
        found = fm.matmul(x, x, semiring=fm.modular(2**31 - 1), dtype=dtype)
        same(found, modular(x, x, 2**31 - 1).astype(dtype))


@pytest.mark.parametrize("modulus", [0, -1, 2**31, -(2**70)])
def test_modulus_out_of_range(modulus):
    with pytest.raises(ValueError, match=f"modulus is {modulus}"):
        fm.modular(modulus)


@pytest.mark.parametrize("modulus", [2.5, True, "7", None, nan, [3, 4], 1j])
def test_modulus_of_another_type(modulus):
    with pytest.raises(TypeError, match="modulus is"):
        fm.modular(modulus)


def test_modular_takes_integers_only():
    whole = np.ones((2, 2), "i8")
    for dtype in ("f4", "c8", "f2", BFLOAT16):
        x = np.ones((2, 2), dtype)
        with pytest.raises(TypeError, match="x1 has dtype"):
            fm.matmul(x, whole, semiring=fm.modular(7))
        with pytest.raises(TypeError, match="x2 has dtype"):
            fm.matmul(whole, x, semiring=fm.modular(7))
