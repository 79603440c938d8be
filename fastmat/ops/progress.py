"""A progress bar on standard error."""

from __future__ import annotations

import sys
import time
from typing import Any

WIDTH = 30  # characters of the bar
EVERY = 0.1  # seconds between two drawings


class Progress:
    """One line, rewritten in place: nothing where standard error is no terminal, unless forced."""

    def __init__(self, shown: bool | str, what: str, total: int | None = None) -> None:
        self._shown = shown == "force" or (bool(shown) and sys.stderr.isatty())
        self._what, self._total = what, total
        self._begin, self._next, self._done = time.monotonic(), 0.0, 0

    def __enter__(self) -> Progress:
        return self

    def advance(self, count: int) -> None:
        """So many rows more are done."""
        self._done += count
        now = time.monotonic()
        if self._shown and now >= self._next:
            self._next = now + EVERY
            self._print(now - self._begin)

    def _print(self, seconds: float) -> None:
        if not self._total:
            text = f"{self._what}: {self._done} rows, {seconds:.0f} s"
        else:
            share = min(1.0, self._done / self._total)
            left = seconds / max(share, 1e-9) * (1 - share)
            bar = ("#" * round(WIDTH * share)).ljust(WIDTH, ".")
            text = f"{self._what}: [{bar}] {share:4.0%} of {self._total} rows, {left:.0f} s left"
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def checked(progress: Any) -> bool | str:
    """The argument `progress`."""
    if progress in (True, False) or (isinstance(progress, str) and progress == "force"):
        return progress if isinstance(progress, str) else bool(progress)
    raise ValueError(f"progress is {progress!r}; it must be True, False or 'force'")
