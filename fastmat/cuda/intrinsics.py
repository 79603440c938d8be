"""What CUDA Python has no word for: vector access, halves as bits, inline PTX.

Everything that emits LLVM IR or PTX for GPUs stands in this file and in those named
``intrinsics_*.py``, so that a change of the compiler touches nothing else.
"""

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import intrinsic

_I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (8, 16, 32, 64))
_F32 = ir.FloatType()


def _address(context, builder, kind, value, index):
    """Pointer to the item at an index of an array or a pointer."""
    if isinstance(kind, types.Array):
        base = cgutils.create_struct_proxy(kind)(context, builder, value=value).data
    else:
        base = value
    return builder.gep(base, [index])


def _index_type(kind):
    return kind if isinstance(kind, types.Integer) else types.int64


def _words(item, size, count):
    """The vector that is read or written for `count` items, and how many items are in each part.

    NVVM splits accesses of 16 bytes in items of less than 4: these go as int32. Complex numbers
    are two parts each.
    """
    if isinstance(item, ir.LiteralStructType):
        return ir.VectorType(item.elements[0], 2 * count), 0.5
    if size >= 4 or size * count < 4:
        return ir.VectorType(item, count), 1
    return ir.VectorType(_I32, size * count // 4), 4 // size


def _unpacked(builder, vector, item, per_word):
    """The items of a vector of words, the lowest bits first."""
    if per_word < 1:
        for k in range(0, vector.type.count, 2):
            number = ir.Constant(item, ir.Undefined)
            for part in range(2):
                word = builder.extract_element(vector, ir.Constant(_I32, k + part))
                number = builder.insert_value(number, word, part)
            yield number
        return
    for k in range(vector.type.count):
        word = builder.extract_element(vector, ir.Constant(_I32, k))
        if per_word == 1:
            yield word
            continue
        bits = 32 // per_word
        for part in range(per_word):
            piece = builder.lshr(word, ir.Constant(_I32, part * bits))
            yield builder.trunc(piece, item)


def _packed(builder, items, vector_type, per_word):
    """The vector of words that holds these items, the lowest bits first."""
    vector = ir.Constant(vector_type, ir.Undefined)
    if per_word < 1:
        items = [builder.extract_value(x, part) for x in items for part in range(2)]
        per_word = 1
    for k in range(vector_type.count):
        word = items[k * per_word]
        if per_word > 1:
            bits = 32 // per_word
            word = builder.zext(word, _I32)
            for part in range(1, per_word):
                piece = builder.zext(items[k * per_word + part], _I32)
                word = builder.or_(word, builder.shl(piece, ir.Constant(_I32, part * bits)))
        vector = builder.insert_element(vector, word, ir.Constant(_I32, k))
    return vector


def _as_pointer(builder, pointer, kind):
    return builder.bitcast(pointer, ir.PointerType(kind, addrspace=pointer.type.addrspace))


@intrinsic
def load_run(typing_context, target, j, source, i, count):
    """``target[j:j+count] = source[i:i+count]`` by one access; both aligned to its size."""
    if not isinstance(count, types.IntegerLiteral):
        return None  # Numba asks again with the literal
    n = count.literal_value
    signature = types.void(target, _index_type(j), source, _index_type(i), count)

    def emit(context, builder, signature, values):
        kinds = signature.args
        read = _address(context, builder, kinds[2], values[2], values[3])
        item = read.type.pointee
        size = context.get_abi_sizeof(item)
        vector_type, per_word = _words(item, size, n)
        run = builder.load(_as_pointer(builder, read, vector_type), align=n * size)
        for k, number in enumerate(_unpacked(builder, run, item, per_word)):
            at = builder.add(values[1], ir.Constant(values[1].type, k))
            builder.store(number, _address(context, builder, kinds[0], values[0], at))

    return signature, emit


@intrinsic
def store_run(typing_context, target, i, source, j, count):
    """``target[i:i+count] = source[j:j+count]`` by one access; `target` aligned to its size."""
    if not isinstance(count, types.IntegerLiteral):
        return None  # Numba asks again with the literal
    n = count.literal_value
    signature = types.void(target, _index_type(i), source, _index_type(j), count)

    def emit(context, builder, signature, values):
        kinds = signature.args
        written = _address(context, builder, kinds[0], values[0], values[1])
        size = context.get_abi_sizeof(written.type.pointee)
        vector_type, per_word = _words(written.type.pointee, size, n)
        items = []
        for k in range(n):
            at = builder.add(values[3], ir.Constant(values[3].type, k))
            items.append(builder.load(_address(context, builder, kinds[2], values[2], at)))
        run = _packed(builder, items, vector_type, per_word)
        builder.store(run, _as_pointer(builder, written, vector_type), align=n * size)

    return signature, emit


@intrinsic
def load_words(typing_context, target, j, source, i, count):
    """As `load_run` for bytes, with 32-bit words as target: the lowest bits are the first."""
    if not isinstance(count, types.IntegerLiteral):
        return None  # Numba asks again with the literal
    n = count.literal_value
    signature = types.void(target, _index_type(j), source, _index_type(i), count)

    def emit(context, builder, signature, values):
        kinds = signature.args
        read = _address(context, builder, kinds[2], values[2], values[3])
        words = max(n // 4, 1)
        vector_type = ir.VectorType(ir.IntType(8 * n // words), words)
        run = builder.load(_as_pointer(builder, read, vector_type), align=n)
        for k in range(words):
            word = builder.extract_element(run, ir.Constant(_I32, k))
            word = builder.zext(word, _I32) if n < 4 else word
            at = builder.add(values[1], ir.Constant(values[1].type, k))
            builder.store(word, _address(context, builder, kinds[0], values[0], at))

    return signature, emit


@intrinsic
def step_on(typing_context, at, step):
    """``at + step`` of int64, which the compiler leaves where it stands.

    Of a chain of sums it makes products with the step otherwise, and keeps them all in registers.
    """

    def emit(context, builder, signature, values):
        kind = ir.FunctionType(_I64, [_I64, _I64])
        return builder.call(ir.InlineAsm(kind, "add.s64 $0, $1, $2;", "=l,l,l"), values)

    return types.int64(types.int64, types.int64), emit


def _since(context, builder, capability, new, old):
    """What `new` emits from a compute capability on (as 80), and `old` below it."""
    kind = ir.FunctionType(_I32, [_I8.as_pointer()])
    reflect = cgutils.get_or_insert_function(builder.module, kind, "__nvvm_reflect")
    name = context.insert_const_string(builder.module, "__CUDA_ARCH")
    here = builder.call(reflect, [builder.addrspacecast(name, _I8.as_pointer())])
    recent = builder.icmp_signed(">=", here, ir.Constant(_I32, 10 * capability))
    with builder.if_else(recent) as (then, otherwise):
        with then:
            one, first = new(), builder.block
        with otherwise:
            other, second = old(), builder.block
    found = builder.phi(one.type)
    found.add_incoming(one, first)
    found.add_incoming(other, second)
    return found


@intrinsic
def sum_of(typing_context, a, b):
    """The sum of two numbers of one type, of that type: Numba's is of 64 bits for integers."""

    def emit(context, builder, signature, values):
        add = builder.add if isinstance(a, types.Integer) else builder.fadd
        return add(*values)

    return (a(a, a), emit) if a == b else None


def _extreme(name, relation):
    def typed(typing_context, a, b):
        def emit(context, builder, signature, values):
            x, y = values
            if isinstance(a, types.Integer):
                compare = builder.icmp_signed if a.signed else builder.icmp_unsigned
                return builder.select(compare(relation, x, y), x, y)

            def selected():
                wins = builder.fcmp_ordered(relation, x, y)
                nan = builder.fcmp_unordered("uno", x, x)
                return builder.select(builder.or_(wins, nan), x, y)

            def at_once():
                kind = ir.FunctionType(_F32, [_F32, _F32])
                text = f"{name}.NaN.f32 $0, $1, $2;"
                return builder.call(ir.InlineAsm(kind, text, "=f,f,f"), values)

            if a != types.float32:
                return selected()
            return _since(context, builder, 80, at_once, selected)

        return (a(a, a), emit) if a == b else None

    typed.__name__ = f"{name}_or_nan"
    typed.__doc__ = f"The {name}imum of two numbers of one type; NaN if there is one."
    return intrinsic(typed)


max_or_nan, min_or_nan = _extreme("max", ">"), _extreme("min", "<")


@intrinsic
def float_of_half(typing_context, bits):
    """The float32 of the bits of a float16."""

    def emit(context, builder, signature, values):
        return builder.fpext(builder.bitcast(values[0], ir.HalfType()), _F32)

    return types.float32(types.uint16), emit


@intrinsic
def half_of_float(typing_context, x):
    """The bits of the float16 nearest to a float32, ties to even."""

    def emit(context, builder, signature, values):
        return builder.bitcast(builder.fptrunc(values[0], ir.HalfType()), _I16)

    return types.uint16(types.float32), emit


@intrinsic
def float_of_bfloat(typing_context, bits):
    """The float32 of the bits of a bfloat16."""

    def emit(context, builder, signature, values):
        wide = builder.shl(builder.zext(values[0], _I32), ir.Constant(_I32, 16))
        return builder.bitcast(wide, _F32)

    return types.float32(types.uint16), emit


@intrinsic
def bfloat_of_float(typing_context, x):
    """The bits of the bfloat16 nearest to a float32, ties to even."""

    def emit(context, builder, signature, values):
        def by_bits():
            bits = builder.bitcast(values[0], _I32)
            sixteen = ir.Constant(_I32, 16)
            odd = builder.and_(builder.lshr(bits, sixteen), ir.Constant(_I32, 1))
            rounded = builder.add(bits, builder.add(odd, ir.Constant(_I32, 0x7FFF)))
            # A NaN must not be rounded to infinity: its quiet bit is set instead.
            is_nan = builder.fcmp_unordered("uno", values[0], values[0])
            quiet = builder.or_(bits, ir.Constant(_I32, 0x400000))
            kept = builder.select(is_nan, quiet, rounded)
            return builder.trunc(builder.lshr(kept, sixteen), _I16)

        def at_once():
            kind = ir.FunctionType(_I16, [_F32])
            return builder.call(ir.InlineAsm(kind, "cvt.rn.bf16.f32 $0, $1;", "=h,f"), values)

        return _since(context, builder, 80, at_once, by_bits)

    return types.uint16(types.float32), emit


@intrinsic
def bits_of_float(typing_context, x):
    """The bits of a float32 (uint32) or a float64 (uint64)."""
    bits = {types.float32: types.uint32, types.float64: types.uint64}[x]

    def emit(context, builder, signature, values):
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return bits(x), emit


@intrinsic
def float_of_bits(typing_context, bits):
    """The float32 of 32 bits, the float64 of 64."""
    number = {32: types.float32, 64: types.float64}[bits.bitwidth]

    def emit(context, builder, signature, values):
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return number(bits), emit


@intrinsic
def exp2_of_single(typing_context, x):
    """2 to the power of a float32, off by 2^-22 of it at most; 0 below the smallest normal."""

    def emit(context, builder, signature, values):
        kind = ir.FunctionType(_F32, [_F32])
        function = cgutils.get_or_insert_function(
            builder.module, kind, "llvm.nvvm.ex2.approx.ftz.f"
        )
        return builder.call(function, values)

    return types.float32(types.float32), emit


@intrinsic
def raise_to(typing_context, pointer, i, value):
    """``pointer[i] = max(pointer[i], value)`` of integers, atomically."""
    signature = types.void(pointer, _index_type(i), pointer.dtype)

    def emit(context, builder, signature, values):
        address = builder.gep(values[0], [values[1]])
        builder.atomic_rmw("max", address, values[2], "monotonic")
        return context.get_dummy_value()

    return signature, emit
