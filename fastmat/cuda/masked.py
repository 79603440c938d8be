"""Filling under masks: the kernel, and how a call is cut into launches of it."""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from numba import cuda, types

from fastmat.cuda.arrays import View
from fastmat.cuda.gather import divided, divisor
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_copy import BLOCKS, MOST, THREADS, WIDE
from fastmat.cuda.tiles import PAIR, STORED

AXES = 4
_AT_ONCE = {1: 1, 2: 2, 4: 4, 8: 4, 16: 4}  # runs of 16 bytes that a thread has in flight
_ITEMS_AT_ONCE = 8  # if it moves items

# How an operand goes on along a run of items:
ABSENT = "absent"  # there is none; for a value: it is among the arguments
RUN = "run"  # its items follow each other, and are read by one access
SAME = "same"  # one item for all
ITEMS = "items"  # with any stride


class How(NamedTuple):
    """A variant of the kernel; `filled`: whether the value stands where the mask is True."""

    size: int
    wide: bool
    first: str
    second: str
    value: str
    filled: bool


@cuda.jit(device=True)
def _offset(d0, d1, d2, d3, s0, s1, s2, s3):
    return d0 * s0 + d1 * s1 + d2 * s2 + d3 * s3


@functools.cache
def filling(how: How) -> Kernel:
    """The kernel of a variant.

    Operands are x, the two masks (of which both must be True), the value and the target; each
    has 4 strides, the first that of the fastest axis.
    """
    size = how.size
    stored = getattr(types, STORED[size])
    pair = PAIR.get(size, 1)
    length = WIDE // size if how.wide else 1  # items of a run
    each = runs_at_once(size, how.wide)
    run = length * pair
    held_count, kept_count = each * run, each * length
    filled = how.filled
    first_is, second_is, value_is = how.first, how.second, how.value

    def fill(
        x, first, second, value, target, count, low, high,
        n0, factor0, shift0, n1, factor1, shift1, n2, factor2, shift2,
        x0, x1, x2, x3, first0, first1, first2, first3, second0, second1, second2, second3,
        value0, value1, value2, value3, target0, target1, target2, target3,
    ):  # fmt: skip
        held = cuda.local.array(held_count, stored)
        values = cuda.local.array(held_count, stored)
        kept = cuda.local.array(kept_count, types.uint8)
        more = cuda.local.array(length, types.uint8)
        to = cuda.local.array(each, types.int64)
        begin = types.uint32(
            types.uint32(cuda.blockIdx.x) * types.uint32(THREADS * each)
            + types.uint32(cuda.threadIdx.x)
        )
        for k in range(each):
            i = types.uint32(begin + types.uint32(k * THREADS))
            if i < count:
                j = divided(i, factor0, shift0)
                d0 = types.uint32(types.uint32(i - types.uint32(j * n0)) * types.uint32(length))
                i = divided(j, factor1, shift1)
                d1 = types.uint32(j - types.uint32(i * n1))
                d3 = divided(i, factor2, shift2)
                d2 = types.uint32(i - types.uint32(d3 * n2))
                to[k] = _offset(d0, d1, d2, d3, target0, target1, target2, target3)

                at = _offset(d0, d1, d2, d3, first0, first1, first2, first3)
                if first_is == RUN:
                    load_run(kept, k * length, first, at, length)
                else:
                    for item in range(length):
                        if first_is == SAME:
                            kept[k * length + item] = first[at]
                        elif first_is == ITEMS:
                            kept[k * length + item] = first[at + item * first0]
                        else:
                            kept[k * length + item] = 1
                read = first_is == RUN or first_is == ITEMS or not filled
                if first_is == SAME:
                    read = (kept[k * length] == 0) == filled
                if second_is != ABSENT:
                    at = _offset(d0, d1, d2, d3, second0, second1, second2, second3)
                    if second_is == RUN:
                        load_run(more, 0, second, at, length)
                    for item in range(length):
                        if second_is == RUN:
                            mark = more[item]
                        elif second_is == SAME:
                            mark = second[at]
                        else:
                            mark = second[at + item * second0]
                        if mark == 0:
                            kept[k * length + item] = 0
                if read:
                    at = _offset(d0, d1, d2, d3, x0, x1, x2, x3)
                    load_run(held, k * run, x, at * pair, run)
                if value_is != ABSENT:
                    at = _offset(d0, d1, d2, d3, value0, value1, value2, value3)
                    if value_is == RUN:
                        load_run(values, k * run, value, at * pair, run)
                    else:
                        for item in range(length):
                            load_run(
                                values, k * run + item * pair, value,
                                (at + (item * value0 if value_is == ITEMS else 0)) * pair, pair,
                            )  # fmt: skip
        for k in range(each):
            if types.uint32(begin + types.uint32(k * THREADS)) < count:
                for item in range(length):
                    if (kept[k * length + item] != 0) == filled:
                        if value_is == ABSENT:
                            held[k * run + item * pair] = low
                            if pair == 2:
                                held[k * run + item * pair + 1] = high
                        else:
                            for p in range(pair):
                                q = k * run + item * pair + p
                                held[q] = values[q]
                store_run(target, to[k] * pair, held, k * run, run)

    pointer = f"{stored.name}*"
    return Kernel(
        fill,
        (
            *(pointer, "uint8*", "uint8*", pointer, pointer, "uint32", "uint64", "uint64"),
            *("uint32",) * 9,
            *("int64",) * 20,
        ),
        name=f"fill {' '.join(map(str, how))}",
        threads=THREADS,
        blocks=BLOCKS,
    )


class Step(NamedTuple):
    """A launch, but for pointers and the value; offsets of the operands in bytes."""

    kernel: Kernel
    grid: int
    count: int
    offsets: tuple[int, ...]
    numbers: tuple[int, ...]


