"""Memory at addresses, bits of numbers, and calls of functions by address, in compiled Python."""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_WORD = ir.IntType(64)

# A compiled function that only compiled functions call.
within = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _reader(kind):
    @intrinsic
    def read(typing_context, address):
        def emit(context, builder, signature, values):
            at = builder.inttoptr(values[0], context.get_value_type(kind).as_pointer())
            return builder.load(at, align=1)

        return kind(types.int64), emit

    return read


def _writer(kind):
    @intrinsic
    def write(typing_context, address, value):
        def emit(context, builder, signature, values):
            at = builder.inttoptr(values[0], context.get_value_type(kind).as_pointer())
            builder.store(values[1], at, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, kind), emit

    return write


read_byte, write_byte = _reader(types.uint8), _writer(types.uint8)
read_u16 = _reader(types.uint16)
read_float, write_float = _reader(types.float32), _writer(types.float32)
read_double, write_double = _reader(types.float64), _writer(types.float64)


@intrinsic
def get(typing_context, base, i):
    """Word i from an address on."""

    def emit(context, builder, signature, values):
        at = builder.inttoptr(values[0], _WORD.as_pointer())
        return builder.load(builder.gep(at, [values[1]]))

    return types.int64(types.int64, types.int64), emit


@intrinsic
def put(typing_context, base, i, value):
    """Set word i from an address on."""

    def emit(context, builder, signature, values):
        at = builder.inttoptr(values[0], _WORD.as_pointer())
        builder.store(values[2], builder.gep(at, [values[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


@intrinsic
def fill(typing_context, address, byte, size):
    """Set bytes of memory."""

    def emit(context, builder, signature, values):
        at = builder.inttoptr(values[0], cgutils.voidptr_t)
        cgutils.memset(builder, at, values[2], builder.trunc(values[1], ir.IntType(8)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


@intrinsic
def call(typing_context, function, first, second):
    """Call the function at an address with two addresses."""

    def emit(context, builder, signature, values):
        kind = ir.FunctionType(ir.VoidType(), [_WORD, _WORD])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


@intrinsic
def float_of_bits(typing_context, bits):
    """The float32 of the low 32 bits of a word."""

    def emit(context, builder, signature, values):
        return builder.bitcast(builder.trunc(values[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.int64), emit


@intrinsic
def bits_of_float(typing_context, x):
    """The bits of a float32, in a word."""

    def emit(context, builder, signature, values):
        return builder.zext(builder.bitcast(values[0], ir.IntType(32)), _WORD)

    return types.int64(types.float32), emit


@intrinsic
def double_of_bits(typing_context, bits):
    """The float64 of a word."""

    def emit(context, builder, signature, values):
        return builder.bitcast(values[0], ir.DoubleType())

    return types.float64(types.int64), emit


@intrinsic
def bits_of_double(typing_context, x):
    """The bits of a float64."""

    def emit(context, builder, signature, values):
        return builder.bitcast(values[0], _WORD)

    return types.int64(types.float64), emit
