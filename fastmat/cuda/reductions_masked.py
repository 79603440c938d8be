"""Reductions as programs for the kernels of `reduced`."""

from __future__ import annotations

import functools
import math

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.reduced import LIMITS, Reduction
from fastmat.cuda.reductions import identity_of, log_sums, merged_moments, plus, symmetric
from fastmat.cuda.reductions_extremes import extreme, extreme_place
from fastmat.cuda.softmax import exponentials, no_exponentials

_INDICES = {"int32": types.int32, "int64": types.int64}


@functools.cache
def program(op: str, dtype: str, index: str) -> Reduction:
    """What a reduction of numbers of a dtype computes.

    `index` is the dtype of how many numbers of a group there are, and of the place of one.
    """
    make = {
        "count": _count,
        "logsumexp": _logsumexp,
        "sum": _sum,
        "mean": _mean,
        "var": functools.partial(_spread, root=False),
        "std": functools.partial(_spread, root=True),
        "min": functools.partial(extreme, largest=False),
        "max": functools.partial(extreme, largest=True),
        "argmin": functools.partial(extreme_place, largest=False),
        "argmax": functools.partial(extreme_place, largest=True),
    }[op]
    made = make(dtype, _INDICES[index])
    return made._replace(name=f"{made.name} {index}")


def _floating(dtype):
    """The type that floats are computed with; float64 for integers."""
    kind = element(dtype).number
    return kind if dtype.startswith(("float", "bfloat", "complex")) else types.float64


@symmetric
@cuda.jit(device=True, forceinline=True)
def _plus_pair(a, b):
    return plus(a[0], b[0]), plus(a[1], b[1])


@symmetric
@cuda.jit(device=True, forceinline=True)
def _plus_triple(a, b):
    return plus(a[0], b[0]), plus(a[1], b[1]), plus(a[2], b[2])


def _tree(number, held):
    """A device function: the sum of a local array of numbers, which it changes."""

    @cuda.jit(device=True, forceinline=True)
    def total(a):
        found = a[0]
        for k in range(1, held):
            found = plus(found, a[k])
        return found

    return total


def _count(dtype, index):
    def summary(held, width, run):
        total = _tree(index, held)

        @cuda.jit(device=True, forceinline=True)
        def count(a, here, first, thread):
            return total(a)

        return count

    @cuda.jit(device=True, forceinline=True)
    def finish(state, repeated, unused, given):
        return state * repeated, True

    return Reduction(
        f"count {dtype}", index, 0, 1, identity_of(index(0)), summary, plus, finish, "int64"
    )


def _logsumexp(dtype, index):
    number = _floating(dtype)
    infinite, lowest = number(math.inf), number(-math.inf)

    def summary(held, width, run):
        of = exponentials(number, held, False, True)

        @cuda.jit(device=True, forceinline=True)
        def summarize(a, here, first, thread):
            return of(a, a)

        return summarize

    @cuda.jit(device=True, forceinline=True)
    def finish(state, unused, too, given):
        most = state[0]
        if most == infinite or most == lowest:
            return most, True
        return most + math.log(state[1]), True

    return Reduction(
        f"logsumexp {dtype}", number, -math.inf, 2, no_exponentials(number), summary,
        log_sums(number), finish,
    )  # fmt: skip


def _sum(dtype, index):
    if dtype.startswith("complex"):
        return _complex_sum(dtype, index)
    number = types.uint64 if dtype.startswith("uint") else types.int64
    if "float" in dtype:
        number = element(dtype).number

    def summary(held, width, run):
        total = _tree(number, held)

        @cuda.jit(device=True, forceinline=True)
        def add_up(a, here, first, thread):
            return total(a)

        return add_up

    @cuda.jit(device=True, forceinline=True)
    def finish(state, start, unused, given):
        return state + start, True

    return Reduction(
        f"sum {dtype}", number, 0, 1, identity_of(number(0)), summary, plus, finish, number.name
    )


def _complex_sum(dtype, index):
    number = element(dtype).number
    part = number.underlying_float
    zero = part(0)

    def summary(held, width, run):
        @cuda.jit(device=True, forceinline=True)
        def add_up(a, here, first, thread):
            real, imaginary = a[0].real, a[0].imag
            for k in range(1, held):
                real += a[k].real
                imaginary += a[k].imag
            return real, imaginary

        return add_up

    @cuda.jit(device=True, forceinline=True)
    def finish(state, start, imaginary, given):
        return complex(state[0] + start, state[1] + imaginary), True

    return Reduction(
        f"sum {dtype}",
        number,
        0,
        2,
        identity_of(zero, zero),
        summary,
        _plus_pair,
        finish,
        part.name,
    )


