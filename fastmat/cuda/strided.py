"""Strided access: places of numbers in five axes, and copies to other dtypes and layouts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.kernel import Kernel

AXES = ("int32", "int32", "int32")  # lengths of i, r and q
STRIDES = ("int64",) * 5  # along o, i, p, r and q


@functools.cache
def place_of(depth: int) -> Callable[..., Any]:
    """A device function: coordinates (p, r, q) of number j, of which the last `depth` count."""

    @cuda.jit(device=True, forceinline=True)
    def place(j, r_length, q_length):
        if depth == 1:
            return types.int64(0), types.int64(0), types.int64(j)
        number = types.uint32(j)
        line = number // types.uint32(q_length)
        q = number - line * types.uint32(q_length)
        if depth == 2:
            return types.int64(0), types.int64(line), types.int64(q)
        p = line // types.uint32(r_length)
        r = line - p * types.uint32(r_length)
        return types.int64(p), types.int64(r), types.int64(q)

    return place


def reciprocal(divisor: int) -> tuple[int, int]:
    """Factor and shift with which `quotient` divides, see Granlund and Montgomery, 1994."""
    shift = (divisor - 1).bit_length()
    return ((1 << 32) * ((1 << shift) - divisor)) // divisor + 1, shift


@cuda.jit(device=True, forceinline=True)
def quotient(number, factor, shift):
    """``number // divisor`` for numbers below 2**31."""
    high = (types.uint64(number) * types.uint64(factor)) >> types.uint64(32)
    return types.uint32(types.uint32(high) + number) >> shift


@functools.cache
def cast(source: str, target: str) -> Kernel:
    """Copy to a dtype: `target` is that of `source`, or wide enough to be computed with."""
    read, written = element(source), element(target)
    narrow = written.narrow
    widen = read.widen
    kind = written.number
    moved = source == target

    def cast_items(
        x,  # in (a, b, c, d)
        y,  # out, as x
        size,
        b, c, d,
        x_a, x_b, x_c, x_d,
        y_a, y_b, y_c, y_d,
    ):  # fmt: skip
        j = types.int64(cuda.blockIdx.x) * 256 + cuda.threadIdx.x
        if j >= size:
            return
        rest = j // d
        q = j - rest * d
        m = rest // c
        k = rest - m * c
        n = m // b
        i = m - n * b
        value = x[n * x_a + i * x_b + k * x_c + q * x_d]
        at = n * y_a + i * y_b + k * y_c + q * y_d
        if moved:
            y[at] = value
        else:
            y[at] = narrow(kind(widen(value)))

    arguments = (read.pointer, written.pointer, *["int64"] * 12)
    return Kernel(cast_items, arguments, name=f"cast_items {source} {target}", threads=256)


@functools.cache
def add(dtype: str) -> Kernel:
    """The sum of two arrays."""
    e = element(dtype)
    widen, narrow = e.widen, e.narrow

    def add_items(
        x,  # in (a, b, c, d)
        more,  # in, as x
        y,  # out, as x
        size,
        b, c, d,
        x_a, x_b, x_c, x_d,
        more_a, more_b, more_c, more_d,
        y_a, y_b, y_c, y_d,
    ):  # fmt: skip
        j = types.int64(cuda.blockIdx.x) * 256 + cuda.threadIdx.x
        if j >= size:
            return
        rest = j // d
        q = j - rest * d
        m = rest // c
        k = rest - m * c
        n = m // b
        i = m - n * b
        first = widen(x[n * x_a + i * x_b + k * x_c + q * x_d])
        second = widen(more[n * more_a + i * more_b + k * more_c + q * more_d])
        y[n * y_a + i * y_b + k * y_c + q * y_d] = narrow(first + second)

    arguments = (*[e.pointer] * 3, *["int64"] * 16)
    return Kernel(add_items, arguments, name=f"add_items {dtype}", threads=256)
