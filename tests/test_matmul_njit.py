"""`fm.matmul`, `matvec`, `vecmat` and `vecdot` inside the user's own ``@njit`` functions."""

import numba
import numpy as np
import pytest
from layouts import LAYOUTS, unmodified
from numba import njit, prange
from numba.core.errors import TypingError
from oracles import ORACLES, rounded
from products import bits, normal, same, small_integers

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def matmul(x1, x2):
    return fm.matmul(x1, x2)


@njit
def matmul_into(x1, x2, out):
    return fm.matmul(x1, x2, out)


@njit
def matvec(x1, x2):
    return fm.matvec(x1, x2)


@njit
def vecmat(x1, x2):
    return fm.vecmat(x1, x2)


@njit
def vecdot(x1, x2):
    return fm.vecdot(x1, x2)


FUNCTIONS = {"matmul": matmul, "matvec": matvec, "vecmat": vecmat, "vecdot": vecdot}


def check(op, x1, x2):
    """As `products.check`, in compiled code."""
    with unmodified(x1, x2):
        result = FUNCTIONS[op](x1, x2)
    product = ORACLES[op](x1, x2, exact=True)
    expected = rounded(product.value, product.dtype)
    if expected.ndim == 0:  # Numba returns scalars as Python's
        assert np.ndim(result) == 0
        assert result == expected
    else:
        same(result, expected)


def pair(shape1, shape2, dtype, dtype2=None):
    return small_integers(shape1, dtype, 1), small_integers(shape2, dtype2 or dtype, 2)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i8", "u1", "?"])
def test_two_dimensions(dtype):
    for m, n, k in [(1, 1, 1), (4, 4, 4), (16, 16, 16), (43, 33, 300), (8, 8, 20_000), (3, 4, 0)]:
        check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.parametrize(
    ("op", "shape1", "shape2"),
    [
        ("matmul", (40,), (40,)),
        ("matmul", (40,), (40, 30)),
        ("matmul", (30, 40), (40,)),
        ("matmul", (0,), (0,)),
        ("matvec", (30, 40), (40,)),
        ("vecmat", (40,), (40, 30)),
        ("vecdot", (40,), (40,)),
        ("vecdot", (30, 40), (30, 40)),
        ("vecdot", (30, 40), (40,)),
        ("matvec", (6, 3, 4), (6, 4)),
        ("matvec", (3, 4), (6, 4)),
        ("vecmat", (6, 4), (6, 4, 3)),
    ],
)
def test_vectors(op, shape1, shape2):
    for dtype in ("f8", "c8"):
        check(op, *pair(shape1, shape2, dtype))


