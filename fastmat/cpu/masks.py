<<<<<<< HEAD
"""Masks of products: which entries are computed, as blocks of bools and a band of diagonals.

A mask is a tuple ``(blocks, height, width, lower, upper)``. Entry (i, j) is kept if
``blocks[i // height, j // width]`` is True and ``-lower <= j - i <= upper``: a mask of every
entry is one of blocks of 1 x 1, a triangle is a single block and a band.
=======
"""Masks beside the numbers that they keep: a number counts where its mask is True.

A mask comes in the five axes of its array, ``(o, i, p, r, q)`` or 1 where it is alike, and is read
where it lies. Kernels that have none hand on None, which is known when they are compiled: so the
mask costs them nothing.
>>>>>>> h-soft
"""

from numba import types

<<<<<<< HEAD
from fastmat.core.compile import reads
from fastmat.core.inline import inlined
from fastmat.core.mathfn import boolean, widen
from fastmat.cpu.lines import line, packed

KEPT = types.Tuple((reads(boolean, 2), *[types.intp] * 4))
NONE, SOME, ALL = range(3)


@inlined
def is_kept(kept, i, j):
    """Whether an entry is kept."""
    blocks, height, width, lower, upper = kept
    return -lower <= j - i <= upper and widen(blocks[i // height, j // width]) != 0


@inlined
def write_kept(
    kept,
    i0,  # row and column of the first flag
    j0,
    flags,  # out (rows, cols or more): 1 where an entry is kept
    rows,
    cols,
):
    """Write the part of a mask that lies on a tile."""
    blocks, height, width, lower, upper = kept
    for i in range(rows):
        row, q = blocks[(i0 + i) // height], j0 // width
        if width == 1:
            for j in range(cols):
                flags[i, j] = widen(row[q + j])
        else:
            j = 0
            while j < cols:
                after = min(cols, (q + 1) * width - j0)
                flag = widen(row[q])
                for t in range(j, after):
                    flags[i, t] = flag
                j, q = after, q + 1
        first, last = i0 + i - lower - j0, i0 + i + upper - j0
        for j in range(cols):
            flags[i, j] &= (first <= j) & (j <= last)


@inlined
def kept_in(
    kept,
    i0,  # rows i0 to i1 - 1, columns j0 to j1 - 1
    i1,
    j0,
    j1,
):
    """How many entries of a rectangle are kept: NONE (for certain), SOME or ALL."""
    blocks, height, width, lower, upper = kept
    least, greatest = j0 - (i1 - 1), (j1 - 1) - i0
    if greatest < -lower or least > upper:
        return NONE
    p0, p1 = i0 // height, (i1 - 1) // height + 1
    q0, q1 = j0 // width, (j1 - 1) // width + 1
    true = 0
    for p in range(p0, p1):
        row = line(blocks, p, q0)
        true += _count(packed(row), q1 - q0) if row.strides[0] == 1 else _count(row, q1 - q0)
    if true == 0:
        return NONE
    inside = least >= -lower and greatest <= upper
    return ALL if inside and true == (p1 - p0) * (q1 - q0) else SOME


@inlined
def _count(row, length):
    true = 0
    for q in range(length):
        true += widen(row[q]) != 0
    return true
=======
from fastmat.core.elementary import select
from fastmat.core.inline import always_inlined, overload, reducing
from fastmat.core.mathfn import narrow, widen
from fastmat.cpu.activations import mapped
from fastmat.cpu.blocking_reductions import LANES
from fastmat.cpu.blocks import first_place, next_place
from fastmat.cpu.groups import chunk
from fastmat.cpu.lines import across, as_read, is_packed, line, loaded, own, packed
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import part


def mask_chunk(mask, o, i, c, shape):
    raise TypeError("only for compiled code")


@overload(mask_chunk)
def _mask_chunk_if_given(
    mask,  # in (o, i, p, r, q) or 1 where it is alike, or None
    o,
    i,
    c,  # number of the chunk
    shape,  # (o, i, p, r, q), of the numbers
):
    """The mask of a chunk of a group: of as many numbers, or of one that holds for all."""
    if mask == types.none:
        return lambda mask, o, i, c, shape: None
    return lambda mask, o, i, c, shape: chunk(mask, o, i, c, shape)


def loaded_where(mask, x, buffer, other):
    raise TypeError("only for compiled code")


@overload(loaded_where)
def _loaded_where_kept(
    mask,  # in (n,) or (1,), or None
    x,  # in (n,), of any stride
    buffer,  # scratch (n or more,)
    other,  # what stands in place of numbers that are masked
):
    """The numbers of a line as they are computed with, side by side."""
    if mask == types.none:
        return lambda mask, x, buffer, other: loaded(x, buffer)

    def read(mask, x, buffer, other):
        target = packed(part(buffer, 0, x.shape[0]))
        if mask.shape[0] == 1:
            kept = widen(mask[0]) != 0
            for j in range(target.shape[0]):
                target[j] = select(kept, widen(x[j]), other)
        elif is_packed(mask) and is_packed(x):
            _choose(packed(mask), packed(x), other, target)
        else:
            _choose(mask, x, other, target)
        return as_read(target)

    return read


@always_inlined
def _choose(mask, x, other, target):
    for j in range(target.shape[0]):
        target[j] = select(widen(mask[j]) != 0, widen(x[j]), other)


def erased(mask, y, other):
    raise TypeError("only for compiled code")


@overload(erased)
def _erased_if_masked(
    mask,  # in (n,) or (1,), or None
    y,  # inout (n,), side by side
    other,
):
    """Put a number in place of those that are masked."""
    if mask == types.none:
        return lambda mask, y, other: None

    def erase(mask, y, other):
        if mask.shape[0] == 1:
            if widen(mask[0]) == 0:
                for j in range(y.shape[0]):
                    y[j] = other
        elif is_packed(mask):
            _erase(packed(mask), y, other)
        else:
            _erase(mask, y, other)

    return erase


@always_inlined
def _erase(mask, y, other):
    for j in range(y.shape[0]):
        y[j] = select(widen(mask[j]) != 0, y[j], other)


def counted(mask, n):
    raise TypeError("only for compiled code")


@overload(counted)
def _counted_if_masked(
    mask,  # in (n,) or (1,), or None
    n,
):
    """How many of n numbers are kept."""
    if mask == types.none:
        return lambda mask, n: n

    def count(mask, n):
        if mask.shape[0] == 1:
            return n if widen(mask[0]) != 0 else 0
        return _count(packed(mask)) if is_packed(mask) else _count(mask)

    return count


@reducing
def _count(mask):
    total = 0
    for j in range(mask.shape[0]):
        total += widen(mask[j])
    return total


def if_kept(mask, j, x):
    raise TypeError("only for compiled code")


@overload(if_kept)
def _zero_if_masked(
    mask,  # in (n,) or (1,), or None
    j,
    x,
):
    """x, which belongs to the number j, or 0 if that is masked: even where x is NaN."""
    if mask == types.none:
        return lambda mask, j, x: x

    def number(mask, j, x):
        return select(widen(mask[j if mask.shape[0] > 1 else 0]) != 0, x, 0.0)

    return number


def room_for_counts(mask, groups, pieces):
    raise TypeError("only for compiled code")


@overload(room_for_counts)
def _counts_if_masked(mask, groups, pieces):
    """Room for how many numbers of each piece of each group are kept."""
    if mask == types.none:
        return lambda mask, groups, pieces: None
    return lambda mask, groups, pieces: scratch((groups, pieces), types.intp)


def keep_count(counts, group, piece, n):
    raise TypeError("only for compiled code")


@overload(keep_count)
def _keep_count_if_masked(counts, group, piece, n):
    if counts == types.none:
        return lambda counts, group, piece, n: None

    def keep(counts, group, piece, n):
        counts[group, piece] = n

    return keep


def add_counts(counts, total):
    raise TypeError("only for compiled code")


@overload(add_counts)
def _add_counts_if_wanted(
    counts,  # in (groups, pieces)
    total,  # out (o, i, 1, 1, 1), or None
):
    """How many numbers of each group are kept."""
    if total == types.none:
        return lambda counts, total: None

    def add(counts, total):
        for g in range(counts.shape[0]):
            found = 0.0
            for piece in range(counts.shape[1]):
                found += counts[g, piece]
            total[g // total.shape[1], g % total.shape[1], 0, 0, 0] = found

    return add


def room_for_masks(mask, threads, n, dtype):
    raise TypeError("only for compiled code")


@overload(room_for_masks)
def _room_if_masked(mask, threads, n, dtype):
    """Work space for the mask of a block of each thread, 1 or 0 of this dtype."""
    if mask == types.none:
        return lambda mask, threads, n, dtype: None
    return lambda mask, threads, n, dtype: scratch((threads, 1, n), dtype)


def mask_block(mask, shape, at, room, slot):
    raise TypeError("only for compiled code")


@overload(mask_block)
def _mask_block_if_given(
    mask,  # in (o, i, p, r, q) or 1 where it is alike, or None
    shape,  # (o, i, p, r, q), of the numbers
    at,  # o, i, width, first line, lines
    room,  # scratch, see `room_for_masks`
    slot,
):
    """The mask of a block of neighbouring groups, (lines * LANES,); groups not there are kept."""
    if mask == types.none:
        return lambda mask, shape, at, room, slot: None

    def read(mask, shape, at, room, slot):
        o, i, width, first, lines = at
        kept = part(own(room, slot, 0), 0, lines * LANES)
        if width < LANES:
            for j in range(lines * LANES):
                kept[j] = 1
        alike = mask.shape[1] == 1
        along = first == 0 and lines == shape[4] and abs(mask.strides[4]) < abs(mask.strides[1])
        if along and not alike and mask.shape[4] > 1:
            for k in range(width):
                numbers = line(mask, o, i + k, 0, 0, 0)
                for j in range(lines):
                    kept[j * LANES + k] = widen(numbers[j])
            return kept
        p, r, q = first_place(shape, first)
        for j in range(lines):
            numbers = across(mask, o, i, p, r, q)
            target = part(kept, j * LANES, j * LANES + width)
            if alike:
                of_all = widen(numbers[0])
                for k in range(width):
                    target[k] = of_all
            else:
                for k in range(width):
                    target[k] = widen(numbers[k])
            p, r, q = next_place(shape, p, r, q)
        return kept

    return read


def lane_counts(mask, lines):
    raise TypeError("only for compiled code")


@overload(lane_counts)
def _lane_counts_if_masked(
    mask,  # in (lines * LANES,), see `mask_block`, or None
    lines,
):
    """How many numbers of each of LANES groups are kept: one number for all if there is no mask."""
    if mask == types.none:
        return lambda mask, lines: lines

    def count(mask, lines):
        counts = scratch(LANES, types.intp)
        for k in range(LANES):
            counts[k] = 0
        for j in range(lines):
            for k in range(LANES):
                counts[k] += mask[j * LANES + k]
        return counts

    return count


def of_lane(counts, k):
    raise TypeError("only for compiled code")


@overload(of_lane)
def _of_lane(counts, k):
    """What `lane_counts` found for one group."""
    if isinstance(counts, types.Array):
        return lambda counts, k: counts[k]
    return lambda counts, k: counts


def mask_of_line(mask, j, width):
    raise TypeError("only for compiled code")


@overload(mask_of_line)
def _line_if_masked(
    mask,  # in (lines * LANES,), see `mask_block`, or None
    j,
    width,  # groups, up to LANES
):
    """The mask of one line of a block."""
    if mask == types.none:
        return lambda mask, j, width: None
    return lambda mask, j, width: part(mask, j * LANES, j * LANES + width)


@always_inlined
def map_kept(
    activation,  # address of a map, or None
    mask,  # in (n,) or (1,), or None
    y,  # inout (n,), side by side
):
    """Apply a map, and put 0 in place of what is masked, which a user's function gets as 0, too."""
    erased_before(activation, mask, y)
    mapped(activation, y)
    erased(mask, y, narrow(0, y.dtype))


def erased_before(activation, mask, y):
    raise TypeError("only for compiled code")


@overload(erased_before)
def _erased_if_mapped(activation, mask, y):
    if activation == types.none:
        return lambda activation, mask, y: None
    return lambda activation, mask, y: erased(mask, y, narrow(0, y.dtype))
>>>>>>> h-soft
