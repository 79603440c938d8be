"""The gradient of logsumexp: what flows back into a group, times the exponential of how far each
number is below the group's result.
"""

from __future__ import annotations

import functools
import math

from numba import cuda, types

from fastmat.cuda import driver
from fastmat.cuda.arrays import ITEMSIZE, View
from fastmat.cuda.elements import element
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.mapped_launch import ALIGNMENT
from fastmat.cuda.row_shapes import (
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
from fastmat.cuda.rows import locator, mask_loader, offsets, reader, row_loader, row_storer


@functools.cache
def kernel(dtypes, shape, how, axes) -> Kernel:
    """For dtypes of x, the cotangent, the result and the gradient."""
    width, run, runs, held, step = shape.width, shape.run, shape.runs, shape.held, shape.step
    number = types.float64 if dtypes[3] == "float64" else types.float32
    locate, offset = locator(shape), offsets(axes)
    read = row_loader(dtypes[0], width, run, runs, number)
    cotangent_of, result_of = reader(dtypes[1], number), reader(dtypes[2], number)
    read_mask = mask_loader(how, width, run, runs)
    write = row_storer(dtypes[3], width, run, runs)
    masked, zero = how != NO_MASK, number(0)

    def of_logsumexp(
        x,  # in (count, n)
        cotangent,  # in (count,)
        result,  # in (count,)
        mask,  # in (count, n)
        out,  # out (count, n)
        part,  # how many numbers of a group a block has
        count, n, length1, length2,
        x0, x1, x2, x3, c0, c1, c2, r0, r1, r2, m0, m1, m2, m3, o0, o1, o2, o3,
    ):  # fmt: skip
        a = cuda.local.array(held, number)
        here = cuda.local.array(held, types.uint8)
        group, thread = locate()
        if group >= types.uint32(count):
            return
        g = cotangent_of(cotangent[offset(group, length1, length2, c0, c1, c2)])
        total = result_of(result[offset(group, length1, length2, r0, r1, r2)])
        x_start = offset(group, length1, length2, x0, x1, x2)
        m_start = offset(group, length1, length2, m0, m1, m2)
        o_start = offset(group, length1, length2, o0, o1, o2)
        first = cuda.blockIdx.y * part
        end = min(n, first + part)
        while first < end:
            rest = types.int32(min(end - first, types.int64(step)))
            read(a, x, x_start + first * x3, x3, rest, thread, zero)
            if masked:
                read_mask(here, mask, m_start + first * m3, m3, rest, thread)
            for k in range(held):
                a[k] = g * math.exp(a[k] - total)
                if masked:
                    if not here[k]:
                        a[k] = zero
            write(out, o_start + first * o3, o3, rest, thread, a)
            first += step

    pointers = [element(d).pointer for d in dtypes]
    arguments = (
        *pointers[:3], "uint8*", pointers[3],
        "int64", "int32", "int64", "int32", "int32", *("int64",) * 18,
    )  # fmt: skip
    name = f"of_logsumexp {dtypes} {shape} {how} {axes}"
    blocks = shape.blocks if number.bitwidth == 32 else 1
    return Kernel(of_logsumexp, arguments, name=name, threads=shape.threads, blocks=blocks)


def launch(
    axes: tuple[int, ...],
    x: View,
    cotangent: View,
    result: View,
    mask: View | None,
    out: View,
    stream: int,
) -> bool:
    """Write the gradient; False if `grouped` cannot take the arrays."""
    views = (x, cotangent, result, out) if mask is None else (x, cotangent, result, mask, out)
    plan = _plan(
        axes,
        tuple([v.shape for v in views]),
        tuple([v.strides for v in views]),
        tuple([v.pointer % ALIGNMENT for v in views]),
        (x.dtype, cotangent.dtype, result.dtype, out.dtype), mask is not None,
        driver.current.multiprocessors(x.device),
    )  # fmt: skip
    if plan is None:
        return False
    made, grid, numbers = plan
    made(
        grid,
        (
            x.pointer, cotangent.pointer, result.pointer, (mask or x).pointer, out.pointer,
            *numbers,
        ),
        stream, x.device,
    )  # fmt: skip
    return True


@functools.lru_cache(4096)
def _plan(axes, shapes, strides, alignments, dtypes, masked, multiprocessors):
    full = shapes[0]
    strides = tuple(repeated(*v, full) for v in zip(shapes, strides, strict=True))
    groups = grouped(axes, full, strides)
    if groups is None:
        return None
    first, cotangent, result, *_, last = groups.strides
    mask = groups.strides[3] if masked else (0, 0, 0, 0)
    itemsize = 8 if dtypes[3] == "float64" else 4
    if down_columns(groups):
        shape = columns_of(groups.count, groups.n, itemsize, multiprocessors)
    else:
        run = run_of(
            groups.n, (first, last), [ITEMSIZE[dtypes[k]] for k in (0, 3)],
            (alignments[0], alignments[-1]),
        )  # fmt: skip
        shape = shape_of(groups.count, groups.n, run, itemsize, multiprocessors)
    reading = mask_reading(alignments[3], mask, shape.run) if masked else NO_MASK
    part = part_length(groups.n, shape.splits, shape.step)
    grid = (-(-groups.count // shape.groups), -(-groups.n // part))
    numbers = (
        part, groups.count, groups.n, *groups.lengths[1:],
        *first, *cotangent[:3], *result[:3], *mask, *last,
    )  # fmt: skip
    return kernel(dtypes, shape._replace(splits=1), reading, groups.axes), grid, numbers
