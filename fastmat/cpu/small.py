"""Small products, read where they lie, and stacks of tiny ones, one item per SIMD lane."""

from numba import njit, types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.mathfn import NUMBA_DTYPES, narrow, real, widen
from fastmat.cpu.blocking import (
    STACK_LANES,
    TASK_WORK,
    ceil_div,
    direct_rows,
    lanes,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd import multiply_add, multiply_rows
from fastmat.cpu.views import address


def is_direct(dtype):
    """Whether numbers of this dtype are computed with as they are stored, and real."""
    return real(dtype) == dtype


def _stack(t):
    return reads(t, 3), reads(t, 3), writes(t, 3), types.intp


@kernel(_stack, (name for name, dtype in NUMBA_DTYPES.items() if is_direct(dtype)))
def direct(
    a,  # in (count, m, k)
    b,  # in (count, k, n)
    c,  # out (count, m, n)
    threads,
):
    """c = a @ b without packing, for each item of a stack."""
    (count, m, k), n = a.shape, b.shape[2]
    scattered = n > 1 and (b.strides[2] != b.itemsize or c.strides[2] != c.itemsize)
    room = (k + m) * n if scattered else 0
    work = scratch(threads * room, a.dtype).reshape(threads, room)
    items = _items_per_task(m * n * k)
    parallel_for(_direct_items, ceil_div(count, items), threads, (a, b, c, work, items))


@njit
def _items_per_task(work):
    return max(1, TASK_WORK // work)


@task
def _direct_items(args, slot, index):
    a, b, c, work, items = args
    start = index * items
    for t in range(start, min(start + items, a.shape[0])):
        _multiply(a[t], b[t], c[t], work[slot])


@njit
def _multiply(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n)
    work,  # scratch (k * n + m * n,) for operands whose columns do not lie side by side
):
    (m, k), n = a.shape, b.shape[1]
    b_at, b_row = address(b, 0, 0), b.strides[0]
    if b.strides[1] != b.itemsize and n > 1:
        for p in range(k):
            for j in range(n):
                work[p * n + j] = b[p, j]
        b_at, b_row = work.ctypes.data, n * b.itemsize
    c_at, c_row = address(c, 0, 0), c.strides[0]
    scattered = c.strides[1] != c.itemsize and n > 1
    if scattered:
        c_at, c_row = work.ctypes.data + k * n * c.itemsize, n * c.itemsize
    width, height, size = lanes(a.dtype), direct_rows(a.dtype), a.itemsize
    for j in range(0, n, width):
        for i in range(0, m, height):
            multiply_rows(
                a.dtype,
                k,
                address(a, i, 0),
                a.strides[0],
                a.strides[1],
                min(height, m - i),
                b_at + j * size,
                b_row,
                min(width, n - j),
                c_at + i * c_row + j * size,
                c_row,
            )
    if scattered:
        for i in range(m):
            for j in range(n):
                c[i, j] = work[k * n + i * n + j]


@kernel(_stack)
def in_lanes(
    a,  # in (count, m, k)
    b,  # in (count, k, n)
    c,  # out (count, m, n)
    threads,
):
    """Tiny products: item t of the stack is computed in lane t."""
    (count, m, k), n = a.shape, b.shape[2]
    work = scratch(threads * (m * k + k * n + m * n) * STACK_LANES, sum_dtype(a.dtype))
    work = work.reshape(threads, -1, STACK_LANES)
    items = ceil_div(_items_per_task(m * n * k), STACK_LANES) * STACK_LANES
    parallel_for(_lanes_items, ceil_div(count, items), threads, (a, b, c, work, items))


@task
def _lanes_items(args, slot, index):
    a, b, c, work, items_per_task = args
    (count, m, k), n = a.shape, b.shape[2]
    x = work[slot, : m * k]
    y = work[slot, m * k : (m + n) * k]
    z = work[slot, (m + n) * k :]
    first = index * items_per_task
    for start in range(first, min(first + items_per_task, count), STACK_LANES):
        items = min(STACK_LANES, count - start)
        _spread(a[start : start + items], x)
        _spread(b[start : start + items], y)
        _multiply_lanes(x, y, z, k, n)
        for t in range(items):
            for i in range(m):
                for j in range(n):
                    c[start + t, i, j] = narrow(z[i * n + j, t], c.dtype)


@njit
def _spread(
    source,  # in (items, rows, cols)
    target,  # out (rows * cols, lanes)
):
    items, rows, cols = source.shape
    if items < STACK_LANES:
        target[:] = 0
    for i in range(rows):
        for j in range(cols):
            for t in range(items):
                target[i * cols + j, t] = widen(source[t, i, j])


@njit
def _multiply_lanes(
    x,  # in (m * k, lanes)
    y,  # in (k * n, lanes)
    z,  # out (m * n, lanes)
    k,
    n,
):
    z[:] = 0
    for i in range(x.shape[0] // k):
        for j in range(n):
            sums = z[i * n + j]
            for p in range(k):
                left, right = x[i * k + p], y[p * n + j]
                for lane in range(STACK_LANES):
                    sums[lane] = multiply_add(sums[lane], left[lane], right[lane])
