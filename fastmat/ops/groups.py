"""Arrays as the kernels of reductions take them: groups by numbers of a group, in five axes."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastmat.core.arrays import Array

KEPT, REDUCED = 2, 3  # how many axes kernels have for groups, and within groups
SHORT_LINE = 16  # numbers; a line shorter than this is better read across memory


def normalized_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes as non-negative numbers, in order; None stands for all of them."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:  # as nearly always
        return (axis % ndim,)
    given = axis if isinstance(axis, tuple | list) else (axis,)
    found = []
    for item in given:
        try:
            number = operator.index(item)
        except TypeError:
            raise TypeError(
                f"axis is {axis!r}; it must be an integer, or a tuple of them"
            ) from None
        if not -ndim <= number < ndim:
            raise np.exceptions.AxisError(number, ndim)
        found.append(number % ndim)
    if len(set(found)) != len(found):
        raise ValueError(f"axis is {axis!r}; it must not name an axis twice")
    return tuple(sorted(found))


def grouped(axes: tuple[int, ...], *arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The same arrays in five axes: two of groups, three of the numbers of a group.

    Parameters
    ----------
    axes
        The axes that groups extend over.
    arrays
        The first has the full shape; the others have the same lengths, or 1.

    Yields
    ------
    views of all arrays, ``(o, i, p, r, q)`` or 1 in place of a length, which together are the
    whole arrays; more than one tuple of them where the groups have more than two axes that
    cannot be merged
    """
    first = arrays[0]
    if axes == tuple(range(first.ndim - len(axes), first.ndim)) and first.flags.c_contiguous:
        trailing = _trailing(len(axes), arrays)
        if trailing is not None:
            yield trailing
            return
    kept = [axis for axis in range(first.ndim) if axis not in axes]
    outer, reduced = _merged(kept, arrays), _longest_last(_merged(list(axes), arrays), first)
    if len(reduced) > REDUCED:
        raise ScatteredError
    extra = max(0, len(outer) - KEPT)
    shortest = sorted(outer, key=lambda run: _length(run, first))[:extra]
    loops = [axis for run in shortest for axis in run]
    outer = [run for run in outer if run not in shortest]
    slots = [*[[]] * (KEPT - len(outer)), *outer, *[[]] * (REDUCED - len(reduced)), *reduced]
    order = [*loops, *itertools.chain(*slots)]
    rest = [axis for axis in range(first.ndim) if axis not in order]
    moved = [x.transpose(*loops, *rest, *order[len(loops) :]) for x in arrays]
    lead = len(loops)
    for index in np.ndindex(*moved[0].shape[:lead]):
        yield tuple(
            x[tuple(i if n > 1 else 0 for i, n in zip(index, x.shape, strict=False))].reshape(
                [math.prod(array.shape[axis] for axis in run) for run in slots]
            )
            for x, array in zip(moved, arrays, strict=True)
        )


class ScatteredError(Exception):
    """The numbers of a group lie along more axes than kernels have: copy the array first."""


def _trailing(count: int, arrays: Sequence[Array]) -> tuple[Array, ...] | None:
    """The views for groups over the last axes, where all is contiguous and nothing repeats."""
    shape = arrays[0].shape
    split = len(shape) - count
    groups, group = shape[:split], shape[split:]
    rows, numbers = math.prod(groups), math.prod(group)
    views = []
    for x in arrays:
        leading = rows if x.shape[:split] == groups else 1
        last = numbers if x.shape[split:] == group else 1
        if leading * last != x.size or not x.flags.c_contiguous:
            return None
        views.append(x.reshape(1, leading, 1, 1, last))
    return tuple(views)


def _merged(axes: list[int], arrays: Sequence[Array]) -> list[list[int]]:
    """Axes longer than 1, in order of their strides, joined where all arrays can be."""
    first = arrays[0]
    longer = [axis for axis in axes if first.shape[axis] > 1]
    longer.sort(key=lambda axis: -abs(first.strides[axis]))
    runs: list[list[int]] = []
    for axis in longer:
        if runs and all(_joined(x, runs[-1][-1], axis) for x in arrays):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs


def _longest_last(runs: list[list[int]], x: Array) -> list[list[int]]:
    """The axes of a group, with the longest last if the last one makes short lines."""
    lengths = [_length(run, x) for run in runs]
    if lengths and lengths[-1] < SHORT_LINE < max(lengths):
        runs.append(runs.pop(lengths.index(max(lengths))))
    return runs


def _length(run: list[int], x: Array) -> int:
    return math.prod(x.shape[axis] for axis in run)


def _joined(x: Array, a: int, b: int) -> bool:
    """Whether two axes can be walked through as one."""
    if x.shape[a] == 1 or x.shape[b] == 1:
        return bool(x.shape[a] == x.shape[b])
    return bool(x.strides[a] == x.shape[b] * x.strides[b])
