"""Copies of arrays from any strides to any others: which kernels do it, and their launches."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastmat.cuda.arrays import View, empty, stream_of
from fastmat.cuda.gather import copying, divisor, gathering, thin
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_copy import (
    AXES,
    BATCH_AXES,
    EACH,
    FEW_BYTES,
    MOST,
    SMALL,
    THIN_ITEMS,
    THREADS,
    TILES,
    WIDE,
)
from fastmat.cuda.tiles import transposing

_FEW_AXES = 3


class Axis(NamedTuple):
    """An axis of a copy; strides in items."""

    length: int
    source: int
    target: int


class Problem(NamedTuple):
    """A copy of items of a size, the axis that is fastest in the target being the last.

    Offsets are in bytes; alignments are those of the pointers before they are added.
    """

    size: int
    axes: tuple[Axis, ...]
    source_offset: int
    target_offset: int
    source_alignment: int
    target_alignment: int


class Step(NamedTuple):
    """A launch, but for the pointers; tiles take each of them twice."""

    kernel: Kernel
    grid: int
    source_offset: int
    target_offset: int
    twice: bool
    numbers: tuple[int, ...]


def packed(x: View) -> View:
    """The view itself if it is C-contiguous, else that of a copy, made on the caller's stream."""
    if x.contiguous:
        return x
    _, made = empty(x.shape, x.dtype, x)
    copy(x, made)
    return made


def copy(source: View, target: View, stream: int | None = None) -> None:
    """``target[...] = source`` of one shape and dtype, in memory that does not overlap."""
    steps = _plan(
        source.shape, source.strides, target.strides, source.itemsize,
        source.pointer % WIDE, target.pointer % WIDE,
    )  # fmt: skip
    if stream is None:
        stream = stream_of(target)
    for kernel, grid, source_offset, target_offset, twice, numbers in steps:
        read, written = source.pointer + source_offset, target.pointer + target_offset
        pointers = (read, read, written, written) if twice else (read, written)
        kernel(grid, (*pointers, *numbers), stream, target.device)


