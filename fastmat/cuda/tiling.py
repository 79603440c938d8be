"""How products are cut into tiles, and these into the sums of threads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from fastmat.cuda.finishing import Finish

_int64 = np.int64


class Tile(NamedTuple):
    """What a block computes and how its threads share it out.

    A block computes `rows` x `cols` sums, `depth` products of each at a time; each thread
    `thread_rows` x `thread_cols` of them, in runs that `lane_rows` x (32 / `lane_rows`) lanes of
    a warp take in turn.
    """

    rows: int
    cols: int
    depth: int
    thread_rows: int
    thread_cols: int
    lane_rows: int = 4
    blocks: int = 1  # that a multiprocessor has to hold
    stages: int = 0  # of copies to shared memory on their way; 0: by way of registers

    @property
    def threads(self) -> int:
        return self.rows * self.cols // (self.thread_rows * self.thread_cols)


class Layout(NamedTuple):
    """How an operand lies in memory.

    Parameters
    ----------
    along_k
        Whether what is summed over is side by side, or closer than the rest.
    vector
        Whether what is side by side is read in runs: then its step is 1, the other steps are
        multiples of a run, and so is the length, unless it is that of k.
    """

    along_k: bool
    vector: bool


class Variant(NamedTuple):
    """What code depends on, beside dtypes, semiring and tile."""

    a: Layout
    b: Layout
    c_vector: bool  # rows of the result are written in runs
    axes: int = 0  # of the stack: 0, 1 or 3
    split: bool = False  # sums over parts of k go to scratch memory
    swapped: bool = False  # operands are given in the other order, and transposed
    finish: Finish = Finish()


def run_of(held: Any) -> int:
    """How many numbers lie in 16 bytes of shared memory."""
    return max(1, 128 // held.bitwidth)


@cuda.jit(device=True, forceinline=True)
def _only_item(item, n_1, n_2):
    return _int64(0), _int64(0), _int64(0)


@cuda.jit(device=True, forceinline=True)
def _of_one_axis(item, n_1, n_2):
    return _int64(0), _int64(0), _int64(item)


@cuda.jit(device=True, forceinline=True)
def _of_three_axes(item, n_1, n_2):
    rest = item // n_2
    return _int64(rest // n_1), _int64(rest % n_1), _int64(item % n_2)


ITEMS = {0: _only_item, 1: _of_one_axis, 3: _of_three_axes}
