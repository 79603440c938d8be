"""What moves numbers or draws them, and launches of next to nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import fastmat as fm
from fastmat.comparisons.gpu.cases import Case
from fastmat.comparisons.gpu.work import Bench, Work, bytes_of


def transpose(bench: Bench, case: Case, axes: tuple[int, ...] = (1, 0)) -> Work:
    torch = bench.torch
    x = bench.draw(case.shape, case.dtype)
    out = torch.empty([case.shape[i] for i in axes], dtype=x.dtype, device=bench.device)
    view = x.permute(axes)
    copy = torch.empty_like(out)
    calls: dict[str, Callable[[], Any]] = {
        "fastmat": lambda: fm.transpose(x, axes, out=out),
        "torch": lambda: copy.copy_(view),
    }
    y, z = bench.as_cupy(x), bench.as_cupy(copy)
    if y is not None:
        calls["cupy"] = lambda: bench.cupy.copyto(z, y.transpose(axes))
    return Work(calls, lambda: 0.0 if torch.equal(out, view) else math.inf, bytes_of(x, out))


def masked_fill(bench: Bench, case: Case) -> Work:
    torch = bench.torch
    x = bench.draw(case.shape, case.dtype)
    mask = torch.rand(case.shape, device=bench.device) < 0.5
    out = torch.empty_like(x)
    calls: dict[str, Callable[[], Any]] = {
        "fastmat": lambda: fm.masked_fill(x, mask, -1.0, out=out),
        "torch": lambda: x.masked_fill(mask, -1.0),
    }
    y, chosen = bench.as_cupy(x), bench.as_cupy(mask)
    if y is not None:
        calls["cupy"] = lambda: bench.cupy.where(chosen, bench.cupy.float32(-1), y)

    def error() -> float:
        return 0.0 if torch.equal(out, x.masked_fill(mask, -1.0)) else math.inf

    return Work(calls, error, bytes_of(x, mask, out))


def take_submatrix(bench: Bench, case: Case) -> Work:
    torch = bench.torch
    m, n = case.shape
    x = bench.draw(case.shape, case.dtype)
    rows, cols = (torch.randperm(s, device=bench.device)[: s // 2].sort()[0] for s in (m, n))
    out = torch.empty((len(rows), len(cols)), dtype=x.dtype, device=bench.device)

    def theirs() -> Any:
        return x[rows[:, None], cols]

    calls = {"fastmat": lambda: fm.take_submatrix(x, rows, cols, out=out), "torch": theirs}
    # Every other number of a row shares its cache line with one that is taken.
    moved = bytes_of(out) * 3
    return Work(calls, lambda: 0.0 if torch.equal(out, theirs()) else math.inf, moved)


def draws(bench: Bench, case: Case) -> Work:
    torch = bench.torch
    (size,) = case.shape
    out = torch.empty(size, dtype=bench.dtype(case.dtype), device=bench.device)
    function = getattr(fm.random, case.op.partition(".")[2])
    mean, deviation = (0.0, 1.0) if "normal" in case.op else (0.5, math.sqrt(1 / 12))
    other = torch.empty_like(out)
    theirs = other.normal_ if "normal" in case.op else other.uniform_

    def error() -> float:
        off = abs(out.double().mean().item() - mean) / deviation * math.sqrt(size)
        spread = abs(out.double().std().item() / deviation - 1) * math.sqrt(size)
        return max(off, spread) / 5  # five standard deviations

    calls = {"fastmat": lambda: function(rng=7, out=out), "torch": theirs}
    return Work(calls, error, bytes_of(out))


def launch(bench: Bench, case: Case) -> Work:
    """One call on small arrays of CuPy: what the host needs for it."""
    cupy = bench.cupy
    if cupy is None:
        raise ImportError("CuPy is not installed")
    if case.op == "matmul":
        m, k, n = case.shape
        a, b = (bench.as_cupy(bench.draw(s, case.dtype)) for s in ((m, k), (k, n)))
        calls = {"fastmat": lambda: fm.matmul(a, b), "cupy": lambda: cupy.matmul(a, b)}
        expected = cupy.matmul(a.astype("f8"), b.astype("f8"))
    else:
        x = bench.as_cupy(bench.draw(case.shape, case.dtype))
        ours = getattr(fm, case.op)

        def softmax() -> Any:
            y = cupy.exp(x - x.max(-1, keepdims=True))
            y /= y.sum(-1, keepdims=True)
            return y

        theirs = softmax if case.op == "softmax" else lambda: cupy.ascontiguousarray(x.T)
        calls = {"fastmat": lambda: ours(x), "cupy": theirs}
        expected = theirs().astype("f8")

    def error() -> float:
        result = calls["fastmat"]()
        return float(cupy.abs(result - expected).max()) / 1e-5

    return Work(calls, error, 1.0, "launch/s", "")
