"""Permutations, orthogonal and sparse matrices, weights of layers."""

import itertools

import numba
import numpy as np
import pytest
import random_oracles as oracles
import scipy.sparse
import scipy.stats
from numba import njit

import fastmat as fm
from fastmat import random

SEED, STREAM = 0x0123456789ABCDEF, 0xFEDCBA9876543210
FLOATING = ("float32", "float64", "complex64", "complex128")


@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 512, 513, 4095, 4096, 8192, 70_001])
def test_permutation_is_the_order_of_the_keys(n):
    for offset in (0, 1, 2**33 + 1):
        found = random.permutation(n, rng=SEED, stream=STREAM, offset=offset)
        assert found.dtype == np.int64
        positions = np.arange(n, dtype=np.uint64) + np.uint64(offset)
        expected = np.argsort(oracles.keys(positions, SEED, STREAM), kind="stable")
        np.testing.assert_array_equal(found, expected)


def test_permutation_of_items():
    order = random.permutation(50, rng=1)
    for x in (
        np.arange(50),
        np.arange(300.0).reshape(50, 6)[:, ::-2],
        np.arange(100).reshape(2, 50).T,
        np.array([f"item {i}" for i in range(50)]),
        np.zeros((50, 0)),
    ):
        before = x.copy()
        found = random.permutation(x, rng=1)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, x[order])
        np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(random.permutation(list(range(50)), rng=1), order)
    np.testing.assert_array_equal(random.permutation(np.int32(50), rng=1), order)
    np.testing.assert_array_equal(random.permutation(np.array(50), rng=1), order)
    x = np.arange(50)
    assert random.permutation(x, rng=1, out=x) is x
    np.testing.assert_array_equal(x, order)
    out = np.empty(100)[::-2]
    random.permutation(50, rng=1, out=out)
    np.testing.assert_array_equal(out, order)


def test_all_permutations_are_equally_likely():
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for i in range(12_000):
        counts[tuple(random.permutation(4, rng=1, offset=4 * i).tolist())] += 1
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_threads_do_not_matter():
    found = set()
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        matrix = random.sparse_sign((1000, 9000), 7, rng=4)
        found.add(random.permutation(100_003, rng=5).tobytes() + matrix.indices.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (5, 5), (70, 33), (33, 70), (0, 4)])
def test_orthogonal(shape, dtype):
    q = random.orthogonal(*shape, dtype=dtype, rng=SEED)
    assert q.shape == shape
    assert q.dtype == dtype
    small = q.conj().T @ q if shape[0] >= shape[1] else q @ q.conj().T
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=10 * (1 + max(shape)) * eps)
    out = np.zeros(shape[::-1], dtype).T
    assert random.orthogonal(*shape, rng=SEED, out=out) is out
    np.testing.assert_array_equal(out, q)


def test_orthogonal_comes_from_the_normal_numbers():
    for n, m in ((6, 4), (4, 6), (5, None)):
        tall = (max(n, m or n), min(n, m or n))
        z = random.standard_normal(tall, rng=3, stream=1, offset=9)
        q = random.orthogonal(n, m, rng=3, stream=1, offset=9)
        r = (q if n >= (m or n) else q.T).T @ z
        np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-14)
        assert (np.diagonal(r) > 0).all()


def test_orthogonal_is_equally_likely_everywhere():
    """Traces of n x n matrices by Haar's measure have moments 0, 1, 0, 3, 0, 15 up to n."""
    traces = np.array([np.trace(random.orthogonal(8, rng=1, stream=i)) for i in range(4000)])
    for power, moment in enumerate((0, 1, 0, 3, 0, 15), 1):
        deviation = np.sqrt(np.mean(traces ** (2 * power)) / traces.size)
        assert abs(np.mean(traces**power) - moment) < 4 * deviation
    first = np.array([random.orthogonal(3, rng=2, stream=i)[0, 0] for i in range(2000)])
    assert scipy.stats.kstest(first, "uniform", (-1, 2)).pvalue > 1e-4  # Archimedes


@pytest.mark.parametrize(
    ("shape", "count"),
    [((1, 1), 1), ((10, 7), 3), ((10, 3), 10), ((100, 9), 33), ((40, 9), 40), ((300, 5), 299)],
)
def test_sparse_sign_is_exact(shape, count):
    for offset in (0, 2**20 + 1):
        found = random.sparse_sign(shape, count, rng=SEED, stream=STREAM, offset=offset)
        assert isinstance(found, scipy.sparse.csc_array)
        assert found.shape == shape
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found.indptr, np.arange(shape[1] + 1) * count)
        for j in range(shape[1]):
            rows, signs = oracles.column(shape[0], count, offset + j, SEED, STREAM)
            part = slice(j * count, (j + 1) * count)
            np.testing.assert_array_equal(found.indices[part], rows)
            np.testing.assert_array_equal(found.data[part], np.sqrt(1 / count) * np.array(signs))


