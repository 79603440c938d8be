"""The same bits at any number of threads, from run to run, and from any thread of the caller."""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from oracles import BFLOAT16, COMPLEX, FLOATS, name
from products import bits, normal

import fastmat as fm

SHAPES = [
    ((64, 64), (64, 64)),
    ((300, 310), (310, 320)),
    ((129, 1031), (1031, 67)),
    ((8, 50_000), (50_000, 8)),  # K is split
    ((1, 100_000), (100_000, 1)),
    ((3, 20_011), (20_011, 40)),
    ((2000, 17), (17, 19)),
    ((19, 17), (17, 2000)),
    ((1000, 1), (1, 300)),
    ((700, 800), (800,)),
    ((800,), (800, 700)),
    ((100_000,), (100_000,)),
    ((500, 4, 4), (500, 4, 4)),
    ((200, 16, 16), (16, 16)),
    ((5, 70, 80), (5, 80, 90)),
]


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=name)
@pytest.mark.parametrize(("shape1", "shape2"), SHAPES)
def test_matmul_at_any_number_of_threads(shape1, shape2, dtype):
    x1, x2 = normal(shape1, dtype, 1), normal(shape2, dtype, 2)
    results = {}
    for threads in (1, 2, 3, 4, 8):
        numba.set_num_threads(threads)
        results[threads] = bits(fm.matmul(x1, x2))
    assert len(set(results.values())) == 1, {n: hash(result) for n, result in results.items()}


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=name)
@pytest.mark.parametrize("op", ["matvec", "vecmat", "vecdot"])
def test_vectors_at_any_number_of_threads(op, dtype):
    for m, k in [(4, 4), (700, 900), (3, 100_000), (100_000, 3)]:
        shape1 = (k,) if op == "vecmat" else (m, k)
        shape2 = {"matvec": (k,), "vecmat": (k, m), "vecdot": (m, k)}[op]
        x1, x2 = normal(shape1, dtype, 1), normal(shape2, dtype, 2)
        results = set()
        for threads in (1, 2, 4, 8):
            numba.set_num_threads(threads)
            results.add(bits(getattr(fm, op)(x1, x2)))
        assert len(results) == 1, (m, k)


def test_thread_counts_are_really_set():
    """The tests above mean something only if eight threads exist."""
    assert numba.config.NUMBA_NUM_THREADS >= 8
    fm.matmul(np.ones((300, 300)), np.ones((300, 300)))
    numba.set_num_threads(3)
    fm.matmul(np.ones((300, 300)), np.ones((300, 300)))
    assert numba.get_num_threads() == 3, "a product changed the caller's number of threads"


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "c8"], ids=name)
def test_run_to_run(dtype):
    numba.set_num_threads(8)
    for shape1, shape2 in SHAPES:
        x1, x2 = normal(shape1, dtype, 1), normal(shape2, dtype, 2)
        expected = bits(fm.matmul(x1, x2))
        for _ in range(5):
            assert bits(fm.matmul(x1, x2)) == expected


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_rows_do_not_depend_on_their_neighbours(dtype):
    """The same row of x1 in two places gives the same row of the result."""
    x1, x2 = normal((150, 300), dtype, 1), normal((300, 70), dtype, 2)
    x1[1::2] = x1[0]
    result = fm.matmul(x1, x2)
    assert len({bits(row) for row in result[1::2]}) == 1


def test_callers_in_several_threads():
    """Products called at once from many threads do not share scratch memory."""
    cases = [
        (dtype, normal(shape1, dtype, 1), normal(shape2, dtype, 2))
        for dtype in ("f4", "f8")
        for shape1, shape2 in SHAPES
    ]
    expected = [bits(fm.matmul(x1, x2)) for _, x1, x2 in cases]
    if not numba_is_threadsafe():
        pytest.skip("Numba's threading layer here does not allow concurrent launches")

    def work(_):
        return [bits(fm.matmul(x1, x2)) for _, x1, x2 in cases]

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(work, range(8)):
            assert results == expected


def numba_is_threadsafe():
    return numba.threading_layer() in ("omp", "tbb")


def test_signs_of_zeros_do_not_depend_on_the_layout_of_out():
    a, b = np.full((801, 1), -1e-200), np.full((1, 801), 1e-200)  # products underflow to -0
    expected = fm.matmul(a, b)
    assert np.signbit(expected).all()
    spread = np.zeros((801, 1602))[:, ::2]
    fm.matmul(a, b, spread)
    assert np.signbit(spread).all()


@pytest.mark.parametrize("m", [1, 5, 40])
def test_stacks_of_columns_do_not_depend_on_strides(m):
    a, v = normal((100, m, 300), np.float32, 1), normal((300, 1), np.float32, 2)
    spread = np.zeros((100, m + 2, 300), np.float32)[:, :m]
    spread[:] = a
    expected = bits(fm.matmul(a, v))
    assert bits(fm.matmul(spread, v)) == expected
    assert bits(fm.matmul(a, np.repeat(v[np.newaxis], 100, 0))) == expected
    assert bits(np.stack([fm.matmul(item, v) for item in a])) == expected
