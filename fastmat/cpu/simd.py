"""Explicit SIMD, emitted where LLVM's vectorizer fails. Every intrinsic chooses by type."""

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from fastmat.core.mathfn import real
from fastmat.cpu import blocking

i8, i32, i64 = (ir.IntType(bits) for bits in (8, 32, 64))
BOOLEAN = types.uint8  # what bool is computed with, and nothing else


def shift(builder, pointer, offset):
    if isinstance(offset, int):
        offset = ir.Constant(i64, offset)
    return builder.gep(pointer, [offset], source_etype=i8)


def load(builder, pointer, llvm_type, align):
    value = builder.load(builder.bitcast(pointer, llvm_type.as_pointer()), typ=llvm_type)
    value.align = align
    return value


def store(builder, value, pointer, align):
    store = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    store.align = align
    return store


def splat(builder, scalar, lanes):
    vector = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(i32, 0))
    zeros = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, zeros)


def _zero(llvm_type):
    element = getattr(llvm_type, "element", llvm_type)
    zero = 0.0 if isinstance(element, ir.FloatType | ir.DoubleType) else 0
    return ir.Constant(llvm_type, [zero] * llvm_type.count if llvm_type is not element else zero)


def multiply_add_vectors(builder, boolean, x, y, z):
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
def multiply_tile(
    typingctx,
    element,  # dtype of the product
    thirds,  # 1, 2 or 3: how many thirds of the MR rows are computed, in the source of the caller
    vectors,  # how many vectors of the NR columns are, likewise
    k,
    a,  # in, address of a panel (k, parts, MR) of real scalars
    b,  # in, address of a panel (k, parts, NR) of real scalars
    c,  # inout, address of (MR, NR) numbers, columns side by side
    c_stride,  # bytes from row to row
    accumulate,
):
    """c (+)= the product of one panel of a and one of b, or of the first rows and columns of it.

    The accumulators stay in registers for all k steps. What the tile will be stored to is asked
    for twice: at the start, and near the end, when the panels have pushed it out of L1 again.
    """
    _check_literals(thirds, vectors)
    tile = blocking.tile(element.dtype)
    signature = types.void(element, thirds, vectors, *[types.intp] * 5, types.boolean)

    def codegen(context, builder, signature, args):
        size = context.get_abi_sizeof(context.get_data_type(real(element.dtype)))
        steps = tile.parts * tile.rows * size, tile.parts * tile.cols * size
        shape = thirds.literal_value, vectors.literal_value
        _multiply_tile(context, builder, element.dtype, shape, args[3:], steps)
        return context.get_dummy_value()

    return signature, codegen


def _check_literals(thirds, vectors):
    for literal in (thirds, vectors):
        if not isinstance(literal, types.IntegerLiteral):
            raise errors.RequireLiteralValue("thirds and vectors must be constants")


