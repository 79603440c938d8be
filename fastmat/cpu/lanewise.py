"""Scalar functions applied lane by lane: micro-kernels for a user's own arithmetic.

LLVM cannot be handed a vector of numbers for a function of one. So each row of a tile is a short
array on the stack, and the function is called in a loop over it, of constant length, that LLVM is
told to vectorize to exactly the vectors of the tile. Once that is done it sees that the arrays are
never more than whole vectors at constant places, and keeps them in registers: multiplication and
addition written in Python run at the rate of the micro-kernel of `multiply_tile`. What cannot be
vectorized stays a loop, and right.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import raise_failure
from fastmat.core.mathfn import number, real, signed
from fastmat.cpu import blocking
from fastmat.cpu.operators import OPERATORS, identity
from fastmat.cpu.simd import i8, i32, i64, interleaved, load, shift, splat, store

_SHORT = 4  # turns from which on there is a loop


class Lanes:
    """Rows of numbers on the stack, in the scalars that panels and sums consist of.

    Parameters
    ----------
    dtype
        Of the product; unsigned integers are held as signed ones are.
    vectors
        How many vectors make up a row, per part of a number.
    """

    def __init__(self, context, builder, dtype, vectors):
        self.context, self.builder, self.dtype = context, builder, dtype
        stored = signed(dtype)
        shape = blocking.tile(stored)
        self.parts, self.vectors, self.lanes = shape.parts, vectors, shape.lanes
        self.scalar_type, self.number_type = real(stored), number(dtype)
        self.scalar = context.get_data_type(self.scalar_type)
        self.size = context.get_abi_sizeof(self.scalar)
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.width = self.lanes * self.size
        self.columns = vectors * self.lanes

    def row(self):
        """A new row: all numbers' real parts, then their imaginary parts."""
        kind = ir.ArrayType(self.scalar, self.parts * self.columns)
        memory = cgutils.alloca_once(self.builder, kind)
        memory.align = blocking.CACHE_LINE
        return self.builder.bitcast(memory, i8.as_pointer())

    def load(self, row):
        """The vectors of a row."""
        return [
            load(self.builder, shift(self.builder, row, v * self.width), self.vector, self.width)
            for v in range(self.parts * self.vectors)
        ]

    def store(self, vectors, row):
        """Write the vectors of a row."""
        for v, vector in enumerate(vectors):
            store(self.builder, vector, shift(self.builder, row, v * self.width), self.width)

    def get(self, row, j, columns=None):
        """Number j of a row (whose parts are `columns` scalars apart), as functions get it."""
        apart = (self.columns if columns is None else columns) * self.size
        at = shift(self.builder, row, self.builder.mul(j, ir.Constant(i64, self.size)))
        scalars = [
            load(self.builder, shift(self.builder, at, part * apart), self.scalar, self.size)
            for part in range(self.parts)
        ]
        return self._joined(scalars)

    def set(self, value, row, j):
        """Write number j of a row."""
        at = shift(self.builder, row, self.builder.mul(j, ir.Constant(i64, self.size)))
        for part, scalar in enumerate(self.split(value)):
            place = shift(self.builder, at, part * self.columns * self.size)
            store(self.builder, scalar, place, self.size)

    def spread(self, value):
        """The vectors of a row that holds one number everywhere."""
        return [
            splat(self.builder, scalar, self.lanes)
            for scalar in self.split(value)
            for _ in range(self.vectors)
        ]

    def _joined(self, scalars):
        if self.parts == 2:
            value = self.context.make_complex(self.builder, self.number_type)
            value.real, value.imag = scalars
            return value._getvalue()
        if self.number_type == types.boolean:
            return self.builder.icmp_unsigned("!=", scalars[0], self.scalar(0))
        kind = self.context.get_value_type(self.number_type)
        if kind == self.scalar:
            return scalars[0]
        return self.builder.trunc(scalars[0], kind)

    def split(self, value):
        """The scalars that a number is held in."""
        if self.parts == 2:
            value = self.context.make_complex(self.builder, self.number_type, value)
            return [value.real, value.imag]
        if value.type == self.scalar:
            return [value]
        if self.number_type == types.boolean or not self.number_type.signed:
            return [self.builder.zext(value, self.scalar)]
        return [self.builder.sext(value, self.scalar)]

    def each(self, body):
        """A loop over the numbers of a row, which LLVM makes SIMD if it can."""
        loop(self.builder, self.columns, self.lanes, body)


