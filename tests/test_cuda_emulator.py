"""The emulator: right programs give right results, and planted faults are noticed."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings")

from cuda_emulator import EmulatedArray, Emulator, Fault
from numba import cuda, float32, float64, int32, types

from fastmat.cuda.kernel import Kernel


def kernel(function, *arguments, threads=64, shared=0):
    return Kernel(function, arguments, name=None, threads=threads, shared=shared)


def launch(what, grid, *arguments, seed=0, capability=(8, 0)):
    values = tuple(a.pointer if isinstance(a, EmulatedArray) else a for a in arguments)
    Emulator(capability, seed=seed).launch(what, grid, values, 0, 0)


def random(shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def add(x, y, n):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < n:
        y[i] = x[i] + y[i]


ADD = kernel(add, "float32*", "float32*", "int32")


def test_many_blocks():
    x = random(1000)
    y = EmulatedArray.from_numpy(np.ones(1000, np.float32))
    launch(ADD, 16, EmulatedArray.from_numpy(x), y, 1000)
    np.testing.assert_array_equal(y.numpy(), x + 1)


def test_out_of_bounds_load():
    x, y = EmulatedArray.empty(99, "float32"), EmulatedArray.empty(100, "float32")
    with pytest.raises(Fault, match="out of bounds: load of float wants to read 4 bytes.*396 byte"):
        launch(ADD, 2, x, y, 100)


def test_out_of_bounds_store():
    def write(x, n):
        i = cuda.threadIdx.x
        if i < n:
            x[i] = float32(i)

    x = EmulatedArray.empty(10, "float32")
    written = kernel(write, "float32*", "int32")
    launch(written, 1, x, 10)
    with pytest.raises(Fault, match=r"thread 10 of block \(0, 0, 0\): out of bounds: store"):
        launch(written, 1, x, 11)


def block_sum(x, y, n):
    warps = cuda.shared.array(8, float32)
    t = cuda.threadIdx.x
    total = float32(0)
    for i in range(t, n, 256):
        total += x[i]
    for k in range(5):
        total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 16 >> k)
    if t % 32 == 0:
        warps[t // 32] = total
    cuda.syncthreads()
    if t == 0:
        total = float32(0)
        for w in range(8):
            total += warps[w]
        y[0] = total


def test_reduction():
    x = random(5000)
    y = EmulatedArray.empty(1, "float32")
    launch(kernel(block_sum, "float32*", "float32*", "int32", threads=256), 1,
           EmulatedArray.from_numpy(x), y, 5000)  # fmt: skip
    np.testing.assert_allclose(y.numpy()[0], x.sum(dtype=float), rtol=1e-4, atol=1e-3)


def reverse(x, y, barrier):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    if barrier:
        cuda.syncthreads()
    y[t] = s[63 - t]


def test_missing_barrier():
    x = random(64)
    y = EmulatedArray.empty(64, "float32")
    reversing = kernel(reverse, "float32*", "float32*", "int32")
    launch(reversing, 1, EmulatedArray.from_numpy(x), y, 1)
    np.testing.assert_array_equal(y.numpy(), x[::-1])
    launch(reversing, 1, EmulatedArray.from_numpy(x), y, 0)
    assert np.isnan(y.numpy()).any()
