"""Rows and columns by their indices: taken, written and added up."""

from __future__ import annotations

import functools
from typing import NamedTuple

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.gather import divided
from fastmat.cuda.intrinsics import load_run, raise_to, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_copy import BLOCKS, EACH, THREADS, WIDE
from fastmat.cuda.tiles import PAIR, STORED

SCANNING = 1024  # threads of the only block that finds what a mask marks
_NOWHERE = -(1 << 63)  # in place of an offset
_TERMS = 32  # that are added up before their sum is added to that of the others


class Moving(NamedTuple):
    """A variant: which indices there are, and whether they say where to write."""

    size: int
    wide: bool  # by 16 bytes along the columns
    rows: bool
    columns: bool
    into: bool


@functools.cache
def moving(how: Moving) -> Kernel:
    """The kernel that copies between the selected items of one side and all of the other.

    Axes are columns, rows, and two of a batch. Where something is written, only the last of
    equal indices counts: those whose places `last_row` and `last_column` hold.
    """
    size, into = how.size, how.into
    by_row, by_column = how.rows, how.columns
    stored = getattr(types, STORED[size])
    pair, each = PAIR.get(size, 1), EACH[size] // 2
    length = WIDE // size if how.wide else 1
    run = length * pair
    held_count = each * run

    def moved(
        source, target, rows, columns, last_row, last_column, count, base,
        n0, factor0, shift0, n1, factor1, shift1, n2, factor2, shift2,
        x0, x1, x2, x3, t0, t1, t2, t3,
    ):  # fmt: skip
        held = cuda.local.array(held_count, stored)
        to = cuda.local.array(each, types.int64)
        begin = types.uint32(
            types.uint32(cuda.blockIdx.x) * types.uint32(THREADS * each)
            + types.uint32(cuda.threadIdx.x)
        )
        for k in range(each):
            to[k] = _NOWHERE
            i = types.uint32(begin + types.uint32(k * THREADS))
            if i < count:
                j = divided(i, factor0, shift0)
                d0 = types.int64(types.uint32(i - types.uint32(j * n0))) * length
                i = divided(j, factor1, shift1)
                d1 = types.int64(types.uint32(j - types.uint32(i * n1))) + base
                d3 = types.int64(divided(i, factor2, shift2))
                d2 = types.int64(i) - d3 * types.int64(n2)
                column = columns[d0] if by_column else d0
                row = rows[d1] if by_row else d1
                counts = True
                if into:
                    read = d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
                    written = column * t0 + row * t1 + d2 * t2 + d3 * t3
                    if by_row:
                        counts = last_row[row] == d1
                    if by_column:
                        counts = counts and last_column[column] == d0
                else:
                    read = column * x0 + row * x1 + d2 * x2 + d3 * x3
                    written = d0 * t0 + d1 * t1 + d2 * t2 + d3 * t3
                if counts:
                    load_run(held, k * run, source, read * pair, run)
                    to[k] = written * pair
        for k in range(each):
            if to[k] != _NOWHERE:
                store_run(target, to[k], held, k * run, run)

    pointer = f"{stored.name}*"
    return Kernel(
        moved,
        (
            *(pointer, pointer, "int64*", "int64*", "int32*", "int32*", "uint32", "int64"),
            *("uint32",) * 9,
            *("int64",) * 8,
        ),
        name=f"moved {' '.join(map(str, how))}",
        threads=THREADS,
        blocks=BLOCKS,
    )


def runs_at_once(size: int) -> int:
    """How many runs a thread moves."""
    return EACH[size] // 2


@functools.cache
def checking(dtype: str) -> Kernel:
    """The kernel that counts indices from 0, and notes whether one is out of range."""
    kind = getattr(types, dtype)
    signed = kind.signed

    def checked(
        given,  # in (count,)
        stride,
        count,
        length,
        indices,  # out (count,)
        outside,  # out (1,): not 0 if one is
    ):
        i = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if i < count:
            index = given[i * stride]
            place = types.int64(index)
            if signed:
                valid = -length <= place and place < length
                if place < 0:
                    place += length
            else:
                valid = types.uint64(index) < types.uint64(length)
            if not valid:
                outside[0] = 1
                place = 0
            indices[i] = place

    return Kernel(
        checked,
        (f"{dtype}*", "int64", "int64", "int64", "int64*", "int64*"),
        name=f"checked {dtype}",
        threads=THREADS,
    )


