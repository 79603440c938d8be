"""Races the tiles of products on a GPU: what chooses the rows of ``fastmat/cuda/launch_*.py``.

    python benchmarks/gpu_tiles.py [--size 4096] [--family simt halves doubles] [--json FILE]

Each tile is put in the table alone, checked against PyTorch, then timed by CUDA events, in blocks
that alternate. Kernels are compiled in several processes first, into the cache.
"""

import argparse
import concurrent.futures
import json
import sys
from pathlib import Path

import fastmat as fm
from fastmat.comparisons.gpu.cases import Case

FAMILIES = {  # dtype, the table of launch_matmul or launch_tensor_core, candidates, precision
    "simt": (
        "float32",
        ("launch_matmul", 4),
        [
            (128, 128, 8, 8, 8, 4, 2),
            (128, 128, 8, 8, 8, 8, 2),
            (128, 128, 8, 8, 8, 4, 1),
            (128, 128, 16, 8, 8, 4, 1),
            (128, 128, 8, 8, 16, 8, 2),
            (128, 128, 8, 16, 8, 4, 2),
            (128, 128, 16, 8, 16, 8, 2),
            (128, 256, 8, 8, 16, 8, 1),
            (256, 128, 8, 16, 8, 4, 1),
            (128, 64, 8, 8, 8, 4, 3),
            (64, 64, 8, 8, 4, 4, 4),
            (64, 32, 16, 4, 4, 8, 4),
            (32, 32, 16, 4, 4, 8, 4),
        ],
        None,
    ),
    "halves": (
        "bfloat16",
        ("launch_tensor_core", "bfloat16"),
        [
            (128, 256, 32, 64, 64, 4),
            (256, 128, 32, 64, 64, 4),
            (256, 128, 32, 64, 64, 3, 16),
            (256, 128, 64, 64, 64, 3),
            (128, 128, 32, 64, 64, 4, 8, 2),
            (128, 128, 64, 64, 64, 3, 8, 2),
            (128, 64, 64, 64, 32, 4, 8, 2),
            (64, 64, 64, 32, 32, 4, 8, 2),
        ],
        None,
    ),
    "warpgroups": (
        "bfloat16",
        ("launch_tensor_core", "bfloat16"),
        [
            (128, 256, 64, 64, 256, 4),
            (128, 256, 64, 64, 256, 3),
            (128, 256, 64, 64, 256, 4, 16),
            (256, 128, 64, 64, 128, 4),
            (128, 128, 64, 64, 128, 6),
            (128, 128, 64, 64, 128, 3, 8, 2),
        ],
        None,
    ),
    "doubles": (
        "float64",
        ("launch_tensor_core", "float64"),
        [
            (128, 128, 16, 64, 32, 4),
            (128, 128, 16, 32, 64, 4),
            (128, 64, 16, 32, 32, 4),
            (64, 128, 16, 32, 32, 4),
            (64, 64, 16, 32, 32, 3, 8, 2),
        ],
        None,
    ),
    "singles": (
        "float32",
        ("launch_tensor_core", "float32"),
        [(128, 128, 32, 64, 32, 4), (128, 128, 16, 64, 32, 4), (64, 64, 32, 32, 32, 4, 8, 2)],
        "tf32",
    ),
}


def alone(family, candidate):
    """Put one tile in the table, and forget plans that were made with others."""
    import importlib

    from fastmat.cuda import matmul, tensor_core

    _, (module, row), _, _ = FAMILIES[family]
    launch = importlib.import_module(f"fastmat.cuda.{module}")
    choice = launch.Choice(launch.Tile(*candidate), 1.0)
    if family == "warpgroups":
        launch.WGMMA, launch.TILES[row] = (choice._replace(wgmma=True),), ()
    else:
        if family == "halves":
            launch.WGMMA = ()
        launch.TILES[row] = (choice,)
    matmul._plan.cache_clear()
    tensor_core._plan.cache_clear()


def prepared(family, candidate, size):
    """The operands and calls of one candidate."""
    from fastmat.comparisons.gpu.operations import work
    from fastmat.comparisons.gpu.work import Bench

    dtype, _, _, precision = FAMILIES[family]
    alone(family, candidate)
    options = (("precision", precision),) if precision else ()
    return work(Bench(), Case("tiles", "matmul", dtype, (size,) * 3, options))


def compiled(task):
    """Compile one candidate by running it once; what went wrong, if anything did."""
    try:
        prepared(*task).calls["fastmat"]()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    from fastmat.comparisons.gpu.run import missing

    reason = missing()
    if reason:
        sys.exit(reason)
    tasks = [(f, c, options.size) for f in options.family for c in FAMILIES[f][2]]
    import multiprocessing

    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.workers, spawn) as pool:
        failures = list(pool.map(compiled, [(f, c, 256) for f, c, _ in tasks]))

    from fastmat.comparisons.gpu.timing import Effort, medians

    figures = []
    for (family, candidate, size), failure in zip(tasks, failures, strict=True):
        label = f"{family:8} {'x'.join(map(str, candidate)):28}"
        if failure:
            print(label, failure[:120])
            continue
        its = prepared(family, candidate, size)
        its.calls["fastmat"]()
        error = its.error()
        import torch

        seconds = medians(its.calls, Effort(), torch)
        rate, theirs = (its.amount / seconds[name] / 1e12 for name in ("fastmat", "torch"))
        verdict = "" if error <= 1 else f"  WRONG by {error:.3g}"
        print(f"{label} {rate:7.1f} TFLOP/s, {rate / theirs:6.1%} of {theirs:.1f}{verdict}")
        figures.append(
            {"family": family, "tile": candidate, "size": size, "rate": rate,
             "peer": theirs, "error": error}
        )  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    print("fastmat", fm.__version__)
    main()
