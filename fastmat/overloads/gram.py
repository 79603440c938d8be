"""`linalg.gram` and `linalg.power_step` inside ``@njit``."""

import numpy as np
from numba import njit
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.gram import gram as gram_kernel
from fastmat.cpu.power_step import power_step as step_kernel
from fastmat.cpu.views import overlap
from fastmat.ops import gram as ops
from fastmat.overloads.factors import check_ndim, check_shape, converted, floating
from fastmat.overloads.storing import store
from fastmat.overloads.typing import as_kernel_reads, check_out, given, numba_dtype, numpy_dtype


@overload(ops.gram)
def _gram(a, out=None):
    dtype, ndim = numpy_dtype(a, "a"), a.ndim
    if ndim < 2:
        raise errors.TypingError(f"a has {ndim} dimensions; gram wants 2 or more")
    item = a.dtype
    if not given(out):

        def gram(a, out=None):
            n = a.shape[-1]
            result = np.empty((*a.shape[:-2], n, n), item)
            _fill(a, result)
            return result

        return gram
    check_out(out, ndim, dtype)
    in_place = out.dtype == item

    def gram_into(a, out=None):
        n = a.shape[-1]
        check_shape(out, (*a.shape[:-2], n, n))
        if out.size == 0:
            return out
        if in_place and (a.size == 0 or not overlap(out, a)):
            _fill(a, out)
        else:
            result = np.empty(out.shape, item)
            _fill(a, result)
            store(result, out)
        return out

    return gram_into


def _fill(a, c):
    raise TypeError("only for compiled code")


@overload(_fill)
def _fill_stacks(
    a,  # in (..., m, n)
    c,  # out (..., n, n)
):
    if a.ndim == 2:

        def fill(a, c):
            x, z = as_kernel_reads(a), as_kernel_reads(c)
            call_all(gram_kernel, z.dtype, (x, z, 1, 0, 0))

        return fill

    def fill_stack(a, c):
        if c.size == 0:
            return
        batch = c.shape[:-2]
        x, z = as_kernel_reads(a), as_kernel_reads(c)
        steps = x.strides[-3], z.strides[-3]
        for index in np.ndindex(batch[:-1]):
            args = x[index][0], z[index][0], batch[-1], steps[0], steps[1]
            call_all(gram_kernel, z.dtype, args)

    return fill_stack


@overload(ops.power_step)
def _power_step(a, q, out=None):
    dtype = np.result_type(floating(a, "a"), floating(q, "q"))
    for name, x in (("a", a), ("q", q)):
        check_ndim(x, name, (2,), "power_step wants 2")
    item, left, right = numba_dtype(dtype), converted(a, dtype), converted(q, dtype)

    @njit
    def step(a, q):
        if a.shape[1] != q.shape[0]:
            raise ValueError("the columns of a must be as many as the rows of q")
        result = np.empty(q.shape, item)
        if result.size:
            x, y, z = as_kernel_reads(left(a)), as_kernel_reads(right(q)), as_kernel_reads(result)
            call_all(step_kernel, z.dtype, (x, y, z))
        return result

    if not given(out):
        return lambda a, q, out=None: step(a, q)
    check_out(out, 2, dtype)

    def step_into(a, q, out=None):
        check_shape(out, q.shape)
        store(step(a, q), out)
        return out

    return step_into
