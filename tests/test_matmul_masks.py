"""`fm.matmul(…, mask=, fill=)`: only what a mask keeps is computed, whatever its kind."""

import itertools

import numba
import numpy as np
import pytest
from layouts import WRITABLE, makers_for, outside, read_only
from oracles import BFLOAT16, DTYPES, name
from products import any_bits, bits, normal, same, small_integers
from programs import SHAPES, STACKS, call, check_masked
from semiring_oracles import banded, blocks, masked, product, result

import fastmat as fm

inf, nan = np.inf, np.nan
SOME = ((5, 6, 7), (14, 391, 35), (25, 3, 70), (2, 0, 3))
CHEAPEST = fm.Semiring(min, lambda x, y: x + y, inf)


def pair(shape1, shape2, dtype="f4"):
    return small_integers(shape1, dtype, 1), small_integers(shape2, dtype, 2)


def marks(shape, share=0.5, seed=0):
    """Booleans, of which about this share is True."""
    return np.asarray(np.random.default_rng([seed, *shape]).random(shape) < share)


def patches(m, n, height, width, seed=0):
    """Rectangles that are all True, all False or mixed, so that tiles of each kind occur."""
    rng = np.random.default_rng([seed, m, n])
    grid = rng.integers(0, 3, (m // height + 1, n // width + 1))
    kinds = blocks(grid, height, width, m, n)
    return np.where(kinds == 2, rng.random((m, n)) < 0.5, kinds == 1)


def broadcasting_to(shape):
    """Every shape that broadcasts to this one and differs: axes of length 1, or absent."""
    found = set()
    for ones in itertools.product((False, True), repeat=len(shape)):
        whole = tuple(1 if one else length for one, length in zip(ones, shape, strict=True))
        for start in range(len(shape) + 1):
            if all(ones[:start]):
                found.add(whole[start:])
    return sorted(found)


# Masks as arrays.


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_tiles_and_blocks(dtype):
    for m, k, n in SHAPES:
        x1, x2 = pair((m, k), (k, n), dtype)
        for share in (0, 0.03, 0.5, 1):
            check_masked(x1, x2, marks((m, n), share), 7)
        check_masked(x1, x2, patches(m, n, 12, 32), -7)
        check_masked(x1, x2, patches(m, n, 5, 16), 7)


def test_one_entry_alone():
    """Wherever it is, it is computed, and the only one; likewise the only one that is not."""
    x1, x2 = pair((25, 7), (7, 67))
    for i, j in itertools.product((0, 11, 12, 13, 23, 24), (0, 15, 16, 31, 32, 63, 64, 66)):
        kept = np.zeros((25, 67), bool)
        kept[i, j] = True
        check_masked(x1, x2, kept, 99)
        check_masked(x1, x2, ~kept, 99)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(dtype):
    for m, k, n in SOME:
        x1, x2 = pair((m, k), (k, n), dtype)
        for fill in (0, 1):
            check_masked(x1, x2, marks((m, n)), fill)
            check_masked(x1, x2, banded(m, n, 1, 2), fill, fm.masks.banded(m, n, 1, 2))
        out, kept = small_integers((m, n), dtype, 3), patches(m, n, 12, 16)
        expected = np.where(kept, result(product(x1, x2, "plus_times", exact=True)), out)
        same(call(x1, x2, mask=kept, fill=None, out=out), expected)


def test_masks_that_broadcast():
    for shape1, shape2 in [*STACKS, ((13, 5), (5, 35)), ((2, 3, 5, 4), (3, 4, 6))]:
        x1, x2 = pair(shape1, shape2)
        for shape in broadcasting_to(np.matmul(x1, x2).shape):
            check_masked(x1, x2, marks(shape), 5)


@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_layouts_of_masks(dtype):
    for shape1, shape2 in [((25, 5), (5, 70)), ((3, 13, 4), (4, 33)), ((5,), (5, 40))]:
        x1, x2 = pair(shape1, shape2, dtype)
        for maker in makers_for(bool).values():
            kept = maker(marks(np.matmul(x1, x2).shape))
            check_masked(x1, x2, kept, 3)


def test_any_byte_other_than_0_is_true():
    x1, x2 = pair((25, 5), (5, 70))
    kept = any_bits((25, 70), bool)
    assert len(np.unique(kept.view("u1"))) > 100
    check_masked(x1, x2, kept.view("u1") != 0, 3, kept)
    expected = np.where(kept.view("u1") != 0, x1 @ x2, 7)
    same(call(x1, x2, mask=kept, fill=None, out=np.full((25, 70), 7, "f4")), expected)
    few = any_bits((3, 7), bool)
    kept = blocks(few.view("u1") != 0, 9, 10, 25, 70)
    check_masked(x1, x2, kept, 3, fm.masks.blocks(few, (9, 10)))


def test_masks_that_are_no_arrays():
    torch = pytest.importorskip("torch")
    x1, x2 = pair((2, 5), (5, 3))
    kept = marks((2, 3))
    for mask in (kept.tolist(), torch.from_numpy(kept)):
        check_masked(x1, x2, kept, 3, mask)
    found = fm.matmul(torch.from_numpy(x1), torch.from_numpy(x2), mask=kept, fill=-1)
    assert isinstance(found, torch.Tensor)
    same(found.numpy(), masked(x1 @ x2, kept, -1))
    check_masked(x1, x2, np.full((2, 3), True), 3, True)
    check_masked(x1, x2, np.full((2, 3), False), 3, np.False_)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "f2"])
