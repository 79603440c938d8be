"""Explicit SIMD over the lines of a block with a mask: what belongs to a group stays in registers.

A block is LANES numbers of neighbouring groups a line, its mask LANES bytes a line. All arrays are
given by their addresses and the bytes from one line to the next; see `simd_lanes`.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmat.cpu.blocking_reductions import LANES

i1, i8, i32, i64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
double = ir.DoubleType()
_BYTES = 64  # of the vectors; LLVM divides them where registers are shorter


@intrinsic
def sum_valid_lines(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    row,  # bytes from one line to the next
    valid,  # in (lines, LANES), bytes
    valid_row,
    lines,
    keep,  # the bits of an integer
    total,  # out (LANES,), float64 or int64
    count,  # out (LANES,), int32
):
    """The sum of the valid numbers of each group, and how many there are."""

    def codegen(context, builder, signature, args):
        _, *arrays, lines, keep, total, count = args
        scalar = context.get_value_type(element.dtype)

        def step(x, marks, places, first, line):
            _increase(builder, places[0], _widened(builder, x, element.dtype, keep), marks)
            _increase(builder, places[1], builder.zext(marks, _vector(i32, marks)))

        kinds = (_total_type(element.dtype), 0), (i32, 0)
        _over_lines(builder, scalar, arrays, lines, kinds, (total, count), step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 8), codegen


@intrinsic
def sum_ties(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    row,
    valid,  # in (lines, LANES), bytes
    valid_row,
    lines,
    center,  # in (LANES,), float64
    ties,  # out (LANES,), int32
    count,  # out (LANES,), int32
):
    """How many valid numbers of each group equal a number, NaN equalling NaN; and how many are."""

    def codegen(context, builder, signature, args):
        _, *arrays, lines, center, ties, count = args
        scalar = context.get_value_type(element.dtype)

        def step(x, marks, places, first, line):
            wide = _as_double(builder, x, element.dtype)
            middle = _load(builder, center, wide.type, first)
            equal = builder.fcmp_ordered("==", wide, middle)
            both = builder.and_(
                builder.fcmp_unordered("uno", wide, wide),
                builder.fcmp_unordered("uno", middle, middle),
            )
            equal = builder.and_(builder.or_(equal, both), marks)
            _increase(builder, places[0], builder.zext(equal, _vector(i32, marks)))
            _increase(builder, places[1], builder.zext(marks, _vector(i32, marks)))

        _over_lines(builder, scalar, arrays, lines, ((i32, 0), (i32, 0)), (ties, count), step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 8), codegen


@intrinsic
def sum_valid_floats(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    row,
    valid,  # in (lines, LANES), bytes
    valid_row,
    lines,
    keep,  # the bits of an integer
    total,  # out (LANES,), float64
    count,  # out (LANES,), int32
):
    """`sum_valid_lines`, in float64 whatever the dtype."""

    def codegen(context, builder, signature, args):
        _, *arrays, lines, keep, total, count = args
        scalar = context.get_value_type(element.dtype)

        def step(x, marks, places, first, line):
            _increase(builder, places[0], _as_double(builder, x, element.dtype, keep), marks)
            _increase(builder, places[1], builder.zext(marks, _vector(i32, marks)))

        kinds = (double, 0), (i32, 0)
        _over_lines(builder, scalar, arrays, lines, kinds, (total, count), step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 8), codegen


@intrinsic
def sum_valid_deviations(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    row,
    valid,  # in (lines, LANES), bytes
    valid_row,
    lines,
    keep,  # the bits of an integer
    center,  # in (LANES,), float64
    total,  # out (LANES,), float64
    squares,  # out (LANES,), float64
):
    """For each group the sum of the deviations of valid numbers, and of their squares."""

    def codegen(context, builder, signature, args):
        _, *arrays, lines, keep, center, total, squares = args
        scalar = context.get_value_type(element.dtype)

        def step(x, marks, places, first, line):
            wide = _as_double(builder, x, element.dtype, keep)
            apart = builder.fsub(wide, _load(builder, center, wide.type, first))
            apart = builder.select(marks, apart, ir.Constant(wide.type, None))
            _increase(builder, places[0], apart)
            _increase(builder, places[1], builder.fmul(apart, apart))

        kinds = (double, 0), (double, 0)
        _over_lines(builder, scalar, arrays, lines, kinds, (total, squares), step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 9), codegen


@intrinsic
def least_valid_lines(
    typingctx,
    element,  # dtype of the block
    block,  # in (lines, LANES)
    row,
    valid,  # in (lines, LANES), bytes
    valid_row,
    lines,
    turn,  # turns the order: see `masked_groups.turned`
    least,  # out (LANES,), of the dtype of the block
    where,  # out (LANES,), int32: the number of the first line that has it, or -1
    count,  # out (LANES,), int32
):
    """The least valid number of each group, or NaN if there is one."""

    def codegen(context, builder, signature, args):
        _, *arrays, lines, turn, least, where, count = args
        scalar = context.get_value_type(element.dtype)
        integer = isinstance(element.dtype, types.Integer)

        def step(x, marks, places, first, line):
            best, at = (builder.load(place) for place in places[:2])
            none = builder.icmp_signed("<", at, ir.Constant(at.type, [0] * at.type.count))
            lanes = x.type.count
            if integer:
                change = builder.trunc(turn, scalar) if scalar.width < 64 else turn
                key = builder.xor(x, _spread(builder, change, lanes))
                signed = element.dtype.signed
                compare = builder.icmp_signed if signed else builder.icmp_unsigned
                less = compare("<", key, best)
            else:
                change = _spread(builder, builder.sitofp(turn, scalar), lanes)
                key = builder.fmul(x, change)
                less = builder.fcmp_unordered("<", key, best)  # or one is NaN
                less = builder.and_(less, builder.fcmp_ordered("ord", best, best))
            better = builder.and_(marks, builder.or_(less, none))
            builder.store(builder.select(better, key, best), places[0])
            number = _spread(builder, builder.trunc(line, i32), lanes)
            builder.store(builder.select(better, number, at), places[1])
            _increase(builder, places[2], builder.zext(marks, _vector(i32, marks)))

        kinds = (scalar, 0), (i32, -1), (i32, 0)
        _over_lines(builder, scalar, arrays, lines, kinds, (least, where, count), step)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 9), codegen


def _over_lines(builder, scalar, arrays, lines, kinds, results, step):
    """Run `step` over all lines, with what it finds in registers; store that.

    `kinds` are the scalar type and the first value of each thing found; `step` gets the numbers,
    what of them is valid, where the things found are, the first lane and the number of the line.
    """
    block, row, valid, valid_row = arrays
    size = _size(scalar)
    lanes = min(LANES, _BYTES // size)
    parts = range(0, LANES, lanes)
    places = []
    for _ in parts:
        found = []
        for kind, first_value in kinds:
            start = ir.Constant(ir.VectorType(kind, lanes), [kind(first_value)] * lanes)
            place = cgutils.alloca_once_value(builder, start)
            builder.store(start, place)
            found.append(place)
        places.append(found)
    with cgutils.for_range(builder, lines) as loop:
        for first, found in zip(parts, places, strict=True):
            at = builder.add(block, builder.mul(loop.index, row))
            x = _load(builder, at, ir.VectorType(scalar, lanes), first)
            at = builder.add(valid, builder.mul(loop.index, valid_row))
            bytes_ = _load(builder, at, ir.VectorType(i8, lanes), first)
            marks = builder.icmp_unsigned("!=", bytes_, ir.Constant(bytes_.type, None))
            step(x, marks, found, first, loop.index)
    for first, found in zip(parts, places, strict=True):
        for place, result in zip(found, results, strict=True):
            value = builder.load(place)
            element = value.type.element
            target = builder.add(result, ir.Constant(i64, first * _size(element)))
            pointer = builder.inttoptr(target, value.type.as_pointer())
            builder.store(value, pointer, align=_size(element))


def _increase(builder, place, by, marks=None):
    value = builder.load(place)
    add = builder.fadd if value.type.element == double else builder.add
    total = add(value, by)
    builder.store(total if marks is None else builder.select(marks, total, value), place)


def _total_type(dtype):
    return i64 if isinstance(dtype, types.Integer) else double


def _widened(builder, x, dtype, keep):
    """Numbers as they are added up: float64, or int64 of which `keep` are the bits."""
    if not isinstance(dtype, types.Integer):
        return _as_double(builder, x, dtype)
    wide = _vector(i64, x)
    if x.type.element.width < 64:
        x = builder.sext(x, wide) if dtype.signed else builder.zext(x, wide)
    return builder.and_(x, _spread(builder, keep, wide.count))


def _as_double(builder, x, dtype, keep=None):
    if isinstance(dtype, types.Integer):
        keep = ir.Constant(i64, -1) if keep is None else keep
        return builder.sitofp(_widened(builder, x, dtype, keep), _vector(double, x))
    return x if x.type.element == double else builder.fpext(x, _vector(double, x))


def _vector(scalar, like):
    return ir.VectorType(scalar, like.type.count)


def _size(scalar):
    if isinstance(scalar, ir.IntType):
        return scalar.width // 8
    return 8 if scalar == double else 4


def _load(builder, address, vector, first):
    size = _size(vector.element)
    pointer = builder.add(address, ir.Constant(i64, first * size))
    pointer = builder.inttoptr(pointer, vector.as_pointer())
    return builder.load(pointer, typ=vector, align=size)


def _spread(builder, value, lanes):
    """A vector of equal numbers."""
    vector = ir.VectorType(value.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, i64(0))
    mask = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), mask)
