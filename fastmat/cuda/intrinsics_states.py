"""States of reductions, tuples of numbers of any types, in shuffles and in memory."""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_ALL_LANES = ir.Constant(_I32, -1)
_BY_XOR = ir.Constant(_I32, 3)
_CLAMP = ir.Constant(_I32, 31)


def _parts(builder, kind, value):
    """The numbers of a state, which is one number or a tuple of them."""
    if isinstance(kind, types.BaseTuple):
        return [builder.extract_value(value, k) for k in range(len(kind))]
    return [value]


def _state(context, builder, kind, parts):
    if isinstance(kind, types.BaseTuple):
        return context.make_tuple(builder, kind, parts)
    return parts[0]


def _types(kind):
    found = list(kind) if isinstance(kind, types.BaseTuple) else [kind]
    for number in found:
        if getattr(number, "bitwidth", 0) not in (32, 64):
            raise TypeError(f"a state consists of numbers of 32 or 64 bits, not of {number}")
    return found


def _as_word(builder, number):
    """The bits of a number of 32 or 64 bits as an integer."""
    wide = number.type in (ir.DoubleType(), _I64)
    return builder.bitcast(number, _I64 if wide else _I32)


@intrinsic
def exchanged(typing_context, state, distance):
    """The state of the lane whose number differs from this one's in the bits of `distance`."""
    _types(state)
    signature = state(state, types.int32)

    def emit(context, builder, signature, values):
        answer = ir.LiteralStructType((_I32, ir.IntType(1)))
        kind = ir.FunctionType(answer, [_I32] * 5)
        shuffle = cgutils.get_or_insert_function(builder.module, kind, "llvm.nvvm.shfl.sync.i32")

        def moved(word):
            given = (_ALL_LANES, _BY_XOR, word, values[1], _CLAMP)
            return builder.extract_value(builder.call(shuffle, given), 0)

        found = []
        for part in _parts(builder, signature.args[0], values[0]):
            word = _as_word(builder, part)
            if word.type == _I32:
                word = moved(word)
            else:
                low = moved(builder.trunc(word, _I32))
                high = moved(builder.trunc(builder.lshr(word, ir.Constant(_I64, 32)), _I32))
                high = builder.shl(builder.zext(high, _I64), ir.Constant(_I64, 32))
                word = builder.or_(high, builder.zext(low, _I64))
            found.append(builder.bitcast(word, part.type))
        return _state(context, builder, signature.return_type, found)

    return signature, emit


def _word_address(context, builder, kind, words, slot, index, number):
    """Where a number of a state lies among words of 64 bits."""
    if isinstance(kind, types.Array):
        base = cgutils.create_struct_proxy(kind)(context, builder, value=words).data
    else:
        base = words
    address = builder.gep(base, [builder.add(slot, ir.Constant(slot.type, index))])
    return builder.bitcast(address, ir.PointerType(number, addrspace=address.type.addrspace))


@intrinsic
def keep(typing_context, words, slot, state):
    """Write a state to 64-bit words, one for each of its numbers, from ``slot * numbers`` on."""
    numbers = _types(state)
    signature = types.void(words, types.int64, state)

    def emit(context, builder, signature, values):
        kind = signature.args[0]
        first = builder.mul(values[1], ir.Constant(_I64, len(numbers)))
        parts = _parts(builder, signature.args[2], values[2])
        for k, (number, part) in enumerate(zip(numbers, parts, strict=True)):
            at = _word_address(context, builder, kind, values[0], first, k, part.type)
            builder.store(part, at, align=number.bitwidth // 8)

    return signature, emit


@intrinsic
def kept(typing_context, words, slot, like):
    """Read a state that `keep` has written; `like` is any state of the same types."""
    numbers = _types(like)
    signature = like(words, types.int64, like)

    def emit(context, builder, signature, values):
        kind = signature.args[0]
        first = builder.mul(values[1], ir.Constant(_I64, len(numbers)))
        found = []
        for k, number in enumerate(numbers):
            wanted = context.get_value_type(number)
            at = _word_address(context, builder, kind, values[0], first, k, wanted)
            found.append(builder.load(at, align=number.bitwidth // 8))
        return _state(context, builder, signature.return_type, found)

    return signature, emit
