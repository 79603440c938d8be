"""The ``fastmat`` command: info, warmup, compare."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import fastmat


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="fastmat", description=fastmat.__doc__)
    main.add_argument("--version", action="version", version=f"fastmat {fastmat.__version__}")
    commands = main.add_subparsers(dest="command", required=True, metavar="command")

    commands.add_parser("info", help="versions, CPU, threads, cache and GPU of this machine")

    warmup = commands.add_parser(
        "warmup", help="compile the kernels into the on-disk cache, so that no first call waits"
    )
    warmup.add_argument(
        "--ops", nargs="+", metavar="OP", help="only these kernel modules (default: all)"
    )
    warmup.add_argument(
        "--dtypes", nargs="+", metavar="DTYPE", help="only these dtypes (default: all)"
    )

    compare = commands.add_parser(
        "compare",
        help="check every kernel against NumPy, then time both",
        description="Check every kernel against NumPy, then time both in alternating blocks. "
        "The exit status is 1 if any result is wrong.",
    )
    compare.add_argument("--quick", action="store_true", help="a few small cases, about a minute")
    compare.add_argument(
        "--ops", nargs="+", metavar="OP", help="only these operations (default: all)"
    )
    compare.add_argument(
        "--threads",
        choices=["all", "one", "both"],
        help="time with all threads (default with --quick), with one thread for each library, "
        "or both (default)",
    )
    compare.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="cuda: the kernels for GPUs against PyTorch and CuPy, on the current device",
    )
    compare.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    compare.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios here (.png)")
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    if options.command == "info":
        from fastmat.commands import info

        return info.run()
    if options.command == "warmup":
        from fastmat.commands import warmup

        return warmup.run(options.ops, options.dtypes)
    if options.device == "cuda":
        from fastmat.comparisons.gpu import run

        return run.run(options.quick, options.ops, options.json)
    from fastmat.commands import compare

    return compare.run(
        quick=options.quick,
        ops=options.ops,
        threads=options.threads or ("all" if options.quick else "both"),
        json_file=options.json,
        plot_file=options.plot,
    )