def _multiply_tile(context, builder, dtype, shape, args, steps_in_bytes, offsets=None, ask=None):
    """The code of a tile: thirds of its rows, vectors of its columns, steps of both panels.

    `offsets` say where the parts of a number in each row of a lie, if a is not packed; `ask` is
    called with the address of a before `unroll` steps, to ask for what will be wanted next.
    """
    tile = blocking.tile(dtype)
    height, across = tile.rows * shape[0] // 3, min(shape[1], tile.vectors)
    k, a, b, c, c_stride, accumulate = args
    a_step, b_step = steps_in_bytes
    boolean = real(dtype) == BOOLEAN
    lane = context.get_data_type(real(dtype))
    size = context.get_abi_sizeof(lane)
    vector = ir.VectorType(lane, tile.lanes)
    width = tile.lanes * size
    parts = tile.parts
    if offsets is None:
        offsets = [[(p * tile.rows + r) * size for p in range(parts)] for r in range(height)]

    a_at = cgutils.alloca_once_value(builder, builder.inttoptr(a, i8.as_pointer()))
    b_at = cgutils.alloca_once_value(builder, builder.inttoptr(b, i8.as_pointer()))
    c_at = builder.inttoptr(c, i8.as_pointer())
    rows = [
        shift(builder, c_at, builder.mul(c_stride, ir.Constant(i64, row))) for row in range(height)
    ]
    sums = [
        [cgutils.alloca_once_value(builder, _zero(vector)) for _ in range(parts * across)]
        for _ in range(height)
    ]
    for row in sums:
        for accumulator in row:
            builder.store(_zero(vector), accumulator)

    def step(a_pointer, b_pointer):
        columns = [
            load(builder, shift(builder, b_pointer, v * width), vector, width)
            for v in range(parts * across)
        ]
        for r, row in enumerate(sums):
            scalars = [
                load(builder, shift(builder, a_pointer, offset), lane, size)
                for offset in offsets[r]
            ]
            spread = [splat(builder, scalar, tile.lanes) for scalar in scalars]
            for x, y, accumulator in _terms(builder, spread, columns, row, across):
                total = multiply_add_vectors(builder, boolean, x, y, builder.load(accumulator))
                builder.store(total, accumulator)

    def advance(steps):
        a_pointer, b_pointer = builder.load(a_at), builder.load(b_at)
        if ask is not None and steps == tile.unroll:
            ask(a_pointer)
        for _ in range(steps):
            step(a_pointer, b_pointer)
            a_pointer, b_pointer = (
                shift(builder, a_pointer, a_step),
                shift(builder, b_pointer, b_step),
            )
        builder.store(a_pointer, a_at)
        builder.store(b_pointer, b_at)

    row_bytes = parts * across * width
    lines = (*range(0, row_bytes, blocking.CACHE_LINE), row_bytes - 1)
    unroll, last = ir.Constant(i64, tile.unroll), ir.Constant(i64, blocking.PREFETCH_STEPS)
    last = builder.select(builder.icmp_signed("<", k, last), k, last)
    steps = cgutils.alloca_once_value(builder, builder.sub(k, last))
    with cgutils.for_range(builder, ir.Constant(i64, 2)):
        now = builder.load(steps)
        with builder.if_then(builder.icmp_signed(">", now, ir.Constant(i64, 0))):
            for pointer in rows:
                for offset in lines:
                    ask_for(builder, shift(builder, pointer, offset))
        builder.store(last, steps)
        with cgutils.for_range(builder, builder.sdiv(now, unroll)):
            advance(tile.unroll)
        with cgutils.for_range(builder, builder.srem(now, unroll)):
            advance(1)

    def finish(combine):
        for pointer, row in zip(rows, sums, strict=True):
            totals = [builder.load(accumulator) for accumulator in row]
            for v, total in enumerate(interleaved(builder, totals, parts)):
                at = shift(builder, pointer, v * width)
                store(builder, combine(at, total), at, size)

    def add_to(at, value):
        return _add(builder, boolean, load(builder, at, vector, size), value)

    with builder.if_else(accumulate) as (then, otherwise):
        with then:
            finish(add_to)
        with otherwise:
            finish(lambda at, value: value)


def interleaved(builder, totals, parts):
    """Vectors in the order of memory: real and imaginary parts of complex numbers alternate."""
    if parts == 1:
        return totals
    half, lanes = len(totals) // 2, totals[0].type.count
    order = [lane + part * lanes for lane in range(lanes) for part in range(2)]
    masks = [ir.Constant(ir.VectorType(i32, lanes), order[i : i + lanes]) for i in (0, lanes)]
    return [
        builder.shuffle_vector(real, imaginary, mask)
        for real, imaginary in zip(totals[:half], totals[half:], strict=True)
        for mask in masks
    ]


def _add(builder, boolean, x, y):
    if boolean:
        return builder.or_(x, y)
    return (builder.add if isinstance(x.type.element, ir.IntType) else builder.fadd)(x, y)


