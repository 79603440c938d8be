"""Rows on a GPU: arrays as groups of numbers, how threads share a row, rows in registers.

On the host
-----------
`grouped(axes, x, others)` reads arrays as ``(i0, i1, i2, j)``: three axes of groups (slowest
first, axes merged where all arrays allow it) and one of the numbers of a group. None if that
takes a copy.

`run_of(...)` says how many numbers one access can read: 16 bytes where everything is aligned.

`shape_of(rows, n, run, ...)` and `columns_of(groups, n, ...)` choose how threads share a row:

``LANES``    `width` lanes of a warp (1 to 32), which hold it in registers: several rows in a block
``BLOCK``    a block, which holds it in registers: read once
``LONG``     a block, which goes through it twice; or several (`splits`), where there are few rows,
             which are long: each leaves a state of its part in memory, and the second kernel
             begins by combining them, in order
``COLUMNS``  numbers of a group that do not follow each other: neighbouring threads have
             neighbouring groups; `width` threads have the same one. Held or not, split or not.

On the device
-------------
`row_loader(dtype, threads, run, runs)` and `row_storer(...)` make the functions
``load(held, x, base, step, n, thread, fill)`` and ``store(out, base, step, n, thread, held)``:
thread `thread` of `threads` holds the runs ``thread, thread + threads, ...`` of `run` numbers, and
`held` (a local array of ``run * runs`` numbers as they are computed with) gets `fill` beyond the
end of the row. `base` is where the row begins, `step` the stride of its numbers, 1 if run > 1.
`mask_loader(kind, ...)` does so for masks: booleans in a local array of uint8, 0 beyond the end.
`place(thread, k, threads, run)` is the number of the row that ``held[k]`` is.

`group_offset(i, lengths 1 and 2, strides 0 to 2)` is where group `i` begins in an array.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from numba import cuda, types

from fastmat.cuda.arrays import View
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, store_run

KEPT = 3  # axes of groups that kernels have
LANES, BLOCK, LONG, COLUMNS = "lanes", "block", "long", "columns"
GROUPS = 2**31 - 1  # as many as kernels count

Strides = tuple[int, int, int, int]


class Grouped(NamedTuple):
    """How arrays lie, as groups of numbers."""

    lengths: tuple[int, int, int]
    n: int
    strides: tuple[Strides, ...]  # of each array: of groups, then of the numbers of a group

    @property
    def count(self) -> int:
        """How many groups there are."""
        return math.prod(self.lengths)


def grouped(
    axes: tuple[int, ...], x: View, others: Sequence[View] = (), in_order: bool = False
) -> Grouped | None:
    """The arrays as groups over these axes; None if their axes cannot be merged so far.

    The `others` have the axes of `x`, with its lengths or 1 (which repeats). With `in_order` the
    numbers of a group are in C order; otherwise in that of the memory.
    """
    shape = x.shape
    strides = [x.strides]
    for view in others:
        pairs = zip(view.shape, view.strides, strict=True)
        strides.append(tuple(0 if n == 1 else s for n, s in pairs))
    kept = _merged([i for i in range(len(shape)) if i not in axes], shape, strides, True)
    reduced = _merged(list(axes), shape, strides, not in_order)
    if len(kept) > KEPT or len(reduced) > 1:
        return None
    missing = KEPT - len(kept)
    lengths = (*[1] * missing, *(n for n, _ in kept))
    n, last = reduced[0] if reduced else (math.prod(shape[i] for i in axes), [1] * len(strides))
    found = tuple(
        (*[0] * missing, *(steps[k] for _, steps in kept), last[k]) for k in range(len(strides))
    )
    return Grouped(lengths, n, found)


def _merged(axes, shape, strides, sort):
    """Lengths and strides in all arrays of axes that are longer than 1, joined where possible."""
    longer = [i for i in axes if shape[i] != 1]
    if sort:
        longer.sort(key=lambda i: -abs(strides[0][i]))
    runs = []
    for i in longer:
        steps = [s[i] for s in strides]
        if runs and all(a == shape[i] * b for a, b in zip(runs[-1][1], steps, strict=True)):
            runs[-1] = runs[-1][0] * shape[i], steps
        else:
            runs.append((shape[i], steps))
    return runs


def run_of(itemsize: int, pointers: Sequence[int], lengths: Sequence[int]) -> int:
    """How many numbers one access can have, up to 16 bytes.

    `lengths` is the length of a row and all strides, of arrays whose numbers follow each other;
    `pointers` where the arrays begin, as if their items were of this size.
    """
    run = max(1, 16 // itemsize)
    common = math.gcd(*lengths)
    for pointer in pointers:
        common = math.gcd(common, pointer // itemsize)
    while common % run:
        run //= 2
    return run


class Shape(NamedTuple):
    """How threads share rows."""

    kind: str
    threads: int  # of a block
    width: int  # threads of a row
    run: int
    runs: int  # that a thread holds
    splits: int = 1  # blocks of a row

    @property
    def held(self) -> int:
        """How many numbers a thread holds."""
        return self.run * self.runs

    @property
    def groups(self) -> int:
        """How many rows a block has."""
        return self.threads // self.width

    @property
    def step(self) -> int:
        """How many numbers of a row its threads of one block hold."""
        return self.width * self.held

    def grid(self, count: int) -> tuple[int, int]:
        """Blocks for so many rows, and the parts of a row."""
        return -(-count // self.groups), self.splits


class Limits(NamedTuple):
    """What `shape_of` keeps to."""

    held: int = 32  # 32-bit registers that hold numbers of a row
    runs: int = 8  # accesses in flight
    short: int = 4  # runs of a thread, up to which a row is left to a warp
    threads: int = 1024  # of a block
    block: int = 128  # threads of a block whose warps have rows of their own
    columns: int = 256  # threads of a block that goes down columns
    part: int = 16384  # bytes of a row that are worth a block, if there are few rows


def shape_of(
    rows: int,
    n: int,
    run: int,
    itemsize: int,
    multiprocessors: int,
    limits: Limits = Limits(),  # noqa: B008
    arrays: int = 1,
) -> Shape:
    """How threads share rows of `n` numbers.

    `itemsize` is that of the numbers in memory, `arrays` how many of them are held.
    """
    words = max(1, itemsize // 4) * arrays
    most = max(1, min(limits.runs, limits.held // (run * words)))
    parts = -(-n // run)
    if parts <= 32 * min(limits.short, most):
        width = min(32, 1 << max(parts - 1, 0).bit_length())
        return Shape(LANES, limits.block, width, run, max(1, -(-parts // width)))
    many = 2 * rows >= multiprocessors or n * itemsize <= 2 * limits.part
    if many and parts <= limits.threads * most:
        for few in (min(4, most), most):
            threads = 128
            while threads <= limits.threads:
                if parts <= threads * few:
                    return Shape(BLOCK, threads, threads, run, -(-parts // threads))
                threads *= 2
    threads, runs = 512, max(1, most // 2)
    splits = _splits(rows, n * itemsize, 4 * multiprocessors, limits.part)
    return Shape(LONG, threads, threads, run, runs, splits)


def columns_of(
    groups: int,
    n: int,
    itemsize: int,
    multiprocessors: int,
    limits: Limits = Limits(),  # noqa: B008
    arrays: int = 1,
) -> Shape:
    """How threads share groups whose neighbours are neighbours in memory."""
    words = max(1, itemsize // 4) * arrays
    most = max(1, min(16, limits.held // words))
    lanes = 32 if groups >= 32 else 1 << max(groups - 1, 0).bit_length()
    width = limits.columns // lanes
    while width > 1 and 2 * n <= width * min(most, 4):
        width //= 2
    threads = max(32, width * lanes)
    width = threads // lanes
    runs = max(1, min(most, -(-n // width)))
    blocks = -(-groups // lanes)
    splits = 1
    if n > width * runs:
        splits = _splits(blocks, n * lanes * itemsize, 4 * multiprocessors, limits.part)
    return Shape(COLUMNS, threads, width, 1, runs, splits)


def _splits(blocks: int, nbytes: int, wanted: int, part: int) -> int:
    """How many blocks share what one would do."""
    if 2 * blocks >= wanted:
        return 1
    return max(1, min(-(-wanted // max(blocks, 1)), nbytes // part))


def part_length(n: int, splits: int, run: int) -> int:
    """How many numbers of a row each of its blocks has, the last one fewer."""
    return -(-n // (splits * run)) * run


@functools.cache
def reader(dtype, number):
    """A device function that makes a number to compute with of one as it is stored."""
    kind = element(dtype)
    widen = kind.widen
    if number is None or kind.number is number:
        return widen

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
        for k in range(runs):
            j = (thread + k * threads) * run
            if j < n:
                if run == 1:
                    held[k] = widen(x[base + j * step])
                elif same:
                    load_run(held, k * run, x, base + j, run)
                else:
                    load_run(raw, 0, x, base + j, run)
                    for e in range(run):
                        held[k * run + e] = widen(raw[e])
            else:
                for e in range(run):
                    held[k * run + e] = fill

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
        for k in range(runs):
            j = (thread + k * threads) * run
            if j < n:
                if run == 1:
                    out[base + j * step] = narrow(held[k])
                elif same:
                    store_run(out, base + j, held, k * run, run)
                else:
                    for e in range(run):
                        raw[e] = narrow(held[k * run + e])
                    store_run(out, base + j, raw, 0, run)

    return store


NO_MASK, IN_RUNS, ONE_BY_ONE = 0, 1, 2  # how a mask is read


@functools.cache
def mask_loader(how, threads, run, runs):
    """A device function ``load(kept, mask, base, step, n, thread)``; nothing for `NO_MASK`.

    `IN_RUNS` reads as many booleans at once as numbers; `ONE_BY_ONE` with any stride.
    """

    @cuda.jit(device=True, forceinline=True)
    def load(kept, mask, base, step, n, thread):
        if how != NO_MASK:
            for k in range(runs):
                j = (thread + k * threads) * run
                if j < n:
                    if how == IN_RUNS:
                        load_run(kept, k * run, mask, base + j, run)
                    else:
                        for e in range(run):
                            kept[k * run + e] = mask[base + (j + e) * step]
                else:
                    for e in range(run):
                        kept[k * run + e] = types.uint8(0)

    return load


def mask_reading(mask: View | None, strides: Strides | None, run: int) -> int:
    """How a mask is read beside runs of so many numbers."""
    if mask is None or strides is None:
        return NO_MASK
    if run > 1 and strides[3] == 1 and math.gcd(mask.pointer, *strides[:3]) % run == 0:
        return IN_RUNS
    return ONE_BY_ONE


@cuda.jit(device=True, forceinline=True)
def place(thread, k, threads, run):
    """Which number of the row a thread holds as its k-th."""
    return (thread + k // run * threads) * run + k % run


@cuda.jit(device=True, forceinline=True)
def group_offset(i, length1, length2, stride0, stride1, stride2):
    """Where a group begins; all lengths and `i` are int32."""
    rest = types.uint32(i) // types.uint32(length2)
    i2 = types.uint32(i) - rest * types.uint32(length2)
    i0 = rest // types.uint32(length1)
    i1 = rest - i0 * types.uint32(length1)
    return types.int64(i0) * stride0 + types.int64(i1) * stride1 + types.int64(i2) * stride2
