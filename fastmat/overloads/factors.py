"""What the overloads of `fastmat.linalg` share: dtypes, ranks, conversions."""

import numpy as np
from numba import njit
from numba.core import errors
from numba.np.numpy_support import as_dtype

from fastmat.ops.factors import FLOATS
from fastmat.overloads.typing import array_type, numba_dtype


def floating(x, name):
    """The NumPy dtype that factorizations of an array compute in; a TypingError for others."""
    dtype = as_dtype(array_type(x, name).dtype)
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    if dtype.name not in FLOATS:
        raise errors.TypingError(
            f"{name} has dtype {dtype}; supported are bool, integers, {', '.join(FLOATS)}"
        )
    return dtype


def check_ndim(x, name, ndims, wanted):
    """A TypingError unless an array has one of these numbers of dimensions."""
    if array_type(x, name).ndim not in ndims:
        raise errors.TypingError(f"{name} has {x.ndim} dimensions; {wanted}")


def converted(x, dtype):
    """A function that makes an array one of this dtype."""
    item = numba_dtype(dtype)
    return njit((lambda x: x) if x.dtype == item else (lambda x: x.astype(item)))


@njit
def check_shape(out, shape):
    if out.shape != shape:
        raise ValueError("out has another shape than the result")
