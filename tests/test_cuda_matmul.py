"""Products of matrices and vectors on GPUs."""

import itertools

import numpy as np
import pytest
from cuda_products import called, check, check_near, small_tiles
from gpus import on
from layouts import block, broadcast, broadcast_last, c_order, f_order, negative, sliced, transposed
from oracles import DTYPES, name
from products import any_bits, normal, same, small_integers

import fastmat as fm

SHAPES = [  # m, k, n; tiles are of 16 x 32, by steps of 4
    (1, 1, 1),
    (3, 5, 7),
    (15, 3, 31),
    (17, 5, 33),
    (37, 11, 67),
    (16, 4, 32),
    (40, 24, 68),
    (5, 0, 3),
    (0, 4, 3),
    (4, 5, 0),
]


@pytest.fixture
def small():
    with small_tiles():
        yield


def pair(shape1, shape2, dtype="f4", make1=c_order, make2=c_order):
    return make1(small_integers(shape1, dtype, 1)), make2(small_integers(shape2, dtype, 2))


def test_the_tiles_of_small_products(gpu):
    check(gpu, "matmul", *pair((33, 37), (37, 36)))


def test_around_tiles(gpu, small):
    for m, k, n in SHAPES:
        check(gpu, "matmul", *pair((m, k), (k, n)))


def test_many_bands_of_tiles(gpu, small):
    check(gpu, "matmul", *pair((16 * 17, 9), (9, 70)))


@pytest.mark.cuda_full
def test_the_tiles_of_large_products(gpu):
    for k in (9, 24):
        check(gpu, "matmul", *pair((1160, k), (k, 260)))


def test_layouts(gpu, small):
    for make1, make2 in [(f_order, c_order), (c_order, f_order), (transposed, transposed)]:
        check(gpu, "matmul", *pair((36, 20), (20, 44), "f4", make1, make2))
    for make1, make2 in [(sliced, negative), (broadcast, broadcast_last)]:
        check(gpu, "matmul", *pair((7, 19), (19, 9), "f4", make1, make2))


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "f2", "c16"])
def test_all_layouts(gpu, dtype):
    makers = (c_order, f_order, transposed, sliced, negative, block, broadcast, broadcast_last)
    for make1, make2 in itertools.product(makers, repeat=2):
        for m, k, n in [(36, 20, 44), (33, 7, 35)]:
            check(gpu, "matmul", *pair((m, k), (k, n), dtype, make1, make2))


def test_sums_split_over_blocks(gpu, small):
    check(gpu, "matmul", *pair((20, 1100), (1100, 30)))
    check(gpu, "matmul", *pair((2, 9, 600), (600, 8)))


@pytest.mark.parametrize("dtype", ["i4", "u1", "?"])
def test_dtypes(gpu, small, dtype):
    check(gpu, "matmul", *pair((33, 17), (17, 35), dtype))


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(gpu, dtype):
    for m, k, n in [(33, 17, 35), (36, 24, 40), (9, 1040, 10), (1, 100, 30), (30, 100, 1)]:
        check(gpu, "matmul", *pair((m, k), (k, n), dtype))
        if dtype.kind != "b":
            check_near(gpu, "matmul", normal((m, k), dtype, 1), normal((k, n), dtype, 2))


def test_complex_numbers(gpu, small):
    check(gpu, "matmul", *pair((5, 6), (6, 7), "c8"))
    check(gpu, "vecmat", *pair((6,), (6, 7), "c8"))


def test_integers_wrap_around(gpu, small):
    check(gpu, "matmul", any_bits((9, 40), "i4", 1), any_bits((40, 8), "i4", 2))
    check(gpu, "matmul", any_bits((9, 40), "u1", 1), any_bits((40, 8), "u1", 2))


def test_rounding(gpu, small):
    check_near(gpu, "matmul", normal((20, 300), "f4", 1), normal((300, 24), "f4", 2))


def test_nan_and_infinities_stay_where_they_belong(gpu, small):
    x1, x2 = np.ones((8, 20), "f4"), np.ones((20, 12), "f4")
    x1[3, 19], x2[17, 4], x1[5, 2] = np.nan, np.inf, -np.inf
    same(called(gpu, "matmul", x1, x2), x1 @ x2)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 3, 5), (4, 5, 6)),
        ((4, 13, 5), (5, 33)),
        ((2, 1, 3, 5), (3, 5, 4)),
        ((2, 3, 1, 2, 2, 3), (3, 2, 1, 3, 2)),
        ((0, 3, 5), (5, 6)),
    ],
)
def test_stacks(gpu, small, shapes):
    check(gpu, "matmul", *pair(*shapes))


def test_stacks_longer_than_a_grid(gpu, small, monkeypatch):
    from fastmat.cuda import matmul, stacks

    monkeypatch.setattr(stacks, "MOST_ITEMS", 5)
    matmul._plan.cache_clear()
    try:
        check(gpu, "matmul", *pair((13, 3, 5), (5, 6)))
        check(gpu, "matmul", *pair((3, 4, 2, 3, 5), (4, 1, 5, 6)))
    finally:
        matmul._plan.cache_clear()


def test_vectors(gpu, small):
    for m, k in [(1, 1), (5, 7), (40, 36), (3, 4400), (130, 2)]:
        check(gpu, "matvec", *pair((m, k), (k,)))
        check(gpu, "vecmat", *pair((m,), (m, k)))
    check(gpu, "matmul", *pair((5,), (5,)))
    check(gpu, "matmul", *pair((3, 13, 5), (5,)))
    check(gpu, "vecdot", *pair((5, 37), (5, 37)))
    check(gpu, "vecdot", *pair((3, 5, 4), (3, 1, 4)), axis=0)
    check(gpu, "vecdot", *pair((0,), (0,)))


