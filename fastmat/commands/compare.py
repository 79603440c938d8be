"""``fastmat compare``: every kernel against NumPy, first for its result, then for its time."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np

from fastmat.commands import info
from fastmat.commands.console import Console
from fastmat.comparisons import checks, inputs, libraries, record, report, timing
from fastmat.comparisons.cases import Case, operations, select
from fastmat.comparisons.record import Row
from fastmat.comparisons.roofs import Roofs, work


def run(
    quick: bool,
    ops: Sequence[str] | None,
    threads: str,
    json_file: Path | None,
    plot_file: Path | None,
) -> int:
    """Compare, print, write; 1 if a result was wrong."""
    console = Console()
    unknown = sorted(set(ops or ()) - set(operations()))
    if unknown:
        console.line(f"--ops {unknown[0]}: not one of {', '.join(operations())}", "red")
        return 2
    if plot_file is not None and importlib.util.find_spec("matplotlib") is None:
        console.line('--plot needs matplotlib: pip install "fastmat-kernels[bench]"', "red")
        return 2
    cases = select(quick, ops)
    machine = info.machine()
    console.line(f"fastmat {machine['fastmat']} against NumPy {np.__version__}", "bold")
    console.line(f"{machine['cpu']}, {machine['simd']}, {machine['threads']}")
    machine["load"] = f"{_load():.2f} processes when the run began"
    if _load() > 0.5:
        console.line(
            f"Other processes are busy here (load {_load():.1f}): figures will be off.", "red"
        )

    settings = _thread_settings(threads, console)
    effort = timing.QUICK if quick else timing.Effort()
    torch = importlib.util.find_spec("torch") is not None
    rows: list[Row] = []
    figures: dict[str, float] = {}
    with console.progress(len(settings) * len(cases)) as advance:
        for count in settings:
            with timing.one_thread() if count == 1 else contextlib.nullcontext():
                roofs = Roofs(count)
                for text, style in report.header(count, torch):
                    console.line(text, style)
                group = ""
                for case in cases:
                    advance(f"{case.dtype} {case.title}")
                    if case.group != group:
                        group = case.group
                        console.line(group, "bold")
                    rows.append(_measure(case, count, effort, roofs))
                    console.line(*report.line(rows[-1]))
                figures |= {f"{name}, {count} threads": v for name, v in roofs.figures.items()}
        advance("")

    for text, style in report.summary(rows):
        console.line(text, style)
    result = record.Run(machine, figures, rows)
    if json_file is not None:
        record.write(json_file, result)
    if plot_file is not None:
        from fastmat.comparisons import plot

        plot.draw(result, plot_file)
    return 1 if any(row.status == "wrong" for row in rows) else 0


def _load() -> float:
    """Processes that wanted to run in the last minute, on average."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _thread_settings(threads: str, console: Console) -> list[int]:
    """The numbers of threads to time with."""
    every = numba.get_num_threads()
    if threads == "all" or every == 1:
        return [every]
    if importlib.util.find_spec("threadpoolctl") is None:
        needs = 'one thread each needs threadpoolctl: pip install "fastmat-kernels[bench]"'
        console.line(needs, "dim")
        return [every]
    return [1] if threads == "one" else [every, 1]


def _measure(case: Case, threads: int, effort: timing.Effort, roofs: Roofs) -> Row:
    """Check one case and, if its result is right, time it."""
    row = Row(case.group, case.title, case.op, case.dtype, threads, status="right")
    try:
        arrays = inputs.operands(case)
    except inputs.Unavailable as reason:
        return replace(row, status="unavailable", message=str(reason))

    expected, result = libraries.output(case, arrays), libraries.output(case, arrays)
    calls = {
        "fastmat": libraries.fastmat_call(case, arrays, result),
        "numpy": libraries.numpy_call(case, arrays, expected),
    }
    calls["numpy"]()
    checks.poison(result)
    try:
        calls["fastmat"]()
    except Exception as exception:  # whatever it is, the other cases are still to be compared
        message = f"{type(exception).__name__}: {exception}".splitlines()[0]
        return replace(row, status="wrong", message=message)
    error = checks.error(case, arrays, result, expected)
    if error > 1:
        message = f"error {error:.3g} times what rounding permits"
        return replace(row, status="wrong", message=message, error=error)

    torch = libraries.torch_call(case, arrays, np.empty_like(expected))
    if torch is not None:
        torch()
        calls["torch"] = torch
    seconds = timing.medians(calls, effort)
    amount, unit = work(case, arrays, result)
    rate = amount / seconds["fastmat"]
    return replace(row, error=error, seconds=seconds, rate=rate, unit=unit, roof=roofs.of(case))