@pytest.mark.parametrize(
    ("shape1", "shape2"),
    [
        ((30, 4, 4), (30, 4, 4)),
        ((30, 4, 5), (5, 3)),
        ((4, 5), (30, 5, 3)),
        ((1, 40, 50), (6, 50, 30)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((0, 4, 5), (5, 3)),
        ((6, 4, 5), (5,)),
        ((5,), (6, 5, 4)),
    ],
)
def test_batches_broadcast(shape1, shape2):
    check("matmul", *pair(shape1, shape2, "f8"))


@pytest.mark.parametrize(
    ("dtype1", "dtype2"), [("f4", "f8"), ("i4", "f8"), ("i8", "i4"), ("?", "i8"), ("f4", "c8")]
)
def test_mixed_dtypes_promote(dtype1, dtype2):
    check("matmul", *pair((5, 6), (6, 7), dtype1, dtype2))
    check("matmul", *pair((40, 60), (60, 50), dtype2, dtype1))


@pytest.mark.parametrize(
    "layout", sorted(set(LAYOUTS) - {"unaligned", "packed_record", "byte_swapped"})
)
def test_layouts(layout):
    maker = LAYOUTS[layout]
    x1, x2 = pair((40, 70), (70, 30), "f8")
    check("matmul", maker(x1), maker(x2))
    check("matmul", x1, maker(x2))


def test_same_bits_as_from_python():
    for shape1, shape2 in [((64, 300), (300, 70)), ((4, 4), (4, 4)), ((8, 20_000), (20_000, 8))]:
        x1, x2 = normal(shape1, "f8", 1), normal(shape2, "f8", 2)
        assert bits(matmul(x1, x2)) == bits(fm.matmul(x1, x2))
        assert bits(matmul(np.asfortranarray(x1), x2[:])) == bits(fm.matmul(x1, x2))


def test_out():
    for shape1, shape2 in [((40, 50), (50, 30)), ((4, 4), (4, 4)), ((3, 0), (0, 4))]:
        x1, x2 = pair(shape1, shape2, "f8")
        for out in (
            np.full((shape1[0], shape2[1]), 7.0),
            np.full((shape2[1], shape1[0]), 7.0).T,
            np.full((2 * shape1[0], 3 * shape2[1]), 7.0)[::2, ::-3],
        ):
            result = matmul_into(x1, x2, out)
            same(out, x1 @ x2)
            same(result, x1 @ x2)
    x1, x2 = pair((40, 50), (50,), "f8")
    out = np.full(40, 7.0)
    matmul_into(x1, x2, out)
    same(out, x1 @ x2)


def test_out_none_and_by_keyword():
    @njit
    def explicit(x1, x2, out):
        return fm.matmul(x1, x2, None), fm.matmul(x1, x2, out=None), fm.matmul(x1, x2, out=out)

    x1, x2 = pair((5, 6), (6, 7), "f8")
    for result in explicit(x1, x2, np.full((5, 7), 7.0)):
        same(result, x1 @ x2)


@pytest.mark.parametrize("n", [4, 16, 50])
def test_out_overlaps(n):
    x = small_integers((n, n), "f8", 1)
    a = x.copy()
    matmul_into(a, a, a)
    same(a, x @ x)
    a = x.copy()
    matmul_into(a, x, a.T)
    same(a.T, x @ x)
    memory = np.concatenate([x, x])
    expected = memory[:n] @ x
    matmul_into(memory[:n], x, memory[n // 2 : n // 2 + n])
    same(memory[n // 2 : n // 2 + n], expected)


@pytest.mark.parametrize("n", [4, 40, 130])
def test_in_a_parallel_loop(n):
    """The kernels run serially inside the user's prange, with the same bits."""

    @njit(parallel=True)
    def products(x1, x2):
        result = np.empty((x1.shape[0], n, n))
        for i in prange(x1.shape[0]):
            result[i] = fm.matmul(x1[i], x2[i])
        return result

    @njit(parallel=True)
    def products_into(x1, x2):
        result = np.empty((x1.shape[0], n, n))
        for i in prange(x1.shape[0]):
            fm.matmul(x1[i], x2[i], result[i])
        return result

    x1, x2 = normal((9, n, n), "f8", 1), normal((9, n, n), "f8", 2)
    expected = np.stack([fm.matmul(a, b) for a, b in zip(x1, x2, strict=True)])
    for threads in (1, 2, 8):
        numba.set_num_threads(threads)
        assert bits(products(x1, x2)) == bits(expected)
        assert bits(products_into(x1, x2)) == bits(expected)


def test_in_a_parallel_function():
    @njit(parallel=True)
    def function(x1, x2):
        return fm.matmul(x1 + 1, x2).sum()

    x1, x2 = pair((100, 200), (200, 50), "f8")
    assert function(x1, x2) == ((x1 + 1) @ x2).sum()


def test_dtype():
    @njit
    def wider(x1, x2):
        return fm.matmul(x1, x2, dtype=np.int32)

    x = np.full((20, 20), 100, "i1")
    same(wider(x, x), np.full((20, 20), 200_000, "i4"))
    with pytest.raises(TypingError, match="x1"):
        wider(np.ones((3, 3)), np.ones((3, 3)))


def test_axis_of_vecdot():
    @njit
    def along_first(x1, x2):
        return fm.vecdot(x1, x2, axis=0)

    x1, x2 = pair((30, 40), (30, 40), "c16")
    same(along_first(x1, x2), np.vecdot(x1, x2, axis=0))


def test_conjugation():
    x, y = np.full(30, 1 + 2j), np.full((30, 5), 3 + 1j)
    assert vecdot(x, y[:, 0]) == np.vdot(x, y[:, 0])
    same(vecmat(x, y), np.full(5, 30 * (5 - 5j)))
    same(matvec(y.T, x), np.full(5, 30 * (1 + 7j)))
    same(matmul(x, y), np.full(5, 30 * (1 + 7j)))


def test_integers_wrap_around():
    x = np.full((20, 20), 100, "i1")
    same(matmul(x, x), np.full((20, 20), 64, "i1"))


@pytest.mark.parametrize(
    ("op", "shape1", "shape2"),
    [
        ("matmul", (2, 3), (4, 5)),
        ("matmul", (3,), (4,)),
        ("matmul", (3,), (4, 5)),
        ("matmul", (2, 3), (4,)),
        ("matmul", (2, 2, 3), (3, 3, 4)),
        ("matvec", (2, 3), (4,)),
        ("vecmat", (2,), (3, 4)),
        ("vecdot", (3,), (4,)),
    ],
)
def test_mismatched_shapes_raise_at_run_time(op, shape1, shape2):
    with pytest.raises(ValueError, match=r"x1|x2"):
        FUNCTIONS[op](np.ones(shape1), np.ones(shape2))


def test_wrong_shape_of_out_raises_at_run_time():
    for shape in [(3, 3), (2, 2), (0, 3), (3, 2)]:
        out = np.full(shape, 7.0)
        with pytest.raises(ValueError, match="out"):
            matmul_into(np.ones((2, 4)), np.ones((4, 3)), out)
        assert (out == 7).all()


def test_wrong_types_do_not_compile():
    good = np.ones((3, 3))
    for x1, x2 in [
        (good, 2.0),
        (1, good),
        (good, "text"),
        (good, np.ones((3, 3), "M8[s]")),
        ((1, 2), good),
        (np.ones((3, 3), "U3"), good),
        (np.array(1.0), good),
    ]:
        with pytest.raises(TypingError):
            matmul(x1, x2)
    read_only = np.ones((3, 3))
    read_only.flags.writeable = False
    for out in (2.0, np.ones((3, 3), "i8"), np.ones(3), read_only):
        with pytest.raises(TypingError):
            matmul_into(good, good, out)
    with pytest.raises(TypingError):
        matvec(np.ones(3), np.ones(3))
    with pytest.raises(TypingError):
        vecmat(np.ones(3), np.ones(3))


def test_messages_of_wrong_types_name_the_argument():
    with pytest.raises(TypingError, match="x2"):
        matmul(np.ones((3, 3)), 2.0)
    with pytest.raises(TypingError, match="out"):
        matmul_into(np.ones((3, 3)), np.ones((3, 3)), 2.0)


def test_stacks_of_vectors_into_out():
    """Two dimensions do not make a matrix: the rows of x are vectors."""

    @njit
    def into(a, x, out):
        return fm.matvec(a, x, out)

    a, x = pair((4, 4), (4, 4), np.float64)
    np.testing.assert_array_equal(into(a, x, np.empty((4, 4))), fm.matvec(a, x))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64, np.bool_])
def test_small_products_into_out_of_unsigned_numbers(dtype):
    a, b = pair((3, 5), (5, 4), dtype)
    out = np.zeros((3, 4), dtype)
    np.testing.assert_array_equal(matmul_into(a, b, out), fm.matmul(a, b))


def test_dtype_with_out():
    @njit
    def narrow(a, b, out):
        return fm.matmul(a, b, out, dtype=np.int32)

    x = np.full((2, 2), 2**20)
    np.testing.assert_array_equal(narrow(x, x, np.ones_like(x)), np.zeros_like(x))