@functools.cache
def finding() -> Kernel:
    """The kernel, for one block, that lists the places where a mask is True."""

    def found(
        mask,  # in (length,)
        stride,
        length,
        indices,  # out (length,), of which the first `count` are written
        count,  # out (1,)
    ):
        sums = cuda.shared.array(SCANNING, types.int64)
        thread = types.int64(cuda.threadIdx.x)
        share = (length + SCANNING - 1) // SCANNING
        begin = min(thread * share, length)
        end = min(begin + share, length)
        marked = types.int64(0)
        for i in range(begin, end):
            if mask[i * stride] != 0:
                marked += 1
        sums[thread] = marked
        cuda.syncthreads()
        distance = types.int64(1)
        while distance < SCANNING:
            before = sums[thread - distance] if thread >= distance else types.int64(0)
            cuda.syncthreads()
            sums[thread] += before
            cuda.syncthreads()
            distance *= 2
        place = sums[thread] - marked
        for i in range(begin, end):
            if mask[i * stride] != 0:
                indices[place] = i
                place += 1
        if thread == SCANNING - 1:
            count[0] = sums[thread]

    return Kernel(
        found,
        ("uint8*", "int64", "int64", "int64*", "int64*"),
        name="found",
        threads=SCANNING,
    )


@functools.cache
def marking() -> Kernel:
    """The kernel that notes the place of the last of equal indices; -1 stands for none."""

    def marked(
        indices,  # in (count,)
        count,
        last,  # in and out (length,)
    ):
        i = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if i < count:
            raise_to(last, indices[i], types.int32(i))

    return Kernel(marked, ("int64*", "int64", "int32*"), name="marked", threads=THREADS)


@functools.cache
def adding(dtype: str, rows: bool, columns: bool) -> Kernel:
    """The kernel that adds up, for each item, what was taken from it, in the order of indices.

    ``row_order[row_starts[r] : row_starts[r + 1]]`` are the places of index r, likewise for
    columns; without these, there is one for each.
    """
    number = element(dtype)
    kind, widen, narrow = number.number, number.widen, number.narrow
    terms = _TERMS

    def added(
        x, target, row_order, row_starts, column_order, column_starts, count,
        n0, factor0, shift0, n1, factor1, shift1, n2, factor2, shift2,
        x0, x1, x2, x3, t0, t1, t2, t3,
    ):  # fmt: skip
        i = types.uint32(
            types.uint32(cuda.blockIdx.x) * types.uint32(THREADS) + types.uint32(cuda.threadIdx.x)
        )
        if i < count:
            j = divided(i, factor0, shift0)
            d0 = types.int64(types.uint32(i - types.uint32(j * n0)))
            i = divided(j, factor1, shift1)
            d1 = types.int64(types.uint32(j - types.uint32(i * n1)))
            d3 = types.int64(divided(i, factor2, shift2))
            d2 = types.int64(i) - d3 * types.int64(n2)
            at = d2 * x2 + d3 * x3
            total, part = kind(0), kind(0)
            taken = 0
            row_begin, row_end = d1, d1 + 1
            if rows:
                row_begin, row_end = row_starts[d1], row_starts[d1 + 1]
            column_begin, column_end = d0, d0 + 1
            if columns:
                column_begin, column_end = column_starts[d0], column_starts[d0 + 1]
            for p in range(row_begin, row_end):
                row = row_order[p] if rows else p
                for q in range(column_begin, column_end):
                    column = column_order[q] if columns else q
                    part += widen(x[at + row * x1 + column * x0])
                    taken += 1
                    if taken == terms:
                        total += part
                        part = kind(0)
                        taken = 0
            target[d0 * t0 + d1 * t1 + d2 * t2 + d3 * t3] = narrow(total + part)

    return Kernel(
        added,
        (
            *(number.pointer, number.pointer, *("int64*",) * 4, "uint32"),
            *("uint32",) * 9,
            *("int64",) * 8,
        ),
        name=f"added {dtype} {rows} {columns}",
        threads=THREADS,
        blocks=BLOCKS,
    )
