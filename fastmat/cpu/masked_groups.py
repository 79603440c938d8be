"""Groups with a mask: which numbers are valid, line by line, and the types of the kernels.

A mask is an array of bool in the same five axes as the numbers, with length 1 or stride 0 where it
is alike. True, any byte but 0, means valid.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmat.core.compile import reads, writes
from fastmat.core.inline import always_inlined, inlined, overload
from fastmat.core.mathfn import accumulator, boolean, widen
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import LANES, PIECE, TASK
from fastmat.cpu.blocks import first_place, next_place
from fastmat.cpu.groups import chunk, chunks
from fastmat.cpu.lines import across, as_read, is_packed, line, packed
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import as_any, part

REALS = (
    "bool",
    *("int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64"),
)


def total_type(t):
    """What numbers of a dtype are added up in, and what extreme ones are returned in."""
    return types.int64 if isinstance(accumulator(t), types.Integer) else types.float64


def sums_types(t):
    """Argument types of the kernels that add up."""
    found = writes(total_type(t), 5), writes(types.int64, 5)
    how = types.int64, types.intp
    return reads(t, 5), reads(boolean, 5), reads(types.float64, 5), *found, *how


def moments_types(t):
    """Argument types of the kernels that find means and squares of deviations."""
    statistic = writes(types.float64, 5)
    found = statistic, statistic, writes(types.int64, 5)
    return reads(t, 5), reads(boolean, 5), *found, types.int64


def extremes_types(t):
    """Argument types of the kernels that find extreme numbers and where they are."""
    place = writes(types.int64, 5)
    found = writes(total_type(t), 5), place, place
    return reads(t, 5), reads(boolean, 5), *found, *[types.intp] * 3, types.int64, types.intp


def as_total(value, keep):
    raise TypeError("only for compiled code")


@overload(as_total)
def _as_total(value, keep):
    """A number in the type that it is added up in; `keep` are the bits of an unsigned one."""
    if isinstance(value, types.Integer):
        return lambda value, keep: types.int64(value) & keep
    return lambda value, keep: np.float64(value)


def turned(value, turn):
    raise TypeError("only for compiled code")


@overload(turned)
def _turned(value, turn):
    """A number as it is ordered: float times `turn`, which is 1 or -1, integer xor `turn`."""
    if isinstance(value, types.Integer):
        return lambda value, turn: value ^ turn
    return lambda value, turn: value * turn


def top_of(x):
    raise TypeError("only for compiled code")


@overload(top_of)
def _top_of(x):
    """What no number of an array is above."""
    item = x.dtype
    largest = item.maxval if isinstance(item, types.Integer) else np.inf
    return lambda x: item(largest)


@intrinsic
def lesser(typingctx, x, y):
    """The smaller number, or NaN if there is one."""

    def codegen(context, builder, signature, args):
        number = args[0].type
        if isinstance(x, types.Float):
            kind = ir.FunctionType(number, [number, number])
            found = builder.module.declare_intrinsic("llvm.minimum", [number], kind)
            return builder.call(found, args)
        compare = builder.icmp_signed if x.signed else builder.icmp_unsigned
        return builder.select(compare("<", *args), *args)

    return x(x, x), codegen


@inlined
def pieces_of(x):
    """In how many pieces the groups of an array are reduced, and how many pieces are a task."""
    pieces = ceil_div(chunks(x), PIECE)
    return pieces, max(1, TASK * pieces * x.shape[0] * x.shape[1] // x.size)


@inlined
def by_piece(out, pieces):
    """Where to keep what is found of each piece: in the output itself if there is but one."""
    if pieces == 1:
        return out
    return as_any(scratch((out.shape[0], out.shape[1], pieces, 1, 1), out.dtype))


@always_inlined
def valid_chunk(
    mask,  # in (o, i, p, r, q) or 1 or stride 0 where it is alike
    o,
    i,
    c,  # number of the chunk
    shape,  # (o, i, p, r, q)
    buffer,  # scratch (CHUNK,)
):
    """What of a chunk of a group is valid: bytes side by side, or one if they are alike."""
    marks = chunk(mask, o, i, c, shape)
    if marks.strides[0] == 0:
        marks = part(marks, 0, 1)
    if is_packed(marks):
        return packed(marks)
    target = packed(part(buffer, 0, marks.shape[0]))
    for j in range(target.shape[0]):
        target[j] = marks[j]
    return as_read(target)


@always_inlined
def count_valid(
    marks,  # in (n,) or (1,)
    n,  # numbers, at most CHUNK
):
    if marks.shape[0] == 1:
        return n if widen(marks[0]) != 0 else 0
    total = types.int16(0)
    for j in range(n):
        total = types.int16(total + widen(marks[j]))
    return types.intp(total)


@always_inlined
def valid_block(
    mask,  # in (o, i, p, r, q) or 1 or stride 0 where it is alike
    shape,  # (o, i, p, r, q)
    at,  # o, i, width, first, lines: see `load_block`
    block,  # scratch (lines * LANES,)
):
    """Address of lines of LANES bytes, and the bytes from one line to the next; absent groups: 0.

    A mask that lies as a block does is not copied.
    """
    o, i, width, first, lines = at
    alike = mask.shape[1] == 1 or mask.strides[1] == 0
    if width == LANES and not alike and mask.strides[1] == 1 and shape[2] * shape[3] == 1:
        row = 0 if mask.shape[4] == 1 else mask.strides[4]
        return types.intp(across(mask, o, i, 0, 0, first).ctypes.data), types.intp(row)
    if width < LANES:
        for j in range(lines * LANES):
            block[j] = 0
    if shape[2] * shape[3] == 1 and not alike and abs(mask.strides[4]) < abs(mask.strides[1]):
        for k in range(width):
            marks = part(line(mask, o, i + k, 0, 0, first), 0, lines)
            single = marks.shape[0] == 1
            for j in range(lines):
                block[j * LANES + k] = widen(marks[0 if single else j])
        return types.intp(block.ctypes.data), types.intp(LANES)
    p, r, q = first_place(shape, first)
    for j in range(lines):
        marks = part(across(mask, o, i, p, r, q), 0, width)
        p, r, q = next_place(shape, p, r, q)
        target = part(block, j * LANES, j * LANES + width)
        if alike:
            mark = widen(marks[0])
            for k in range(width):
                target[k] = mark
        elif is_packed(marks):
            side_by_side = packed(marks)
            for k in range(width):
                target[k] = widen(side_by_side[k])
        else:
            for k in range(width):
                target[k] = widen(marks[k])
    return types.intp(block.ctypes.data), types.intp(LANES)
