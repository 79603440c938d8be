"""Extremes and their places, as programs for the kernels of `reduced`."""

from __future__ import annotations

import math

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.reduced import Reduction
from fastmat.cuda.reductions import (
    all_at_once,
    identity_of,
    lanes_reduce,
    larger,
    smaller,
    symmetric,
)
from fastmat.cuda.rows import place


def _ordered(dtype, largest):
    """The type in which numbers are compared, of 32 or 64 bits, and the last of its numbers."""
    if "float" in dtype:
        return element(dtype).number, -math.inf if largest else math.inf
    bits = 64 if dtype.endswith("64") else 32
    if dtype.startswith("uint"):
        return (types.uint64 if bits == 64 else types.uint32), 0 if largest else 2**bits - 1
    number = types.int64 if bits == 64 else types.int32
    return number, -(2 ** (bits - 1)) if largest else 2 ** (bits - 1) - 1


def extreme(dtype, index, largest):
    """The program of the largest or the smallest number."""
    number, last = _ordered(dtype, largest)
    better = larger if largest else smaller
    worst = number(last)

    def summary(held, width, run):
        @cuda.jit(device=True, forceinline=True)
        def best(a, here, first, thread):
            value, found = a[0], types.int32(0)
            for k in range(1, held):
                value = better(value, a[k])
            for e in range(run):  # so that words of four are joined first
                for k in range(e, held, run):
                    found = types.int32(found | here[k])
            return value, found

        return best

    @symmetric
    @cuda.jit(device=True, forceinline=True)
    def combine(a, b):
        return better(a[0], b[0]), types.int32(a[1] | b[1])

    @cuda.jit(device=True, forceinline=True)
    def finish(state, start, unused, given):
        value, found = state
        if not given:
            return value, found != 0
        if start != start or not found:
            return start, True
        return better(value, start), True

    return Reduction(
        f"{'max' if largest else 'min'} {dtype}", number, last, 2,
        identity_of(worst, types.int32(0)), summary, combine, finish, number.name,
    )  # fmt: skip


def extreme_place(dtype, index, largest):
    """The program of the place of the first of them."""
    number, last = _ordered(dtype, largest)
    worst, nowhere = number(last), index(index.maxval)

    better = larger if largest else smaller

    def summary(held, width, run):
        @cuda.jit(device=True, forceinline=True)
        def first_extreme(a, here, first, thread):
            value, at = a[0], types.int32(-1)
            for k in range(1, held):
                value = better(value, a[k])
            if value == worst or value != value:
                # What is masked is the worst, too, and NaN equals nothing.
                for k in range(held - 1, -1, -1):
                    if (here[k] != 0) & ((a[k] != a[k]) | (value == worst)):
                        at = types.int32(k)
            else:
                for k in range(held - 1, -1, -1):
                    at = types.int32(k) if a[k] == value else at
            found = index(first + place(thread, at, width, run))
            return value, found if at >= 0 else nowhere

        return first_extreme

    @cuda.jit(device=True, forceinline=True)
    def among(value, best, at):
        return at if (value == best) | (value != value) else nowhere

    @symmetric
    @cuda.jit(device=True, forceinline=True)
    def combine(a, b):
        best = better(a[0], b[0])
        return best, smaller(among(a[0], best, a[1]), among(b[0], best, b[1]))

    def together(width):
        extreme, first = lanes_reduce(better, width), lanes_reduce(smaller, width)

        @cuda.jit(device=True, forceinline=True)
        def reduce(state):
            best = extreme(state[0])
            return best, first(among(state[0], best, state[1]))

        return reduce

    all_at_once(combine, together)

    @cuda.jit(device=True, forceinline=True)
    def finish(state, unused, too, given):
        return state[1], state[1] != nowhere

    return Reduction(
        f"{'argmax' if largest else 'argmin'} {dtype}", number, last, 2,
        identity_of(worst, nowhere), summary, combine, finish, "int64",
    )  # fmt: skip