def test_layouts_of_operands_and_out(dtype):
    x1, x2 = pair((25, 5), (5, 34), dtype)
    kept = patches(25, 34, 12, 16)
    for maker in makers_for(dtype).values():
        check_masked(maker(x1), maker(x2), kept, 3)
    for maker in makers_for(dtype, WRITABLE).values():
        for fill in (3, None):
            out = maker(np.full((25, 34), 77, dtype))
            around = outside(out)
            expected = masked((x1 @ x2).astype(dtype), kept, 77 if fill is None else fill)
            call(x1, x2, mask=kept, fill=fill, out=out)
            same(out.astype(dtype), expected)
            assert outside(out) == around


# What is left out.


def test_entries_of_out_that_are_left_alone():
    """Bit by bit, also where they are NaN with a payload, and in stacks and vectors."""
    for shape1, shape2 in [((13, 391), (391, 35)), *STACKS]:
        x1, x2 = pair(shape1, shape2)
        value = np.asarray(x1 @ x2, "f4")
        kept = marks(value.shape)
        before = any_bits(value.shape, "u4")
        out = before.copy().view("f4")
        call(x1, x2, mask=kept, fill=None, out=out)
        np.testing.assert_array_equal(out.view("u4"), np.where(kept, value.view("u4"), before))


@pytest.mark.parametrize(
    ("dtype", "of_out", "value"), [("f4", "f8", 0.1), ("i1", "i8", 1000), ("f2", "f4", 1e6)]
)
def test_entries_of_an_out_of_another_dtype_are_left_alone(dtype, of_out, value):
    x1, x2 = pair((13, 5), (5, 35), dtype)
    for kept, mask in (
        (marks((13, 35)), None),
        (np.tri(13, 35, dtype=bool), fm.masks.lower(13, 35)),
    ):
        out = np.full((13, 35), value, of_out)
        call(x1, x2, mask=kept if mask is None else mask, fill=None, out=out)
        same(out, np.where(kept, (x1 @ x2).astype(of_out), np.asarray(value, of_out)))
    out = np.full(35, value, of_out)
    call(x1[0], x2, mask=kept[0], fill=None, out=out)
    same(out, np.where(kept[0], (x1[0] @ x2).astype(of_out), np.asarray(value, of_out)))


