"""Explicit SIMD of tall matrices: tiles of aᴴa, substitution with a row in each lane."""

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from fastmat.core.mathfn import real
from fastmat.cpu import blocking
from fastmat.cpu.simd import (
    _check_literals,
    _multiply_tile,
    _terms,
    ask_for,
    i8,
    i64,
    load,
    multiply_add_vectors,
    shift,
    splat,
    store,
)


@intrinsic
def multiply_shared(
    typingctx,
    element,  # dtype of the product, real
    thirds,
    vectors,
    k,
    a,  # in, address of the first of MR numbers in a row of (k, width)
    b,  # in, address of the first of NR numbers, aligned, in that row
    step,  # bytes from row to row
    c,
    c_stride,
    accumulate,
):
    """`multiply_tile` of columns of one matrix, rows of which lie side by side."""
    _check_literals(thirds, vectors)
    signature = types.void(element, thirds, vectors, *[types.intp] * 6, types.boolean)

    def codegen(context, builder, signature, args):
        _, _, _, k, a, b, step, *rest = args
        shape = thirds.literal_value, vectors.literal_value
        _multiply_tile(context, builder, element.dtype, shape, (k, a, b, *rest), (step, step))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def multiply_strided(
    typingctx,
    element,  # dtype of the product: float or complex
    vectors,  # in the source of the caller
    k,
    a,  # in, address of (MR, k) numbers of any strides
    a_row,  # bytes from row to row
    a_step,  # bytes from column to column
    b,  # in, address of a panel (k, parts, NR) of real scalars
    c,  # inout, address of (MR, NR) numbers, columns side by side
    c_stride,
    accumulate,
):
    """`multiply_tile`, all of its rows, of numbers that are read where they lie."""
    if not isinstance(vectors, types.IntegerLiteral):
        raise errors.RequireLiteralValue("vectors must be a constant")
    tile = blocking.tile(element.dtype)
    signature = types.void(element, vectors, *[types.intp] * 7, types.boolean)

    def codegen(context, builder, signature, args):
        _, _, k, a, a_row, a_step, *rest = args
        size = context.get_abi_sizeof(context.get_data_type(real(element.dtype)))
        offsets = []
        for row in range(tile.rows):
            first = builder.mul(a_row, ir.Constant(i64, row))
            offsets.append(
                [builder.add(first, ir.Constant(i64, p * size)) for p in range(tile.parts)]
            )
        steps = a_step, ir.Constant(i64, tile.parts * tile.cols * size)
        shape = 3, vectors.literal_value
        ask = _asking(builder, tile, a, a_row, a_step)
        args = k, a, *rest
        _multiply_tile(context, builder, element.dtype, shape, args, steps, offsets, ask)
        return context.get_dummy_value()

    return signature, codegen


def _asking(builder, tile, a, a_row, a_step):
    """A function that asks for a part of the rows that come after those of a tile.

    In the direction of k for each step, a line of the cache for each. Across it, where rows are
    read along: some rows at a time, and when all have had their turn, the next line of each.
    """
    turns = 4
    some, down = tile.rows // turns, builder.mul(a_row, ir.Constant(i64, tile.rows))
    start = shift(builder, builder.inttoptr(a, i8.as_pointer()), down)
    at = cgutils.alloca_once_value(builder, start)
    turn = cgutils.alloca_once_value(builder, ir.Constant(i64, 0))
    builder.store(start, at)
    builder.store(ir.Constant(i64, 0), turn)
    few = builder.mul(a_row, ir.Constant(i64, some))
    back = builder.sub(
        ir.Constant(i64, blocking.CACHE_LINE),
        builder.mul(few, ir.Constant(i64, turns - 1)),
    )
    across = builder.mul(a_row, ir.Constant(i64, blocking.PREFETCH_TILES * tile.rows))

    def ask(a_pointer):
        for step in range(tile.unroll):
            along = builder.mul(a_step, ir.Constant(i64, step))
            ask_for(builder, shift(builder, a_pointer, builder.add(across, along)), write=False)
        pointer = builder.load(at)
        for row in range(some):
            offset = builder.mul(a_row, ir.Constant(i64, row))
            ask_for(builder, shift(builder, pointer, offset), write=False)
        done = builder.add(builder.load(turn), ir.Constant(i64, 1))
        done = builder.and_(done, ir.Constant(i64, turns - 1))
        last = builder.icmp_signed("==", done, ir.Constant(i64, 0))
        builder.store(shift(builder, pointer, builder.select(last, back, few)), at)
        builder.store(done, turn)

    return ask


@intrinsic
def add_rows(
    typingctx,
    element,  # dtype of the numbers: float or complex
    vectors,  # vectors in one row of x, per part; in the source of the caller
    k,
    factors,  # in, address of (k, parts) real scalars
    x,  # in, address of (k, parts, vectors * lanes) real scalars
    target,  # inout, address of (parts, vectors * lanes)
):
    """target += factors @ x, held in registers for all k steps."""
    if not isinstance(vectors, types.IntegerLiteral):
        raise errors.RequireLiteralValue("vectors must be a constant")
    tile, count = blocking.tile(element.dtype), vectors.literal_value
    signature = types.void(element, vectors, *[types.intp] * 4)

    def codegen(context, builder, signature, args):
        _, _, k, factors, x, target = args
        lane = context.get_data_type(real(element.dtype))
        size = context.get_abi_sizeof(lane)
        vector, width, parts = ir.VectorType(lane, tile.lanes), tile.lanes * size, tile.parts
        factors, x, target = (builder.inttoptr(at, i8.as_pointer()) for at in (factors, x, target))
        sums = []
        for v in range(parts * count):
            value = load(builder, shift(builder, target, v * width), vector, size)
            sums.append(cgutils.alloca_once_value(builder, value))
        with cgutils.for_range(builder, k) as loop:
            row = builder.mul(loop.index, ir.Constant(i64, parts * count * width))
            row = shift(builder, x, row)
            factor = shift(
                builder, factors, builder.mul(loop.index, ir.Constant(i64, parts * size))
            )
            columns = [
                load(builder, shift(builder, row, v * width), vector, size)
                for v in range(parts * count)
            ]
            spread = [
                splat(
                    builder, load(builder, shift(builder, factor, p * size), lane, size), tile.lanes
                )
                for p in range(parts)
            ]
            for left, right, accumulator in _terms(builder, spread, columns, sums, count):
                total = builder.load(accumulator)
                total = multiply_add_vectors(builder, False, left, right, total)
                builder.store(total, accumulator)
        for v, accumulator in enumerate(sums):
            store(builder, builder.load(accumulator), shift(builder, target, v * width), size)
        return context.get_dummy_value()

    return signature, codegen
