"""Products of matrices and of stacks of them: which path serves which shape.

The choice depends on shapes, dtypes and strides, never on the number of threads, and every path
adds up the products of one entry in an order that its shape fixes.
"""

from numba import njit, types
from numba.extending import overload

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.mathfn import accumulator, narrow
from fastmat.cpu.blocking import (
    LANES_SIDE,
    SERIAL_WORK,
    STACK_LANES,
    STACK_WORK,
    ceil_div,
    depth,
    split_area,
    split_depth,
    split_parts,
)
from fastmat.cpu.gemm import gemm
from fastmat.cpu.matvec import matvec, plus
from fastmat.cpu.matvec import vecdot as vecdot_rows
from fastmat.cpu.parallel import num_threads, parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.simd import stack
from fastmat.cpu.small import direct, direct_stack, lanes_stack


def _stack_types(t):
    return (reads(t, 2), reads(t, 2), writes(t, 2), *[types.intp] * 4)


@kernel(_stack_types)
def matmul(
    a,  # in (m, k), the first of `count`
    b,  # in (k, n), the first of `count`
    c,  # out (m, n), the first of `count`
    count,
    a_step,  # bytes from item to item of the stack
    b_step,
    c_step,
):
    """c = a @ b, for a stack of matrices or (count = 1) for one."""
    (m, k), n = a.shape, b.shape[1]
    if count * m * n == 0:
        return
    if count == 1:
        if m * n * k > SERIAL_WORK:
            _product(a, b, c, num_threads())
        else:
            _product(a, b, c, 1)
        return
    threads = num_threads() if count * m * n * k > SERIAL_WORK else 1
    a_items, b_items = stack(a, count, a_step), stack(b, count, b_step)
    c_items = stack(c, count, c_step)
    if k == 0:
        for t in range(count):
            _fill_zero(c_items[t])
    elif max(m, n, k) <= LANES_SIDE and count >= STACK_LANES:
        lanes_stack(a_items, b_items, c_items, threads)
    elif direct_stack(a_items, b_items, c_items, threads):
        return
    elif m * n * k <= STACK_WORK:
        parallel_for(_item, count, threads, (a_items, b_items, c_items))
    else:
        for t in range(count):
            _product(a_items[t], b_items[t], c_items[t], threads)


@kernel(_stack_types)
def vecdot(
    a,  # in (1, k), the first of `count`
    b,  # in (k, 1), the first of `count`
    c,  # out (1, 1), the first of `count`
    count,
    a_step,  # bytes from item to item of the stack
    b_step,
    c_step,
):
    """c = conj(a) @ b, for a stack of pairs of vectors."""
    k = a.shape[1]
    rows = stack(a, count, a_step)[:, 0]
    columns = stack(b, count, b_step)[:, :, 0]
    results = stack(c, count, c_step)[:, 0, 0]
    if k:
        vecdot_rows(rows, columns, results, num_threads() if count * k > SERIAL_WORK else 1)
    else:
        for i in range(count):
            results[i] = narrow(0, c.dtype)


@task
def _item(args, slot, index):
    a, b, c = args
    _product(a[index], b[index], c[index], 1)


@njit
def _fill_zero(c):
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            c[i, j] = narrow(0, c.dtype)


@njit
def _product(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n)
    threads,
):
    (m, k), n = a.shape, b.shape[1]
    if k == 0:
        _fill_zero(c)
    elif n == 1:
        matvec(a, b[:, 0], c[:, 0], threads)
    elif m == 1:
        matvec(b.T, a[0], c[0], threads)
    elif direct(a, b, c):
        return
    elif m * n <= split_area(a.dtype) and k > split_depth(a.dtype):
        _split_k(a, b, c, threads)
    elif c.strides[1] != c.itemsize and c.strides[0] == c.itemsize:
        _blocked(b.T, a.T, c.T, threads)
    else:
        _blocked(a, b, c, threads)


@njit
def _split_k(a, b, c, threads):
    """Long sums for few entries: pieces of k at a time, added up in order."""
    (m, k), n = a.shape, b.shape[1]
    piece = max(split_depth(a.dtype), ceil_div(ceil_div(k, split_parts(a.dtype)), depth(a.dtype)) * depth(a.dtype))
    pieces = ceil_div(k, piece)
    partial = scratch(pieces * m * n, sum_dtype(a.dtype)).reshape(pieces, m, n)
    parallel_for(_piece, pieces, threads, (a, b, partial, piece))
    for i in range(m):
        for j in range(n):
            total = partial[0, i, j]
            for q in range(1, pieces):
                total = plus(total, partial[q, i, j])
            c[i, j] = narrow(total, c.dtype)


@task
def _piece(args, slot, index):
    a, b, partial, piece = args
    p0, p1 = index * piece, min((index + 1) * piece, a.shape[1])
    gemm(a[:, p0:p1], b[p0:p1], partial[index], 1)


def _blocked(a, b, c, threads):
    raise TypeError("only for compiled code")


@overload(_blocked)
def _blocked_product(a, b, c, threads):
    """The blocked product; where the dtype of c is shorter than that of sums, rounded once."""
    if accumulator(c.dtype) != types.float32 or c.dtype == types.float32:
        return lambda a, b, c, threads: gemm(a, b, c, threads)

    def rounded(a, b, c, threads):
        sums = scratch(c.size, sum_dtype(c.dtype)).reshape(c.shape)
        gemm(a, b, sums, threads)
        for i in range(c.shape[0]):
            for j in range(c.shape[1]):
                c[i, j] = narrow(sums[i, j], c.dtype)

    return rounded
