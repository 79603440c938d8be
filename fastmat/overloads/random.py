"""`uniform`, `standard_normal`, `normal`, `integers` and `rademacher` inside ``@njit``."""

import math

import numpy as np
from numba import types
from numba.core import errors
from numba.extending import overload

from fastmat.core.dtypes import kernel_name
from fastmat.core.inline import inlined
from fastmat.cpu import random as kernels
from fastmat.ops import random as ops
from fastmat.ops.draws import FLOATING, REAL
from fastmat.ops.random import INTEGERS, NUMBERS
from fastmat.overloads.draws import chosen_dtype, drawer, integer_type, real_number
from fastmat.overloads.typing import given


@overload(ops.uniform, prefer_literal=True)
def _uniform(
    low=0.0,
    high=1.0,
    size=None,
    dtype=None,
    out=None,
    rng=None,
    stream=0,
    offset=0,
    whole=None,
):
    kind = chosen_dtype(dtype, out, "float64", REAL)
    real_number(low, "low")
    real_number(high, "high")
    draw = drawer(kernels.uniform, kind.name, kind, size, out, rng, stream, offset, whole)
    check = _bounds(kind)

    def uniform(
        low=0.0,
        high=1.0,
        size=None,
        dtype=None,
        out=None,
        rng=None,
        stream=0,
        offset=0,
        whole=None,
    ):
        bounds = check(np.float64(low), np.float64(high))
        return draw(size, out, rng, stream, offset, whole, bounds)

    return uniform


def _bounds(dtype):
    item = getattr(types, dtype.name)

    def bounds(low, high):
        if not (math.isfinite(item(low)) and math.isfinite(item(high - low))):
            raise ValueError("low, high and their distance must be finite")
        if high < low:
            raise ValueError("high must not be less than low")
        return low, high - low

    return inlined(bounds)


def _normal_drawer(dtype, size, out, rng, stream, offset, whole):
    """The dtype, and a function that draws, of pairs of real numbers for complex ones."""
    kind = chosen_dtype(dtype, out, "float64", FLOATING)
    element = np.empty(0, kind).real.dtype.name
    return kind, drawer(kernels.normal, element, kind, size, out, rng, stream, offset, whole)


@overload(ops.standard_normal, prefer_literal=True)
def _standard_normal(size=None, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None):
    kind, draw = _normal_drawer(dtype, size, out, rng, stream, offset, whole)
    moments = (0.0, 0.0, math.sqrt(0.5) if kind.kind == "c" else 1.0)

    def standard_normal(size=None, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None):
        return draw(size, out, rng, stream, offset, whole, moments)

    return standard_normal


@overload(ops.normal, prefer_literal=True)
def _normal(
    loc=0.0,
    scale=1.0,
    size=None,
    dtype=None,
    out=None,
    rng=None,
    stream=0,
    offset=0,
    whole=None,
):
    kind, draw = _normal_drawer(dtype, size, out, rng, stream, offset, whole)
    real_number(scale, "scale")
    if kind.kind == "c" and isinstance(loc, types.Complex):
        parts = inlined(lambda loc: (np.float64(loc.real), np.float64(loc.imag)))
    else:
        real_number(loc, "loc")
        if kind.kind == "c":
            parts = inlined(lambda loc: (np.float64(loc), 0.0))
        else:
            parts = inlined(lambda loc: (np.float64(loc), np.float64(loc)))
    factor = math.sqrt(0.5) if kind.kind == "c" else 1.0

    def normal(
        loc=0.0,
        scale=1.0,
        size=None,
        dtype=None,
        out=None,
        rng=None,
        stream=0,
        offset=0,
        whole=None,
    ):
        if not scale >= 0:
            raise ValueError("scale must be at least 0")
        even, odd = parts(loc)
        moments = (even, odd, np.float64(scale) * factor)
        return draw(size, out, rng, stream, offset, whole, moments)

    return normal


@overload(ops.integers, prefer_literal=True)
def _integers(
    low,
    high=None,
    size=None,
    dtype=None,
    endpoint=False,
    out=None,
    rng=None,
    stream=0,
    offset=0,
    whole=None,
):
    kind = chosen_dtype(dtype, out, "int64", INTEGERS)
    integer_type(low, "low")
    if given(high):
        integer_type(high, "high")
        bounds = inlined(lambda low, high: (_signed(low), _signed(high)))
    else:
        bounds = inlined(lambda low, high: ((False, np.uint64(0)), _signed(low)))
    if not isinstance(getattr(endpoint, "value", endpoint), bool | types.Boolean):
        raise errors.TypingError(f"endpoint is of type {endpoint}; it must be a bool")
    element = f"int{8 * kind.itemsize}"
    draw = drawer(kernels.integers, element, kind, size, out, rng, stream, offset, whole)
    limits = _limits(kind)

    def integers(
        low,
        high=None,
        size=None,
        dtype=None,
        endpoint=False,
        out=None,
        rng=None,
        stream=0,
        offset=0,
        whole=None,
    ):
        least, top = bounds(low, high)
        found = limits(least, top if endpoint else _before(top))
        return draw(size, out, rng, stream, offset, whole, found)

    return integers


# An integer of either sign: whether it is negative, and its value modulo 2**64.


@inlined
def _signed(number):
    return number < 0, np.uint64(number)


@inlined
def _before(number):
    negative, value = number
    return negative or value == np.uint64(0), value - np.uint64(1)


@inlined
def _less(x, y):
    return x[0] if x[0] != y[0] else x[1] < y[1]


def _limits(dtype):
    """A function (least, most) of the least integer and of how many there are, modulo 2**64."""
    if dtype == np.bool_:
        first, last = 0, 1
    else:
        first, last = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    smallest = first < 0, np.uint64(first % 2**64)
    largest = False, np.uint64(last)
    message = f"{dtype} has integers from {first} to {last} only; low or high is out of range"

    def limits(least, most):
        if _less(most, least):
            raise ValueError("there are no integers between low and high")
        if _less(least, smallest) or _less(largest, most):
            raise ValueError(message)
        return least[1], most[1] - least[1] + np.uint64(1)

    return inlined(limits)


@overload(ops.rademacher, prefer_literal=True)
def _rademacher(size=None, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None):
    kind = chosen_dtype(dtype, out, "float64", NUMBERS)
    draw = drawer(
        kernels.rademacher, kernel_name(kind), kind, size, out, rng, stream, offset, whole
    )
    nothing = ()

    def rademacher(size=None, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None):
        return draw(size, out, rng, stream, offset, whole, nothing)

    return rademacher
