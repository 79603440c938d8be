"""Two libraries timed in one process, so that neither is disturbed by the other's threads.

OpenBLAS's idle threads spin for tens of milliseconds after a call and take a core from whatever
runs next: libraries that alternate call by call look up to twice as slow as they are. So each
library gets a block of calls, after a pause and one untimed call, and the blocks alternate.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numba

Call = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of one block per library, seconds per block and pause."""

    rounds: int = 7
    block: float = 0.06
    pause: float = 0.15


QUICK = Effort(rounds=3, block=0.03)


def medians(calls: Mapping[str, Call], effort: Effort) -> dict[str, float]:
    """Seconds per call of each library: the median over its blocks.

    Every call must have run once, so that nothing is compiled here.
    """
    counts = {name: _calls_per_block(call, effort) for name, call in calls.items()}
    blocks: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(effort.rounds):
        for name, call in calls.items():
            time.sleep(effort.pause)
            call()
            blocks[name].append(_block(call, counts[name]))
    return {name: statistics.median(times) for name, times in blocks.items()}


def _calls_per_block(call: Call, effort: Effort) -> int:
    time.sleep(effort.pause)
    call()
    seconds, count = _block(call, 1), 1
    while seconds * count < effort.block / 4:  # one short call is timed badly: grow the block
        count *= 4
        seconds = _block(call, count)
    return max(1, round(effort.block / seconds))


def _block(call: Call, count: int) -> float:
    """Seconds per call."""
    repeat = itertools.repeat(None, count)
    begin = time.perf_counter()
    for _ in repeat:
        call()
    return (time.perf_counter() - begin) / count


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for fastmat, for NumPy's BLAS and for PyTorch."""
    from threadpoolctl import threadpool_limits

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        numba.set_num_threads(before)
