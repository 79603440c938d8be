"""Operands that end, or begin, where memory ends: not a byte beside them may be read or written.

The memory around each array is closed by the operating system, so a load that reaches over an
edge, which would go unseen otherwise, ends the process. Hence a process of its own.
"""

import subprocess
import sys

import pytest

SETUP = """
import ctypes, itertools, mmap
import numpy as np
import fastmat as fm

libc = ctypes.CDLL(None, use_errno=True)
PAGE = mmap.PAGESIZE
kept = []

def fenced(array, at_end):
    '''A copy of a contiguous array with closed pages on both sides, up against one of them.'''
    pages = -(-max(array.nbytes, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    kept.append(memory)
    for closed in (start, start + (pages + 1) * PAGE):
        assert libc.mprotect(ctypes.c_void_p(closed), PAGE, 0) == 0
    offset = PAGE + (pages * PAGE - array.nbytes if at_end else 0)
    copy = np.ndarray(array.shape, array.dtype, memory, offset)
    copy[...] = array
    return copy

def layouts(shape, dtype, at_end, seed):
    '''The same numbers, fenced, in several layouts.'''
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, shape).astype(dtype)
    yield fenced(x, at_end)
    if x.ndim > 1:
        yield fenced(np.ascontiguousarray(x.swapaxes(-1, -2)), at_end).swapaxes(-1, -2)
    yield fenced(np.ascontiguousarray(x[..., ::-1]), at_end)[..., ::-1]

def fence_works():
    x = fenced(np.zeros(3), True)
    return x.ctypes.data + x.nbytes
"""

PRODUCTS = """
reference = {{"matmul": np.matmul, "vecdot": np.vecdot}}
sizes = {sizes}
for at_end, dtype, (m, k, n) in itertools.product((True, False), {dtypes}, sizes):
    def check(op, shape1, shape2):
        pairs = itertools.product(
            layouts(shape1, dtype, at_end, 1), layouts(shape2, dtype, at_end, 2)
        )
        for x1, x2 in pairs:
            expected = reference[op](x1, x2)
            out = fenced(np.zeros_like(expected), at_end) if expected.ndim else None
            found = getattr(fm, op)(x1, x2, out)
            assert np.array_equal(found, expected), (op, dtype, x1.shape, x2.shape)
    check("matmul", (m, k), (k, n))
    check("matmul", (m, k), (k,))
    check("matmul", (k,), (k, n))
    check("matmul", (5, m, k), (5, k, n))
    check("vecdot", (m, k), (m, k))
    kept.clear()
"""

TRANSPOSES = """
sizes = [1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 64, 67]
for at_end, dtype, m, n in itertools.product((True, False), {dtypes}, sizes, sizes):
    for x in layouts((m, n), dtype, at_end, 1):
        assert np.array_equal(fm.transpose(x, out=fenced(np.zeros((n, m), dtype), at_end)), x.T)
    square = fenced(np.arange(m * m).reshape(m, m).astype(dtype), at_end)
    expected = square.T.copy()
    assert np.array_equal(fm.matrix_transpose(square, out=square), expected)
    kept.clear()
"""

ATTENTION = """
rng = np.random.default_rng(0)
sizes = [(1, 1, 1, 1), (5, 7, 3, 2), (33, 40, 17, 9), (64, 193, 8, 12), (32, 16, 4, 33)]
for at_end, dtype, (m, n, depth, width) in itertools.product((True, False), {dtypes}, sizes):
    shapes = (m, depth), (n, depth), (n, width), (m, width)
    plain = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    for turned, mask in itertools.product((False, True), (None, "?", dtype)):
        seen = None if mask is None else rng.integers(0, 2, (m, n)).astype(mask)
        def closed(x):
            if turned:
                return fenced(np.ascontiguousarray(x.T), at_end).T
            return fenced(x, at_end)
        q, k, v, g = map(closed, plain)
        given = None if seen is None else closed(seen)
        out, logs = fm.scaled_dot_product_attention(
            q, k, v, given, out=fenced(np.zeros((m, width), dtype), at_end), return_stats=True)
        expected = fm.scaled_dot_product_attention(*plain[:3], seen)
        assert np.array_equal(out, expected)
        places = tuple(fenced(np.zeros_like(x), at_end) for x in plain[:3])
        fm.scaled_dot_product_attention_vjp(g, q, k, v, out, logs, given, out=places)
        kept.clear()
"""

