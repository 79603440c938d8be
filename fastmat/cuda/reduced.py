"""Kernels that make one number of each group: in one pass over memory, masked or not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_states import keep, kept
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.reductions import WARP
from fastmat.cuda.row_shapes import BLOCK, LANES, NO_MASK, Limits, Shape
from fastmat.cuda.rows import locator, mask_loader, offsets, reducer, row_loader

LIMITS = Limits(held=16, threads=512)


class Reduction(NamedTuple):
    """What is made of a group, in device functions.

    `a` is a local array of the numbers of a thread, in which what is masked, or beyond the end of
    a row, is `fill`, and `here` says what is not (only where there is a mask).
    """

    name: str
    number: Any  # the Numba type that is computed with
    fill: Any
    numbers: int  # of a state
    identity: Callable[[], Any]  # the state of nothing
    summary: Callable[[int, int, int], Any]  # held, width, run -> (a, here, first, thread) -> state
    combine: Callable[[Any, Any], Any]  # (state, state) -> state
    finish: Callable[..., Any]  # (state, parameter, imaginary, given) -> number, whether it is one
    parameter: str = "float64"  # its type
    limits: Limits = LIMITS


# How many groups, numbers of a group; lengths of groups; strides of x, mask, out; a parameter,
# its imaginary part, whether it is given.
COUNTS = ("int32", "int64", "int32", "int32", *("int64",) * 11)


def _reader(shape, program, dtype, how):
    width, run, runs, held = shape.width, shape.run, shape.runs, shape.held
    fill, masked = program.number(program.fill), how != NO_MASK
    read_numbers = row_loader(dtype, width, run, runs, program.number, filled=not masked)
    read_mask = mask_loader(how, width, run, runs)

    @cuda.jit(device=True, forceinline=True)
    def read(a, here, x, mask, x_start, x_step, m_start, m_step, first, n, thread):
        read_numbers(a, x, x_start + first * x_step, x_step, n, thread, fill)
        if masked:
            read_mask(here, mask, m_start + first * m_step, m_step, n, thread)
            for k in range(held):
                if not here[k]:
                    a[k] = fill

    return read


@functools.cache
def storer(dtype):
    """A device function that writes a number that was computed with to an array of a dtype."""
    kind = element(dtype)
    narrow, stored, converted = kind.narrow, kind.stored, kind.number is kind.stored

    @cuda.jit(device=True, forceinline=True)
    def store(out, at, value):
        if converted:
            out[at] = stored(value)
        else:
            out[at] = narrow(value)

    return store


def whole_kernel(program: Reduction, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """One that makes the numbers itself; `dtypes` are those of x and the result."""
    number, held, step = program.number, shape.held, shape.step
    at_once = shape.kind in (LANES, BLOCK)
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers, everywhere=False)
    read, store = _reader(shape, program, dtypes[0], how), storer(dtypes[1])
    identity, combine, finish = program.identity, program.combine, program.finish
    summary = program.summary(held, shape.width, shape.run)

    def reduced(
        x,  # in (count, n)
        mask,  # in (count, n)
        out,  # out (count,)
        missing,  # out (1,): 1 if there is no number for some group
        count, n, length1, length2,
        x0, x1, x2, x3, m0, m1, m2, m3, o0, o1, o2,
        parameter, imaginary, given,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        live = group < types.uint32(count)
        if not live:
            group, n = types.uint32(0), types.int64(0)
        x_start = offset(group, length1, length2, x0, x1, x2)
        m_start = offset(group, length1, length2, m0, m1, m2)
        first = types.int64(0)
        if at_once:
            read(a, here, x, mask, x_start, x3, m_start, m3, first, types.int32(n), thread)
            state = summary(a, here, first, thread)
        else:
            state = identity()
            while first < n:
                rest = types.int32(min(n - first, types.int64(step)))
                read(a, here, x, mask, x_start, x3, m_start, m3, first, rest, thread)
                state = combine(state, summary(a, here, first, thread))
                first += step
        state = reduce(state, words)
        if live and thread == 0:
            value, found = finish(state, parameter, imaginary, given)
            store(out, offset(group, length1, length2, o0, o1, o2), value)
            if not found:
                missing[0] = 1

    kind = program.parameter
    arguments = (
        element(dtypes[0]).pointer, "uint8*", element(dtypes[1]).pointer, "int32*",
        *COUNTS, kind, kind, "int32",
    )  # fmt: skip
    return _kernel(reduced, arguments, program, dtypes, shape, how, axes)


def parts_kernel(program: Reduction, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """The first of two for split groups: leaves the state of each part, ``(count, splits)``."""
    number, held, step = program.number, shape.held, shape.step
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers, everywhere=False)
    read = _reader(shape, program, dtypes[0], how)
    identity, combine = program.identity, program.combine
    summary = program.summary(held, shape.width, shape.run)

    def reduced_parts(
        states,  # out (count, splits, numbers)
        length,  # of a part
        x,  # in (count, n)
        mask,  # in (count, n)
        count, n, length1, length2,
        x0, x1, x2, x3, m0, m1, m2, m3, o0, o1, o2,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        part = cuda.blockIdx.y
        first = part * length
        end = min(n, first + length)
        live = group < types.uint32(count)
        if not live:
            group, end = types.uint32(0), first
        x_start = offset(group, length1, length2, x0, x1, x2)
        m_start = offset(group, length1, length2, m0, m1, m2)
        state = identity()
        while first < end:
            rest = types.int32(min(end - first, types.int64(step)))
            read(a, here, x, mask, x_start, x3, m_start, m3, first, rest, thread)
            state = combine(state, summary(a, here, first, thread))
            first += step
        state = reduce(state, words)
        if live and thread == 0:
            keep(states, types.int64(group) * cuda.gridDim.y + part, state)

    arguments = ("uint64*", "int64", element(dtypes[0]).pointer, "uint8*", *COUNTS)
    return _kernel(reduced_parts, arguments, program, dtypes, shape, how, axes)


COMBINING = Shape(LANES, 128, WARP, 1, 1)


def combining_kernel(program: Reduction, dtypes, axes: int) -> Kernel:
    """The second: combines the states of the parts of a group, in their order."""
    locate, offset = locator(COMBINING), offsets(axes)
    reduce, _ = reducer(COMBINING, program.combine, program.numbers)
    store = storer(dtypes[1])
    identity, combine, finish = program.identity, program.combine, program.finish

    def combined_parts(
        states,  # in (count, splits, numbers)
        out,  # out (count,)
        missing,  # out (1,): 1 if there is no number for some group
        count, splits, length1, length2,
        o0, o1, o2,
        parameter, imaginary, given,
    ):  # fmt: skip
        group, thread = locate()
        state = identity()
        if group < types.uint32(count):
            at = thread
            while at < splits:
                other = kept(states, types.int64(group) * splits + at, state)
                state = combine(state, other)
                at += WARP
        state = reduce(state, states)
        if group < types.uint32(count) and thread == 0:
            value, found = finish(state, parameter, imaginary, given)
            store(out, offset(group, length1, length2, o0, o1, o2), value)
            if not found:
                missing[0] = 1

    kind = program.parameter
    arguments = (
        "uint64*", element(dtypes[1]).pointer, "int32*",
        "int32", "int32", "int32", "int32", *("int64",) * 3, kind, kind, "int32",
    )  # fmt: skip
    return _kernel(combined_parts, arguments, program, dtypes, COMBINING, NO_MASK, axes)


@functools.cache
def zero_kernel() -> Kernel:
    """One that sets an int32 to 0."""

    def zeroed(
        x,  # out (1,)
    ):
        if cuda.threadIdx.x == 0:
            x[0] = 0

    return Kernel(zeroed, ("int32*",), name="zeroed", threads=32)


def _kernel(function, arguments, program, dtypes, shape, how, axes):
    name = f"{program.name} {program.number} {dtypes} {shape} {how} {axes}"
    blocks = shape.blocks if program.number.bitwidth == 32 else 1
    return Kernel(function, arguments, name=name, threads=shape.threads, blocks=blocks)
