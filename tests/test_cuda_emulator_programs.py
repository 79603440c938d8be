"""Kernels as people write them, on the emulator, and fastmat's own functions with its arrays."""

import math

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings")

import ml_dtypes
from cuda_emulator import EmulatedArray, Fault, UnknownInstruction, emulated
from cuda_inline import inline
from numba import cuda, float32, float64, int32, uint32, uint64
from numba.cuda import libdevice
from products import any_bits
from test_cuda_emulator import kernel, launch, random

from fastmat.cuda import arrays
from fastmat.cuda.intrinsics import bfloat_of_float, float_of_half, half_of_float, max_or_nan
from fastmat.cuda.kernel import Kernel

TILE, PADDED = 32, 33


def transpose(x, y, m, n):
    """Tiles of 32 x 32 through shared memory by 32 x 8 threads; a column of padding."""
    tile = cuda.shared.array((TILE, PADDED), float32)
    t = cuda.threadIdx.x
    column, row = t % TILE, t // TILE
    i0, j0 = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
    for r in range(row, TILE, 8):
        if i0 + r < m and j0 + column < n:
            tile[r, column] = x[(i0 + r) * n + j0 + column]
    cuda.syncthreads()
    for r in range(row, TILE, 8):
        if j0 + r < n and i0 + column < m:
            y[(j0 + r) * m + i0 + column] = tile[column, r]


