"""Products of one's own making and linear layers: rows, operands, and how fastmat spells them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmat

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]
Shape = tuple[int, ...]

KEPT_BLOCKS = 0.1  # share of the blocks of a mask that are True
STORED = 0.01  # share of the entries that a sparse mask stores
BLOCK = 64

# What the operations call their operands after the first.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "matmul": ("x2",),
    "linear": ("weight", "bias"),
    "linear_vjp": ("x", "weight", "bias"),
    "matmul_vjp": ("x1", "x2"),
}


def row(
    op: str, dtype: str, m: int, k: int, n: int, group: str, quick: bool = False, **options: object
) -> dict[str, Any]:
    """The fields of a `Case` with m x k and k x n matrices, or a layer from k to n numbers."""
    given: dict[str, Shape] = {"x1": (m, k), "x2": (k, n), "cotangent": (m, n)}
    given |= {"x": (m, k), "weight": (n, k), "bias": (n,)}
    first = "x" if op == "linear" else "cotangent" if op.endswith("_vjp") else "x1"
    shapes = tuple(given[name] for name in (first, *PARAMETERS[op]))
    note = ", ".join(
        f"modulo {value}" if name == "modulus" else str(value) for name, value in options.items()
    )
    fields = {"group": group, "op": op, "dtype": dtype, "shapes": shapes}
    return {**fields, "options": tuple(options.items()), "note": note, "quick": quick}


_RINGS, _MASKS, _LAYERS = "semirings", "masked products", "linear layers"
_DEEP = 4096, 256, 1024
_LAYER: dict[str, Any] = {"group": _LAYERS, "activation": "gelu"}

ROWS = (
    *(
        row("matmul", "float32", 1024, 1024, 1024, _RINGS, semiring=name)
        for name in ("min_plus", "max_plus", "plus_min")
    ),
    row("matmul", "float32", 256, 256, 256, _RINGS, quick=True, semiring="min_plus"),
    row("matmul", "float32", 1024, 1024, 1024, _RINGS, semiring="a user's min_plus"),
    row("matmul", "float64", 2000, 64, 2000, _RINGS, semiring="sqeuclidean"),
    row("matmul", "float64", 2000, 64, 2000, _RINGS, semiring="cityblock"),
    row("matmul", "float32", 2000, 64, 2000, _RINGS, semiring="cityblock"),
    row("matmul", "float32", 256, 256, 256, _RINGS, semiring="log_sum_exp"),
    row("matmul", "int64", 256, 256, 256, _RINGS, quick=True, modulus=2**31 - 1),
    row("matmul", "float32", 2048, 2048, 2048, _MASKS, mask="causal"),
    row("matmul", "float32", 2048, 2048, 2048, _MASKS, mask="10 % of blocks"),
    row("matmul", "float32", 1024, 1024, 1024, _MASKS, mask="all True"),
    row("matmul", "float32", 256, 256, 256, _MASKS, quick=True, mask="causal"),
    row("matmul", "float32", 4096, 64, 4096, _MASKS, mask="1 % sparse"),
    row("linear", "float32", *_DEEP, group=_LAYERS, quick=True),
    row("linear", "float32", *_DEEP, **_LAYER),
    row("linear", "float32", 1024, 1024, 1024, **_LAYER),
    row("linear_vjp", "float32", *_DEEP, **_LAYER),
    row("matmul_vjp", "float32", 1024, 1024, 1024, group=_LAYERS),
)


def has(case: Case) -> bool:
    """Whether a row is spelled here: products with options, and layers."""
    return case.op in PARAMETERS and (case.op != "matmul" or bool(case.options))


def operands(case: Case, arrays: tuple[Array, ...], rng: np.random.Generator) -> tuple[Array, ...]:
    """The operands; of a modular product residues over the whole range."""
    modulus: Any = dict(case.options).get("modulus")
    if modulus is None:
        return arrays
    return tuple(rng.integers(modulus, size=x.shape) for x in arrays)


def output(case: Case, arrays: Sequence[Array]) -> Array:
    """An output: of a sparse mask the stored entries, of gradients all of them, one after another.

    The gradients are those by the operands after the cotangent.
    """
    first, second = arrays[:2]
    if case.op.endswith("_vjp"):
        return np.empty(sum(x.size for x in arrays[1:]), first.dtype)
    if is_sparse(case):
        return np.empty(pattern(case).nnz, first.dtype)
    n = second.shape[0] if case.op == "linear" else second.shape[1]
    return np.empty((first.shape[0], n), first.dtype)


def operations(case: Case) -> float:
    """Additions and multiplications, or what stands for them, of what has to be computed.

    The gradients of a layer with an activation take three products, as its argument is computed
    again; those without take two.
    """
    m, n = (case.shapes[0][0], _columns(case))
    k = case.shapes[1][-1] if case.op.endswith("_vjp") else case.shapes[0][1]
    count = 2.0 * m * k * n
    if case.op == "linear_vjp":
        return count * (3 if "activation" in dict(case.options) else 2)
    if case.op == "matmul_vjp":
        return 2 * count
    if is_sparse(case):
        return 2.0 * k * pattern(case).nnz
    kept = mask_of(case)
    return count if kept is None else count * float(np.mean(kept))


def _columns(case: Case) -> int:
    if case.op == "linear":
        return case.shapes[1][0]
    return case.shapes[0 if case.op.endswith("_vjp") else 1][1]


def fastmat_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call:
    """fastmat's way."""
    options: dict[str, Any] = dict(case.options)
    if "modulus" in options:
        ring: Any = fastmat.modular(options["modulus"])
        return partial(fastmat.matmul, *arrays, out, semiring=ring)
    if case.op == "linear":
        return partial(fastmat.linear, *arrays, out=out, **options)
    if case.op.endswith("_vjp"):
        return partial(_store, getattr(fastmat, case.op), arrays, out, **options)
    if is_sparse(case):
        return partial(_store_sampled, *arrays, out, pattern(case))
    if "semiring" in options:
        name = options["semiring"]
        ring = of_user() if name == "a user's min_plus" else name
        return partial(fastmat.matmul, *arrays, out, semiring=ring)
    shape, mask = out.shape, options["mask"]
    kept: Any = mask_of(case)
    if mask == "causal":
        kept = fastmat.masks.causal(*shape)
    elif mask != "all True":
        kept = fastmat.masks.blocks(_kept_blocks(shape), (BLOCK, BLOCK))
    return partial(fastmat.matmul, *arrays, out, mask=kept)


