"""Rows and their summary as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastmat.comparisons.record import Row, geometric_mean, groups, timed

Line = tuple[str, str]  # text and style

_HEADINGS = ("fastmat", "NumPy", "ratio", "rate", "of roof")
_WIDTHS = (9, 9, 9, 15, 8)
_TITLE = 43


def header(threads: int, torch: bool) -> list[Line]:
    """The head of the table for one number of threads."""
    each = "one thread each" if threads == 1 else f"all {threads} threads each"
    headings = (*_HEADINGS, "PyTorch") if torch else _HEADINGS
    widths = (*_WIDTHS, 9) if torch else _WIDTHS
    columns = "".join(f"{text:>{width}}" for text, width in zip(headings, widths, strict=True))
    title = f"{'':10} {each:<{_TITLE}}{columns}"
    return [("", ""), (title, "bold"), ("─" * len(title), "dim")]


def line(row: Row) -> Line:
    """One row of the table."""
    begin = f"{row.dtype:<10} {row.title:<{_TITLE}}"
    if row.status != "right":
        style = "bold red" if row.status == "wrong" else "dim"
        return f"{begin} {row.status.upper()}: {row.message}", style
    cells = [
        duration(row.seconds["fastmat"]),
        duration(row.seconds["numpy"]),
        f"{row.ratio:.2f} ×",
        f"{row.rate / 1e9:.1f} {'G' + row.unit}",
        f"{row.rate / row.roof:.0%}" if row.roof else "–",
    ]
    text = begin + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    if "torch" in row.seconds:
        text += f"{row.against('torch'):>7.2f} ×"
    return text, "red" if row.slower else "green"


def summary(rows: Sequence[Row]) -> Iterator[Line]:
    """What the table says in a few lines, losses first."""
    for threads in dict.fromkeys(row.threads for row in rows):
        here = [row for row in timed(rows) if row.threads == threads]
        losses = sorted((row for row in here if row.slower), key=lambda row: row.ratio)
        each = "one thread each" if threads == 1 else f"all {threads} threads each"
        yield "", ""
        yield (
            f"{each}: {len(here) - len(losses)} rows faster than NumPy, {len(losses)} slower",
            "bold",
        )
        for row in losses:
            yield f"  {row.ratio:5.2f} ×  slower: {row.dtype} {row.title}", "red"
        for group in groups(here):
            members = [row for row in here if row.group == group]
            worst = min(members, key=lambda row: row.ratio)
            mean = geometric_mean(members)
            yield (
                f"  {mean:5.2f} ×  geometric mean of {group} ({len(members)}); "
                f"least {worst.ratio:.2f} × ({worst.dtype} {worst.title})",
                "",
            )
    wrong = [row for row in rows if row.status == "wrong"]
    unavailable = [row for row in rows if row.status == "unavailable"]
    yield "", ""
    for row in unavailable:
        yield f"not run: {row.dtype} {row.title}: {row.message}", "dim"
    for row in wrong:
        yield f"WRONG: {row.dtype} {row.title}: {row.message}", "bold red"
    right = len(rows) - len(wrong) - len(unavailable)
    yield f"{right} results right, {len(wrong)} wrong", "bold red" if wrong else "bold"


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:#.3g}".rstrip(".") + f" {unit}"
    return f"{seconds / 1e-9:.0f} ns"
