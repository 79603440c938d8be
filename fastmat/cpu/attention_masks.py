"""Which queries see which keys: masks, cut into the panels that scores are computed in.

A panel has a column for each query and a line for each key; where gradients by keys are computed,
a column for each key and a line for each query. Masks come with columns first, then lines.
"""

import numpy as np

from fastmat.core.compile import call
from fastmat.core.inline import always_inlined, inlined, reducing
from fastmat.core.mathfn import narrow, widen
from fastmat.cpu.blocking import tile_cols
from fastmat.cpu.panels import pack
from fastmat.cpu.shuffle import copy_lane, transpose_lane
from fastmat.cpu.views import in_rows, part, transposed

NOTHING, SOMETHING, EVERYTHING = 0, 1, 2  # of a panel that is visible
_SIDE = 16  # of the squares of bytes that are transposed in registers


@inlined
def visible_part(
    boolean,  # in (columns, lines), of all columns and lines; or (0, 0), where there is no mask
    i,  # the first column
    columns,  # how many there are, up to NR
    j,  # the first line
    lines,
    width,  # NR
    flags,  # out (lines * NR or more,): 0 where the mask is False
):
    """How much of a panel a boolean mask leaves visible."""
    if boolean.shape[0] == 0:
        return EVERYTHING
    cut = part(boolean, i, i + columns, j, j + lines)
    _transpose(cut, in_rows(flags, lines, width))
    hidden = _zeros(flags, lines * width)
    if hidden == 0:
        return EVERYTHING
    return NOTHING if hidden == lines * width else SOMETHING


@inlined
def _transpose(
    mask,  # in (columns, lines)
    flags,  # out (lines, NR)
):
    """Columns beyond those of the mask repeat the last one, so that they do not count."""
    (columns, lines), width = mask.shape, flags.shape[1]
    whole = columns == width and width % _SIDE == 0
    if whole and mask.strides[0] == 1:
        rows = transposed(mask)
        for j in range(lines):
            for i in range(0, width, _SIDE):
                copy_lane(rows, j, i, flags, j, i, False)
    elif whole and mask.strides[1] == 1 and lines >= _SIDE:
        for j in range(0, lines, _SIDE):
            j = min(j, lines - _SIDE)
            for i in range(0, width, _SIDE):
                transpose_lane(mask, i, j, flags, j, i, False)
    else:
        for j in range(lines):
            for i in range(width):
                flags[j, i] = widen(mask[min(i, columns - 1), j])


@reducing
def _zeros(
    flags,  # in (n or more,)
    n,
):
    """How many are 0."""
    count = 0
    for p in range(n):
        count += flags[p] == 0
    return count


@always_inlined
def hide(
    panel,  # inout (lines * NR or more,)
    flags,  # in (lines * NR or more,)
    n,  # lines * NR
):
    """The scores that a mask leaves out become -inf."""
    lowest = narrow(-np.inf, panel.dtype)
    for j in range(n):
        panel[j] = lowest if flags[j] == 0 else panel[j]


@inlined
def add(
    additive,  # in (columns, lines), of all columns and lines; or (0, 0), where there is no mask
    i,
    columns,
    j,
    lines,
    panel,  # inout (lines * NR or more,)
    buffer,  # scratch, as the panel
):
    """Scores plus an additive mask."""
    if additive.shape[0] == 0:
        return
    width = tile_cols(panel.dtype)
    cut = part(additive, i, i + columns, j, j + lines)
    call(pack, additive.dtype, (cut, width, buffer))
    for p in range(lines * width):
        panel[p] += buffer[p]


@inlined
def hide_later_keys(
    panel,  # inout (lines * NR or more,)
    i,  # the first column
    j,  # the first line
    lines,
    by_query,  # whether columns are queries and lines are keys, or the other way round
):
    """Scores of keys after the query become -inf."""
    width = tile_cols(panel.dtype)
    for p in range(lines):
        if by_query:
            first, last = 0, min(width, j + p - i)
        else:
            first, last = max(0, j + p - i + 1), width
        for c in range(first, last):
            panel[p * width + c] = -np.inf
