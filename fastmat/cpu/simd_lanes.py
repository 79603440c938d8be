"""Explicit SIMD over the lines of a block: what belongs to a group stays in registers meanwhile.

(LLVM's vectorizer takes each line by itself, and asks at each whether block and parameters
overlap. Written so, batch normalization of channels-last images took five times as long.)

A block is LANES numbers of neighbouring groups a line. All arrays are given by their addresses.
"""

import itertools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmat.cpu.blocking_reductions import LANES
from fastmat.cpu.simd import multiply_add_vectors

i8, i64 = ir.IntType(8), ir.IntType(64)
double = ir.DoubleType()
_BYTES = 64  # of the vectors; LLVM divides them where registers are shorter
PART = 16  # bytes that are stored past the caches at a time


@intrinsic
def scale_lines(
    typingctx,
    element,  # dtype of the lines and of all parameters
    source,  # in (lines, LANES)
    source_row,  # bytes from one line to the next
    target,  # out (lines, LANES), may be the source
    target_row,
    lines,
    high,  # in (LANES,)
    low,  # in (LANES,)
    scale,  # in (LANES,)
    weight,  # in (LANES,), or (lines,) if by_line
    bias,  # in, as weight
    by_line,
    past,  # whether stores pass by the caches: lines then begin at multiples of 16 bytes
):
    """target = (source - high - low) * scale * weight + bias"""

    def codegen(context, builder, signature, args):
        _, *rows, lines, high, low, scale, weight, bias, by_line, past = args
        scalar = context.get_value_type(element.dtype)
        parameters = high, low, scale, weight, bias
        with builder.if_else(by_line) as (each_line, each_lane):
            with each_line, builder.if_else(past) as (streamed, stored):
                with streamed:
                    _scale(builder, scalar, rows, lines, parameters, True, True)
                with stored:
                    _scale(builder, scalar, rows, lines, parameters, True, False)
            with each_lane, builder.if_else(past) as (streamed, stored):
                with streamed:
                    _scale(builder, scalar, rows, lines, parameters, False, True)
                with stored:
                    _scale(builder, scalar, rows, lines, parameters, False, False)
        return context.get_dummy_value()

    flags = types.boolean, types.boolean
    return types.void(element, *[types.intp] * 10, *flags), codegen


def _scale(builder, scalar, rows, lines, parameters, by_line, past):
    """All vectors of a line before the next line: so stores past the caches fill cache lines."""
    source, source_row, target, target_row = rows
    lanes = _BYTES // _size(scalar)
    vector = ir.VectorType(scalar, lanes)
    parts = range(0, LANES, lanes)
    count = 3 if by_line else 5
    kept = [[_load(builder, x, vector, first) for x in parameters[:count]] for first in parts]
    with cgutils.for_range(builder, lines) as loop:
        if by_line:
            numbers = (_load_scalar(builder, x, scalar, loop.index) for x in parameters[3:])
            of_line = [_spread(builder, number, lanes) for number in numbers]
        for first, known in zip(parts, kept, strict=True):
            high, low, scale, w, b = [*known, *of_line] if by_line else known
            pointer = _pointer(builder, source, vector, first, loop.index, source_row)
            x = builder.load(pointer, typ=vector, align=_size(scalar))
            x = builder.fmul(builder.fsub(builder.fsub(x, high), low), scale)
            x = multiply_add_vectors(builder, False, x, w, b)
            pointer = _pointer(builder, target, vector, first, loop.index, target_row)
            _store(builder, x, pointer, past)


def _store(builder, value, pointer, past):
    """Store a vector; past the caches in parts of 16 bytes, which the CPU joins to whole lines."""
    scalar = value.type.element
    if not past:
        builder.store(value, pointer, align=_size(scalar))
        return
    lanes = PART // _size(scalar)
    base = builder.bitcast(pointer, i8.as_pointer())
    mark = builder.module.add_metadata([ir.IntType(32)(1)])
    for first in range(0, value.type.count, lanes):
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(first, first + lanes)))
        part = builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)
        place = builder.gep(base, [i64(first * _size(scalar))], source_etype=i8)
        place = builder.bitcast(place, part.type.as_pointer())
        builder.store(part, place, align=PART).set_metadata("nontemporal", mark)


