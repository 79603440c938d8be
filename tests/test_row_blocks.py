"""Matrices by rows: products, bits that do not depend on pieces, and memory that is bounded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import BFLOAT16
from products import bits, normal
from spectra import errors, matrix
from streams import Slices, cut

import fastmat as fm
from fastmat.ops import aligned_rows, low_rank, row_blocks

EPS = {"f4": 2**-23, "f8": 2**-52, "c8": 2**-23, "c16": 2**-52}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 16 rows, whatever the width; products of 64 columns at a time."""
    monkeypatch.setattr(aligned_rows, "BLOCK", 1)
    monkeypatch.setattr(row_blocks, "COLUMNS", 64)


def sources(x):
    return {
        "array": fm.RowBlocks(x),
        "slices": fm.RowBlocks(Slices(x)),
        "list": fm.RowBlocks(cut(x, [5, 40])),
        "function": fm.RowBlocks(lambda: iter(cut(x, [33])), x.shape, dtype=x.dtype),
    }


@pytest.mark.parametrize("dtype", ["f4", "c16"])
@pytest.mark.parametrize("shape", [(403, 37), (23, 200), (16, 1), (1, 5), (700, 3)])
def test_products(dtype, shape, small_blocks):
    """Within the errors of sums of that many terms, also of transposed matrices."""
    x, q, y = normal(shape, dtype), normal((shape[1], 5), dtype, 1), normal((shape[0], 5), dtype, 2)
    wide = "c16" if dtype == "c16" else "f8"
    expected = x.astype(wide) @ q, x.conj().T.astype(wide) @ y
    found = {}
    for name, a in sources(x).items():
        assert (a.shape, a.dtype, a.ndim) == (shape, dtype, 2)
        for left, right, operand, exact in (
            (a.matmat, a.T.rmatmat, q, expected[0]),
            (a.rmatmat, a.T.matmat, y, expected[1]),
        ):
            terms = max(shape)
            bound = 4 * terms * EPS[dtype] * np.abs(exact).max() + 30 * EPS[dtype]
            assert np.abs(left(operand) - exact).max() <= bound
            assert np.abs(right(operand.conj()).conj() - exact).max() <= bound
        found[name] = bits(a.matmat(q)) + bits(a.rmatmat(y))
    assert len(set(found.values())) == 1


@settings(max_examples=40)
@given(
    m=st.integers(1, 150),
    n=st.integers(1, 40),
    data=st.data(),
    budget=st.sampled_from([10_000, 12_345, 10**6]),
)
def test_pieces_and_budgets_change_no_bit(m, n, data, budget):
    height, aligned_rows.BLOCK = aligned_rows.BLOCK, 1
    try:
        x, q = normal((m, n), "f4", m), normal((n, 3), "f4", n)
        bounds = data.draw(st.lists(st.integers(0, m), max_size=6))
        whole, pieces = fm.RowBlocks(x), fm.RowBlocks(cut(x, bounds), (m, n))
        read = Slices(x)
        slices = fm.RowBlocks(read, budget=budget)
        y = whole.matmat(q)
        for a in (pieces, slices):
            assert bits(a.matmat(q)) == bits(y)
            assert bits(a.rmatmat(y)) == bits(whole.rmatmat(y))
        assert 2 * read.most + 16 * n * 4 <= budget
    finally:
        aligned_rows.BLOCK = height


def test_many_blocks_are_added_in_groups(small_blocks):
    """So that a sum of very many does not lose what a sum of few keeps."""
    x, y = np.ones((16 * 5000, 1), "f4"), np.full((16 * 5000, 1), 0.1, "f4")
    found = fm.RowBlocks(x).rmatmat(y)
    exact = len(y) * float(y[0, 0])
    assert abs(found[0, 0] - exact) <= 150 * EPS["f4"] * exact


@pytest.mark.parametrize("shape", [(300, 80), (80, 300)])
@pytest.mark.parametrize("transpose", ["auto", False, True])
def test_factors(shape, transpose, small_blocks):
    x = matrix(*shape, 0.7 ** np.arange(80), np.random.default_rng(1), "f4")
    for options in ({"n_components": 6}, {"tol": 1e-2}):
        expected = fm.randomized_svd(x, rng=1, transpose=transpose, **options)
        results = set()
        for name, a in sources(x).items():
            before = a.passes
            found = fm.randomized_svd(a, rng=1, transpose=transpose, **options)
            assert a.passes - before == found.n_passes, name
            np.testing.assert_allclose(found.S, expected.S, rtol=1e-5, atol=1e-6)
            assert errors(x, found)[0] <= found.error.frobenius
            results.add(bits(found.U) + bits(found.S) + bits(found.Vh))
        assert len(results) == 1


