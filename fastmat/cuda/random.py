"""Random numbers by position: kernels whose threads each make what 16 bytes of the result take.

Number i is made of the words that `cpu.random` makes it of, by the same steps. Kernels are
compiled without fusing products and sums, so bits are the same as well.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.core.dtypes import dtype_named
from fastmat.cuda.elementary import fma, function
from fastmat.cuda.intrinsics import float_of_bits, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.philox import words_at

THREADS = 256

_SINGLE_UNIT = np.float32(2.0**-24)
_SINGLE_WORD = np.float32(2.0**-32)
_HALF = np.float32(0.5)
_MINUS_TWO = np.float32(-2)


class Draw(NamedTuple):
    """How the words of a block become numbers."""

    make: Callable[..., None]  # numbers, at, words, position, seed, stream, three parameters
    stored: Any  # the Numba type of what is stored
    pointer: str
    width: int  # how many of them a number is
    each: int  # numbers of a block
    parameter: str  # the type of each of the parameters

    @property
    def blocks(self) -> int:
        """How many blocks a thread draws: at least one, and 16 bytes of numbers."""
        itemsize = self.stored.bitwidth // 8 * self.width
        return max(1, 16 // (itemsize * self.each))


@functools.cache
def draw_of(kind: str, dtype: str) -> Draw:
    """How numbers of a kind and dtype are made."""
    if kind == "rademacher":
        return _signs(dtype)
    stored = getattr(types, dtype)
    if kind == "integers":
        return Draw(_integers(stored), stored, f"{dtype}*", 1, 2, "uint64")
    make = {
        ("uniform", "float32"): _uniform_float32,
        ("uniform", "float64"): _uniform_float64,
        ("normal", "float32"): _normal_float32,
        ("normal", "float64"): _normal_float64,
    }[kind, dtype]()
    return Draw(make, stored, f"{dtype}*", 1, 16 // np.dtype(dtype).itemsize, dtype)


def _uniform_float32():
    @cuda.jit(device=True)
    def unit(word):
        return types.float32(types.int32(word >> types.uint32(8))) * _SINGLE_UNIT

    @cuda.jit(device=True)
    def make(numbers, at, words, position, seed, stream, low, extent, _):
        numbers[at] = fma(unit(words[0]), extent, low)
        numbers[at + 1] = fma(unit(words[1]), extent, low)
        numbers[at + 2] = fma(unit(words[2]), extent, low)
        numbers[at + 3] = fma(unit(words[3]), extent, low)

    return make


@cuda.jit(device=True)
def _exactly(word):
    """A word of 32 bits as a float64."""
    return float_of_bits(types.uint64(word) | types.uint64(0x433 << 52)) - 2.0**52


def _uniform_float64():
    @cuda.jit(device=True)
    def unit(high, rest):
        return fma(_exactly(high), 2.0**21, _exactly(rest >> types.uint32(11))) * 2.0**-53

    @cuda.jit(device=True)
    def make(numbers, at, words, position, seed, stream, low, extent, _):
        numbers[at] = fma(unit(words[0], words[1]), extent, low)
        numbers[at + 1] = fma(unit(words[2], words[3]), extent, low)

    return make


def _normal_float32():
    log, sincos_turns = (function(name, "float32") for name in ("log", "sincos_turns"))

    @cuda.jit(device=True)
    def make_two(numbers, at, first, second, even, odd, scale):
        u = (types.float32(first) + _HALF) * _SINGLE_WORD
        radius = math.sqrt(_MINUS_TWO * log(u))
        sine, cosine = sincos_turns(types.float32(types.int32(second)) * _SINGLE_WORD)
        numbers[at] = fma(radius * cosine, scale, even)
        numbers[at + 1] = fma(radius * sine, scale, odd)

    @cuda.jit(device=True)
    def make(numbers, at, words, position, seed, stream, even, odd, scale):
        make_two(numbers, at, words[0], words[1], even, odd, scale)
        make_two(numbers, at + 2, words[2], words[3], even, odd, scale)

    return make


def _normal_float64():
    log, sincos_turns = (function(name, "float64") for name in ("log", "sincos_turns"))

    @cuda.jit(device=True)
    def make(numbers, at, words, position, seed, stream, even, odd, scale):
        u = (fma(_exactly(words[0]), 2.0**32, _exactly(words[1])) + 0.5) * 2.0**-64
        radius = math.sqrt(-2.0 * log(u))
        signed = _exactly(types.uint32(words[2] ^ types.uint32(1 << 31))) - 2.0**31
        turn = fma(signed, 2.0**32, _exactly(words[3])) * 2.0**-64
        sine, cosine = sincos_turns(turn)
        numbers[at] = fma(radius * cosine, scale, even)
        numbers[at + 1] = fma(radius * sine, scale, odd)

    return make


def _integers(stored):
    @cuda.jit(device=True)
    def make_one(numbers, at, second, bits, position, seed, stream, low, extent, threshold):
        if extent == types.uint64(0):
            numbers[at] = stored(low + bits)
            return
        attempt = types.uint64(0)
        while bits * extent < threshold:
            attempt += types.uint64(1)
            changed = stream ^ attempt << types.uint64(48)
            bits = _bits(words_at(position, seed, changed), second)
        numbers[at] = stored(low + cuda.libdevice.umul64hi(bits, extent))

    @cuda.jit(device=True)
    def make(numbers, at, words, position, seed, stream, low, extent, threshold):
        given = position, seed, stream, low, extent, threshold
        make_one(numbers, at, False, _bits(words, False), *given)
        make_one(numbers, at + 1, True, _bits(words, True), *given)

    return make


@cuda.jit(device=True)
def _bits(words, second):
    """The 64 bits of the first or the second two words."""
    half = types.uint64(32)
    if second:
        return types.uint64(words[2]) << half | types.uint64(words[3])
    return types.uint64(words[0]) << half | types.uint64(words[1])


def _signs(dtype):
    """1 and -1, of floats of 16 bits and of complex numbers by their parts."""
    width = 2 if dtype.startswith("complex") else 1
    kind = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    if kind in ("float16", "bfloat16"):
        one, minus_one = np.array([1, -1], dtype_named(kind)).view(np.uint16)
        kind = "uint16"
    else:
        one, minus_one = np.array([1, -1], kind)
    stored = getattr(types, kind)

    @cuda.jit(device=True)
    def make_one(numbers, at, word):
        numbers[at] = one if word >> types.uint32(31) == types.uint32(0) else minus_one
        if width == 2:
            numbers[at + 1] = stored(0)

    @cuda.jit(device=True)
    def make(numbers, at, words, position, seed, stream, a, b, c):
        make_one(numbers, at, words[0])
        make_one(numbers, at + width, words[1])
        make_one(numbers, at + 2 * width, words[2])
        make_one(numbers, at + 3 * width, words[3])

    return Draw(make, stored, f"{kind}*", width, 4, "int32")


@functools.cache
def flat(kind: str, dtype: str, aligned: bool) -> Kernel:
    """Numbers that follow each other in memory and in the stream.

    Aligned: `out` to 16 bytes, and `first` to the numbers of a thread, so that stores are of 16
    bytes.
    """
    draw = draw_of(kind, dtype)
    make, stored, width, each, blocks = (
        draw.make, draw.stored, draw.width, draw.each, draw.blocks,
    )  # fmt: skip
    items = each * blocks
    size = items * width
    run = 16 // (stored.bitwidth // 8)

    @cuda.jit(device=True)
    def step(k, numbers, block, seed, stream, a, b, c):
        position = block + types.uint64(k)
        words = words_at(position, seed, stream)
        make(numbers, k * each * width, words, position, seed, stream, a, b, c)

    def draw_flat(
        out,  # out (count * width,)
        count,
        first,  # position of the first number
        seed,
        stream,
        a,
        b,
        c,
    ):
        thread = types.int64(cuda.blockIdx.x) * types.int64(THREADS) + types.int64(cuda.threadIdx.x)
        skipped = types.int64(0) if aligned else types.int64(first % types.uint64(each))
        begin = thread * types.int64(items) - skipped
        if begin >= count:
            return
        block = first // types.uint64(each) + types.uint64(thread * types.int64(blocks))
        numbers = cuda.local.array(size, stored)
        step(0, numbers, block, seed, stream, a, b, c)
        if blocks > 1:
            step(1, numbers, block, seed, stream, a, b, c)
        if blocks > 2:
            step(2, numbers, block, seed, stream, a, b, c)
            step(3, numbers, block, seed, stream, a, b, c)
        if blocks > 4:
            step(4, numbers, block, seed, stream, a, b, c)
            step(5, numbers, block, seed, stream, a, b, c)
            step(6, numbers, block, seed, stream, a, b, c)
            step(7, numbers, block, seed, stream, a, b, c)
        if aligned and begin + types.int64(items) <= count:
            for j in range(0, size, run):
                store_run(out, begin * width + j, numbers, j, run)
        else:
            for i in range(items):
                at = begin + i
                if at >= 0 and at < count:
                    for part in range(width):
                        out[at * width + part] = numbers[i * width + part]

    return Kernel(
        draw_flat,
        (draw.pointer, "int64", "uint64", "uint64", "uint64", *[draw.parameter] * 3),
        name=f"random_flat_{kind}_{dtype}_{aligned}",
        threads=THREADS,
        fuse=False,
    )


@functools.cache
def strided(kind: str, dtype: str) -> Kernel:
    """Numbers whose positions follow each other along the last axis, of four.

    A thread draws one block of a line.
    """
    draw = draw_of(kind, dtype)
    make, stored, width, each = draw.make, draw.stored, draw.width, draw.each
    size = each * width

    def draw_strided(
        out,  # out (n0, n1, n2, length) with strides s0 to s3
        n0,
        n1,
        n2,
        length,
        s0,
        s1,
        s2,
        s3,
        p0,  # positions from one number to the next along each axis but the last
        p1,
        p2,
        first,  # position of the first number
        seed,
        stream,
        a,
        b,
        c,
    ):
        thread = types.int64(cuda.blockIdx.x) * types.int64(THREADS) + types.int64(cuda.threadIdx.x)
        pieces = (length + types.int64(2 * each - 2)) // types.int64(each)
        line, piece = thread // pieces, thread % pieces
        i2, rest = line % n2, line // n2
        i1, i0 = rest % n1, rest // n1
        if i0 >= n0:
            return
        start = first + types.uint64(i0 * p0 + i1 * p1 + i2 * p2)
        begin = piece * types.int64(each) - types.int64(start % types.uint64(each))
        if begin >= length:
            return
        position = start // types.uint64(each) + types.uint64(piece)
        numbers = cuda.local.array(size, stored)
        words = words_at(position, seed, stream)
        make(numbers, 0, words, position, seed, stream, a, b, c)
        base = i0 * s0 + i1 * s1 + i2 * s2
        for i in range(each):
            at = begin + i
            if at >= 0 and at < length:
                for part in range(width):
                    out[(base + at * s3) * width + part] = numbers[i * width + part]

    return Kernel(
        draw_strided,
        (
            draw.pointer,
            *["int64"] * 11,
            "uint64",
            "uint64",
            "uint64",
            *[draw.parameter] * 3,
        ),
        name=f"random_strided_{kind}_{dtype}",
        threads=THREADS,
        fuse=False,
    )
