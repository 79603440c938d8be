"""`linalg.cholesky` inside ``@njit``."""

import numpy as np
from numba import njit
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.cholesky import cholesky as kernel
from fastmat.cpu.views import transposed
from fastmat.ops import cholesky as ops
from fastmat.overloads.factors import converted, floating
from fastmat.overloads.typing import as_kernel_reads, numba_dtype


@overload(ops.cholesky)
def _cholesky(x, upper=False):
    dtype, ndim = floating(x, "x"), x.ndim
    if ndim < 2:
        raise errors.TypingError(f"x has {ndim} dimensions; cholesky wants 2 or more")
    item, read = numba_dtype(dtype), converted(x, dtype)

    def cholesky(x, upper=False):
        n = x.shape[-1]
        if x.shape[-2] != n:
            raise ValueError("x must be square matrices (..., n, n)")
        result = np.empty(x.shape, item)
        if result.size == 0:
            return result
        count = result.size // (n * n)
        given = np.ascontiguousarray(read(x)).reshape((count, n, n))
        factors = result.reshape((count, n, n))
        failed = np.zeros(count, np.int64)
        a, c = as_kernel_reads(given)[0], as_kernel_reads(factors)[0]
        if upper:
            a, c = transposed(a), transposed(c)
        steps = given.strides[0], factors.strides[0]
        call_all(kernel, c.dtype, (a, c, count, steps[0], steps[1], failed))
        for which in range(count):
            if failed[which]:
                raise np.linalg.LinAlgError(
                    f"x{_place(which, x.shape)} is not positive definite: "
                    f"its leading minor of order {failed[which]} is not positive"
                )
        return result

    return cholesky


@njit
def _place(which, shape):
    """The index of a matrix of a stack, in words."""
    words = ""
    for axis in range(len(shape) - 3, -1, -1):
        words = str(which % shape[axis]) + (", " if words else "") + words
        which //= shape[axis]
    return "[" + words + "]" if words else ""
