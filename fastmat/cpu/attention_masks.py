"""Which queries see which keys: masks, cut into the panels that scores are computed in.

A panel has a column for each query and a line for each key; where gradients by keys are computed,
a column for each key and a line for each query. Masks come with columns first, then lines.
"""

from fastmat.core.compile import call
from fastmat.core.elementary import select
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
def hide(
    panel,  # inout (lines * NR or more,)
    flags,  # in (lines * NR or more,): 0 where a mask hides a key from a query
    hidden,  # what is hidden: see `hidden_part`
    lines,
    value,
):
    """What is hidden becomes this value."""
    by_mask, by_order, i, j, by_query = hidden
    width = tile_cols(panel.dtype)
    if by_mask:
        _replace(panel, flags, lines * width, narrow(value, panel.dtype))
    if by_order:
        for p in range(lines):
            first, last = _later_keys(i, j + p, width, by_query)
            for c in range(first, last):
                panel[p * width + c] = value


@inlined
def hidden_part(visible, causal, place, width, by_query):
    """What of a panel is hidden, as a tuple.

    Whether a mask hides some of it, whether causality does, the first column, the first line,
    and whether columns are queries.
    """
    i, _, j, lines = place
    by_order = causal and (j + lines - 1 > i if by_query else i + width - 1 > j)
    return visible == SOMETHING, by_order, i, j, by_query


@inlined
def is_hidden(flags, hidden, p, c, width):
    """Whether the number in line p and column c of a panel is hidden."""
    by_mask, by_order, i, j, by_query = hidden
    if by_mask and flags[p * width + c] == 0:
        return True
    first, last = _later_keys(i, j + p, width, by_query)
    return by_order and first <= c < last


@inlined
def _later_keys(i, line, width, by_query):
    """The columns, of those from i on, in which the key comes after the query."""
    if by_query:  # columns are queries, and lines are keys
        return 0, min(width, line - i)
    return max(0, line - i + 1), width


@always_inlined
def _replace(
    panel,  # inout (n or more,)
    flags,  # in (n or more,)
    n,
    value,
):
    for p in range(n):
        panel[p] = select(flags[p] == 0, value, panel[p])
