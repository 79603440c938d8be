"""Launches of Gram matrices with sums in double precision: which kernel, and pieces of rows."""

from __future__ import annotations

from typing import NamedTuple

from fastmat.cuda import driver, gram, gram_tensor
from fastmat.cuda.arrays import ITEMSIZE, View
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_tensor_core import DOUBLES

PLACES = 396  # blocks at the same time: 3 on each of 132 multiprocessors
LEAST_ROWS = 128  # of a piece
MOST_ROWS = 8192  # whose rounding errors add up, before `gram.add_up` takes care of them
_ROUNDED = 32  # rows that a kernel loads at once, at the most
_MOST_PIECES = 65535  # blocks along the second axis of a grid


class Pieces(NamedTuple):
    """How the sums of a Gram matrix are split: by its shape alone, so the same everywhere."""

    tiles: int  # on and below the diagonal
    pieces: int
    rows: int  # of each


def pieces_of(m: int, n: int) -> Pieces:
    """Pieces for which all blocks run at the same time, or in whole rounds of that."""
    side = -(-n // gram.TILE)
    tiles = side * (side + 1) // 2
    rounds = max(1, -(-tiles * -(-m // MOST_ROWS) // PLACES))
    rows = max(LEAST_ROWS, -(-m // max(1, rounds * PLACES // max(1, tiles))), -(-m // _MOST_PIECES))
    rows = -(-rows // _ROUNDED) * _ROUNDED
    return Pieces(tiles, max(1, -(-m // rows)), rows)


def on_tensor_cores(dtype: str, device: int) -> bool:
    """Whether products in double precision are on tensor cores."""
    return dtype in ("float32", "float64") and driver.current.capability(device) in DOUBLES


def tiles_for(x: View) -> Kernel:
    """The kernel for a matrix."""
    if not on_tensor_cores(x.dtype, x.device):
        return gram.tiles(x.dtype)
    (_, n), (row, column), size = x.shape, x.strides, ITEMSIZE[x.dtype]
    down = row == 1 != column
    run = 1
    if down or column == 1:
        between = column * size if down else (row | n) * size
        both = x.pointer | between | 16
        run = max(1, (both & -both) // size)
    down = down and run > 1
    instruction = DOUBLES[driver.current.capability(x.device)]
    return gram_tensor.tiles(x.dtype, instruction, run, down, n <= gram.TILE)
