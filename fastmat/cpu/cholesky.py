"""Cholesky factorization: blocked, and of stacks of small matrices with one item in each lane.

What is left of the matrix is updated panel by panel, on and below the diagonal.
"""

import math

from numba import types

from fastmat.core.compile import call, call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import SERIAL_WORK, STACK_LANES, STACK_WORK, TASK_WORK, ceil_div
from fastmat.cpu.blocking_linalg import FACTOR, FLOATS, LANES_FACTOR
from fastmat.cpu.gram import conjugate, divided, triangle
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.solve_triangular import no_squares, solve_right
from fastmat.cpu.views import as_any, part, stack, transposed

_FAILED = writes(types.int64, 1)


@kernel(lambda t: (reads(t, 2), writes(t, 2), *[types.intp] * 3, _FAILED), FLOATS, from_python=True)
def cholesky(
    a,  # in (n, n), the first of `count`: what is above the diagonal is not read
    c,  # out (n, n), the first of `count`; overlaps nothing
    count,
    a_step,  # bytes from item to item of the stack
    c_step,
    failed,  # out (count,): the order of the first leading minor that is not positive, or 0
):
    """Lower triangular c with c cᴴ = a, for a stack of matrices or (count = 1) for one."""
    n = a.shape[0]
    if count * n == 0:
        return
    args = stack(a, count, a_step), stack(c, count, c_step), failed
    work = n * n * n // 3
    threads = num_threads() if count * work > SERIAL_WORK else 1
    if count >= STACK_LANES and n <= LANES_FACTOR:
        call_on_demand(factor_in_lanes, a.dtype, (*args, threads))
    elif count > 1 and work <= STACK_WORK:
        parallel_for(_item, count, threads, args)
    else:
        for t in range(count):
            call(factor_one, a.dtype, (args[0][t], args[1][t], part(failed, t, t + 1), threads))


@task
def _item(args, slot, index):
    a, c, failed = args
    which = part(failed, index, index + 1)
    call(factor_one, a.dtype, (a[index], c[index], which, 1))


@kernel(lambda t: (reads(t, 2), writes(t, 2), _FAILED, types.intp), FLOATS)
def factor_one(
    a,  # in (n, n), below the diagonal
    c,  # out (n, n)
    failed,  # out (1,)
    threads,
):
    """c cᴴ = a, with zeros above the diagonal of c."""
    n = a.shape[0]
    side_by_side = c.strides[1] == c.itemsize
    work = c if side_by_side else as_any(scratch(c.shape, c.dtype))
    for i in range(n):
        for j in range(i + 1):
            work[i, j] = a[i, j]
    call(factor, a.dtype, (work, failed, threads))
    for i in range(n):
        if not side_by_side:
            for j in range(i + 1):
                c[i, j] = work[i, j]
        for j in range(i + 1, n):
            c[i, j] = 0


@kernel(lambda t: (writes(t, 2), _FAILED, types.intp), FLOATS)
def factor(
    c,  # inout (n, n), rows side by side: below the diagonal, which is real; above it, anything
    failed,  # out (1,)
    threads,
):
    """The lower triangle of c becomes its Cholesky factor."""
    n = c.shape[0]
    failed[0] = 0
    block = scratch((min(n, FACTOR), min(n, FACTOR)), c.dtype)
    column = scratch(min(n, FACTOR), c.dtype)
    for k in range(0, n, FACTOR):
        end = min(k + FACTOR, n)
        square = part(block, 0, end - k, 0, end - k)
        minor = _factor_block(part(c, k, end, k, end), block, column)
        if minor > 0:
            failed[0] = k + minor
            return
        if end < n:
            below = part(c, end, n, k, end)
            upper = transposed(as_any(square))
            for i in range(end - k):
                for j in range(i + 1):
                    square[i, j] = conjugate(square[i, j])
            call(solve_right, c.dtype, (below, upper, below, False, no_squares(), threads))
            call(triangle, c.dtype, (transposed(below), part(c, end, n, end, n), True, threads))


@inlined
def _factor_block(
    c,  # inout (n, n), up to FACTOR
    block,  # scratch (FACTOR, FACTOR): holds the factor, too, in the end
    column,  # scratch (FACTOR,)
):
    """The factor of a block, row by row; the order of a minor that is not positive, or 0."""
    n = c.shape[0]
    for i in range(n):
        for j in range(i + 1):
            block[i, j] = c[i, j]
    for j in range(n):
        pivot = block[j, j].real
        if not pivot > 0:
            return j + 1
        root = math.sqrt(pivot)
        block[j, j] = root
        for i in range(j + 1, n):
            block[i, j] = divided(block[i, j], root)
            column[i] = conjugate(block[i, j])
        for i in range(j + 1, n):
            factor = block[i, j]
            for t in range(j + 1, i + 1):
                block[i, t] -= factor * column[t]
    for i in range(n):
        for j in range(i + 1):
            c[i, j] = block[i, j]
    return 0


_STACKS = _FAILED, types.intp


@kernel(lambda t: (reads(t, 3), writes(t, 3), *_STACKS), FLOATS)
def factor_in_lanes(
    a,  # in (count, n, n)
    c,  # out (count, n, n)
    failed,  # out (count,)
    threads,
):
    """Small matrices: item t of the stack is factored in lane t."""
    count, n = a.shape[:2]
    work = scratch((threads, n * n, STACK_LANES), a.dtype)
    items = ceil_div(TASK_WORK // 8 // (n * n * n), STACK_LANES) * STACK_LANES
    parallel_for(_lanes_items, ceil_div(count, items), threads, (a, c, failed, work, items))


@task
def _lanes_items(args, slot, index):
    a, c, failed, work, items = args
    count, n = a.shape[:2]
    own = work[slot]
    for start in range(index * items, min((index + 1) * items, count), STACK_LANES):
        here = min(STACK_LANES, count - start)
        for i in range(n):
            for j in range(i + 1):
                for t in range(here):
                    own[i * n + j, t] = a[start + t, i, j]
                for t in range(here, STACK_LANES):
                    own[i * n + j, t] = 1
        _factor_lanes(own, n, part(failed, start, start + here))
        for t in range(here):
            for i in range(n):
                for j in range(i + 1):
                    c[start + t, i, j] = own[i * n + j, t]
                for j in range(i + 1, n):
                    c[start + t, i, j] = 0


@inlined
def _factor_lanes(
    x,  # inout (n * n, lanes)
    n,
    failed,  # out (items,)
):
    for t in range(failed.shape[0]):
        failed[t] = 0
    for j in range(n):
        for i in range(j, n):
            for k in range(j):
                for t in range(STACK_LANES):
                    x[i * n + j, t] -= x[i * n + k, t] * conjugate(x[j * n + k, t])
        for t in range(failed.shape[0]):
            if failed[t] == 0 and not x[j * n + j, t].real > 0:
                failed[t] = j + 1
        for t in range(STACK_LANES):
            x[j * n + j, t] = math.sqrt(x[j * n + j, t].real)
        for i in range(j + 1, n):
            for t in range(STACK_LANES):
                x[i * n + j, t] = divided(x[i * n + j, t], x[j * n + j, t].real)
