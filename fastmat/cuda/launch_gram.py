"""Launches of Gram matrices with sums in double precision: which kernel, and pieces of rows."""

from __future__ import annotations

from typing import NamedTuple

from fastmat.cuda import driver, gram, gram_tensor
from fastmat.cuda.arrays import ITEMSIZE, View
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_tensor_core import DOUBLES

MULTIPROCESSORS = 132  # that pieces are made for
PLACES = 4  # blocks on each at the same time
LEAST_ROWS = 128  # of a piece; twice that where there are several tiles
MOST_ROWS = 8192  # whose rounding errors add up, before `gram.add_up` takes care of them
_ROUNDED = 32
_MOST_PIECES = 65535  # blocks along the second axis of a grid


class Pieces(NamedTuple):
    """How the sums of a Gram matrix are split: by its shape alone, so the same everywhere."""

    side: int  # tiles
    pieces: int
    rows: int  # of each

    @property
    def tiles(self) -> int:
        """On and below the diagonal."""
        return self.side * (self.side + 1) // 2


def pieces_of(m: int, n: int) -> Pieces:
    """Pieces of which each multiprocessor has as many as the others, of each tile."""
    side = max(1, -(-n // gram.TILE))
    each = MULTIPROCESSORS * max(1, PLACES // side, -(-m // (MULTIPROCESSORS * MOST_ROWS)))
    if side > PLACES:  # so many tiles that a few pieces are enough
        tiles = side * (side + 1) // 2
        each = max(1, MULTIPROCESSORS * PLACES // tiles, -(-m // MOST_ROWS))
    rows = max(LEAST_ROWS * min(side, 2), -(-m // each), -(-m // _MOST_PIECES))
    rows = -(-rows // _ROUNDED) * _ROUNDED
    return Pieces(side, max(1, -(-m // rows)), rows)


def on_tensor_cores(dtype: str, device: int) -> bool:
    """Whether products in double precision are on tensor cores."""
    return dtype in ("float32", "float64") and driver.current.capability(device) in DOUBLES


def launches(x: View, pieces: Pieces) -> list[tuple[Kernel, int]]:
    """The kernels for a matrix, and how many tiles each has: all of them together."""
    if not on_tensor_cores(x.dtype, x.device):
        return [(gram.tiles(x.dtype), pieces.tiles)]
    (_, n), (row, column), size = x.shape, x.strides, ITEMSIZE[x.dtype]
    down = row == 1 != column
    run = 1
    if down or column == 1:
        between = column * size if down else (row | n) * size
        both = x.pointer | between | 16
        run = max(1, (both & -both) // size)
    down = down and run > 1
    instruction = DOUBLES[driver.current.capability(x.device)]
    found = [(gram_tensor.tiles(x.dtype, instruction, run, down, True), pieces.side)]
    if pieces.side > 1:
        below = gram_tensor.tiles(x.dtype, instruction, run, down, False)
        found.append((below, pieces.tiles - pieces.side))
    return found