@intrinsic
def merge_tile(
    typingctx,
    element,  # dtype of the product
    tile,  # in, address of (MR, NR) numbers, one after the other
    c,  # inout, address of (rows, cols) numbers, columns side by side
    c_stride,  # bytes from row to row
    rows,  # 1 to MR
    cols,  # 1 to NR
    accumulate,
):
    """c (+)= the part of a tile that lies inside c."""
    shape = blocking.tile(element.dtype)
    signature = types.void(element, *[types.intp] * 5, types.boolean)

    def codegen(context, builder, signature, args):
        _, tile, c, c_stride, rows, cols, accumulate = args
        boolean = real(element.dtype) == BOOLEAN
        lane = context.get_data_type(real(element.dtype))
        size = context.get_abi_sizeof(lane)
        vector = ir.VectorType(lane, shape.lanes)
        width = shape.lanes * size
        scalars = builder.mul(cols, ir.Constant(i64, shape.parts))
        for v in range(shape.parts * shape.vectors):
            left = builder.sub(scalars, ir.Constant(i64, v * shape.lanes))
            mask = first_lanes(builder, left, shape.lanes)
            with cgutils.for_range(builder, rows) as loop:
                row = builder.add(c, builder.mul(loop.index, c_stride))
                at = builder.add(row, ir.Constant(i64, v * width))
                step = ir.Constant(i64, shape.parts * shape.vectors * width)
                source = builder.add(tile, builder.mul(loop.index, step))
                source = builder.add(source, ir.Constant(i64, v * width))
                value = load(builder, builder.inttoptr(source, i8.as_pointer()), vector, size)
                before = masked_load(builder, at, vector, mask, size)
                total = builder.select(accumulate, _add(builder, boolean, before, value), value)
                masked_store(builder, total, at, mask, size)
        return context.get_dummy_value()

    return signature, codegen


def _terms(builder, spread, columns, row, vectors):
    """The products that one row of the tile adds up: (x, y, accumulator)."""
    if len(spread) == 1:
        yield from (
            (spread[0], y, accumulator) for y, accumulator in zip(columns, row, strict=True)
        )
        return
    real, imaginary = spread
    minus = builder.fneg(imaginary)
    for v in range(vectors):
        yield real, columns[v], row[v]
        yield minus, columns[vectors + v], row[v]
        yield real, columns[vectors + v], row[vectors + v]
        yield imaginary, columns[v], row[vectors + v]


def ask_for(builder, pointer, write=True):
    signature = ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    builder.call(function, [pointer, *(ir.Constant(i32, n) for n in (1, 3, 1))])


@intrinsic
def multiply_rows(
    typingctx,
    element,  # dtype of the product: computed as it is stored, not complex
    k,
    a,  # in, address of (rows, k)
    a_row,  # bytes from row to row
    a_step,  # bytes from column to column
    rows,  # 1 to `direct_rows`
    b,  # in, address of (k, cols), columns side by side
    b_row,
    cols,  # 1 to the lanes of a vector
    c,  # out, address of (rows, cols), columns side by side
    c_row,
):
    """c = a @ b for a few rows and one vector of columns, read where they lie, without packing.

    Rows beyond the last one repeat it: the same sums, stored to the same place.
    """
    tile = blocking.tile(element.dtype)
    index = types.intp
    signature = types.void(element, *[index] * 10)

    def codegen(context, builder, signature, args):
        _, k, a, a_row, a_step, rows, b, b_row, cols, c, c_row = args
        boolean = real(element.dtype) == BOOLEAN
        lane = context.get_data_type(element.dtype)
        size = context.get_abi_sizeof(lane)
        vector = ir.VectorType(lane, tile.lanes)
        mask = first_lanes(builder, cols, tile.lanes)
        last = builder.sub(rows, ir.Constant(i64, 1))
        picked = _clamped(builder, tile.direct_rows, last)
        a_rows = [
            builder.inttoptr(builder.add(a, builder.mul(r, a_row)), i8.as_pointer()) for r in picked
        ]
        a_offset = cgutils.alloca_once_value(builder, ir.Constant(i64, 0))
        b_at = cgutils.alloca_once_value(builder, b)
        sums = [cgutils.alloca_once_value(builder, _zero(vector)) for _ in picked]
        for accumulator in sums:
            builder.store(_zero(vector), accumulator)
        with cgutils.for_range(builder, k):
            offset = builder.load(a_offset)
            y = masked_load(builder, builder.load(b_at), vector, mask, size)
            for row, accumulator in zip(a_rows, sums, strict=True):
                x = load(builder, builder.gep(row, [offset], source_etype=i8), lane, size)
                x = splat(builder, x, tile.lanes)
                total = multiply_add_vectors(builder, boolean, x, y, builder.load(accumulator))
                builder.store(total, accumulator)
            builder.store(builder.add(offset, a_step), a_offset)
            builder.store(builder.add(builder.load(b_at), b_row), b_at)
        results = [
            (builder.load(accumulator), builder.add(c, builder.mul(r, c_row)))
            for r, accumulator in zip(picked, sums, strict=True)
        ]
        _store_columns(builder, results, cols, tile.lanes, mask, size)
        return context.get_dummy_value()

    return signature, codegen


