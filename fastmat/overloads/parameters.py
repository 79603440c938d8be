"""Weight and bias of a normalization, in compiled code."""

import numpy as np
from numba.core import errors
from numba.cpython.unsafe.tuple import tuple_setitem

from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.ops.statistics import compute_dtype
from fastmat.overloads.groups import floating
from fastmat.overloads.typing import given


def parameters_for(x, axes, weight, bias, dtype):
    """A function (weight, bias, x) of the arrays that kernels read, of the lengths of the axes."""
    item = NUMBA_DTYPES[compute_dtype(dtype).name]
    either = given(weight) or given(bias)
    first, second = (
        _parameter(value, name, axes, item, neutral, either)
        for value, name, neutral in ((weight, "weight", 1.0), (bias, "bias", -0.0))
    )
    return inlined(lambda weight, bias, x: (first(weight, x), second(bias, x)))


def _parameter(value, name, axes, item, neutral, either):
    count = len(axes)
    ones = (1,) * count
    if not given(value):

        def neutral_array(value, x):
            shape = ones
            if either:
                for k in range(count):
                    shape = tuple_setitem(shape, k, x.shape[axes[k]])
            return np.full(shape, item(neutral), item)

        return inlined(neutral_array)
    floating(value, name)
    if value.ndim != count:
        raise errors.TypingError(f"{name} has {value.ndim} dimensions; it must have {count}")
    message = f"{name} has not the lengths of the axes of x that it belongs to"

    @inlined
    def check(value, x):
        for k in range(count):
            if value.shape[k] != x.shape[axes[k]]:
                raise ValueError(message)

    if value.dtype == item and value.layout == "C":

        def as_it_is(value, x):
            check(value, x)
            return value

        return inlined(as_it_is)

    def converted(value, x):
        check(value, x)
        return np.ascontiguousarray(value).astype(item)

    return inlined(converted)
