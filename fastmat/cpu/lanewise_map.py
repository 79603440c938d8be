"""A scalar function applied to a tile of a product, lane by lane; see `lanewise`."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmat.core.mathfn import number, signed
from fastmat.cpu import blocking
from fastmat.cpu.lanewise import Lanes, apply, parted, resolved, scalar_function
from fastmat.cpu.simd import i8, i64, interleaved, load, shift, store


@intrinsic(prefer_literal=True)
def map_tile(
    typingctx,
    function,  # scalar function of the number and of those of the extras at its place
    element,  # dtype of the product
    extra_types,  # tuple of dtypes
    c,  # inout, address of (height, NR) numbers, columns side by side
    c_stride,  # bytes from row to row
    height,
    cols,  # 1 to NR: columns beyond them are as the last one
    i,  # row and column of the first number in the product
    j,
    item,  # of the stack
    extras,  # in, address of (extras, 4): address, bytes from item to item, row, column
):
    """c = function(c, *extras)"""
    dtype = element.dtype
    kind = number(dtype)
    extra = [member.dtype for member in extra_types]
    scalar = scalar_function(function)
    called = resolved(typingctx, scalar, (kind, *extra), "epilogue", kind)
    tile = blocking.tile(signed(dtype))
    signature = types.void(function, element, extra_types, *[types.intp] * 8)

    def codegen(context, builder, signature, args):
        _, _, _, c, c_stride, height, cols, i, j, item, extras = args
        lanes = Lanes(context, builder, dtype, tile.vectors)
        table = builder.inttoptr(extras, i64.as_pointer())
        c = builder.inttoptr(c, i8.as_pointer())
        readers = [
            _Extra(context, builder, member, table, index, lanes, (item, j, cols))
            for index, member in enumerate(extra)
        ]
        numbers = lanes.row()
        with cgutils.for_range(builder, height) as loop_over_rows:
            r = loop_over_rows.index
            place = shift(builder, c, builder.mul(r, c_stride))
            lanes.store(parted(builder, lanes, place), numbers)
            last = builder.sub(cols, ir.Constant(i64, 1))
            with cgutils.for_range_slice(
                builder, cols, ir.Constant(i64, lanes.columns), ir.Constant(i64, 1)
            ) as (column, _):
                lanes.set(lanes.get(numbers, last), numbers, column)
            for reader in readers:
                reader.fetch(builder.add(i, r))

            def one(column):
                values = [lanes.get(numbers, column), *(x.get(column) for x in readers)]
                value = apply(context, builder, scalar, called, kind, values)
                lanes.set(value, numbers, column)

            lanes.each(one)
            for v, vector in enumerate(interleaved(builder, lanes.load(numbers), tile.parts)):
                store(builder, vector, shift(builder, place, v * lanes.width), lanes.size)
        return context.get_dummy_value()

    return signature, codegen


class _Extra:
    """One of the arrays that an epilogue reads, row by row, into a row on the stack."""

    def __init__(self, context, builder, dtype, table, index, lanes, at):
        self.context, self.builder, self.dtype = context, builder, dtype
        self.columns = lanes.columns
        self.stored = context.get_data_type(dtype)
        self.size = context.get_abi_sizeof(self.stored)
        item, j, self.cols = at
        first, item_step, self.row_step, self.column_step = (
            builder.load(
                builder.gep(table, [ir.Constant(i64, 4 * index + word)], source_etype=i64), typ=i64
            )
            for word in range(4)
        )
        offset = builder.add(builder.mul(item, item_step), builder.mul(j, self.column_step))
        self.base = builder.inttoptr(builder.add(first, offset), i8.as_pointer())
        memory = cgutils.alloca_once(builder, ir.ArrayType(self.stored, self.columns))
        memory.align = blocking.CACHE_LINE
        self.row = builder.bitcast(memory, i8.as_pointer())

    def fetch(self, i):
        """Copy the numbers of row i beside the tile."""
        builder, size = self.builder, ir.Constant(i64, self.size)
        start = shift(builder, self.base, builder.mul(i, self.row_step))
        all_columns = builder.icmp_signed("==", self.cols, ir.Constant(i64, self.columns))
        packed = builder.icmp_signed("==", self.column_step, size)
        with builder.if_else(builder.and_(packed, all_columns)) as (then, otherwise):
            with then:
                value = load(builder, start, ir.VectorType(i8, self.columns * self.size), 1)
                store(builder, value, self.row, blocking.CACHE_LINE)
            with otherwise:
                last = builder.sub(self.cols, ir.Constant(i64, 1))
                with cgutils.for_range(builder, ir.Constant(i64, self.columns)) as loop_:
                    column = loop_.index
                    inside = builder.icmp_signed("<", column, last)
                    column = builder.select(inside, column, last)
                    at = shift(builder, start, builder.mul(column, self.column_step))
                    value = load(builder, at, self.stored, self.size)
                    place = builder.mul(loop_.index, size)
                    store(builder, value, shift(builder, self.row, place), self.size)

    def get(self, column):
        """The number beside a column, as functions get it."""
        at = self.builder.mul(column, ir.Constant(i64, self.size))
        pointer = shift(self.builder, self.row, at)
        value = load(self.builder, pointer, self.stored, self.size)
        return self.context.data_model_manager[self.dtype].from_data(self.builder, value)
