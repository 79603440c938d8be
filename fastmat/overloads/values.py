"""Arrays whose items are moved as bits, and values cast to their dtype, in compiled code."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype, from_dtype

from fastmat.core.dtypes import kernel_name, movable, unmovable
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES, reinterpret, widen
from fastmat.cpu.strides import AXES, bits
from fastmat.cpu.views import overlap
from fastmat.ops.casting import rank
from fastmat.overloads.typing import as_kernel_reads

_KINDS = ((types.Boolean, 0), (types.Integer, 1), (types.Float, 2), (types.Complex, 3))


def items_of(x, name="x"):
    """The NumPy dtype of an array whose items can be moved as bits; a TypingError otherwise."""
    if not isinstance(x, types.Array):
        raise errors.TypingError(f"{name} is of type {x}; it must be an array")
    if x.ndim > AXES:
        raise errors.TypingError(f"{name} has {x.ndim} dimensions; inside njit {AXES} are the most")
    dtype = as_dtype(x.dtype)
    if not movable(dtype):
        raise errors.TypingError(str(unmovable(name, dtype)))
    return dtype


def as_read(x, dtype):
    """The type of an argument as an array of this dtype."""
    return x if as_dtype(x.dtype) == dtype else types.Array(from_dtype(dtype), x.ndim, "C")


def check_mask(mask, name):
    """A TypingError unless this is an array of bool."""
    if not isinstance(mask, types.Array) or not isinstance(mask.dtype, types.Boolean):
        raise errors.TypingError(f"{name} is of type {mask}; it must be an array of bool")
    if mask.ndim > AXES:
        raise errors.TypingError(
            f"{name} has {mask.ndim} dimensions; inside njit {AXES} are the most"
        )


def in_axes(ndim):
    """A function that views an array of so many axes in AXES of them, its items as bits."""
    ones, zeros = (1,) * (AXES - ndim), (0,) * (AXES - ndim)
    return inlined(lambda x: bits(x, ones + x.shape, zeros + x.strides))


@intrinsic
def numbers_in_axes(typingctx, array):
    """The array in AXES axes, its items as kernels compute with them."""
    stored = NUMBA_DTYPES[kernel_name(as_dtype(array.dtype))]
    result = types.Array(stored, AXES, "A", readonly=not array.mutable)

    def codegen(context, builder, signature, args):
        old = context.make_array(array)(context, builder, args[0])
        new = context.make_array(result)(context, builder)
        for name in ("itemsize", "nitems", "meminfo", "parent"):
            setattr(new, name, getattr(old, name))
        new.data = builder.bitcast(old.data, new.data.type)
        for name, padding in (("shape", 1), ("strides", 0)):
            lengths = cgutils.unpack_tuple(builder, getattr(old, name), array.ndim)
            missing = [ir.Constant(ir.IntType(64), padding)] * (AXES - array.ndim)
            setattr(new, name, cgutils.pack_array(builder, [*missing, *lengths]))
        return impl_ret_borrowed(context, builder, result, new._getvalue())

    return result(array), codegen


def new_like(x, ndim):
    """A function of a shape: a new array of the dtype of x, in Fortran order if x is."""
    item = x.dtype
    if x.layout == "F" and x.ndim == ndim:
        return inlined(lambda shape: np.empty(shape[::-1], item).T)
    return inlined(lambda shape: np.empty(shape, item))


def apart(ndim):
    """A function of an array of so many axes, and one that is written: a view, maybe of a copy."""
    view = in_axes(ndim)

    def read(x, out):
        found = view(x)
        if x.size and out.size and overlap(x, out):
            found = view(x.copy())
        return found

    return inlined(read)


def caster(value, name, dtype, item):
    """The number of axes of a value, and a function that makes it an array of this dtype.

    `dtype` is NumPy's, `item` Numba's type for it.
    """
    if isinstance(value, types.Array):
        return value.ndim, _array_caster(value, name, dtype, item)
    kind, wanted = _kind(value, name), rank(dtype)
    if wanted is None or kind > wanted:
        raise _refused(name, f"is of type {value}", dtype)
    convert = _converter(dtype)
    least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if wanted == 1 else (0, 0)
    bounded = wanted == 1 and kind == 1
    message = f"{name} is out of range for {dtype}, from {least} to {most}"

    @inlined
    def in_range(value):
        if not (value >= least and value <= most):
            raise OverflowError(message)

    check = in_range if bounded else inlined(lambda value: None)

    def as_array(value):
        check(value)
        result = np.empty(1, item)
        as_kernel_reads(result)[0] = convert(value)
        return result.reshape(())

    return 0, inlined(as_array)


def _kind(value, name):
    """The rank of the kind of a scalar, or of a default."""
    if isinstance(value, types.Omitted):
        value = value.value
    if isinstance(value, bool | int | float | complex):
        return {bool: 0, int: 1, float: 2, complex: 3}[type(value)]
    for type_, kind in _KINDS:
        if isinstance(value, type_):
            return kind
    raise errors.TypingError(f"{name} is of type {value}; it must be a number or an array")


def _array_caster(value, name, dtype, item):
    given_dtype = as_dtype(value.dtype)
    if given_dtype == dtype:
        return inlined(lambda value: value)
    kind, wanted = rank(given_dtype), rank(dtype)
    allowed = np.can_cast(given_dtype, dtype, "same_kind")
    if not allowed or kind is None or wanted is None or kind > wanted:
        raise _refused(name, f"has dtype {given_dtype}", dtype)
    convert = _converter(dtype)

    def cast(value):
        result = np.empty(value.shape, item)
        source, target = _as_numbers(value), as_kernel_reads(result)
        for index in np.ndindex(value.shape):
            target[index] = convert(widen(source[index]))
        return result

    return inlined(cast)


def _refused(name, got, dtype):
    return errors.TypingError(
        f"{name} {got}, which cannot be cast to {dtype} under the rule 'same_kind'"
    )


def _as_numbers(array):
    raise TypeError("only for compiled code")


@overload(_as_numbers)
def _array_of_numbers(array):
    """An array in a type that `widen` takes, of unsigned integers as well."""
    if isinstance(array.dtype, types.Integer):
        return lambda array: array
    return lambda array: as_kernel_reads(array)


def _converter(dtype):
    """A function that makes a number what kernels store for it."""
    stored = NUMBA_DTYPES[kernel_name(dtype)]
    if dtype == np.bool_:
        return inlined(lambda value: reinterpret(np.uint8(value), stored))
    return inlined(lambda value: stored(value))


def cast_out(out, ndim, dtype):
    """Whether `out` has just this dtype; a TypingError if it cannot take results of it."""
    if not isinstance(out, types.Array):
        raise errors.TypingError(f"out is of type {out}; it must be an array")
    if not out.mutable:
        raise errors.TypingError("out is read-only; it must be writeable")
    if out.ndim != ndim:
        raise errors.TypingError(f"out has {out.ndim} dimensions; the result has {ndim}")
    got = as_dtype(out.dtype)
    if not np.can_cast(dtype, got, "same_kind"):
        raise errors.TypingError(
            f"out has dtype {got}; the result has dtype {dtype}, "
            "which cannot be cast to it under the rule 'same_kind'"
        )
    return got == dtype
