"""Epilogues: functions of a product's numbers, applied tile by tile while they are in the cache."""

import numpy as np
from numba import types

from fastmat.core.compile import KERNEL_DTYPES, Kernel
from fastmat.core.mathfn import number
from fastmat.cpu.lanewise_map import map_tile
from fastmat.cpu.scalar_functions import Compiled, compiled_at, embedded
from fastmat.cpu.scratch import dtype_constant

REAL = ("float16", "bfloat16", "float32", "float64")
INTEGERS = tuple(name for name in KERNEL_DTYPES if "int" in name)
NAMED = {  # the operator, how many extras of the accumulator's dtype it takes, the dtypes
    "relu": ("relu", 0, (*REAL, *INTEGERS)),
    "gelu": ("gelu", 0, REAL),
    "silu": ("silu", 0, REAL),
    "bias": ("plus", 1, tuple(KERNEL_DTYPES)),
    "bias_relu": ("relu_of_sum", 1, (*REAL, *INTEGERS)),
    "bias_gelu": ("gelu_of_sum", 1, REAL),
    "bias_silu": ("silu_of_sum", 1, REAL),
    "relu_slope": ("relu_slope", 2, REAL),
    "gelu_slope": ("gelu_slope", 2, REAL),
    "silu_slope": ("silu_slope", 2, REAL),
}

number_dtype = dtype_constant(number)


def epilogue_types(t):
    """Argument types of epilogues; `t` may be unsigned."""
    return (types.DType(t), *[types.intp] * 8)


def epilogue_of(function, extra_types):
    """The epilogue for a scalar function of a number and of extras of these dtypes."""

    def epilogue(
        element,  # dtype of the product
        c,  # inout, address of (rows, NR) sums, columns side by side
        c_stride,  # bytes from row to row
        rows,
        cols,  # of which the others are as the last one
        i,  # row, column of the first number
        j,
        item,  # of the stack
        extras,  # in, address of (extras, 4): address, bytes from item, row, column to the next
    ):
        map_tile(function, element, extra_types, c, c_stride, rows, cols, i, j, item, extras)

    return epilogue


def _with_numbers(operator, count):
    """The epilogue for an operator whose extras are of the accumulator's dtype."""
    if count == 0:
        return epilogue_of(operator, ())
    if count == 1:

        def epilogue(element, c, c_stride, rows, cols, i, j, item, extras):
            extra = (number_dtype(element),)
            map_tile(operator, element, extra, c, c_stride, rows, cols, i, j, item, extras)

    else:

        def epilogue(element, c, c_stride, rows, cols, i, j, item, extras):
            extra = (number_dtype(element), number_dtype(element))
            map_tile(operator, element, extra, c, c_stride, rows, cols, i, j, item, extras)

    return epilogue


def _kernels():
    found = {}
    for name, (operator, extras, dtypes) in NAMED.items():
        function = _with_numbers(operator, extras)
        function.__name__ = function.__qualname__ = f"{name}_epilogue"
        found[function.__name__] = Kernel(function, epilogue_types, dtypes, False)
    return found


_KERNELS = _kernels()
globals().update(_KERNELS)  # where symbols of compiled code, and ``fastmat warmup``, find them


def named(name):
    """The kernel of an epilogue by its name."""
    return _KERNELS[f"{name}_epilogue"]


_users = Compiled()


def address_of(function, dtype, extra_dtypes):
    """The address of an epilogue for the dtype of this name, and whether it may raise anything.

    It is a name, or a function of a number and of one of each of the NumPy dtypes of extras.
    """
    if isinstance(function, str):
        kernel = named(function)
        if dtype not in kernel.dtypes:
            raise TypeError(f"epilogue {function!r} is not defined for {dtype}")
        kernel.load(dtype)
        return kernel.cell(dtype).value, False
    found = _users.of(function)
    key = (dtype, *extra_dtypes)
    if key not in found:
        what = f"{getattr(function, '__name__', function)!r} for {dtype}"
        body = epilogue_of(
            embedded(function, 1 + len(extra_dtypes)), tuple(np.dtype(x) for x in extra_dtypes)
        )
        found[key] = compiled_at(body, epilogue_types(KERNEL_DTYPES[dtype]), what)
    address, may_raise, _ = found[key]
    return address, may_raise
