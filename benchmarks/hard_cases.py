"""Errors on numbers that are hard to normalize: ``python -m benchmarks.hard_cases --write``.

fastmat, NumPy (by `fastmat.comparisons.by_numpy`; SciPy for softmax and its kin) and PyTorch do the
same on the same numbers. Exact results are those of the tests' oracles, in long double. ``--write``
puts the table into docs/hard_cases.md.
"""

import argparse
import functools
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy

import fastmat as fm
from fastmat.comparisons import by_numpy

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "hard_cases.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"

# The oracles of the tests import each other as top-level modules, and ml_dtypes.
_TESTS = str(ROOT / "tests")


class Case(NamedTuple):
    """An operation over the last axis (batch norm: by channel) of numbers that `make` makes."""

    op: str
    make: Callable[[np.random.Generator], np.ndarray]
    eps: float = 1e-5


def normal(mean, *shape, scale=1.0, dtype=np.float32):
    """Random numbers of this mean and standard deviation."""
    return lambda rng: rng.normal(mean, scale, shape).astype(dtype)


def channels_last(rng):
    """Images of mean 1000 and deviation 1, ``(N, C, H, W)``, whose channels lie side by side."""
    return normal(1e3, 8, 56, 56, 16)(rng).transpose(0, 3, 1, 2)


def uniform(rng):
    return rng.uniform(-1e4, 1e4, (64, 1024)).astype(np.float32)


def one_zero(rng):
    """A 0 before 10**7 numbers, of which each has an exponential that is lost in 1 + exp(x)."""
    x = np.full((1, 10**7), -20, np.float32)
    x[0, 0] = 0
    return x


def almost_sure(least, most, dtype=np.float32):
    """A 0 in each row, and so much less beside it that the sum of exponentials is about 1."""

    def make(rng):
        x = rng.uniform(least, most, (64, 1024)).astype(dtype)
        x[:, 0] = 0
        return x

    return make


def infinite(*values):
    """Random numbers, with these at the beginning of each row."""

    def make(rng):
        x = normal(0, 64, 1024)(rng)
        x[:, : len(values)] = values
        return x

    return make


CASES = {
    "layer_norm, mean/σ = 0 (nothing hard)": Case("layer_norm", normal(0, 256, 1024)),
    "layer_norm, mean/σ = 10⁴": Case("layer_norm", normal(1e4, 256, 1024)),
    "layer_norm, mean/σ = 10⁶": Case("layer_norm", normal(1e6, 256, 1024)),
    "layer_norm, one row of 10⁷, mean 100": Case("layer_norm", normal(100, 1, 10**7)),
    "layer_norm, subnormal, eps = 0": Case("layer_norm", normal(0, 256, 1024, scale=1e-40), 0),
    "layer_norm float16, mean 10": Case("layer_norm", normal(10, 256, 1024, dtype=np.float16)),
    "layer_norm float64, mean/σ = 10⁶": Case(
        "layer_norm", normal(1e6, 256, 1024, dtype=np.float64)
    ),
    "batch_norm, channels last, mean/σ = 10³": Case("batch_norm", channels_last),
    "rms_norm, numbers of 10³⁰": Case("rms_norm", normal(0, 256, 1024, scale=1e30)),
    "rms_norm, numbers of 10⁻³⁰, eps = 0": Case("rms_norm", normal(0, 256, 1024, scale=1e-30), 0),
    "rms_norm, subnormal, eps = 0": Case("rms_norm", normal(0, 256, 1024, scale=1e-40), 0),
    "layer_norm float64, numbers of 10⁻²⁰⁰, eps = 0": Case(
        "layer_norm", normal(0, 256, 1024, scale=1e-200, dtype=np.float64), 0
    ),
    "rms_norm float64, numbers of 10²⁰⁰": Case(
        "rms_norm", normal(0, 256, 1024, scale=1e200, dtype=np.float64)
    ),
    "normalize, numbers of 10³⁰": Case("normalize", normal(0, 256, 1024, scale=1e30), 0),
    "normalize, subnormal, eps = 0": Case("normalize", normal(0, 256, 1024, scale=1e-40), 0),
    "normalize float64, numbers of 10²⁰⁰": Case(
        "normalize", normal(0, 256, 1024, scale=1e200, dtype=np.float64), 0
    ),
    "mean, mean/σ = 10⁴": Case("mean", normal(1e4, 256, 1024)),
    "variance, mean/σ = 10⁴": Case("variance", normal(1e4, 256, 1024)),
    "variance, one row of 10⁷, mean 100": Case("variance", normal(100, 1, 10**7)),
    "standardize, mean/σ = 10⁴": Case("standardize", normal(1e4, 256, 1024)),
    "variance float64, one row of 10⁷, mean/σ = 10⁴": Case(
        "variance", normal(1e4, 1, 10**7, dtype=np.float64)
    ),
    "layer_norm_vjp, rows of 10⁶, mean/σ = 10⁴": Case("layer_norm_vjp", normal(1e4, 2, 10**6)),
    "softmax, up to 10⁴": Case("softmax", uniform),
    "softmax, one row of 10⁷": Case("softmax", normal(0, 1, 10**7)),
    "softmax, one 0 beside 10⁷ of -20": Case("softmax", one_zero),
    "softmax float16": Case("softmax", normal(0, 256, 1024, dtype=np.float16)),
    "softmax, rows with -inf": Case("softmax", infinite(-np.inf)),
    "softmax, rows with +inf": Case("softmax", infinite(np.inf)),
    "log_softmax, up to 10⁴": Case("log_softmax", uniform),
    "log_softmax, one row of 10⁷": Case("log_softmax", normal(0, 1, 10**7)),
    "log_softmax, rows with -inf": Case("log_softmax", infinite(-np.inf)),
    "log_softmax, rows with +inf": Case("log_softmax", infinite(np.inf)),
    "logsumexp, up to 10⁴": Case("logsumexp", uniform),
    "logsumexp, one row of 10⁷": Case("logsumexp", normal(0, 1, 10**7)),
    "logsumexp, one 0 beside 10⁷ of -20": Case("logsumexp", one_zero),
    "logsumexp, result about 10⁻⁷": Case("logsumexp", almost_sure(-40, -20)),
    "logsumexp float64, result about 10⁻¹²": Case("logsumexp", almost_sure(-50, -30, np.float64)),
    "logsumexp, rows of -inf": Case("logsumexp", infinite(*[-np.inf] * 1024)),
    "logsumexp, rows with +inf": Case("logsumexp", infinite(np.inf, -np.inf)),
    "softmax_vjp, rows of 10⁶": Case("softmax_vjp", normal(0, 2, 10**6)),
    "softmax_vjp, rows of 10⁶, cotangent mean/σ = 10⁴": Case("softmax_vjp", normal(1e4, 2, 10**6)),
}