@pytest.mark.parametrize(
    ("dtype", "fills"),
    [
        ("?", [0, 1, True, 1.0]),
        ("i1", [-128, 127.0, np.int64(5), True]),
        ("u1", [255, np.float32(3)]),
        ("i8", [2**63 - 1, -(2**63)]),
        ("u8", [2**64 - 1]),
        ("f4", [0.1, -0.0, inf, nan, 1e300, np.float64(0.3), np.array(2), BFLOAT16.type(1.5)]),
        ("f8", [0.1, -inf, 2**70 * 1.0, np.float16(0.1)]),
        ("f2", [0.1, 1e6, -inf, nan]),
        (BFLOAT16, [0.1, inf, nan]),
        ("c8", [1j, 2, nan, 1e300 + 2j]),
        ("c16", [complex(0.1, -inf), 0.1]),
    ],
)
def test_fills(dtype, fills):
    x1, x2 = pair((13, 4), (4, 35), dtype)
    kept = patches(13, 35, 12, 16)
    for fill in fills:
        with np.errstate(over="ignore"):
            expected = masked(result(product(x1, x2, "plus_times", exact=True)), kept, fill)
        found = call(x1, x2, mask=kept, fill=fill)
        same(found, expected)
        assert bits(found[~kept]) == bits(expected[~kept])
        same(call(x1, x2, mask=np.False_, fill=fill), masked(expected, False, fill))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "c8"])
def test_nan_does_not_leak(dtype):
    """Operands of entries that are left out have no influence, in tiles of every kind."""
    x1, x2 = pair((37, 20), (20, 70), dtype)
    bad1, bad2 = marks((37,), 0.4, 1), marks((70,), 0.4, 2)
    bad1[24:36], bad2[:32] = True, True
    kept = ~bad1[:, None] & ~bad2 & marks((37, 70), 0.8)
    for value in (nan, inf, -inf):
        y1, y2 = x1.copy(), x2.copy()
        y1[bad1], y2[:, bad2] = value, value
        for extra in ({}, {"semiring": "plus_second"}, {"epilogue": lambda x: x}):
            found = call(y1, y2, mask=kept, fill=3, **extra)
            same(found, call(x1, x2, mask=kept, fill=3, **extra))
    same(call(np.full_like(x1, nan), x2, mask=False), np.zeros((37, 70), dtype))


def test_nothing_is_computed_where_whole_tiles_are_left_out():
    """A function that raises would tell."""

    def no_seven(x, y):
        if x == 7 or y == 7:
            raise ValueError("seven")
        return x + y

    def no_nan(x):
        if x != x:
            raise ValueError("not a number")
        return x + 1

    ring = fm.Semiring(min, no_seven, inf)
    x1, x2 = pair((200, 9), (9, 210), "f8")
    few = np.array([[True, False, False], [False, False, True]])
    kept = blocks(few, 96, 96, 200, 210) if few.shape[0] == 3 else None
    few = np.array([[True, False, False], [False, False, False], [True, False, False]])
    kept = blocks(few, 96, 96, 200, 210)
    x1[96:192], x2[:, 96:] = 7, 7
    for mask in (kept, fm.masks.blocks(few, (96, 96))):
        expected = masked(result(product(x1, x2, "min_plus")), kept, -1)
        same(call(x1, x2, mask=mask, fill=-1, semiring=ring), expected)
    with pytest.raises(ValueError, match="seven"):
        fm.matmul(x1, x2, semiring=ring)
    x1[96:192], x2[:, 96:] = nan, nan
    for mask in (kept, fm.masks.blocks(few, (96, 96))):
        found = call(x1, x2, mask=mask, fill=-1, epilogue=no_nan)
        assert np.all(found[~kept] == -1)
        same(found[kept], (x1 @ x2)[kept] + 1)
    with pytest.raises(ValueError, match="not a number"):
        fm.matmul(x1, x2, epilogue=no_nan)


# Out that overlaps.


@pytest.mark.parametrize("n", [3, 12, 33, 130])
def test_out_overlaps_the_operands(n):
    for overlapping in (
        lambda a, b: (a, b, a),
        lambda a, b: (a, b, b),
        lambda a, b: (a, a.T, a.T),
        lambda a, b: (a, b, b[::-1]),
        lambda a, b: (a[:-1], b, a[1:]),
    ):
        for fill in (5, None):
            x1, x2, out = overlapping(*pair((n, n), (n, n)))
            kept = marks(out.shape)
            expected = np.where(kept, x1 @ x2, out if fill is None else np.float32(fill))
            same(fm.matmul(x1, x2, out, mask=kept, fill=fill), expected)


