"""`fm.transpose` and `fm.matrix_transpose` on GPUs, bit for bit."""

import itertools

import numpy as np
import oracles
import pytest
from gpus import on
from layouts import block, broadcast, c_order, f_order, negative, sliced
from oracles import DTYPES, name
from products import any_bits

import fastmat as fm

SIZES = ("u1", "u2", "u4", "u8", "c16")  # one dtype for each kernel
TILES = {"u1": (128, 128), "u2": (64, 128), "u4": (64, 64), "u8": (32, 64), "c16": (32, 32)}


def check(gpu, x, axes=None):
    given = gpu.array(x)
    result = fm.transpose(given, axes)
    assert isinstance(result, gpu.kind)
    got = gpu.numpy(result)
    expected = oracles.transpose(x, axes)
    assert got.dtype == x.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()
    assert gpu.numpy(given).tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", SIZES)
def test_around_the_tiles(gpu, dtype):
    rows, columns = TILES[dtype]
    for m, n in [(columns, rows), (2 * columns, rows), (columns + 1, rows - 1), (columns - 1, 37)]:
        check(gpu, any_bits((m, n), dtype))


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", SIZES)
def test_all_sides_around_the_tiles(gpu, dtype):
    for m, n in itertools.product((0, 1, 3, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129), repeat=2):
        check(gpu, any_bits((m, n), dtype))


@pytest.mark.parametrize("dtype", SIZES)
def test_thin(gpu, dtype):
    for shape in [(1009, 3), (3, 1009), (2, 64), (1, 500), (500, 1), (5, 700)]:
        check(gpu, any_bits(shape, dtype))


@pytest.mark.parametrize("dtype", ["u2", "u4"])
def test_accesses_of_four_bytes(gpu, dtype):
    # Rows that begin at multiples of 4 bytes, but not of 16.
    check(gpu, any_bits((130, 66), dtype))


@pytest.mark.parametrize("size", [1, 4])
def test_permutations_of_four_axes(gpu, size):
    x = any_bits((5, 4, 7, 6), f"u{size}")
    for axes in itertools.permutations(range(4)):
        check(gpu, x, axes)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 70, 3, 40), (2, 0, 3, 1)),
        ((3, 2, 80, 2, 48), (3, 1, 4, 0, 2)),
        ((2, 3, 2, 2, 3, 2, 17), (5, 3, 1, 6, 4, 2, 0)),
        ((2, 24, 20, 3), (0, 3, 1, 2)),
        ((2, 3, 24, 20), (0, 2, 3, 1)),
        ((4, 6, 5, 32), (0, 2, 1, 3)),
        ((), ()),
        ((5,), (0,)),
        ((0, 3), (1, 0)),
        ((3, 0, 2), (2, 1, 0)),
        ((1, 1, 1), (2, 0, 1)),
    ],
)
def test_batches(gpu, shape, axes):
    check(gpu, any_bits(shape, "f4"), axes)


@pytest.mark.parametrize("layout", [c_order, f_order, sliced, negative, block, broadcast])
def test_layouts(gpu, layout):
    x = layout(any_bits((70, 66), "u2"))
    check(gpu, x)
    check(gpu, x, (0, 1))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_dtypes(gpu, dtype):
    check(gpu, any_bits((20, 9), dtype))


def test_matrix_transpose(gpu):
    x = any_bits((3, 40, 50), "f4")
    result = fm.matrix_transpose(gpu.array(x))
    assert np.array_equal(gpu.numpy(result).view("u4"), x.swapaxes(1, 2).view("u4"))


@pytest.mark.parametrize("layout", [c_order, f_order, block, sliced])
def test_out(gpu, layout):
    x, out = any_bits((70, 50), "f4"), layout(any_bits((50, 70), "f4"))
    place = gpu.array(out)
    assert fm.transpose(gpu.array(x), out=place) is place
    assert gpu.numpy(place).tobytes() == x.T.tobytes()


def test_in_place(gpu):
    x = any_bits((2, 40, 40), "f4")
    given = gpu.array(x)
    assert fm.matrix_transpose(given, out=given) is given
    assert gpu.numpy(given).tobytes() == x.swapaxes(1, 2).tobytes()
    assert fm.transpose(given, (0, 1, 2), out=given) is given
    assert gpu.numpy(given).tobytes() == x.swapaxes(1, 2).tobytes()


def test_out_that_overlaps(gpu):
    x = any_bits((41, 40), "f4")
    given = gpu.array(x)
    fm.transpose(given[:40], out=given[1:])
    expected = x.copy()
    expected[1:] = x[:40].T
    assert gpu.numpy(given).tobytes() == expected.tobytes()


def test_errors(gpu):
    x = gpu.array(np.zeros((3, 4), np.float32))
    for axes in [(0, 0), (0,), (0, 2), (0, 1, 2)]:
        with pytest.raises(ValueError, match="must be a permutation"):
            fm.transpose(x, axes)
    with pytest.raises(TypeError, match="must consist of integers"):
        fm.transpose(x, (0.5, 1))
    with pytest.raises(ValueError, match=r"out has shape \(3, 4\); the result has shape \(4, 3\)"):
        fm.transpose(x, out=gpu.array(np.zeros((3, 4), np.float32)))
    with pytest.raises(TypeError, match="out has dtype float64; the result has dtype float32"):
        fm.transpose(x, out=gpu.array(np.zeros((4, 3))))
    with pytest.raises(TypeError, match="out is not on a GPU"):
        fm.transpose(x, out=np.zeros((4, 3), np.float32))
    with pytest.raises(TypeError, match="x is not on a GPU"):
        fm.transpose(np.zeros((3, 4), np.float32), out=gpu.array(np.zeros((4, 3), np.float32)))
    with pytest.raises(ValueError, match="wants 2 or more dimensions"):
        fm.matrix_transpose(gpu.array(np.zeros(3)))


def test_order_of_threads_does_not_matter():
    x = any_bits((100, 140), "u2")
    for seed in range(3):
        with on("emulator", seed=seed) as gpu:
            check(gpu, x)
