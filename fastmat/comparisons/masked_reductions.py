"""Masked reductions in the comparison: their operands, rows, and how far off they may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

REDUCTIONS = ("sum", "mean", "var", "std", "min", "max", "argmin", "argmax", "count")
GRADIENTS = ("sum", "mean", "var", "std", "min", "max")

# What they call their operands after the first, see `cases.PARAMETERS`.
PARAMETERS: dict[str, tuple[str, ...]] = {
    **{f"masked_{op}": ("mask",) for op in REDUCTIONS},
    **{
        f"masked_{op}_vjp": ("x", "mask", *(("result",) if op in ("min", "max") else ()))
        for op in GRADIENTS
    },
}

_TABLE, _LONG, _SHORT = (8192, 1024), (1, 10**7), (10**6, 8)

# Operation, dtype, shape, and whether ``--quick`` keeps the row.
ROWS: tuple[tuple[str, str, tuple[int, ...], bool], ...] = (
    *((f"masked_{op}", "float32", _TABLE, op == "sum") for op in REDUCTIONS),
    *((f"masked_{op}", "float32", _LONG, False) for op in ("sum", "var", "min")),
    ("masked_sum", "float32", _SHORT, False),
    ("masked_sum", "float64", _TABLE, False),
    *((f"masked_{op}_vjp", "float32", _TABLE, op == "mean") for op in GRADIENTS),
)


def is_masked(op: str) -> bool:
    """Whether an operation is a masked reduction, or the gradient of one."""
    return op in PARAMETERS


def is_gradient(op: str) -> bool:
    """Whether an operation is the gradient of a masked reduction."""
    return op in PARAMETERS and op.endswith("_vjp")


def mask_of(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A mask that keeps half of the numbers, and the first one of each row."""
    mask = rng.random(shape) < 0.5
    mask[..., 0] = True
    return mask


def result_of(op: str, x: Array, mask: Array) -> Array:
    """The extreme numbers along the last axis that a gradient is given."""
    name = op.removeprefix("masked_").removesuffix("_vjp")
    start = np.inf if name == "min" else -np.inf
    return np.asarray(getattr(np, name)(x, -1, where=mask, initial=start))


def result_dtype(op: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the result for floats of this dtype."""
    return np.dtype(np.intp) if op.removeprefix("masked_") in _INTEGERS else dtype


_INTEGERS = ("argmin", "argmax", "count")


def allowed(op: str, named: dict[str, Array], exact: Array) -> Array:
    """How far off results may be, in units of the machine epsilon, for operands in float64.

    Sums and means are rounded once; what cancels in them is held in float64, and may be off by
    8 eps of the sum of magnitudes where that is the dtype. Variances lose no more, their roots
    less. Gradients are products of a few factors, of which ``x - mean`` may cancel: by 16 eps of
    ``(|x| + |mean|) * factor``, where the factor is what the gradient divides it by.
    """
    x, mask = named["x"], named["mask"].astype(bool)
    keep = {"axis": -1, "keepdims": True}
    count = mask.sum(**keep)  # type: ignore[arg-type]
    size = np.where(mask, np.abs(x), 0).sum(**keep)  # type: ignore[arg-type]
    if not op.endswith("_vjp"):
        share = {"masked_sum": size, "masked_mean": size / count}.get(op, size[..., :1] * 0)
        return np.asarray(8 * (np.abs(exact) + share[..., 0]))
    if op.removeprefix("masked_") in ("var_vjp", "std_vjp"):
        apart = np.where(mask, x - np.where(mask, x, 0).sum(-1, keepdims=True) / count, 0)
        slope = np.abs(exact) / np.where(apart == 0, 1, np.abs(apart))
        return np.asarray(16 * (np.abs(exact) + slope * (np.abs(x) + size / count)))
    return np.asarray(16 * np.abs(exact))
