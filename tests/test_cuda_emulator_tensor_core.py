"""The emulator's asynchronous copies, products of matrices and loads for them."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings")

import ml_dtypes
from cuda_emulator import EmulatedArray, Fault
from cuda_inline import global_address, inline, shared_address
from numba import cuda, float32, uint32
from test_cuda_emulator import kernel, launch, random

_F32 = "=f,=f,=f,=f,"
mma_f16, mma_bf16 = (
    inline(
        f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32 "
        "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
        _F32 + "r,r,r,r,r,r,f,f,f,f",
    )
    for kind in ("f16", "bf16")
)
mma_tf32 = inline(
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
    "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
    _F32 + "r,r,r,r,r,r,f,f,f,f",
)
mma_f64 = inline(
    "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {$0,$1}, {$2}, {$3}, {$4,$5};",
    "=d,=d,d,d,d,d",
)
mma_f64_k4 = inline(
    "mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 "
    "{$0,$1,$2,$3}, {$4,$5}, {$6}, {$7,$8,$9,$10};",
    "=d,=d,=d,=d,d,d,d,d,d,d,d",
)
mma_f64_k8 = inline(
    "mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 "
    "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
    "=d,=d,=d,=d,d,d,d,d,d,d,d,d,d,d",
)
mma_f64_k16 = inline(
    "mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 "
    "{$0,$1,$2,$3}, {$4,$5,$6,$7,$8,$9,$10,$11}, {$12,$13,$14,$15}, {$16,$17,$18,$19};",
    "=d,=d,=d,=d," + ",".join("d" * 16),
)
to_tf32 = inline("cvt.rna.tf32.f32 $0, $1;", "=r,f")
ldmatrix4 = inline(
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];", "=r,=r,=r,=r,r,~{memory}"
)
ldmatrix2_trans = inline(
    "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {$0,$1}, [$2];", "=r,=r,r,~{memory}"
)
copy16 = inline("cp.async.cg.shared.global [$0], [$1], 16;", "r,l,~{memory}")
copy4_some = inline("cp.async.ca.shared.global [$0], [$1], 4, $2;", "r,l,r,~{memory}")
commit = inline("cp.async.commit_group;", "~{memory}")
wait0 = inline("cp.async.wait_group 0;", "~{memory}")
wait1 = inline("cp.async.wait_group 1;", "~{memory}")
wait_all = inline("cp.async.wait_all;", "~{memory}")


def pairs(mma):
    """C += A B for halves in registers of two: A is (16, 16), B (16, 8), seen as uint32 along k."""

    def product(a, b, c):
        lane = cuda.laneid
        g, t = lane >> 2, lane & 3
        x = mma(
            a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4],
            b[g * 8 + t], b[g * 8 + t + 4],
            c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t],
            c[(g + 8) * 8 + 2 * t + 1],
        )  # fmt: skip
        c[g * 8 + 2 * t] = x[0]
        c[g * 8 + 2 * t + 1] = x[1]
        c[(g + 8) * 8 + 2 * t] = x[2]
        c[(g + 8) * 8 + 2 * t + 1] = x[3]

    return product


@pytest.mark.parametrize(("mma", "dtype"), [(mma_f16, np.float16), (mma_bf16, ml_dtypes.bfloat16)])
def test_product_of_halves(mma, dtype):
    a, b, c = random((16, 16), dtype), random((16, 8), dtype, 1), random((16, 8))
    there = EmulatedArray.from_numpy(c)
    launch(
        kernel(pairs(mma), "uint32*", "uint32*", "float32*", threads=32), 1,
        EmulatedArray.from_numpy(a), EmulatedArray.from_numpy(b.T.copy()), there,
    )  # fmt: skip
    wanted = a.astype(float) @ b.astype(float) + c
    np.testing.assert_allclose(there.numpy(), wanted, rtol=1e-5, atol=1e-5)


def tf32_product(swapped):
    def product(a, b, c):
        lane = cuda.laneid
        g, t = lane >> 2, lane & 3
        a1, a2 = to_tf32(a[(g + 8) * 8 + t])[0], to_tf32(a[g * 8 + t + 4])[0]
        if swapped:
            a1, a2 = a2, a1
        x = mma_tf32(
            to_tf32(a[g * 8 + t])[0], a1, a2, to_tf32(a[(g + 8) * 8 + t + 4])[0],
            to_tf32(b[t * 8 + g])[0], to_tf32(b[(t + 4) * 8 + g])[0],
            float32(0), float32(0), float32(0), float32(0),
        )  # fmt: skip
        c[g * 8 + 2 * t] = x[0]
        c[g * 8 + 2 * t + 1] = x[1]
        c[(g + 8) * 8 + 2 * t] = x[2]
        c[(g + 8) * 8 + 2 * t + 1] = x[3]

    return product


@pytest.mark.parametrize("swapped", [False, True])
def test_product_of_tf32_and_a_wrong_layout(swapped):
    a, b = random((16, 8)), random((8, 8), seed=1)
    c = EmulatedArray.empty((16, 8), "float32")
    launch(
        kernel(tf32_product(swapped), "float32*", "float32*", "float32*", threads=32), 1,
        EmulatedArray.from_numpy(a), EmulatedArray.from_numpy(b), c,
    )  # fmt: skip
    error = np.abs(c.numpy() - a.astype(float) @ b).max()
    assert (error > 0.1) if swapped else (1e-7 < error < 1e-2)


def doubles_k4(a, b, c):
    lane = cuda.laneid
    g, t = lane >> 2, lane & 3
    x = mma_f64(a[g * 4 + t], b[t * 8 + g], c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1])
    c[g * 8 + 2 * t] = x[0]
    c[g * 8 + 2 * t + 1] = x[1]


def sixteen_rows(k):
    """Registers of A alternate between row g and g + 8, and step along k by 4."""

    def product(a, b, c):
        lane = cuda.laneid
        g, t = lane >> 2, lane & 3
        u, v = g * k + t, (g + 8) * k + t
        w = t * 8 + g
        c0, c1 = c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1]
        c2, c3 = c[(g + 8) * 8 + 2 * t], c[(g + 8) * 8 + 2 * t + 1]
        if k == 4:
            x = mma_f64_k4(a[u], a[v], b[w], c0, c1, c2, c3)
        elif k == 8:
            x = mma_f64_k8(a[u], a[v], a[u + 4], a[v + 4], b[w], b[w + 32], c0, c1, c2, c3)
        else:
            x = mma_f64_k16(
                a[u], a[v], a[u + 4], a[v + 4], a[u + 8], a[v + 8], a[u + 12], a[v + 12],
                b[w], b[w + 32], b[w + 64], b[w + 96], c0, c1, c2, c3,
            )  # fmt: skip
        c[g * 8 + 2 * t] = x[0]
        c[g * 8 + 2 * t + 1] = x[1]
        c[(g + 8) * 8 + 2 * t] = x[2]
        c[(g + 8) * 8 + 2 * t + 1] = x[3]

    return product


@pytest.mark.parametrize(("m", "k"), [(8, 4), (16, 4), (16, 8), (16, 16)])
def test_product_of_doubles(m, k):
    a, b, c = (random(s, "float64", i) for i, s in enumerate([(m, k), (k, 8), (m, 8)]))
    there = EmulatedArray.from_numpy(c)
    product = kernel(
        doubles_k4 if m == 8 else sixteen_rows(k), "float64*", "float64*", "float64*", threads=32
    )
    where = (EmulatedArray.from_numpy(a), EmulatedArray.from_numpy(b), there)
    launch(product, 1, *where, capability=(9, 0))
    np.testing.assert_allclose(there.numpy(), a @ b + c, rtol=1e-13, atol=1e-13)


def through_shared(a, b, c):
    """A and B come by ldmatrix: A as it lies, row after row, B (k, n) transposed."""
    sa = cuda.shared.array((16, 8), uint32, alignment=16)  # pairs along k
    sb = cuda.shared.array((16, 4), uint32, alignment=16)  # pairs along n
    lane = cuda.laneid
    for i in range(4):
        sa[(lane + 32 * i) // 8, lane % 8] = a[lane + 32 * i]
    for i in range(2):
        sb[(lane + 32 * i) // 4, lane % 4] = b[lane + 32 * i]
    cuda.syncwarp()
    x = ldmatrix4(shared_address(sa, (lane % 16) * 8 + lane // 16 * 4))
    y = ldmatrix2_trans(shared_address(sb, (lane % 16) * 4))
    zero = float32(0)
    z = mma_f16(x[0], x[1], x[2], x[3], y[0], y[1], zero, zero, zero, zero)
    g, t = lane >> 2, lane & 3
    c[g * 8 + 2 * t] = z[0]
    c[g * 8 + 2 * t + 1] = z[1]
    c[(g + 8) * 8 + 2 * t] = z[2]
    c[(g + 8) * 8 + 2 * t + 1] = z[3]


def test_loads_of_matrices():
    a, b = random((16, 16), np.float16), random((16, 8), np.float16, 1)
    c = EmulatedArray.empty((16, 8), "float32")
    launch(
        kernel(through_shared, "uint32*", "uint32*", "float32*", threads=32), 1,
        EmulatedArray.from_numpy(a), EmulatedArray.from_numpy(b), c,
    )  # fmt: skip
    np.testing.assert_allclose(c.numpy(), a.astype(float) @ b.astype(float), rtol=1e-4, atol=1e-4)


def pipeline(waiting, barriers):
    """Tiles of 256 numbers come by asynchronous copies, two in flight, and are reversed."""

    def reverse_tiles(x, y, tiles):
        s = cuda.shared.array(512, float32, alignment=16)
        t = cuda.threadIdx.x
        copy16(shared_address(s, 4 * t), global_address(x, 4 * t))
        commit()
        for i in range(tiles):
            if i + 1 < tiles:
                copy16(
                    shared_address(s, (i + 1) % 2 * 256 + 4 * t),
                    global_address(x, (i + 1) * 256 + 4 * t),
                )
            commit()
            if waiting:
                wait1()
            if barriers > 0:
                cuda.syncthreads()
            for k in range(4):
                y[i * 256 + 4 * t + k] = s[i % 2 * 256 + 255 - 4 * t - k]
            if barriers > 1:
                cuda.syncthreads()
        wait0()

    return kernel(reverse_tiles, "float32*", "float32*", "int32")


@pytest.mark.parametrize(("waiting", "barriers"), [(True, 2), (True, 1), (True, 0), (False, 2)])
def test_pipeline_and_a_missing_wait(waiting, barriers):
    x = random((6, 256))
    y = EmulatedArray.empty((6, 256), "float32")
    launch(pipeline(waiting, barriers), 1, EmulatedArray.from_numpy(x), y, 6)
    assert np.array_equal(y.numpy(), x[:, ::-1]) == (waiting and barriers == 2)


def some(x, y, n):
    s = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    copy4_some(shared_address(s, t), global_address(x, t), uint32(4 if t < n else 0))
    wait_all()
    y[t] = s[t]


def test_copies_fill_with_zeros_and_read_nothing_there():
    x = random(20)
    y = EmulatedArray.empty(32, "float32")
    where = EmulatedArray.from_numpy(x)
    copying = kernel(some, "float32*", "float32*", "int32", threads=32)
    launch(copying, 1, where, y, 20)
    np.testing.assert_array_equal(y.numpy(), np.append(x, np.zeros(12, np.float32)))
    with pytest.raises(Fault, match="asynchronous copy wants to read 4 bytes"):
        launch(copying, 1, where, y, 21)


def misplaced(x):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    copy16(shared_address(s, 4 * t), global_address(x, 4 * t))
    wait_all()


def test_copies_to_an_array_that_is_not_aligned():
    with pytest.raises(Fault, match="misaligned asynchronous copy"):
        launch(kernel(misplaced, "float32*", threads=8), 1, EmulatedArray.empty(64, "float32"))