@functools.lru_cache(4096)
def _reach(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """Bytes from an array's pointer to its first byte and to that after the last."""
    if 0 in shape:
        return 0, 0
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    low = sum(r for r in reach if r < 0) * itemsize
    high = (sum(r for r in reach if r > 0) + 1) * itemsize
    return low, high


def extent(x: View) -> tuple[int, int]:
    """The addresses of the first byte and of that after the last."""
    low, high = _reach(x.shape, x.strides, x.itemsize)
    return x.pointer + low, x.pointer + high


def may_overlap(x: View, y: View) -> bool:
    """Whether the memory between the first and the last items has a part in common."""
    (x_low, x_high), (y_low, y_high) = extent(x), extent(y)
    return max(x_low, y_low) < min(x_high, y_high) and x.device == y.device


@functools.lru_cache(4096)
def _plan(
    shape: tuple[int, ...],
    source_strides: tuple[int, ...],
    target_strides: tuple[int, ...],
    size: int,
    source_alignment: int,
    target_alignment: int,
) -> tuple[Step, ...]:
    """The launches of a copy."""
    if 0 in shape:
        return ()
    source_offset = target_offset = 0
    axes = []
    for n, s, t in zip(shape, source_strides, target_strides, strict=True):
        if n == 1:
            continue
        if t < 0:  # from the other end
            source_offset += (n - 1) * s * size
            target_offset += (n - 1) * t * size
            s, t = -s, -t
        axes.append(Axis(n, s, t))
    problem = Problem(
        size, _merged(axes), source_offset, target_offset, source_alignment, target_alignment
    )
    return tuple(_steps(_with_longer_items(problem)))


def _merged(axes: list[Axis]) -> tuple[Axis, ...]:
    """The axes from the slowest in the target to the fastest, and neighbours as one."""
    found: list[Axis] = []
    for axis in sorted(axes, key=lambda a: (-a.target, -abs(a.source))):
        if found:
            last = found[-1]
            if (last.source, last.target) == (axis.length * axis.source, axis.length * axis.target):
                found[-1] = Axis(last.length * axis.length, axis.source, axis.target)
                continue
        found.append(axis)
    return tuple(found)


def _with_longer_items(problem: Problem) -> Problem:
    """Runs that are contiguous in both as longer items, as far as all addresses allow."""
    size, axes, source_offset, target_offset, *alignments = problem
    source, target = alignments[0] + source_offset, alignments[1] + target_offset
    while source % size or target % size:  # NumPy would call it misaligned
        size //= 2
        axes = (*(Axis(n, s * 2, t * 2) for n, s, t in axes), Axis(2, 1, 1))
    axes = _merged([*axes])
    if not axes or axes[-1][1:] != (1, 1):
        return problem._replace(size=size, axes=axes)
    run = axes[-1].length * size
    wide = WIDE
    while wide > size and (
        run % wide
        or source % wide
        or target % wide
        or any(s * size % wide or t * size % wide for _, s, t in axes[:-1])
    ):
        wide //= 2
    ratio = wide // size
    others = [Axis(n, s // ratio, t // ratio) for n, s, t in axes[:-1]]
    if run > wide:
        others.append(Axis(run // wide, 1, 1))
    return problem._replace(size=wide, axes=_merged(others))


def _steps(problem: Problem) -> Iterator[Step]:
    size, axes = problem.size, problem.axes
    if not axes:
        axes = (Axis(1, 1, 1),)
    if len(axes) == 1 and axes[0][1:] == (1, 1):
        blocks = -(-axes[0].length // (THREADS * EACH[size]))
        yield _step(problem, copying(size), blocks, (axes[0].length,))
        return
    a = len(axes) - 1  # the fastest in the target
    b = min(range(len(axes)), key=lambda k: abs(axes[k].source) or MOST)  # in the source
    if a == b or not axes[a].source or axes[a].length * axes[b].length * size <= FEW_BYTES:
        yield from _gathered(problem._replace(axes=axes))
        return
    batch = [axes[k] for k in range(a - 1, -1, -1) if k != b]
    if len(batch) > BATCH_AXES:
        for part in _each(problem):
            yield from _steps(part)
        return
    choose = _thin if _is_thin(size, axes[a].length, axes[b].length) else _tiled
    step = choose(problem, axes[a], axes[b], batch)
    if step.grid > MOST:
        for part in _halves(problem):
            yield from _steps(part)
    else:
        yield step


def _step(
    problem: Problem, kernel: Kernel, grid: int, numbers: tuple[int, ...], twice: bool = False
) -> Step:
    return Step(kernel, grid, problem.source_offset, problem.target_offset, twice, numbers)


def _part(problem: Problem, begin: int, end: int) -> Problem:
    """What lies between two indices of the slowest axis."""
    (_, s, t), *others = problem.axes
    return problem._replace(
        axes=tuple(others) if end - begin == 1 else (Axis(end - begin, s, t), *others),
        source_offset=problem.source_offset + begin * s * problem.size,
        target_offset=problem.target_offset + begin * t * problem.size,
    )


def _halves(problem: Problem) -> list[Problem]:
    n = problem.axes[0].length
    return [_part(problem, 0, n // 2), _part(problem, n // 2, n)]


def _each(problem: Problem) -> Iterator[Problem]:
    return (_part(problem, i, i + 1) for i in range(problem.axes[0].length))


def _gathered(problem: Problem) -> Iterator[Step]:
    """Each item by itself, in the order of the target."""
    count = 1
    for axis in problem.axes:
        count *= axis.length
    if len(problem.axes) > AXES or count > MOST:
        for part in _each(problem) if len(problem.axes) > AXES else _halves(problem):
            yield from _gathered(part)
        return
    room = _FEW_AXES if len(problem.axes) <= _FEW_AXES else AXES
    axes = [*problem.axes[::-1], *[Axis(1, 0, 0)] * (room - len(problem.axes))]
    numbers = [count, axes[0].source, axes[0].target]
    for k, (axis, following) in enumerate(itertools.pairwise(axes)):
        last = k == len(problem.axes) - 1
        factors = (1, 0, 0) if last else (axis.length, *divisor(axis.length))
        numbers += (*factors, following.source, following.target)
    blocks = -(-count // (THREADS * EACH[problem.size]))
    yield _step(problem, gathering(problem.size, room), blocks, tuple(numbers))


def _is_thin(size: int, na: int, nb: int) -> bool:
    return min(na, nb) <= SMALL.get(size, TILES[size]).rows // 2


def _batch(axes: list[Axis]) -> tuple[int, ...]:
    """The lengths of all but the last of the axes of a batch, and their strides."""
    full = [*axes, *[Axis(1, 0, 0)] * (BATCH_AXES - len(axes))]
    return (
        *(axis.length for axis in full[:-1]),
        *(axis.source for axis in full),
        *(axis.target for axis in full),
    )


def _matrices(axes: list[Axis]) -> int:
    """How many matrices a batch has."""
    count = 1
    for axis in axes:
        count *= axis.length
    return count


def _thin(problem: Problem, a: Axis, b: Axis, batch: list[Axis]) -> Step:
    """A short axis against a long one, the short one whole in each block."""
    size = problem.size
    short, long = (b, a) if b.length <= a.length else (a, b)
    chunk = min(THIN_ITEMS[size] // short.length, long.length)
    if chunk > 32:
        chunk = chunk // 32 * 32
    numbers = (
        *(short.length, *divisor(short.length), chunk, *divisor(chunk), long.length),
        *(short.source, long.source, short.target, long.target),
        *_batch(batch),
    )
    blocks = -(-long.length // chunk) * _matrices(batch)
    return _step(problem, thin(size, short is b), blocks, numbers)


def _tiled(problem: Problem, a: Axis, b: Axis, batch: list[Axis]) -> Step:
    size = problem.size
    small = size in SMALL and (a.length <= SMALL[size].rows or b.length <= SMALL[size].columns)
    rows, columns = SMALL[size] if small else TILES[size]
    loads = _access(
        size, b.source, problem.source_alignment + problem.source_offset,
        [a.source, *(axis.source for axis in batch)],
    )  # fmt: skip
    stores = _access(
        size, a.target, problem.target_alignment + problem.target_offset,
        [b.target, *(axis.target for axis in batch)],
    )  # fmt: skip
    numbers: tuple[Any, ...] = (a.length, b.length, a.source, b.source, a.target, b.target)
    count = _matrices(batch)
    blocks = -(-a.length // rows) * -(-b.length // columns) * count
    kernel = transposing(size, loads, stores, count > 1, small)
    return _step(problem, kernel, blocks, (*numbers, *_batch(batch)), True)


def _access(size: int, stride: int, address: int, others: list[int]) -> int:
    """The bytes of the longest access along an axis."""
    if stride == 1:
        for length in (WIDE, 4):
            if length > size and not address % length:
                if all(s * size % length == 0 for s in others):
                    return length
    return size
