"""Explicit SIMD down the columns of a panel: what belongs to a column stays in registers.

A panel is lines of NR numbers, as the micro-kernel reads its right operand. (LLVM's vectorizer
takes each line by itself, and loads and stores what belongs to the columns at each.)

All arrays are given by their addresses.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmat.cpu import blocking

i64 = ir.IntType(64)
_CHAINS = 4  # lines that are taken at once: one operation need not wait for the one before


@intrinsic
def largest_of_columns(
    typingctx,
    element,  # dtype of the panel: float32 or float64
    panel,  # in (lines, NR)
    lines,
    largest,  # inout (NR,)
):
    """largest = the largest number of each column and of `largest`; NaN if there is one."""

    def codegen(context, builder, signature, args):
        def larger(x, y):
            kind = ir.FunctionType(x.type, [x.type, x.type])
            name = f"llvm.maximum.v{x.type.count}f{element.dtype.bitwidth}"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x, y])

        _reduce(context, builder, element.dtype, args[1:], float("-inf"), larger)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 3), codegen


@intrinsic
def add_columns(
    typingctx,
    element,  # dtype of the panel: float32 or float64
    panel,  # in (lines, NR)
    lines,
    total,  # inout (NR,)
):
    """total += the sum of each column."""

    def codegen(context, builder, signature, args):
        _reduce(context, builder, element.dtype, args[1:], 0.0, builder.fadd)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 3), codegen


@intrinsic
def scale_columns(
    typingctx,
    element,  # dtype of the panel: float32 or float64
    panel,  # inout (lines, NR)
    lines,
    factor,  # in (NR,)
):
    """panel *= factor, one number for each column."""

    def codegen(context, builder, signature, args):
        _, panel, lines, factor = args
        vectors = _vectors(context, element.dtype)
        factors = [_load(builder, factor, vector, first) for vector, first, _ in vectors]
        with cgutils.for_range(builder, lines) as loop:
            for (vector, first, row), by in zip(vectors, factors, strict=True):
                at = builder.add(panel, builder.mul(loop.index, ir.Constant(i64, row)))
                value = _load(builder, at, vector, first)
                _store(builder, builder.fmul(value, by), at, first)
        return context.get_dummy_value()

    return types.void(element, *[types.intp] * 3), codegen


def _reduce(context, builder, dtype, args, neutral, combine):
    """Combine the lines of a panel, and a line of results with that; store it there."""
    panel, lines, result = args
    chains, one = ir.Constant(i64, _CHAINS), ir.Constant(i64, 1)
    vectors = _vectors(context, dtype)
    found = []
    for vector, first, _ in vectors:
        start = ir.Constant(vector, [neutral] * vector.count)
        own = _load(builder, result, vector, first)
        values = [own, *[start] * (_CHAINS - 1)]
        found.append([cgutils.alloca_once_value(builder, value) for value in values])
        for value, place in zip(values, found[-1], strict=True):
            builder.store(value, place)

    def step(line, chain):
        for (vector, first, row), places in zip(vectors, found, strict=True):
            at = builder.add(panel, builder.mul(line, ir.Constant(i64, row)))
            value = combine(builder.load(places[chain]), _load(builder, at, vector, first))
            builder.store(value, places[chain])

    whole = builder.udiv(lines, chains)
    with cgutils.for_range(builder, whole) as loop:
        line = builder.mul(loop.index, chains)
        for chain in range(_CHAINS):
            step(builder.add(line, ir.Constant(i64, chain)), chain)
    done = builder.mul(whole, chains)
    with cgutils.for_range_slice(builder, done, lines, one) as (line, _):
        step(line, 0)
    for (_, first, _), places in zip(vectors, found, strict=True):
        a, b, c, d = (builder.load(place) for place in places)
        _store(builder, combine(combine(a, b), combine(c, d)), result, first)


def _vectors(context, dtype):
    """The vectors of a line: type, first byte, and bytes from line to line."""
    tile = blocking.tile(dtype)
    scalar = context.get_value_type(dtype)
    vector = ir.VectorType(scalar, tile.lanes)
    width = tile.lanes * context.get_abi_sizeof(scalar)
    return [(vector, v * width, tile.vectors * width) for v in range(tile.vectors)]


def _load(builder, address, vector, first):
    return builder.load(_pointer(builder, address, vector, first), typ=vector, align=4)


def _store(builder, value, address, first):
    builder.store(value, _pointer(builder, address, value.type, first), align=4)


def _pointer(builder, address, vector, first):
    return builder.inttoptr(builder.add(address, ir.Constant(i64, first)), vector.as_pointer())