def _exact(op: str, x: np.ndarray, eps: float) -> np.ndarray:
    """In long double."""
    if _TESTS not in sys.path:
        sys.path.append(_TESTS)
    import gradient_oracles
    import normal_oracles
    import softmax_oracles

    if op in ("layer_norm", "rms_norm"):
        return getattr(normal_oracles, op)(x, x.shape[-1], eps=eps).value
    if op == "batch_norm":
        return normal_oracles.batch_norm(x, training=True, eps=eps)[0].value
    if op == "normalize":
        return normal_oracles.normalize(x, eps=eps).value
    if op in ("mean", "variance"):
        return getattr(normal_oracles.moments(x, -1), op)
    if op == "standardize":
        return normal_oracles.standardize(x, -1).value
    if op == "layer_norm_vjp":
        statistics = gradient_oracles.statistics("layer_norm", x, "g", axis=-1, eps=eps)
        return gradient_oracles.layer_norm_vjp(_cotangent(x), x, *statistics, axis=-1).x
    if op == "softmax_vjp":
        return gradient_oracles.softmax_vjp(x, _probabilities(x)).x
    if op == "logsumexp" and np.isfinite(x).all():
        return _logsumexp(x.astype(np.longdouble))
    return getattr(softmax_oracles, op)(x).value


def _logsumexp(x: np.ndarray) -> np.ndarray:
    """Exact where the sum relative to the largest number is so near to 1 that the oracle is not."""
    at = x.argmax(-1, keepdims=True)
    largest = np.take_along_axis(x, at, -1)
    others = np.exp(x - largest)
    np.put_along_axis(others, at, 0, -1)
    return largest[:, 0] + np.log1p(others.sum(-1))


def _fastmat(op: str, x: np.ndarray, eps: float) -> np.ndarray:
    if op in ("layer_norm", "rms_norm"):
        return getattr(fm, op)(x, x.shape[-1], eps=eps)
    if op == "batch_norm":
        return fm.batch_norm(x, training=True, eps=eps)
    if op == "normalize":
        return fm.normalize(x, eps=eps)
    if op in ("mean", "variance"):
        return getattr(fm.moments(x, -1), op)
    if op == "standardize":
        return fm.standardize(x, -1)
    if op == "layer_norm_vjp":
        _, mean, rstd = fm.layer_norm(x, axis=-1, eps=eps, return_stats=True)
        return fm.layer_norm_vjp(_cotangent(x), x, mean, rstd, axis=-1).x
    if op == "softmax_vjp":
        return fm.softmax_vjp(x, _probabilities(x))
    return getattr(fm, op)(x)


