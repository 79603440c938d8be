"""Masked fills and submatrices: rows, operands, and how NumPy and PyTorch spell them.

Results have to agree to the last bit: all sums are in float64 and in fastmat's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmat

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

KEPT = 0.7  # share of a mask that is True

# What the operations call their operands after the first.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "masked_fill": ("mask",),
    "masked_fill_vjp": ("mask",),
    "mask_rows_cols": ("row_mask", "col_mask"),
    "mask_rows_cols_vjp": ("row_mask", "col_mask"),
    "take_submatrix": ("rows", "cols"),
    "take_submatrix_vjp": ("rows", "cols"),
    "put_submatrix": ("rows", "cols"),
}


def row(
    op: str,
    dtype: str,
    shape: tuple[int, ...],
    extents: tuple[int, int] | None = None,
    note: str = "",
    quick: bool = False,
) -> dict[str, Any]:
    """The fields of a `Case`: the first operand is of this shape.

    `extents` are how many rows and columns are taken; of a gradient, or where something is put,
    how many there are.
    """
    lines = shape[-2:]
    options: tuple[tuple[str, object], ...] = ()
    if op == "take_submatrix" and extents:
        lines = extents
    elif extents:
        options = (("extents", extents),)
    others = (shape,) if op.startswith("masked_fill") else tuple((n,) for n in lines)
    fields = {"group": "masks and submatrices", "op": op, "dtype": dtype, "options": options}
    return {**fields, "shapes": (shape, *others), "note": note, "quick": quick}


_SMALL, _HALF, _LARGE = (1024, 1024), (2048, 2048), (4096, 4096)

ROWS = (
    *(
        row("masked_fill", dtype, shape, quick=(dtype, shape) == ("float32", _SMALL))
        for dtype in ("float32", "float64", "uint8")
        for shape in (_SMALL, _LARGE)
    ),
    row("mask_rows_cols", "float32", _SMALL),
    row("mask_rows_cols", "float32", _LARGE),
    row("take_submatrix", "float32", _SMALL, (512, 512), quick=True),
    row("take_submatrix", "float32", _LARGE, _HALF),
    row("take_submatrix", "float64", _LARGE, _HALF),
    row("take_submatrix", "float32", (200_000, 64), (100_000, 8), note="8 columns"),
    row("put_submatrix", "float32", _HALF, _HALF),
    row("masked_fill_vjp", "float32", _LARGE),
    row("mask_rows_cols_vjp", "float32", _LARGE),
    row("take_submatrix_vjp", "float32", _HALF, _SMALL),
)


def operands(case: Case, arrays: Sequence[Array], rng: np.random.Generator) -> tuple[Array, ...]:
    """The operands of a case, with masks and indices where they belong.

    Rows of a gradient are in random order and some are there several times; else none is.
    """
    x, *others = arrays
    found = [x]
    for name, other in zip(case.parameters, others, strict=True):
        if "mask" in name:
            found.append(rng.random(other.shape) < KEPT)
        elif name in ("rows", "cols"):
            count = _extents(case, x)[0 if name == "rows" else 1]
            again = case.op.endswith("_vjp")
            drawn = rng.integers(count, size=len(other)) if again else rng.permutation(count)
            found.append(drawn[: len(other)].astype(np.int64))
        else:
            found.append(other)
    return tuple(found)


def _extents(case: Case, x: Array) -> tuple[int, int]:
    """Rows and columns of the matrix that is indexed."""
    found: tuple[int, int] = dict(case.options).get("extents", x.shape[-2:])  # type: ignore[assignment]
    return found


def output(case: Case, arrays: Sequence[Array]) -> Array:
    """An output for the case, of what `put_submatrix` writes to, zeros."""
    shape = arrays[0].shape
    if case.op == "take_submatrix":
        shape = (*shape[:-2], *(len(index) for index in arrays[1:]))
    elif case.op in ("put_submatrix", "take_submatrix_vjp"):
        shape = (*shape[:-2], *_extents(case, arrays[0]))
    return np.zeros(shape, arrays[0].dtype)


def numpy_call(case: Case, arrays: Sequence[Array], out: Array) -> Call:
    """NumPy's way."""
    return partial(_NUMPY[case.op], out, *arrays)


def fastmat_call(case: Case, arrays: Sequence[Array], out: Array) -> Call:
    """fastmat's way."""
    function, (x, *others) = getattr(fastmat, case.op), arrays
    if case.op == "masked_fill":
        others = [*others, 0]
    elif case.op == "put_submatrix":
        return partial(function, out, *others, x)
    elif case.op == "take_submatrix_vjp":
        others = [*others, out.shape]
    return partial(function, x, *others, out=out)


def torch_call(case: Case, tensors: Sequence[Any], out: Any) -> Call:
    """PyTorch's way; the call returns what holds the result."""
    import torch

    x, *others = tensors
    if case.op in ("masked_fill", "masked_fill_vjp"):
        zero = torch.zeros((), dtype=x.dtype)
        return partial(torch.where, others[0], zero, x, out=out)
    if case.op.startswith("mask_rows_cols"):
        rows, cols = others
        zero = torch.zeros((), dtype=x.dtype)
        return lambda: torch.where(rows[:, None] & cols, x, zero, out=out)
    rows, cols = others
    if case.op == "take_submatrix":
        return lambda: x[rows[:, None], cols]
    if case.op == "put_submatrix":
        return lambda: out.index_put_((rows[:, None], cols), x)

    def add() -> Any:
        total = torch.zeros(out.shape, dtype=torch.float64)
        total.index_put_((rows[:, None], cols), x.double(), accumulate=True)
        return out.copy_(total)

    return add


def _fill(out: Array, x: Array, mask: Array) -> None:
    np.copyto(out, x)
    np.copyto(out, np.zeros((), x.dtype), where=mask)


def _keep(out: Array, x: Array, rows: Array, cols: Array) -> None:
    np.copyto(out, np.where(rows[:, None] & cols, x, np.zeros((), x.dtype)))


def _take(out: Array, x: Array, rows: Array, cols: Array) -> None:
    np.copyto(out, x[np.ix_(rows, cols)])


def _put(out: Array, values: Array, rows: Array, cols: Array) -> None:
    out[np.ix_(rows, cols)] = values


def _add(out: Array, cotangent: Array, rows: Array, cols: Array) -> None:
    total = np.zeros(out.shape)
    np.add.at(total, np.ix_(rows, cols), cotangent)
    np.copyto(out, total, casting="same_kind")


_NUMPY: dict[str, Callable[..., None]] = {
    "masked_fill": _fill,
    "masked_fill_vjp": _fill,
    "mask_rows_cols": _keep,
    "mask_rows_cols_vjp": _keep,
    "take_submatrix": _take,
    "put_submatrix": _put,
    "take_submatrix_vjp": _add,
}
