"""Products of matrices, alone and within attention and factorizations."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import fastmat as fm
from fastmat.comparisons.gpu.cases import Case
from fastmat.comparisons.gpu.work import EPS, Bench, Work, bytes_of, ratio


@contextlib.contextmanager
def precision_of(name: str | None) -> Iterator[None]:
    if name is None:
        yield
        return
    with fm.matmul_precision(name):
        yield


def matmul(
    bench: Bench, case: Case, semiring: str | None = None, precision: str | None = None
) -> Work:
    torch = bench.torch
    *batch, m, k, n = case.shape
    a, b = bench.draw((*batch, m, k), case.dtype), bench.draw((*batch, k, n), case.dtype)
    c = torch.empty((*batch, m, n), dtype=a.dtype, device=bench.device)
    count = (8.0 if a.is_complex() else 2.0) * math.prod(batch) * m * k * n
    inner = torch.float64 if not a.is_complex() else torch.complex128

    def ours() -> Any:
        with precision_of(precision):
            return fm.matmul(a, b, out=c, semiring=semiring)

    def error() -> float:
        rows = slice(max(0, m - 200), m)  # float64 takes long on some cards; the last edge counts
        some = a[..., rows, :].to(inner)
        if semiring == "min_plus":
            some, right = some[..., :8, :], b.to(inner)
            best = torch.stack([(row[:, None] + right).amin(0) for row in some])
            return ratio(c[..., rows, :][..., :8, :], best, EPS["float32"] * 200 + 0 * best)
        expected = some @ b.to(inner)
        if case.dtype not in EPS and not a.is_complex():  # small enough to be exact in float64
            bits = torch.iinfo(a.dtype).bits
            wrapped = expected.to(torch.int64) & ((1 << bits) - 1 if bits < 64 else -1)
            got = c[..., rows, :].to(torch.int64) & ((1 << bits) - 1 if bits < 64 else -1)
            return 0.0 if torch.equal(got, wrapped) else math.inf
        unit = 2.0**-10 if precision == "tf32" else EPS["float32" if a.is_complex() else case.dtype]
        inner_unit = unit if case.dtype == "float64" or precision else EPS["float32"]
        sizes = some.abs() @ b.to(inner).abs()
        allowed = (4 * math.sqrt(k) + 8) * inner_unit * sizes + unit * expected.abs()
        return ratio(c[..., rows, :], expected, allowed)

    calls: dict[str, Callable[[], Any]] = {"fastmat": ours}
    # PyTorch has no products of integers on GPUs; CuPy has.
    x, y, z = (bench.as_cupy(t) for t in (a, b, c.clone()))
    if semiring is None and case.dtype in (*EPS, "complex64"):
        out = torch.empty_like(c)

        def theirs() -> Any:
            torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
            try:
                return torch.matmul(a, b, out=out)
            finally:
                torch.backends.cuda.matmul.allow_tf32 = False

        calls["torch"] = theirs
    elif semiring is None and x is not None:
        calls["cupy"] = lambda: bench.cupy.matmul(x, y, out=z)
    roof = "tf32" if precision else "float32" if semiring or case.dtype not in EPS else case.dtype
    return Work(calls, error, count, "FLOP/s", roof)


def linear(bench: Bench, case: Case) -> Work:
    torch = bench.torch
    m, k, n = case.shape
    x, w, bias = (bench.draw(s, case.dtype) for s in ((m, k), (n, k), (n,)))
    w /= math.sqrt(k)
    out = torch.empty((m, n), dtype=x.dtype, device=bench.device)
    gelu = torch.nn.functional.gelu

    def error() -> float:
        some = x[-200:].double()
        expected = gelu(some @ w.double().T + bias.double())
        sizes = some.abs() @ w.double().T.abs() + bias.abs()
        allowed = (4 * math.sqrt(k) + 8) * EPS["float32"] * sizes + EPS[case.dtype] * expected.abs()
        return ratio(out[-200:], expected, 2 * allowed + EPS[case.dtype] * 1e-2)

    calls = {
        "fastmat": lambda: fm.linear(x, w, bias, activation="gelu", out=out),
        "torch": lambda: gelu(torch.nn.functional.linear(x, w, bias)),
    }
    return Work(calls, error, 2.0 * m * k * n, "FLOP/s", case.dtype)


def vector(bench: Bench, case: Case) -> Work:
    torch = bench.torch
    m, n = case.shape
    a = bench.draw((m, n), case.dtype)
    v = bench.draw((n if case.op == "matvec" else m,), case.dtype)
    out = torch.empty(m if case.op == "matvec" else n, dtype=a.dtype, device=bench.device)
    left, right = (a, v) if case.op == "matvec" else (v, a)
    function = getattr(fm, case.op)

    def error() -> float:
        expected = torch.matmul(left.double(), right.double())
        sizes = torch.matmul(left.double().abs(), right.double().abs())
        return ratio(out, expected, 4 * math.sqrt(len(v)) * EPS[case.dtype] * sizes)

    calls = {
        "fastmat": lambda: function(left, right, out=out),
        "torch": lambda: torch.matmul(left, right),
    }
    return Work(calls, error, bytes_of(a, v, out))


def attention(bench: Bench, case: Case, is_causal: bool = False) -> Work:
    torch = bench.torch
    q, k, v = (bench.draw(case.shape, case.dtype) for _ in range(3))
    *batch, length, depth = case.shape
    out = torch.empty_like(q)
    reference = torch.nn.functional.scaled_dot_product_attention

    def error() -> float:
        first = tuple(slice(1) for _ in batch)
        some = [x[first].double() for x in (q, k, v)]
        expected = reference(*some, is_causal=is_causal)
        unit = EPS[case.dtype]
        return ratio(out[first], expected, 8 * unit * (1 + expected.abs()))

    calls = {
        "fastmat": lambda: fm.scaled_dot_product_attention(q, k, v, is_causal=is_causal, out=out),
        "torch": lambda: reference(q, k, v, is_causal=is_causal),
    }
    amount = 4.0 * math.prod(batch) * length * length * depth / (2 if is_causal else 1)
    return Work(calls, error, amount, "FLOP/s", case.dtype)


def gram(bench: Bench, case: Case) -> Work:
    a = bench.draw(case.shape, case.dtype)
    m, n = case.shape
    result: list[Any] = [None]

    def ours() -> None:
        result[0] = fm.linalg.gram(a)

    def error() -> float:
        wide = a.double()
        allowed = (4 * math.sqrt(m) + 8) * EPS[case.dtype] * (wide.abs().T @ wide.abs())
        return ratio(result[0], wide.T @ wide, allowed)

    calls = {"fastmat": ours, "torch": lambda: a.T @ a}
    return Work(calls, error, bytes_of(a) + n * n * 4.0)


def qr_tall(bench: Bench, case: Case) -> Work:
    torch = bench.torch
    a = bench.draw(case.shape, case.dtype)
    m, n = case.shape
    result: list[Any] = [None]

    def ours() -> None:
        result[0] = fm.linalg.qr_tall(a)

    def error() -> float:
        q, r = (t.double() for t in result[0])
        unit = EPS[case.dtype] * n
        identity = torch.eye(n, device=bench.device, dtype=torch.float64)
        scale = torch.linalg.norm(a.double())
        lost = torch.linalg.norm(q @ r - a.double()) / scale
        return float(max(torch.linalg.norm(q.T @ q - identity).item() / n, lost.item()) / unit)

    calls = {"fastmat": ours, "torch": lambda: torch.linalg.qr(a)}
    return Work(calls, error, 4.0 * m * n * n, "FLOP/s", case.dtype)


def _noisy(bench: Bench, m: int, n: int, k: int) -> Any:
    """A matrix whose singular values fall as those of real data do, to a floor of noise."""
    inner = 4 * k
    numbers = bench.torch.arange(1, inner + 1, device=bench.device, dtype=bench.torch.float32)
    a = (bench.draw((m, inner), "float32") * (10 * numbers**-0.7)) @ bench.draw(
        (inner, n), "float32"
    )
    a += bench.draw((m, n), "float32")
    return a


def pca(bench: Bench, case: Case, k: int) -> Work:
    torch = bench.torch
    m, n = case.shape
    a = _noisy(bench, m, n, k) + 3
    result: list[Any] = [None]

    def ours() -> None:
        result[0] = fm.pca(a, k, n_iter=2, rng=7)

    def loss(components: Any) -> float:
        centred = a - a.mean(0)
        return float(torch.linalg.norm(centred - centred @ components.T @ components).item())

    def error() -> float:
        other = torch.pca_lowrank(a, q=k + 10, niter=2)
        return loss(result[0].components) / (1.01 * loss(other[2][:, :k].T))

    calls = {"fastmat": ours, "torch": lambda: torch.pca_lowrank(a, q=k + 10, niter=2)}
    return Work(calls, error, 2.0 * m * n * (k + 10) * 6, "FLOP/s", "float32")


def randomized_svd(bench: Bench, case: Case, k: int) -> Work:
    torch = bench.torch
    m, n = case.shape
    a = _noisy(bench, m, n, k)
    result: list[Any] = [None]

    def ours() -> None:
        result[0] = fm.randomized_svd(a, k, n_iter=2, rng=7)

    def loss(u: Any, s: Any, v: Any) -> float:
        return float(torch.linalg.norm(a - (u * s) @ v).item())

    def error() -> float:
        u, s, vh = result[0][:3]
        other = torch.svd_lowrank(a, q=k + 10, niter=2)
        theirs = loss(other[0][:, :k], other[1][:k], other[2][:, :k].T)
        return loss(u, s, vh) / (1.01 * theirs)

    calls = {"fastmat": ours, "torch": lambda: torch.svd_lowrank(a, q=k + 10, niter=2)}
    amount = 2.0 * m * n * (k + 10) * 6  # products with the matrix: range, twice two, core
    return Work(calls, error, amount, "FLOP/s", "float32")
