"""Results that go to an array of the caller, in compiled code."""

import numpy as np
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from fastmat.core.dtypes import movable
from fastmat.overloads.transpose import copy_items


def store(source, out):
    """``out[...] = source``, of one shape, in other memory.

    Numba's own assignment takes seconds to compile, for the sake of a message about shapes.
    """
    raise TypeError("only for compiled code")


@overload(store)
def _store(source, out):
    alike = source.dtype == out.dtype and movable(as_dtype(out.dtype))
    if alike and source.aligned and out.aligned:
        return lambda source, out: copy_items(source, out)
    if out.ndim == 0:

        def store_number(source, out):
            out[()] = source[()]

        return store_number

    def convert(source, out):
        for index in np.ndindex(out.shape):
            out[index] = source[index]

    return convert