MOVES = """
sizes = [1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 67]
rng = np.random.default_rng(1)
for at_end, dtype, m, n in itertools.product((True, False), {dtypes}, sizes, sizes):
    mask, rows, cols = rng.random((m, n)) < 0.5, rng.permutation(m), rng.permutation(n)
    lines = mask[:, 0], mask[0]
    masks = fenced(mask, at_end), *(fenced(line, at_end) for line in lines)
    indices = fenced(rows, at_end), fenced(cols, at_end)
    for x in layouts((m, n), dtype, at_end, 1):
        value, out = x.dtype.type(1), fenced(np.zeros((m, n), dtype), at_end)
        expected = np.where(mask, value, x)
        assert np.array_equal(fm.masked_fill(x, masks[0], value, out=out), expected)
        expected = np.where(lines[0][:, None] & lines[1], x, value)
        assert np.array_equal(fm.mask_rows_cols(x, *masks[1:], value, out=out), expected)
        for r, c in ((rows, cols), (rows, None), (None, cols)):
            at = np.ix_(np.arange(m) if r is None else r, np.arange(n) if c is None else c)
            r, c = r if r is None else indices[0], c if c is None else indices[1]
            expected = x[at]
            assert np.array_equal(fm.take_submatrix(x, r, c, out=out), expected)
            target = fenced(np.zeros((m, n), dtype), at_end)
            fm.put_submatrix(target, r, c, x)
            assert np.array_equal(target[at], x)
    kept.clear()
"""

FACTORS = """
sizes = [(1, 1), (2, 1), (5, 3), (17, 16), (40, 33), (150, 31), (700, 5), (9000, 2)]
rng = np.random.default_rng(2)
for at_end, dtype, (m, n) in itertools.product((True, False), {dtypes}, sizes):
    plain = rng.standard_normal((m, n)).astype(dtype)
    lower = np.tril(rng.standard_normal((n, n)) / n + 2 * np.eye(n)).astype(dtype)
    for turned in (False, True):
        def closed(x):
            if turned:
                return fenced(np.ascontiguousarray(x.T), at_end).T
            return fenced(x, at_end)
        a, low = closed(plain), closed(lower)
        gram = fm.linalg.gram(a, out=fenced(np.zeros((n, n), dtype), at_end))
        assert np.array_equal(gram, fm.linalg.gram(plain))
        for found, expected in zip(fm.linalg.qr_tall(a), fm.linalg.qr_tall(plain)):
            assert np.array_equal(found, expected)
        fm.linalg.power_step(a, closed(np.ones((n, 3), dtype)))
        fm.linalg.cholesky(closed(np.asarray(gram) + np.eye(n, dtype=dtype)))
        out = fenced(np.zeros((n, m), dtype), at_end)
        fm.linalg.solve_triangular(low, closed(plain.T.copy()), lower=True, out=out)
        fm.randomized_svd(a, 1, rng=1)
    for draw in (fm.random.standard_normal, fm.random.rademacher):
        out = draw(out=fenced(np.zeros((m, n), dtype), at_end), rng=1)
        assert np.array_equal(out, draw((m, n), dtype=dtype, rng=1))
    kept.clear()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="closes pages as Linux does")


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", SETUP + code], capture_output=True, text=True, timeout=600
    )
    return done.returncode, done.stderr[-3000:]


def test_the_fence_is_closed():
    code, _ = run("ctypes.memset(fence_works(), 0, 1)")
    assert code < 0, "a write beyond an array ended nothing"


SMALL = [(1, 1, 1), (2, 3, 5), (7, 8, 9), (13, 17, 16), (16, 16, 16), (3, 40, 31), (33, 5, 2)]
LARGE = [(97, 101, 103), (150, 90, 2), (2, 90, 150), (3, 5000, 3), (100, 3, 130)]


@pytest.mark.parametrize("dtypes", ["f4 f8", "i1 i8", "f2 c8", "? c16 i2"])
@pytest.mark.parametrize("sizes", [SMALL, LARGE], ids=["small", "large"])
def test_products(dtypes, sizes):
    assert run(PRODUCTS.format(dtypes=dtypes.split(), sizes=sizes)) == (0, "")


@pytest.mark.parametrize("dtypes", ["i1 i2", "f4 f8", "c16"])
def test_transposes(dtypes):
    assert run(TRANSPOSES.format(dtypes=dtypes.split())) == (0, "")


@pytest.mark.parametrize("dtypes", ["f4 f8", "f2"])
def test_attention(dtypes):
    assert run(ATTENTION.format(dtypes=dtypes.split())) == (0, "")


@pytest.mark.parametrize("dtypes", ["i1 i2", "f4 f8", "c16"])
def test_moves(dtypes):
    assert run(MOVES.format(dtypes=dtypes.split())) == (0, "")


@pytest.mark.parametrize("dtypes", ["f4", "f8 c8"])
def test_factors_and_draws(dtypes):
    assert run(FACTORS.format(dtypes=dtypes.split())) == (0, "")
