"""Random draws: rows, how the libraries spell them, and whether fastmat's are right.

Every library draws its own numbers, so NumPy's are no measure: fastmat's are held against
`by_philox`, in windows, since a number depends on its position alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmat
from fastmat.comparisons import by_philox
from fastmat.comparisons.by_philox import SEED

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

WINDOW = 1 << 16  # numbers that are checked at the begin, in the middle and at the end

OPERATIONS = tuple(
    f"random.{name}" for name in ("uniform", "standard_normal", "normal", "integers", "rademacher")
)

# What the draws are given beside the size.
_EXTENT, _MEAN, _DEVIATION = 1000, 10.0, 2.0


def row(op: str, dtype: str, *size: int, quick: bool = False) -> dict[str, Any]:
    """The fields of a `Case`, which has no operands."""
    fields = {"group": "random numbers", "op": f"random.{op}", "dtype": dtype, "shapes": ()}
    return {**fields, "options": (("size", size),), "quick": quick}


ROWS = (
    *(
        row(op, dtype, *size, quick=dtype == "float32" and size == (1000, 1000))
        for op in ("standard_normal", "uniform")
        for dtype, size in (
            ("float32", (1000, 1000)),
            ("float32", (10**8,)),
            ("float64", (10**7,)),
        )
    ),
    row("standard_normal", "complex64", 10**7),
    row("standard_normal", "float32", 100),
    row("normal", "float64", 10**7),
    row("integers", "int64", 10**7),
    row("integers", "uint8", 10**7),
    row("rademacher", "float32", 10**7),
    row("rademacher", "int8", 10**7),
)


def has(case: Case) -> bool:
    """Whether a row is spelled here."""
    return case.op in OPERATIONS


def size_of(case: Case) -> tuple[int, ...]:
    """The shape of what is drawn."""
    found: tuple[int, ...] = dict(case.options)["size"]  # type: ignore[assignment]
    return found


def output(case: Case) -> Array:
    """An uninitialized output for the case."""
    return np.empty(size_of(case), case.dtype)


def fastmat_call(case: Case, out: Array) -> Call:
    """fastmat's way."""
    function = getattr(fastmat.random, case.op.removeprefix("random."))
    arguments: dict[str, tuple[object, ...]] = {
        "random.normal": (_MEAN, _DEVIATION),
        "random.integers": (0, _highest(out)),
    }
    return partial(function, *arguments.get(case.op, ()), out=out, rng=SEED)


def _highest(out: Array) -> int:
    return min(_EXTENT, int(np.iinfo(out.dtype).max)) if out.dtype.kind in "iu" else 0


def numpy_call(case: Case, out: Array) -> Call:
    """NumPy's way: the same numbers at each call."""
    draw = _NUMPY[case.op.removeprefix("random.")]
    return lambda: draw(np.random.default_rng(SEED), out)


def torch_call(case: Case, out: Any) -> Call | None:
    """PyTorch's way, where it has one."""
    draw = _TORCH.get(case.op.removeprefix("random."))
    return draw and partial(draw, out)


def error(case: Case, result: Array, expected: Array) -> float:
    """The error in units of what rounding permits; 0 for NumPy's own result.

    Uniform numbers, integers and signs are exact; normal ones may be off by 4 eps of themselves
    (logarithm, root, sine, two products), and by half of that of the result with a mean.
    """
    if np.array_equal(result, expected):
        return 0.0
    flat = result.reshape(-1)
    if flat.dtype.kind in "fc" and not np.isfinite(flat).all():
        return math.inf
    last = max(0, flat.size - WINDOW)
    return max(_error_of_window(case, flat, first) for first in {0, last // 2, last})


def _error_of_window(case: Case, flat: Array, first: int) -> float:
    found = flat[first : first + WINDOW]
    positions = np.arange(first, first + found.size, dtype=np.uint64)
    if "normal" not in case.op:
        exact = {
            "random.uniform": lambda: by_philox.uniform(positions, found.dtype),
            "random.integers": lambda: by_philox.integers(positions, _highest(found)),
            "random.rademacher": lambda: by_philox.signs(positions),
        }[case.op]()
        return 0.0 if np.array_equal(found, exact) else math.inf
    factor = 1.0
    if found.dtype.kind == "c":  # pairs of real numbers
        found, factor = found.view(found.real.dtype), math.sqrt(0.5)
        positions = np.arange(2 * first, 2 * first + found.size, dtype=np.uint64)
    value = by_philox.normal(positions, found.dtype) * factor
    allowed = 4.5 * np.abs(value)
    if case.op == "random.normal":
        value = _MEAN + _DEVIATION * value
        allowed = _DEVIATION * allowed + np.abs(value)
    ratio = np.abs(found - value) / (float(np.finfo(found.dtype).eps) * allowed)
    return float(ratio.max())


def _complex_normal(rng: np.random.Generator, out: Array) -> None:
    if out.dtype.kind == "c":
        parts = out.view(out.real.dtype)
        rng.standard_normal(out=parts, dtype=parts.dtype.type)
        np.multiply(parts, parts.dtype.type(math.sqrt(0.5)), out=parts)
    else:
        rng.standard_normal(out=out, dtype=out.dtype.type)


def _numpy_integers(rng: np.random.Generator, out: Array) -> None:
    np.copyto(out, rng.integers(0, _highest(out), out.shape, out.dtype.type))


def _numpy_signs(rng: np.random.Generator, out: Array) -> None:
    bits = rng.integers(0, 2, out.shape, np.int8)
    np.copyto(out, 1 - 2 * bits)


_NUMPY: dict[str, Callable[[np.random.Generator, Array], object]] = {
    "uniform": lambda rng, out: rng.random(out=out, dtype=out.dtype.type),
    "standard_normal": _complex_normal,
    "normal": lambda rng, out: np.copyto(out, rng.normal(_MEAN, _DEVIATION, out.shape)),
    "integers": _numpy_integers,
    "rademacher": _numpy_signs,
}

_TORCH: dict[str, Callable[[Any], object]] = {
    "uniform": lambda out: out.uniform_(),
    "standard_normal": lambda out: out.normal_(),
    "normal": lambda out: out.normal_(_MEAN, _DEVIATION),
    "integers": lambda out: out.random_(0, _highest(out.numpy())),
}
