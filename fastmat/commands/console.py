"""Lines and a progress bar on the terminal: with rich where it is installed, plain otherwise."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[str], None]


def _rich() -> bool:
    try:
        import rich.progress  # noqa: F401
    except ImportError:
        return False
    return True


class Console:
    """Print lines, and keep a progress bar below them."""

    def __init__(self) -> None:
        self._console = None
        if _rich():
            from rich.console import Console as RichConsole

            self._console = RichConsole(highlight=False, soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line. Styles are shown on a terminal that has rich."""
        if self._console is not None:
            self._console.print(text, style=style or None, markup=False)
        else:
            print(text, flush=True)

    @contextlib.contextmanager
    def progress(self, total: int) -> Iterator[Advance]:
        """Show a bar with the time left; yields a function to call with what comes next.

        The first call starts the first of `total` steps, each further call ends a step.
        """
        if self._console is None or not self._console.is_terminal:
            yield _plain_bar(total)
            return
        from rich import progress

        columns = (
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left:"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.description}", markup=False),
        )
        with progress.Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=total)
            started = False

            def advance(what: str) -> None:
                nonlocal started
                bar.update(task, description=what, advance=1 if started else 0)
                started = True

            yield advance


def _plain_bar(total: int) -> Advance:
    """One line on stderr, rewritten in place, with the time left by the mean of the steps."""
    begin = time.monotonic()
    done = -1
    terminal = sys.stderr.isatty()

    def advance(what: str) -> None:
        nonlocal done
        done += 1
        if not terminal:
            return
        left = ""
        if 0 < done < total:
            seconds = (time.monotonic() - begin) / done * (total - done)
            left = f"about {seconds:.0f} s left"
        text = f"[{done}/{total}] {left} {what}" if done < total else ""
        print(f"\r\x1b[K{text[:78]}", end="", file=sys.stderr, flush=True)

    return advance
