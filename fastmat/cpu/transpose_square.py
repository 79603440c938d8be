"""Transpose of square matrices in place: tiles change places with their mirror images."""

from numba import types

from fastmat.core.compile import kernel, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.shuffle import LANE, LINE, copy_lane
from fastmat.cpu.strides import AXES, BITS, address, offset, plane
from fastmat.cpu.transpose import largest_tile, move_tile


@kernel(
    lambda dtype: (writes(dtype, AXES), *[types.intp] * 2),
    [str(dtype) for dtype in BITS.values()],
    from_python=True,
)
def transpose_in_place(
    a,  # inout (6 axes, n, n)
    parallel,  # this and what follows: blocking_transpose.Tuning
    rows,
):
    """a[...] = a with its last two axes exchanged."""
    if a.size == 0:
        return
    size, n = a.itemsize, a.shape[-1]
    step, unit = a.strides[-2:]
    if step == size:
        step, unit = unit, step
    side = largest_tile(a, n) if unit == size else 0
    edge = min(n, rows * (LINE // size))
    blocks = -(-n // edge)
    planes = max(edge * edge // (n * n), 1)
    total = a.size // (n * n)
    threads = num_threads() if a.size * size >= parallel else 1
    args = (a, (n, step, unit), (edge, blocks), (planes, total), side)
    parallel_for(_exchange, -(-total // planes) * blocks * blocks, threads, args)


@task
def _exchange(args, slot, index):
    """Exchange a block on or above the diagonal with its mirror image."""
    a, (n, step, unit), (edge, blocks), (planes, total), side = args
    block, group = index % (blocks * blocks), index // (blocks * blocks)
    i, j = block // blocks * edge, block % blocks * edge
    if j < i:
        return
    work = scratch(side * side, a.dtype)
    tile = plane(work, 0, (side, side), (side * a.itemsize, a.itemsize))
    shape, strides = (*a.shape[:-2], 1, 1), a.strides
    for number in range(group * planes, min(group * planes + planes, total)):
        square = plane(a, offset(number, shape, strides), (n, n), (step, unit))
        _exchange_tiles(square, i, min(i + edge, n), j, min(j + edge, n), tile)
    address(work)  # keeps it alive till here: planes do not


@inlined
def _exchange_tiles(
    a,  # inout (n, n), unit stride along its axis 1 if there are tiles
    i,
    i_end,
    j,
    j_end,
    tile,  # scratch (side, side)
):
    """Exchange what lies above the diagonal in a[i:i_end, j:j_end] with its mirror image."""
    n, side = len(a), len(tile)
    whole = n - n % side if side > 0 else 0
    for q in range(j, min(j_end, whole), max(side, 1)):
        for p in range(i, min(i_end, q + 1), side):
            move_tile((side, side), a, p, q, tile, 0, 0, False)
            if p < q:
                move_tile((side, side), a, q, p, a, p, q, False)
            for row in range(side):
                for k in range(0, side, LANE // a.itemsize):
                    copy_lane(tile, row, k, a, q + row, p + k, False)
    for p in range(i, i_end):
        for q in range(max(j, whole, p + 1), j_end):
            a[p, q], a[q, p] = a[q, p], a[p, q]
