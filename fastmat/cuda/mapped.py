"""Kernels that reduce each group of numbers and then write something for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_states import keep, kept
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.row_shapes import LIMITS, NO_MASK, Limits, Shape
from fastmat.cuda.rows import locator, mask_loader, offsets, reader, reducer, row_loader, row_storer


class Program(NamedTuple):
    """What is made of a group, in device functions.

    `a` and `b` are local arrays of the numbers of a thread, of one or two arrays in memory. What
    is masked, or beyond the end of a row, is in them as `fills` says.

    With `of_groups` there is a mask, and in place of `b` two arrays of one number for each group.
    Then `summary` takes (a, here, given), where `here` says what is valid, and `prepare_anew`
    (state, given), where `given` is these two numbers and the parameter of the launch; `prepare`
    is None.
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
    of_groups: bool = False
    reads: bool = True  # the numbers of a, which are else what fills it
    limits: Limits = LIMITS


# How many groups, numbers of a group; lengths of groups; strides of a, b or the first number of
# groups, the second one, mask, out.
ARGUMENTS = ("int32", "int64", "int32", "int32", *("int64",) * 19)


def _access(shape, program, dtypes, how):
    """Device functions that read what a thread has of a group, and that write it."""
    width, run, runs, held = shape.width, shape.run, shape.runs, shape.held
    masked = how != NO_MASK
    read_a, read_b = (
        row_loader(d or dtypes[0], width, run, runs, program.number, filled=not masked)
        for d in dtypes[:2]
    )
    fill_a, fill_b = (program.number(x) for x in program.fills)
    read_mask = mask_loader(how, width, run, runs)
    write = row_storer(dtypes[3], width, run, runs)
    two, one = dtypes[1] is not None and not program.of_groups, program.reads
    instead = program.number(program.masked)

    @cuda.jit(device=True, forceinline=True)
    def read(a, b, here, x, y, mask, starts, steps, first, n, thread):
        if one:
            read_a(a, x, starts[0] + first * steps[0], steps[0], n, thread, fill_a)
        else:
            for k in range(held):
                a[k] = fill_a
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


def _steps(shape, program, dtypes):
    """Device functions that read what is given of a group, and its parts that depend on that."""
    number, summary = program.number, program.summary(shape.held)
    prepare, prepare_anew = program.prepare, program.prepare_anew
    first, second = (reader(d or dtypes[0], number) for d in dtypes[1:3])
    of_groups, two = program.of_groups, dtypes[2] is not None

    @cuda.jit(device=True, forceinline=True)
    def given(y, z, y_at, z_at, parameter):
        if of_groups:
            return first(y[y_at]), second(z[z_at]) if two else parameter, parameter
        return parameter, parameter, parameter

    if of_groups:

        @cuda.jit(device=True, forceinline=True)
        def summarize(a, b, here, given):
            return summary(a, here, given)

        @cuda.jit(device=True, forceinline=True)
        def anew(state, given):
            return prepare_anew(state, given)

        @cuda.jit(device=True, forceinline=True)
        def at_once(own, state, given):
            return prepare_anew(state, given)

    else:

        @cuda.jit(device=True, forceinline=True)
        def summarize(a, b, here, given):
            return summary(a, b)

        @cuda.jit(device=True, forceinline=True)
        def anew(state, given):
            return prepare_anew(state)

        @cuda.jit(device=True, forceinline=True)
        def at_once(own, state, given):
            return prepare(own, state)

    return given, summarize, at_once, anew


