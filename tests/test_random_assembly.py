"""The machine code of random numbers: loops of whole vectors, without calls."""

import platform
import re

import numpy as np
import pytest
from numba import from_dtype, njit, types
from test_assembly import loops

from fastmat.core.codegen import KernelCompiler
from fastmat.cpu import blocking, draws
from fastmat.cpu import random as kernels

pytestmark = [
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 assembly"),
    pytest.mark.skipif(blocking.ISA == "baseline", reason="no vectors of fused multiplications"),
]

WORDS = types.Array(types.uint32, 2, "C")


def vector_loops(function, arguments, instruction):
    """Innermost loops of whole vectors with this instruction."""
    bare = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # they call and loop too
    compiled = njit(pipeline_class=KernelCompiler, error_model="numpy", **bare)(function)
    compiled.compile(arguments)
    packed = re.compile(rf"v?{instruction}\s.*%?[yz]mm\d+")
    bodies = loops(next(iter(compiled.inspect_asm().values())))
    return [body for body in bodies if any(packed.match(line) for line in body)]


def check(bodies):
    assert bodies, "no loop has packed instructions"
    calls = [line for body in bodies for line in body if line.startswith("call")]
    assert not calls, f"loops call functions: {calls}"


def test_words():
    def draw(words, block, seed, stream):
        draws.draw_words(words, block, 256, seed, stream)

    bodies = vector_loops(draw, (WORDS, *[types.uint64] * 3), "pmuludq")
    check(bodies)
    counts = [sum("pmuludq" in line for line in body) for body in bodies]
    assert all(count % 19 == 0 for count in counts)  # of 20 one is the same for all blocks


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform(dtype):
    def make(words, numbers):
        kernels.make_uniform(words, numbers, 256, 2.0, 3.0)

    suffix = "ps" if dtype == np.float32 else "pd"
    numbers = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    check(vector_loops(make, (WORDS, numbers), rf"fmadd\d+{suffix}"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal(dtype):
    def make(words, numbers):
        kernels.make_normal(words, numbers, 256, 2.0, 2.0, 3.0)

    suffix = "ps" if dtype == np.float32 else "pd"
    numbers = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    check(vector_loops(make, (WORDS, numbers), f"sqrt{suffix}"))


def test_integers():
    def make(words, numbers, low, extent, threshold):
        return kernels.make_integers(words, numbers, 256, low, extent, threshold)

    numbers = types.Array(types.int64, 1, "C")
    check(vector_loops(make, (WORDS, numbers, *[types.uint64] * 3), "pmuludq"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_signs(dtype):
    def make(words, numbers):
        kernels.make_signs(words, numbers, 256)

    numbers = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    check(vector_loops(make, (WORDS, numbers), r"\w+"))
