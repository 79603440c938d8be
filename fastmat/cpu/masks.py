"""Masks of products: which entries are computed, as blocks of bools and a band of diagonals.

A mask is a tuple ``(blocks, height, width, lower, upper)``. Entry (i, j) is kept if
``blocks[i // height, j // width]`` is True and ``-lower <= j - i <= upper``: a mask of every
entry is one of blocks of 1 x 1, a triangle is a single block and a band.
"""

from numba import types

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
