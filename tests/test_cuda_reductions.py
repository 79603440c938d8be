"""Device functions of `fastmat.cuda.reductions`, in kernels as users write them; geometry."""

import math

import numpy as np
import pytest
from gpus import on

pytest.importorskip("numba_cuda")

from numba import cuda, float32, int32, uint64

from fastmat.cuda import row_shapes
from fastmat.cuda.device import (
    block_reduce,
    block_words,
    lanes_reduce,
    larger,
    log_sums,
    merged_moments,
    plus,
    smaller,
)
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.reductions import down_reduce

THREADS = 128


def run(function, x, size, seed=0):
    """What a kernel of one block writes to ``out`` of a size."""
    kernel = Kernel(function, ("float32*", "float32*"), name=None, threads=THREADS)
    with on("emulator", seed=seed) as gpu:
        given, out = gpu.array(x), gpu.array(np.zeros(size, "f4"))
        kernel(1, (given.pointer, out.pointer), 0, 0)
        return gpu.numpy(out)


def random(size):
    return np.random.default_rng(0).standard_normal(size).astype("f4")


@pytest.mark.parametrize("width", [1, 8, 32])
def test_lanes(width):
    reduce = lanes_reduce(plus, width)

    def kernel(x, out):
        out[cuda.threadIdx.x] = reduce(x[cuda.threadIdx.x])

    x = random(THREADS)
    found = run(kernel, x, THREADS).reshape(-1, width)
    assert (found == found[:, :1]).all()
    np.testing.assert_allclose(found[:, 0], x.reshape(-1, width).sum(1), rtol=1e-5, atol=1e-5)


def test_extremes_with_nan():
    top, bottom = lanes_reduce(larger), lanes_reduce(smaller)

    def kernel(x, out):
        out[cuda.threadIdx.x] = top(x[cuda.threadIdx.x])
        out[THREADS + cuda.threadIdx.x] = bottom(x[cuda.threadIdx.x])

    x = random(THREADS)
    x[40] = np.nan
    found = run(kernel, x, 2 * THREADS).reshape(2, -1, 32)
    lines = x.reshape(-1, 32)
    np.testing.assert_array_equal(found[0], lines.max(1)[:, None].repeat(32, 1))
    np.testing.assert_array_equal(found[1], lines.min(1)[:, None].repeat(32, 1))


def test_block_of_states():
    """Online softmax and moments, each in turn, as a loop of a kernel would have them."""
    sums, moments = log_sums(float32), merged_moments(float32)
    reduce_sums, reduce_moments = block_reduce(sums, THREADS), block_reduce(moments, THREADS)
    first, second = block_words(THREADS, 2), block_words(THREADS, 3)
    one, zero = float32(1), float32(0)

    def kernel(x, out):
        words = cuda.shared.array(first, uint64)
        others = cuda.shared.array(second, uint64)
        t = cuda.threadIdx.x
        for part in range(2):
            a, b = x[2 * THREADS * part + t], x[2 * THREADS * part + THREADS + t]
            most, total = reduce_sums(sums((a, one), (b, one)), words)
            pair = moments((int32(1), a, zero), (int32(1), b, zero))
            count, mean, squares = reduce_moments(pair, others)
            out[part * THREADS + t] = most + math.log(total)
            out[(part + 2) * THREADS + t] = mean
            out[(part + 4) * THREADS + t] = squares / float32(count)

    x = random(4 * THREADS)
    found = run(kernel, x, 6 * THREADS).reshape(3, 2, THREADS)
    assert (found == found[..., :1]).all()
    halves = x.reshape(2, -1).astype("f8")
    np.testing.assert_allclose(found[0, :, 0], np.log(np.exp(halves).sum(1)), rtol=1e-6)
    np.testing.assert_allclose(found[1, :, 0], halves.mean(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[2, :, 0], halves.var(1), rtol=1e-5)
    again = run(kernel, x, 6 * THREADS, seed=1).reshape(3, 2, THREADS)
    assert found.tobytes() == again.tobytes()


def test_down_the_columns_of_a_block():
    reduce = down_reduce(plus, 16, 8)

    def kernel(x, out):
        words = cuda.shared.array(THREADS, uint64)
        out[cuda.threadIdx.x] = reduce(x[cuda.threadIdx.x], words)

    x = random(THREADS)
    found = run(kernel, x, THREADS).reshape(8, 16)
    assert (found == found[0]).all()
    np.testing.assert_allclose(found[0], x.reshape(8, 16).sum(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("run", [1, 2, 4, 8])
def test_shapes_cover_rows(run, itemsize):
    """Rows fit into what is held, or are gone through; blocks are of whole warps."""
    for rows_, n in [(1, 1), (1000, 64), (7, 1000), (1000, 5000), (1000, 10**5), (2, 10**7)]:
        n = -(-n // run) * run
        shape = row_shapes.shape_of(rows_, n, run, itemsize, 132)
        assert shape.threads % 32 == 0
        assert shape.threads <= 1024
        if shape.kind in (row_shapes.LANES, row_shapes.BLOCK):
            assert n <= shape.step
            assert shape.splits == 1
        assert shape.grid(rows_)[0] * shape.groups >= rows_
        across = row_shapes.columns_of(rows_, n, itemsize, 132, hold=True)
        assert across.threads % across.width == 0
        assert across.grid(rows_)[0] * across.groups >= rows_
        part = row_shapes.part_length(n, shape.splits, shape.step)
        assert part * shape.splits >= n


def test_groups_of_views():
    """Axes are joined where all arrays allow it; what cannot be is left to a copy."""
    strides = ((60, 20, 5, 1), (5, 0, 0, 1))
    found = row_shapes.grouped((3,), (2, 3, 4, 5), strides)
    assert found.lengths == (1, 2, 12)
    assert found.n == 5
    assert found.strides == ((0, 60, 5, 1), (0, 5, 0, 1))
    assert row_shapes.grouped((0, 3), (2, 3, 4, 5), strides) is None
    assert row_shapes.grouped((2, 3), (2, 3, 4, 5), strides[:1]).n == 20
    assert row_shapes.grouped((), (2, 3), ((3, 1),)).n == 1
