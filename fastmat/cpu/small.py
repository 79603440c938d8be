"""Small products, read where they lie, and stacks of tiny ones, one item per SIMD lane."""

from numba import types

from fastmat.core.compile import call, kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import NUMBA_DTYPES, narrow, real, widen
from fastmat.cpu.blocking import (
    DIRECT_WORK,
    STACK_LANES,
    TASK_WORK,
    TINY_WORK,
    ceil_div,
    depth,
    direct_rows,
    lanes,
)
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.shuffle import tile_side, transpose_tile
from fastmat.cpu.simd import multiply_add, multiply_rows
from fastmat.cpu.simd_dot import dot_lanes
from fastmat.cpu.views import address, items_as_rows, overlap, part, transposed


def is_direct(dtype):
    """Whether numbers of this dtype are computed with as they are stored, and real."""
    return real(dtype) == dtype


@inlined
def is_small(m, k, n, element):
    """Whether a product is computed without packing: a matter of its shape alone."""
    work = m * k * n
    return 0 < work <= DIRECT_WORK and k <= depth(element) and (min(m, n) > 1 or work <= TINY_WORK)


DIRECT = [name for name, dtype in NUMBA_DTYPES.items() if is_direct(dtype)]


@kernel(lambda t: (types.DType(t), *[types.intp] * 11), DIRECT)
def alone(
    element,  # dtype of the product
    size,  # bytes of a number
    m,
    k,
    n,
    a,  # in, address of (m, k)
    a_row,  # bytes from row to row
    a_step,  # bytes from column to column
    b,  # in, address of (k, n), columns side by side
    b_row,
    c,  # out, address of (m, n), columns side by side, apart from a and b
    c_row,
):
    """c = a @ b for one small product."""
    _multiply(element, size, (m, k, n), a, a_row, a_step, b, b_row, c, c_row)


def multiply_alone(a, b, c):
    raise TypeError("only for compiled code")


@overload(multiply_alone)
def _multiply_alone(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n)
):
    """c = a @ b by the shortest way, if the product is small and its layout simple; whether so."""
    if not is_direct(a.dtype):
        return lambda a, b, c: False

    def multiply_alone(a, b, c):
        (m, k), n = a.shape, b.shape[1]
        side_by_side = b.strides[1] == b.itemsize and c.strides[1] == c.itemsize
        if not (is_small(m, k, n, a.dtype) and (side_by_side or n == 1)):
            return False
        if overlap(a, c) or overlap(b, c):
            return False
        left = address(a, 0, 0), a.strides[0], a.strides[1]
        right = address(b, 0, 0), b.strides[0]
        result = address(c, 0, 0), c.strides[0]
        call(alone, a.dtype, (a.dtype, a.itemsize, m, k, n, *left, *right, *result))
        return True

    return multiply_alone


def _stack(t):
    return reads(t, 3), reads(t, 3), writes(t, 3), types.intp


@kernel(_stack, DIRECT)
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
    work = scratch((threads, room), a.dtype)
    items = _items_per_task(m * n * k)
    parallel_for(_direct_items, ceil_div(count, items), threads, (a, b, c, work, items))


