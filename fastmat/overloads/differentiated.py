"""What the gradients share inside ``@njit``: arguments, results."""

import numpy as np
from numba.core import errors
from numba.np.numpy_support import as_dtype

from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.ops.differentiated import Gradients, ScaleGradients
from fastmat.overloads.groups import floating, ready
from fastmat.overloads.typing import given


def cotangent_reader(cotangent, x, dtype, joined):
    """A function (cotangent, x) that makes the cotangent an array that kernels read."""
    floating(cotangent, "cotangent")
    if cotangent.ndim != x.ndim:
        raise errors.TypingError(f"cotangent has {cotangent.ndim} dimensions; x has {x.ndim}")
    read = ready(cotangent, dtype, joined)

    def checked(cotangent, x):
        if cotangent.shape != x.shape:
            raise ValueError("cotangent has another shape than x")
        return read(cotangent)

    return inlined(checked)


def statistic_reader(given_array, name, ndim):
    """A function (statistic, shape) that checks a statistic."""
    if floating(given_array, name) != as_dtype(given_array.dtype):
        raise errors.TypingError(f"{name} is {given_array}; it must be of floating numbers")
    if given_array.ndim != ndim:
        raise errors.TypingError(f"{name} has {given_array.ndim} dimensions; it must have {ndim}")
    message = f"{name} has not the shape that the normalization returned"

    def checked(statistic, shape):
        if statistic.shape != shape:
            raise ValueError(message)
        return np.ascontiguousarray(statistic).astype(np.float64)

    return inlined(checked)


def collector(weight, only_weight=False):
    """A function (gradient by x, by weight, by bias) of what is returned."""
    if not given(weight):
        if only_weight:
            return inlined(lambda x, w, b: ScaleGradients(x, None))
        return inlined(lambda x, w, b: Gradients(x, None, None))
    item = NUMBA_DTYPES[floating(weight, "weight").name]
    if only_weight:
        return inlined(lambda x, w, b: ScaleGradients(x, w.astype(item)))
    return inlined(lambda x, w, b: Gradients(x, w.astype(item), b.astype(item)))
