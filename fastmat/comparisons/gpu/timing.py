"""Medians of CUDA events: blocks of calls alternate between the libraries."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Call = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """Rounds of one block per library; milliseconds of a block; calls of a block at most."""

    rounds: int = 7
    block: float = 8.0
    most: int = 50


def medians(calls: Mapping[str, Call], effort: Effort, torch: Any) -> dict[str, float]:
    """Seconds per call of each library: the median over its blocks.

    Each block begins when the GPU is idle, after one untimed call; a call that takes long is a
    block by itself.
    """
    counts = {}
    for name, call in calls.items():
        call()
        milliseconds = _block(call, 1, torch)
        counts[name] = max(1, min(effort.most, round(effort.block / max(milliseconds, 1e-3))))
    blocks: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(effort.rounds):
        for name, call in calls.items():
            blocks[name].append(_block(call, counts[name], torch))
    return {name: statistics.median(times) / 1e3 for name, times in blocks.items()}


def _block(call: Call, count: int, torch: Any) -> float:
    """Milliseconds per call on the device."""
    call()
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / count


def host_seconds(call: Call, torch: Any, count: int = 2000) -> float:
    """Seconds per call as the caller sees them, for calls whose work on the GPU is tiny."""
    for _ in range(100):
        call()
    best = []
    for _ in range(5):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        best.append((time.perf_counter() - begin) / count)
    return statistics.median(best)