@inlined
def _items_per_task(work):
    return max(1, TASK_WORK // work)


@task
def _direct_items(args, slot, index):
    a, b, c, work, items = args
    (count, m, k), n = a.shape, b.shape[2]
    size, room = a.itemsize, work.shape[1]
    a_at, b_at, c_at = a.ctypes.data, b.ctypes.data, c.ctypes.data
    gathered = work.ctypes.data + slot * room * size
    start = index * items
    for t in range(start, min(start + items, count)):
        if room:
            call(pack, a.dtype, (transposed(b[t]), n, part(work[slot], 0, k * n)))
            b_item, c_item, b_row, c_row = gathered, gathered + k * n * size, n * size, n * size
        else:
            b_item, c_item = b_at + t * b.strides[0], c_at + t * c.strides[0]
            b_row, c_row = b.strides[1], c.strides[1]
        a_item, (_, a_row, a_step) = a_at + t * a.strides[0], a.strides
        shape = m, k, n
        _multiply(a.dtype, size, shape, a_item, a_row, a_step, b_item, b_row, c_item, c_row)
        if room:
            for i in range(m):
                for j in range(n):
                    c[t, i, j] = work[slot, (k + i) * n + j]


@inlined
def _multiply(element, size, shape, a, a_row, a_step, b, b_row, c, c_row):
    """One item, by addresses: slices would count references, which takes as long as the work."""
    m, k, n = shape
    width, height = lanes(element), direct_rows(element)
    for j in range(0, n, width):
        for i in range(0, m, height):
            multiply_rows(
                element,
                k,
                a + i * a_row,
                a_row,
                a_step,
                min(height, m - i),
                b + j * size,
                b_row,
                min(width, n - j),
                c + i * c_row + j * size,
                c_row,
            )


@kernel(_stack)
def in_lanes(
    a,  # in (count, m, k)
    b,  # in (count, k, n)
    c,  # out (count, m, n)
    threads,
):
    """Tiny products: item t of the stack is computed in lane t."""
    (count, m, k), n = a.shape, b.shape[2]
    work = scratch((threads, m * k + k * n + m * n, STACK_LANES), sum_dtype(a.dtype))
    items = ceil_div(_items_per_task(m * n * k), STACK_LANES) * STACK_LANES
    parallel_for(_lanes_items, ceil_div(count, items), threads, (a, b, c, work, items))


@task
def _lanes_items(args, slot, index):
    a, b, c, work, items_per_task = args
    (count, m, k), n = a.shape, b.shape[2]
    own = work[slot]
    x = part(own, 0, m * k)
    y = part(own, m * k, (m + n) * k)
    z = part(own, (m + n) * k, (m + n) * k + m * n)
    first = index * items_per_task
    for start in range(first, min(first + items_per_task, count), STACK_LANES):
        items = min(STACK_LANES, count - start)
        _spread(part(a, start, start + items), x)
        _spread(part(b, start, start + items), y)
        _multiply_lanes(x, y, z, k, n)
        _collect(z, part(c, start, start + items))


def _transposed(source, target, items, numbers):
    raise TypeError("only for compiled code")


@overload(_transposed)
def _transposed_by_dtype(
    source,  # in (rows, cols)
    target,  # out (cols, rows)
    rows,
    cols,
):
    """Transpose by squares in registers, if they fit and need no conversion; whether it did."""
    if not is_direct(source.dtype) or source.dtype != target.dtype:
        return lambda source, target, rows, cols: False

    def transposed(source, target, rows, cols):
        side = tile_side(source)
        if rows < side or cols < side:
            return False
        for i in range(0, rows, side):
            for j in range(0, cols, side):
                i0, j0 = min(i, rows - side), min(j, cols - side)
                transpose_tile(source, i0, j0, target, j0, i0, False)
        return True

    return transposed


@inlined
def _is_packed(stack):
    """Whether the numbers of each item of a stack lie side by side, in order."""
    size, cols = stack.itemsize, stack.shape[2]
    return stack.strides[2] == size and stack.strides[1] == cols * size


@inlined
def _collect(
    source,  # in (rows * cols, lanes)
    target,  # out (items, rows, cols)
):
    items, rows, cols = target.shape
    if _is_packed(target) and _transposed(source, items_as_rows(target), rows * cols, items):
        return
    for t in range(items):
        for i in range(rows):
            for j in range(cols):
                target[t, i, j] = narrow(source[i * cols + j, t], target.dtype)


@inlined
def _spread(
    source,  # in (items, rows, cols)
    target,  # out (rows * cols, lanes)
):
    items, rows, cols = source.shape
    if items < STACK_LANES:
        target[:] = 0
    if _is_packed(source) and _transposed(items_as_rows(source), target, items, rows * cols):
        return
    for i in range(rows):
        for j in range(cols):
            for t in range(items):
                target[i * cols + j, t] = widen(source[t, i, j])


def _multiply_lanes(x, y, z, k, n):
    raise TypeError("only for compiled code")


@overload(_multiply_lanes)
def _multiply_lanes_by_dtype(
    x,  # in (m * k, lanes)
    y,  # in (k * n, lanes)
    z,  # out (m * n, lanes)
    k,
    n,
):
    if isinstance(x.dtype, types.Complex):

        def multiply(x, y, z, k, n):
            z[:] = 0
            for i in range(z.shape[0] // n):
                for j in range(n):
                    for p in range(k):
                        for t in range(STACK_LANES):
                            left, right = x[i * k + p, t], y[p * n + j, t]
                            z[i * n + j, t] = multiply_add(z[i * n + j, t], left, right)

    else:

        def multiply(x, y, z, k, n):
            row = x.strides[0]
            x_at, y_at, z_at = x.ctypes.data, y.ctypes.data, z.ctypes.data
            for i in range(z.shape[0] // n):
                for j in range(n):
                    left, right = x_at + i * k * row, y_at + j * row
                    dot_lanes(x.dtype, k, left, row, right, n * row, z_at + (i * n + j) * row)

    return multiply
