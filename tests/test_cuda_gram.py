"""`fm.linalg.gram` and `power_step` on GPUs."""

import numpy as np
import pytest
from gpus import on
from oracles import matmul as exact_product
from products import normal, small_integers
from tolerances import product_bound

import fastmat as fm

# One product of each dtype takes its kernel some seconds to compile: few dtypes here, as matmul
# has tests of its own.
SHAPES = [(0, 3), (3, 0), (1, 1), (5, 3), (130, 67), (2, 40, 9)]


def adjoint(a):
    return np.conj(np.swapaxes(a, -1, -2)) if a.dtype.kind == "c" else np.swapaxes(a, -1, -2)


def check(gpu, a, **options):
    want = exact_product(adjoint(a), a)
    found = fm.linalg.gram(gpu.array(a), **options)
    assert isinstance(found, gpu.kind)
    got = gpu.numpy(found)
    assert (got.dtype, got.shape) == (a.dtype, want.value.shape)
    assert (np.abs(got - want.value) <= product_bound(want)).all()
    assert (got == adjoint(got)).all()
    return found


@pytest.mark.parametrize("dtype", ["f4", "c8"])
def test_shapes(gpu, dtype):
    for shape in SHAPES:
        found = gpu.numpy(check(gpu, normal(shape, dtype) * 1.1))
        assert (np.diagonal(found, axis1=-2, axis2=-1).imag == 0).all()


def test_layouts(gpu):
    x = normal((40, 21), "f4")
    for a in (x.T, x[::2, ::3], np.broadcast_to(x[:1], (5, 21)), np.asfortranarray(x)):
        check(gpu, a)


def test_out(gpu):
    x = small_integers((30, 30), "f4")
    given = gpu.array(x)
    assert fm.linalg.gram(given, out=given) is given  # in its own place
    np.testing.assert_array_equal(gpu.numpy(given), x.T @ x)
    out = gpu.array(np.zeros((60, 60), "f4")[::2, ::2])
    assert fm.linalg.gram(gpu.array(x), out=out) is out
    np.testing.assert_array_equal(gpu.numpy(out), x.T @ x)


def test_columns_by_blocks(gpu, monkeypatch):
    """Products end at the diagonal; what is above it is a copy."""
    from fastmat.ops.on_gpu import gram

    monkeypatch.setattr(gram, "BLOCK", 16)
    for dtype in ("f4", "c8"):
        check(gpu, normal((33, 50), dtype))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_stay_in_their_columns(gpu, bad):
    x = normal((40, 20), "f4")
    x[7, 3] = bad
    found = gpu.numpy(fm.linalg.gram(gpu.array(x)))
    rest = np.arange(20) != 3
    assert not np.isfinite(found[3]).any()
    assert np.isfinite(found[rest][:, rest]).all()


def test_power_step(gpu):
    for dtype in ("f4", "c8"):
        a, q = normal((50, 30), dtype), normal((30, 4), dtype, 1)
        wide = a.astype("c16" if dtype == "c8" else "f8")
        want = adjoint(wide) @ (wide @ q)
        got = gpu.numpy(fm.linalg.power_step(gpu.array(a), gpu.array(q)))
        allowed = 2 * 80 * np.finfo(dtype).eps * (np.abs(a).T @ (np.abs(a) @ np.abs(q)))
        assert got.dtype == dtype
        assert (np.abs(got - want) <= allowed).all()


def test_errors(gpu):
    with pytest.raises(ValueError, match=r"a has shape \(3,\)"):
        fm.linalg.gram(gpu.array(np.ones(3, "f4")))
    out = gpu.array(np.full((2, 2), 7, "f4"))
    with pytest.raises(ValueError, match="out has shape"):
        fm.linalg.gram(gpu.array(np.ones((3, 3), "f4")), out=out)
    with pytest.raises(TypeError, match="out has dtype"):
        fm.linalg.gram(gpu.array(np.ones((3, 2), "f8")), out=out)
    with pytest.raises(TypeError, match="is not on a GPU"):
        fm.linalg.gram(np.ones((3, 2), "f4"), out=out)
    assert (gpu.numpy(out) == 7).all()
    with pytest.raises(ValueError, match="the columns of a, 3"):
        fm.linalg.power_step(gpu.array(np.ones((2, 3), "f4")), gpu.array(np.ones((2, 1), "f4")))


def test_the_same_bits_in_any_order_of_threads():
    x, found = normal((400, 70), "f4"), []
    for seed in (0, 1):
        with on("emulator", seed=seed) as gpu:
            found.append(gpu.numpy(fm.linalg.gram(gpu.array(x))))
    np.testing.assert_array_equal(*found)


def test_more_matrices_than_a_grid_has_rows():
    """The second axis of a grid has less than 2**16 blocks."""
    pytest.importorskip("numba_cuda")
    from fastmat.ops.on_gpu import gram

    with on("emulator") as gpu, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gram, "MOST_ITEMS", 2)
        check(gpu, normal((5, 4, 3), "c8"))


def test_out_on_another_device():
    with on("emulator"):
        from cuda_emulator import EmulatedArray

        x = EmulatedArray.from_numpy(normal((4, 3), "f4"))
        out = EmulatedArray.empty((3, 3), "f4", device=1)
        with pytest.raises(ValueError, match="out is on device 1 and a on device 0"):
            fm.linalg.gram(x, out=out)