def loop(builder, count, lanes, body):
    """A loop of `count` turns; LLVM is told to make all of them at once, in vectors of `lanes`.

    (It is not told the width: then it would print a remark on each loop that it cannot vectorize.)
    """
    if count < _SHORT:
        for j in range(count):
            body(ir.Constant(i64, j))
        return
    before = builder.block
    head, done = builder.append_basic_block("lanes"), builder.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    j = builder.phi(i64)
    j.add_incoming(ir.Constant(i64, 0), before)
    body(j)
    following = builder.add(j, ir.Constant(i64, 1), flags=["nuw", "nsw"])
    j.add_incoming(following, builder.block)
    again = builder.icmp_unsigned("<", following, ir.Constant(i64, count))
    back = builder.cbranch(again, head, done)
    module = builder.module

    def hint(name, *value):
        return module.add_metadata([ir.MetaDataString(module, f"llvm.loop.{name}"), *value])

    hints = [
        hint("interleave.count", i32(max(1, count // lanes))),
        hint("unroll.disable"),  # what is unrolled before it is vectorized stays scalar
    ]
    # LLVM knows a loop by metadata that contain themselves; that is what the number is for.
    own = module.add_metadata([i64(len(module.metadata)), *hints])
    own.operands = (own, *hints)
    back.set_metadata("llvm.loop", own)
    builder.position_at_end(done)


def resolved(typingctx, function, arguments, what, wanted):
    """Signature of a scalar function, whose result must be convertible to the type `wanted`.

    Integers are to each other: with a constant, Numba makes int64 of the shorter unsigned ones.
    """
    signature = function.get_call_type(typingctx, arguments, {})
    got = types.unliteral(signature.return_type)
    both_integers = isinstance(got, types.Integer) and isinstance(wanted, types.Integer)
    castable = isinstance(got, types.Number | types.Boolean) and np.can_cast(
        as_dtype(got), as_dtype(wanted), "same_kind"
    )
    if not (castable or both_integers):
        taken = ", ".join(map(str, arguments))
        raise errors.TypingError(f"{what} returns {got} for ({taken}); it must return {wanted}")
    return signature


def scalar_function(argument):
    """The type of a scalar function that is given as such, or by the name of an operator."""
    if isinstance(argument, types.StringLiteral):
        return types.Dispatcher(OPERATORS[argument.literal_value])
    if not isinstance(argument, types.Dispatcher):
        raise errors.RequireLiteralValue(f"{argument} is not a scalar function")
    return argument


def _identity(context, builder, dtype, argument, value):
    """The number that sums start with: one of that name, or the one that is given."""
    kind = number(dtype)
    if isinstance(argument, types.StringLiteral):
        return context.get_constant(kind, identity(argument.literal_value, dtype))
    return context.cast(builder, value, argument, kind)


def apply(context, builder, function, signature, wanted, values):
    """Call a scalar function; what it raises is raised here."""
    dispatcher = function.dispatcher
    result = dispatcher.get_compile_result(signature)
    context.add_linking_libs([result.library])
    callee = context.declare_function(builder.module, result.fndesc)
    status, value = context.call_conv.call_function(
        builder, callee, signature.return_type, signature.args, values
    )
    raise_failure(context, builder, status)
    return context.cast(builder, value, signature.return_type, wanted)


def _literal(*arguments):
    for argument in arguments:
        if not isinstance(argument, types.IntegerLiteral):
            raise errors.RequireLiteralValue("thirds and vectors must be constants")
    return [argument.literal_value for argument in arguments]


@intrinsic(prefer_literal=True)
def multiply_tile_by(
    typingctx,
    add,  # scalar function of two numbers
    multiply,  # scalar function of two numbers
    start,  # the identity of `add`
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
    """c[i, j] = the sum, by `add`, of the products, by `multiply`, of two panels.

    Sums start with the identity, or with c if they accumulate.
    """
    dtype = element.dtype
    kind = number(dtype)
    product, total = scalar_function(multiply), scalar_function(add)
    times = resolved(typingctx, product, (kind, kind), "multiply", kind)
    plus = resolved(typingctx, total, (kind, kind), "add", kind)
    tile = blocking.tile(signed(dtype))
    third, across = _literal(thirds, vectors)
    height, across = tile.rows * third // 3, min(across, tile.vectors)
    signature = types.void(
        add, multiply, start, element, thirds, vectors, *[types.intp] * 5, types.boolean
    )

    def codegen(context, builder, signature, args):
        _, _, first, _, _, _, k, a, b, c, c_stride, accumulate = args
        lanes = Lanes(context, builder, dtype, across)
        pointers = [builder.inttoptr(value, i8.as_pointer()) for value in (a, b, c)]
        places = [
            shift(builder, pointers[2], builder.mul(c_stride, ir.Constant(i64, row)))
            for row in range(height)
        ]
        sums = [lanes.row() for _ in range(height)]
        with builder.if_else(accumulate) as (then, otherwise):
            with then:
                for row, place in zip(sums, places, strict=True):
                    lanes.store(parted(builder, lanes, place), row)
            with otherwise:
                value = _identity(context, builder, dtype, start, first)
                for row in sums:
                    lanes.store(lanes.spread(value), row)
        columns = lanes.row()
        a_step = ir.Constant(i64, tile.parts * tile.rows * lanes.size)
        b_step = ir.Constant(i64, tile.parts * tile.cols * lanes.size)
        with cgutils.for_range(builder, k) as step:
            x_row = shift(builder, pointers[0], builder.mul(step.index, a_step))
            y_row = shift(builder, pointers[1], builder.mul(step.index, b_step))
            panel = [
                shift(builder, y_row, (part * tile.vectors + v) * lanes.width)
                for part in range(tile.parts)
                for v in range(across)
            ]
            lanes.store([load(builder, at, lanes.vector, lanes.width) for at in panel], columns)
            for r, row in enumerate(sums):
                x = lanes.get(x_row, ir.Constant(i64, r), tile.rows)

                def add_product(j, row=row, x=x):
                    y = lanes.get(columns, j)
                    new = apply(context, builder, product, times, kind, (x, y))
                    before = lanes.get(row, j)
                    sum_ = apply(context, builder, total, plus, kind, (before, new))
                    lanes.set(sum_, row, j)

                lanes.each(add_product)
        for row, place in zip(sums, places, strict=True):
            for v, vector in enumerate(interleaved(builder, lanes.load(row), tile.parts)):
                store(builder, vector, shift(builder, place, v * lanes.width), lanes.size)
        return context.get_dummy_value()

    return signature, codegen


def parted(builder, lanes, place):
    """The numbers side by side at a place, as vectors of real and of imaginary parts."""
    found = [
        load(builder, shift(builder, place, v * lanes.width), lanes.vector, lanes.size)
        for v in range(lanes.parts * lanes.vectors)
    ]
    if lanes.parts == 1:
        return found
    pairs = list(zip(found[::2], found[1::2], strict=True))
    picks = [
        ir.Constant(ir.VectorType(i32, lanes.lanes), list(range(part, 2 * lanes.lanes, 2)))
        for part in range(2)
    ]
    return [builder.shuffle_vector(x, y, pick) for pick in picks for x, y in pairs]


@intrinsic(prefer_literal=True)
def dot_by(
    typingctx,
    add,  # scalar function of two numbers
    multiply,  # scalar function of two numbers
    start,  # the identity of `add`
    element,  # dtype of the product
    k,
    a,  # in, address of (k, parts) real scalars
    b,  # in, address of (k, parts) real scalars
    c,  # out, address of one number
):
    """c = the sum, by `add`, of the products, by `multiply`, of the numbers of two rows.

    It is added up in lanes, those pair by pair, and what is left over after them.
    """
    dtype = element.dtype
    kind = number(dtype)
    product, total = scalar_function(multiply), scalar_function(add)
    times = resolved(typingctx, product, (kind, kind), "multiply", kind)
    plus = resolved(typingctx, total, (kind, kind), "add", kind)
    signature = types.void(add, multiply, start, element, *[types.intp] * 4)

    def codegen(context, builder, signature, args):
        _, _, first, _, k, a, b, c = args
        lanes = Lanes(context, builder, dtype, blocking.DOT_VECTORS)
        a, b, c = (builder.inttoptr(value, i8.as_pointer()) for value in (a, b, c))
        sums = lanes.row()
        lanes.store(lanes.spread(_identity(context, builder, dtype, start, first)), sums)
        item = lanes.parts * lanes.size

        def at(row, index):
            return shift(builder, row, builder.mul(index, ir.Constant(i64, item)))

        def added(x, y):
            return apply(context, builder, total, plus, kind, (x, y))

        turn = ir.Constant(i64, lanes.columns)
        x_row, y_row = lanes.row(), lanes.row()
        with cgutils.for_range(builder, builder.sdiv(k, turn)) as step:
            offset = builder.mul(step.index, turn)
            lanes.store(parted(builder, lanes, at(a, offset)), x_row)
            lanes.store(parted(builder, lanes, at(b, offset)), y_row)

            def add_product(j):
                values = lanes.get(x_row, j), lanes.get(y_row, j)
                new = apply(context, builder, product, times, kind, values)
                lanes.set(added(lanes.get(sums, j), new), sums, j)

            lanes.each(add_product)
        half = lanes.columns // 2
        while half:

            def fold(j, half=half):
                other = builder.add(j, ir.Constant(i64, half))
                lanes.set(added(lanes.get(sums, j), lanes.get(sums, other)), sums, j)

            loop(builder, half, min(half, lanes.lanes), fold)
            half //= 2
        zero = ir.Constant(i64, 0)
        rest = builder.srem(k, turn)
        offset = builder.sub(k, rest)
        with cgutils.for_range(builder, rest) as step:
            index = builder.add(offset, step.index)
            values = lanes.get(at(a, index), zero, 1), lanes.get(at(b, index), zero, 1)
            new = apply(context, builder, product, times, kind, values)
            lanes.set(added(lanes.get(sums, zero), new), sums, zero)
        for part, scalar in enumerate(lanes.split(lanes.get(sums, zero))):
            store(builder, scalar, shift(builder, c, part * lanes.size), lanes.size)
        return context.get_dummy_value()

    return signature, codegen