def test_out_overlaps_the_mask():
    x1, x2 = pair((25, 25), (25, 25), "?")
    for fill in (False, True, None):
        for place in (lambda x: x, lambda x: x.T, lambda x: x[::-1]):
            memory = marks((25, 25), 0.4)
            mask, out = memory, place(memory)
            left = out.copy() if fill is None else fill
            expected = np.where(mask.copy(), x1 @ x2, left)
            same(fm.matmul(x1, x2, out, mask=mask, fill=fill), expected)
    x1, x2 = pair((25, 5), (5, 25), "i1")
    memory = marks((25, 25), 0.4)
    expected = np.where(memory.copy(), x1 @ x2, 9).astype("i1")
    same(fm.matmul(x1, x2, memory.view("i1"), mask=memory, fill=9), expected)
    memory = marks((3, 7), 0.4)
    kept = blocks(memory.copy(), 1, 1, 3, 7)
    x1, x2 = pair((3, 5), (5, 7), "?")
    fm.matmul(x1, x2, memory, mask=fm.masks.blocks(memory, (1, 1)), fill=True)
    same(memory, np.where(kept, x1 @ x2, True))


# Masks that take no memory.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_triangles(dtype):
    for m, k, n in SHAPES:
        x1, x2 = pair((m, k), (k, n), dtype)
        value = x1 @ x2
        for mask in (fm.masks.causal(m, n), fm.masks.lower(np.int64(m), np.uint8(n))):
            same(call(x1, x2, mask=mask), np.tril(value))
        same(call(x1, x2, mask=fm.masks.upper(m, n)), np.triu(value))


@pytest.mark.parametrize(("m", "n"), [(25, 67), (67, 25), (1, 40), (40, 1), (12, 32), (0, 3)])
def test_bands(m, n):
    x1, x2 = pair((m, 3), (3, n))
    ends = [-70, -33, -13, -1, 0, 1, 11, 12, 31, 32, 66, 70, 2**31, 2**62, -(2**62), 2**70]
    for lower, upper in itertools.product(ends, ends):
        check_masked(x1, x2, banded(m, n, lower, upper), 9, fm.masks.banded(m, n, lower, upper))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (12, 32), (7, 5), (64, 64), (100, 1), (1, 100)])
