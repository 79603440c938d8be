"""Stacks of matrices as the kernels of attention take them: two axes before those of a matrix."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from fastmat.core.arrays import Array

Shape = tuple[int, ...]


def each_pair_of_axes(batch: Shape, arrays: list[Array]) -> Iterator[list[Array]]:
    """Views of arrays that begin with the axes of `batch`, cut to two of these.

    Neighbouring axes that all arrays walk through in equal steps count as one.
    """
    count = len(batch)
    if count > 2:
        runs = _runs(batch, arrays)
        arrays = [_joined(x, batch, runs) for x in arrays]
        batch = tuple(int(np.prod(batch[start:stop])) for start, stop in runs)
        count = len(batch)
    if count <= 2:
        yield [x[(np.newaxis,) * (2 - count)] for x in arrays]
        return
    for index in itertools.product(*map(range, batch[:-2])):
        yield [x[index] for x in arrays]


def _runs(batch: Shape, arrays: list[Array]) -> list[tuple[int, int]]:
    """First and last axis, plus one, of what can be joined."""
    runs = [(0, 1)]
    for axis in range(1, len(batch)):
        if all(_continues(batch, x, axis) for x in arrays):
            runs[-1] = (runs[-1][0], axis + 1)
        else:
            runs.append((axis, axis + 1))
    return runs


def _continues(batch: Shape, x: Array, axis: int) -> bool:
    """Whether a step along the axis before is as long as the whole of this one."""
    return x.strides[axis - 1] == batch[axis] * x.strides[axis]


def _joined(x: Array, batch: Shape, runs: list[tuple[int, int]]) -> Array:
    lengths = tuple(int(np.prod(batch[start:stop])) for start, stop in runs)
    steps = tuple(x.strides[stop - 1] for _, stop in runs)
    shape, strides = lengths + x.shape[len(batch) :], steps + x.strides[len(batch) :]
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=x.flags.writeable)
