"""Numbers as they are stored and as kernels compute with them.

`widen` takes a stored number to the accumulator's type, `narrow` rounds back. Numba's CPU target
does not know the 16-bit floats. They are converted by the CPU's instructions for them, or where it
has none by integer arithmetic: that vectorizes on every CPU, calls no library and rounds to nearest
even, too.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

from fastmat.core.inline import inlined, overload

_FLOAT16_SCALE = np.float32(2.0**112)  # the exponent biases of float32 and float16: 127 - 15


class Stored(types.Type):
    """A number held as its bits: Numba computes nothing with it before `widen`."""

    def __init__(self, name, bitwidth):
        self.bitwidth = bitwidth
        super().__init__(f"stored_{name}")


@register_model(Stored)
class _StoredModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ir.IntType(fe_type.bitwidth))


float16 = Stored("float16", 16)
bfloat16 = Stored("bfloat16", 16)
boolean = Stored("bool", 8)  # any byte but 0 is True, as in NumPy

NUMBA_DTYPES = {
    "bool": boolean,
    "float16": float16,
    "bfloat16": bfloat16,
    **{name: getattr(types, name) for name in ("int8", "int16", "int32", "int64")},
    **{name: getattr(types, name) for name in ("float32", "float64", "complex64", "complex128")},
}

UNSIGNED = {f"uint{bits}": getattr(types, f"uint{bits}") for bits in (8, 16, 32, 64)}
"""Where the order of numbers matters: elsewhere they share the kernels of signed integers."""

_NUMBERS = {boolean: types.boolean, float16: types.float32, bfloat16: types.float32}
_ACCUMULATORS = {
    boolean: types.uint8,  # 0 or 1; no other dtype is computed with as uint8
    types.int8: types.int16,  # no CPU multiplies bytes; the low byte of the sum is the same
    float16: types.float32,
    bfloat16: types.float32,
}
_REAL_PARTS = {types.complex64: types.float32, types.complex128: types.float64}


def accumulator(dtype):
    """The type that sums of products of this dtype are held in."""
    return _ACCUMULATORS.get(dtype, dtype)


def real(dtype):
    """The real scalars that the accumulator consists of."""
    return _REAL_PARTS.get(accumulator(dtype), accumulator(dtype))


def signed(dtype):
    """The type whose kernels move, pack and store the numbers of this one."""
    return getattr(types, dtype.name.removeprefix("u")) if dtype in UNSIGNED.values() else dtype


def number(dtype):
    """The type in which a scalar function gets the numbers of a dtype."""
    return _NUMBERS.get(dtype, dtype)


@intrinsic
def reinterpret(typingctx, value, dtype):
    """The bits of a number as a number of another type of the same size."""
    result = dtype.dtype if isinstance(dtype, types.DType) else dtype.instance_type

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(value, dtype), codegen


def has_float16_instructions():
    """Whether the CPU that Numba compiles for converts float16."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return "+f16c" in features.split(",")


@intrinsic
def _float16_to_float32(typingctx, h):
    def codegen(context, builder, signature, args):
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(h), codegen


@intrinsic
def _float32_to_float16(typingctx, x):
    def codegen(context, builder, signature, args):
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return float16(x), codegen


@inlined
def float16_to_float32(h):
    stored = reinterpret(h, types.uint16)
    magnitude = types.uint32(stored & 0x7FFF)
    scaled = reinterpret(types.uint32(magnitude << 13), types.float32) * _FLOAT16_SCALE
    special = 0x7F800000 if magnitude >= 0x7C00 else 0
    sign = (stored & 0x8000) << 16
    return reinterpret(
        types.uint32(reinterpret(scaled, types.uint32) | special | sign), types.float32
    )


@inlined
def float32_to_float16(x):
    """Giesen's float_to_half_fast3_rtne: three cases, all computed, one selected."""
    stored = reinterpret(x, types.uint32)
    magnitude = types.uint32(stored & 0x7FFFFFFF)
    overflow = 0x7E00 if magnitude > 0x7F800000 else 0x7C00
    shifted = reinterpret(magnitude, types.float32) + np.float32(0.5)  # aligns the subnormal bits
    subnormal = reinterpret(shifted, types.uint32) - 0x3F000000
    odd = (magnitude >> 13) & 1
    normal = (magnitude + odd + 0xFFF - (112 << 23)) >> 13
    finite = subnormal if magnitude < 113 << 23 else normal
    rounded = overflow if magnitude >= 143 << 23 else finite
    return reinterpret(types.uint16(rounded | (stored >> 16 & 0x8000)), float16)


@inlined
def bfloat16_to_float32(h):
    return reinterpret(types.uint32(reinterpret(h, types.uint16) << 16), types.float32)


@inlined
def float32_to_bfloat16(x):
    stored = reinterpret(x, types.uint32)
    rounded = (stored + 0x7FFF + (stored >> 16 & 1)) >> 16
    quiet = stored >> 16 | 0x40
    is_nan = (stored & 0x7FFFFFFF) > 0x7F800000
    return reinterpret(types.uint16(quiet if is_nan else rounded), bfloat16)


def widen(value):
    """A stored number in the type that kernels compute with."""
    raise TypeError("only for compiled code")


@overload(widen)
def _widen(value):
    if value == float16:
        if has_float16_instructions():
            return lambda value: _float16_to_float32(value)
        return lambda value: float16_to_float32(value)
    if value == bfloat16:
        return lambda value: bfloat16_to_float32(value)
    if value == boolean:
        return lambda value: types.uint8(reinterpret(value, types.uint8) != 0)
    wide = accumulator(value)
    return lambda value: wide(value)


def narrow(value, dtype):
    """A computed number, rounded (integers: wrapped) to the stored dtype."""
    raise TypeError("only for compiled code")


@overload(narrow)
def _narrow(value, dtype):
    stored = dtype.dtype
    if stored == float16:
        if has_float16_instructions():
            return lambda value, dtype: _float32_to_float16(types.float32(value))
        return lambda value, dtype: float32_to_float16(types.float32(value))
    if stored == bfloat16:
        return lambda value, dtype: float32_to_bfloat16(types.float32(value))
    if stored == boolean:
        return lambda value, dtype: reinterpret(types.uint8(value), boolean)
    return lambda value, dtype: stored(value)


def plus(x, y):
    raise TypeError("only for compiled code")


@overload(plus)
def _plus_numbers(x, y):
    """x + y; for bool the or."""
    if x == types.uint8:
        return lambda x, y: types.uint8(x | y)
    return lambda x, y: x + y