def test_columns_of_sparse_sign_are_the_same_in_any_block():
    whole = random.sparse_sign((500, 3000), 8, dtype=np.float32, rng=2)
    assert whole.dtype == np.float32
    block = random.sparse_sign((500, 100), 8, dtype=np.float32, rng=2, offset=1234)
    assert (block != whole[:, 1234:1334]).nnz == 0
    assert random.sparse_sign((5, 0), 3).shape == (5, 0)
    assert random.sparse_sign((0, 0), 0).shape == (0, 0)


def test_sparse_sign_is_equally_likely_everywhere():
    for rows, count in ((50, 5), (64, 40)):
        found = random.sparse_sign((rows, 20_000), count, rng=1)
        per_row = np.bincount(found.indices, minlength=rows)
        p = count / rows
        total = ((per_row - 20_000 * p) ** 2).sum() / (20_000 * p * (1 - p))
        total *= (rows - 1) / rows
        assert scipy.stats.chi2.sf(total, rows - 1) > 1e-4
        signs = np.count_nonzero(found.data > 0)
        assert scipy.stats.binomtest(signs, found.nnz).pvalue > 1e-4


def test_weights_of_layers():
    shape, fan_in, fan_out = (40, 30, 3, 5), 30 * 15, 40 * 15
    uniform = random.glorot_uniform(shape, rng=1)
    bound = np.sqrt(6 / (fan_in + fan_out))
    np.testing.assert_array_equal(uniform, random.uniform(-bound, bound, shape, rng=1))
    normal = random.he_normal(shape, rng=1, dtype=np.float32)
    assert normal.dtype == np.float32
    expected = random.normal(0, np.sqrt(2 / fan_in), shape, dtype=np.float32, rng=1)
    np.testing.assert_allclose(normal, expected, rtol=1e-6)
    np.testing.assert_allclose(random.glorot_uniform(shape, gain=3, rng=1), 3 * uniform)
    np.testing.assert_array_equal(
        random.glorot_uniform((2, 3), rng=1, offset=(5, 6), whole=(20, 30)),
        random.glorot_uniform((20, 30), rng=1)[5:7, 6:9],
    )
    out = np.empty((30, 20)).T
    assert random.he_normal((20, 30), rng=1, out=out) is out
    np.testing.assert_array_equal(out, random.he_normal((20, 30), rng=1))
    assert random.he_normal((0, 0)).shape == (0, 0)


def test_fans_are_pytorchs():
    init = pytest.importorskip("torch.nn.init")
    torch = pytest.importorskip("torch")
    for shape in ((400, 300), (30, 40, 5, 7)):
        x = torch.empty(shape)
        init.xavier_uniform_(x)
        ratio = random.glorot_uniform(shape, rng=1).std() / float(x.std())
        assert abs(ratio - 1) < 0.02
        init.kaiming_normal_(x)
        assert abs(random.he_normal(shape, rng=1).std() / float(x.std()) - 1) < 0.02


ERRORS = [
    (ValueError, "x is -1", lambda r: r.permutation(-1)),
    (ValueError, "x has no axes", lambda r: r.permutation(1.5)),
    (ValueError, "out has shape", lambda r: r.permutation(3, out=np.empty(4))),
    (TypeError, "out has dtype", lambda r: r.permutation([1.5], out=np.empty(1, int))),
    (ValueError, "offset is -1", lambda r: r.permutation(3, offset=-1)),
    (ValueError, "n is -1", lambda r: r.orthogonal(-1)),
    (ValueError, "m is -2", lambda r: r.orthogonal(1, -2)),
    (TypeError, "n is 1.5", lambda r: r.orthogonal(1.5)),
    (TypeError, "dtype is int64", lambda r: r.orthogonal(1, dtype=int)),
    (ValueError, "out has shape", lambda r: r.orthogonal(2, out=np.empty((2, 3)))),
    (ValueError, "it must have two lengths", lambda r: r.sparse_sign(3, 1)),
    (ValueError, "nnz_per_column is 0", lambda r: r.sparse_sign((3, 1), 0)),
    (ValueError, "nnz_per_column is 4", lambda r: r.sparse_sign((3, 1), 4)),
    (ValueError, "offset -1", lambda r: r.sparse_sign((3, 1), 1, offset=-1)),
    (ValueError, "at most", lambda r: r.sparse_sign((3, 2), 1, offset=2**32 - 1)),
    (TypeError, "dtype is complex64", lambda r: r.sparse_sign((3, 1), 1, dtype="c8")),
    (ValueError, "two lengths or more", lambda r: r.glorot_uniform(3)),
    (ValueError, "gain is -1", lambda r: r.he_normal((3, 3), gain=-1)),
    (TypeError, "dtype is complex64", lambda r: r.he_normal((3, 3), dtype="c8")),
]


@pytest.mark.parametrize(("error", "message", "call"), ERRORS)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call(random)


