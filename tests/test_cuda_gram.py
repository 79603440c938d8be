"""`fm.linalg.gram` and `power_step` on GPUs, and the sums in double precision of tall matrices."""

import numpy as np
import pytest
from cuda_products import small_tiles
from gpus import Emulated, on
from oracles import matmul as exact_product
from products import normal, small_integers
from tolerances import product_bound

import fastmat as fm

# Kernels take some seconds to compile: few dtypes and layouts here, as matmul has tests of its own.
SHAPES = {"f4": [(0, 3), (3, 0), (1, 1), (33, 18), (2, 9, 5)], "c8": [(3, 0), (33, 18)]}

ALIGNED, BY_COLUMNS, STRIDED = "rows", "columns", "neither"  # that are contiguous
LAYOUTS = (ALIGNED, BY_COLUMNS, STRIDED)


@pytest.fixture(autouse=True)
def _small_tiles():
    pytest.importorskip("numba_cuda")
    with small_tiles():
        yield


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


def laid_out(shape, dtype, layout):
    """A matrix whose rows or columns are contiguous, begin at multiples of 16 bytes, or neither."""
    m, n = shape
    x = normal((n, m + -m % 4) if layout == BY_COLUMNS else (m, n + -n % 4), dtype)
    return {BY_COLUMNS: x.T[:m], ALIGNED: x[:, :n], STRIDED: x[::-1, n - 1 :: -1][:m]}[layout]


def sums(gpu, a):
    """The Gram matrix in double precision, and the kernels whose sums of pieces were added up."""
    from fastmat.cuda.gram import WIDE
    from fastmat.cuda.launch_gram import launches, pieces_of
    from fastmat.ops.on_gpu.gram import summed
    from fastmat.ops.on_gpu.matrices import Matrix, read, scratch

    x = Matrix.of(gpu.array(a))
    result = scratch((a.shape[1],) * 2, WIDE[a.dtype.name], x)
    summed(x, result)
    return read(result), {kernel for kernel, _ in launches(x.view, pieces_of(*a.shape))}


def check_sums(gpu, a):
    """Within the rounding errors of sums in double precision."""
    found, kernels = sums(gpu, a)
    wide = a.astype("G" if a.dtype.kind == "c" else "g")
    want, size = adjoint(wide) @ wide, adjoint(np.abs(wide)) @ np.abs(wide)
    assert (np.abs(found - want) <= 2 * (len(a) + 8) * np.finfo("f8").eps * size).all()
    assert (found == adjoint(found)).all()
    return kernels


# A capability, dtype, layout and whether matrices have one tile.
KERNELS = [
    ((9, 0), "f4", ALIGNED, False),
    ((8, 0), "f4", ALIGNED, True),
    ((9, 0), "f8", BY_COLUMNS, True),
    ((8, 0), "f4", STRIDED, True),
    ((8, 6), "f4", ALIGNED, False),
]
ALL_KERNELS = [
    (capability, dtype, layout, one)
    for capability in ((9, 0), (8, 0), (8, 6))
    for dtype in ("f4", "f8", *(("c8", "c16") if capability == (8, 6) else ()))
    for layout in LAYOUTS
    for one in (True, False)
]


@pytest.mark.parametrize(
    ("capability", "dtype", "layout", "one"),
    [
        *KERNELS,
        *(
            pytest.param(*kernel, marks=pytest.mark.cuda_full)
            for kernel in ALL_KERNELS
            if kernel not in KERNELS
        ),
    ],
)
def test_sums_in_double_precision(capability, dtype, layout, one):
    """Rows around those loaded at once, and pieces; columns around quarters of a tile and tiles.

    Where rows are contiguous columns are multiples of 4, else the scalar kernel serves them.
    """
    step = 4 if layout == ALIGNED else 1
    kernels = set()
    with on("emulator", capability) as gpu:
        for m, n in (
            (1, 32 if one else 128),
            (25, 64 if one else 96 + step),
            (33, 32 + step if one else 64 + step),
            (128, 32 - step if one else 192),
            (130, 2 * step if one else 128 - step),
            (259, 64 - step if one else 128 + step),
        ):
            kernels |= check_sums(gpu, laid_out((m, n), dtype, layout))
    on_tensor_cores = capability in ((9, 0), (8, 0))
    assert len(kernels) == (2 if on_tensor_cores and not one else 1)
    for kernel in kernels:
        assert kernel.function.__module__.endswith("tensor" if on_tensor_cores else "gram")


@pytest.mark.parametrize("capability", [(8, 0), (8, 6)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sums_of_what_is_not_finite(capability, bad):
    """Beyond the matrix zeros are multiplied, but not with its numbers."""
    x = np.abs(laid_out((259, 36), "f4", ALIGNED))
    x[[7, 258], [3, 35]] = bad
    with on("emulator", capability) as gpu:
        found, _ = sums(gpu, x)
    rest = ~np.isin(np.arange(36), (3, 35))
    np.testing.assert_array_equal(found[3], np.full(36, bad))
    np.testing.assert_array_equal(found[35], np.full(36, bad))
    assert np.isfinite(found[rest][:, rest]).all()


def test_pieces():
    """They cover all rows, by the shape alone, and neither they nor the scratch are too large."""
    from fastmat.cuda.launch_gram import MOST_ROWS, pieces_of

    for n in (0, 1, 30, 64, 65, 128, 256, 500, 2000):
        for m in (0, 1, 128, 129, 20_000, 1_000_000, 10**9):
            split = pieces_of(m, n)
            pieces, rows = split.pieces, split.rows
            assert (pieces - 1) * rows < max(m, 1) <= pieces * rows
            assert rows % 32 == 0
            assert pieces <= 65535
            assert rows <= MOST_ROWS or m > 500_000_000
            assert pieces * split.tiles <= max(132 * 10, split.tiles * (m // MOST_ROWS + 133))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tall(gpu, layout):
    """On tensor cores sums are in double precision, rounded once."""
    a = laid_out((515, 36), "f4", layout)
    out = gpu.array(np.zeros((36, 36), "f4"))
    assert check(gpu, a, out=out) is out
    if not isinstance(gpu, Emulated):
        for shape, dtype in (((1037, 132), "f4"), ((1500, 250), "f4"), ((600, 100), "f8")):
            check(gpu, laid_out(shape, dtype, layout))


@pytest.mark.parametrize("dtype", SHAPES)
def test_shapes(gpu, dtype):
    for shape in SHAPES[dtype]:
        found = gpu.numpy(check(gpu, normal(shape, dtype) * 1.1))
        assert (np.diagonal(found, axis1=-2, axis2=-1).imag == 0).all()


def test_layouts(gpu):
    x = normal((40, 21), "f4")
    for a in (x.T, x[::2, ::3]):
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
    for shape in ((60, 40), (700, 36)):
        x, found = normal(shape, "f4"), []
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
