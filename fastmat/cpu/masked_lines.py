"""Masks beside the numbers that they keep: a number counts where its mask is True.

A mask comes in the five axes of its array, ``(o, i, p, r, q)`` or 1 where it is alike, and is read
where it lies. Kernels that have none hand on None, which is known when they are compiled: so the
mask costs them nothing.
"""

from numba import types

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


def erased_block(mask, block, lines, other):
    raise TypeError("only for compiled code")


@overload(erased_block)
def _block_erased_if_masked(
    mask,  # in (lines * LANES,), see `mask_block`, or None
    block,  # inout (lines * LANES or more,)
    lines,
    other,
):
    """`erased` of the lines of a block."""
    if mask == types.none:
        return lambda mask, block, lines, other: None
    return lambda mask, block, lines, other: erased(mask, part(block, 0, lines * LANES), other)


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