def test_vectors_of_any_strides(gpu):
    for make in (f_order, sliced, negative, broadcast):
        check(gpu, "matvec", make(small_integers((9, 70), "f4")), sliced(small_integers(70, "f4")))


def test_mixed_dtypes(gpu, small):
    check(gpu, "matmul", small_integers((5, 6), "i2"), small_integers((6, 7), "f4"))
    check(gpu, "matvec", small_integers((5, 6), "?"), small_integers(6, "i4"))
    check(gpu, "matmul", small_integers((5, 6), "f8"), small_integers((6, 7), "f8"), dtype="f4")


def test_out(gpu, small):
    x1, x2 = pair((12, 12), (12, 12))
    expected = x1 @ x2
    for make in (f_order, sliced, negative):
        same(called(gpu, "matmul", x1, x2, out=make(np.zeros((12, 12), "f4"))), expected)
    given = gpu.array(x1)
    assert fm.matmul(given, gpu.array(x2), given) is given
    same(gpu.numpy(given), expected)


def test_errors(gpu):
    a, b = gpu.array(np.ones((3, 4), "f4")), gpu.array(np.ones((4, 5), "f4"))
    scalar = gpu.array(np.ones((), "f4"))
    out = gpu.array(np.full((3, 4), 7.0, "f4"))
    for call, kind, text in [
        (lambda: fm.matmul(a, a), ValueError, "x1 has shape (3, 4) and x2 has shape (3, 4)"),
        (lambda: fm.matmul(scalar, a), ValueError, "x1 is a scalar"),
        (lambda: fm.matmul(a, b, out), ValueError, "out has shape (3, 4); the result has shape"),
        (lambda: fm.matmul(a, b, dtype="i4"), TypeError, "x1 has dtype float32, which cannot be"),
        (lambda: fm.matmul(a, np.ones((4, 5), "f4")), TypeError, "x2 is not on a GPU"),
        (lambda: fm.matmul(np.ones((3, 4)), b), TypeError, "x1 is not on a GPU"),
        (lambda: fm.matvec(a, scalar), ValueError, "x2 has shape (); matvec wants 1 or more"),
        (lambda: fm.vecdot(a, b), ValueError, "the lengths to sum over, 4 and 5, must be equal"),
        (lambda: fm.vecdot(a, a, axis=2), ValueError, "axis 2 is out of bounds"),
        (lambda: fm.vecdot(a, a, axis="x"), TypeError, "axis is 'x'; it must be an integer"),
    ]:
        with pytest.raises(kind) as caught:
            call()
        assert text in str(caught.value)
    assert (gpu.numpy(out) == 7).all()


def test_same_bits_whatever_the_order_of_threads():
    x1, x2 = normal((20, 1100), "f4", 1), normal((1100, 30), "f4", 2)
    found = set()
    for seed in range(2):
        with on("emulator", seed=seed) as gpu:
            product = gpu.numpy(fm.matmul(gpu.array(x1), gpu.array(x2)))
            dots = gpu.numpy(fm.matvec(gpu.array(x1[:3]), gpu.array(x2[:, 0])))
            found.add((product.tobytes(), dots.tobytes()))
    assert len(found) == 1


def test_tiles_in_a_kernel_of_the_user(gpu):
    from numba import cuda, types

    from fastmat.cuda.arrays import view
    from fastmat.cuda.device import tile_product
    from fastmat.cuda.kernel import Kernel

    tile = tile_product("float32")
    rows, cols, sums = tile.rows, tile.cols, tile.sums
    add_to, row_of, col_of = tile.add_to, tile.row_of, tile.col_of

    def squares(a, b, c, m, n, k):
        total = cuda.local.array(sums, types.float32)
        for i in range(sums):
            total[i] = 0
        top, left = cuda.blockIdx.y * rows, cuda.blockIdx.x * cols
        add_to(total, top, left, a, k, 1, b, n, 1, m, n, k)
        for i in range(sums):
            row, col = top + row_of(i), left + col_of(i)
            if row < m and col < n:
                c[row * n + col] = total[i] * total[i]

    x1, x2 = pair((70, 11), (11, 66))
    given = [view(gpu.array(x), "x") for x in (x1, x2, np.zeros((70, 66), "f4"))]
    arguments = ("float32*", "float32*", "float32*", "int32", "int32", "int32")
    kernel = Kernel(squares, arguments, name=None, threads=tile.threads)
    pointers = [x.pointer for x in given]
    kernel((-(-66 // cols), -(-70 // rows)), (*pointers, 70, 66, 11), 0, 0)
    same(gpu.numpy(given[2].owner), (x1 @ x2) ** 2)


@pytest.mark.parametrize("m", [1, 33, 4096, 20_000_000, 2**31 - 4096])
def test_the_grid_of_very_many_rows(m):
    """The second and third axis of a grid have less than 2**16 blocks."""
    pytest.importorskip("numba_cuda")
    from fastmat.cuda.launch_matmul import TILES
    from fastmat.cuda.simt import tile_grid

    for choices in TILES.values():
        for tile, _ in choices:
            (x, y, _), band = tile_grid(tile, m, 8, 1)
            assert x == 2**band < 2**31
            assert y < 2**16
            assert x * y >= -(-m // tile.rows)