def _store(gradients: Callable[..., Any], arrays: tuple[Array, ...], out: Array, **options: Any):
    np.concatenate([x.ravel() for x in gradients(*arrays, **options)], out=out)


def _store_sampled(x1: Array, x2: Array, out: Array, mask: Any) -> None:
    np.copyto(out, fastmat.matmul(x1, x2, mask=mask).data)


@functools.cache
def of_user() -> fastmat.Semiring:
    """The semiring "min_plus", as a user writes it."""
    return fastmat.Semiring(lambda x, y: y if y < x else x, lambda x, y: x + y, np.inf)


def is_sparse(case: Case) -> bool:
    """Whether a product is sampled where a sparse mask has entries."""
    return dict(case.options).get("mask") == "1 % sparse"


def mask_of(case: Case) -> Array | None:
    """The mask of a product in full, or None."""
    if "mask" not in dict(case.options):
        return None
    shape = case.shapes[0][0], case.shapes[1][1]
    return _dense(shape, str(dict(case.options)["mask"]))


@functools.lru_cache(maxsize=4)
def _dense(shape: tuple[int, int], name: str) -> Array:
    if name == "causal":
        return np.tri(*shape, dtype=bool)
    if name == "all True":
        return np.ones(shape, bool)
    ones = np.ones((BLOCK, BLOCK), bool)
    return np.kron(_kept_blocks(shape), ones)[: shape[0], : shape[1]]


def _kept_blocks(shape: Shape) -> Array:
    grid = tuple(-(-length // BLOCK) for length in shape)
    return np.random.default_rng(2).random(grid) < KEPT_BLOCKS


def pattern(case: Case) -> Any:
    """The sparse mask of a sampled product."""
    return _pattern(case.shapes[0][0], case.shapes[1][1])


@functools.lru_cache(maxsize=4)
def _pattern(m: int, n: int) -> Any:
    from scipy import sparse

    rng = np.random.default_rng(3)
    found = sparse.random_array((m, n), density=STORED, format="csr", dtype=np.float32, rng=rng)
    found.sort_indices()
    return found
