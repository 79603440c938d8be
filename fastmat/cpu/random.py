"""Random numbers by position: uniform, normal, integers, signs.

Number i is made of Philox's words alone: of word i % 4 of block i // 4 where it takes 32 bits, of
two words of block i // 2 where it takes 64. So neither threads nor pieces change it.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.elementary import fma, log, select
from fastmat.core.inline import always_inlined, inlined, overload
from fastmat.core.mathfn import reinterpret
from fastmat.core.philox import philox4x32
from fastmat.core.trigonometry import sincos_turns
from fastmat.cpu.blocking_random import BLOCKS
from fastmat.cpu.draws import draw_types, draw_words, piece_of, plan_of, put, tasks_of
from fastmat.cpu.lines import finish_stores, is_streamed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype

REALS = "float32", "float64"
INTEGERS = "int8", "int16", "int32", "int64"
SIGNED = *INTEGERS, "float16", "bfloat16", *REALS, "complex64", "complex128"

_SINGLE_UNIT = np.float32(2.0**-24)
_SINGLE_WORD = np.float32(2.0**-32)
_HALF = np.float32(0.5)
_MINUS_TWO = np.float32(-2)


def _two_numbers(t):
    return draw_types(t, types.float64, types.float64)


def _three_numbers(t):
    return draw_types(t, types.float64, types.float64, types.float64)


@kernel(_two_numbers, REALS, from_python=True)
def uniform(
    out,  # out (8 axes), not empty
    steps,  # positions from one number to the next along each axis; 1 along the last
    first,  # position of the first number
    seed,
    stream,
    low,
    extent,
):
    """low + extent * u, where u is a multiple of 2**-24 or 2**-53 in [0, 1)."""
    plan = plan_of(out, steps, 16 // out.itemsize)
    count, several, tasks, threads = tasks_of(plan)
    args = out, steps, first, seed, stream, low, extent, plan, count, several
    parallel_for(_uniform, tasks, threads, args)


@task
def _uniform(args, slot, index):
    out, steps, first, seed, stream, low, extent, plan, count, several = args
    words = scratch((4, BLOCKS), types.uint32)
    numbers = scratch(BLOCKS * 4, out.dtype)
    for unit in range(index * several, min((index + 1) * several, count)):
        block, blocks, skipped, line = piece_of(out, steps, first, plan, unit)
        draw_words(words, block, blocks, seed, stream)
        make_uniform(words, numbers, blocks, low, extent)
        put(numbers, skipped, line, is_streamed(out))
    finish_stores(out)


def make_uniform(words, numbers, blocks, low, extent):
    raise TypeError("only for compiled code")


@overload(make_uniform)
def _make_uniform(words, numbers, blocks, low, extent):
    return _uniform_float32 if numbers.dtype == types.float32 else _uniform_float64


def _uniform_float32(words, numbers, blocks, low, extent):
    low, extent = types.float32(low), types.float32(extent)
    for b in range(blocks):
        for w in range(4):
            u = types.float32(types.int32(words[w, b] >> types.uint32(8))) * _SINGLE_UNIT
            numbers[4 * b + w] = fma(u, extent, low)


def _uniform_float64(words, numbers, blocks, low, extent):
    for b in range(blocks):
        for w in range(2):
            high, rest = words[2 * w, b], words[2 * w + 1, b] >> types.uint32(11)
            u = fma(_exactly(high), 2.0**21, _exactly(rest)) * 2.0**-53
            numbers[2 * b + w] = fma(u, extent, low)


@always_inlined
def _exactly(word):
    """A word of 32 bits as a float64, without a conversion: AVX2 has none for vectors of them."""
    return reinterpret(types.uint64(word) | types.uint64(0x433 << 52), types.float64) - 2.0**52


@kernel(_three_numbers, REALS, from_python=True)
def normal(
    out,  # out (8 axes), not empty
    steps,  # positions from one number to the next along each axis; 1 along the last
    first,  # position of the first number
    seed,
    stream,
    even,  # the mean at even positions
    odd,  # the mean at odd ones: complex numbers are pairs
    scale,
):
    """Normal numbers by Box and Muller's method, two neighbours at once."""
    plan = plan_of(out, steps, 16 // out.itemsize)
    count, several, tasks, threads = tasks_of(plan)
    args = out, steps, first, seed, stream, even, odd, scale, plan, count, several
    parallel_for(_normal, tasks, threads, args)


@task
def _normal(args, slot, index):
    out, steps, first, seed, stream, even, odd, scale, plan, count, several = args
    words = scratch((4, BLOCKS), types.uint32)
    numbers = scratch(BLOCKS * 4, out.dtype)
    for unit in range(index * several, min((index + 1) * several, count)):
        block, blocks, skipped, line = piece_of(out, steps, first, plan, unit)
        draw_words(words, block, blocks, seed, stream)
        make_normal(words, numbers, blocks, even, odd, scale)
        put(numbers, skipped, line, is_streamed(out))
    finish_stores(out)


def make_normal(words, numbers, blocks, even, odd, scale):
    raise TypeError("only for compiled code")


@overload(make_normal)
def _make_normal(words, numbers, blocks, even, odd, scale):
    return _normal_float32 if numbers.dtype == types.float32 else _normal_float64


def _normal_float32(words, numbers, blocks, even, odd, scale):
    even, odd, scale = types.float32(even), types.float32(odd), types.float32(scale)
    for b in range(blocks):
        for w in range(0, 4, 2):
            u = (types.float32(words[w, b]) + _HALF) * _SINGLE_WORD
            radius = math.sqrt(_MINUS_TWO * log(u))
            turn = types.float32(types.int32(words[w + 1, b])) * _SINGLE_WORD
            sine, cosine = sincos_turns(turn)
            numbers[4 * b + w] = fma(radius * cosine, scale, even)
            numbers[4 * b + w + 1] = fma(radius * sine, scale, odd)


def _normal_float64(words, numbers, blocks, even, odd, scale):
    for b in range(blocks):
        u = (fma(_exactly(words[0, b]), 2.0**32, _exactly(words[1, b])) + 0.5) * 2.0**-64
        radius = math.sqrt(-2.0 * log(u))
        signed = _exactly(words[2, b] ^ types.uint32(1 << 31)) - 2.0**31
        turn = fma(signed, 2.0**32, _exactly(words[3, b])) * 2.0**-64
        sine, cosine = sincos_turns(turn)
        numbers[2 * b] = fma(radius * cosine, scale, even)
        numbers[2 * b + 1] = fma(radius * sine, scale, odd)


@kernel(lambda t: draw_types(t, types.uint64, types.uint64), INTEGERS, from_python=True)
def integers(
    out,  # out (8 axes), not empty
    steps,  # positions from one number to the next along each axis; 1 along the last
    first,  # position of the first number
    seed,
    stream,
    low,  # modulo 2**64
    extent,  # how many integers there are to draw from; 0 for 2**64
):
    """low + high half of x * extent, where x has 64 random bits.

    Lemire, "Fast random integer generation in an interval", ACM TOMACS 29(1), 2019, algorithm 5:
    a product whose low half is less than 2**64 % extent is drawn again, at the same position.
    """
    plan = plan_of(out, steps, 2)
    count, several, tasks, threads = tasks_of(plan)
    args = out, steps, first, seed, stream, low, extent, plan, count, several
    parallel_for(_integers, tasks, threads, args)


@task
def _integers(args, slot, index):
    out, steps, first, seed, stream, low, extent, plan, count, several = args
    words = scratch((4, BLOCKS), types.uint32)
    numbers = scratch(BLOCKS * 2, sum_dtype(out.dtype))
    zero = types.uint64(0)
    threshold = zero if extent == zero else (zero - extent) % extent
    for unit in range(index * several, min((index + 1) * several, count)):
        block, blocks, skipped, line = piece_of(out, steps, first, plan, unit)
        draw_words(words, block, blocks, seed, stream)
        if make_integers(words, numbers, blocks, low, extent, threshold):
            _draw_again(words, numbers, blocks, low, extent, threshold, (block, seed, stream))
        put(numbers, skipped, line, is_streamed(out))
    finish_stores(out)


@always_inlined
def make_integers(
    words,  # in (4, BLOCKS)
    numbers,  # out (2 * BLOCKS,)
    blocks,
    low,
    extent,
    threshold,
):
    """Integers from the words; whether any is to be drawn again."""
    rejected = types.uint64(0)
    everything = extent == types.uint64(0)
    for b in range(blocks):
        for w in range(2):
            x1, x0 = types.uint64(words[2 * w, b]), types.uint64(words[2 * w + 1, b])
            high, rest = _product(x1, x0, extent)
            drawn = select(everything, x1 << types.uint64(32) | x0, high)
            numbers[2 * b + w] = _wrapped(low + drawn, numbers)
            rejected |= types.uint64(rest < threshold)
    return rejected != types.uint64(0)


def _wrapped(value, numbers):
    raise TypeError("only for compiled code")


@overload(_wrapped)
def _wrapped_integer(value, numbers):
    """The lowest bits of a number of 64 bits."""
    dtype = numbers.dtype
    return lambda value, numbers: dtype(value)


@always_inlined
def _product(x1, x0, extent):
    """High and low half of the product of x1 * 2**32 + x0 and extent."""
    word, half = types.uint64(0xFFFFFFFF), types.uint64(32)
    e1, e0 = extent >> half, extent & word
    p00, p01, p10, p11 = x0 * e0, x0 * e1, x1 * e0, x1 * e1
    middle = (p00 >> half) + (p01 & word) + (p10 & word)
    high = p11 + (p01 >> half) + (p10 >> half) + (middle >> half)
    return high, middle << half | p00 & word


@inlined
def _draw_again(
    words,  # in (4, BLOCKS)
    numbers,  # inout (2 * BLOCKS,)
    blocks,
    low,
    extent,
    threshold,
    key,  # first block, seed, stream
):
    """Further attempts at integers: their number is added to the highest 16 bits of the stream."""
    word, half = types.uint64(0xFFFFFFFF), types.uint64(32)
    first, seed, stream = key
    for b in range(blocks):
        position = first + types.uint64(b)
        for w in range(2):
            x1, x0 = types.uint64(words[2 * w, b]), types.uint64(words[2 * w + 1, b])
            high, rest = _product(x1, x0, extent)
            attempt = types.uint64(0)
            while rest < threshold:
                attempt += types.uint64(1)
                top = stream >> half ^ attempt << types.uint64(16)
                again = philox4x32(
                    position & word, position >> half, stream & word, top, seed & word, seed >> half
                )
                x1, x0 = (again[0], again[1]) if w == 0 else (again[2], again[3])
                high, rest = _product(x1, x0, extent)
            if attempt > types.uint64(0):
                numbers[2 * b + w] = _wrapped(low + high, numbers)


@kernel(draw_types, SIGNED, from_python=True)
def rademacher(
    out,  # out (8 axes), not empty
    steps,  # positions from one number to the next along each axis; 1 along the last
    first,  # position of the first number
    seed,
    stream,
):
    """-1 where the highest bit of a word is set, else 1."""
    plan = plan_of(out, steps, 4)
    count, several, tasks, threads = tasks_of(plan)
    parallel_for(
        _rademacher, tasks, threads, (out, steps, first, seed, stream, plan, count, several)
    )


@task
def _rademacher(args, slot, index):
    out, steps, first, seed, stream, plan, count, several = args
    words = scratch((4, BLOCKS), types.uint32)
    numbers = scratch(BLOCKS * 4, sum_dtype(out.dtype))
    for unit in range(index * several, min((index + 1) * several, count)):
        block, blocks, skipped, line = piece_of(out, steps, first, plan, unit)
        draw_words(words, block, blocks, seed, stream)
        make_signs(words, numbers, blocks)
        put(numbers, skipped, line, is_streamed(out))
    finish_stores(out)


def make_signs(words, numbers, blocks):
    raise TypeError("only for compiled code")


@overload(make_signs)
def _make_signs(words, numbers, blocks):
    dtype = numbers.dtype

    def signs(words, numbers, blocks):
        one, minus_one = dtype(1), dtype(-1)
        for b in range(blocks):
            for w in range(4):
                numbers[4 * b + w] = select(words[w, b] >> types.uint32(31) == 0, one, minus_one)

    return signs