@intrinsic
def multiply_lines(
    typingctx,
    element,  # dtype of the block and of the weight
    block,  # inout (lines, LANES)
    lines,
    weight,  # in (LANES,), or (lines,) if by_line
    by_line,
):
    """block = block * weight"""

    def multiply(builder, scalar, block, lines, weight, by_line):
        lanes = _BYTES // _size(scalar)
        vector = ir.VectorType(scalar, lanes)
        for first in range(0, LANES, lanes):
            kept = None if by_line else _load(builder, weight, vector, first)
            with cgutils.for_range(builder, lines) as loop:
                if by_line:
                    number = _load_scalar(builder, weight, scalar, loop.index)
                    kept = _spread(builder, number, lanes)
                pointer = _pointer(builder, block, vector, first, loop.index)
                x = builder.load(pointer, typ=vector, align=_size(scalar))
                builder.store(builder.fmul(x, kept), pointer, align=_size(scalar))

    def codegen(context, builder, signature, args):
        _, *arguments, by_line = args
        scalar = context.get_value_type(element.dtype)
        with builder.if_else(by_line) as (each_line, each_lane):
            with each_line:
                multiply(builder, scalar, *arguments, True)
            with each_lane:
                multiply(builder, scalar, *arguments, False)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 3, types.boolean), codegen


@intrinsic
def sum_lines(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    row,  # bytes from one line to the next
    lines,
    total,  # out (LANES,), float64
):
    """The sum of each group."""

    def codegen(context, builder, signature, args):
        def step(numbers, center, sums):
            return [builder.fadd(sums[0], numbers[0])]

        _, block, row, lines, total = args
        scalar = context.get_value_type(element.dtype)
        _accumulate(builder, scalar, [(block, row)], lines, None, [total], step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 4), codegen


@intrinsic
def sum_deviations(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    row,  # bytes from one line to the next
    lines,
    center,  # in (LANES,), float64
    total,  # out (LANES,), float64
    squares,  # out (LANES,), float64
):
    """For each group the sum of the deviations from a center, and of their squares."""

    def codegen(context, builder, signature, args):
        def step(numbers, center, sums):
            apart = builder.fsub(numbers[0], center)
            squares = multiply_add_vectors(builder, False, apart, apart, sums[1])
            return [builder.fadd(sums[0], apart), squares]

        _, block, row, lines, center, total, squares = args
        scalar = context.get_value_type(element.dtype)
        _accumulate(builder, scalar, [(block, row)], lines, center, [total, squares], step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 6), codegen


@intrinsic
def sum_kept_deviations(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    kept,  # in (lines, LANES), 1 or 0
    lines,
    center,  # in (LANES,), float64
    total,  # out (LANES,), float64
    squares,  # out (LANES,), float64
):
    """The same of the numbers that are kept: blocks as `sum_pairs` takes them."""

    def codegen(context, builder, signature, args):
        def step(numbers, center, sums):
            apart = builder.fmul(builder.fsub(numbers[0], center), numbers[1])
            squares = multiply_add_vectors(builder, False, apart, apart, sums[1])
            return [builder.fadd(sums[0], apart), squares]

        _, block, kept, lines, center, total, squares = args
        scalar = context.get_value_type(element.dtype)
        row = ir.Constant(i64, LANES * _size(scalar))
        blocks = [(block, row), (kept, row)]
        _accumulate(builder, scalar, blocks, lines, center, [total, squares], step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 6), codegen


