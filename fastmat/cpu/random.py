"""Random numbers by position: uniform, normal.

Number i is made of Philox's words alone: of word i % 4 of block i // 4 where it takes 32 bits, of
two words of block i // 2 where it takes 64. So neither threads nor pieces change it.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.elementary import fma, log
from fastmat.core.inline import always_inlined, overload
from fastmat.core.mathfn import reinterpret
from fastmat.core.trigonometry import sincos_turns
from fastmat.cpu.blocking_random import BLOCKS
from fastmat.cpu.draws import draw_types, draw_words, piece_of, plan_of, put, tasks_of
from fastmat.cpu.lines import finish_stores, is_streamed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch

REALS = "float32", "float64"

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
