"""Arrays as kernels for any strides take them: axes merged, extra ones in several launches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastmat.cuda.arrays import View, empty, stream_of
from fastmat.cuda.strided import add, cast, reciprocal

Strides = tuple[int, ...]
_MOST = 2**31 - 1  # items of a launch


class Groups(NamedTuple):
    """Arrays in five axes: two of groups, three of the numbers of a group."""

    lengths: tuple[int, int, int, int, int]
    strides: list[Strides]
    offsets: list[int]

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return self.lengths[0] * self.lengths[1]

    @property
    def numbers(self) -> int:
        """Numbers of a group."""
        return math.prod(self.lengths[2:])

    @property
    def depth(self) -> int:
        """Along how many axes the numbers of a group lie."""
        _, _, p, r, _ = self.lengths
        return 3 if p > 1 else 2 if r > 1 else 1

    def run(self, pointers: Sequence[int], itemsize: int, which: Sequence[int]) -> int:
        """How many numbers of a group can be read by one access to each of these arrays."""
        run = max(16 // itemsize, 1)
        if self.lengths[4] % run:
            return 1
        for k in which:
            *others, last = self.strides[k]
            if last != 1 or (pointers[k] + self.offsets[k] * itemsize) % 16:
                return 1
            if any(s % run for s, n in zip(others, self.lengths, strict=False) if n > 1):
                return 1
        return run

    @property
    def across(self) -> bool:
        """Whether neighbours in the memory of the first array are in different groups."""
        outer, reduced = self.strides[0][1], self.strides[0][4]
        if self.lengths[1] < 8 or outer == 0:
            return False
        return abs(outer) < abs(reduced) or self.numbers == 1


def grouped(shape: Sequence[int], axes: Sequence[int], *strides: Strides) -> Iterator[Groups]:
    """The arrays of these strides, as kernels for groups over some axes take them."""
    kept = _merged([i for i in range(len(shape)) if i not in axes], shape, strides)
    reduced = _merged(list(axes), shape, strides)
    if len(reduced) > 3:
        raise TypeError(
            "x has the numbers of a group along more than 3 axes that are not contiguous; it does "
            "not run on GPUs with such strides"
        )
    if len(reduced) > 1 and math.prod(n for n, _ in reduced) > _MOST:
        raise TypeError(
            f"x has shape {tuple(shape)}; it does not run on GPUs with groups of more than 2**31 "
            "numbers that are not contiguous"
        )
    kept.sort(key=lambda run: -abs(run[1][0]))
    for number, lead in _loops(kept, 2, strides):
        outer = number
        slots = [*_ones(2 - len(outer), strides), *outer, *_ones(3 - len(reduced), strides)]
        slots += reduced
        lengths = tuple(length for length, _ in slots)
        own = [tuple(step[k] for _, step in slots) for k in range(len(strides))]
        yield Groups(lengths, own, lead)  # type: ignore[arg-type]


class Mapped(NamedTuple):
    """Arrays in four axes, for kernels that see each number once."""

    lengths: tuple[int, int, int, int]
    strides: list[Strides]
    offsets: list[int]

    @property
    def depth(self) -> int:
        """Along how many axes the numbers lie."""
        a, b, c, _ = self.lengths
        return 4 if a > 1 else 3 if b > 1 else 2 if c > 1 else 1

    def run(self, pointers: Sequence[int], itemsize: int, which: Sequence[int]) -> int:
        """How many numbers can be read, or written, by one access to each of these arrays."""
        run = max(16 // itemsize, 1)
        for k in which:
            *others, last = self.strides[k]
            if last != 1 or (pointers[k] + self.offsets[k] * itemsize) % 16:
                return 1
            if any(s % run for s, n in zip(others, self.lengths, strict=False) if n > 1):
                return 1
        return 1 if self.lengths[3] % run else run

    def lengths_and_divisors(self, run: int) -> tuple[int, ...]:
        """Arguments of kernels: number of runs, lengths, and how to divide by them."""
        a, b, c, d = self.lengths
        d //= run
        return a * b * c * d, b, c, d, *reciprocal(b), *reciprocal(c), *reciprocal(d)


def mapped(shape: Sequence[int], *strides: Strides) -> Iterator[Mapped]:
    """The arrays of these strides, as kernels that see each number once take them."""
    runs = _merged(list(range(len(shape))), shape, strides)
    for inner, lead in _loops(runs, 4, strides):
        slots = [*_ones(4 - len(inner), strides), *inner]
        first = next((k for k, (length, _) in enumerate(slots) if length > 1), 3)
        length, step = slots[first]
        size = math.prod(n for n, _ in slots)
        part = length if size <= _MOST else max(_MOST // (size // length), 1)
        for begin in range(0, length, part):
            slots[first] = (min(part, length - begin), step)
            lengths = tuple(n for n, _ in slots)
            own = [tuple(s[k] for _, s in slots) for k in range(len(strides))]
            offsets = [at + begin * s for at, s in zip(lead, step, strict=True)]
            yield Mapped(lengths, own, offsets)  # type: ignore[arg-type]


Run = tuple[int, tuple[int, ...]]  # length of an axis, and the strides of all arrays along it


def _ones(count: int, strides: Sequence[Strides]) -> list[Run]:
    return [(1, (0,) * len(strides))] * count


def _merged(axes: list[int], shape: Sequence[int], strides: Sequence[Strides]) -> list[Run]:
    """Axes longer than 1, in order of the strides of the first array, joined where all can be."""
    longer = [i for i in axes if shape[i] > 1]
    longer.sort(key=lambda i: -abs(strides[0][i]))
    runs: list[Run] = []
    for i in longer:
        n, step = shape[i], tuple(s[i] for s in strides)
        if runs and all(a == n * b for a, b in zip(runs[-1][1], step, strict=True)):
            runs[-1] = (runs[-1][0] * n, step)
        else:
            runs.append((n, step))
    return runs


def _loops(
    runs: list[Run], most: int, strides: Sequence[Strides]
) -> Iterator[tuple[list[Run], list[int]]]:
    """The last axes, and offsets of the arrays, for each place along the shortest others."""
    extra = sorted(runs, key=lambda run: run[0])[: max(len(runs) - most, 0)]
    rest = list(runs)
    for run in extra:
        rest.remove(run)
    for index in itertools.product(*(range(n) for n, _ in extra)):
        lead = [0] * len(strides)
        for at, (_, step) in zip(index, extra, strict=True):
            lead = [have + at * s for have, s in zip(lead, step, strict=True)]
        yield rest, lead


def copied(x: View, dtype: str, y: View | None = None) -> View:
    """The numbers of x in this dtype: in y, or in C order."""
    if y is None:
        y = empty(x.shape, dtype, x)[1]
    if x.size == 0:
        return y
    kernel, stream = cast(x.dtype, dtype), stream_of(x)
    for part in mapped(x.shape, x.strides, y.strides):
        size = math.prod(part.lengths)
        at = _pointers((x, y), part.offsets)
        arguments = (*at, size, *part.lengths[1:], *part.strides[0], *part.strides[1])
        kernel(-(-size // kernel.threads), arguments, stream, x.device)
    return y


def added_to(x: View, more: View, y: View) -> View:
    """Write the sum of x and more to y."""
    kernel, stream = add(x.dtype), stream_of(x)
    for part in mapped(x.shape, x.strides, more.strides, y.strides):
        size = math.prod(part.lengths)
        at = _pointers((x, more, y), part.offsets)
        strides = (step for own in part.strides for step in own)
        kernel(
            -(-size // kernel.threads), (*at, size, *part.lengths[1:], *strides), stream, x.device
        )
    return y


def _pointers(views: Sequence[View], offsets: Sequence[int]) -> list[int]:
    return [v.pointer + at * v.itemsize for v, at in zip(views, offsets, strict=True)]
