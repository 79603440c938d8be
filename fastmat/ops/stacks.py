"""Stacks of matrices as kernels take them: a first item, a count, and steps in bytes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmat.core.arrays import Array


def each_stack(*arrays: Array) -> Iterator[tuple[Any, ...]]:
    """Cut stacks of matrices into runs of equal steps.

    Parameters
    ----------
    arrays
        ``(..., m, n)``, with any two last axes; the leading ones of the first two, and of those
        after the third, broadcast to those of the third, the result. It is not empty.

    Yields
    ------
    arrays : the first matrices of a run
    count : the length of the run
    steps : of each array, bytes from item to item
    """
    batch = arrays[2].shape[:-2]
    if not batch:
        yield *arrays, 1, *[0] * len(arrays)
        return
    arrays = tuple(
        x if x.shape[:-2] == batch else np.broadcast_to(x, batch + x.shape[-2:]) for x in arrays
    )
    start, stop = _longest_run(batch, arrays)
    count = math.prod(batch[start:stop])
    steps = [x.strides[stop - 1] if count > 1 else 0 for x in arrays]
    run = (0,) * (stop - start)
    for before in itertools.product(*map(range, batch[:start])):
        for after in itertools.product(*map(range, batch[stop:])):
            items = (array[(*before, *run, *after)] for array in arrays)
            yield *items, count, *steps


def _longest_run(batch: tuple[int, ...], arrays: tuple[Array, ...]) -> tuple[int, int]:
    """The neighbouring axes, with most items, that all arrays walk through in equal steps."""
    best = (0, 1)
    start = 0
    for stop in range(1, len(batch) + 1):
        if stop > 1 and not all(_joined(batch, x, stop - 2) for x in arrays):
            start = stop - 1
        if math.prod(batch[start:stop]) > math.prod(batch[best[0] : best[1]]):
            best = (start, stop)
    return best


def _joined(batch: tuple[int, ...], x: Array, axis: int) -> bool:
    """Whether a step along this axis is as long as the whole next one."""
    return x.strides[axis] == batch[axis + 1] * x.strides[axis + 1]
