"""Sums of what a mask says: gradients by what was broadcast before it was filled."""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined, reducing
from fastmat.core.mathfn import widen
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_masked import PARTIAL, PARTS, SUMMED
from fastmat.cpu.blocking_reductions import CHUNK, SERIAL
from fastmat.cpu.lines import borrowed, is_packed, packed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.strides import AXES, address, join_axes, repeating, replaced

SUMMABLE = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


def sum_type(t):
    """What numbers of this dtype are added up in."""
    return types.complex128 if isinstance(t, types.Complex) else types.float64


@kernel(
    lambda dtype: (
        reads(dtype, AXES),
        reads(types.int8, AXES),
        writes(sum_type(dtype), AXES),
        types.boolean,
    ),
    SUMMABLE,
    from_python=True,
)
def sum_where(
    x,  # in (8 axes), not empty
    mask,  # in (8 axes); axes of length 1 are repeated
    total,  # out (8 axes), of length 1 where it is summed over; C-contiguous, all zeros
    wanted,  # what in the mask stands for what is summed
):
    """total = sum of x where mask == wanted; so many parts, in that order, as the shape says"""
    strides = x.strides + repeating(mask) + repeating(total)
    count, shape, s = join_axes(x.shape, strides)
    along = max(count - 1, 0)
    n = shape[along]
    shape = replaced(shape, along, 1)
    pieces = ceil_div(n, CHUNK)
    units = x.size // n * pieces
    parts = max(1, min(PARTS, x.size // SUMMED, PARTIAL // total.size, units))
    several = ceil_div(units, parts)
    partial = scratch((parts, total.size), total.dtype)
    plan = n, along, shape, s, pieces, units, several
    threads = num_threads() if x.size > SERIAL else 1
    parallel_for(_sum_some, parts, threads, (x, mask, partial, plan, wanted))
    sums = borrowed(total, 0, total.size, total.itemsize)
    for k in range(total.size):
        for p in range(parts):
            sums[k] += partial[p, k]


@task
def _sum_some(args, slot, index):
    x, mask, partial, plan, wanted = args
    n, along, shape, s, pieces, units, several = plan
    start = index * partial.shape[1] * partial.itemsize
    for k in range(partial.shape[1]):
        partial[index, k] = 0
    for unit in range(index * several, min((index + 1) * several, units)):
        first, rest = unit % pieces * CHUNK, unit // pieces
        a, b, c = first * s[along], first * s[AXES + along], first * s[2 * AXES + along]
        for axis in range(AXES - 1, -1, -1):
            if shape[axis] > 1:
                k, rest = rest % shape[axis], rest // shape[axis]
                a += k * s[axis]
                b += k * s[AXES + axis]
                c += k * s[2 * AXES + axis]
        length = min(CHUNK, n - first)
        _add_line(
            borrowed(x, a, length, s[along]),
            borrowed(mask, b, length, s[AXES + along]),
            borrowed(partial, start + c, length, s[2 * AXES + along]),
            wanted,
        )
    address(partial)  # keeps it alive till here


@inlined
def _add_line(
    x,  # in (n,)
    mask,  # in (n,)
    total,  # inout (n,), of stride 0 where it is summed over
    wanted,
):
    """total += x where mask == wanted"""
    if total.strides[0] == 0 and is_packed(x) and is_packed(mask):
        total[0] = _sum(packed(x), packed(mask), wanted, total[0])
    elif total.strides[0] == 0:
        total[0] = _sum(x, mask, wanted, total[0])
    else:
        for j in range(x.shape[0]):
            if (mask[j] != 0) == wanted:
                total[j] += widen(x[j])


@reducing
def _sum(x, mask, wanted, total):
    """The total, and x where mask == wanted added to it."""
    for j in range(x.shape[0]):
        if (mask[j] != 0) == wanted:
            total += widen(x[j])
    return total
