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
    """How long to measure: rounds of one block per library, seconds per block and pause.

    Calls that take longer than `slow` seconds get `slow_rounds`.
    """

    rounds: int = 5
    block: float = 0.05
    pause: float = 0.15
    slow: float = 0.25
    slow_rounds: int = 3


QUICK = Effort(rounds=3, block=0.03)


def medians(calls: Mapping[str, Call], effort: Effort) -> dict[str, float]:
    """Seconds per call of each library: the median over its blocks.

    Every call must have run once, so that nothing is compiled here.
    """
    counts: dict[str, int] = {}
    blocks: dict[str, list[float]] = {name: [] for name in calls}
    rounds = effort.rounds
    done = 0
    while done < rounds:
        done += 1
        for name, call in calls.items():
            time.sleep(effort.pause)
            call()
            if name not in counts:
                seconds = _estimate(call, effort)
                counts[name] = max(1, round(effort.block / seconds))
                if seconds > effort.slow:
                    rounds = effort.slow_rounds
            blocks[name].append(_block(call, counts[name]))
    return {name: statistics.median(times) for name, times in blocks.items()}


def _estimate(call: Call, effort: Effort) -> float:
    """Seconds per call, roughly."""
    count, seconds = 1, _block(call, 1)
    while seconds * count < effort.block / 4:  # too short to be timed well
        count *= 4
        seconds = _block(call, count)
    return seconds


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
