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

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.reductions import block_reduce, block_words, down_reduce, lanes_reduce
from fastmat.cuda.row_shapes import COLUMNS, IN_RUNS, LANES, NO_MASK, Shape


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
def row_loader(dtype, threads, run, runs, number=None):
    """See the head of the file; `number` is what to compute with, if not as `element` says."""
    kind = element(dtype)
    widen = reader(dtype, number)
    stored = kind.stored
    same = kind.stored is (number or kind.number)

    @cuda.jit(device=True, forceinline=True)
    def load(held, x, base, step, n, thread, fill):
        raw = cuda.local.array(run, stored)
        at = base + thread * step
        for k in range(runs):
            j = (thread + k * threads) * run
            if j < n:
                if run == 1:
                    held[k] = widen(x[at])
                elif same:
                    load_run(held, k * run, x, base + j, run)
                else:
                    load_run(raw, 0, x, base + j, run)
                    for e in range(run):
                        held[k * run + e] = widen(raw[e])
            else:
                for e in range(run):
                    held[k * run + e] = fill
            at += threads * step

    return load


@functools.cache
def row_storer(dtype, threads, run, runs):
    """See the head of the file."""
    kind = element(dtype)
    narrow = kind.narrow
    stored = kind.stored
    same = kind.stored is kind.number

    @cuda.jit(device=True, forceinline=True)
    def store(out, base, step, n, thread, held):
        raw = cuda.local.array(run, stored)
        at = base + thread * step
        for k in range(runs):
            j = (thread + k * threads) * run
            if j < n:
                if run == 1:
                    out[at] = narrow(held[k])
                elif same:
                    store_run(out, base + j, held, k * run, run)
                else:
                    for e in range(run):
                        raw[e] = narrow(held[k * run + e])
                    store_run(out, base + j, raw, 0, run)
            at += threads * step

    return store


@functools.cache
def mask_loader(how, threads, run, runs):
    """A device function ``load(kept, mask, base, step, n, thread)``; nothing for `NO_MASK`.

    `IN_RUNS` reads as many booleans at once as numbers; `ONE_BY_ONE` with any stride.
    """

    @cuda.jit(device=True, forceinline=True)
    def load(kept, mask, base, step, n, thread):
        if how != NO_MASK:
            at = base + thread * run * step
            for k in range(runs):
                j = (thread + k * threads) * run
                if j < n:
                    if how == IN_RUNS:
                        load_run(kept, k * run, mask, base + j, run)
                    else:
                        for e in range(run):
                            kept[k * run + e] = mask[at + e * step]
                else:
                    for e in range(run):
                        kept[k * run + e] = types.uint8(0)
                at += threads * run * step

    return load


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
    groups, width, across = shape.groups, shape.width, shape.kind == COLUMNS

    @cuda.jit(device=True, forceinline=True)
    def locate():
        thread = cuda.threadIdx.x
        if across:
            return cuda.blockIdx.x * groups + thread % groups, thread // groups
        return cuda.blockIdx.x * groups + thread // width, thread % width

    return locate


def reducer(shape: Shape, combine, numbers):
    """A device function (state, words) -> state of the group, and how many words that takes.

    One barrier at the least where threads of several warps share a group.
    """
    if shape.kind == COLUMNS:
        reduce = down_reduce(combine, shape.groups, shape.width)
        return reduce, shape.threads * numbers
    if shape.kind != LANES:
        return block_reduce(combine, shape.threads), block_words(shape.threads, numbers)
    among = lanes_reduce(combine, shape.width)

    @cuda.jit(device=True, forceinline=True)
    def reduce(state, words):
        return among(state)

    return reduce, 1
