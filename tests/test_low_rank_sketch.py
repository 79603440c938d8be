"""Sketches of one pass: errors, bits, merging, and what a sketch goes through unharmed."""

import copy
import itertools
import os
import pickle
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
from spectra import SPECTRA, errors, matrix
from streams import cut

import fastmat as fm
from fastmat.ops import aligned_rows

EPS = {dtype: np.finfo(dtype).eps for dtype in ("f4", "f8", "c16")}
FLOOR = 1e-7  # of errors in float64, relative to the matrix: what is below is divided by
DEEP = {**SPECTRA, "deep": lambda k: 0.4 ** np.arange(k), "steep": lambda k: 0.1 ** np.arange(k)}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 16 rows, whatever the width."""
    monkeypatch.setattr(aligned_rows, "BLOCK", 1)


def sketch_of(x, size, rng=1, first_row=0, dtype=None):
    made = fm.LowRankSketch(x.shape[1], size, dtype=dtype or x.dtype, first_row=first_row, rng=rng)
    return made.update(x)


def all_bits(found):
    return tuple(map(bits, (*found, found.error)))


def state(sketch):
    """The bytes of all that a sketch holds."""
    return pickle.dumps(sketch)


# Errors.


@pytest.mark.parametrize(
    ("dtype", "spectrum"), [*itertools.product(("f4", "f8"), DEEP), ("c16", "geometric")]
)
def test_errors(dtype, spectrum, small_blocks):
    """As of a randomized decomposition without iterations, but for a floor in float64."""
    rng = np.random.default_rng(1)
    for m, n, k, size in [
        (211, 90, 10, 20),
        (90, 211, 10, 20),
        (150, 120, 40, 50),
        (30, 20, 5, 20),
    ]:
        x = matrix(m, n, DEEP[spectrum](min(m, n)), rng, dtype)
        found = sketch_of(x, size).svd(k)
        plain = fm.randomized_svd(x, k, n_oversamples=size - k, n_iter=0, transpose=False, rng=1)
        true, spectral = errors(x, found)
        room = 100 * EPS[dtype] + FLOOR
        assert true <= errors(x, plain)[0] * (1 + 1e-3) + room
        assert true <= found.error.frobenius <= 4 * true + 4 * room
        assert spectral <= found.error.spectral
        assert [part.shape for part in found] == [(m, k), (k,), (k, n)]
        assert found.U.dtype == found.Vh.dtype == x.dtype
        assert found.S.dtype == x.real.dtype
        assert (found.n_iter, found.n_passes, found.rank) == (0, 1, k)
        u, vh = found.U.astype("c16"), found.Vh.astype("c16")
        for left in (u.conj().T @ u, vh @ vh.conj().T):
            assert np.linalg.norm(left - np.eye(k), 2) <= 100 * EPS[dtype]
        largest = np.take_along_axis(found.U, np.abs(found.U).argmax(0)[np.newaxis], 0)
        assert np.all(largest.real > 0)


@pytest.mark.parametrize("oversamples", [2, 5, 10])
def test_bounds_of_halko_martinsson_and_tropp_hold(oversamples):
    """Theorem 10.5 for the projection, and what is dropped of it."""
    rng, k = np.random.default_rng(2), 8
    for spectrum in SPECTRA.values():
        s = spectrum(60)
        x = matrix(80, 60, s, rng)
        size, total = k + oversamples, np.linalg.norm(s)
        found = [errors(x, sketch_of(x, size, rng=seed).svd(size))[0] * total for seed in range(30)]
        tail = np.sqrt(np.sum(s[k:] ** 2))
        assert np.mean(found) <= np.sqrt(1 + k / (oversamples - 1)) * tail


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_low_rank_matrices(dtype):
    """Zeros, rank one, fewer values than asked for, fewer rows than the sketch has columns."""
    rng = np.random.default_rng(3)
    for m, n, rank in [(30, 20, 0), (30, 20, 1), (30, 20, 3), (3, 20, 2), (1, 20, 1), (1, 1, 1)]:
        x = matrix(m, n, np.ones(rank), rng, dtype)
        k = min(m, n, 6)
        found = sketch_of(x, min(n, 8)).svd(k)
        s = np.r_[np.ones(rank), np.zeros(k)][:k]
        assert np.all(np.abs(found.S - s) <= 100 * EPS[dtype])
        assert found.error.frobenius <= 100 * EPS[dtype]
        for left in (found.U, found.Vh.conj().T):
            eye = left.conj().T @ left
            assert np.linalg.norm(eye - np.eye(k), 2) <= 100 * EPS[dtype]


def _coverage(count):
    """How many of so many estimates are at least the true error, in either norm."""
    rng, covered = np.random.default_rng(4), np.zeros(2, int)
    for trial in range(count):
        dtype = ("f4", "f8")[trial // len(DEEP) % 2]
        m, n = rng.integers(5, 80, 2)
        x = matrix(m, n, list(DEEP.values())[trial % len(DEEP)](min(m, n)), rng, dtype)
        size = int(rng.integers(1, n + 1))
        found = sketch_of(x, size, rng=trial).svd(int(rng.integers(1, min(size, m) + 1)))
        covered += [
            true <= bound for true, bound in zip(errors(x, found), found.error, strict=True)
        ]
    return covered / count


def test_estimates_cover_the_error():
    assert np.all(_coverage(100) >= 0.99)


@pytest.mark.exhaustive
def test_estimates_cover_the_error_of_a_thousand_matrices():
    assert np.all(_coverage(1000) >= 0.99)


@pytest.mark.parametrize(("dtype", "exponents"), [("f4", (-100, 100)), ("f8", (-400, 400))])
def test_scale_does_not_matter(dtype, exponents):
    x = matrix(50, 40, 0.7 ** np.arange(40), np.random.default_rng(5), dtype)
    expected = sketch_of(x, 10).svd(6)
    for exponent in exponents:
        found = sketch_of(x * np.dtype(dtype).type(2.0**exponent), 10).svd(6)
        np.testing.assert_allclose(found.S / 2.0**exponent, expected.S, rtol=20 * EPS[dtype])


# Bits.


@settings(max_examples=30)
@given(m=st.integers(1, 120), n=st.integers(2, 30), first=st.integers(0, 40), data=st.data())
def test_chunks_change_no_bit(m, n, first, data):
    block, aligned_rows.BLOCK = aligned_rows.BLOCK, 1
    try:
        x, size = normal((m, n), "f4", m), n // 2
        bounds = data.draw(st.lists(st.integers(0, m), max_size=6))
        asked = data.draw(st.booleans())
        whole = sketch_of(x, size, first_row=first)
        streamed = fm.LowRankSketch(n, size, dtype="f4", first_row=first, rng=1)
        for piece in cut(x, bounds):
            streamed.update(piece)
            if asked and streamed.n_rows:
                streamed.svd(1)
        given_by = fm.LowRankSketch(n, size, dtype="f4", first_row=first, rng=1)
        given_by.update(fm.RowBlocks(cut(x, bounds), (m, n), dtype="f4"))
        k = min(m, size)
        expected = all_bits(whole.svd(k))
        assert all_bits(streamed.svd(k)) == expected
        assert all_bits(given_by.svd(k)) == expected
        again = fm.LowRankSketch(n, size, dtype="f4", first_row=first, rng=1)
        assert all_bits(again.update(iter(cut(x, bounds))).svd(k)) == expected
        assert whole.rows == streamed.rows == [(first, first + m)]
    finally:
        aligned_rows.BLOCK = block


def test_threads_change_no_bit():
    x = normal((9000, 150), "f4")
    results = set()
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        results.add(all_bits(sketch_of(x, 30).svd(20)))
    assert len(results) == 1


# Merging.


def parts(x, bounds, size):
    bounds = [0, *bounds, len(x)]
    return [sketch_of(x[a:b], size, first_row=a) for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_sketches_merge_in_any_order(dtype, small_blocks):
    """H is off by (p - 1) eps of the sum of its magnitudes, and singular values by that through R.

    A sum of p terms in any order is off by (p - 1) eps / 2 of the sum of their magnitudes, to first
    order, so two orders by twice that. By Weyl's inequality |S - S'| <= |H - H'| / σ, where σ is
    the least singular value of AΩ; the small decompositions add some rounding errors.
    """
    x, size = matrix(200, 60, 0.8 ** np.arange(60), np.random.default_rng(6), dtype), 12
    made = parts(x, [13, 48, 100, 101], size)
    complete = [part._complete() for part in made]
    y = np.concatenate([rows[:, :size] for products, _ in complete for _, rows in products])
    allowed = (len(made) - 1) * EPS["f8"] * sum(np.abs(h) for _, h in complete)
    through = np.linalg.norm(allowed) / np.linalg.svd(y, compute_uv=False)[-1]
    rounding = 8 * size * EPS[dtype]
    expected, found = sketch_of(x, size).svd(8), []
    for order in list(itertools.permutations(range(5)))[::13]:
        merged = copy.deepcopy(made[order[0]])
        for i in order[1:]:
            merged.merge(made[i])
        found.append(merged)
    tree = copy.deepcopy(made[3]).merge(made[1]).merge(copy.deepcopy(made[4]).merge(made[0]))
    found.append(tree.merge(made[2]))
    for merged in found:
        assert merged.rows == [(0, 200)]
        assert all(
            bits(mine[1]) == bits(first[1])
            for mine, first in zip(merged._products, found[0]._products, strict=True)
        )
        assert np.all(np.abs(merged._h - found[0]._h) <= allowed)
        factors = merged.svd(8)
        assert np.max(np.abs(factors.S - found[0].svd(8).S)) <= through + rounding
        assert np.max(np.abs(factors.S - expected.S)) <= 100 * through + rounding
        assert errors(x, factors)[0] <= factors.error.frobenius


PROCESS = """
import pickle, sys
import numpy as np
import fastmat as fm

