"""Stacks of matrices, cut into launches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastmat.cuda.arrays import View

MOST_ITEMS = 65535  # of one launch: they are counted along the grid's third axis
ALIGNMENT = 16  # bytes of the longest access


class Array(NamedTuple):
    """A view by its shape, its strides, and how far its pointer is from one that is aligned."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    pointer: int


class Operand(NamedTuple):
    """An array of a run: matrices in up to three axes of a stack."""

    pointer: int
    row: int
    col: int
    steps: tuple[int, int, int]

    def swapped(self) -> Operand:
        """The transposed matrices."""
        return Operand(self.pointer, self.col, self.row, self.steps)

    def arguments(self) -> tuple[int, ...]:
        return (self.pointer, self.row, self.col, *self.steps)


class Run(NamedTuple):
    """What one launch computes: lengths of the stack's axes, and its arrays."""

    lengths: tuple[int, int, int]
    arrays: tuple[Operand, ...]  # a, b, c, blocks of the mask if there are any, extras


def runs(arrays: Sequence[Array], sizes: Sequence[int]) -> Iterator[Run]:
    """Cut a stack into launches: of up to three axes, and not too many items."""
    batch = arrays[2].shape[:-2]
    lengths, merged = _merged(batch, [_steps(x, batch) for x in arrays])
    outer = max(0, len(lengths) - 3)
    while math.prod(lengths[outer:]) > MOST_ITEMS and outer < len(lengths) - 1:
        outer += 1
    inner = (1, 1, 1, *lengths[outer:])[-3:]
    most = inner[2] if math.prod(inner) <= MOST_ITEMS else MOST_ITEMS
    for place in itertools.product(*map(range, lengths[:outer])):
        for first in range(0, inner[2], most):
            operands = []
            for x, size, axes in zip(arrays, sizes, merged, strict=True):
                steps = (0, 0, 0, *axes[outer:])[-3:]
                ahead = sum(map(_times, place, axes)) + first * steps[2]
                operands.append(Operand(x.pointer + size * ahead, *x.strides[-2:], steps))
            yield Run((inner[0], inner[1], min(most, inner[2] - first)), tuple(operands))


def _times(x: int, y: int) -> int:
    return x * y


def _steps(x: Array, batch: tuple[int, ...]) -> list[int]:
    """Strides along the axes of a stack, 0 where it is repeated."""
    own = x.shape[:-2]
    steps = [0 if n == 1 else s for n, s in zip(own, x.strides, strict=False)]
    return [0] * (len(batch) - len(own)) + steps


def _merged(batch: Sequence[int], steps: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Axes without those of length 1, and joined where all arrays walk through two as one."""
    lengths: list[int] = []
    merged: list[list[int]] = [[] for _ in steps]
    for axis, n in enumerate(batch):
        if n == 1:
            continue
        here = [x[axis] for x in steps]
        if lengths and all(m[-1] == n * s for m, s in zip(merged, here, strict=True)):
            lengths[-1] *= n
            for axes, s in zip(merged, here, strict=True):
                axes[-1] = s
        else:
            lengths.append(n)
            for axes, s in zip(merged, here, strict=True):
                axes.append(s)
    return lengths, merged


def stacked(a: View, b: View, c: View) -> tuple[View, View, View] | None:
    """A product with one axis of a stack at most; None where the axes cannot be joined."""
    batch = c.shape[:-2]
    if not batch:
        return a, b, c
    lengths, merged = _merged(
        batch, [_steps(Array(x.shape, x.strides, 0), batch) for x in (a, b, c)]
    )
    if len(lengths) > 1:
        return None
    x, y, z = (
        v._replace(shape=(*lengths, *v.shape[-2:]), strides=(*axes, *v.strides[-2:]))
        for v, axes in zip((a, b, c), merged, strict=True)
    )
    return x, y, z
