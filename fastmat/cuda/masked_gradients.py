"""Gradients of masked reductions as programs for the kernels of `mapped`.

What is given of a group is the cotangent, for extremes the result, and the correction.
"""

from __future__ import annotations

import functools
import math

from numba import cuda, types

from fastmat.cuda.mapped import Program
from fastmat.cuda.reductions import plus
from fastmat.cuda.row_shapes import Limits

_FEWER = Limits(held=16, halves=16)  # moments and mask take registers, too


@functools.cache
def program(op: str, number: str) -> Program:
    """The gradient of a reduction, in float32 or float64."""
    make = {
        "mean": _mean,
        "var": functools.partial(_spread, root=False),
        "std": functools.partial(_spread, root=True),
        "extreme": _extreme,
    }
    return make[op](getattr(types, number))


@cuda.jit(device=True, forceinline=True)
def _nothing():
    return types.int64(0)


def _mean(number):
    def summary_of(held):
        @cuda.jit(device=True, forceinline=True)
        def count(a, here, given):
            found = types.int32(0)
            for k in range(held):
                found += types.int32(1) if here[k] else types.int32(0)
            return types.int64(found)

        return count

    @cuda.jit(device=True, forceinline=True)
    def share(state, given):
        return given[0] / number(max(state, types.int64(1)))

    @cuda.jit(device=True, forceinline=True)
    def apply(x, unused, found):
        return found

    return Program(
        "masked_mean_vjp", number, (0.0, 0.0), 0.0, 1, _nothing, summary_of, plus,
        None, apply, share, apply, of_groups=True, reads=False,
    )  # fmt: skip


def _equal_or_nan(number):
    zero = number(0)

    @cuda.jit(device=True, forceinline=True)
    def equal(x, y):
        # Without `and` and `or`, which become branches.
        return (x == y) | ((x != x) & (y != y))

    @cuda.jit(device=True, forceinline=True)
    def share(x, unused, found):
        return found[1] if equal(x, found[0]) else zero

    return equal, share


def _extreme(number):
    equal, apply = _equal_or_nan(number)

    def summary_of(held):
        @cuda.jit(device=True, forceinline=True)
        def ties(a, here, given):
            found = types.int32(0)
            for k in range(held):
                tie = (here[k] != 0) & equal(a[k], given[1])
                found += types.int32(1) if tie else types.int32(0)
            return types.int64(found)

        return ties

    @cuda.jit(device=True, forceinline=True)
    def prepare(state, given):
        return given[1], given[0] / number(max(state, types.int64(1)))

    return Program(
        "masked_extreme_vjp", number, (0.0, 0.0), 0.0, 1, _nothing, summary_of, plus,
        None, apply, prepare, apply, of_groups=True,
    )  # fmt: skip


def _moments(number):
    """Identity, summary and combine of (count, mean, sum of squares of deviations from it).

    Unlike those of `reductions` they are exact where all numbers are equal: their mean is that
    number, and the sum 0.
    """
    zero = number(0)

    @cuda.jit(device=True, forceinline=True)
    def identity():
        return types.int64(0), zero, zero

    def summary_of(held):
        @cuda.jit(device=True, forceinline=True)
        def measure(a, here, given):
            count = types.int32(0)
            base = zero
            for k in range(held):
                count += types.int32(1) if here[k] else types.int32(0)
                base = a[k] if here[k] else base
            apart = zero
            for k in range(held):
                apart += a[k] - base if here[k] else zero
            mean = base + apart / number(max(count, types.int32(1)))
            squares = zero
            for k in range(held):
                off = a[k] - mean if here[k] else zero
                squares += off * off
            return types.int64(count), mean, squares

        return measure

    @cuda.jit(device=True, forceinline=True)
    def combine(a, b):
        count = a[0] + b[0]
        share = number(b[0]) / number(max(count, types.int64(1)))
        apart = b[1] - a[1]
        mean = a[1] + apart * share
        squares = a[2] + b[2] + apart * apart * share * number(a[0])
        if b[0] == 0:
            mean, squares = a[1], a[2]
        if a[0] == 0:
            mean, squares = b[1], b[2]
        return count, mean, squares

    return identity, summary_of, combine


def _spread(number, root):
    identity, summary_of, combine = _moments(number)
    zero, two = number(0), number(2)

    @cuda.jit(device=True, forceinline=True)
    def prepare(state, given):
        count, mean, squares = state
        left = number(count) - given[2]
        left = left if left > zero else zero
        if not root:
            return mean, given[0] * (two / left)
        factor = given[0] / (left * math.sqrt(squares / left))
        return mean, zero if squares == zero else factor

    @cuda.jit(device=True, forceinline=True)
    def apply(x, unused, found):
        return (x - found[0]) * found[1]

    return Program(
        "masked_std_vjp" if root else "masked_var_vjp", number, (0.0, 0.0), 0.0, 3, identity,
        summary_of, combine, None, apply, prepare, apply, of_groups=True, limits=_FEWER,
    )  # fmt: skip
