"""`fm.matmul(…, out=)`: layouts, dtypes, memory around it, overlap with the operands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import WRITABLE, makers_for, outside
from oracles import BFLOAT16, DTYPES, matmul, name, rounded
from products import bits, check, normal, same, small_integers

import fastmat as fm

SHAPES = [
    ((1, 1), (1, 1)),
    ((3, 5), (5, 4)),
    ((16, 16), (16, 16)),
    ((45, 70), (70, 33)),
    ((43, 600), (600, 50)),
    ((4, 20_000), (20_000, 4)),
    ((50, 1), (1, 60)),
    ((40,), (40,)),
    ((40,), (40, 30)),
    ((30, 40), (40,)),
    ((1, 300), (300, 70)),
    ((70, 300), (300, 1)),
    ((20, 4, 5), (20, 5, 3)),
    ((20, 4, 5), (5, 3)),
    ((20, 1, 5), (5, 3)),
    ((2, 3, 4, 5), (5, 3)),
    ((4, 5), (20, 5, 3)),
    ((20, 4, 5), (5,)),
    ((2, 1, 4, 5), (3, 5, 3)),
    ((3, 40, 30), (30, 50)),
    ((2, 0), (0, 5)),
    ((0, 2), (2, 5)),
]


def junk(shape, dtype):
    """Contents that must all be overwritten."""
    return np.full(shape, 1 if np.dtype(dtype) == bool else 77, dtype)


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8", "c16", "?", "f2"])
def test_layouts_of_out(layout, dtype):
    """Every item of out is written, and nothing around it."""
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for shape1, shape2 in SHAPES:
        x1, x2 = small_integers(shape1, dtype, 1), small_integers(shape2, dtype, 2)
        out = maker(junk(matmul(x1, x2).value.shape, dtype))
        around = outside(out)
        check("matmul", x1, x2, out=out)
        assert outside(out) == around


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_out_of_every_dtype(dtype):
    """What `same_kind` allows is cast after the sum; anything else is a TypeError."""
    for out_dtype in DTYPES:
        for m, n, k in [(3, 4, 5), (40, 35, 30), (1, 30, 20)]:
            x1, x2 = small_integers((m, k), dtype, 1), small_integers((k, n), dtype, 2)
            out = junk((m, n), out_dtype)
            if np.can_cast(dtype, out_dtype, "same_kind"):
                check("matmul", x1, x2, out=out)
            else:
                with pytest.raises(TypeError):
                    fm.matmul(x1, x2, out=out)
                assert bits(out) == bits(junk((m, n), out_dtype))


def test_casting_to_out_is_numpys():
    for dtype in DTYPES:
        for out_dtype in DTYPES:
            if BFLOAT16 in (dtype, out_dtype):
                continue
            x1, x2 = np.ones((2, 2), dtype), np.ones((2, 2), dtype)
            try:
                expected = np.matmul(x1, x2, out=np.empty((2, 2), out_dtype))
            except TypeError:
                with pytest.raises(TypeError):
                    fm.matmul(x1, x2, out=np.empty((2, 2), out_dtype))
            else:
                same(fm.matmul(x1, x2, out=np.empty((2, 2), out_dtype)), expected)


def test_a_wider_out_does_not_widen_the_sum():
    """As in NumPy: int8 products wrap in int8; `dtype=` is what widens them."""
    x = np.full((20, 20), 100, "i1")
    same(fm.matmul(x, x, out=np.empty((20, 20), "i4")), np.full((20, 20), 64, "i4"))
    out = np.empty((20, 20), "i8")
    same(fm.matmul(x, x, out=out, dtype="i4"), np.full((20, 20), 200_000, "i8"))


def test_out_and_dtype_together():
    x1, x2 = small_integers((30, 40), "f8", 1), small_integers((40, 20), "i4", 2)
    for dtype in ("f4", "f8", "c8", "f2"):
        for out_dtype in ("f2", "f4", "f8", "c8", "c16"):
            out = junk((30, 20), out_dtype)
            if np.can_cast(dtype, out_dtype, "same_kind"):
                check("matmul", x1, x2, dtype=dtype, out=out)
            else:
                with pytest.raises(TypeError):
                    fm.matmul(x1, x2, dtype=dtype, out=out)


def test_out_is_returned_and_may_be_positional():
    x1, x2 = small_integers((3, 4), "f8", 1), small_integers((4, 5), "f8", 2)
    out = np.empty((3, 5))
    assert fm.matmul(x1, x2, out) is out
    same(out, x1 @ x2)
    scalar = np.empty(())
    assert fm.matmul(x1[0], x2[:, 0], scalar) is scalar
    assert scalar == x1[0] @ x2[:, 0]


def test_same_bits_with_and_without_out():
    for dtype in ("f4", "f8", "c8", "c16"):
        for m, n, k in [(4, 4, 4), (50, 60, 700), (8, 8, 20_000), (1, 60, 300), (60, 1, 300)]:
            x1, x2 = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
            expected = bits(fm.matmul(x1, x2))
            for maker in makers_for(dtype, WRITABLE).values():
                assert bits(fm.matmul(x1, x2, out=maker(junk((m, n), dtype)))) == expected


def test_nan_in_out_is_no_input():
    """What out held before has no part in the result, not even as 0 * NaN."""
    for dtype in ("f2", "f4", "f8", "c8"):
        for m, n, k in [(4, 4, 4), (50, 60, 700), (3, 4, 0), (1, 60, 300), (8, 8, 20_000)]:
            x1, x2 = small_integers((m, k), dtype, 1), small_integers((k, n), dtype, 2)
            check("matmul", x1, x2, out=np.full((m, n), np.nan, dtype))


SIZES = (2, 4, 15, 16, 17, 50, 130, 300)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8", "?", "f2"])
@pytest.mark.parametrize("n", SIZES)
def test_out_is_an_operand(n, dtype):
    x = small_integers((n, n), dtype, 1)
    for overlapping in (
        lambda a, b: (a, b, a),
        lambda a, b: (a, b, b),
        lambda a, b: (a, a, a),
        lambda a, b: (a, a.T, a),
        lambda a, b: (a, b, a.T),
        lambda a, b: (a, b, b[::-1]),
        lambda a, b: (a, b, b[:, ::-1]),
    ):
        a, b = x.copy(), x[::-1].copy()
        x1, x2, out = overlapping(a, b)
        expected = rounded(matmul(x1.copy(), x2.copy(), exact=True).value, dtype)
        same(fm.matmul(x1, x2, out=out), expected)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "c16"])
@pytest.mark.parametrize("n", SIZES)
def test_out_overlaps_a_part_of_an_operand(n, dtype):
    for shift in (-n - 1, -n, -1, 0, 1, n, n + 1, n * n - 1):
        for operand in (0, 1):
            memory = small_integers(4 * n * n, dtype, 3)
            start = n * n
            x1 = x2 = small_integers((n, n), dtype, 4)
            view = memory[start : start + n * n].reshape(n, n)
            out = memory[start + shift : start + shift + n * n].reshape(n, n)
            x1, x2 = (view, x2) if operand == 0 else (x1, view)
            expected = rounded(matmul(x1.copy(), x2.copy(), exact=True).value, dtype)
            around = np.delete(memory, np.s_[start + shift : start + shift + n * n])
            same(fm.matmul(x1, x2, out=out), expected)
            same(np.delete(memory, np.s_[start + shift : start + shift + n * n]), around)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_out_overlaps_a_batch(dtype):
    for size in (3, 4, 16, 40):
        memory = small_integers((6, size, size), dtype, 1)
        one = small_integers((size, size), dtype, 2)
        for x1, x2, out in (
            (memory[:5], one, memory[1:]),
            (memory[1:], one, memory[:5]),
            (one, memory[:5], memory[1:]),
            (memory[0], memory[:5], memory[:5]),
            (memory[:5], memory[5], memory[1:]),
            (memory[:5], memory[1:], memory[4::-1]),
        ):
            before = memory.copy()
            expected = rounded(matmul(x1.copy(), x2.copy(), exact=True).value, dtype)
            same(fm.matmul(x1, x2, out=out), expected)
            memory[...] = before


def test_out_overlaps_vectors():
    for n in (5, 40, 300):
        for dtype in ("f4", "c16"):
            matrix, vector = small_integers((n, n), dtype, 1), small_integers(n, dtype, 2)
            for x1, x2 in ((matrix, vector), (vector, matrix)):
                expected = rounded(matmul(x1, x2, exact=True).value, dtype)
                a, b = x1.copy(), x2.copy()
                same(fm.matmul(a, b, out=a if a.ndim == 1 else b), expected)
                a, b = x1.copy(), x2.copy()
                line = (a if a.ndim == 2 else b)[n // 2]
                same(fm.matmul(a, b, out=line), expected)
                a, b = x1.copy(), x2.copy()
                line = (a if a.ndim == 2 else b)[:, n // 2]
                same(fm.matmul(a, b, out=line), expected)


def test_out_of_another_dtype_overlaps():
    """A float32 view of float64 memory, and operands that are cast first."""
    x = small_integers((40, 40), "f8", 1)
    memory = x.copy()
    out = memory.view("f4")[:, :40]
    same(fm.matmul(memory, x, out=out), (x @ x).astype("f4"))
    memory = x.copy()
    out = memory.view("f4")[:, ::2]
    same(fm.matmul(x, memory, out=out), (x @ x).astype("f4"))
    memory = small_integers((40, 40), "i4", 2)
    expected = (memory.astype("f8") @ x).astype("f4")
    same(fm.matmul(memory, x, out=memory.view("f4")), expected)


@given(
    st.integers(1, 40),
    st.integers(0, 400),
    st.integers(0, 400),
    st.sampled_from(["C", "F"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["f4", "i8"]),
)
def test_any_overlap(n, at1, at2, order, backwards, columns, dtype):
    """Two operands and out anywhere in one stretch of memory: as if they did not overlap."""
    memory = small_integers(n * n + 400, dtype, 1)
    x1 = memory[at1 : at1 + n * n].reshape(n, n, order=order)
    x2 = memory[at2 : at2 + n * n].reshape(n, n)
    out = memory[200 : 200 + n * n].reshape(n, n)
    x2 = x2[::-1] if backwards else x2
    out = out.T if columns else out
    expected = rounded(matmul(x1.copy(), x2.copy(), exact=True).value, dtype)
    same(fm.matmul(x1, x2, out=out), expected)