def test_eigenpairs_and_ranges(small_blocks):
    x = matrix(100, 100, 0.7 ** np.arange(100), np.random.default_rng(2))
    x = x + x.T
    a = fm.RowBlocks(Slices(x))
    values = np.linalg.eigvalsh(x)
    largest = values[np.argsort(-np.abs(values))[:5]]
    np.testing.assert_allclose(fm.randomized_eigh(a, 5, rng=1).eigenvalues, largest)
    q = fm.randomized_range(a, 20, rng=1)
    dense = fm.randomized_range(x, 20, rng=1)
    beyond, expected = (np.linalg.norm(x - q @ (q.T @ x)) for q in (q, dense))
    assert beyond <= 1.001 * expected


def test_threads_change_no_bit():
    x = normal((20_000, 70), "f4")
    results = set()
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        results.add(tuple(map(bits, fm.randomized_svd(fm.RowBlocks(x), 5, rng=1))))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", BFLOAT16, ">f4", ">c16"])
def test_dtypes_are_converted_block_by_block(dtype, small_blocks):
    x = np.random.default_rng(3).integers(0, 2, (90, 30)).astype(dtype)
    expected = low_rank.operand_of(x)
    for a in (fm.RowBlocks(Slices(x)), fm.RowBlocks([x[:50], x[50:]])):
        assert a.dtype == expected.dtype
        eye = np.eye(30, dtype=expected.dtype)
        np.testing.assert_array_equal(a.matmat(eye), expected)
    single = fm.RowBlocks(Slices(x), dtype="c8" if dtype == ">c16" else "f4")
    assert fm.randomized_svd(single, 3, rng=1).S.dtype == "f4"


def test_tensors():
    torch = pytest.importorskip("torch")
    x = torch.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(fm.RowBlocks(x).matmat(np.eye(3)), x.numpy())
    np.testing.assert_array_equal(fm.RowBlocks([x[:1], x[1:]]).matmat(np.eye(3)), x.numpy())


