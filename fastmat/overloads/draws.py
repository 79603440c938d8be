"""What the random draws share inside ``@njit``: seeds, positions, where results go."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.imputils import impl_ret_borrowed
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype, from_dtype

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.strides import AXES
from fastmat.ops.draws import POSITIONS
from fastmat.overloads.storing import store
from fastmat.overloads.typing import given
from fastmat.overloads.values import cast_out

i64 = ir.IntType(64)
_LAST = AXES - 1
_NOWHERE = (0,) * AXES


def chosen_dtype(dtype, out, default, allowed):
    """The dtype that is asked for, else that of `out`, else the default."""
    if isinstance(dtype, types.Omitted):
        dtype = dtype.value
    if not given(dtype):
        found = as_dtype(out.dtype) if isinstance(out, types.Array) else np.dtype(default)
        found = found.newbyteorder("=")
    elif isinstance(dtype, types.NumberClass | types.DType):
        found = as_dtype(dtype.dtype)
    elif isinstance(dtype, types.Function) and dtype.typing_key in (bool, int, float, complex):
        found = np.dtype(dtype.typing_key)
    else:
        raise errors.TypingError(
            f"dtype is of type {dtype}; it must be a dtype, such as np.float64"
        )
    if found.name not in allowed:
        raise errors.TypingError(f"dtype is {found}; it must be one of {', '.join(allowed)}")
    return found


def real_number(argument, name):
    """A TypingError unless the argument is a real number."""
    if isinstance(argument, types.Omitted):
        argument = argument.value
    if not isinstance(argument, int | float | types.Integer | types.Float | types.Boolean):
        raise errors.TypingError(f"{name} is of type {argument}; it must be a number")


def integer_type(argument, name):
    """A TypingError unless the argument is an integer."""
    if isinstance(argument, types.Omitted):
        argument = argument.value
    if not isinstance(argument, int | types.Integer):
        raise errors.TypingError(f"{name} is of type {argument}; it must be an integer")


def drawer(kernel, element, dtype, size, out, rng, stream, offset, whole):
    """A function (size, out, rng, stream, offset, whole, parameters) that draws the numbers.

    `element` is the dtype of the kernel: of half the size for complex numbers that are pairs.
    """
    item, pairs = from_dtype(dtype), int(2 * np.dtype(element).itemsize == dtype.itemsize)
    shape_of, ndim = _shape(size, out)
    if ndim + pairs > AXES:
        raise errors.TypingError(
            f"size has {ndim} dimensions; inside njit {AXES - pairs} are the most"
        )
    view, seed_of, stream_of = _drawn(element, pairs), seed_reader(rng), stream_reader(stream)
    place = _place(offset, whole, ndim, pairs)

    @inlined
    def fill(target, rng, stream, offset, whole, parameters):
        steps, first = place(target.shape, offset, whole)
        seed, key = seed_of(rng), stream_of(stream)
        if target.size:
            a = view(target)
            call_all(kernel, a.dtype, (a, steps, first, seed, key, *parameters))

    if not given(out):
        scalar = not given(size)

        def draw_new(size, out, rng, stream, offset, whole, parameters):
            result = np.empty(shape_of(size, out), item)
            fill(result, rng, stream, offset, whole, parameters)
            return result

        draw_new = inlined(draw_new)
        if scalar:
            return inlined(lambda *args: draw_new(*args)[()])
        return draw_new
    direct = cast_out(out, ndim, dtype) and out.aligned and (out.layout == "C" or given(whole))

    def draw_into(size, out, rng, stream, offset, whole, parameters):
        shape = shape_of(size, out)
        if out.shape != shape:
            raise ValueError("out has another shape than size")
        if direct:
            fill(out, rng, stream, offset, whole, parameters)
        else:
            result = np.empty(shape, item)
            fill(result, rng, stream, offset, whole, parameters)
            store(result, out)
        return out

    return inlined(draw_into)


def _drawn(element, pairs):
    """A function that views an array as kernels take it; pairs have an axis of their own."""
    stored = NUMBA_DTYPES[np.dtype(element).name]
    result = types.Array(stored, AXES, "A")

    @intrinsic
    def view(typingctx, array):
        def codegen(context, builder, signature, args):
            old = context.make_array(array)(context, builder, args[0])
            new = context.make_array(result)(context, builder)
            size = ir.Constant(i64, context.get_abi_sizeof(context.get_data_type(stored)))
            one, zero = ir.Constant(i64, 1), ir.Constant(i64, 0)
            shape = list(cgutils.unpack_tuple(builder, old.shape, array.ndim))
            strides = list(cgutils.unpack_tuple(builder, old.strides, array.ndim))
            if pairs:
                shape, strides = [*shape, ir.Constant(i64, 2)], [*strides, size]
            missing = AXES - len(shape)
            new.data = builder.bitcast(old.data, new.data.type)
            new.itemsize, new.meminfo, new.parent = size, old.meminfo, old.parent
            new.nitems = builder.mul(old.nitems, ir.Constant(i64, 1 + pairs))
            new.shape = cgutils.pack_array(builder, [one] * missing + shape)
            new.strides = cgutils.pack_array(builder, [zero] * missing + strides)
            return impl_ret_borrowed(context, builder, result, new._getvalue())

        return result(array), codegen

    return view


def _shape(size, out):
    """A function (size, out) of the shape of the result, and of how many axes it has."""
    if not given(size):
        if not given(out):
            return inlined(lambda size, out: ()), 0
        if not isinstance(out, types.Array):
            raise errors.TypingError(f"out is of type {out}; it must be an array")
        return inlined(lambda size, out: out.shape), out.ndim
    read, ndim = lengths_of(size, "size")
    return inlined(lambda size, out: read(size)), ndim


def lengths_of(argument, name):
    """A function that makes a shape a tuple, and how many axes it has."""
    negative = f"{name} has a negative length"
    if isinstance(argument, types.Integer):

        def one_length(argument):
            if argument < 0:
                raise ValueError(negative)
            return (np.int64(argument),)

        return inlined(one_length), 1
    convert = _integers(argument, name)

    def lengths(argument):
        found = convert(argument)
        for n in found:
            if n < 0:
                raise ValueError(negative)
        return found

    return inlined(lengths), len(argument)


def _integers(argument, name):
    """A function that makes a tuple of integers one of int64."""
    is_tuple = isinstance(argument, types.BaseTuple)
    if not is_tuple or not all(isinstance(x, types.Integer) for x in argument):
        raise errors.TypingError(
            f"{name} is of type {argument}; it must be an integer or a tuple of them"
        )
    wanted = types.UniTuple(types.int64, len(argument))

    @intrinsic
    def convert(typingctx, values):
        def codegen(context, builder, signature, args):
            parts = cgutils.unpack_tuple(builder, args[0], len(argument))
            cast = [
                context.cast(builder, part, kind, types.int64)
                for part, kind in zip(parts, values, strict=True)
            ]
            return context.make_tuple(builder, wanted, cast)

        return wanted(values), codegen

    return convert


def _place(offset, whole, ndim, pairs):
    """A function (shape, offset, whole) of the steps of positions, and the first of them."""
    factor, padding = 1 + pairs, AXES - pairs - ndim

    @inlined
    def steps_of(shape):
        steps, step = _NOWHERE, factor
        for axis in range(ndim - 1, -1, -1):
            steps = tuple_setitem(steps, padding + axis, step)
            step *= shape[axis]
        if pairs or ndim == 0:
            steps = tuple_setitem(steps, _LAST, 1)
        return steps

    if not given(whole):
        if isinstance(offset, types.BaseTuple):
            raise errors.TypingError(
                f"offset is of type {offset}; without whole it must be an integer, a flat position"
            )
        integer_type(offset, "offset")

        def from_position(shape, offset, whole):
            count = 1
            for n in shape:
                count *= n
            if offset < 0 or np.uint64(offset) > np.uint64(POSITIONS - count):
                raise ValueError("offset is out of range; positions must be from 0 to 2**62 - 1")
            return steps_of(shape), np.uint64(offset) * np.uint64(factor)

        return inlined(from_position)
    read, axes = lengths_of(whole, "whole")
    start = _start(offset, axes)
    if axes != ndim:
        raise errors.TypingError(f"whole has {axes} axes and size {ndim}; they must have the same")

    def from_indices(shape, offset, whole):
        full, begin = read(whole), start(offset)
        steps, first, count = steps_of(full), 0, 1.0
        for axis in range(ndim):
            if begin[axis] < 0 or begin[axis] + shape[axis] > full[axis]:
                raise ValueError("the block of this offset and size is not within whole")
            first += begin[axis] * steps[padding + axis]
            count *= full[axis]
        if count > POSITIONS:
            raise ValueError("whole must have at most 2**62 items")
        return steps, np.uint64(first)

    return inlined(from_indices)


def _start(offset, axes):
    """A function of the indices where a block begins."""
    if isinstance(offset, types.BaseTuple):
        if len(offset) != axes:
            raise errors.TypingError(
                f"offset has {len(offset)} indices and whole {axes} axes; they must have the same"
            )
        return _integers(offset, "offset")
    value = getattr(offset, "value", getattr(offset, "literal_value", offset))
    if not isinstance(value, int) or value != 0:
        raise errors.TypingError(
            f"offset is of type {offset}; with whole it must be a tuple of indices"
        )
    origin = (0,) * axes
    return inlined(lambda offset: origin)


def seed_reader(rng):
    """A function of the seed that `rng` stands for."""
    if not given(rng):

        def fresh(rng):
            # the only generator that compiled code can use without being handed one
            high = np.uint64(np.random.randint(0, 2**32))  # noqa: NPY002
            return high << np.uint64(32) | np.uint64(np.random.randint(0, 2**32))  # noqa: NPY002

        return inlined(fresh)
    if not isinstance(rng, types.Integer):
        raise errors.TypingError(
            f"rng is of type {rng}; inside njit it must be a seed, an integer, or None"
        )
    return _not_negative("rng is negative; a seed must be from 0 to 2**64 - 1")


def stream_reader(stream):
    integer_type(stream, "stream")
    return _not_negative("stream is negative; it must be from 0 to 2**64 - 1")


def _not_negative(message):
    def checked(number):
        if number < 0:
            raise ValueError(message)
        return np.uint64(number)

    return inlined(checked)
