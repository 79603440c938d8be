"""`fm.matmul`: operands in every memory layout, nothing modified, one result for all of them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, SAME_VALUES, broadcast, c_order, makers_for
from oracles import DTYPES, FLOATS, name
from products import bits, check, normal, small_integers

import fastmat as fm

SHAPES = [(3, 4, 5), (16, 12, 16), (45, 33, 70), (1, 40, 50), (40, 1, 50)]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "c16", "?", "f2"])
def test_all_pairs_of_layouts(dtype):
    makers = makers_for(dtype)
    for (m, n, k), (left, right) in product(SHAPES, product(makers.values(), repeat=2)):
        x1, x2 = small_integers((m, k), dtype, 1), small_integers((k, n), dtype, 2)
        check("matmul", left(x1), right(x2))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_dtype(layout):
    for dtype in DTYPES:
        maker = makers_for(dtype).get(layout, c_order)
        for m, n, k in SHAPES:
            x1, x2 = small_integers((m, k), dtype, 1), small_integers((k, n), dtype, 2)
            check("matmul", maker(x1), maker(x2))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8"])
def test_batches(layout, dtype):
    maker = makers_for(dtype)[layout]
    for batch, size in [((30,), 4), ((2, 3), 5), ((4,), 30)]:
        x1 = small_integers((*batch, size, size), dtype, 1)
        x2 = small_integers((*batch, size, size + 1), dtype, 2)
        check("matmul", maker(x1), maker(x2))
        check("matmul", maker(x1), c_order(x2))
        check("matmul", c_order(x1), maker(x2))
        check("matmul", maker(x1[:1]), x2)
        check("matmul", x1, maker(x2[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_one_dimensional_operands(layout, dtype):
    maker = makers_for(dtype)[layout]
    for k in (1, 5, 300):
        vector, matrix = small_integers(k, dtype, 1), small_integers((k, 20), dtype, 2)
        check("matmul", maker(vector), maker(vector))
        check("matmul", maker(vector), maker(matrix))
        check("matmul", maker(matrix.T), maker(vector))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_of_k(layout):
    x1, x2 = small_integers((50, 700), "f4", 1), small_integers((700, 60), "f4", 2)
    check("matmul", LAYOUTS[layout](x1), x2)
    check("matmul", x1, LAYOUTS[layout](x2))
    x1, x2 = small_integers((4, 30_000), "f8", 1), small_integers((30_000, 4), "f8", 2)
    check("matmul", LAYOUTS[layout](x1), LAYOUTS[layout](x2))


@pytest.mark.parametrize("dtype", [*FLOATS, "c8", "c16"], ids=name)
@pytest.mark.parametrize(
    ("m", "n", "k"), [(4, 4, 4), (64, 64, 64), (50, 60, 700), (1, 50, 300), (50, 1, 300)]
)
def test_same_bits_for_every_layout(m, n, k, dtype):
    x1, x2 = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
    expected = bits(fm.matmul(x1, x2))
    for layout, maker in makers_for(dtype, SAME_VALUES).items():
        assert bits(fm.matmul(maker(x1), x2)) == expected, layout
        assert bits(fm.matmul(x1, maker(x2))) == expected, layout
        assert bits(fm.matmul(maker(x1), maker(x2))) == expected, layout


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
@pytest.mark.parametrize(
    ("shape1", "shape2"),
    [
        ((30, 4, 4), (30, 4, 4)),
        ((30, 4, 4), (4, 4)),
        ((5, 6, 3, 7), (7, 5)),
        ((20, 16, 16), (20, 16, 16)),
        ((20, 16, 16), (16, 16)),
        ((3, 40, 300), (300, 20)),
        ((3, 40, 300), (3, 300, 20)),
        ((2, 3, 9000), (9000, 4)),
    ],
)
def test_same_bits_for_every_layout_of_batches(shape1, shape2, dtype):
    x1, x2 = normal(shape1, dtype, 1), normal(shape2, dtype, 2)
    expected = bits(fm.matmul(x1, x2))
    for layout, maker in makers_for(dtype, SAME_VALUES).items():
        assert bits(fm.matmul(maker(x1), x2)) == expected, layout
        assert bits(fm.matmul(x1, maker(x2))) == expected, layout
        assert bits(fm.matmul(maker(x1), maker(x2))) == expected, layout


def test_an_operand_with_itself():
    """x @ xᵀ and x @ x read the same memory twice."""
    for dtype in ("f4", "f8", "i8", "c8", "?"):
        for n in (4, 16, 50, 300):
            x = small_integers((n, n), dtype, 1)
            check("matmul", x, x)
            check("matmul", x, x.T)
            check("matmul", x[::-1], x[:, ::-1])


def test_overlapping_windows():
    """Rows that share memory (a Hankel matrix by strides) are read, not copied wrongly."""
    x = small_integers(400, "f8", 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, 100)
    check("matmul", windows, small_integers((100, 30), "f8", 2))
    check("matmul", windows.T[:, :50], windows[:50])


def test_matrices_broadcast_in_both_axes():
    for dtype in ("f4", "f8", "i4", "c8"):
        x1 = np.broadcast_to(small_integers((), dtype, 1), (40, 50))
        check("matmul", x1, broadcast(small_integers((50, 60), dtype, 2)))


@st.composite
def operands(draw):
    """Two operands whose shapes fit: dtypes, layouts and batches independent of each other."""
    sizes = st.one_of(st.integers(0, 20), st.sampled_from([31, 32, 33, 48, 65]))
    m, n, k = draw(sizes), draw(sizes), draw(st.one_of(sizes, st.sampled_from([257, 385, 600])))
    batch = draw(st.lists(st.integers(0, 3), max_size=2))

    def one_batch():
        kept = batch[draw(st.integers(0, len(batch))) :]
        return [size if draw(st.booleans()) else 1 for size in kept]

    shape1 = [*one_batch(), m, k] if draw(st.integers(0, 5)) else [k]
    shape2 = [*one_batch(), k, n] if draw(st.integers(0, 5)) else [k]
    dtype1 = draw(st.sampled_from(DTYPES))
    dtype2 = draw(st.one_of(st.just(dtype1), st.sampled_from(DTYPES)))
    seed = draw(st.integers(0, 9))
    return tuple(
        draw(st.sampled_from(list(makers_for(dtype).values())))(small_integers(shape, dtype, seed))
        for shape, dtype in ((shape1, dtype1), (shape2, dtype2))
    )


@given(operands())
def test_shapes_strides_and_dtypes_together(pair):
    x1, x2 = pair
    try:
        np.result_type(x1, x2)
    except TypeError:
        with pytest.raises(TypeError):
            fm.matmul(x1, x2)
    else:
        check("matmul", x1, x2)
