"""`fastmat.linalg`: rows, operands, how each library spells them, and what is a right result."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmat

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]
Shape = tuple[int, ...]

OPERATIONS = (
    "linalg.gram",
    "linalg.power_step",
    "linalg.cholesky",
    "linalg.solve_triangular",
    "linalg.qr_tall",
)


def row(op: str, dtype: str, *shapes: Shape, group: str, quick: bool = False) -> dict[str, Any]:
    """The fields of a `Case`."""
    return {"group": group, "op": f"linalg.{op}", "dtype": dtype, "shapes": shapes, "quick": quick}


_TALL, _SQUARE = "tall matrices", "triangular factors"

ROWS = (
    *(
        row("gram", dtype, shape, group=_TALL, quick=dtype == "float32" and shape[1] == 64)
        for dtype in ("float32", "float64")
        for shape in ((100_000, 64), (1_000_000, 20), (20_000, 300), (4000, 4000))
    ),
    row("gram", "int32", (100_000, 64), group=_TALL),
    row("gram", "complex64", (100_000, 64), group=_TALL),
    *(
        row("power_step", dtype, (20_000, 2000), (2000, 30), group=_TALL)
        for dtype in ("float32", "float64")
    ),
    row("power_step", "float32", (20_000, 200), (200, 30), group=_TALL, quick=True),
    *(
        row("qr_tall", dtype, shape, group=_TALL, quick=dtype == "float32" and shape[0] == 10_000)
        for dtype in ("float32", "float64")
        for shape in ((100_000, 60), (10_000, 30), (2000, 500))
    ),
    *(
        row("cholesky", dtype, shape, group=_SQUARE, quick=dtype == "float64" and len(shape) == 3)
        for dtype in ("float32", "float64")
        for shape in ((10_000, 4, 4), (2000, 2000))
    ),
    *(
        row("solve_triangular", dtype, (n, n), (n, k), group=_SQUARE, quick=k == 50)
        for dtype, n, k in (
            ("float32", 1000, 1000),
            ("float64", 1000, 1000),
            ("float64", 300, 50),
            ("float64", 2000, 1),
        )
    ),
)


def has(case: Case) -> bool:
    """Whether a row is spelled here."""
    return case.op in OPERATIONS


def operands(case: Case, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Well-conditioned matrices for factorizations, triangular ones for solving."""
    first = arrays[0]
    n = first.shape[-1]
    if case.op == "linalg.cholesky":
        return ((first @ np.conj(first.swapaxes(-1, -2)) / n + np.eye(n)).astype(first.dtype),)
    if case.op == "linalg.solve_triangular":
        return np.triu(first / n + 2 * np.eye(n)).astype(first.dtype), arrays[1]
    return arrays


def output(case: Case, arrays: tuple[Array, ...]) -> Array:
    """An output; of a QR factorization R below Q."""
    first, (m, n) = arrays[0], arrays[0].shape[-2:]
    if case.op == "linalg.gram":
        return np.empty((n, n), first.dtype)
    if case.op == "linalg.qr_tall":
        return np.empty((m + n, n), first.dtype)
    return np.empty_like(arrays[-1])


def operations(case: Case) -> float:
    """Additions and multiplications; of a QR factorization as Householder takes them for both."""
    (m, n), few = case.shapes[0][-2:], case.shapes[-1][-1]
    count = (
        math.prod(case.shapes[0][:-2])
        * {
            "linalg.gram": 1.0 * m * n * n,
            "linalg.power_step": 4.0 * m * n * few,
            "linalg.qr_tall": 4.0 * m * n * n - 4.0 * n**3 / 3,
            "linalg.cholesky": n**3 / 3.0,
            "linalg.solve_triangular": 1.0 * n * n * few,
        }[case.op]
    )
    return count * (4.0 if case.dtype.startswith("complex") else 1.0)


def fastmat_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call:
    """fastmat's way."""
    function = getattr(fastmat.linalg, case.op.removeprefix("linalg."))
    if case.op == "linalg.qr_tall":
        return partial(_store_factors, function, *arrays, out)
    if case.op == "linalg.cholesky":
        return partial(_store, function, *arrays, out)
    return partial(function, *arrays, out=out)


def _store(function: Callable[[Array], Array], x: Array, out: Array) -> None:
    np.copyto(out, function(x))


def _store_factors(function: Callable[[Array], Any], a: Array, out: Array) -> None:
    out[: len(a)], out[len(a) :] = function(a)


def numpy_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call:
    """NumPy's way, or SciPy's."""
    if case.op == "linalg.gram":
        return partial(_gram, *arrays, out)
    if case.op == "linalg.power_step":
        return partial(_power_step, *arrays, out)
    if case.op == "linalg.qr_tall":
        return partial(_store_factors, np.linalg.qr, *arrays, out)
    if case.op == "linalg.cholesky":
        return partial(_store, np.linalg.cholesky, *arrays, out)
    return partial(_solve, *arrays, out)


def _gram(a: Array, out: Array) -> None:
    np.matmul(_adjoint(a), a, out)