@pytest.mark.parametrize(("m", "n"), [(64, 32), (100, 37), (1, 70)])
def test_transpose(m, n):
    x, y = random((m, n)), EmulatedArray.empty((n, m), "float32")
    transposing = kernel(transpose, "float32*", "float32*", "int32", "int32", threads=256)
    grid = -(-n // TILE), -(-m // TILE)
    launch(transposing, grid, EmulatedArray.from_numpy(x), y, m, n)
    np.testing.assert_array_equal(y.numpy(), x.T)


STEP, SIDE = 8, 16


def product(barrier_after_loading):
    def multiply(a, b, c, n, k):
        """Tiles of 16 x 16 of C; two buffers of 16 x 8 of A and 8 x 16 of B."""
        sa = cuda.shared.array((2, SIDE, STEP), float32)
        sb = cuda.shared.array((2, STEP, SIDE), float32)
        t = cuda.threadIdx.x
        i, j = t // SIDE, t % SIDE
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        total = float32(0)
        for step in range(k // STEP + 1):
            if step < k // STEP:
                buffer, k0 = step % 2, step * STEP
                if t < 128:
                    sa[buffer, t // STEP, t % STEP] = a[(i0 + t // STEP) * k + k0 + t % STEP]
                else:
                    u = t - 128
                    sb[buffer, u // SIDE, u % SIDE] = b[(k0 + u // SIDE) * n + j0 + u % SIDE]
            if step > 0:
                for p in range(STEP):
                    total += sa[(step - 1) % 2, i, p] * sb[(step - 1) % 2, p, j]
            if barrier_after_loading:
                cuda.syncthreads()
        c[(i0 + i) * n + j0 + j] = total

    return kernel(multiply, "float32*", "float32*", "float32*", "int32", "int32", threads=256)


@pytest.mark.parametrize("barrier", [True, False])
def test_product_with_double_buffering(barrier):
    m, n, k = 48, 32, 64
    a, b = random((m, k)), random((k, n), seed=1)
    c = EmulatedArray.empty((m, n), "float32")
    launch(product(barrier), (n // SIDE, m // SIDE), EmulatedArray.from_numpy(a),
           EmulatedArray.from_numpy(b), c, n, k)  # fmt: skip
    assert np.allclose(c.numpy(), a @ b, rtol=1e-4, atol=1e-4) == barrier


def test_functions_of_libdevice():
    def functions(x, y, n):
        t = cuda.threadIdx.x
        v = x[t]
        y[t] = math.exp(v)
        y[n + t] = math.log(abs(v))
        y[2 * n + t] = math.tanh(v)
        y[3 * n + t] = math.erf(v)
        y[4 * n + t] = math.sqrt(abs(v))
        y[5 * n + t] = math.sin(v)
        y[6 * n + t] = cuda.fma(v, v, v)

    for dtype, scale, exact in (("float32", 5, 4e-7), ("float64", 5, 1e-15)):
        x = random(64, dtype) * np.dtype(dtype).type(scale)
        y = EmulatedArray.empty((7, 64), dtype)
        launch(kernel(functions, f"{dtype}*", f"{dtype}*", "int32"), 1,
               EmulatedArray.from_numpy(x), y, 64)  # fmt: skip
        w = x.astype(float)
        wanted = [np.exp(w), np.log(abs(w)), np.tanh(w), [math.erf(v) for v in w],
                  np.sqrt(abs(w)), np.sin(w), w * w + w]  # fmt: skip
        np.testing.assert_allclose(y.numpy(), wanted, rtol=exact, atol=exact)


def test_integers():
    def functions(x, y):
        t = cuda.threadIdx.x
        v = uint32(x[t])
        y[t] = cuda.popc(v)
        y[32 + t] = cuda.clz(v)
        y[64 + t] = cuda.brev(v)
        y[96 + t] = uint32((uint64(v) * uint64(v)) >> uint64(32))
        y[128 + t] = libdevice.umulhi(v, v)
        y[160 + t] = uint32(libdevice.mulhi(int32(v), int32(v)))

    x = np.random.default_rng(0).integers(0, 2**32, 32, np.uint32)
    y = EmulatedArray.empty((6, 32), "uint32")
    launch(kernel(functions, "uint32*", "uint32*", threads=32), 1, EmulatedArray.from_numpy(x), y)
    wanted = [
        [int(v).bit_count() for v in x],
        [32 - int(v).bit_length() for v in x],
        [int(f"{int(v):032b}"[::-1], 2) for v in x],
        [int(v) ** 2 >> 32 for v in x],
        [int(v) ** 2 >> 32 for v in x],
        [int(v) ** 2 >> 32 for v in x.view(np.int32)],
    ]
    np.testing.assert_array_equal(y.numpy(), wanted)


def test_halves():
    def through_float(x, y):
        t = cuda.threadIdx.x
        y[t] = half_of_float(float_of_half(x[t]) * float32(3))

    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    y = EmulatedArray.empty(2**16, np.float16)
    at = EmulatedArray.from_numpy(x)
    halves = kernel(through_float, "uint16*", "uint16*", threads=1024)
    for i in range(0, 2**16, 1024):
        launch(halves, 1, at[i:], y[i:])
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = (x.astype(np.float32) * np.float32(3)).astype(np.float16)
    np.testing.assert_array_equal(y.numpy(), wanted)


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_what_depends_on_the_capability(capability):
    def to_bfloat(x, y, most):
        t = cuda.threadIdx.x
        y[t] = bfloat_of_float(x[t])
        most[t] = max_or_nan(x[t], x[t ^ 1])

    x = any_bits(1024, np.float32)
    x[::5] = np.nan
    y, most = EmulatedArray.empty(1024, ml_dtypes.bfloat16), EmulatedArray.empty(1024, "f4")
    program = kernel(to_bfloat, "float32*", "uint16*", "float32*", threads=1024)
    launch(program, 1, EmulatedArray.from_numpy(x), y, most, capability=capability)
    with np.errstate(invalid="ignore"):
        halves = y.numpy().astype("f4"), x.astype(ml_dtypes.bfloat16).astype("f4")
        np.testing.assert_array_equal(*halves)
        beside = x.reshape(-1, 2)[:, ::-1].ravel()
        np.testing.assert_array_equal(most.numpy(), np.maximum(x, beside))


def test_constants_and_local_arrays():
    weights = np.arange(8, dtype=np.float32)

    def lookup(x, y, n):
        table = cuda.const.array_like(weights)
        local = cuda.local.array(8, float32)
        t = cuda.threadIdx.x
        for i in range(8):
            local[i] = table[i] * float32(t)
        y[t] = local[x[t] % n] + table[x[t] % n]

    x = np.random.default_rng(0).integers(0, 100, 64).astype(np.int32)
    y = EmulatedArray.empty(64, "float32")
    launch(kernel(lookup, "int32*", "float32*", "int32"), 1, EmulatedArray.from_numpy(x), y, 8)
    np.testing.assert_array_equal(y.numpy(), weights[x % 8] * (np.arange(64) + 1))


@pytest.mark.parametrize("fuse", [True, False])
def test_products_and_sums_are_fused(fuse):
    def difference(x, y):
        y[0] = x[0] * x[0] - x[1]

    x = np.array([1 + 2**-12, (1 + 2**-12) ** 2], np.float32)
    y = EmulatedArray.empty(1, "float32")
    subtracting = Kernel(difference, ("float32*", "float32*"), name=None, threads=1, fuse=fuse)
    launch(subtracting, 1, EmulatedArray.from_numpy(x), y)
    assert y.numpy()[0] == (float(x[0]) ** 2 - float(x[1]) if fuse else 0)


def test_waiting_for_another_block():
    def spin(flags):
        b = cuda.blockIdx.x
        flags[b] = int32(1)
        while flags[1 - b] == 0:
            cuda.threadfence()

    with pytest.raises(Fault, match="waits in a loop"):
        launch(kernel(spin, "int32*", threads=32), 2,
               EmulatedArray.from_numpy(np.zeros(2, np.int32)))  # fmt: skip


unknown = inline("tcgen05.wait::st.sync.aligned;", "~{memory}")


def test_instructions_that_are_not_known():
    def fence(x):
        unknown()
        x[0] = float64(1)

    with pytest.raises(UnknownInstruction, match=r"tcgen05\.wait"):
        launch(kernel(fence, "float64*"), 1, EmulatedArray.empty(1, "float64"))


def test_writes_between_items():
    def fill(x, n):
        t = cuda.threadIdx.x
        if t < n:
            x[t] = float32(0)

    x = EmulatedArray.from_numpy(random((5, 8))[:, ::2])
    assert x.strides == (32, 8)
    launch(kernel(fill, "float32*", "int32"), 1, x, 1)
    assert x.numpy()[0, 0] == 0
    launch(kernel(fill, "float32*", "int32"), 1, x, 2)
    with pytest.raises(Fault, match="between the items"):
        x.numpy()


def test_arrays():
    x = random((4, 6))
    for y in (x, x.T, x[::-1], x[:, ::-2], np.broadcast_to(x[:1], (3, 6)), x[:0]):
        array = EmulatedArray.from_numpy(y)
        assert array.shape == y.shape
        assert array.size == 0 or array.strides == y.strides
        np.testing.assert_array_equal(array.numpy(), y)
        np.testing.assert_array_equal(array.T.numpy(), y.T)
        np.testing.assert_array_equal(array[1:, 2].numpy(), y[1:, 2])
    array = EmulatedArray.from_numpy(x.astype(ml_dtypes.bfloat16), device=1)
    assert (array.dtype.name, array.device, array[0].pointer % 256) == ("bfloat16", 1, 0)
    with pytest.raises(TypeError, match=r"call \.numpy"):
        np.asarray(array)


def test_functions_of_fastmat_take_these_arrays():
    x = random((40, 70))
    with emulated() as emulator:
        view = arrays.view(EmulatedArray.from_numpy(x.T), "x")
        assert (view.shape, view.strides, view.dtype) == ((70, 40), (1, 70), "float32")
        out, there = arrays.empty((3, 2), "bfloat16", like=view)
        assert isinstance(out, EmulatedArray)
        assert there.pointer == out.pointer
        assert emulator.capability(0) == (8, 0)
