"""Explicit SIMD of sparse products: sums of rows of a dense block, held in registers.

A row of a sparse matrix is a few numbers and the columns where they stand. What they say of a dense
block is done for a few vectors of its columns at once, whose last is masked. Rows of blocks are any
number of bytes apart; the numbers in them lie side by side.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from fastmat.core.mathfn import real
from fastmat.cpu import blocking
from fastmat.cpu.blocking_sparse import VECTORS
from fastmat.cpu.simd import (
    _zero,
    first_lanes,
    i8,
    i32,
    i64,
    load,
    masked_load,
    masked_store,
    multiply_add_vectors,
    splat,
    store,
)

GATHER, SCATTER, BOTH = range(3)


@intrinsic
def sparse_rows(
    typingctx,
    how,  # GATHER, SCATTER or BOTH, in the source of the caller
    element,  # dtype of the numbers
    first,  # of the rows
    last,
    starts,  # in, address of (rows + 1,), int64: where the numbers of each row are
    columns,  # in, address of (numbers,), int32
    data,  # in, address of (numbers,)
    conjugated,  # whether it is the conjugates of the numbers that count; not for BOTH
    x,  # in, address of a block
    x_step,  # bytes from row to row
    y,  # of GATHER out, else inout, address of another block
    y_step,
    scalars,  # real scalars in a row of both, 1 to VECTORS vectors
):
    """Rows of a sparse matrix, times or transposed times a block.

    - GATHER: y[row] = sum of number * x[column], over the numbers of the row;
    - SCATTER: y[column] += number * x[row], for each of them;
    - BOTH: y[column] += conj(number) * (the sum that GATHER finds).
    """
    if not isinstance(how, types.IntegerLiteral):
        raise errors.RequireLiteralValue("how must be a constant")
    signature = types.void(
        how, element, *[types.intp] * 5, types.boolean, *[types.intp] * 4, types.intp
    )

    def codegen(context, builder, signature, args):
        lanes = blocking.tile(element.dtype).lanes
        scalars = args[-1]
        for vectors in range(1, VECTORS + 1):
            least, most = (ir.Constant(i64, lanes * count) for count in (vectors - 1, vectors))
            fits = builder.and_(
                builder.icmp_signed(">", scalars, least), builder.icmp_signed("<=", scalars, most)
            )
            with builder.if_then(fits):
                rest = builder.sub(scalars, least)
                code = _Rows(context, builder, element.dtype, vectors, rest)
                code.run(how.literal_value, *args[2:-1])
        return context.get_dummy_value()

    return signature, codegen


class _Rows:
    """Emits the loop over rows for so many vectors, of which the last holds `rest` scalars."""

    def __init__(self, context, builder, dtype, vectors, rest):
        self.builder, self.vectors = builder, vectors
        self.parts = 2 if isinstance(dtype, types.Complex) else 1
        self.lane = context.get_data_type(real(dtype))
        self.size = context.get_abi_sizeof(self.lane)
        self.lanes = blocking.tile(dtype).lanes
        self.vector = ir.VectorType(self.lane, self.lanes)
        self.mask = first_lanes(builder, rest, self.lanes)

    def run(self, how, first, last, starts, columns, data, conjugated, x, x_step, y, y_step):
        builder, minus = self.builder, ir.Constant(self.lane, -1.0)
        sign = builder.select(conjugated, minus, ir.Constant(self.lane, 1.0))
        one = ir.Constant(i64, 1)
        place = cgutils.alloca_once_value(builder, self._number(starts, first, i64))
        with cgutils.for_range_slice(builder, first, last, one) as (row, _):
            start, stop = builder.load(place), self._number(starts, builder.add(row, one), i64)
            builder.store(stop, place)
            if how == SCATTER:
                line = self._line(x, x_step, row)
            else:
                line = self._sum(start, stop, columns, data, sign, x, x_step)
            if how == GATHER:
                self._store(line, y, y_step, row)
            else:
                spread = minus if how == BOTH else sign
                self._add(line, start, stop, columns, data, spread, y, y_step)

    def _number(self, base, index, llvm_type):
        """Item of an array of this type, which begins at an address."""
        size = llvm_type.width // 8 if isinstance(llvm_type, ir.IntType) else self.size
        at = self.builder.add(base, self.builder.mul(index, ir.Constant(i64, size)))
        return load(self.builder, self.builder.inttoptr(at, i8.as_pointer()), llvm_type, size)

    def _entry(self, p, columns, data, sign):
        """The column of a number of the matrix, and the parts of that in all lanes."""
        builder = self.builder
        column = builder.sext(self._number(columns, p, i32), i64)
        first = builder.mul(p, ir.Constant(i64, self.parts))
        parts = [self._number(data, first, self.lane)]
        if self.parts == 2:
            imaginary = self._number(data, builder.add(first, ir.Constant(i64, 1)), self.lane)
            parts.append(builder.fmul(sign, imaginary))
        return column, [splat(builder, part, self.lanes) for part in parts]

    def _places(self, base, step, row):
        """Addresses of the vectors of a row, and whether they are masked."""
        builder = self.builder
        at = builder.add(base, builder.mul(row, step))
        for v in range(self.vectors):
            offset = ir.Constant(i64, v * self.lanes * self.size)
            yield builder.add(at, offset), v == self.vectors - 1

    def _read(self, at, masked):
        if masked:
            return masked_load(self.builder, at, self.vector, self.mask, self.size)
        pointer = self.builder.inttoptr(at, i8.as_pointer())
        return load(self.builder, pointer, self.vector, self.size)

    def _write(self, value, at, masked):
        if masked:
            masked_store(self.builder, value, at, self.mask, self.size)
        else:
            store(self.builder, value, self.builder.inttoptr(at, i8.as_pointer()), self.size)

    def _line(self, base, step, row):
        return [self._read(*place) for place in self._places(base, step, row)]

    def _store(self, line, base, step, row):
        for value, place in zip(line, self._places(base, step, row), strict=True):
            self._write(value, *place)

    def _sum(self, start, stop, columns, data, sign, x, x_step):
        """The sum of numbers times rows; real and imaginary factors have sums of their own."""
        builder, zero = self.builder, _zero(self.vector)
        sums = [
            [cgutils.alloca_once_value(builder, zero) for _ in range(self.vectors)]
            for _ in range(self.parts)
        ]
        for place in (place for places in sums for place in places):
            builder.store(zero, place)
        with cgutils.for_range_slice(builder, start, stop, ir.Constant(i64, 1)) as (p, _):
            column, factors = self._entry(p, columns, data, sign)
            line = self._line(x, x_step, column)
            for factor, places in zip(factors, sums, strict=True):
                for value, place in zip(line, places, strict=True):
                    total = builder.load(place)
                    builder.store(multiply_add_vectors(builder, False, factor, value, total), place)
        found = [[builder.load(place) for place in places] for places in sums]
        if self.parts == 1:
            return found[0]
        return [builder.fadd(a, self._turned(b)) for a, b in zip(*found, strict=True)]

    def _add(self, line, start, stop, columns, data, sign, y, y_step):
        """Add numbers times a line to rows."""
        builder = self.builder
        lines = [line] if self.parts == 1 else [line, [self._turned(value) for value in line]]
        with cgutils.for_range_slice(builder, start, stop, ir.Constant(i64, 1)) as (p, _):
            column, factors = self._entry(p, columns, data, sign)
            totals = self._line(y, y_step, column)
            for factor, values in zip(factors, lines, strict=True):
                totals = [
                    multiply_add_vectors(builder, False, factor, value, total)
                    for value, total in zip(values, totals, strict=True)
                ]
            self._store(totals, y, y_step, column)

    def _turned(self, value):
        """Complex numbers times the imaginary unit."""
        builder = self.builder
        order = [lane ^ 1 for lane in range(self.lanes)]
        signs = [-1.0 if lane % 2 == 0 else 1.0 for lane in range(self.lanes)]
        mask = ir.Constant(ir.VectorType(i32, self.lanes), order)
        swapped = builder.shuffle_vector(value, value, mask)
        return builder.fmul(swapped, ir.Constant(self.vector, signs))