def test_blocks(shape):
    height, width = shape
    for m, k, n in [*SOME, (37, 3, 101), (64, 3, 128), (1, 1, 1), (0, 2, 3), (3, 2, 0)]:
        x1, x2 = pair((m, k), (k, n))
        for share in (0, 0.3, 1):
            few = marks((-(-m // height), -(-n // width)), share)
            kept = blocks(few, height, width, m, n)
            check_masked(x1, x2, kept, 9, fm.masks.blocks(few, shape))
    few = marks((-(-37 // height), -(-101 // width)))
    x1, x2 = pair((37, 3), (3, 101))
    for maker in makers_for(bool).values():
        given = maker(few)
        kept = blocks(given, height, width, 37, 101)
        check_masked(x1, x2, kept, 9, fm.masks.blocks(given, shape))
    kept = blocks(few, height, width, 37, 101)
    check_masked(x1, x2, kept, 9, fm.masks.blocks(few.tolist(), np.array(shape)))


def test_structured_masks_of_stacks_and_vectors():
    for shape1, shape2 in STACKS:
        x1, x2 = pair(shape1, shape2)
        value = x1 @ x2
        m = x1.shape[-2] if x1.ndim > 1 else 1
        n = x2.shape[-1] if x2.ndim > 1 else 1
        removed = tuple(axis for axis, x in ((-2, x1), (-1, x2)) if x.ndim == 1)
        for kept, mask in [
            (banded(m, n, 1, 3), fm.masks.banded(m, n, 1, 3)),
            (banded(m, n, -1, 5), fm.masks.banded(m, n, -1, 5)),
        ]:
            check_masked(x1, x2, np.squeeze(kept, removed), 4, mask)
        batch = np.expand_dims(value, removed).shape[:-2]
        for leading in broadcasting_to(batch):
            few = marks((*leading, -(-m // 5), -(-n // 3)))
            kept = np.squeeze(blocks(few, 5, 3, m, n), removed)
            check_masked(x1, x2, kept, 4, fm.masks.blocks(read_only(few), (5, 3)))


# With semirings, and at any number of threads.


def test_masks_of_products_in_semirings():
    for semiring in ("min_plus", "max_second", "plus_pair", "chebyshev", "lor_land", "min_max"):
        for dtype in ("f4", "i4", "u1"):
            for m, k, n in SOME:
                x1, x2 = pair((m, k), (k, n), dtype)
                check_masked(x1, x2, patches(m, n, 12, 16), 1, semiring=semiring)
                upper = fm.masks.upper(m, n)
                check_masked(x1, x2, banded(m, n, 0, n), 1, upper, semiring=semiring)
    for m, k, n in SOME:
        x1, x2 = pair((m, k), (k, n))
        kept = marks((m, n))
        expected = masked(result(product(x1, x2, "min_plus")), kept, 8)
        same(call(x1, x2, mask=kept, fill=8, semiring=CHEAPEST), expected)
        x1, x2 = pair((m, k), (k, n), "i8")
        expected = masked((x1 @ x2) % 7, kept, -8)
        same(call(x1, x2, mask=kept, fill=-8, semiring=fm.modular(7)), expected)


@pytest.mark.parametrize("semiring", ["plus_times", "log_sum_exp", CHEAPEST])
def test_the_same_bits_at_any_number_of_threads(semiring):
    for shape1, shape2 in [
        ((300, 310), (310, 320)),
        ((129, 1031), (1031, 67)),
        ((2000, 17), (17, 19)),
        ((19, 17), (17, 2000)),
        ((700, 800), (800,)),
        ((50, 16, 16), (16, 16)),
        ((5, 70, 80), (5, 80, 90)),
    ]:
        x1, x2 = normal(shape1, "f4", 1), normal(shape2, "f4", 2)
        shape = np.matmul(x1, x2).shape
        m, n = shape1[-2], shape2[-1] if len(shape2) > 1 else 1
        few = marks((-(-m // 30), -(-n // 20)))
        masks = (marks(shape), fm.masks.causal(m, n), fm.masks.blocks(few, (30, 20)))
        for mask in masks:
            results = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                results.add(bits(fm.matmul(x1, x2, mask=mask, fill=nan, semiring=semiring)))
            assert len(results) == 1, (shape1, shape2)


def random_case(rng):
    """Operands, a mask of any kind, what it keeps, and keywords."""
    m, n = (int(x) for x in rng.integers(0, [60, 150]))
    k = int(rng.choice([0, 1, 2, 5, 30, 384, 385, 800]))
    batch = tuple(rng.integers(1, 4, rng.integers(0, 3)))
    dtype = rng.choice(["f4", "f8", "i4", "u1", "c8", "f2"])
    x1, x2 = pair((*batch, m, k), (*batch[1:], k, n), dtype)
    kind = rng.integers(4)
    if kind == 0:
        lower, upper = (int(x) for x in rng.integers(-20, 40, 2))
        return x1, x2, fm.masks.banded(m, n, lower, upper), banded(m, n, lower, upper)
    if kind == 1:
        height, width = (int(x) for x in rng.integers(1, 70, 2))
        few = rng.random((*batch, -(-m // height), -(-n // width))) < rng.random()
        return x1, x2, fm.masks.blocks(few, (height, width)), blocks(few, height, width, m, n)
    kept = rng.random((*batch, m, n)) < rng.random()
    if kind == 2:
        kept = kept[..., ::-1].swapaxes(-1, -2).copy().swapaxes(-1, -2)[..., ::-1]
    return x1, x2, kept, kept


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(40))
def test_random_products(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        x1, x2, mask, kept = random_case(rng)
        numba.set_num_threads(int(rng.integers(1, 9)))
        semiring = rng.choice(["plus_times", "plus_second", "plus_pair"])
        check_masked(x1, x2, kept, 2, mask, semiring=semiring)
        value = result(product(x1, x2, semiring, exact=True))
        out = small_integers(value.shape, value.dtype, 3)
        expected = np.where(kept, value, out)
        same(call(x1, x2, mask=mask, fill=None, out=out, semiring=semiring), expected)