def _numpy(op: str, x: np.ndarray, eps: float) -> np.ndarray:
    out = np.empty_like(x)
    length = x.shape[1] if op == "batch_norm" else x.shape[-1]
    ones, zeros = np.ones(length, x.dtype), np.zeros(length, x.dtype)
    if op == "layer_norm":
        by_numpy.layer_norm(
            x, normalized_shape=(length,), weight=ones, bias=zeros, eps=eps, out=out
        )
    elif op == "rms_norm":
        by_numpy.rms_norm(x, normalized_shape=(length,), weight=ones, eps=eps, out=out)
    elif op == "batch_norm":
        running = {"running_mean": zeros.copy(), "running_var": ones.copy()}
        by_numpy.batch_norm(x, **running, weight=ones, bias=zeros, training=True, eps=eps, out=out)
    elif op == "normalize":
        by_numpy.normalize(x, axis=-1, eps=eps, out=out)
    elif op in ("mean", "variance"):
        moments = np.empty((2, len(x)), x.dtype)
        by_numpy.moments(x, axis=-1, out=moments)
        out = moments[("mean", "variance").index(op)]
    elif op == "layer_norm_vjp":
        rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
        scaled, g = (x - x.mean(-1, keepdims=True)) * rstd, _cotangent(x)
        means = (part.mean(-1, keepdims=True) for part in (g, g * scaled))
        out = rstd * (g - next(means) - scaled * next(means))
    elif op == "softmax_vjp":
        y = _probabilities(x)
        out = y * (x - np.sum(x * y, -1, keepdims=True))
    else:
        out = np.empty(len(x), x.dtype) if op == "logsumexp" else out
        getattr(by_numpy, op)(x, axis=-1, out=out)
    return out


def _torch(op: str, x: np.ndarray, eps: float) -> np.ndarray:
    import torch
    from torch.nn import functional

    t: Any = torch.from_numpy(x)
    shape = t.shape[-1:]
    if op in ("layer_norm", "rms_norm"):
        return getattr(functional, op)(t, shape, eps=eps).numpy()
    if op == "batch_norm":
        return functional.batch_norm(t, None, None, training=True, eps=eps).numpy()
    if op == "normalize":
        return functional.normalize(t, eps=eps).numpy()
    if op in ("mean", "variance", "standardize"):
        variance, mean = torch.var_mean(t, -1, correction=0, keepdim=True)
        if op == "standardize":
            return ((t - mean) / variance.sqrt()).numpy()
        return (mean if op == "mean" else variance).squeeze(-1).numpy()
    if op == "layer_norm_vjp":
        t.requires_grad_()
        functional.layer_norm(t, shape, eps=eps).backward(torch.from_numpy(_cotangent(x)))
        return t.grad.numpy()
    if op == "softmax_vjp":  # what autograd calls
        y = torch.from_numpy(_probabilities(x))
        return torch._softmax_backward_data(t, y, -1, t.dtype).numpy()
    return getattr(torch, op)(t, -1).numpy()


def _cotangent(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(x.shape, np.float32)


def _probabilities(x: np.ndarray) -> np.ndarray:
    """The result of a softmax, the same for all libraries; x is the cotangent."""
    return fm.softmax(_cotangent(x))


LIBRARIES = {"fastmat": _fastmat, "numpy": _numpy, "torch": _torch}


@functools.lru_cache(maxsize=1)
def numbers(title: str) -> tuple[np.ndarray, np.ndarray]:
    """What the case is about, and the exact result."""
    case = CASES[title]
    x = case.make(np.random.default_rng(1))
    return x, _exact(case.op, x, case.eps)


def error(title: str, library: str) -> float:
    """The largest error over eps · max|exact|; NaN if NaN or infinities are in other places."""
    x, exact = numbers(title)
    with np.errstate(all="ignore"):
        result = LIBRARIES[library](CASES[title].op, x, CASES[title].eps).astype(exact.dtype)
    finite = np.isfinite(exact)
    same = np.array_equal(result[~finite], exact[~finite], equal_nan=True)
    if not (same and np.isfinite(result[finite]).all()):
        return np.nan
    if not finite.any():
        return 0.0
    result, exact = result[finite], exact[finite]
    error = np.max(np.abs(result - exact)) / np.max(np.abs(exact))
    return float(error / np.finfo(x.dtype).eps)


def _shown(value: float) -> str:
    if np.isnan(value):
        return "other"
    if value >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def table() -> str:
    """One line for each case; bold: fastmat is further off than another library."""
    import torch

    versions = f"fastmat {fm.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}"
    lines = [
        f"{versions}, PyTorch {torch.__version__}, on {platform.machine()}.",
        "",
        "| case | fastmat | NumPy | PyTorch |",
        "|---|---:|---:|---:|",
    ]
    for title in CASES:
        first, *others = [error(title, library) for library in LIBRARIES]
        cells = [_shown(value) for value in (first, *others)]
        if any(first > 1.05 * other or np.isnan(first) > np.isnan(other) for other in others):
            cells[0] = f"**{cells[0]}**"
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or put it into its page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    write = parser.parse_args().write
    measured = table()
    print(measured)
    if write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        text = f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}"
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
