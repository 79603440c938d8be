"""Panels of operands on their way from global to shared memory.

A panel is `length` lines of an operand (rows of the left one, columns of the right one) by `depth`
numbers to sum over. In shared memory the lines lie side by side, whatever the layout of the
operand: number `k` of line `i` is at ``k * pitch(length) + i``.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.intrinsics_tensor import copy_async

_int32, _int64, _uint32 = np.int32, np.int64, np.uint32


def pitch(length: int) -> int:
    """Items from one k to the next: no bank conflicts where runs along k are scattered."""
    return length + 4


class Panel(NamedTuple):
    """How the threads of a block share out a panel.

    Parameters
    ----------
    length, depth
        Lines, and numbers of each.
    threads
        Of the block.
    along_k
        Whether the numbers of a line lie side by side in global memory, and not the lines.
    run
        How many numbers are read by one access.
    sector
        How many runs along k are read side by side.
    """

    length: int
    depth: int
    threads: int
    along_k: bool
    run: int
    sector: int

    @property
    def runs(self) -> int:
        """Of each thread."""
        return -(-self.length * self.depth // (self.run * self.threads))


class PanelFunctions(NamedTuple):
    """Device functions that move a panel."""

    locate: object
    fetch: object
    copy: object  # by the copying engine of compute capability 8.0; nothing is converted
    fetch_end: object
    put: object


@functools.cache
def panel_functions(panel: Panel, convert: Any, itemsize: int) -> PanelFunctions:
    """Device functions for numbers that `convert` makes of what lies in global memory."""
    length, depth, threads, along_k, run, sector = panel
    runs, step = panel.runs, pitch(length)
    start = copy_async(max(4, run * itemsize))
    lines = length // run
    all_runs = length * depth // run
    spare = all_runs % threads != 0  # threads that have no run in the last round

    @cuda.jit(device=True, forceinline=True)
    def line_of(thread, i):
        at = thread + _int32(i * threads)
        if along_k:
            return at // _int32(sector) % _int32(length)
        return at % _int32(lines) * _int32(run)

    @cuda.jit(device=True, forceinline=True)
    def k_of(thread, i):
        at = thread + _int32(i * threads)
        if along_k:
            first = at // _int32(sector * length) * _int32(sector * run)
            return first + at % _int32(sector) * _int32(run)
        return at // _int32(lines)

    @cuda.jit(device=True, forceinline=True)
    def locate(offsets, thread, first, count, line_step, k_step):
        """Offsets of the runs of a thread; lines past the end are those at the end."""
        last = count - _int32(1 if along_k else run)
        for i in range(runs):
            if spare and thread + _int32(i * threads) >= _int32(all_runs):
                break
            line = min(first + _int32(line_of(thread, i)), last)
            offsets[i] = _int64(line) * line_step + _int64(k_of(thread, i)) * k_step

    @cuda.jit(device=True, forceinline=True)
    def fetch(staged, source, offsets, thread, shift):
        for i in range(runs):
            if spare and thread + _int32(i * threads) >= _int32(all_runs):
                break
            load_run(staged, i * run, source, offsets[i] + shift, run)

    @cuda.jit(device=True, forceinline=True)
    def fetch_end(staged, source, offsets, thread, shift, rest, line_step, k_step):
        """Read what is left of the lines, `rest` numbers; what is past the end is the last one."""
        for i in range(runs):
            if spare and thread + _int32(i * threads) >= _int32(all_runs):
                break
            k = _int32(k_of(thread, i))
            for j in range(run):
                over = max(
                    k + (_int32(j) if along_k else _int32(0)) - (rest - _int32(1)), _int32(0)
                )
                ahead = _int64(j) * (k_step if along_k else line_step)
                at = offsets[i] + shift + ahead - _int64(over) * k_step
                load_run(staged, i * run + j, source, at, 1)

    @cuda.jit(device=True, forceinline=True)
    def put(shared, base, thread, staged, wide):
        """Write the runs of a thread to shared memory."""
        for i in range(runs):
            if spare and thread + _int32(i * threads) >= _int32(all_runs):
                break
            at = base + _int32(k_of(thread, i)) * _int32(step) + _int32(line_of(thread, i))
            for j in range(run):
                wide[j] = convert(staged[i * run + j])
            if along_k:
                for j in range(run):
                    store_run(shared, at + _int32(j * step), wide, j, 1)
            else:
                store_run(shared, at, wide, 0, run)

    @cuda.jit(device=True, forceinline=True)
    def copy(to, base, thread, source, offsets, shift):
        for i in range(runs):
            if spare and thread + _int32(i * threads) >= _int32(all_runs):
                break
            at = base + _int32(k_of(thread, i)) * _int32(step) + _int32(line_of(thread, i))
            start(to + _uint32(at * _int32(itemsize)), source, offsets[i] + shift)

    return PanelFunctions(locate, fetch, copy, fetch_end, put)
