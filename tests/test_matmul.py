"""`fm.matmul`: shapes. Values are small whole numbers, so every result is compared exactly."""

from itertools import product

import numpy as np
import pytest
from oracles import DTYPES, name
from products import check, small_integers

# Tiles have 12 or 6 rows and 4 to 128 columns, by instruction set and dtype.
ROWS = (1, 5, 6, 7, 11, 12, 13)
COLUMNS = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)


def pair(shape1, shape2, dtype="f4"):
    return small_integers(shape1, dtype, 1), small_integers(shape2, dtype, 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_around_one_tile(dtype):
    for m, n, k in product(ROWS, COLUMNS, (1, 2, 3, 4, 17)):
        check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_around_several_tiles(dtype):
    for m, n, k in product((17, 18, 35, 36, 37), (63, 64, 65, 97, 127, 128, 129), (31, 64)):
        check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.parametrize(
    "k", [255, 256, 257, 384, 385, 511, 512, 513, 1025, 2047, 2048, 2049, 4097]
)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "c8", "?", "f2"])
def test_around_blocks_of_k(dtype, k):
    check("matmul", *pair((43, k), (k, 49), dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c16", "u1"])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (127, 131, 137),
        (251, 257, 263),
        (419, 11, 13),
        (383, 150, 300),
        (385, 150, 300),
        (2003, 30, 20),  # tall
        (20, 2003, 30),  # wide
        (500, 600, 1),  # an outer product
        (700, 300, 2),
        (3, 901, 4),
        (1, 700, 300),  # one row
        (700, 1, 300),  # one column
        (1, 1, 1000),
        (2, 3, 2999),
    ],
    ids=lambda n: str(n),
)
def test_regimes(m, n, k, dtype):
    check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "c8", "?"])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(8, 8, 200_000), (1, 1, 200_000), (16, 2, 65_537), (5, 33, 20_011)]
)
def test_long_sums_are_split(m, n, k, dtype):
    check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("m", "n", "k"), [(20, 5003, 300), (5003, 20, 300), (601, 607, 613)])
def test_several_blocks(m, n, k, dtype):
    check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("k", [1, 2, 5, 16, 64, 255, 257, 300, 385, 513, 1000])
def test_all_sizes(dtype, k):
    for m, n in product(range(1, 66, 3), range(1, 130, 3)):
        check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize(("m", "n", "k"), [(1200, 1100, 1300), (4100, 30, 900), (30, 4100, 900)])
def test_big(m, n, k, dtype):
    check("matmul", *pair((m, k), (k, n), dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize(
    ("shape1", "shape2"), list(product([(3,), (2, 3), (4, 2, 3)], [(3,), (3, 5), (4, 3, 5)]))
)
def test_one_dimensional_operands(shape1, shape2, dtype):
    check("matmul", *pair(shape1, shape2, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8", "?"])
@pytest.mark.parametrize("k", [1, 7, 16, 100, 5000])
def test_one_dimensional_lengths(k, dtype):
    check("matmul", *pair((k,), (k,), dtype))
    check("matmul", *pair((k,), (k, 19), dtype))
    check("matmul", *pair((19, k), (k,), dtype))


BATCHES = [
    ((), (5,)),
    ((5,), ()),
    ((5,), (5,)),
    ((1,), (5,)),
    ((5,), (1,)),
    ((3, 1), (5,)),
    ((3, 1), (1, 5)),
    ((2, 3, 4), (3, 1)),
    ((2, 1, 4), (3, 4)),
    ((1, 1, 1), (2, 1, 3)),
    ((2, 1, 2, 1), (1, 3, 1, 2)),
]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8", "?", "f2"])
@pytest.mark.parametrize(("batch1", "batch2"), BATCHES)
def test_batches_broadcast(batch1, batch2, dtype):
    for m, n, k in [(4, 4, 4), (3, 2, 5), (16, 16, 16), (1, 7, 3), (9, 1, 2), (33, 19, 40)]:
        check("matmul", *pair((*batch1, m, k), (*batch2, k, n), dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("batch", [1, 7, 8, 9, 16, 33, 1000])
def test_many_tiny_products(batch, dtype):
    for m, n, k in [(4, 4, 4), (3, 2, 5), (1, 1, 1), (2, 3, 1), (5, 1, 4), (1, 6, 3)]:
        check("matmul", *pair((batch, m, k), (batch, k, n), dtype))
        check("matmul", *pair((batch, m, k), (k, n), dtype))
        check("matmul", *pair((m, k), (batch, k, n), dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "c16"])
def test_batches_of_medium_products(dtype):
    check("matmul", *pair((7, 65, 70), (7, 70, 67), dtype))
    check("matmul", *pair((3, 100, 300), (300, 50), dtype))
    check("matmul", *pair((200, 16, 16), (200, 16, 16), dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize(
    ("shape1", "shape2"),
    [
        ((0, 3), (3, 4)),
        ((2, 3), (3, 0)),
        ((0, 3), (3, 0)),
        ((2, 0), (0, 4)),
        ((0, 0), (0, 0)),
        ((40, 0), (0, 50)),
        ((0,), (0,)),
        ((0,), (0, 4)),
        ((2, 0), (0,)),
        ((0, 2, 3), (3, 4)),
        ((0, 2, 3), (1, 3, 4)),
        ((0, 2, 3), (0, 3, 4)),
        ((2, 0, 2, 3), (3, 4)),
        ((5, 2, 0), (0, 4)),
        ((5, 2, 0), (5, 0, 4)),
    ],
)
def test_empty(shape1, shape2, dtype):
    result = check("matmul", *pair(shape1, shape2, dtype))
    if np.size(result):
        assert not np.any(result)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_empty_sums_overwrite_out(dtype):
    for shape1, shape2, shape in [
        ((2, 0), (0, 4), (2, 4)),
        ((5, 2, 0), (0, 4), (5, 2, 4)),
        ((0,), (0,), ()),
        ((0,), (0, 4), (4,)),
        ((2, 0), (0,), (2,)),
    ]:
        check("matmul", *pair(shape1, shape2, dtype), out=np.ones(shape, dtype))
