"""Products on tensor cores, by the emulator and on GPUs."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings")

import ml_dtypes
from gpus import on

from fastmat.cuda import driver, launch_tensor_core
from fastmat.cuda.arrays import stream_of, view
from fastmat.cuda.launch_tensor_core import Choice
from fastmat.cuda.tensor_core import product
from fastmat.cuda.tensor_tiles import Tile

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
SMALL = {
    "float16": (Choice(Tile(64, 32, 64, 32, 32, 3), 1),),
    "bfloat16": (Choice(Tile(32, 64, 32, 32, 32, 3, 2), 1),),
    "float32": (Choice(Tile(32, 64, 32, 32, 32, 3), 1),),
    "float64": (Choice(Tile(64, 32, 16, 32, 32, 3), 1),),
}
EPSILON = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


@pytest.fixture
def small(monkeypatch):
    """Small tiles, so that there are many blocks."""
    monkeypatch.setattr(launch_tensor_core, "TILES", SMALL)
    monkeypatch.setattr("fastmat.cuda.tensor_core.TILES", SMALL)
    monkeypatch.setattr(launch_tensor_core, "SPLIT_DEPTH", 128)
    from fastmat.cuda.tensor_core import _plan

    _plan.cache_clear()
    yield
    _plan.cache_clear()


def numbers(shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[dtype])


def laid_out(x, order, multiple):
    """`x` with rows ("C") or columns ("F") contiguous, each line at a multiple of so many items."""
    x = x.swapaxes(-1, -2) if order == "F" else x
    longer = -(-x.shape[-1] // multiple) * multiple
    memory = np.full((*x.shape[:-1], longer), np.nan, x.dtype)
    y = memory[..., : x.shape[-1]]
    y[...] = x
    return y.swapaxes(-1, -2) if order == "F" else y


def multiply(gpu, a, b, c, precision=None):
    """Whether the tensor cores serve this, and what was written to `c`."""
    there = [gpu.array(x) for x in (a, b, c)]
    views = [view(x, name) for x, name in zip(there, "abc", strict=True)]
    served = product(*views, stream_of(views[2]), precision=precision)
    return served, gpu.numpy(there[2])


def check(result, a, b, unit, out):
    """Within the error of sums of rounded products, and of the rounding of the result.

    Tensor cores may cut the bits of each term, so that a sum has an error of one unit per term.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    wanted, size = a @ b, np.abs(a) @ np.abs(b)
    term = EPSILON["float64" if out == "float64" else "float32"] * (a.shape[-1] + 2)
    error = np.abs(result.astype(np.float64) - wanted)
    assert np.all(error <= size * (2 * term + 2 * unit) + np.abs(wanted) * EPSILON[out])


CASES = [  # dtype, out, precision, what the factors are rounded to
    ("float16", "float16", None, 0),
    ("float16", "float32", None, 0),
    ("bfloat16", "bfloat16", None, 0),
    ("float32", "float32", "tf32", 2.0**-11),
    ("float64", "float64", None, 0),
]
IDS = ["f16", "f16-f32", "bf16", "tf32", "f64"]


@pytest.mark.parametrize(("dtype", "out", "precision", "unit"), CASES, ids=IDS)
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
@pytest.mark.usefixtures("small")
def test_layouts(gpu, dtype, out, precision, unit, orders):
    m, n, k = 70, 67, 75
    a, b = numbers((m, k), dtype, 1), numbers((k, n), dtype, 2)
    c = laid_out(np.zeros((m, n), DTYPES[out]), "C", 4)
    given = laid_out(a, orders[0], 8), laid_out(b, orders[1], 8)
    served, result = multiply(gpu, *given, c, precision)
    assert served
    check(result, a, b, unit, out)
