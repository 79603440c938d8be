"""The emulator: right programs give right results, and planted faults are noticed."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings")

from cuda_emulator import EmulatedArray, Emulator, Fault
from cuda_inline import atomic, load4
from numba import cuda, float32, float64, int32, int64

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
    with pytest.raises(Fault, match=r"out of bounds: load of float wants to read 4.*396 byte"):
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


def test_out_of_bounds_in_shared_memory():
    def write(y, n):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t + n] = float32(t)
        cuda.syncthreads()
        y[t] = s[t]

    y = EmulatedArray.empty(64, "float32")
    writing = kernel(write, "float32*", "int32")
    launch(writing, 1, y, 0)
    with pytest.raises(Fault, match=r"thread 63.*store of float.*256 bytes from the start of"):
        launch(writing, 1, y, 1)


def test_dynamic_shared_memory_has_a_size():
    def write(y, n):
        s = cuda.shared.array(0, float32)
        t = cuda.threadIdx.x
        s[t + n] = float32(t)
        cuda.syncthreads()
        y[t] = s[t + n]

    y = EmulatedArray.empty(64, "float32")
    launch(kernel(write, "float32*", "int32", shared=256), 1, y, 0)
    np.testing.assert_array_equal(y.numpy(), np.arange(64))
    with pytest.raises(Fault, match="dynamic size"):
        launch(kernel(write, "float32*", "int32", shared=256), 1, y, 1)
    with pytest.raises(Fault, match="bytes of shared memory"):
        launch(kernel(write, "float32*", "int32", shared=164 * 1024), 1, y, 0)


def test_read_only_memory():
    def read(x, y):
        t = cuda.threadIdx.x
        y[t] = x[t]

    fixed = EmulatedArray.from_numpy(random(64), readonly=True)
    other = EmulatedArray.from_numpy(random(64, seed=1))
    copying = kernel(read, "float32*", "float32*")
    launch(copying, 1, fixed, other)
    np.testing.assert_array_equal(fixed.numpy(), other.numpy())
    with pytest.raises(Fault, match=r"store of float.*read-only"):
        launch(copying, 1, other, fixed)


def test_arrays_that_are_gone():
    x, y = EmulatedArray.empty(64, "float32"), EmulatedArray.from_numpy(random(64))
    pointer = x.pointer
    del x
    with pytest.raises(Fault, match="out of bounds"):
        launch(ADD, 1, pointer, y, 64)


def test_misaligned_load():
    def read(x, y, i):
        a, b, c, d = load4(x, i)
        y[0] = a + b + c + d

    x, y = random(16), EmulatedArray.empty(1, "float32")
    reading = kernel(read, "float32*", "float32*", "int32", threads=1)
    launch(reading, 1, EmulatedArray.from_numpy(x), y, 4)
    np.testing.assert_allclose(y.numpy(), x[4:8].sum(), rtol=1e-5)
    with pytest.raises(Fault, match=r"misaligned load of <4 x float>.*multiple of 16"):
        launch(reading, 1, EmulatedArray.from_numpy(x), y, 5)


def test_divergent_barriers():
    def one(x):
        if cuda.threadIdx.x < 40:
            cuda.syncthreads()
        x[cuda.threadIdx.x] = float32(1)

    def two(x):
        if cuda.threadIdx.x < 40:
            cuda.syncthreads()
            x[cuda.threadIdx.x] = float32(1)
        else:
            x[cuda.threadIdx.x] = float32(2)
            cuda.syncthreads()

    x = EmulatedArray.empty(64, "float32")
    with pytest.raises(Fault, match=r"divergent barrier.*24 of 64 threads have exited, 40 wait"):
        launch(kernel(one, "float32*"), 1, x)
    with pytest.raises(Fault, match="wait at different barriers"):
        launch(kernel(two, "float32*"), 1, x)


def test_unwritten_memory_is_poisoned():
    def copy(y, n):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        if t < n:
            s[t] = float32(t)
        cuda.syncthreads()
        y[t] = s[t]

    y = EmulatedArray.empty(64, "float32")
    assert np.isnan(y.numpy()).all()
    copying = kernel(copy, "float32*", "int32")
    launch(copying, 2, y, 64)
    np.testing.assert_array_equal(y.numpy(), np.arange(64))
    launch(copying, 1, y, 50)  # what the last launch left is gone
    assert np.isnan(y.numpy()[50:]).all()


def test_shuffles_from_lanes_that_do_not_take_part():
    def exited(x):
        t = cuda.threadIdx.x
        if t >= 16:
            return
        x[t] = cuda.shfl_xor_sync(0xFFFFFFFF, float32(t), 16)

    def masked(x, mask):
        t = cuda.threadIdx.x
        if t < 16:
            x[t] = cuda.shfl_xor_sync(mask, float32(t), 8)

    x = EmulatedArray.empty(32, "float32")
    with pytest.raises(Fault, match="shuffle wants a lane that does not take part"):
        launch(kernel(exited, "float32*", threads=32), 1, x)
    masking = kernel(masked, "float32*", "uint32", threads=32)
    launch(masking, 1, x, 0xFFFF)
    np.testing.assert_array_equal(x.numpy()[:16], np.arange(16) ^ 8)
    with pytest.raises(Fault, match="mask that lacks the calling lane"):
        launch(masking, 1, x, 0xFF)


def test_waiting_for_a_lane_that_is_elsewhere():
    def elsewhere(x):
        t = cuda.threadIdx.x
        if t < 16:
            x[t] = cuda.shfl_xor_sync(0xFFFFFFFF, float32(t), 8)
        cuda.syncthreads()

    with pytest.raises(Fault, match="16 wait at a barrier and 16 in operations of a warp"):
        launch(kernel(elsewhere, "float32*", threads=32), 1, EmulatedArray.empty(32, "float32"))


def test_shuffles_of_lanes_at_different_places():
    """What a GPU may wait for forever, though all lanes come to some shuffle in the end."""

    def apart(x):
        t = cuda.threadIdx.x
        if t < 16:
            x[t] = cuda.shfl_xor_sync(0xFFFFFFFF, x[t], 8)
        x[t] = cuda.shfl_xor_sync(0xFFFFFFFF, x[t], 4)

    with pytest.raises(Fault, match="32 in operations of a warp; they wait in shuffle"):
        launch(kernel(apart, "float32*", threads=32), 1, EmulatedArray.from_numpy(random(32)))


@pytest.mark.parametrize(("dtype", "kind"), [("float32", float32), ("int32", int32),
                                             ("float64", float64), ("int64", int64)])  # fmt: skip
def test_shuffles(dtype, kind):
    def shuffle(x, y):
        t = cuda.threadIdx.x
        v = x[t]
        y[t] = cuda.shfl_sync(0xFFFFFFFF, v, (t * 7) % 32)
        y[32 + t] = cuda.shfl_up_sync(0xFFFFFFFF, v, 3)
        y[64 + t] = cuda.shfl_down_sync(0xFFFFFFFF, v, 5)
        y[96 + t] = cuda.shfl_xor_sync(0xFFFFFFFF, v, 21)

    x, t = (random(32) * 1e6).astype(dtype), np.arange(32)
    y = EmulatedArray.empty((4, 32), dtype)
    launch(kernel(shuffle, f"{dtype}*", f"{dtype}*", threads=32), 1,
           EmulatedArray.from_numpy(x), y)  # fmt: skip
    sources = t * 7 % 32, np.where(t < 3, t, t - 3), np.where(t > 26, t, t + 5), t ^ 21
    np.testing.assert_array_equal(y.numpy(), [x[s] for s in sources])


def test_votes_and_matches():
    def vote(x, y):
        t = cuda.threadIdx.x
        v = x[t]
        y[t] = cuda.ballot_sync(0xFFFFFFFF, v > 2)
        y[32 + t] = cuda.all_sync(0xFFFFFFFF, v > 2)
        y[64 + t] = cuda.any_sync(0xFFFFFFFF, v > 2)
        y[96 + t] = cuda.match_any_sync(0xFFFFFFFF, v)
        y[128 + t] = cuda.syncthreads_count(int32(v > 2))
        y[160 + t] = cuda.syncthreads_and(int32(v > 2))
        y[192 + t] = cuda.syncthreads_or(int32(v > 2))

    x = np.random.default_rng(0).integers(0, 5, 32).astype(np.int32)
    y = EmulatedArray.empty((7, 32), "int64")
    launch(kernel(vote, "int32*", "int64*", threads=32), 1, EmulatedArray.from_numpy(x), y)
    bits = 1 << np.arange(32)
    found = y.numpy() & 0xFFFFFFFF
    assert (found[0] == bits[x > 2].sum()).all()
    np.testing.assert_array_equal(found[3], [bits[x == v].sum() for v in x])
    count = np.sum(x > 2)
    np.testing.assert_array_equal(found[[1, 2, 4], 0], [count == 32, count > 0, count])
    np.testing.assert_array_equal(found[[5, 6], 0] != 0, [count == 32, count > 0])


atomic_add, atomic_max, atomic_min = (atomic(name) for name in ("add", "max", "min"))


def test_atomics():
    def count(x, histogram, extremes, n):
        s = cuda.shared.array(8, int32)
        t = cuda.threadIdx.x
        if t < 8:
            s[t] = 0
        cuda.syncthreads()
        i = cuda.blockIdx.x * 64 + t
        if i < n:
            cuda.atomic.add(s, x[i], 1)
            atomic_max(extremes, 0, x[i])
            atomic_min(extremes, 1, x[i])
        cuda.syncthreads()
        if t < 8:
            atomic_add(histogram, t, s[t])

    x = np.random.default_rng(0).integers(0, 8, 1000).astype(np.int32)
    histogram = EmulatedArray.from_numpy(np.zeros(8, np.int32))
    extremes = EmulatedArray.from_numpy(np.array([3, 3], np.int32))
    launch(kernel(count, "int32*", "int32*", "int32*", "int32"), 16,
           EmulatedArray.from_numpy(x), histogram, extremes, 1000)  # fmt: skip
    np.testing.assert_array_equal(histogram.numpy(), np.bincount(x, minlength=8))
    np.testing.assert_array_equal(extremes.numpy(), [x.max(), x.min()])