def same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@njit
def orders(n, x, out, seed):
    one = fm.random.permutation(n, rng=seed, offset=5)
    return one, fm.random.permutation(x, rng=seed), fm.random.permutation(n, rng=seed, out=out)


@pytest.mark.parametrize("dtype", [np.float64, np.bool_, np.int16])
def test_permutation_in_compiled_code(overloads, dtype):
    x = (np.arange(60) % 7).reshape(20, 3).astype(dtype)[:, ::-1]
    one, items, stored = orders(20, x, np.empty(40, np.int32)[::2], SEED)
    same(one, random.permutation(20, rng=SEED, offset=5))
    same(items, random.permutation(x, rng=SEED))
    same(stored, random.permutation(20, rng=SEED).astype(np.int32))


@njit
def matrices(n, m, out, seed):
    return (
        fm.random.orthogonal(n, m, rng=seed, stream=2),
        fm.random.orthogonal(n, dtype=np.complex64, rng=seed),
        fm.random.orthogonal(m, n, np.complex128, rng=seed, offset=3),
        fm.random.orthogonal(n, m, out=out, rng=seed),
    )


def test_orthogonal_in_compiled_code(overloads):
    for n, m in ((70, 33), (3, 5), (0, 2)):
        found = matrices(n, m, np.empty((m, n), np.float32).T, SEED)
        same(found[0], random.orthogonal(n, m, rng=SEED, stream=2))
        same(found[1], random.orthogonal(n, dtype="c8", rng=SEED))
        same(found[2], random.orthogonal(m, n, dtype="c16", rng=SEED, offset=3))
        same(found[3], random.orthogonal(n, m, dtype="f4", rng=SEED))


@njit
def sparse(m, n, k, seed):
    return fm.random.sparse_sign((m, n), k, dtype=np.float32, rng=seed, offset=7)


def test_sparse_sign_in_compiled_code(overloads):
    for m, n, k in ((100, 50, 8), (100, 50, 50), (3, 0, 2)):
        data, indices, indptr = sparse(m, n, k, SEED)
        expected = random.sparse_sign((m, n), k, dtype="f4", rng=SEED, offset=7)
        same(data, expected.data)
        np.testing.assert_array_equal(indices, expected.indices)
        np.testing.assert_array_equal(indptr, expected.indptr)


@njit
def weights(n, out, seed):
    return (
        fm.random.glorot_uniform((n, 3, 2), rng=seed),
        fm.random.glorot_uniform((2, 2), 2.0, rng=seed, offset=(1, 1), whole=(n, n)),
        fm.random.he_normal((n, 4), dtype=np.float32, rng=seed),
        fm.random.he_normal((n, 4), 1, rng=seed, out=out),
    )


def test_weights_of_layers_in_compiled_code(overloads):
    found = weights(7, np.empty((4, 7)).T, SEED)
    same(found[0], random.glorot_uniform((7, 3, 2), rng=SEED))
    block = random.glorot_uniform((2, 2), gain=2, rng=SEED, offset=(1, 1), whole=(7, 7))
    same(found[1], block)
    same(found[2], random.he_normal((7, 4), dtype="f4", rng=SEED))
    same(found[3], random.he_normal((7, 4), gain=1, rng=SEED))


COMPILED_ERRORS = [
    (ValueError, "x is negative", lambda n: fm.random.permutation(n - 4)),
    (numba.TypingError, "x is of type", lambda n: fm.random.permutation(1.5)),
    (ValueError, "out has another shape", lambda n: fm.random.permutation(n, np.empty(4))),
    (ValueError, "offset is out of range", lambda n: fm.random.permutation(n, offset=-n)),
    (ValueError, "n or m is negative", lambda n: fm.random.orthogonal(n, -n)),
    (numba.TypingError, "n is of type", lambda n: fm.random.orthogonal(1.5)),
    (numba.TypingError, "dtype is int64", lambda n: fm.random.orthogonal(1, dtype=np.int64)),
    (ValueError, "out has another", lambda n: fm.random.orthogonal(n, out=np.empty((2, 2)))),
    (ValueError, "nnz_per_column must be", lambda n: fm.random.sparse_sign((n, n), n + 1)),
    (ValueError, "at most", lambda n: fm.random.sparse_sign((n, n), n, offset=-n)),
    (numba.TypingError, "it must have two", lambda n: fm.random.sparse_sign(n, 1)),
    (numba.TypingError, "two or more", lambda n: fm.random.he_normal(n)),
    (ValueError, "gain must be", lambda n: fm.random.he_normal((n, n), -n)),
    (numba.TypingError, "gain is of type", lambda n: fm.random.glorot_uniform((n, n), 1j)),
]


@pytest.mark.parametrize(("error", "message", "call"), COMPILED_ERRORS)
def test_errors_in_compiled_code(overloads, error, message, call):
    with pytest.raises(error, match=message):
        njit(call)(3)
