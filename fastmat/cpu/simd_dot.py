"""Dot products in lanes, by explicit SIMD."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmat.core.mathfn import real
from fastmat.cpu import blocking
from fastmat.cpu.simd import (
    BOOLEAN,
    _clamped,
    _terms,
    _zero,
    i8,
    i32,
    i64,
    load,
    multiply_add_vectors,
    shift,
    store,
)


@intrinsic
def dot_lanes(
    typingctx,
    scalar,  # dtype of the numbers, real
    k,
    x,  # in, address of (k, lanes)
    x_row,  # bytes from row to row
    y,  # in, address of (k, lanes)
    y_row,
    z,  # out, address of (lanes,)
):
    """z = the sum over k of x * y, for each of STACK_LANES lanes."""
    signature = types.void(scalar, *[types.intp] * 6)

    def codegen(context, builder, signature, args):
        _, k, x, x_row, y, y_row, z = args
        lane = context.get_data_type(scalar.dtype)
        size = context.get_abi_sizeof(lane)
        vector = ir.VectorType(lane, blocking.STACK_LANES)
        total = cgutils.alloca_once_value(builder, _zero(vector))
        builder.store(_zero(vector), total)
        with cgutils.for_range(builder, k) as loop:
            left, right = (
                load(
                    builder,
                    builder.inttoptr(
                        builder.add(at, builder.mul(loop.index, row)), i8.as_pointer()
                    ),
                    vector,
                    size,
                )
                for at, row in ((x, x_row), (y, y_row))
            )
            boolean = scalar.dtype == BOOLEAN
            value = multiply_add_vectors(builder, boolean, left, right, builder.load(total))
            builder.store(value, total)
        store(builder, builder.load(total), builder.inttoptr(z, i8.as_pointer()), size)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def lane_sums(
    typingctx,
    element,  # dtype of the product
    k,  # a multiple of the lanes
    a,  # in, address of (rows, k), items side by side
    a_row,  # bytes from row to row
    rows,  # 1 to DOT_ROWS
    x,  # in, address of (k,), items side by side
    sums,  # out, address of (DOT_ROWS, parts, lanes) real scalars
):
    """Sums of products of some rows of a with x: lane l adds up the items l, l + lanes, …

    Rows beyond the last one repeat it.
    """
    signature = types.void(element, *[types.intp] * 6)

    def codegen(context, builder, signature, args):
        _, k, a, a_row, rows, x, sums = args
        last = builder.sub(rows, ir.Constant(i64, 1))
        picked = _clamped(builder, blocking.DOT_ROWS, last)
        starts = [builder.add(a, builder.mul(r, a_row)) for r in picked]
        _lane_sums(context, builder, element.dtype, k, starts, x, sums, conjugate=False)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def lane_sum(typingctx, element, k, a, x, sums, conjugate):
    """`lane_sums` of one row, of its complex conjugate if the literal `conjugate` is 1."""
    if not isinstance(conjugate, types.IntegerLiteral):
        return None
    signature = types.void(element, *[types.intp] * 4, conjugate)

    def codegen(context, builder, signature, args):
        _, k, a, x, sums, _ = args
        flag = bool(conjugate.literal_value)
        _lane_sums(context, builder, element.dtype, k, [a], x, sums, flag)
        return context.get_dummy_value()

    return signature, codegen


def _lane_sums(context, builder, dtype, k, starts, x, sums, conjugate):
    tile = blocking.tile(dtype)
    lanes, parts = tile.dot_lanes, tile.parts
    boolean = real(dtype) == BOOLEAN
    lane = context.get_data_type(real(dtype))
    size = context.get_abi_sizeof(lane)
    vector = ir.VectorType(lane, lanes)
    totals = [
        [cgutils.alloca_once_value(builder, _zero(vector)) for _ in range(parts)] for _ in starts
    ]
    for row in totals:
        for accumulator in row:
            builder.store(_zero(vector), accumulator)
    step = ir.Constant(i64, parts * lanes * size)
    with cgutils.for_range(builder, builder.sdiv(k, ir.Constant(i64, lanes))) as loop:
        offset = builder.mul(loop.index, step)

        def fetch(start):
            at = builder.inttoptr(builder.add(start, offset), i8.as_pointer())
            whole = [
                load(builder, shift(builder, at, p * lanes * size), vector, size)
                for p in range(parts)
            ]
            return whole if parts == 1 else list(_separate(builder, *whole))

        y = fetch(x)
        for start, row in zip(starts, totals, strict=True):
            spread = fetch(start)
            if conjugate and parts == 2:
                spread[1] = builder.fneg(spread[1])
            for left, right, accumulator in _terms(builder, spread, y, row, 1):
                total = multiply_add_vectors(
                    builder, boolean, left, right, builder.load(accumulator)
                )
                builder.store(total, accumulator)
    out = builder.inttoptr(sums, i8.as_pointer())
    for r, row in enumerate(totals):
        for p, accumulator in enumerate(row):
            at = shift(builder, out, (r * parts + p) * lanes * size)
            store(builder, builder.load(accumulator), at, size)


def _separate(builder, x, y):
    """Real and imaginary parts of the complex numbers in two vectors."""
    lanes = x.type.count
    for part in (0, 1):
        mask = ir.Constant(ir.VectorType(i32, lanes), list(range(part, 2 * lanes, 2)))
        yield builder.shuffle_vector(x, y, mask)