def fill(
    x: View,
    first: View | None,
    second: View | None,
    value: View | bytes,
    target: View,
    filled: bool,
    stream: int,
) -> None:
    """``target = where(first, value, x)``, or ``where(first & second, x, value)``.

    All views have the shape of the target; bytes are those of a number for all items. A mask
    that is not given is True; without the first, only the value is read if that is where it goes.
    """
    operands = (x, first, second, None if isinstance(value, bytes) else value, target)
    pointers = [0 if v is None else v.pointer for v in operands]
    steps = _plan(
        target.shape,
        tuple(None if v is None else v.strides for v in operands),
        target.itemsize,
        tuple(p % WIDE for p in pointers),
        filled,
    )
    low, high = struct.unpack("<QQ", value.ljust(16, b"\0")) if isinstance(value, bytes) else (0, 0)
    for kernel, grid, count, offsets, numbers in steps:
        moved = [p + offset for p, offset in zip(pointers, offsets, strict=True)]
        kernel(grid, (*moved, count, low, high, *numbers), stream, target.device)


_Axis = tuple[int, tuple[int, ...]]  # length, strides of the operands in items


@functools.lru_cache(4096)
def _plan(
    shape: tuple[int, ...],
    strides: tuple[tuple[int, ...] | None, ...],
    size: int,
    alignments: tuple[int, ...],
    filled: bool,
) -> tuple[Step, ...]:
    """The launches of a call."""
    if 0 in shape:
        return ()
    absent = tuple(s is None for s in strides)
    given = [(0,) * len(shape) if s is None else s for s in strides]
    sizes = (size, 1, 1, size, size)
    offsets = [0] * len(sizes)
    axes: list[_Axis] = []
    for n, *steps in zip(shape, *given, strict=True):
        if n == 1:
            continue
        if steps[-1] < 0:  # from the other end
            offsets = [o + (n - 1) * s * b for o, s, b in zip(offsets, steps, sizes, strict=True)]
            steps = [-s for s in steps]
        axes.append((n, tuple(steps)))
    return tuple(_steps(merged(axes), tuple(offsets), sizes, absent, alignments, filled))


def merged(axes: Sequence[_Axis]) -> list[_Axis]:
    """Axes from the slowest in the last operand to the fastest, and neighbours as one."""
    found: list[_Axis] = []
    for n, strides in sorted(axes, key=lambda axis: -axis[1][-1]):
        if found and found[-1][1] == tuple(n * s for s in strides):
            found[-1] = found[-1][0] * n, strides
        else:
            found.append((n, strides))
    return found


def part_of(
    axes: list[_Axis], offsets: Sequence[int], sizes: Sequence[int], begin: int, end: int
) -> tuple[list[_Axis], tuple[int, ...]]:
    """What lies between two indices of the slowest axis."""
    (_, strides), *others = axes
    moved = tuple(o + begin * s * b for o, s, b in zip(offsets, strides, sizes, strict=True))
    return others if end - begin == 1 else [(end - begin, strides), *others], moved


def _steps(
    axes: list[_Axis],
    offsets: tuple[int, ...],
    sizes: tuple[int, ...],
    absent: tuple[bool, ...],
    alignments: tuple[int, ...],
    filled: bool,
) -> Iterator[Step]:
    axes = axes or [(1, (1,) * len(sizes))]
    total = 1
    for n, _ in axes:
        total *= n
    if total > MOST or len(axes) > AXES:
        n = axes[0][0]
        ends = range(n + 1) if len(axes) > AXES else (0, n // 2, n)
        for begin, end in itertools.pairwise(ends):
            part, moved = part_of(axes, offsets, sizes, begin, end)
            yield from _steps(part, moved, sizes, absent, alignments, filled)
        return
    size = sizes[0]
    most = WIDE // size
    n, strides = axes[-1]

    def aligned(k: int, length: int) -> bool:
        unit = length * sizes[k]
        places = (alignments[k] + offsets[k], *(s[k] * sizes[k] for _, s in axes[:-1]))
        return strides[k] == 1 and not any(place % unit for place in places)

    wide = most > 1 and aligned(0, most) and aligned(4, most)
    if wide and n % most:
        if len(axes) > 1 or n < most:
            wide = False
        else:  # the rest by itself
            whole = n // most * most
            for begin, end in ((0, whole), (whole, n)):
                part, moved = part_of(axes, offsets, sizes, begin, end)
                part = part or [(1, strides)]
                yield from _steps(part, moved, sizes, absent, alignments, filled)
            return
    length = most if wide else 1
    kinds = [ABSENT if absent[k] else _kind(strides[k], aligned(k, length), wide) for k in range(5)]
    runs = total // length
    full = [(n // length, strides), *axes[-2::-1]]
    full += [(1, (0,) * len(sizes))] * (AXES - len(full))
    numbers: list[int] = []
    for k, (m, _) in enumerate(full[:-1]):
        numbers += (1, 0, 0) if k >= len(axes) - 1 else (m, *divisor(m))
    for k in range(len(sizes)):
        numbers += (s[k] for _, s in full)
    kernel = filling(How(size, wide, kinds[1], kinds[2], kinds[3], filled))
    each = runs_at_once(size, wide)
    yield Step(kernel, -(-runs // (THREADS * each)), runs, offsets, tuple(numbers))


def runs_at_once(size: int, wide: bool) -> int:
    """How many runs a thread moves."""
    return _AT_ONCE[size] if wide or size > 4 else _ITEMS_AT_ONCE


def _kind(stride: int, aligned: bool, wide: bool) -> str:
    if stride == 0:
        return SAME
    return RUN if wide and aligned else ITEMS
