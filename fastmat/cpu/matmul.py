"""Products of matrices and of stacks of them: which kernel serves which shape.

The choice depends on shapes, dtypes and strides, never on the number of threads, and every
kernel adds up the products of one entry in an order that its shape fixes.
"""

from numba import types

from fastmat.core.compile import call, call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import accumulator, narrow
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import (
    LANES_SIDE,
    SERIAL_WORK,
    SPLIT_AREA,
    STACK_LANES,
    STACK_WORK,
    depth,
    direct_rows,
    lanes,
    split_depth,
)
from fastmat.cpu.gemm import gemm
from fastmat.cpu.matvec import matvec, pairs
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.slender import few_columns, long_sums
from fastmat.cpu.small import direct, in_lanes, is_direct, is_small, multiply_alone
from fastmat.cpu.views import column, fliplr, matrices, overlap, stack, tall, transposed


def _stack_types(t):
    return (reads(t, 2), reads(t, 2), writes(t, 2), *[types.intp] * 4)


@kernel(_stack_types, from_python=True)
def matmul(
    a,  # in (m, k), the first of `count`
    b,  # in (k, n), the first of `count`
    c,  # out (m, n), the first of `count`
    count,
    a_step,  # bytes from item to item of the stack
    b_step,
    c_step,
):
    """c = a @ b, for a stack of matrices or (count = 1) for one; c may overlap a and b."""
    if count == 1 and multiply_alone(a, b, c):
        return
    (m, k), n = a.shape, b.shape[1]
    if count * m * n == 0:
        return
    if _is_one_product(a, c, n, count, a_step, b_step, c_step):
        a, c = tall(a, count, a_step), tall(c, count, c_step)
        m, count = count * m, 1
    a_items, b_items = stack(a, count, a_step), stack(b, count, b_step)
    c_items = stack(c, count, c_step)
    if k > 0 and (overlap(a_items, c_items) or overlap(b_items, c_items)):
        memory = scratch(c_items.size * c.itemsize, types.uint8)
        fresh = matrices(memory, c_items, count, m, n)
        _products(a_items, b_items, fresh)
        for t in range(count):
            for i in range(m):
                for j in range(n):
                    c_items[t, i, j] = fresh[t, i, j]
    else:
        _products(a_items, b_items, c_items)


@inlined
def _products(
    a,  # in (count, m, k)
    b,  # in (count, k, n)
    c,  # out (count, m, n)
):
    (count, m, k), n = a.shape, b.shape[2]
    work = m * n * k
    threads = num_threads() if count * work > SERIAL_WORK else 1
    if k == 0:
        _fill_zero(c)
    elif count >= STACK_LANES and max(m, n, k) <= LANES_SIDE:
        call_on_demand(in_lanes, a.dtype, (a, b, c, threads))
    elif is_small(m, k, n, a.dtype):
        _small(a, b, c, threads)
    elif count > 1 and work <= STACK_WORK:
        parallel_for(_item, count, threads, (a, b, c))
    else:
        for t in range(count):
            call_on_demand(product, a.dtype, (a[t], b[t], c[t], threads))


@inlined
def _is_one_product(a, c, n, count, a_step, b_step, c_step):
    """Whether a stack is one tall product, in which every sum is added up in the same order."""
    m, k = a.shape
    if n == 1:
        same_order = not is_small(m, k, n, a.dtype)  # both are summed in lanes then
    else:
        same_order = m > 1 and k <= split_depth(a.dtype)
    return (
        count > 1
        and b_step == 0
        and same_order
        and (m == 1 or (a_step == m * a.strides[0] and c_step == m * c.strides[0]))
    )


@kernel(_stack_types, from_python=True)
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
    if k == 0:
        _fill_zero(stack(c, count, c_step))
    else:
        left, right = tall(a, count, a_step), tall(transposed(b), count, b_step)
        results = column(tall(c, count, c_step), 0)
        threads = num_threads() if count * k > SERIAL_WORK else 1
        call(pairs, a.dtype, (left, right, results, threads))


@inlined
def _fill_zero(
    c,  # out (count, m, n)
):
    for t in range(c.shape[0]):
        for i in range(c.shape[1]):
            for j in range(c.shape[2]):
                c[t, i, j] = narrow(0, c.dtype)


def _small(a, b, c, threads):
    raise TypeError("only for compiled code")


@overload(_small, inline="always")
def _small_products(
    a,  # in (count, m, k)
    b,  # in (count, k, n)
    c,  # out (count, m, n)
    threads,
):
    if is_direct(a.dtype):

        def small(a, b, c, threads):
            if c.strides[1] == c.itemsize and c.strides[2] != c.itemsize:
                a, b, c = transposed(b), transposed(a), transposed(c)
            call_on_demand(direct, a.dtype, (a, b, c, threads))

        return small
    return lambda a, b, c, threads: call_on_demand(in_lanes, a.dtype, (a, b, c, threads))


@task
def _item(args, slot, index):
    a, b, c = args
    call_on_demand(product, a.dtype, (a[index], b[index], c[index], 1))


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(t, 2), types.intp))
def product(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n)
    threads,
):
    """c = a @ b for k > 0 and more than a little work."""
    (m, k), n = a.shape, b.shape[1]
    if n == 1:
        call_on_demand(matvec, a.dtype, (a, column(b, 0), column(c, 0), threads))
    elif m == 1:
        call_on_demand(matvec, a.dtype, (transposed(b), a[0], c[0], threads))
    elif m * n <= SPLIT_AREA and k > split_depth(a.dtype):
        call_on_demand(long_sums, a.dtype, (a, b, c, threads))
    elif k <= depth(a.dtype) and n <= lanes(a.dtype):
        _narrow(a, b, c, threads)
    elif k <= depth(a.dtype) and m <= direct_rows(a.dtype):
        _narrow(transposed(b), transposed(a), transposed(c), threads)
    else:
        _blocked(a, b, c, threads)


def _narrow(a, b, c, threads):
    raise TypeError("only for compiled code")


@overload(_narrow, inline="always")
def _narrow_product(
    a,  # in (m, k)
    b,  # in (k, n), few columns
    c,  # out (m, n)
    threads,
):
    if is_direct(a.dtype):
        return lambda a, b, c, threads: call_on_demand(few_columns, a.dtype, (a, b, c, threads))
    return lambda a, b, c, threads: _blocked(a, b, c, threads)


def _blocked(a, b, c, threads):
    raise TypeError("only for compiled code")


@overload(_blocked, inline="always")
def _blocked_product(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n)
    threads,
):
    """The blocked product, rounded to the dtype of c, transposed or flipped if c wants it.

    (Complex numbers are not transposed: their imaginary parts would add up in another order.)
    """
    real_valued = not isinstance(c.dtype, types.Complex)

    if accumulator(c.dtype) == c.dtype:

        def blocked(a, b, c, threads):
            if real_valued and abs(c.strides[1]) != c.itemsize == abs(c.strides[0]):
                a, b, c = transposed(b), transposed(a), transposed(c)
            if c.strides[1] == -c.itemsize:
                b, c = fliplr(b), fliplr(c)
            call_on_demand(gemm, a.dtype, (a, b, c, threads))

    else:

        def blocked(a, b, c, threads):
            sums = scratch(c.shape, sum_dtype(a.dtype))
            call_on_demand(gemm, a.dtype, (a, b, sums, threads))
            for i in range(c.shape[0]):
                for j in range(c.shape[1]):
                    c[i, j] = narrow(sums[i, j], c.dtype)

    return blocked
