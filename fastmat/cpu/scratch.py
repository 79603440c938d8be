"""Work space of kernels, and the dtypes of what they keep there."""

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastmat.core.inline import inlined
from fastmat.core.mathfn import accumulator, real
from fastmat.cpu.blocking import CACHE_LINE


@inlined
def scratch(size, dtype):
    """Uninitialized 1-D array that starts on a cache line."""
    raw = np.empty(size + CACHE_LINE, dtype)
    start = -raw.ctypes.data % CACHE_LINE // raw.itemsize
    return raw[start : start + size]


def dtype_constant(function):
    """A function from dtype to dtype, for use in compiled code."""

    @intrinsic
    def constant(typingctx, dtype):
        def codegen(context, builder, signature, args):
            return context.get_dummy_value()

        return types.DType(function(dtype.dtype))(dtype), codegen

    return constant


sum_dtype = dtype_constant(accumulator)  # what sums of products are held in
scalar_dtype = dtype_constant(real)  # the real scalars that those sums consist of
