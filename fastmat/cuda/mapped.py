"""Kernels that reduce each group of numbers and then write something for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_states import keep, kept
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.row_shapes import (
    NO_MASK,
    Shape,
)
from fastmat.cuda.rows import locator, mask_loader, offsets, reducer, row_loader, row_storer


class Program(NamedTuple):
    """What is made of a group, in device functions.

    `a` and `b` are local arrays of the numbers of a thread, of one or two arrays in memory. What
    is masked, or beyond the end of a row, is in them as `fills` says.
    """

    name: str
    number: Any  # the Numba type that is computed with
    fills: tuple[float, float]
    masked: float  # what is written where it is masked
    numbers: int  # of a state
    identity: Callable[[], Any]  # the state of nothing
    summary: Callable[[int], Any]  # of so many numbers: (a, b) -> state; may change a and b
    combine: Callable[[Any, Any], Any]  # (state, state) -> state
    prepare: Callable[[Any, Any], Any]  # (own state, state) -> what `apply` takes, after `summary`
    apply: Callable[[Any, Any, Any], Any]  # (a[k], b[k], prepared) -> number
    prepare_anew: Callable[[Any], Any]  # (state) -> what `apply_anew` takes
    apply_anew: Callable[[Any, Any, Any], Any]  # the same where a and b were not changed


# How many groups, numbers of a group; lengths of groups; strides of a, b, mask, out.
ARGUMENTS = ("int32", "int64", "int32", "int32", *("int64",) * 16)


def _access(shape, program, dtypes, how):
    """Device functions that read what a thread has of a group, and that write it."""
    width, run, runs, held = shape.width, shape.run, shape.runs, shape.held
    read_a, read_b = (
        row_loader(d or dtypes[0], width, run, runs, program.number) for d in dtypes[:2]
    )
    fill_a, fill_b = (program.number(x) for x in program.fills)
    read_mask = mask_loader(how, width, run, runs)
    write = row_storer(dtypes[2], width, run, runs)
    two, masked, instead = dtypes[1] is not None, how != NO_MASK, program.number(program.masked)

    @cuda.jit(device=True, forceinline=True)
    def read(a, b, here, x, y, mask, starts, steps, first, n, thread):
        read_a(a, x, starts[0] + first * steps[0], steps[0], n, thread, fill_a)
        if two:
            read_b(b, y, starts[1] + first * steps[1], steps[1], n, thread, fill_b)
        if masked:
            read_mask(here, mask, starts[2] + first * steps[2], steps[2], n, thread)
            for k in range(held):
                if not here[k]:
                    a[k] = fill_a
                    if two:
                        b[k] = fill_b

    @cuda.jit(device=True, forceinline=True)
    def store(a, here, out, starts, steps, first, n, thread):
        if masked:
            for k in range(held):
                if not here[k]:
                    a[k] = instead
        write(out, starts[3] + first * steps[3], steps[3], n, thread, a)

    return read, store


def held_kernel(program: Program, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """One that reads each group once; for groups of at most ``shape.step`` numbers.

    `dtypes` are those of a, b (None if there is only one array) and the result; `how` is that of
    `mask_loader`.
    """
    number, held = program.number, shape.held
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers)
    read, store = _access(shape, program, dtypes, how)
    summary, prepare, apply = program.summary(held), program.prepare, program.apply

    def held_rows(
        x,  # in (count, n)
        y,  # in (count, n)
        mask,  # in (count, n)
        out,  # out (count, n)
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, m0, m1, m2, m3, o0, o1, o2, o3,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        length = types.int32(n)
        if group >= count:
            group, length = types.int32(0), types.int32(0)
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            offset(group, length1, length2, o0, o1, o2),
        )
        steps = (x3, y3, m3, o3)
        read(a, b, here, x, y, mask, starts, steps, 0, length, thread)
        own = summary(a, b)
        found = prepare(own, reduce(own, words))
        for k in range(held):
            a[k] = apply(a[k], b[k], found)
        store(a, here, out, starts, steps, 0, length, thread)

    return _kernel(held_rows, (), program, dtypes, shape, how, axes)


def long_kernel(program: Program, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """One that reads each group twice."""
    number, held, step = program.number, shape.held, shape.step
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers)
    read, store = _access(shape, program, dtypes, how)
    identity, combine, summary = program.identity, program.combine, program.summary(held)
    prepare, apply = program.prepare_anew, program.apply_anew

    def long_rows(
        x,  # in (count, n)
        y,  # in (count, n)
        mask,  # in (count, n)
        out,  # out (count, n)
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, m0, m1, m2, m3, o0, o1, o2, o3,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        if group >= count:
            group, n = types.int32(0), types.int64(0)
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            offset(group, length1, length2, o0, o1, o2),
        )
        steps = (x3, y3, m3, o3)
        state = identity()
        first = types.int64(0)
        while first < n:
            rest = types.int32(min(n - first, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, first, rest, thread)
            state = combine(state, summary(a, b))
            first += step
        found = prepare(reduce(state, words))
        first = types.int64(0)
        while first < n:
            rest = types.int32(min(n - first, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, first, rest, thread)
            for k in range(held):
                a[k] = apply(a[k], b[k], found)
            store(a, here, out, starts, steps, first, rest, thread)
            first += step

    return _kernel(long_rows, (), program, dtypes, shape, how, axes)


def first_kernel(program: Program, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """The first of two for split groups: leaves the state of each part, ``(count, splits)``."""
    number, held, step = program.number, shape.held, shape.step
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers)
    read, _ = _access(shape, program, dtypes, how)
    identity, combine, summary = program.identity, program.combine, program.summary(held)

    def first_pass(
        states,  # out (count, splits, numbers)
        length,  # of a part
        x,  # in (count, n)
        y,  # in (count, n)
        mask,  # in (count, n)
        out,  # not used
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, m0, m1, m2, m3, o0, o1, o2, o3,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        part = cuda.blockIdx.y
        first = part * length
        end = min(n, first + length)
        live = group < count
        if not live:
            group, end = types.int32(0), first
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            types.int64(0),
        )
        steps = (x3, y3, m3, o3)
        state = identity()
        while first < end:
            rest = types.int32(min(end - first, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, first, rest, thread)
            state = combine(state, summary(a, b))
            first += step
        state = reduce(state, words)
        if live and thread == 0:
            keep(states, types.int64(group) * cuda.gridDim.y + part, state)

    return _kernel(first_pass, ("uint64*", "int64"), program, dtypes, shape, how, axes)


def second_kernel(program: Program, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """The second: combines the states of a group in their order, and writes its part."""
    number, held, step, width = program.number, shape.held, shape.step, shape.width
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers)
    read, store = _access(shape, program, dtypes, how)
    identity, combine = program.identity, program.combine
    prepare, apply = program.prepare_anew, program.apply_anew

    def second_pass(
        states,  # in (count, splits, numbers)
        length,  # of a part
        x,  # in (count, n)
        y,  # in (count, n)
        mask,  # in (count, n)
        out,  # out (count, n)
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, m0, m1, m2, m3, o0, o1, o2, o3,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        part, splits = cuda.blockIdx.y, cuda.gridDim.y
        first = part * length
        end = min(n, first + length)
        if group >= count:
            group, end = types.int32(0), first
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            offset(group, length1, length2, o0, o1, o2),
        )
        steps = (x3, y3, m3, o3)
        state = identity()
        at = thread
        while at < splits:
            other = kept(states, types.int64(group) * splits + at, state)
            state = combine(state, other)
            at += width
        found = prepare(reduce(state, words))
        while first < end:
            rest = types.int32(min(end - first, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, first, rest, thread)
            for k in range(held):
                a[k] = apply(a[k], b[k], found)
            store(a, here, out, starts, steps, first, rest, thread)
            first += step

    return _kernel(second_pass, ("uint64*", "int64"), program, dtypes, shape, how, axes)


def _kernel(function, before, program, dtypes, shape, how, axes):
    pointers = tuple(element(d or dtypes[0]).pointer for d in dtypes)
    arguments = (*before, *pointers[:2], "uint8*", pointers[2], *ARGUMENTS)
    name = f"{program.name} {program.number} {dtypes} {shape} {how} {axes}"
    blocks = shape.blocks if program.number.bitwidth == 32 else 1
    return Kernel(function, arguments, name=name, threads=shape.threads, blocks=blocks)
