"""Blocks of neighbouring groups, side by side: lines of LANES numbers, one of each group."""

import numpy as np

from fastmat.core.inline import always_inlined, inlined, overload
from fastmat.core.mathfn import accumulator, narrow, widen
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import LANES
from fastmat.cpu.lines import across, face, is_packed, line, packed, store
from fastmat.cpu.shuffle import tile_side, transpose_tile
from fastmat.cpu.views import address, in_rows, part


@inlined
def place(x, block):
    """Where a block of LANES groups begins, and how many of them there are."""
    in_a_row = ceil_div(x.shape[1], LANES)
    i = block % in_a_row * LANES
    return block // in_a_row, i, min(LANES, x.shape[1] - i)


@inlined
def first_place(shape, t):
    """Where the line of this number is, along p, r and q."""
    r, q = shape[3], shape[4]
    return t // (r * q), t // q % r, t % q


@inlined
def next_place(shape, p, r, q):
    """Where the next line is: counted, because dividing takes longer than a line."""
    q += 1
    if q == shape[4]:
        q, r = 0, r + 1
        if r == shape[3]:
            r, p = 0, p + 1
    return p, r, q


def in_place(x, o, i, width, first):
    """The address of lines that need not be copied to a block, because they lie as in one; or 0."""
    raise TypeError("only for compiled code")


@overload(in_place)
def _lines_in_place(
    x,  # in (o, i, p, r, q)
    o,
    i,
    width,  # groups, up to LANES
    first,  # number of the first line
):
    if accumulator(x.dtype) != x.dtype:
        return lambda x, o, i, width, first: np.intp(0)

    def find(x, o, i, width, first):
        if width < LANES or x.shape[2] * x.shape[3] > 1 or x.strides[1] != x.itemsize:
            return np.intp(0)
        return np.intp(across(x, o, i, 0, 0, first).ctypes.data)

    return find


@always_inlined
def load_block(
    x,  # in (o, i, p, r, q)
    o,
    i,
    width,  # groups, up to LANES
    first,  # number of the first line: of the first place in p, r, q
    lines,
    block,  # out (lines * LANES,)
):
    """Lines of numbers of neighbouring groups; groups that are not there are 0."""
    if width < LANES:
        for j in range(lines * LANES):
            block[j] = 0
    if first == 0 and lines == x.shape[4] and abs(x.strides[4]) < abs(x.strides[1]):
        if not _turn(face(x, o, i), width, block):
            for k in range(width):
                numbers = line(x, o, i + k, 0, 0, 0)
                for j in range(lines):
                    block[j * LANES + k] = widen(numbers[j])
        return
    p, r, q = first_place(x.shape, first)
    for j in range(lines):
        numbers = part(across(x, o, i, p, r, q), 0, width)
        p, r, q = next_place(x.shape, p, r, q)
        target = part(block, j * LANES, j * LANES + width)
        if is_packed(numbers):
            side_by_side = packed(numbers)
            for k in range(width):
                target[k] = widen(side_by_side[k])
        else:
            for k in range(width):
                target[k] = widen(numbers[k])


@always_inlined
def store_block(
    block,  # in (lines * LANES,)
    out,  # out (o, i, p, r, q)
    o,
    i,
    width,
    first,
    lines,
    streaming,
):
    """The way back of `load_block`."""
    if first == 0 and lines == out.shape[4] and abs(out.strides[4]) < abs(out.strides[1]):
        if not _turn_back(block, width, face(out, o, i), streaming):
            for k in range(width):
                target = line(out, o, i + k, 0, 0, 0)
                for j in range(lines):
                    target[j] = narrow(block[j * LANES + k], out.dtype)
        return
    p, r, q = first_place(out.shape, first)
    for j in range(lines):
        target = part(across(out, o, i, p, r, q), 0, width)
        p, r, q = next_place(out.shape, p, r, q)
        store(part(block, j * LANES, j * LANES + width), target, streaming)


def _turn(x, width, block):
    raise TypeError("only for compiled code")


@overload(_turn)
def _turn_numbers(
    x,  # in (width or more, n)
    width,
    block,  # out (n * LANES,)
):
    """Transpose rows to columns by squares in registers, where they fit; whether it was done."""
    if accumulator(x.dtype) != x.dtype:
        return lambda x, width, block: False

    def turn(x, width, block):
        side, n = tile_side(x), x.shape[1]
        if width < side or n < side or x.strides[1] != x.itemsize:
            return False
        columns = in_rows(block, n, LANES)
        for k in range(0, width, side):
            k = min(k, width - side)
            for j in range(0, n, side):
                j = min(j, n - side)
                transpose_tile(x, k, j, columns, j, k, False)
        return True

    return turn


def _turn_back(block, width, out, streaming):
    raise TypeError("only for compiled code")


@overload(_turn_back)
def _turn_numbers_back(
    block,  # in (n * LANES,)
    width,
    out,  # out (width or more, n)
    streaming,
):
    """The way back of `_turn`."""
    if accumulator(out.dtype) != out.dtype:
        return lambda block, width, out, streaming: False

    def turn_back(block, width, out, streaming):
        side, n, size = tile_side(out), out.shape[1], out.itemsize
        if width < side or n < side or out.strides[1] != size:
            return False
        columns, row = in_rows(block, n, LANES), out.strides[0]
        past = streaming and n == side and row == n * size and address(out, 0, 0) % row == 0
        past = past and width % side == 0
        for k in range(0, width, side):
            k = min(k, width - side)
            for j in range(0, n, side):
                j = min(j, n - side)
                transpose_tile(columns, j, k, out, k, j, past)
        return True

    return turn_back
