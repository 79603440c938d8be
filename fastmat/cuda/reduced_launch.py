"""Launches of the kernels of `reduced`: which of them, and with what grid."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from fastmat.cuda import driver
from fastmat.cuda.arrays import ITEMSIZE, View, empty
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.mapped_launch import ALIGNMENT
from fastmat.cuda.reduced import COMBINING, Reduction, combining_kernel, parts_kernel, whole_kernel
from fastmat.cuda.row_shapes import (
    GROUPS,
    NO_MASK,
    columns_of,
    down_columns,
    grouped,
    mask_reading,
    part_length,
    repeated,
    run_of,
    shape_of,
)

FEW = 2**31  # numbers of a group, up to which they are counted in int32
_NOWHERE = (0, 0, 0, 0)


class Plan(NamedTuple):
    """Kernels and all of their arguments but the pointers and parameters."""

    kernel: Kernel
    grid: tuple[int, int]
    numbers: tuple[int, ...]
    part: int = 0  # numbers of a row that a block has, if it is split
    states: int = 0  # 64-bit words between the two kernels
    second: Kernel | None = None
    second_grid: tuple[int, int] = (0, 0)
    second_numbers: tuple[int, ...] = ()


def reduce(
    make: Callable[..., Reduction],
    how: tuple[str, ...],
    axes: tuple[int, ...],
    x: View,
    mask: View | None,
    out: View,
    stream: int,
    parameters: tuple[complex, complex, int] = (0, 0, 1),
    missing: View | None = None,
    in_order: bool = False,
) -> bool:
    """Run ``make(*how, index)`` over groups of arrays; False if `grouped` cannot take them.

    `index` is the dtype of places in a group.

    `out` has length 1 along the axes that are reduced; `missing` is an int32 that becomes 1 if
    some group has no number.
    """
    views = (x, out) if mask is None else (x, mask, out)
    plan = _plan(
        make, how, axes,
        tuple([(v.shape, v.strides, v.pointer % ALIGNMENT) for v in views]),
        (x.dtype, out.dtype), mask is not None,
        driver.current.multiprocessors(x.device), in_order,
    )  # fmt: skip
    if plan is None:
        return False
    flag = (missing or out).pointer
    masks = (mask or x).pointer
    if plan.second is None:
        arguments = (x.pointer, masks, out.pointer, flag, *plan.numbers, *parameters)
        plan.kernel(plan.grid, arguments, stream, x.device)
        return True
    _, states = empty((2 * plan.states,), "float32", x)
    arguments = (states.pointer, plan.part, x.pointer, masks, *plan.numbers)
    plan.kernel(plan.grid, arguments, stream, x.device)
    arguments = (states.pointer, out.pointer, flag, *plan.second_numbers, *parameters)
    plan.second(plan.second_grid, arguments, stream, x.device)
    return True


@functools.lru_cache(4096)
def _plan(make, how, axes, arrays, dtypes, masked, multiprocessors, in_order):
    full = arrays[0][0]
    strides = tuple([repeated(shape, steps, full) for shape, steps, _ in arrays])
    alignments = [alignment for *_, alignment in arrays]
    groups = grouped(axes, full, strides, in_order)
    if groups is None:
        return None
    count, n = groups.count, groups.n
    if count > GROUPS:
        raise ValueError(f"there are {count} groups; on GPUs there may be {GROUPS}")
    first, last = groups.strides[0], groups.strides[-1]
    mask = groups.strides[1] if masked else _NOWHERE
    size = ITEMSIZE[dtypes[0]]
    how = (*how, "int32" if n < FEW else "int64")
    program = make(*how)
    itemsize = program.number.bitwidth // 8
    if down_columns(groups):
        shape = columns_of(count, n, itemsize, multiprocessors, program.limits)
    else:
        scalar = dtypes[0].startswith("complex")
        run = 1 if scalar else run_of(n, (first,), (size,), alignments[:1])
        shape = shape_of(count, n, run, itemsize, multiprocessors, program.limits)
    reading = mask_reading(alignments[1], mask, shape.run) if masked else NO_MASK
    numbers = (count, n, *groups.lengths[1:], *first, *mask, *last[:3])
    if shape.splits == 1 or n <= shape.step:
        kernel = _whole(make, how, dtypes, shape._replace(splits=1), reading, groups.axes)
        return Plan(kernel, shape._replace(splits=1).grid(count), numbers)
    part = part_length(n, shape.splits, shape.step)
    shape = shape._replace(splits=-(-n // part))
    return Plan(
        _parts(make, how, dtypes, shape._replace(splits=1), reading, groups.axes),
        shape.grid(count), numbers, part, count * shape.splits * program.numbers,
        _combining(make, how, dtypes, groups.axes), COMBINING.grid(count),
        (count, shape.splits, *groups.lengths[1:], *last[:3]),
    )  # fmt: skip


@functools.cache
def _whole(make, how, dtypes, shape, reading, axes):
    return whole_kernel(make(*how), dtypes, shape, reading, axes)


@functools.cache
def _parts(make, how, dtypes, shape, reading, axes):
    return parts_kernel(make(*how), dtypes, shape, reading, axes)


@functools.cache
def _combining(make, how, dtypes, axes):
    return combining_kernel(make(*how), dtypes, axes)
