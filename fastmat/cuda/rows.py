"""Rows in registers: how the threads of a `Shape`, see `row_shapes`, read and reduce their own.

`row_loader(dtype, threads, run, runs)` and `row_storer(...)` make the functions
``load(held, x, base, step, n, thread, fill)`` and ``store(out, base, step, n, thread, held)``:
thread `thread` of `threads` holds the runs ``thread, thread + threads, ...`` of `run` numbers, and
`held` (a local array of ``run * runs`` numbers as they are computed with) gets `fill` beyond the
end of the row. `base` is where the row begins, `step` the stride of its numbers, 1 if run > 1.
`mask_loader(kind, ...)` does so for masks: booleans in a local array of uint8, 0 beyond the end.
`place(thread, k, threads, run)` is the number of the row that ``held[k]`` is.

`locator(shape)` and `reducer(shape, combine, numbers)` make the functions by which kernels of all
shapes are written alike: which group and thread of it this is, and the result of its threads.

`offsets(axes)` makes ``offset(group, lengths 1 and 2, strides 0 to 2)``: where a group begins in
an array.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, load_words, step_on, store_run
from fastmat.cuda.reductions import block_reduce, block_words, down_reduce, lanes_reduce
from fastmat.cuda.row_shapes import COLUMNS, IN_RUNS, LANES, NO_MASK, ONE_BY_ONE, Shape


@functools.cache
def reader(dtype, number):
    """A device function that makes a number to compute with of one as it is stored."""
    kind = element(dtype)
    widen = kind.widen
    if number is None or kind.number is number:
        return widen
    if dtype == "bool":

        @cuda.jit(device=True, forceinline=True)
        def truth(x):
            return number(1) if x != 0 else number(0)

        return truth

    @cuda.jit(device=True, forceinline=True)
    def convert(x):
        return number(widen(x))

    return convert


@functools.cache
def _following(threads, run):
    """A device function (place of a run of a thread, step) -> the place of its next one."""

    @cuda.jit(device=True, forceinline=True)
    def after(at, step):
        return step_on(at, threads * step) if run == 1 else at + threads * run

    return after


@functools.cache
def row_loader(dtype, threads, run, runs, number=None, filled=True):
    """See the head of the file; `number` is what to compute with, if not as `element` says.

    If not `filled`, numbers beyond the end of a row are not set.
    """
    kind = element(dtype)
    widen = reader(dtype, number)
    stored = kind.stored
    same = kind.stored is (number or kind.number)
    after = _following(threads, run)

    @cuda.jit(device=True, forceinline=True)
    def one(held, k, x, at):
        raw = cuda.local.array(run, stored)
        if run == 1:
            held[k] = widen(x[at])
        elif same:
            load_run(held, k * run, x, at, run)
        else:
            load_run(raw, 0, x, at, run)
            for e in range(run):
                held[k * run + e] = widen(raw[e])

    @cuda.jit(device=True, forceinline=True)
    def load(held, x, base, step, n, thread, fill):
        first = types.int32(thread * run)
        at = base + thread * step if run == 1 else base + first
        if first < types.int32(n - (runs - 1) * threads * run):
            for k in range(runs):
                one(held, k, x, at)
                at = after(at, step)
        else:
            for k in range(runs):
                if first < types.int32(n - k * threads * run):
                    one(held, k, x, at)
                elif filled:
                    for e in range(run):
                        held[k * run + e] = fill
                at = after(at, step)

    return load


@functools.cache
def row_storer(dtype, threads, run, runs):
    """See the head of the file."""
    kind = element(dtype)
    narrow = kind.narrow
    stored = kind.stored
    same = kind.stored is kind.number
    after = _following(threads, run)

    @cuda.jit(device=True, forceinline=True)
    def one(out, at, held, k):
        raw = cuda.local.array(run, stored)
        if run == 1:
            out[at] = narrow(held[k])
        elif same:
            store_run(out, at, held, k * run, run)
        else:
            for e in range(run):
                raw[e] = narrow(held[k * run + e])
            store_run(out, at, raw, 0, run)

    @cuda.jit(device=True, forceinline=True)
    def store(out, base, step, n, thread, held):
        first = types.int32(thread * run)
        at = base + thread * step if run == 1 else base + first
        if first < types.int32(n - (runs - 1) * threads * run):
            for k in range(runs):
                one(out, at, held, k)
                at = after(at, step)
        else:
            for k in range(runs):
                if first < types.int32(n - k * threads * run):
                    one(out, at, held, k)
                at = after(at, step)

    return store


@functools.cache
def mask_loader(how, threads, run, runs):
    """A device function ``load(kept, mask, base, step, n, thread)``; nothing for `NO_MASK`.

    `IN_RUNS` reads as many booleans at once as numbers; `ONE_BY_ONE` with any stride.
    """
    words, held = max(run // 4, 1), run * runs
    all_words = words * runs

    @cuda.jit(device=True, forceinline=True)
    def load_runs(kept, mask, base, step, n, thread):
        raw = cuda.local.array(all_words, types.uint32)
        first = types.int32(thread * run)
        at = base + first
        if first < types.int32(n - (runs - 1) * threads * run):
            for k in range(runs):
                load_words(raw, k * words, mask, at + k * threads * run, run)
        else:
            for k in range(runs):
                if first < types.int32(n - k * threads * run):
                    load_words(raw, k * words, mask, at + k * threads * run, run)
                else:
                    for e in range(words):
                        raw[k * words + e] = types.uint32(0)
        for k in range(held):
            word = raw[k // run * words + k % run // 4]
            kept[k] = types.uint8(word >> types.uint32(8 * (k % run % 4)))

    @cuda.jit(device=True, forceinline=True)
    def load_one_by_one(kept, mask, base, step, n, thread):
        first = types.int32(thread * run)
        at = base + first * step
        if first < types.int32(n - (runs - 1) * threads * run):
            for k in range(runs):
                for e in range(run):
                    kept[k * run + e] = mask[at + e * step]
                at = step_on(at, threads * run * step)
        else:
            for k in range(runs):
                if first < types.int32(n - k * threads * run):
                    for e in range(run):
                        kept[k * run + e] = mask[at + e * step]
                else:
                    for e in range(run):
                        kept[k * run + e] = types.uint8(0)
                at = step_on(at, threads * run * step)

    @cuda.jit(device=True, forceinline=True)
    def load_nothing(kept, mask, base, step, n, thread):
        pass

    return {IN_RUNS: load_runs, ONE_BY_ONE: load_one_by_one, NO_MASK: load_nothing}[how]


@cuda.jit(device=True, forceinline=True)
def place(thread, k, threads, run):
    """Which number of the row a thread holds as its k-th."""
    return (thread + k // run * threads) * run + k % run


@functools.cache
def offsets(axes: int):
    """A device function, see the head of the file, for groups along so many axes."""

    @cuda.jit(device=True, forceinline=True)
    def offset(group, length1, length2, stride0, stride1, stride2):
        if axes < 2:
            return group * stride2
        rest = types.uint32(group) // types.uint32(length2)
        i2 = types.uint32(group) - rest * types.uint32(length2)
        found = types.int64(i2) * stride2
        if axes < 3:
            return found + types.int64(rest) * stride1
        i0 = rest // types.uint32(length1)
        i1 = rest - i0 * types.uint32(length1)
        return found + types.int64(i0) * stride0 + types.int64(i1) * stride1

    return offset


def locator(shape: Shape):
    """A device function () -> the group of a thread, and which thread of the group it is."""
    groups, width, across = np.uint32(shape.groups), np.uint32(shape.width), shape.kind == COLUMNS

    @cuda.jit(device=True, forceinline=True)
    def locate():
        thread, block = types.uint32(cuda.threadIdx.x), types.uint32(cuda.blockIdx.x)
        if groups == 1:
            return block, types.int32(thread)
        first = types.uint32(block * groups)
        if across:
            return types.uint32(first + thread % groups), types.int32(thread // groups)
        return types.uint32(first + thread // width), types.int32(thread % width)

    return locate


def reducer(shape: Shape, combine, numbers, everywhere=True):
    """A device function (state, words) -> state of the group, and how many words that takes.

    One barrier at the least where threads of several warps share a group. If not `everywhere`,
    only the first thread of a group is sure to get it.
    """
    if shape.kind == COLUMNS:
        reduce = down_reduce(combine, shape.groups, shape.width)
        return reduce, shape.threads * numbers
    if shape.kind != LANES:
        reduce = block_reduce(combine, shape.threads, everywhere)
        return reduce, block_words(shape.threads, numbers)
    among = lanes_reduce(combine, shape.width)

    @cuda.jit(device=True, forceinline=True)
    def reduce(state, words):
        return among(state)

    return reduce, 1