def held_kernel(program: Program, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """One that reads each group once; for groups of at most ``shape.step`` numbers.

    `dtypes` are those of a, b or the first number of groups, the second one (None for what there
    is not) and the result; `how` is that of `mask_loader`.
    """
    number, held = program.number, shape.held
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers)
    read, store = _access(shape, program, dtypes, how)
    given, summarize, prepare, _ = _steps(shape, program, dtypes)
    apply = program.apply

    def held_rows(
        x,  # in (count, n)
        y,  # in (count, n) or (count,)
        z,  # in (count,)
        mask,  # in (count, n)
        out,  # out (count, n)
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, z0, z1, z2, m0, m1, m2, m3, o0, o1, o2, o3,
        parameter,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        length = types.int32(n)
        if group >= types.uint32(count):
            group, length = types.uint32(0), types.int32(0)
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            offset(group, length1, length2, o0, o1, o2),
        )
        steps = (x3, y3, m3, o3)
        z_at = offset(group, length1, length2, z0, z1, z2)
        known = given(y, z, starts[1], z_at, parameter)
        read(a, b, here, x, y, mask, starts, steps, 0, length, thread)
        own = summarize(a, b, here, known)
        found = prepare(own, reduce(own, words), known)
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
    given, summarize, _, prepare = _steps(shape, program, dtypes)
    identity, combine, apply = program.identity, program.combine, program.apply_anew

    def long_rows(
        x,  # in (count, n)
        y,  # in (count, n) or (count,)
        z,  # in (count,)
        mask,  # in (count, n)
        out,  # out (count, n)
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, z0, z1, z2, m0, m1, m2, m3, o0, o1, o2, o3,
        parameter,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        if group >= types.uint32(count):
            group, n = types.uint32(0), types.int64(0)
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            offset(group, length1, length2, o0, o1, o2),
        )
        steps = (x3, y3, m3, o3)
        z_at = offset(group, length1, length2, z0, z1, z2)
        known = given(y, z, starts[1], z_at, parameter)
        state = identity()
        first = types.int64(0)
        while first < n:
            rest = types.int32(min(n - first, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, first, rest, thread)
            state = combine(state, summarize(a, b, here, known))
            first += step
        found = prepare(reduce(state, words), known)
        first = (n - 1) // step * step  # backwards: what was read last may still be in the cache
        while first >= 0:
            rest = types.int32(min(n - first, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, first, rest, thread)
            for k in range(held):
                a[k] = apply(a[k], b[k], found)
            store(a, here, out, starts, steps, first, rest, thread)
            first -= step

    return _kernel(long_rows, (), program, dtypes, shape, how, axes)


def first_kernel(program: Program, dtypes, shape: Shape, how: int, axes: int) -> Kernel:
    """The first of two for split groups: leaves the state of each part, ``(count, splits)``."""
    number, held, step = program.number, shape.held, shape.step
    locate, offset = locator(shape), offsets(axes)
    reduce, size = reducer(shape, program.combine, program.numbers)
    read, _ = _access(shape, program, dtypes, how)
    given, summarize, _, _ = _steps(shape, program, dtypes)
    identity, combine = program.identity, program.combine

    def first_pass(
        states,  # out (count, splits, numbers)
        length,  # of a part
        x,  # in (count, n)
        y,  # in (count, n) or (count,)
        z,  # in (count,)
        mask,  # in (count, n)
        out,  # not used
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, z0, z1, z2, m0, m1, m2, m3, o0, o1, o2, o3,
        parameter,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        part = cuda.blockIdx.y
        first = part * length
        end = min(n, first + length)
        live = group < types.uint32(count)
        if not live:
            group, end = types.uint32(0), first
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            types.int64(0),
        )
        steps = (x3, y3, m3, o3)
        z_at = offset(group, length1, length2, z0, z1, z2)
        known = given(y, z, starts[1], z_at, parameter)
        state = identity()
        while first < end:
            rest = types.int32(min(end - first, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, first, rest, thread)
            state = combine(state, summarize(a, b, here, known))
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
    given, _, _, prepare = _steps(shape, program, dtypes)
    identity, combine, apply = program.identity, program.combine, program.apply_anew

    def second_pass(
        states,  # in (count, splits, numbers)
        length,  # of a part
        x,  # in (count, n)
        y,  # in (count, n) or (count,)
        z,  # in (count,)
        mask,  # in (count, n)
        out,  # out (count, n)
        count, n, length1, length2,
        x0, x1, x2, x3, y0, y1, y2, y3, z0, z1, z2, m0, m1, m2, m3, o0, o1, o2, o3,
        parameter,
    ):  # fmt: skip
        words = cuda.shared.array(size, types.uint64)
        a = cuda.local.array(held, number)
        b = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        splits = cuda.gridDim.y
        part = splits - 1 - cuda.blockIdx.y  # backwards, see `long_kernel`
        first = part * length
        end = min(n, first + length)
        if group >= types.uint32(count):
            group, end = types.uint32(0), first
        starts = (
            offset(group, length1, length2, x0, x1, x2),
            offset(group, length1, length2, y0, y1, y2),
            offset(group, length1, length2, m0, m1, m2),
            offset(group, length1, length2, o0, o1, o2),
        )
        steps = (x3, y3, m3, o3)
        z_at = offset(group, length1, length2, z0, z1, z2)
        known = given(y, z, starts[1], z_at, parameter)
        state = identity()
        at = thread
        while at < splits:
            other = kept(states, types.int64(group) * splits + at, state)
            state = combine(state, other)
            at += width
        found = prepare(reduce(state, words), known)
        last = first + (end - first - 1) // step * step
        while last >= first:
            rest = types.int32(min(end - last, types.int64(step)))
            read(a, b, here, x, y, mask, starts, steps, last, rest, thread)
            for k in range(held):
                a[k] = apply(a[k], b[k], found)
            store(a, here, out, starts, steps, last, rest, thread)
            last -= step

    return _kernel(second_pass, ("uint64*", "int64"), program, dtypes, shape, how, axes)


def _kernel(function, before, program, dtypes, shape, how, axes):
    pointers = tuple(element(d or dtypes[0]).pointer for d in dtypes)
    number = program.number.name
    arguments = (*before, *pointers[:3], "uint8*", pointers[3], *ARGUMENTS, number)
    name = f"{program.name} {program.number} {dtypes} {shape} {how} {axes}"
    blocks = shape.blocks if program.number.bitwidth == 32 else 1
    return Kernel(function, arguments, name=name, threads=shape.threads, blocks=blocks)