def _mean(dtype, index):
    if dtype.startswith("complex"):
        return _complex_mean(dtype, index)
    floating = _floating(dtype)
    number = floating if "float" in dtype or dtype.endswith("64") else types.int64

    def summary(held, width, run):
        total = _tree(number, held)

        @cuda.jit(device=True, forceinline=True)
        def add_up(a, here, first, thread):
            count = types.int32(0)
            for k in range(held):
                count += types.int32(1) if here[k] else types.int32(0)
            return total(a), index(count)

        return add_up

    @cuda.jit(device=True, forceinline=True)
    def finish(state, unused, too, given):
        return floating(state[0]) / floating(state[1]), True

    return Reduction(
        f"mean {dtype}", number, 0, 2, identity_of(number(0), index(0)), summary,
        _plus_pair, finish,
    )  # fmt: skip


def _complex_mean(dtype, index):
    number = element(dtype).number
    part = number.underlying_float
    zero = part(0)

    def summary(held, width, run):
        @cuda.jit(device=True, forceinline=True)
        def add_up(a, here, first, thread):
            real, imaginary = zero, zero
            count = types.int32(0)
            for k in range(held):
                real += a[k].real
                imaginary += a[k].imag
                count += types.int32(1) if here[k] else types.int32(0)
            return real, imaginary, index(count)

        return add_up

    @cuda.jit(device=True, forceinline=True)
    def finish(state, unused, too, given):
        count = part(state[2])
        return complex(state[0] / count, state[1] / count), True

    return Reduction(
        f"mean {dtype}", number, 0, 3, identity_of(zero, zero, index(0)), summary,
        _plus_triple, finish,
    )  # fmt: skip


def _deviation(number, root):
    """The `finish` of variance and standard deviation."""
    zero = number(0)

    @cuda.jit(device=True, forceinline=True)
    def spread(count, total, correction):
        left = number(count) - correction
        found = total / (left if left > zero else zero)
        if root:
            found = math.sqrt(found)
        return found if count > 0 else number(math.nan)

    return spread


def _spread(dtype, index, root):
    if dtype.startswith("complex"):
        return _complex_spread(dtype, index, root)
    number = _floating(dtype)
    zero, one = number(0), number(1)
    spread = _deviation(number, root)

    def summary(held, width, run):
        total = _tree(number, held)

        @cuda.jit(device=True, forceinline=True)
        def measure(a, here, first, thread):
            counted = cuda.local.array(held, number)
            count = zero
            for k in range(held):
                counted[k] = one if here[k] else zero
                count += counted[k]
            mean = total(a) / max(count, one)
            squares = zero
            for k in range(held):
                apart = a[k] - mean
                squares += counted[k] * apart * apart
            return index(count), mean, squares

        return measure

    @cuda.jit(device=True, forceinline=True)
    def finish(state, correction, unused, given):
        return spread(state[0], state[2], correction), True

    return Reduction(
        f"{'std' if root else 'var'} {dtype}", number, 0, 3,
        identity_of(index(0), zero, zero), summary, merged_moments(number), finish,
        number.name, LIMITS._replace(halves=16),  # what is counted takes registers, too
    )  # fmt: skip


def _complex_spread(dtype, index, root):
    number = element(dtype).number
    part = number.underlying_float
    zero = part(0)
    spread = _deviation(part, root)

    def summary(held, width, run):
        @cuda.jit(device=True, forceinline=True)
        def measure(a, here, first, thread):
            count = types.int32(0)
            real, imaginary = zero, zero
            for k in range(held):
                count += types.int32(1) if here[k] else types.int32(0)
                real += a[k].real
                imaginary += a[k].imag
            real /= part(max(count, types.int32(1)))
            imaginary /= part(max(count, types.int32(1)))
            squares = zero
            for k in range(held):
                if here[k]:
                    x, y = a[k].real - real, a[k].imag - imaginary
                    squares += x * x + y * y
            return index(count), real, imaginary, squares

        return measure

    @cuda.jit(device=True, forceinline=True)
    def identity():
        return index(0), zero, zero, zero

    @cuda.jit(device=True, forceinline=True)
    def combine(a, b):
        count = plus(a[0], b[0])
        share = zero if b[0] == 0 else part(b[0]) / part(count)
        real, imaginary = b[1] - a[1], b[2] - a[2]
        apart = (real * real + imaginary * imaginary) * share * part(a[0])
        return count, a[1] + real * share, a[2] + imaginary * share, a[3] + b[3] + apart

    @cuda.jit(device=True, forceinline=True)
    def finish(state, correction, unused, given):
        return spread(state[0], state[3], correction), True

    return Reduction(
        f"{'std' if root else 'var'} {dtype}", number, 0, 4, identity, summary, combine, finish,
        part.name,
    )  # fmt: skip
