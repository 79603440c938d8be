"""Rows in the order of their clusters: sorted, shared out into tasks, gathered into blocks.

An array of rows (n, d) comes as ``(1, d, 1, 1, n)``, see `groups`: so a row is a line of numbers
of neighbouring groups. A cluster whose block stays in the L2 cache is dealt with in one go, several
of them in a task; a longer one in pieces.
"""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import widen
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import AHEAD, BLOCK_LINES, FUSED_LINES, LANES, TASK
from fastmat.cpu.lines import across, fetch, is_packed, packed, store
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import part


def _arrange_types(t):
    indices = writes(t, 1)
    return reads(t, 1), indices, indices, indices, writes(t, 2), indices


@kernel(_arrange_types, ("int64",))
def arrange(
    labels,  # in (n,), each less than `clusters`
    order,  # out (n,): the rows, cluster by cluster, in their own order
    starts,  # out (clusters + 1,): where in `order` each cluster begins
    tasks,  # out (clusters + 1,): the first cluster of each task
    pieces,  # out (most_pieces(n), 3): cluster, start in `order`, first piece of that cluster
    counts,  # out (2,): how many tasks, how many pieces
):
    """Sort rows by their clusters, and share the clusters out."""
    _sort(labels, order, starts)
    clusters, room = starts.shape[0] - 1, TASK // LANES
    rows, count, found = room, 0, 0
    for c in range(clusters):
        length = starts[c + 1] - starts[c]
        if is_long(length):
            first = found
            for start in range(starts[c], starts[c + 1], BLOCK_LINES):
                pieces[found, 0], pieces[found, 1], pieces[found, 2] = c, start, first
                found += 1
        if rows >= room:
            tasks[count] = c
            count, rows = count + 1, 0
        rows += 1 if is_long(length) else max(1, length)
    tasks[count] = clusters
    counts[0], counts[1] = count, found


@inlined
def _sort(
    labels,  # in (n,)
    order,  # out (n,)
    starts,  # out (clusters + 1,)
):
    """Sort by counting: rows of a cluster stay in their order."""
    clusters = starts.shape[0] - 1
    for c in range(clusters + 1):
        starts[c] = 0
    for row in range(labels.shape[0]):
        starts[labels[row] + 1] += 1
    for c in range(clusters):
        starts[c + 1] += starts[c]
    for row in range(labels.shape[0]):  # starts[c] moves to where cluster c ends
        order[starts[labels[row]]] = row
        starts[labels[row]] += 1
    for c in range(clusters, 0, -1):
        starts[c] = starts[c - 1]
    starts[0] = 0


@inlined
def is_long(length):
    """Whether a cluster of so many rows is dealt with in pieces."""
    return length > FUSED_LINES


@inlined
def most_pieces(n):
    """How many pieces `n` rows have at most."""
    return ceil_div(n, BLOCK_LINES) + n // FUSED_LINES


@inlined
def arranged(n, clusters):
    """Memory for what `arrange` finds out."""
    return (
        scratch(n, types.int64),
        scratch(clusters + 1, types.int64),
        scratch(clusters + 1, types.int64),
        scratch((most_pieces(n), 3), types.int64),
        scratch(2, types.int64),
    )


@inlined
def columns(x, index):
    """Which task and which features: a task is done for LANES neighbouring ones at a time."""
    blocks = ceil_div(x.shape[1], LANES)
    i = index % blocks * LANES
    return index // blocks, i, min(LANES, x.shape[1] - i)


@inlined
def piece_of(pieces, starts, p):
    """Cluster, start in the order of rows and number of rows of a piece."""
    c, start = pieces[p, 0], pieces[p, 1]
    return c, start, min(BLOCK_LINES, starts[c + 1] - start)


@always_inlined
def _row(
    x,  # (1, d, 1, 1, n)
    order,  # in (n,)
    at,  # where in `order` the row is
    i,
    width,  # features, up to LANES
):
    """Features of a row. One that comes later is fetched now: the CPU cannot guess which."""
    if at + AHEAD < order.shape[0]:
        fetch(part(across(x, 0, i, 0, 0, order[at + AHEAD]), 0, width))
    return part(across(x, 0, i, 0, 0, order[at]), 0, width)


@always_inlined
def gather(
    x,  # in (1, d, 1, 1, n)
    order,  # in (n,)
    start,  # where in `order` the rows begin
    lines,
    i,
    width,  # features, up to LANES
    block,  # out (lines * LANES,)
):
    """Rows of a cluster as lines of a block; features that are not there are 0."""
    if width < LANES:
        for j in range(lines * LANES):
            block[j] = 0
    for j in range(lines):
        numbers = _row(x, order, start + j, i, width)
        target = part(block, j * LANES, j * LANES + width)
        if is_packed(numbers):
            side_by_side = packed(numbers)
            for k in range(width):
                target[k] = widen(side_by_side[k])
        else:
            for k in range(width):
                target[k] = widen(numbers[k])


@always_inlined
def scatter(
    block,  # in (lines * LANES,)
    out,  # out (1, d, 1, 1, n)
    order,
    start,
    lines,
    i,
    width,
):
    """The way back of `gather`."""
    for j in range(lines):
        target = _row(out, order, start + j, i, width)
        store(part(block, j * LANES, j * LANES + width), target, False)
