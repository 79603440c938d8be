"""Softmax and its kin as programs for the kernels of `mapped` and `reduced`."""

from __future__ import annotations

import functools
import math

from numba import cuda, types
from numba.cuda import libdevice

from fastmat.cuda.mapped import Program
from fastmat.cuda.reductions import larger, log_sums, plus
from fastmat.cuda.row_shapes import LIMITS

_NUMBERS = {"float32": types.float32, "float64": types.float64}


@functools.cache
def program(op, number):
    """What an operation computes, in float32 or float64."""
    make = {
        "softmax": _softmax,
        "log_softmax": _log_softmax,
        "softmax_vjp": _softmax_vjp,
        "log_softmax_vjp": _log_softmax_vjp,
    }
    return make[op](_NUMBERS[number])


@functools.cache
def exponentials(number, held, stored, nan=False):
    """A device function (a, b) -> (largest, sum of exponentials of what is less by how much).

    The exponentials are left in `a` if they are to be `stored`. With `nan` the largest is NaN
    where there is one.
    """
    lowest, zero = number(-math.inf), number(0)
    if nan:
        top = larger
    else:  # passes over NaN, which the sum then is
        top = libdevice.fmaxf if number is types.float32 else libdevice.fmax

    @cuda.jit(device=True, forceinline=True)
    def summary(a, b):
        most = a[0]
        for k in range(1, held):
            most = top(most, a[k])
        base = zero if most == lowest else most
        total = zero
        for k in range(held):
            power = math.exp(a[k] - base)
            total += power
            if stored:
                a[k] = power
        return most, total

    return summary


@functools.cache
def no_exponentials(number):
    """A device function () -> the state of no numbers."""
    lowest, zero = number(-math.inf), number(0)

    @cuda.jit(device=True, forceinline=True)
    def identity():
        return lowest, zero

    return identity


def _softmax(number):
    lowest, zero, one = number(-math.inf), number(0), number(1)

    @cuda.jit(device=True, forceinline=True)
    def prepare(own, state):
        base = zero if state[0] == lowest else state[0]
        return math.exp(own[0] - base) * (one / state[1])

    @cuda.jit(device=True, forceinline=True)
    def apply(power, unused, factor):
        return power * factor

    @cuda.jit(device=True, forceinline=True)
    def prepare_anew(state):
        base = zero if state[0] == lowest else state[0]
        return base, one / state[1]

    @cuda.jit(device=True, forceinline=True)
    def apply_anew(x, unused, found):
        return math.exp(x - found[0]) * found[1]

    return Program(
        "softmax", number, (-math.inf, 0.0), 0.0, 2, no_exponentials(number),
        functools.partial(exponentials, number, stored=True), log_sums(number),
        prepare, apply, prepare_anew, apply_anew,
    )  # fmt: skip


def _log_softmax(number):
    lowest, zero = number(-math.inf), number(0)

    @cuda.jit(device=True, forceinline=True)
    def prepare_anew(state):
        base = zero if state[0] == lowest else state[0]
        return base, math.log(state[1])

    @cuda.jit(device=True, forceinline=True)
    def prepare(own, state):
        return prepare_anew(state)

    @cuda.jit(device=True, forceinline=True)
    def apply(x, unused, found):
        return (x - found[0]) - found[1]

    return Program(
        "log_softmax", number, (-math.inf, 0.0), -math.inf, 2, no_exponentials(number),
        functools.partial(exponentials, number, stored=False), log_sums(number),
        prepare, apply, prepare_anew, apply, limits=LIMITS._replace(halves=16),
    )  # fmt: skip


def _sum_of(number, term):
    """The parts of a program whose state is the sum of a term ``(a[k], b[k])``."""
    zero = number(0)

    def summary_of(held):
        @cuda.jit(device=True, forceinline=True)
        def summary(a, b):
            total = zero
            for k in range(held):
                total += term(a[k], b[k])
            return total

        return summary

    @cuda.jit(device=True, forceinline=True)
    def identity():
        return zero

    @cuda.jit(device=True, forceinline=True)
    def prepare(own, state):
        return state

    @cuda.jit(device=True, forceinline=True)
    def prepare_anew(state):
        return state

    return identity, summary_of, prepare, prepare_anew


def _softmax_vjp(number):
    @cuda.jit(device=True, forceinline=True)
    def term(result, cotangent):
        return result * cotangent

    @cuda.jit(device=True, forceinline=True)
    def apply(result, cotangent, total):
        return result * (cotangent - total)

    identity, summary, prepare, prepare_anew = _sum_of(number, term)
    return Program(
        "softmax_vjp", number, (0.0, 0.0), 0.0, 1, identity, summary, plus,
        prepare, apply, prepare_anew, apply,
    )  # fmt: skip


def _log_softmax_vjp(number):
    @cuda.jit(device=True, forceinline=True)
    def term(result, cotangent):
        return cotangent

    @cuda.jit(device=True, forceinline=True)
    def apply(result, cotangent, total):
        return cotangent - math.exp(result) * total

    identity, summary, prepare, prepare_anew = _sum_of(number, term)
    return Program(
        "log_softmax_vjp", number, (0.0, 0.0), 0.0, 1, identity, summary, plus,
        prepare, apply, prepare_anew, apply,
    )  # fmt: skip
