"""Launches of the kernels of `mapped`: which of them, and with what grid."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from fastmat.cuda import driver
from fastmat.cuda.arrays import ITEMSIZE, View, empty
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.mapped import Program, first_kernel, held_kernel, long_kernel, second_kernel
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

ALIGNMENT = 16
_NOWHERE = (0, 0, 0, 0)


class Plan(NamedTuple):
    """Kernels and all of their arguments but the pointers."""

    kernels: tuple[Kernel, ...]
    grid: tuple[int, int]
    part: int  # numbers of a row that a block has, if it is split
    states: int  # 64-bit words between the two kernels
    numbers: tuple[int, ...]


def launch(
    make: Callable[..., Program],
    how: tuple[str, ...],
    axes: tuple[int, ...],
    x: View,
    y: View | None,
    mask: View | None,
    out: View,
    stream: int,
    z: View | None = None,
    parameter: float = 0.0,
) -> bool:
    """Run the program ``make(*how)`` over groups of arrays; False if `grouped` cannot take them.

    `y` and `z` of a program with `of_groups` have length 1 along the axes of a group.
    """
    views = [x]
    for view in (y, z, mask, out):
        if view is not None:
            views.append(view)
    plan = _plan(
        make, how, axes,
        tuple([(v.shape, v.strides, v.pointer % ALIGNMENT) for v in views]),
        (x.dtype, None if y is None else y.dtype, None if z is None else z.dtype, out.dtype),
        mask is not None,
        driver.current.multiprocessors(x.device),
    )  # fmt: skip
    if plan is None:
        return False
    arguments = (
        x.pointer, (y or x).pointer, (z or x).pointer, (mask or x).pointer, out.pointer,
        *plan.numbers, parameter,
    )  # fmt: skip
    if plan.states:
        _, states = empty((2 * plan.states,), "float32", x)
        arguments = (states.pointer, plan.part, *arguments)
    for kernel in plan.kernels:
        kernel(plan.grid, arguments, stream, x.device)
    return True


@functools.lru_cache(4096)
def _plan(make, how, axes, arrays, dtypes, masked, multiprocessors):
    full = arrays[0][0]
    strides = tuple([repeated(shape, steps, full) for shape, steps, _ in arrays])
    alignments = [alignment for *_, alignment in arrays]
    groups = grouped(axes, full, strides)
    if groups is None:
        return None
    if groups.count > GROUPS:
        raise ValueError(f"there are {groups.count} groups; on GPUs there may be {GROUPS}")
    program = make(*how)
    steps = iter(groups.strides)
    first, second, third, mask, last = (
        next(steps) if there else _NOWHERE
        for there in (True, dtypes[1] is not None, dtypes[2] is not None, masked, True)
    )
    # Which arrays have a number for each of a.
    whole = [0, -1] if dtypes[1] is None or program.of_groups else [0, 1, -1]
    sizes = [ITEMSIZE[dtypes[k]] for k in whole]
    where = [alignments[k] for k in whole]
    arguments = {
        "itemsize": program.number.bitwidth // 8,
        "multiprocessors": multiprocessors,
        "limits": program.limits,
        "arrays": len(whole) - 1,
    }
    if down_columns(groups):
        shape = columns_of(groups.count, groups.n, hold=True, **arguments)
    else:
        run = run_of(groups.n, [groups.strides[k] for k in whole], sizes, where)
        shape = shape_of(groups.count, groups.n, run, **arguments)
    reading = mask_reading(alignments[-2], mask, shape.run) if masked else NO_MASK
    alike = shape._replace(splits=1)
    build = functools.partial(_kernel, make, how, dtypes, alike, reading, groups.axes)
    part = states = 0
    if groups.n <= shape.step:
        kernels = (build("held"),)
        shape = alike
    elif shape.splits == 1:
        kernels = (build("long"),)
    else:
        kernels = build("first"), build("second")
        part = part_length(groups.n, shape.splits, shape.step)
        shape = shape._replace(splits=-(-groups.n // part))
        states = groups.count * shape.splits * program.numbers
    numbers = (
        groups.count, groups.n, *groups.lengths[1:], *first, *second, *third[:3], *mask, *last,
    )  # fmt: skip
    return Plan(kernels, shape.grid(groups.count), part, states, numbers)


@functools.cache
def _kernel(make, how, dtypes, shape, reading, axes, which):
    build = {
        "held": held_kernel,
        "long": long_kernel,
        "first": first_kernel,
        "second": second_kernel,
    }[which]
    return build(make(*how), dtypes, shape, reading, axes)
