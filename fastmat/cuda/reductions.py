"""Reductions within a warp and within a block, in a fixed order, for any combine function.

A state is a number of 32 or 64 bits, or a tuple of them. ``combine(a, b)`` is a device function
that makes one state of two, of which `a` comes from the lower lanes.

`combine` may be `symmetric`: its result has the same bits if a and b are exchanged.

``lanes_reduce(combine, width)`` is a device function ``reduce(state)``: the result for each group
    of `width` neighbouring lanes, in all of its lanes, the same bits. All lanes of the warp must
    call it.
``block_reduce(combine, threads)`` is a device function ``reduce(state, words)``: the result for
    all threads of the block, in all of them (or, if not `everywhere`, in those of the first
    warp), the same bits. `words` is an array in shared memory
    of uint64, ``block_words(threads, numbers)`` long. It has one barrier (none for one warp), so
    that nobody may write to `words` before the next one: a loop that reduces must alternate
    between two such arrays.
``down_reduce(combine, lanes, rows)`` reduces down the columns of a block ``(rows, lanes)``.

Ready-made combine functions: `plus`, `larger`, `smaller` (NaN wins both), and, for a Numba type
float32 or float64, ``log_sums(number)`` of ``(largest, sum of exponentials)`` and
``merged_moments(number)`` of ``(count, mean, sum of squares of deviations)``.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import cuda

from fastmat.cuda.intrinsics import max_or_nan, min_or_nan, sum_of
from fastmat.cuda.intrinsics_states import exchanged, keep, kept

WARP = 32

_SYMMETRIC = set()
_ALL_AT_ONCE = {}


def symmetric(combine):
    """Say of a combine function that a and b may be exchanged."""
    _SYMMETRIC.add(combine)
    return combine


def all_at_once(combine, reduce):
    """Give a combine function another way to reduce lanes, in fewer steps than two by two.

    ``reduce(width)`` makes what ``lanes_reduce(combine, width)`` is to be.
    """
    _ALL_AT_ONCE[combine] = reduce


@functools.cache
def lanes_reduce(combine, width=WARP):
    """A device function: the result of `width` lanes (a power of two up to 32) in all of them."""
    assert width in (1, 2, 4, 8, 16, 32)
    if combine in _ALL_AT_ONCE:
        return _ALL_AT_ONCE[combine](width)
    either_way = combine in _SYMMETRIC

    @cuda.jit(device=True, forceinline=True)
    def reduce(state):
        distance = 1
        while distance < width:
            other = exchanged(state, distance)
            if either_way or cuda.threadIdx.x & distance == 0:
                state = combine(state, other)
            else:
                state = combine(other, state)
            distance <<= 1
        return state

    return reduce


def block_words(threads, numbers):
    """How many words of shared memory `block_reduce` takes for states of so many numbers."""
    return max(threads // WARP, 1) * numbers


@functools.cache
def block_reduce(combine, threads, everywhere=True):
    """A device function: the result of all threads (32 times a power of two) in all of them.

    If not `everywhere`, only the threads of the first warp get it.
    """
    warps = threads // WARP
    assert warps * WARP == threads
    assert warps & (warps - 1) == 0
    in_warp = lanes_reduce(combine)
    among_warps = lanes_reduce(combine, warps)
    mask = warps - 1

    @cuda.jit(device=True, forceinline=True)
    def reduce(state, words):
        state = in_warp(state)
        if warps > 1:
            thread = cuda.threadIdx.x
            if thread & 31 == 0:
                keep(words, thread >> 5, state)
            cuda.syncthreads()
            if everywhere or thread < WARP:
                state = among_warps(kept(words, thread & mask, state))
        return state

    return reduce


@functools.cache
def down_reduce(combine, lanes, rows):
    """A device function ``reduce(state, words)`` for a block of threads ``(rows, lanes)``.

    All threads of a column get its result. `rows` is a power of two; `words` is ``rows * lanes *
    numbers`` long, and free again after the next barrier.
    """
    assert rows & (rows - 1) == 0

    @cuda.jit(device=True, forceinline=True)
    def reduce(state, words):
        if rows > 1:
            thread = cuda.threadIdx.x
            keep(words, thread, state)
            distance = rows >> 1
            while distance > 0:
                cuda.syncthreads()
                if thread < distance * lanes:
                    state = combine(state, kept(words, thread + distance * lanes, state))
                    keep(words, thread, state)
                distance >>= 1
            cuda.syncthreads()
            state = kept(words, thread % lanes, state)
        return state

    return reduce


@symmetric
@cuda.jit(device=True, forceinline=True)
def plus(a, b):
    """The sum."""
    return sum_of(a, b)


@symmetric
@cuda.jit(device=True, forceinline=True)
def larger(a, b):
    """The larger number; NaN if there is one."""
    return max_or_nan(a, b)


@symmetric
@cuda.jit(device=True, forceinline=True)
def smaller(a, b):
    """The smaller number; NaN if there is one."""
    return min_or_nan(a, b)


@functools.cache
def log_sums(number):
    """Of states (largest number, sum of the exponentials of all numbers less the largest)."""
    lowest, zero = number(-np.inf), number(0)

    @cuda.jit(device=True, forceinline=True)
    def combine(a, b):
        most = larger(a[0], b[0])
        base = zero if most == lowest else most
        return most, a[1] * math.exp(a[0] - base) + b[1] * math.exp(b[0] - base)

    def together(width):
        top, total = lanes_reduce(larger, width), lanes_reduce(plus, width)

        @cuda.jit(device=True, forceinline=True)
        def reduce(state):
            most = top(state[0])
            base = zero if most == lowest else most
            return most, total(state[1] * math.exp(state[0] - base))

        return reduce

    all_at_once(combine, together)
    return combine


@functools.cache
def merged_moments(number):
    """Of states (how many, their mean, sum of squares of deviations from it), as Chan et al.

    Where nothing is counted, mean and sum must be 0.
    """
    zero, one = number(0), number(1)

    @cuda.jit(device=True, forceinline=True)
    def combine(a, b):
        count = plus(a[0], b[0])
        share = zero if b[0] == 0 else number(b[0]) / number(count)
        apart = b[1] - a[1]
        mean = a[1] + apart * share
        return count, mean, a[2] + b[2] + apart * apart * share * number(a[0])

    def together(width):
        total = lanes_reduce(plus, width)

        @cuda.jit(device=True, forceinline=True)
        def reduce(state):
            count = total(state[0])
            own = number(state[0])
            mean = total(own * state[1]) / max(number(count), one)
            apart = state[1] - mean
            return count, mean, total(state[2] + own * apart * apart)

        return reduce

    all_at_once(combine, together)
    return combine


def identity_of(*state):
    """A device function () -> the state of nothing."""
    if len(state) == 1:
        (one,) = state

        @cuda.jit(device=True, forceinline=True)
        def identity():
            return one

    elif len(state) == 2:
        first, second = state

        @cuda.jit(device=True, forceinline=True)
        def identity():
            return first, second

    else:
        first, second, third = state

        @cuda.jit(device=True, forceinline=True)
        def identity():
            return first, second, third

    return identity