def _store_columns(builder, results, cols, lanes, mask, size):
    """Store the first columns of vectors: whole and half vectors without a mask, which is slow."""
    plain = [(lanes >> halvings) for halvings in range(2) if lanes >> halvings]
    done = builder.append_basic_block()
    for width in plain:
        fits = builder.icmp_signed("==", cols, ir.Constant(i64, width))
        with builder.if_then(fits):
            first = ir.Constant(ir.VectorType(i32, width), list(range(width)))
            for value, at in results:
                part = builder.shuffle_vector(value, value, first)
                store(builder, part, builder.inttoptr(at, i8.as_pointer()), size)
            builder.branch(done)
    for value, at in results:
        masked_store(builder, value, at, mask, size)
    builder.branch(done)
    builder.position_at_end(done)


def first_lanes(builder, count, lanes):
    """Mask of the first `count` lanes."""
    numbers = ir.Constant(ir.VectorType(i32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, splat(builder, builder.trunc(count, i32), lanes))


def _masked(builder, name, vector, result, *arguments):
    letter = "f" if isinstance(vector.element, ir.FloatType | ir.DoubleType) else "i"
    bits = {"float": 32, "double": 64}.get(str(vector.element)) or vector.element.width
    name = f"llvm.masked.{name}.v{vector.count}{letter}{bits}.p0"
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)


def masked_load(builder, at, vector, mask, align):
    pointer = builder.inttoptr(at, vector.as_pointer())
    align = ir.Constant(i32, align)
    return _masked(builder, "load", vector, vector, pointer, align, mask, _zero(vector))


def masked_store(builder, value, at, mask, align):
    pointer = builder.inttoptr(at, value.type.as_pointer())
    align = ir.Constant(i32, align)
    _masked(builder, "store", value.type, ir.VoidType(), value, pointer, align, mask)


def _clamped(builder, count, last):
    """0, 1, …, count - 1, but never more than `last`."""
    numbers = (ir.Constant(i64, r) for r in range(count))
    return [builder.select(builder.icmp_signed("<", r, last), r, last) for r in numbers]


@intrinsic
def multiply_add(typingctx, total, x, y):
    """total + x*y as the micro-kernel computes it, for single numbers of one type."""

    def codegen(context, builder, signature, args):
        total, x, y = args
        if not isinstance(signature.return_type, types.Complex):
            return _scalar_multiply_add(builder, signature.return_type, x, y, total)
        part = signature.return_type.underlying_float
        t, u, v = (context.make_complex(builder, signature.return_type, z) for z in args)

        def fma(x, y, z):
            return _scalar_multiply_add(builder, part, x, y, z)

        t.real = fma(builder.fneg(u.imag), v.imag, fma(u.real, v.real, t.real))
        t.imag = fma(u.imag, v.real, fma(u.real, v.imag, t.imag))
        return t._getvalue()

    return total(total, total, total), codegen


def _scalar_multiply_add(builder, dtype, x, y, z):
    if dtype == BOOLEAN:
        return builder.or_(builder.and_(x, y), z)
    if isinstance(dtype, types.Integer):
        return builder.add(builder.mul(x, y), z)
    if blocking.FUSED:
        name = f"llvm.fma.f{dtype.bitwidth}"
        signature = ir.FunctionType(x.type, [x.type] * 3)
        return builder.call(
            cgutils.get_or_insert_function(builder.module, signature, name), [x, y, z]
        )
    return builder.fadd(builder.fmul(x, y), z)


@intrinsic
def prefetch(typingctx, address):
    """Have the cache line at an address fetched."""

    def codegen(context, builder, signature, args):
        ask_for(builder, builder.inttoptr(args[0], i8.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp), codegen
