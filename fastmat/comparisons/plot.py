"""A chart of ratios: one bar per row, on a logarithmic axis around 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastmat.comparisons.record import Row, Run, groups, timed

_WIN, _LOSS, _INK, _FAINT = "#2a6f97", "#c8553d", "#222222", "#8a8a8a"
_ROW_INCHES = 0.19


def draw(run: Run, path: Path) -> None:
    """Draw the ratios with the most threads as bars, those with one thread as dots."""
    from matplotlib.figure import Figure

    rows = timed(run.rows)
    most = max((row.threads for row in rows), default=1)
    single = {(row.group, row.dtype, row.title): row for row in rows if row.threads == 1 < most}
    bars = [row for row in rows if row.threads == most]
    headings = groups(bars)
    lines = len(bars) + 2 * len(headings)

    height = max(2.0, _ROW_INCHES * lines + 0.9)
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.add_subplot()
    across = axes.get_yaxis_transform()  # x in parts of the axes, y in data
    labels: list[tuple[float, str]] = []
    y = 0.0
    for heading in headings:
        y -= 0.5
        style = {"va": "center", "fontweight": "bold", "fontsize": 8, "color": _INK}
        axes.text(-0.01, y, heading, transform=across, ha="right", **style)
        for row in (row for row in bars if row.group == heading):
            y -= 1
            labels.append((y, f"{row.title}  {row.dtype}"))
            axes.barh(y, row.ratio - 1, left=1, height=0.7, color=_colour(row))
            _number(axes, 1.05, y, row)
            if twin := single.get((row.group, row.dtype, row.title)):
                style = {"markerfacecolor": "white", "markeredgecolor": _colour(twin)}
                axes.plot(twin.ratio, y, "o", markersize=3.5, markeredgewidth=0.9, **style)
                _number(axes, 1.15, y, twin)
        y -= 0.8

    _scale(axes, rows)
    axes.axvline(1, color=_INK, linewidth=1)
    axes.set_ylim(y, 0.4)
    axes.set_yticks([at for at, _ in labels], [text for _, text in labels], fontsize=7, color=_INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8, labeltop=True, top=True, colors=_INK)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    for x, text in ((1.05, f"{most} threads"), (1.15, "1 thread" if single else "")):
        axes.text(x, 1, text, transform=axes.transAxes, ha="right", fontsize=7, color=_FAINT)

    version = run.machine["fastmat"].split()[0]
    title = f"fastmat {version}: how many times as fast as NumPy {run.machine['numpy']}"
    dots = ", dots: one thread each" if single else ""
    machine = f"{run.machine['cpu']}, {run.machine['simd']}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    subtitle = f"bars: {most} threads each{dots}   {machine}"
    figure.supxlabel(subtitle, x=0.01, ha="left", fontsize=8, color=_FAINT)
    figure.savefig(path, dpi=150, facecolor="white")


def _colour(row: Row) -> str:
    return _LOSS if row.slower else _WIN


def _number(axes: Any, x: float, y: float, row: Row) -> None:
    """The ratio in a column beside the chart."""
    text = f"{row.ratio:.2f}" if row.ratio < 10 else f"{row.ratio:.0f}"
    style = {"ha": "right", "va": "center", "fontsize": 7, "color": _colour(row)}
    axes.text(x, y, text, transform=axes.get_yaxis_transform(), **style)


def _scale(axes: Any, rows: list[Row]) -> None:
    """Ticks at 1, 2, 5 and their decades, as plain numbers."""
    ratios = [row.ratio for row in rows] or [1.0]
    low, high = min(0.7, *ratios) / 1.25, max(2.0, *ratios) * 1.35
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.minorticks_off()
