"""The machine code of the micro-kernel: vector FMAs, and no spills in its loop."""

import platform
import re

import numba
import numpy as np
import pytest
from numba import njit, types

import fastmat
from fastmat.core.codegen import KernelCompiler
from fastmat.cpu import blocking, semirings, simd

# Vector registers: the widest that the instruction set of the table has.
REGISTER = {"avx512": "zmm", "avx2": "ymm", "baseline": "xmm"}


def loops(assembly):
    """Innermost loops: the lines between a label and the last jump back to it."""
    lines = [line.split("#")[0].strip() for line in assembly.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    labels = {line[:-1]: at for at, line in enumerate(lines) if line.endswith(":")}
    found = []
    for at, line in enumerate(lines):
        jump = re.match(r"j\w+\s+(\S+)$", line)
        if jump and labels.get(jump[1], at) < at:
            found.append((labels[jump[1]], at))
    inner = [
        (start, end)
        for start, end in found
        if not any(start <= s and e <= end and (s, e) != (start, end) for s, e in found)
    ]
    return [lines[start + 1 : end + 1] for start, end in inner]


def spills(body):
    """Lines of a loop that touch the stack.

    Without a frame pointer rbp is a register like any other: here the panel of a, when the
    loop moves it on.
    """
    moved = any(re.match(r"(add|sub|lea|inc|mov)\w*\s.*%rbp$", line) for line in body)
    stack = re.compile(r"\(%rsp|\[rsp" if moved else r"\(%r[sb]p|\[r[sb]p")
    return [line for line in body if stack.search(line)]


def micro_kernel(dtype):
    """Assembly of a function that runs the micro-kernel once."""

    @njit
    def run(element, a, b, c, k):
        at, stride = c.ctypes.data, c.strides[0]
        left, right = a.ctypes.data, b.ctypes.data
        simd.multiply_tile(element.dtype, 3, 2, k, left, right, at, stride, True)

    array = types.Array(dtype, 1, "C")
    run.compile((array, array, array, types.Array(dtype, 2, "C"), types.intp))
    return next(iter(run.inspect_asm().values()))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 assembly")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loop_is_vector_fmas_without_spills(dtype):
    tile = blocking.tile(numba.from_dtype(np.dtype(dtype)))
    suffix = "ps" if dtype == np.float32 else "pd"
    register = REGISTER[blocking.ISA]
    if blocking.FUSED:
        fma = re.compile(rf"vfn?madd\d+{suffix}\s.*%?{register}\d+")
    else:
        fma = re.compile(rf"v?mul{suffix}\s.*%?{register}\d+")
    bodies = loops(micro_kernel(numba.from_dtype(np.dtype(dtype))))
    counts = [sum(bool(fma.match(line)) for line in body) for body in bodies]
    assert counts, "no loop was found"
    body = bodies[int(np.argmax(counts))]
    assert max(counts) == tile.unroll * tile.rows * tile.vectors, "not one FMA for each term"
    assert not spills(body), f"registers are spilled to the stack: {spills(body)[:5]}"
    calls = [line for line in body if line.startswith("call")]
    assert not calls


def tile_of_semiring(*parts):
    """Assembly of the tile of a semiring for float32, as it is compiled for a user's functions."""
    float32 = types.float32
    compiled = njit(pipeline_class=KernelCompiler, error_model="numpy")(semirings.tile_of(*parts))
    compiled.compile(semirings.tile_types(float32))
    return next(iter(compiled.inspect_asm().values()))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 assembly")
@pytest.mark.parametrize("by", ["name", "user"])
def test_tiles_of_semirings_are_whole_vectors_without_spills(by):
    """Addition and comparison of vectors of full width, also where LLVM prefers half of it."""
    parts = semirings.NAMED["min_plus"]
    if by == "user":
        ring = fastmat.Semiring(lambda x, y: y if y < x else x, lambda x, y: x + y, np.inf)
        parts = semirings.parts_of(ring, "float32")
    tile, register = blocking.tile(types.float32), REGISTER[blocking.ISA]
    terms = tile.rows * tile.vectors
    for operation in ("add", "min"):
        instruction = re.compile(rf"v?{operation}ps\s.*%?{register}\d+")
        bodies = loops(tile_of_semiring(*parts))
        counts = [sum(bool(instruction.match(line)) for line in body) for body in bodies]
        body = bodies[int(np.argmax(counts))]
        assert max(counts) % terms == 0, "not one for each term"
        assert max(counts) > 0
        assert not spills(body), f"registers are spilled to the stack: {spills(body)[:5]}"


def test_reader_of_loops():
    """The reader itself: an inner loop is found, the loop around it is not, spills are seen."""
    assembly = """
.outer:
    mov rax, rbx
.inner:
    vfmadd231ps zmm0, zmm1, zmm2
    vmovups zmmword ptr [rsp + 64], zmm0
    jne .inner
    jmp .outer
    """
    (body,) = loops(assembly)
    assert len(body) == 3
    assert spills(body) == [body[1]]
    assert spills(["movq (%rbp), %rax", "jne .inner"])
    assert not spills(["movq (%rbp), %rax", "addq $8, %rbp", "jne .inner"])
