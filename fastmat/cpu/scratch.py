"""Work space of kernels, and the dtypes of what they keep there."""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from fastmat.core.mathfn import accumulator, real
from fastmat.cpu.blocking import CACHE_LINE


@njit
def scratch(size, dtype):
    """Uninitialized 1-D array that starts on a cache line."""
    raw = np.empty(size + CACHE_LINE, dtype)
    start = -raw.ctypes.data % CACHE_LINE // raw.itemsize
    return raw[start : start + size]


@intrinsic
def sum_dtype(typingctx, dtype):
    """The dtype that sums of products of this dtype are held in."""
    return types.DType(accumulator(dtype.dtype))(dtype), _nothing


@intrinsic
def scalar_dtype(typingctx, dtype):
    """The dtype of the real scalars that those sums consist of."""
    return types.DType(real(dtype.dtype))(dtype), _nothing


def _nothing(context, builder, signature, args):
    return context.get_dummy_value()
