"""The gradient of `take_submatrix`: what was taken several times is added up."""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.mathfn import narrow, widen
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_masked import TASK
from fastmat.cpu.blocking_reductions import CHUNK, SERIAL
from fastmat.cpu.lines import borrowed, is_packed, packed
from fastmat.cpu.masked_vjp import SUMMABLE, sum_type
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import dtype_constant, scratch
from fastmat.cpu.strides import AXES, address, offset, replaced

_sum_dtype = dtype_constant(sum_type)


def _types(dtype):
    index = reads(types.uint64, 1)
    return reads(dtype, AXES), index, index, index, writes(dtype, AXES)


@kernel(_types, SUMMABLE, from_python=True)
def add_up(
    cotangent,  # in (6 axes, k, l)
    order,  # in (k,), the rows of the cotangent, by the row that they belong to
    starts,  # in (m + 1,), where in `order` those of each row begin
    cols,  # in (l,), the columns that the cotangent's belong to; empty: each to its own
    out,  # out (6 axes, m, n), in other memory than all else
):
    """out[..., i, cols[j]] = the sum of what was taken from there, from the first to the last"""
    if out.size == 0:
        return
    m, n = out.shape[-2:]
    stack = replaced(replaced(out.shape, AXES - 2, 1), AXES - 1, 1)
    width = min(n, CHUNK) if cols.size == 0 else n
    across = ceil_div(n, width)
    units = out.size // (m * n) * m * across
    work = out.size + cotangent.size
    several = max(1, TASK * units // (work * out.itemsize))
    threads = num_threads() if work > SERIAL else 1
    args = (cotangent, order, starts, cols, out, stack, (width, across, units, several))
    parallel_for(_add_some, ceil_div(units, several), threads, args)


@task
def _add_some(args, slot, index):
    cotangent, order, starts, cols, out, stack, (width, across, units, several) = args
    (m, n), (down, along) = out.shape[-2:], out.strides[-2:]
    length, (g_down, g_along) = cotangent.shape[-1], cotangent.strides[-2:]
    total = scratch(width, _sum_dtype(out.dtype))
    for unit in range(index * several, min((index + 1) * several, units)):
        start, row, item = unit % across * width, unit // across % m, unit // (across * m)
        count = min(width, n - start)
        for j in range(count):
            total[j] = 0
        base = offset(item, stack, cotangent.strides) + start * g_along
        taken = min(width, length - start) if cols.size == 0 else length
        for place in range(types.intp(starts[row]), types.intp(starts[row + 1])):
            at = base + types.intp(order[place]) * g_down
            _add_line(borrowed(cotangent, at, taken, g_along), cols, total)
        at = offset(item, stack, out.strides) + row * down + start * along
        target = borrowed(out, at, count, along)
        if is_packed(target):
            side_by_side = packed(target)
            for j in range(count):
                side_by_side[j] = narrow(total[j], out.dtype)
        else:
            for j in range(count):
                target[j] = narrow(total[j], out.dtype)
    address(total)  # keeps it alive till here


@inlined
def _add_line(line, cols, total):
    """total[cols[j]] += line[j], or total[j] += line[j] without such indices"""
    if cols.size > 0:
        for j in range(line.shape[0]):
            total[cols[j]] += widen(line[j])
    elif is_packed(line):
        side_by_side = packed(line)
        for j in range(line.shape[0]):
            total[j] += widen(side_by_side[j])
    else:
        for j in range(line.shape[0]):
            total[j] += widen(line[j])
