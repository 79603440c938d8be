"""What the overloads share: argument types checked as the program compiles, views of arrays."""

import numpy as np
from numba import types
from numba.core import cgutils, errors
from numba.core.imputils import impl_ret_borrowed, impl_ret_new_ref
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype, from_dtype

from fastmat.core.compile import raise_failure
from fastmat.core.dtypes import kernel_name, unsupported
from fastmat.core.mathfn import NUMBA_DTYPES


def given(argument):
    """Whether an optional argument was given, and is not None."""
    omitted = isinstance(argument, types.Omitted) and argument.value is None
    return not (argument is None or omitted or isinstance(argument, types.NoneType))


def array_type(argument, name):
    """The type of an array argument; a TypingError that names it for anything else."""
    if not isinstance(argument, types.Array):
        raise errors.TypingError(f"{name} is of type {argument}; it must be an array")
    if not argument.aligned:
        raise errors.TypingError(f"{name} is not aligned; copy it to an aligned array first")
    return argument


def numpy_dtype(argument, name):
    """The NumPy dtype of an array argument, one that kernels compute with."""
    dtype = as_dtype(array_type(argument, name).dtype)
    if kernel_name(dtype) is None:
        raise errors.TypingError(str(unsupported(name, dtype)))
    return dtype


def result_dtype(arguments, dtype):
    """The NumPy dtype of a product of these arrays: promoted, or the one asked for."""
    dtypes = {name: numpy_dtype(x, name) for name, x in arguments.items()}
    if not given(dtype):
        return np.result_type(*dtypes.values())
    if isinstance(dtype, types.NumberClass | types.DType):
        wanted = as_dtype(dtype.dtype)
    else:
        raise errors.TypingError(
            f"dtype is of type {dtype}; it must be a dtype, such as np.float64"
        )
    for name, got in dtypes.items():
        if not np.can_cast(got, wanted, "same_kind"):
            raise errors.TypingError(
                f"{name} has dtype {got}, which cannot be cast to dtype={wanted} "
                "under the rule 'same_kind'"
            )
    if kernel_name(wanted) is None:
        raise errors.TypingError(str(unsupported("the product", wanted)))
    return wanted


def check_out(out, ndim, dtype):
    """A TypingError unless results of this dtype and rank can be written to `out`."""
    got = as_dtype(array_type(out, "out").dtype)
    if not out.mutable:
        raise errors.TypingError("out is read-only; it must be writeable")
    if out.ndim != ndim:
        raise errors.TypingError(f"out has {out.ndim} dimensions; the result has {ndim}")
    if not np.can_cast(dtype, got, "same_kind"):
        raise errors.TypingError(
            f"out has dtype {got}; the result has dtype {dtype}, "
            "which cannot be cast to it under the rule 'same_kind'"
        )


def numba_dtype(dtype):
    """Numba's own type for a NumPy dtype."""
    return from_dtype(dtype)


def raising(function):
    """A compiled function as one whose errors cost nothing where there are none."""

    @intrinsic
    def call(typingctx, *args):
        callee = types.Dispatcher(function)
        resolved = typingctx.resolve_function_type(callee, args, {})

        def codegen(context, builder, signature, values):
            result = function.get_compile_result(resolved)
            context.add_linking_libs([result.library])
            values = cgutils.unpack_tuple(builder, values[0], len(args))
            status, found = context.call_internal_no_propagate(
                builder, result.fndesc, resolved, values
            )
            raise_failure(context, builder, status)
            return impl_ret_new_ref(context, builder, resolved.return_type, found)

        return resolved.return_type(types.StarArgTuple(args)), codegen

    return call


@intrinsic
def as_kernel_reads(typingctx, array):
    """The same array, in the type that kernels for its dtype take: any strides, bits as stored."""
    stored = NUMBA_DTYPES[kernel_name(as_dtype(array.dtype))]
    result = types.Array(stored, array.ndim, "A", readonly=not array.mutable)

    def codegen(context, builder, signature, args):
        old = context.make_array(array)(context, builder, args[0])
        new = context.make_array(result)(context, builder)
        for name in ("shape", "strides", "itemsize", "nitems", "meminfo", "parent"):
            setattr(new, name, getattr(old, name))
        new.data = builder.bitcast(old.data, new.data.type)
        return impl_ret_borrowed(context, builder, result, new._getvalue())

    return result(array), codegen
