"""`fm.matvec`, `fm.vecmat` and `fm.vecdot`."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, SAME_VALUES, WRITABLE, makers_for, outside
from oracles import COMPLEX, DTYPES, FLOATS, INTEGERS, ORACLES, name, rounded
from products import any_bits, bits, check, check_near, normal, same, small_integers

import fastmat as fm

OPERATIONS = ("matvec", "vecmat", "vecdot")
LENGTHS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 131, 257, 1000)


def shapes(op, m, k, batch1=(), batch2=()):
    """Operands of which k is summed; m counts the results (not for vecdot)."""
    return {
        "matvec": ((*batch1, m, k), (*batch2, k)),
        "vecmat": ((*batch1, k), (*batch2, k, m)),
        "vecdot": ((*batch1, k), (*batch2, k)),
    }[op]


def pair(op, m, k, dtype, batch1=(), batch2=(), make=small_integers):
    shape1, shape2 = shapes(op, m, k, batch1, batch2)
    return make(shape1, dtype, 1), make(shape2, dtype, 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("op", OPERATIONS)
def test_sizes(op, dtype):
    for m, k in product((1,) if op == "vecdot" else LENGTHS, LENGTHS):
        check(op, *pair(op, m, k, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "c8", "?", "f2"])
@pytest.mark.parametrize("op", OPERATIONS)
def test_long(op, dtype):
    for m, k in [(3, 100_003), (100_003, 3), (700, 900), (1, 200_000), (200_000, 1)]:
        check(op, *pair(op, m, k, dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("op", OPERATIONS)
def test_batches_broadcast(op, dtype):
    for m, k in [(4, 4), (3, 7), (20, 33)]:
        for batch1, batch2 in [
            ((5,), (5,)),
            ((), (5,)),
            ((5,), ()),
            ((1,), (5,)),
            ((3, 1), (5,)),
            ((2, 1, 4), (3, 1)),
            ((300,), (300,)),
        ]:
            check(op, *pair(op, m, k, dtype, batch1, batch2))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("op", OPERATIONS)
def test_empty(op, dtype):
    """An empty sum is 0, also where out held something else."""
    for m, k in [(0, 3), (3, 0), (0, 0), (100, 0)]:
        for batch in [(), (0,), (2,), (2, 0)]:
            x1, x2 = pair(op, m, k, dtype, batch)
            result = check(op, x1, x2)
            check(op, x1, x2, out=np.ones(np.shape(result), dtype))


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=name)
@pytest.mark.parametrize("op", OPERATIONS)
def test_accuracy(op, dtype):
    for m, k in [(1, 1), (4, 4), (31, 1), (100, 70), (40, 3000), (2, 100_000)]:
        check_near(op, *pair(op, m, k, dtype, make=normal))


@pytest.mark.parametrize("op", OPERATIONS)
def test_integers_wrap_around(op):
    for dtype in INTEGERS:
        for m, k in [(3, 2), (40, 300)]:
            check(op, *pair(op, m, k, dtype, make=any_bits))


@pytest.mark.parametrize("op", OPERATIONS)
def test_bool_is_or_of_ands_of_any_bytes(op):
    for m, k in [(3, 4), (40, 30), (40, 256), (40, 512)]:
        result = check(op, *pair(op, m, k, bool, (6,), make=any_bits))
        assert set(np.unique(result.view(np.uint8))) <= {0, 1}
        shape1, shape2 = shapes(op, m, k)
        two, four = np.full(shape1, 2, "u1").view(bool), np.full(shape2, 4, "u1").view(bool)
        assert np.all(check(op, two, four))


@pytest.mark.parametrize("dtype", COMPLEX, ids=name)
def test_conjugation(dtype):
    """NumPy 2: vecdot and vecmat conjugate the first operand, matvec and matmul neither."""
    for k in (1, 40):
        vector = np.full(k, 1 + 2j, dtype)
        matrix = np.full((k, 5), 3 + 1j, dtype)
        same(fm.vecdot(vector, matrix[:, 0]), dtype.type(k * (5 - 5j)))
        same(fm.vecmat(vector, matrix), np.full(5, k * (5 - 5j), dtype))
        same(fm.matvec(matrix.T, vector), np.full(5, k * (1 + 7j), dtype))
        same(fm.matmul(vector, matrix), np.full(5, k * (1 + 7j), dtype))
        same(fm.vecdot(vector, vector.real), dtype.type(k * (1 - 2j)))
        same(fm.vecdot(vector.real, vector), dtype.type(k * (1 + 2j)))
        same(fm.vecmat(vector.real, matrix), np.full(5, k * (3 + 1j), dtype))
        same(fm.vecdot(np.ones(k, "f4"), np.ones(k, "f4"), dtype=dtype), dtype.type(k))
        same(fm.vecdot(vector, vector, dtype=dtype), dtype.type(5 * k))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8", "?"])
def test_vecdot_along_an_axis(dtype):
    for shape in [(3,), (3, 4), (5, 3, 40), (2, 33, 4, 5)]:
        x1, x2 = small_integers(shape, dtype, 1), small_integers(shape, dtype, 2)
        for axis in range(-len(shape), len(shape)):
            check("vecdot", x1, x2, axis=axis)
            same(fm.vecdot(x1, x2, axis=axis), np.vecdot(x1, x2, axis=axis))
    x1, x2 = small_integers((3, 4), dtype, 1), small_integers((3,), dtype, 2)
    check("vecdot", x1, x2, axis=0)
    check("vecdot", x1, small_integers((5, 3, 1), dtype, 2), axis=-2)
    out = np.empty(4, dtype)
    check("vecdot", x1, x1, axis=0, out=out)
    assert type(fm.vecdot(x2, x2, axis=np.int64(0))) is np.dtype(dtype).type


@pytest.mark.parametrize("op", OPERATIONS)
def test_mixed_dtypes_and_dtype(op):
    shape1, shape2 = shapes(op, 6, 5)
    for dtype1, dtype2 in product(DTYPES, DTYPES):
        x1, x2 = small_integers(shape1, dtype1, 1), small_integers(shape2, dtype2, 2)
        try:
            np.result_type(dtype1, dtype2)
        except TypeError:
            with pytest.raises(TypeError):
                getattr(fm, op)(x1, x2)
            continue
        check(op, x1, x2)
        for wanted in DTYPES:
            if all(np.can_cast(dtype, wanted, "same_kind") for dtype in (dtype1, dtype2)):
                check(op, x1, x2, dtype=wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", OPERATIONS)
def test_layouts(op, layout):
    for dtype in DTYPES:
        maker = makers_for(dtype).get(layout, LAYOUTS["c_order"])
        for m, k in [(3, 4), (40, 50), (20, 700), (700, 20)]:
            x1, x2 = pair(op, m, k, dtype)
            check(op, maker(x1), maker(x2))
            check(op, maker(x1), x2)
            check(op, x1, maker(x2))
        x1, x2 = pair(op, 8, 9, dtype, (5,), (3, 1))
        check(op, maker(x1), maker(x2))


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("op", OPERATIONS)
def test_layouts_of_out(op, layout):
    for dtype in ("f4", "f8", "i8", "c16", "?", "f2"):
        maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
        for m, k, batch in [(3, 4, ()), (40, 50, ()), (700, 3, ()), (5, 4, (6,)), (9, 33, (2, 3))]:
            x1, x2 = pair(op, m, k, dtype, batch, batch[-1:])
            out = maker(np.ones(ORACLES[op](x1, x2, exact=True).value.shape, dtype))
            around = outside(out)
            check(op, x1, x2, out=out)
            assert outside(out) == around


@pytest.mark.parametrize("op", OPERATIONS)
def test_out_of_another_dtype(op):
    for dtype, out_dtype in [("i1", "i4"), ("i4", "f8"), ("f8", "f4"), ("f4", "c8"), ("f4", "f2")]:
        x1, x2 = pair(op, 30, 40, dtype, (3,))
        shape = ORACLES[op](x1, x2).value.shape
        check(op, x1, x2, out=np.ones(shape, out_dtype))


@pytest.mark.parametrize("op", ["matvec", "vecmat"])
def test_out_overlaps(op):
    for dtype, n in product(("f4", "f8", "i8", "c8"), (4, 16, 50, 300)):
        matrix, vector = small_integers((n, n), dtype, 1), small_integers(n, dtype, 2)
        for where in (0, n // 2, n - 1, np.s_[:, 0], np.s_[:, n - 1], "vector", "backwards"):
            a, v = matrix.copy(), vector.copy()
            out = {"vector": v, "backwards": v[::-1]}[where] if isinstance(where, str) else a[where]
            x1, x2 = (a, v) if op == "matvec" else (v, a)
            expected = rounded(ORACLES[op](x1.copy(), x2.copy(), exact=True).value, dtype)
            same(getattr(fm, op)(x1, x2, out=out), expected)


def test_out_overlaps_operands_of_vecdot():
    for dtype in ("f4", "c16"):
        x = small_integers((40, 41), dtype, 1)
        expected = rounded(ORACLES["vecdot"](x[:, :40], x[:, 1:]).value, dtype)
        for out in (np.s_[:, 0], np.s_[:, 20], np.s_[5, :40]):
            y = x.copy()
            same(fm.vecdot(y[:, :40], y[:, 1:], out=y[out]), expected)


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=name)
@pytest.mark.parametrize("op", OPERATIONS)
def test_nan_and_infinity(op, dtype):
    for k, share in product((3, 40, 1000), (0.002, 0.05)):
        x1, x2 = pair(op, 30, k, dtype, (4,))
        rng = np.random.default_rng(k)
        for x in (x1, x2):
            for part in (x.real, x.imag) if x.dtype.kind == "c" else (x,):
                where = rng.random(x.shape) < share
                special = [np.nan, np.inf, -np.inf, 0.0, -0.0]
                part[where] = rng.choice(special, np.count_nonzero(where))
        check(op, x1, x2)


@pytest.mark.parametrize("op", OPERATIONS)
def test_same_bits_for_every_layout(op):
    for dtype, (m, k) in product(("f4", "f8", "c8", "c16"), [(4, 4), (100, 333), (3, 20_000)]):
        x1, x2 = pair(op, m, k, dtype, make=normal)
        expected = bits(getattr(fm, op)(x1, x2))
        for layout, maker in makers_for(dtype, SAME_VALUES).items():
            assert bits(getattr(fm, op)(maker(x1), x2)) == expected, (layout, dtype, m, k)
            assert bits(getattr(fm, op)(x1, maker(x2))) == expected, (layout, dtype, m, k)


@given(
    st.sampled_from(OPERATIONS),
    st.integers(0, 70),
    st.one_of(st.integers(0, 70), st.sampled_from([257, 1000])),
    st.sampled_from(DTYPES),
    st.sampled_from([((), ()), ((3,), ()), ((), (3,)), ((2, 1), (3,)), ((1,), (4,))]),
    st.data(),
)
def test_shapes_strides_and_dtypes_together(op, m, k, dtype, batches, data):
    makers = st.sampled_from(list(makers_for(dtype).values()))
    x1, x2 = pair(op, m, k, dtype, *batches)
    check(op, data.draw(makers)(x1), data.draw(makers)(x2))
