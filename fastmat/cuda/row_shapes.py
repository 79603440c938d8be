"""Arrays as groups of numbers, and how threads share a group; see `rows` for the device.

`grouped(axes, shape, strides)` reads arrays as ``(i0, i1, i2, j)``: three axes of groups (slowest
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
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from fastmat.cuda.reductions import WARP

NO_MASK, IN_RUNS, ONE_BY_ONE = 0, 1, 2  # how a mask is read
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

    @property
    def axes(self) -> int:
        """Along how many axes the groups are, at least 1."""
        return 3 if self.lengths[0] > 1 else 2 if self.lengths[1] > 1 else 1


@functools.lru_cache(4096)
def grouped(
    axes: tuple[int, ...],
    shape: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
    in_order: bool = False,
) -> Grouped | None:
    """Arrays of a shape and with these strides as groups over some axes.

    None if their axes cannot be merged so far. `strides` are 0 where an array is repeated; the
    first decide on the order. With `in_order` the numbers of a group are in C order; otherwise in
    that of the memory.
    """
    kept = _merged([i for i in range(len(shape)) if i not in axes], shape, strides, True)
    reduced = _merged(list(axes), shape, strides, not in_order)
    if any(n == 0 for n, _ in reduced):  # whatever the others are
        reduced = [(0, [0] * len(strides))]
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


def repeated(
    lengths: tuple[int, ...], strides: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Strides of an array whose axes of length 1 are repeated."""
    return tuple(s if n == m else 0 for n, s, m in zip(lengths, strides, shape, strict=True))


def run_of(
    n: int, strides: Sequence[Strides], itemsizes: Sequence[int], pointers: Sequence[int]
) -> int:
    """How many numbers of rows of n one access can have in all arrays, up to 16 bytes."""
    if any(s[3] != 1 for s in strides):
        return 1
    run = max(1, 16 // max(itemsizes))
    common = math.gcd(n, *(s for each in strides for s in each[:3]))
    for pointer, itemsize in zip(pointers, itemsizes, strict=True):
        common = math.gcd(common, pointer // itemsize)
    while common % run:
        run //= 2
    return run


def down_columns(groups: Grouped) -> bool:
    """Whether neighbours in memory, of the first array, belong to different groups."""
    along, across = abs(groups.strides[0][3]), abs(groups.strides[0][2])
    return groups.n > 1 and 0 < across < along


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

    @property
    def blocks(self) -> int:
        """How many blocks a multiprocessor is to hold."""
        return max(1, 1024 // self.threads)

    def grid(self, count: int) -> tuple[int, int]:
        """Blocks for so many rows, and the parts of a row."""
        return -(-count // self.groups), self.splits


class Limits(NamedTuple):
    """What `shape_of` keeps to."""

    held: int = 28  # 32-bit registers that hold numbers of a row
    few: int = 16  # those with which more blocks run side by side
    halves: int = 32  # the same of 16-bit numbers, which fill more registers than they have bytes
    runs: int = 8  # accesses in flight
    short: int = 4  # runs of a thread, up to which a row is left to a warp
    threads: int = 1024  # of a block
    block: int = 128  # threads of a block whose warps have rows of their own
    columns: int = 256  # threads of a block that goes down columns
    part: int = 16384  # bytes of a row that are worth a block, if there are few rows


LIMITS = Limits()


@functools.lru_cache(4096)
def shape_of(
    rows: int,
    n: int,
    run: int,
    itemsize: int,
    multiprocessors: int,
    limits: Limits = LIMITS,
    arrays: int = 1,
) -> Shape:
    """How threads share rows of `n` numbers.

    `itemsize` is that of the numbers in memory, `arrays` how many of them are held.
    """
    words = max(1, itemsize // 4) * arrays * run
    accesses = limits.runs if run > 2 else 2 * limits.runs
    few = limits.few if run <= 4 else limits.halves
    most = max(1, min(accesses, max(limits.held, few) // words))
    few = max(1, min(accesses, few // words))
    parts = -(-n // run)
    short = min(limits.short, few)
    if parts <= WARP * short:
        width = min(4, _power(parts))
        while parts > width * short:
            width *= 2
        return Shape(LANES, limits.block, width, run, max(1, -(-parts // width)))
    many = 2 * rows >= multiprocessors or n * itemsize <= 2 * limits.part
    if many and parts <= limits.threads * most:
        for runs, largest in ((few, limits.threads // 2), (most, limits.threads)):
            threads = min(largest, max(128, _power(-(-parts // runs))))
            if parts <= threads * runs:
                return Shape(BLOCK, threads, threads, run, -(-parts // threads))
    splits = _splits(rows, n * itemsize, 4 * multiprocessors, limits.part)
    threads = limits.threads // 2
    return Shape(LONG, threads, threads, run, few, splits)


def _power(n: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(n - 1, 0).bit_length()


@functools.lru_cache(4096)
def columns_of(
    groups: int,
    n: int,
    itemsize: int,
    multiprocessors: int,
    limits: Limits = LIMITS,
    arrays: int = 1,
    hold: bool = False,
) -> Shape:
    """How threads share groups whose neighbours are neighbours in memory.

    With `hold` more threads share a group if then they hold it.
    """
    words = max(1, itemsize // 4) * arrays
    most = max(1, min(16, limits.held // words))
    lanes = min(WARP, _power(groups))
    threads = limits.columns
    while threads > WARP and 2 * n * lanes <= threads * min(most, 4):
        threads //= 2
    if hold and n * lanes > threads * most:
        for wide, narrow in ((512, lanes), (1024, lanes), (1024, 16), (1024, 8)):
            if narrow <= lanes and n * narrow <= wide * most:
                threads, lanes = wide, narrow
                break
    width = threads // lanes
    runs = max(1, min(most, -(-n // width)))
    splits = 1
    if n > width * runs:
        blocks = -(-groups // lanes)
        splits = _splits(blocks, n * lanes * itemsize, 4 * multiprocessors, limits.part)
    return Shape(COLUMNS, threads, width, 1, runs, splits)


def _splits(blocks: int, nbytes: int, wanted: int, part: int) -> int:
    """How many blocks share what one would do."""
    if 2 * blocks >= wanted:
        return 1
    return max(1, min(wanted // max(blocks, 1), nbytes // part))


def part_length(n: int, splits: int, run: int) -> int:
    """How many numbers of a row each of its blocks has, the last one fewer."""
    return -(-n // (splits * run)) * run


def mask_reading(pointer: int, strides: Strides, run: int) -> int:
    """How a mask is read beside runs of so many numbers."""
    if run > 1 and strides[3] == 1 and math.gcd(pointer, *strides[:3]) % run == 0:
        return IN_RUNS
    return ONE_BY_ONE