def _power_step(a: Array, q: Array, out: Array) -> None:
    np.matmul(_adjoint(a), a @ q, out)


def _solve(a: Array, b: Array, out: Array) -> None:
    from scipy.linalg import solve_triangular

    np.copyto(out, solve_triangular(a, b))


def _adjoint(a: Array) -> Array:
    transposed = a.swapaxes(-1, -2)
    return np.conj(transposed) if a.dtype.kind == "c" else transposed


class Factors(tuple[Any, ...]):
    """Two tensors that are put into one array only when they are looked at."""

    def numpy(self) -> Array:
        return np.concatenate([part.numpy() for part in self])


def torch_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call | None:
    """PyTorch's way; the call returns what holds the result."""
    import torch

    tensors, result = [torch.from_numpy(x) for x in arrays], torch.from_numpy(out)
    first = tensors[0]
    if case.op == "linalg.gram":
        return lambda: torch.matmul(first.mH, first, out=result)
    if case.op == "linalg.power_step":
        return lambda: torch.matmul(first.mH, first @ tensors[1], out=result)
    if case.op == "linalg.qr_tall":
        return lambda: Factors(torch.linalg.qr(first))
    if case.op == "linalg.cholesky":
        return lambda: torch.linalg.cholesky(first, out=result)
    return lambda: torch.linalg.solve_triangular(*tensors, upper=True)


def error(case: Case, arrays: tuple[Array, ...], result: Array) -> float:
    """The largest error, in units of what rounding permits, whatever another library finds.

    With e the machine epsilon, and errors of sums of k terms that are independent of one another,
    8 sqrt(k + 4) e of the sum of their magnitudes (see `checks_programs.bound`):

    - gram and power_step: against long double, the errors of two products.
    - factors and solutions, by what they are defined by: L Lᴴ - a in units of |L||L|ᴴ, a x - b in
      units of |a||x|, columns of Q R - a in units of those of a, and Qᴴ Q - 1 in units of 1.
    """
    wide = np.dtype("G" if result.dtype.kind == "c" else "g")
    first, found = arrays[0].astype(wide), result.astype(wide)
    m, n = first.shape[-2:]
    if result.dtype.kind not in "fc":
        return 0.0 if np.array_equal(result, _adjoint(arrays[0]) @ arrays[0]) else math.inf
    size = np.abs(first)
    if case.op == "linalg.gram":
        return _ratio(found - _product(_adjoint(first), first), m, _rough(size.T, size), result)
    if case.op == "linalg.power_step":
        q = arrays[1].astype(wide)
        exact = _product(_adjoint(first), _product(first, q))
        allowed = _rough(size.T, _rough(size, np.abs(q)))
        return _ratio(found - exact, m + n, allowed, result)
    if case.op == "linalg.cholesky":
        allowed = _rough(np.abs(found), np.abs(_adjoint(found)))
        return _ratio(_product(found, _adjoint(found)) - first, n, allowed, result)
    if case.op == "linalg.solve_triangular":
        return _ratio(_product(first, found) - arrays[1], n, _rough(size, np.abs(found)), result)
    q, r = found[:m], found[m:]
    lengths = np.sqrt((size * size).sum(0))
    residual = np.sqrt((np.abs(_product(q, r) - first) ** 2).sum(0))
    apart = np.abs(_product(_adjoint(q), q) - np.eye(n)).max(initial=0)
    below = np.abs(np.tril(r, -1)).max(initial=0)
    return max(
        _ratio(residual, n, lengths, result),
        _ratio(np.asarray(apart), n, np.ones(()), result),
        math.inf if below != 0 else 0.0,
    )


def _product(a: Array, b: Array) -> Array:
    """A product that is right to more digits than those that are checked, without taking minutes.

    Long double is slow: each factor is parted into float64 and what is left of it.
    """
    narrow = np.dtype("c16" if a.dtype.kind == "c" or b.dtype.kind == "c" else "f8")
    if a.size * b.shape[-1] < 10**7:
        return np.asarray(a @ b)
    high_a, high_b = (_leading(x.astype(narrow)) for x in (a, b))
    low_a, low_b = (a - high_a).astype(narrow), (b - high_b).astype(narrow)
    exact = np.asarray(high_a @ high_b).astype(a.dtype)
    return np.asarray(exact + (high_a @ low_b + low_a @ b.astype(narrow)))


def _leading(x: Array) -> Array:
    """The leading bits of numbers: so few that sums of products of them are exact, or nearly."""
    largest = max(float(np.abs(x).max(initial=0)), 1e-300)
    scale = 2.0 ** (18 - math.ceil(math.log2(largest)))
    return np.asarray(np.round(x * scale) / scale)


def _rough(a: Array, b: Array) -> Array:
    return np.asarray(a.astype(np.float64) @ b.astype(np.float64))


def _ratio(difference: Array, terms: int, size: Array, result: Array) -> float:
    eps = float(np.finfo(result.dtype).eps)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(difference)
        ratio = np.where(off == 0, 0, off / (8 * math.sqrt(terms + 4) * eps * size))
    return float(np.max(np.nan_to_num(ratio, nan=np.inf), initial=0.0))
