"""Softmax, normalization and masked reductions of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import fastmat as fm
from fastmat.comparisons.gpu.cases import Case
from fastmat.comparisons.gpu.work import EPS, Bench, Work, bytes_of, ratio

_SOME = slice(-512, None)  # the rows that are checked: float64 takes long on some cards


def softmax(bench: Bench, case: Case, axis: int = -1, masked: bool = False) -> Work:
    """Softmax, or its logarithm."""
    torch = bench.torch
    x = bench.draw(case.shape, case.dtype)
    out, other = torch.empty_like(x), torch.empty_like(x)
    ours, theirs = getattr(fm, case.op), getattr(torch, case.op)
    mask = torch.rand(case.shape, device=bench.device) < 0.5 if masked else None
    some = (_SOME,) if axis == -1 else (slice(None), slice(-64, None))

    def error() -> float:
        wide = x[some].double()
        if mask is not None:
            wide = wide.masked_fill(~mask[some], -math.inf)
        expected = theirs(wide, axis)
        unit = EPS[case.dtype]
        reach = 8 + x.abs().max().item() * 4  # exp multiplies the error of its argument
        scale = expected.abs() + (1 if case.op == "log_softmax" else 1e-9)
        return ratio(out[some], expected, reach * unit * scale)

    calls: dict[str, Callable[[], Any]] = {
        "fastmat": lambda: ours(x, axis, mask=mask, out=out),
        "torch": lambda: theirs(x, axis, out=other),
    }
    if mask is not None:
        hidden = ~mask
        calls["torch"] = lambda: theirs(x.masked_fill(hidden, -math.inf), axis, out=other)
    y = bench.as_cupy(x)
    if y is not None and mask is None and case.op == "softmax":
        cupy = bench.cupy

        def composed() -> Any:
            e = cupy.exp(y - y.max(axis, keepdims=True))
            e /= e.sum(axis, keepdims=True)
            return e

        calls["cupy"] = composed
    return Work(calls, error, bytes_of(x, out, *(() if mask is None else (mask,))))


def logsumexp(bench: Bench, case: Case) -> Work:
    """One number of each row."""
    torch = bench.torch
    x = bench.draw(case.shape, case.dtype)
    out = torch.empty(case.shape[:-1], dtype=x.dtype, device=bench.device)

    def error() -> float:
        expected = torch.logsumexp(x[_SOME].double(), -1)
        return ratio(out[_SOME], expected, 16 * EPS[case.dtype] * (1 + expected.abs()))

    calls = {
        "fastmat": lambda: fm.logsumexp(x, -1, out=out),
        "torch": lambda: torch.logsumexp(x, -1),
    }
    return Work(calls, error, bytes_of(x, out))


def softmax_vjp(bench: Bench, case: Case) -> Work:
    """The gradient, from the result."""
    torch = bench.torch
    y = torch.softmax(bench.draw(case.shape, case.dtype), -1)
    g = bench.draw(case.shape, case.dtype)
    out = torch.empty_like(y)
    backward = torch.ops.aten._softmax_backward_data

    def error() -> float:
        wide, of_y = g[_SOME].double(), y[_SOME].double()
        inner = (wide * of_y).sum(-1, keepdim=True)
        allowed = 64 * EPS[case.dtype] * of_y * (wide.abs() + 4) + 1e-30
        return ratio(out[_SOME], of_y * (wide - inner), allowed)

    calls = {
        "fastmat": lambda: fm.softmax_vjp(g, y, -1, out=out),
        "torch": lambda: backward(g, y, -1, y.dtype),
    }
    return Work(calls, error, bytes_of(g, y, out))


def _parameters(bench: Bench, case: Case, channels: int) -> tuple[Any, Any, Any, Any]:
    x = bench.draw(case.shape, case.dtype)
    weight, bias = (bench.draw((channels,), case.dtype) for _ in range(2))
    return x, weight, bias, bench.torch.empty_like(x)


def _close(case: Case, result: Any, expected: Any) -> float:
    return ratio(result, expected, 32 * EPS[case.dtype] * (1 + expected.abs()))


def layer_norm(bench: Bench, case: Case) -> Work:
    """Rows with weight and bias."""
    functional = bench.torch.nn.functional
    shape = case.shape[-1:]
    x, weight, bias, out = _parameters(bench, case, shape[0])

    def error() -> float:
        wide = functional.layer_norm(x[_SOME].double(), shape, weight.double(), bias.double())
        return _close(case, out[_SOME], wide)

    calls: dict[str, Callable[[], Any]] = {
        "fastmat": lambda: fm.layer_norm(x, shape, weight, bias, out=out),
        "torch": lambda: functional.layer_norm(x, shape, weight, bias),
    }
    y, w, b = (bench.as_cupy(t) for t in (x, weight, bias))
    if y is not None:

        def composed() -> Any:
            z = y - y.mean(-1, keepdims=True)
            z /= bench.cupy.sqrt((z * z).mean(-1, keepdims=True) + bench.cupy.float32(1e-5))
            z *= w
            z += b
            return z

        calls["cupy"] = composed
    return Work(calls, error, bytes_of(x, out))


def rms_norm(bench: Bench, case: Case) -> Work:
    """Rows with weight."""
    functional = bench.torch.nn.functional
    shape = case.shape[-1:]
    x, weight, _, out = _parameters(bench, case, shape[0])

    def error() -> float:
        wide = functional.rms_norm(x[_SOME].double(), shape, weight.double(), 1e-6)
        return _close(case, out[_SOME], wide)

    calls = {
        "fastmat": lambda: fm.rms_norm(x, shape, weight, 1e-6, out=out),
        "torch": lambda: functional.rms_norm(x, shape, weight, 1e-6),
    }
    return Work(calls, error, bytes_of(x, out))


def layer_norm_vjp(bench: Bench, case: Case) -> Work:
    """Gradients by x, weight and bias."""
    torch = bench.torch
    shape = case.shape[-1:]
    x, weight, bias, out = _parameters(bench, case, shape[0])
    g = bench.draw(case.shape, case.dtype)
    _, mean, rstd = fm.layer_norm(x, shape, weight, bias, return_stats=True)
    native = torch.native_layer_norm(x, shape, weight, bias, 1e-5)[1:]
    backward = torch.ops.aten.native_layer_norm_backward
    result: list[Any] = [None]

    def ours() -> None:
        result[0] = fm.layer_norm_vjp(g, x, mean, rstd, shape, weight, out=out)

    def error() -> float:
        wide = [t.double() for t in (g, x, weight, bias)]
        again = torch.native_layer_norm(wide[1], shape, wide[2], wide[3], 1e-5)[1:]
        expected = backward(wide[0], wide[1], shape, *again, wide[2], wide[3], [True] * 3)
        by_x = ratio(out, expected[0], 128 * EPS[case.dtype] * (1 + expected[0].abs()))
        scale = 16 * EPS[case.dtype] * math.sqrt(x.numel() / shape[0])
        by_rest = (
            ratio(ours.reshape(-1), e, scale * (4 + e.abs() / 16))
            for ours, e in zip(result[0][1:], expected[1:], strict=True)
        )
        return max(by_x, *by_rest)

    calls = {
        "fastmat": ours,
        "torch": lambda: backward(g, x, shape, *native, weight, bias, [True] * 3),
    }
    return Work(calls, error, bytes_of(g, x, out))


def rms_norm_vjp(bench: Bench, case: Case) -> Work:
    """Gradients by x and weight."""
    torch = bench.torch
    shape = case.shape[-1:]
    x, weight, _, out = _parameters(bench, case, shape[0])
    g = bench.draw(case.shape, case.dtype)
    rstd = fm.rms_norm(x, shape, weight, 1e-6, return_stats=True)[-1]

    def error() -> float:
        wide, of_g = x[_SOME].double(), g[_SOME].double() * weight.double()
        r = 1 / torch.sqrt((wide * wide).mean(-1, keepdim=True) + 1e-6)
        n = wide * r
        expected = r * (of_g - n * (of_g * n).mean(-1, keepdim=True))
        return ratio(out[_SOME], expected, 128 * EPS[case.dtype] * (1 + expected.abs()))

    calls = {"fastmat": lambda: fm.rms_norm_vjp(g, x, rstd, shape, weight, out=out)}
    return Work(calls, error, bytes_of(g, x, out))


def batch_norm(bench: Bench, case: Case) -> Work:
    """Channels of images, by their own statistics."""
    functional = bench.torch.nn.functional
    x, weight, bias, out = _parameters(bench, case, case.shape[1])

    def error() -> float:
        wide = (t.double() for t in (weight, bias))
        expected = functional.batch_norm(x.double(), None, None, *wide, True)
        return _close(case, out, expected)

    calls = {
        "fastmat": lambda: fm.batch_norm(x, None, None, weight, bias, True, out=out),
        "torch": lambda: functional.batch_norm(x, None, None, weight, bias, True),
    }
    return Work(calls, error, 1.5 * bytes_of(x, out))  # x is read twice


def group_norm(bench: Bench, case: Case) -> Work:
    """Groups of channels of images."""
    functional = bench.torch.nn.functional
    x, weight, bias, out = _parameters(bench, case, case.shape[1])

    def error() -> float:
        expected = functional.group_norm(x[-8:].double(), 32, weight.double(), bias.double())
        return _close(case, out[-8:], expected)

    calls = {
        "fastmat": lambda: fm.group_norm(x, 32, weight, bias, out=out),
        "torch": lambda: functional.group_norm(x, 32, weight, bias),
    }
    return Work(calls, error, bytes_of(x, out))


def masked_reduction(bench: Bench, case: Case, axis: int) -> Work:
    """A reduction of the numbers that a mask lets through."""
    torch = bench.torch
    x = bench.draw(case.shape, case.dtype)
    mask = torch.rand(case.shape, device=bench.device) < 0.5
    function = getattr(fm, case.op)
    result: list[Any] = [None]

    def ours() -> None:
        result[0] = function(x, mask, axis)

    def composed(x: Any) -> Any:
        zero = torch.where(mask, x, 0.0)
        if case.op == "masked_sum":
            return zero.sum(axis)
        if case.op == "masked_mean":
            return zero.sum(axis) / mask.sum(axis)
        if case.op == "masked_var":
            count = mask.sum(axis, keepdim=True)
            mean = zero.sum(axis, keepdim=True) / count
            return torch.where(mask, (x - mean) ** 2, 0.0).sum(axis) / count[..., 0]
        lowest = torch.where(mask, x, -math.inf)
        return lowest.amax(axis) if case.op == "masked_max" else lowest.argmax(axis)

    def error() -> float:
        expected = composed(x.double())
        if case.op == "masked_argmax":
            return 0.0 if torch.equal(result[0].long(), expected) else math.inf
        sizes = torch.where(mask, x.double() ** 2, 0.0).sum(axis).sqrt()
        scale = 16 * EPS[case.dtype] * (sizes * (8 if case.op == "masked_sum" else 1) + 1)
        return ratio(result[0], expected, scale)

    calls = {"fastmat": ours, "torch": lambda: composed(x)}
    return Work(calls, error, bytes_of(x, mask))