def test_memory_maps_are_never_read_as_a_whole(tmp_path):
    """In place, or by blocks of rows; of columns, where those are contiguous."""
    import tracemalloc

    x = np.random.default_rng(4).integers(0, 9, (20_000, 500))
    largest = np.linalg.norm(x.astype("f4"), 2)
    for dtype, order in (("f4", "C"), ("f4", "F"), ("f2", "C"), ("f2", "F"), ("i2", "C")):
        path = tmp_path / f"{dtype}{order}"
        x.astype(dtype).ravel(order).tofile(path)
        mapped = np.memmap(path, dtype, "r", shape=x.shape, order=order)
        operand = low_rank.operand_of(mapped)
        if dtype == "f4":
            assert np.shares_memory(operand, mapped)
        else:
            assert not isinstance(operand, np.ndarray)
            assert operand.dtype == ("f8" if dtype == "i2" else "f4")
        fm.randomized_svd(mapped, 3, n_oversamples=2, n_iter=1, rng=1)
        tracemalloc.start()
        found = fm.randomized_svd(mapped, 3, n_oversamples=2, n_iter=1, rng=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.size * operand.dtype.itemsize / 2
        np.testing.assert_allclose(found.S[0], largest, rtol=1e-5)


# What cannot be.


def blocks_that_change(first, then):
    """A function whose blocks are others from the second call on."""
    calls = iter([first])
    return lambda: next(calls, then)


X = np.ones((6, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fm.RowBlocks(iter([X])), TypeError, "only once"),
        (lambda: fm.RowBlocks(3), TypeError, "x is of type int"),
        (lambda: fm.RowBlocks(Slices(X[0])), ValueError, "must be a matrix"),
        (lambda: fm.RowBlocks(Slices(X.astype("U3"))), TypeError, "x has dtype"),
        (lambda: fm.RowBlocks(X, (5, 3)), ValueError, "shape is"),
        (lambda: fm.RowBlocks([X], (6,)), ValueError, "two lengths"),
        (lambda: fm.RowBlocks([X], dtype="i4"), TypeError, "dtype"),
        (lambda: fm.RowBlocks(X.astype("c8"), dtype="f4"), TypeError, "cannot be converted"),
        (lambda: fm.RowBlocks([]), ValueError, "no blocks"),
        (lambda: fm.RowBlocks([X, X[0]]), ValueError, "2 dimensions"),
        (lambda: fm.RowBlocks([X, X[:, :2]]), ValueError, "2 columns; it must have 3"),
        (lambda: fm.RowBlocks([X, 1j * X]), TypeError, "complex128"),
        (lambda: fm.RowBlocks(X, budget=100), ValueError, "budget is 100 .* at least 192"),
        (lambda: fm.RowBlocks(X, budget=1.5), TypeError, "budget is 1.5"),
        (lambda: fm.RowBlocks(X, progress="yes"), ValueError, "progress is 'yes'"),
        (lambda: fm.RowBlocks(X).matmat(X), ValueError, "3 rows"),
        (
            lambda: fm.randomized_svd(fm.RowBlocks([X], (7, 3)), 1),
            ValueError,
            "pass 1 over x gave only 6 rows",
        ),
        (
            lambda: fm.randomized_svd(fm.RowBlocks([X, X], (7, 3)), 1),
            ValueError,
            "pass 1 over x gave more than 7 rows",
        ),
        (
            lambda: fm.randomized_svd(fm.RowBlocks(blocks_that_change([X], [X[:4]])), 1),
            ValueError,
            "pass 2 over x gave only 4 rows",
        ),
        (
            lambda: fm.randomized_svd(fm.RowBlocks(blocks_that_change([X], [X[:, :2]])), 1),
            ValueError,
            r"\(pass 2\) has 2 columns",
        ),
        (lambda: fm.randomized_svd(fm.RowBlocks([X * np.nan]), 1), ValueError, "NaN"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_progress(capsys):
    """Nothing where nobody looks, unless it is forced; on standard error, and wiped in the end."""
    a = fm.RowBlocks(X, progress=True)
    a.matmat(np.eye(3))
    assert capsys.readouterr() == ("", "")
    forced = fm.RowBlocks(X, progress="force")
    forced.matmat(np.eye(3))
    out, err = capsys.readouterr()
    assert out == ""
    assert "pass 1: [##" in err
    assert "100% of 6 rows" in err
    assert err.endswith("\r\x1b[K")


# Memory that is bounded.

SCRIPT = """
import json, resource, sys
import numpy as np
import fastmat as fm

columns, height = 1024, 4096
right = fm.random.standard_normal((5, columns), dtype="f4", rng=1)


def used(name):
    status = open("/proc/self/status").read()
    return 1024 * int(status.split(name + ":")[1].split()[0])


def left(start, stop):
    return fm.random.standard_normal((stop - start, 5), dtype="f4", rng=2, offset=5 * start)


class Rows:
    "A matrix that is nowhere: rows are made when they are asked for."
    dtype = np.dtype("f4")

    def __init__(self, rows):
        self.shape = rows, columns

    def __getitem__(self, rows):
        return left(rows.start, rows.stop) @ right


def blocks():
    for start in range(0, rows, height):
        yield source[start : min(start + height, rows)]


def factors(x):
    yield fm.randomized_svd(fm.RowBlocks(x, budget=2**25), 5, n_iter=0, rng=3)
    yield fm.LowRankSketch(columns, 10, dtype="f4", rng=3).update(blocks()).svd(5)


rows, source = 10_000, Rows(10_000)
list(factors(source))  # kernels and threads are there
limit = used("VmSize") + 2**27
rows = limit * 6 // 5 // (4 * columns)
source = Rows(rows)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    np.empty((rows, columns), "f4")
except MemoryError:
    pass
else:
    raise AssertionError("the limit is too high")
gram = sum(x.T @ x for x in (left(i, min(i + height, rows)) for i in range(0, rows, height)))
s = np.linalg.svd(np.linalg.cholesky(gram.astype("f8")).T @ right)[1]
found = list(factors(source))
print(json.dumps({
    "rows": rows,
    "limit": limit,
    "off": [float(np.abs(x.S / s - 1).max()) for x in found],
    "bounds": [x.error.frobenius for x in found],
}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is not told here")
def test_a_matrix_larger_than_the_limit_of_memory():
    root = Path(fm.__file__).resolve().parent.parent
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["rows"] * 4096 > told["limit"]
    assert max(told["off"]) <= 1e-4
    assert max(told["bounds"]) <= 1e-4