@intrinsic
def sum_pairs(
    typingctx,
    element,  # dtype of the blocks
    block,  # in (lines, LANES)
    other,  # in (lines, LANES)
    lines,
    total,  # out (LANES,), float64
    products,  # out (LANES,), float64
):
    """For each group the sum of its numbers, and of their products with other numbers."""

    def codegen(context, builder, signature, args):
        def step(numbers, center, sums):
            number, other = numbers
            products = multiply_add_vectors(builder, False, number, other, sums[1])
            return [builder.fadd(sums[0], number), products]

        _, block, other, lines, total, products = args
        scalar = context.get_value_type(element.dtype)
        row = ir.Constant(i64, LANES * _size(scalar))
        blocks = [(block, row), (other, row)]
        _accumulate(builder, scalar, blocks, lines, None, [total, products], step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 5), codegen


@intrinsic
def subtract_lines(
    typingctx,
    element,  # dtype of the blocks and of all parameters
    block,  # inout (lines, LANES)
    other,  # in (lines, LANES)
    lines,
    shift,  # in (LANES,)
    slope,  # in (LANES,)
    scale,  # in (LANES,)
):
    """block = (block - shift - other * slope) * scale"""

    def codegen(context, builder, signature, args):
        _, block, other, lines, *parameters = args
        scalar = context.get_value_type(element.dtype)
        lanes = _BYTES // _size(scalar)
        vector = ir.VectorType(scalar, lanes)
        for first in range(0, LANES, lanes):
            shift, slope, scale = (_load(builder, x, vector, first) for x in parameters)
            back = builder.fneg(slope)
            with cgutils.for_range(builder, lines) as loop:
                pointers = [_pointer(builder, b, vector, first, loop.index) for b in (block, other)]
                x, y = (builder.load(p, typ=vector, align=_size(scalar)) for p in pointers)
                x = multiply_add_vectors(builder, False, y, back, builder.fsub(x, shift))
                builder.store(builder.fmul(x, scale), pointers[0], align=_size(scalar))
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 6), codegen


def _accumulate(builder, scalar, blocks, lines, center, results, step):
    """Run `step` over all lines, with sums in registers; store the sums."""
    lanes = _BYTES // _size(scalar)
    vector, wide = ir.VectorType(scalar, lanes), ir.VectorType(double, lanes)
    parts = range(0, LANES, lanes)
    around = [None if center is None else _load(builder, center, wide, first) for first in parts]
    zero = ir.Constant(wide, None)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in results] for _ in parts]
    for place in itertools.chain(*sums):
        builder.store(zero, place)
    with cgutils.for_range(builder, lines) as loop:
        for first, middle, places in zip(parts, around, sums, strict=True):
            numbers = []
            for block, row in blocks:
                pointer = _pointer(builder, block, vector, first, loop.index, row)
                x = builder.load(pointer, typ=vector, align=_size(scalar))
                numbers.append(builder.fpext(x, wide) if scalar != double else x)
            found = step(numbers, middle, [builder.load(place, typ=wide) for place in places])
            for value, place in zip(found, places, strict=True):
                builder.store(value, place)
    for first, places in zip(parts, sums, strict=True):
        for place, result in zip(places, results, strict=True):
            target = _pointer(builder, result, wide, first)
            builder.store(builder.load(place, typ=wide), target, align=8)


def _size(scalar):
    return 8 if scalar == double else 4


def _pointer(builder, address, vector, first, line=None, row=None):
    """Where the vector of some lanes is, in a line of a block or in a single line."""
    size = _size(vector.element)
    offset = ir.Constant(i64, first * size)
    if line is not None:
        row = ir.Constant(i64, LANES * size) if row is None else row
        offset = builder.add(offset, builder.mul(line, row))
    return builder.inttoptr(builder.add(address, offset), vector.as_pointer())


def _load(builder, address, vector, first):
    pointer = _pointer(builder, address, vector, first)
    return builder.load(pointer, typ=vector, align=_size(vector.element))


def _load_scalar(builder, address, scalar, index):
    offset = builder.mul(index, ir.Constant(i64, _size(scalar)))
    pointer = builder.inttoptr(builder.add(address, offset), scalar.as_pointer())
    return builder.load(pointer, typ=scalar)


def _spread(builder, value, lanes):
    """A vector of equal numbers."""
    vector = ir.VectorType(value.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, i64(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), mask)