first, stop, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
x = np.random.default_rng(9).standard_normal((200, 20))
sketch = fm.LowRankSketch(20, 8, rng=5, first_row=first).update(x[first:stop])
with open(path, "wb") as file:
    pickle.dump(sketch, file)
"""


def test_sketches_of_other_processes(tmp_path):
    root = Path(fm.__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ranges = [("0", "77"), ("77", "200")]
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, *r, tmp_path / r[0]], env=environment)
        for r in ranges
    ]
    assert [process.wait() for process in running] == [0, 0]
    first, second = (pickle.loads((tmp_path / start).read_bytes()) for start, _ in ranges)
    x = np.random.default_rng(9).standard_normal((200, 20))
    here = [fm.LowRankSketch(20, 8, rng=5).update(x[:77])]
    here.append(fm.LowRankSketch(20, 8, rng=5, first_row=77).update(x[77:]))
    assert all_bits(first.merge(second).svd(4)) == all_bits(here[0].merge(here[1]).svd(4))


def test_merging_and_going_on(small_blocks):
    """The other sketch stays as it is; rows that follow come behind all others."""
    x = matrix(120, 40, 0.8 ** np.arange(40), np.random.default_rng(7))
    first, second = sketch_of(x[:50], 20), sketch_of(x[50:75], 20, first_row=50)
    before = state(second)
    assert first.merge(second) is first
    assert state(second) == before
    first.update(x[75:])
    assert first.rows == [(0, 120)]
    assert first.n_rows == 120
    assert errors(x, first.svd(20))[0] <= 1.1 * errors(x, sketch_of(x, 20).svd(20))[0]
    empty = fm.LowRankSketch(40, 20, rng=1)
    assert all_bits(empty.merge(second).svd(5)) == all_bits(second.svd(5))
    assert empty.merge(fm.LowRankSketch(40, 20, rng=1)).rows == [(50, 75)]


def test_gaps(small_blocks):
    x = normal((100, 30), "f8")
    ends = sketch_of(x[:10], 8).merge(sketch_of(x[40:60], 8, first_row=40))
    ends.merge(sketch_of(x[90:], 8, first_row=90))
    assert "rows 0 to 9, 40 to 59, 90 to 99" in repr(ends)
    with pytest.raises(ValueError, match="rows 10 to 39, 60 to 89 are missing"):
        ends.svd(2)
    ends.merge(sketch_of(x[10:40], 8, first_row=10)).merge(sketch_of(x[60:90], 8, first_row=60))
    np.testing.assert_allclose(ends.svd(2).S, sketch_of(x, 8).svd(2).S)


# What a sketch goes through.


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_pickle_and_copy(dtype, small_blocks):
    """Also of a block that is not full, and of one that is."""
    x = normal((90, 20), dtype)
    for count in (0, 1, 16, 37):
        sketch = sketch_of(x[:count], 10)
        size = len(state(sketch))
        for again in (pickle.loads(pickle.dumps(sketch)), copy.deepcopy(sketch)):
            assert state(again) == state(sketch)
            assert repr(again) == repr(sketch)
            assert all_bits(again.update(x[count:]).svd(5)) == all_bits(sketch_of(x, 10).svd(5))
        shallow = copy.copy(sketch).update(x)
        assert shallow.n_rows == count + 90
        assert state(sketch) == state(sketch_of(x[:count], 10))
        assert len(state(sketch)) == size
        assert size < 3000 + 500 * count + 20 * 10 * 16 + 100 * x.itemsize * count


@pytest.mark.parametrize("dtype", ["?", "i1", "u4", "f2", BFLOAT16, ">f4", "f4", "f8"])
def test_rows_are_converted(dtype):
    x = np.random.default_rng(8).integers(0, 2, (90, 30)).astype(dtype)
    for wanted in ("f4", "f8"):
        found = sketch_of(x, 20, dtype=wanted).svd(5)
        assert found.U.dtype == wanted
        assert all_bits(found) == all_bits(sketch_of(x.astype("f8"), 20, dtype=wanted).svd(5))


class Broken(Exception):
    """Of a stream."""


def broken(x):
    yield x
    raise Broken


def stream(x, bad):
    yield x
    yield bad


X = np.ones((40, 5))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (X[:, :4], ValueError, "rows has 4 columns; it must have 5"),
        (X[0], ValueError, "2 dimensions"),
        (X * 1j, TypeError, "complex128"),
        (X.astype("U3"), TypeError, "rows has dtype"),
        (np.where(np.arange(200).reshape(40, 5) == 163, np.nan, X), ValueError, "NaN or infinity"),
        (X * np.inf, ValueError, "NaN or infinity"),
        (X * 1e300, ValueError, "too large"),
        (X * 1.7e308, ValueError, "too large"),
        (lambda: stream(X, X * np.nan), ValueError, "NaN or infinity"),
        (lambda: stream(X, X[:, :3]), ValueError, "3 columns"),
        (lambda: broken(X), Broken, None),
        (lambda: fm.RowBlocks([X, X * np.nan]), ValueError, "NaN or infinity"),
        (lambda: fm.RowBlocks([X], (50, 5)), ValueError, "only 40 rows"),
        (lambda: fm.RowBlocks(X[:, :3]), ValueError, "3 columns"),
    ],
)
def test_a_failed_update_changes_nothing(rows, error, message, small_blocks):
    sketch = sketch_of(normal((21, 5), "f8"), 3)
    before, result = state(sketch), all_bits(sketch.svd(2))
    for _ in range(2):
        with pytest.raises(error, match=message):
            sketch.update(rows() if callable(rows) else rows)
        assert state(sketch) == before
        assert all_bits(sketch.svd(2)) == result
    assert all_bits(sketch.update(X).svd(2)) == all_bits(
        sketch_of(np.concatenate((normal((21, 5), "f8"), X)), 3).svd(2)
    )


def test_numbers_too_large_for_single_precision():
    with pytest.raises(ValueError, match="too large"):
        fm.LowRankSketch(5, 3, dtype="f4", rng=1).update(X * 1e39)


def other(**changed):
    options = {"n_columns": 5, "size": 3, "dtype": "f8", "rng": 1, "first_row": 50, **changed}
    made = fm.LowRankSketch(options.pop("n_columns"), options.pop("size"), **options)
    return made.update(np.ones((4, made.n_columns)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fm.LowRankSketch(5, 6), ValueError, "size is 6"),
        (lambda: fm.LowRankSketch(0, 1), ValueError, "n_columns is 0"),
        (lambda: fm.LowRankSketch(5, 1.5), TypeError, "size is 1.5"),
        (lambda: fm.LowRankSketch(5, 3, first_row=-1), ValueError, "first_row is -1"),
        (lambda: fm.LowRankSketch(5, 3, dtype="i4"), TypeError, "dtype"),
        (lambda: fm.LowRankSketch(5, 3, rng="x"), TypeError, "rng"),
        (lambda: fm.LowRankSketch(5, 3).svd(1), ValueError, "no rows"),
        (lambda: sketch_of(X, 3).svd(4), ValueError, "k is 4"),
        (lambda: sketch_of(X[:2], 3).svd(3), ValueError, "k is 3; .* at most 2"),
        (lambda: sketch_of(X, 3).svd(0), ValueError, "k is 0"),
        (lambda: sketch_of(X, 3).update(X, progress=3), ValueError, "progress is 3"),
        (lambda: sketch_of(X, 3).merge(X), TypeError, "other is of type ndarray"),
        (lambda: sketch_of(X, 3).merge(other(n_columns=6)), ValueError, "n_columns is 5 here, 6"),
        (lambda: sketch_of(X, 3).merge(other(size=4)), ValueError, "size is 3 here, 4"),
        (lambda: sketch_of(X, 3).merge(other(dtype="f4")), ValueError, "dtype is float64 here"),
        (lambda: sketch_of(X, 3).merge(other(rng=2)), ValueError, "seed is 1 here, 2"),
        (lambda: sketch_of(X, 3).merge(other(first_row=39)), ValueError, "have seen row 39"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_sketch_has_no_rows_in_common_with_itself():
    sketch = sketch_of(X, 3)
    before = state(sketch)
    with pytest.raises(ValueError, match="have seen row 0"):
        sketch.merge(sketch)
    assert state(sketch) == before


def test_seeds():
    x = normal((50, 20), "f8")
    first = fm.LowRankSketch(20, 8).update(x)
    again = fm.LowRankSketch(20, 8, rng=first.seed).update(x)
    assert all_bits(first.svd(3)) == all_bits(again.svd(3))
    assert fm.LowRankSketch(20, 8).seed != fm.LowRankSketch(20, 8).seed


def test_repr():
    sketch = fm.LowRankSketch(5, 3, dtype="f4", first_row=7)
    assert repr(sketch) == "LowRankSketch(5, 3, dtype=float32) of no rows"
    assert repr(sketch.update(X)) == "LowRankSketch(5, 3, dtype=float32) of rows 7 to 46"


def test_progress(capsys):
    sketch = fm.LowRankSketch(5, 3, rng=1).update(X, progress=True)
    assert capsys.readouterr() == ("", "")
    sketch.update(iter([X]), progress="force")
    assert "rows: 40 rows, 0 s" in capsys.readouterr().err
    sketch.update(fm.RowBlocks(X, progress="force"))
    assert "100% of 40 rows" in capsys.readouterr().err


def test_squares_that_underflow_are_reported():
    """The error would be that of zeros."""
    x = normal((90, 20), "f8")
    expected = sketch_of(x, 10).svd(5)
    found = sketch_of(x * 2.0**-480, 10).svd(5)
    np.testing.assert_allclose(found.S * 2.0**480, expected.S)
    for exponent in (-500, -535, -600, -1000):
        with pytest.raises(ValueError, match="squares are too small"):
            sketch_of(x * 2.0**exponent, 10).svd(5)
