"""What the kernels of random numbers share: which numbers a task draws, and from which words.

The numbers of a line of `out` have positions that follow each other. A line is drawn in pieces of
up to BLOCKS blocks of four words: words are drawn, numbers are made of them in a buffer, and those
that are wanted are stored.
"""

from numba import types
from numba.cpython.unsafe.tuple import tuple_setitem

from fastmat.core.compile import writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.philox import philox4x32
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_random import BLOCKS, LEAST, SERIAL, TASK
from fastmat.cpu.lines import borrowed, store
from fastmat.cpu.strides import AXES, offset
from fastmat.cpu.views import part

Place = types.UniTuple(types.int64, AXES)


def draw_types(t, *parameters):
    """Argument types of a kernel: out, steps, first, seed, stream, and what the numbers are."""
    return writes(t, AXES), Place, types.uint64, types.uint64, types.uint64, *parameters


@inlined
def plan_of(
    out,  # (8 axes), not empty
    steps,  # positions from one number to the next along each axis; 1 along the last
    per_block,  # numbers that are made of one block of words
):
    """Shape of the stack of lines, length and stride of one, pieces of a line, numbers of a piece.

    Axes that follow each other in positions and in memory are one line.
    """
    shape, last = out.shape, AXES - 1
    length, stride = shape[last], out.strides[last]
    lines = tuple_setitem(shape, last, 1)
    for axis in range(last - 1, -1, -1):
        if shape[axis] > 1:
            if length == 1 and steps[axis] == 1:
                stride = out.strides[axis]
            if steps[axis] != length or out.strides[axis] != length * stride:
                break
            length *= shape[axis]
            lines = tuple_setitem(lines, axis, 1)
    pieces = ceil_div(length + per_block - 1, BLOCKS * per_block)
    return lines, length, stride, pieces, per_block


@inlined
def tasks_of(plan):
    """How many tasks there are, of how many pieces each, and how many threads work on them."""
    lines, length, _, pieces, per_block = plan
    count = pieces
    for axis in range(AXES):
        count *= lines[axis]
    several = max(1, TASK // (min(length, BLOCKS * per_block)))
    threads = num_threads() if count // pieces * length > SERIAL else 1
    return count, several, ceil_div(count, several), threads


@inlined
def piece_of(out, steps, first, plan, unit):
    """First block, how many blocks, how many numbers to leave out, and the line to store to."""
    lines, length, stride, pieces, per_block = plan
    line, piece = unit // pieces, unit % pieces
    start = first + types.uint64(offset(line, lines, steps))
    before = types.int64(start % types.uint64(per_block))  # numbers of the first block, not wanted
    begin = max(before, piece * BLOCKS * per_block)
    end = min(before + length, (piece + 1) * BLOCKS * per_block)
    block = start // types.uint64(per_block) + types.uint64(piece * BLOCKS)
    skipped = begin - piece * BLOCKS * per_block
    count = max(0, end - begin)
    blocks = min(BLOCKS, ceil_div(ceil_div(skipped + count, per_block), LEAST) * LEAST)
    at = offset(line, lines, out.strides) + (begin - before) * stride
    return block, blocks, skipped, borrowed(out, at, count, stride)


@always_inlined
def put(
    numbers,  # in (all of the blocks,)
    skipped,  # of them, at the begin
    line,  # out
    streaming,
):
    """Store the numbers that are wanted."""
    store(part(numbers, skipped, skipped + line.shape[0]), line, streaming)


@always_inlined
def draw_words(
    words,  # out (4, BLOCKS)
    block,  # the first
    blocks,
    seed,
    stream,
):
    """Philox's words of blocks that follow each other."""
    word, half = types.uint64(0xFFFFFFFF), types.uint64(32)
    k0, k1 = seed & word, seed >> half
    c2, c3 = stream & word, stream >> half
    for b in range(blocks):
        position = block + types.uint64(b)
        w0, w1, w2, w3 = philox4x32(position & word, position >> half, c2, c3, k0, k1)
        words[0, b] = types.uint32(w0)
        words[1, b] = types.uint32(w1)
        words[2, b] = types.uint32(w2)
        words[3, b] = types.uint32(w3)
