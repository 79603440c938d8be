"""Explicit SIMD, emitted where LLVM's vectorizer fails. Every intrinsic chooses by type."""

import operator
from functools import reduce

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmat.cpu import blocking

i1, i8, i32, i64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


def _address(context, builder, array_type, array, *indices):
    """Pointer to the item at the element indices of a strided array, as i8*."""
    view = context.make_array(array_type)(context, builder, array)
    strides = cgutils.unpack_tuple(builder, view.strides, array_type.ndim)
    offset = reduce(
        builder.add, (builder.mul(i, s) for i, s in zip(indices, strides, strict=True))
    )
    base = builder.bitcast(view.data, i8.as_pointer())
    return builder.gep(base, [offset], source_etype=i8)


def _shift(builder, pointer, offset):
    if isinstance(offset, int):
        offset = ir.Constant(i64, offset)
    return builder.gep(pointer, [offset], source_etype=i8)


def _load(builder, pointer, llvm_type, align):
    value = builder.load(builder.bitcast(pointer, llvm_type.as_pointer()), typ=llvm_type)
    value.align = align
    return value


def _store(builder, value, pointer, align):
    store = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    store.align = align
    return store


def _splat(builder, scalar, lanes):
    vector = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(i32, 0))
    zeros = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, zeros)


def _zero(llvm_type):
    element = getattr(llvm_type, "element", llvm_type)
    zero = 0.0 if isinstance(element, ir.FloatType | ir.DoubleType) else 0
    return ir.Constant(
        llvm_type, [zero] * llvm_type.count if llvm_type is not element else zero
    )


def _multiply_add(builder, boolean, x, y, z):
    """z + x*y: fused for floats where the CPU fuses, wrapping for integers, or-of-ands for bool."""
    if boolean:
        return builder.or_(builder.and_(x, y), z)
    if isinstance(x.type.element, ir.IntType):
        return builder.add(builder.mul(x, y), z)
    if blocking.FUSED:
        return builder.call(_llvm(builder, "llvm.fma", x.type, 3), [x, y, z])
    return builder.fadd(builder.fmul(x, y), z)


def _llvm(builder, name, vector, arity):
    """LLVM's intrinsic function of this name on one vector type."""
    suffix = {"float": "f32", "double": "f64"}[str(vector.element)]
    signature = ir.FunctionType(vector, [vector] * arity)
    name = f"{name}.v{vector.count}{suffix}"
    return cgutils.get_or_insert_function(builder.module, signature, name)


@intrinsic
def address(typingctx, array, i, j):
    """Address of array[i, j]."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(_address(context, builder, array, *args), i64)

    return types.intp(array, types.intp, types.intp), codegen


@intrinsic
def multiply_tile(
    typingctx,
    element,  # dtype of the product
    k,
    a,  # in, panels of (k, parts, MR) real scalars
    a_start,
    b,  # in, panels of (k, parts, NR) real scalars
    b_start,
    c,  # inout, address of (MR, parts, NR) real scalars
    c_stride,  # bytes from row to row
    accumulate,
):
    """c (+)= the product of one panel of a and one of b.

    The accumulators stay in registers for all k steps.
    """
    tile = blocking.tile(element.dtype)
    signature = types.void(
        element, types.intp, a, types.intp, b, types.intp, types.intp, types.intp, types.boolean
    )

    def codegen(context, builder, signature, args):
        _, k, a, a_start, b, b_start, c, c_stride, accumulate = args
        _, _, a_type, _, b_type, *_ = signature.args
        boolean = a_type.dtype == types.boolean
        lane = context.get_data_type(a_type.dtype)
        size = context.get_abi_sizeof(lane)
        vector = ir.VectorType(lane, tile.lanes)
        width = tile.lanes * size
        parts = tile.parts
        a_step, b_step = parts * tile.rows * size, parts * tile.cols * size

        a_at = cgutils.alloca_once_value(
            builder, _address(context, builder, a_type, a, a_start)
        )
        b_at = cgutils.alloca_once_value(
            builder, _address(context, builder, b_type, b, b_start)
        )
        c_at = builder.inttoptr(c, i8.as_pointer())
        rows = [
            _shift(builder, c_at, builder.mul(c_stride, ir.Constant(i64, row)))
            for row in range(tile.rows)
        ]
        sums = [
            [cgutils.alloca_once_value(builder, _zero(vector)) for _ in range(parts * tile.vectors)]
            for _ in range(tile.rows)
        ]
        for row in sums:
            for accumulator in row:
                builder.store(_zero(vector), accumulator)

        def step(a_pointer, b_pointer):
            columns = [
                _load(builder, _shift(builder, b_pointer, v * width), vector, width)
                for v in range(parts * tile.vectors)
            ]
            for r, row in enumerate(sums):
                scalars = [
                    _load(builder, _shift(builder, a_pointer, (p * tile.rows + r) * size), lane, size)
                    for p in range(parts)
                ]
                spread = [_splat(builder, scalar, tile.lanes) for scalar in scalars]
                for x, y, accumulator in _terms(builder, spread, columns, row, tile.vectors):
                    total = _multiply_add(builder, boolean, x, y, builder.load(accumulator))
                    builder.store(total, accumulator)

        def advance(steps):
            a_pointer, b_pointer = builder.load(a_at), builder.load(b_at)
            for s in range(steps):
                step(_shift(builder, a_pointer, s * a_step), _shift(builder, b_pointer, s * b_step))
            builder.store(_shift(builder, a_pointer, steps * a_step), a_at)
            builder.store(_shift(builder, b_pointer, steps * b_step), b_at)

        for pointer in rows:
            _prefetch(builder, pointer)
        unroll = ir.Constant(i64, tile.unroll)
        with cgutils.for_range(builder, builder.sdiv(k, unroll)):
            advance(tile.unroll)
        with cgutils.for_range(builder, builder.srem(k, unroll)):
            advance(1)

        def store(combine):
            for pointer, row in zip(rows, sums, strict=True):
                for v, accumulator in enumerate(row):
                    at = _shift(builder, pointer, v * width)
                    _store(builder, combine(at, builder.load(accumulator)), at, size)

        def add_to(at, value):
            old = _load(builder, at, vector, size)
            if boolean:
                return builder.or_(old, value)
            if isinstance(lane, ir.IntType):
                return builder.add(old, value)
            return builder.fadd(old, value)

        with builder.if_else(accumulate) as (then, otherwise):
            with then:
                store(add_to)
            with otherwise:
                store(lambda at, value: value)
        return context.get_dummy_value()

    return signature, codegen


def _terms(builder, spread, columns, row, vectors):
    """The products that one row of the tile adds up: (x, y, accumulator)."""
    if len(spread) == 1:
        yield from ((spread[0], y, accumulator) for y, accumulator in zip(columns, row, strict=True))
        return
    real, imaginary = spread
    minus = builder.fneg(imaginary)
    for v in range(vectors):
        yield real, columns[v], row[v]
        yield minus, columns[vectors + v], row[v]
        yield real, columns[vectors + v], row[vectors + v]
        yield imaginary, columns[v], row[vectors + v]


def _prefetch(builder, pointer):
    signature = ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    builder.call(function, [pointer, *(ir.Constant(i32, n) for n in (1, 3, 1))])
