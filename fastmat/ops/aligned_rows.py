"""Rows that come in pieces of any sizes, as blocks that do not depend on the pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array
from fastmat.core.dtypes import DType, unsupported
from fastmat.ops.draws import FLOATING

BLOCK = 2**22  # bytes of a block, about: reading takes longer than the calls for it
LEAST, MOST = 16, 2**15  # rows of a block

Block = tuple[int, Array]  # the number of its first row, and its rows


def height_of(columns: int, dtype: DType) -> int:
    """Rows of a block: a power of 2."""
    rows = BLOCK // max(1, columns * dtype.itemsize)
    return 1 << (min(max(rows, LEAST), MOST).bit_length() - 1)


def computed_dtype(dtype: DType, name: str) -> DType:
    """What rows of this dtype are converted to."""
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    if dtype.name in ("float16", "bfloat16"):
        return np.dtype(np.float32)
    if dtype.name not in FLOATING:
        raise unsupported(name, dtype)
    return dtype.newbyteorder("=")


def piece_of(rows: Any, columns: int | None, dtype: DType | None, name: str) -> Array:
    """Rows as an array, checked; None stands for what is not known yet."""
    piece = as_array(rows, name)
    if piece.ndim != 2:
        raise ValueError(f"{name} has shape {piece.shape}; rows must have 2 dimensions")
    if columns is not None and piece.shape[1] != columns:
        raise ValueError(f"{name} has {piece.shape[1]} columns; it must have {columns}")
    found = computed_dtype(piece.dtype, name)
    if dtype is not None and not np.can_cast(found, dtype, "same_kind"):
        raise TypeError(f"{name} has dtype {piece.dtype}; it must be such as {dtype} can hold")
    return piece


class AlignedRows:
    """Puts pieces together to blocks.

    Each begins at a row whose number is a multiple of `height`, but for the first one, and is
    contiguous: what is computed of it does not depend on the pieces.
    """

    def __init__(
        self, columns: int, dtype: DType, height: int, first: int = 0, reuse: bool = True
    ) -> None:
        self.columns, self.dtype, self.height, self.reuse = columns, dtype, height, reuse
        self.row = first  # the number of the next row
        self.filled = 0  # rows that wait for more
        self.buffer: Array | None = None

    @property
    def room(self) -> int:
        """How many rows more complete a block."""
        return self.height - self.row % self.height

    def add(self, piece: Array) -> Iterator[Block]:
        """The blocks that these rows complete; one may be overwritten when the next is asked for.

        Without `reuse` it is not, nor are rows that waited before.
        """
        done = 0
        while done < len(piece):
            room = self.room
            part = piece[done : done + room]
            done, self.row = done + len(part), self.row + len(part)
            if self.filled == 0 and len(part) == room and self._as_it_is(part):
                yield self.row - room, part
                continue
            if self.buffer is None:
                self.buffer = np.empty((self.height, self.columns), self.dtype)
            stop = self.filled + len(part)
            with np.errstate(over="ignore"):
                np.copyto(self.buffer[self.filled : stop], part, casting="same_kind")
            self.filled = stop
            if len(part) == room:
                block, self.filled = self.buffer[:stop], 0
                if not self.reuse:
                    self.buffer = None
                yield self.row - stop, block

    def rest(self) -> Block | None:
        """The rows that wait for more."""
        if self.buffer is None or self.filled == 0:
            return None
        return self.row - self.filled, self.buffer[: self.filled]

    def _as_it_is(self, part: Array) -> bool:
        size = self.dtype.itemsize
        return (
            part.dtype == self.dtype
            and part.flags.aligned
            and part.strides == (self.columns * size, size)
        )
