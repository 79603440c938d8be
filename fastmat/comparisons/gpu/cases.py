"""The rows of `fastmat compare --device cuda`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One row: an operation on operands of these shapes.

    Parameters
    ----------
    group
        The heading that the row stands under.
    op
        Public name of the operation.
    dtype
        dtype of the operands.
    shape
        Shape of the operand; rows, inner length and columns (after those of a batch) of products.
    options
        What the operation's builder in `operations` is told besides.
    note
        What the row stands for, where operation and shape do not say it.
    quick
        Whether ``--quick`` keeps the row.
    """

    group: str
    op: str
    dtype: str
    shape: Shape
    options: tuple[tuple[str, Any], ...] = ()
    note: str = ""
    quick: bool = False

    @property
    def title(self) -> str:
        """The row in words: operation and shape."""
        note = f", {self.note}" if self.note else ""
        return f"{self.op} {'×'.join(map(str, self.shape))}{note}"


def _product(dtype: str, *shape: int, note: str = "", quick: bool = False, **options: Any) -> Case:
    group = "products" if not options else "programmed products"
    return Case(group, "matmul", dtype, shape, tuple(options.items()), note, quick)


# As the issue of the CUDA target names them: 16 shapes whose geometric mean counts.
_SHAPES: tuple[tuple[Shape, str], ...] = (
    ((1024, 1024, 1024), ""),
    ((2048, 2048, 2048), ""),
    ((3072, 3072, 3072), ""),
    ((6144, 6144, 6144), ""),
    ((8192, 8192, 8192), ""),
    ((512, 512, 512), ""),
    ((256, 256, 256), "small"),
    ((4095, 4097, 4093), "odd"),
    ((65536, 256, 256), "tall"),
    ((256, 256, 65536), "wide"),
    ((16384, 64, 1024), "small inner length"),
    ((128, 65536, 128), "large inner length"),
    ((1024, 16384, 64), "panel"),
    ((20000, 20000, 110), "sketch"),
    ((64, 128, 128, 128), "batch"),
    ((512, 64, 64, 64), "batch"),
)

PRODUCTS = (
    _product("float32", 4096, 4096, 4096),
    *(_product("float32", *shape, note=note, quick=shape == (512,) * 3) for shape, note in _SHAPES),
    _product("float64", 4096, 4096, 4096),
    _product("float64", 1024, 1024, 1024, quick=True),
    _product("float64", 8192, 8192, 8192),
    *(
        _product(dtype, n, n, n, quick=n == 1024)
        for dtype in ("bfloat16", "float16")
        for n in (1024, 4096, 8192)
    ),
    _product("complex64", 2048, 2048, 2048),
    _product("int32", 4096, 4096, 4096),
    _product("int32", 512, 512, 512, quick=True),
    _product("int8", 2048, 2048, 2048),
    _product("float32", 4096, 4096, 4096, precision="tf32", note="tf32"),
    _product("float32", 4096, 4096, 4096, semiring="min_plus", note="min_plus"),
    _product("float32", 512, 512, 512, semiring="min_plus", note="min_plus", quick=True),
    Case("programmed products", "linear", "float32", (8192, 1024, 4096), note="bias, gelu"),
    Case("programmed products", "linear", "bfloat16", (8192, 4096, 4096), note="bias, gelu"),
    Case("matrix times vector", "matvec", "float32", (16384, 16384)),
    Case("matrix times vector", "vecmat", "float32", (16384, 16384)),
)

_WIDE, _TABLE, _SHORT = (65536, 4096), (1048576, 256), (4194304, 32)

MOVES = (
    Case("moves", "transpose", "float32", (16384, 16384)),
    Case("moves", "transpose", "float32", (1024, 1024), quick=True),
    Case("moves", "transpose", "bfloat16", (16384, 16384)),
    Case("moves", "transpose", "uint8", (32768, 32768)),
    Case("moves", "transpose", "float64", (16384, 8192)),
    Case("moves", "transpose", "float32", (64, 112, 112, 256), (("axes", (0, 3, 1, 2)),), "NHWC"),
    Case("moves", "masked_fill", "float32", _WIDE),
    Case("moves", "take_submatrix", "float32", (16384, 16384)),
)


def _on_rows(op: str, dtype: str = "float32", shape: Shape = _WIDE, **keywords: Any) -> Case:
    return Case(keywords.pop("group", "rows"), op, dtype, shape, **keywords)


ROWS = (
    *(_on_rows(op, shape=s) for op in ("softmax", "layer_norm") for s in (_WIDE, _TABLE, _SHORT)),
    *(_on_rows(op, "bfloat16") for op in ("softmax", "layer_norm", "rms_norm")),
    *(_on_rows(op, shape=(4096, 1024), quick=True) for op in ("softmax", "layer_norm", "rms_norm")),
    *(_on_rows(op) for op in ("rms_norm", "log_softmax", "logsumexp")),
    _on_rows("softmax", shape=(16, 16777216), note="long rows"),
    _on_rows("softmax", options=(("axis", 0),), note="columns"),
    _on_rows("softmax", options=(("masked", True),), note="masked"),
    _on_rows("softmax_vjp"),
    _on_rows("layer_norm_vjp"),
    _on_rows("rms_norm_vjp"),
    Case("channels", "batch_norm", "float32", (128, 256, 56, 56), note="training"),
    Case("channels", "group_norm", "float32", (128, 256, 56, 56)),
)

REDUCTIONS = tuple(
    Case("masked reductions", f"masked_{op}", "float32", shape, (("axis", -1),), quick=quick)
    for op in ("sum", "mean", "var", "max", "argmax")
    for shape, quick in ((_WIDE, False), ((4096, 1024), op == "sum"))
    if quick or shape == _WIDE
)

ATTENTION = (
    *(
        Case("attention", "scaled_dot_product_attention", dtype, (4, 16, 4096, 64), options, note)
        for dtype in ("float32", "bfloat16")
        for options, note in (((), ""), ((("is_causal", True),), "causal"))
    ),
    Case("attention", "scaled_dot_product_attention", "float32", (2, 4, 256, 64), quick=True),
)

DRAWS = (
    Case("random numbers", "random.uniform", "float32", (1 << 28,)),
    Case("random numbers", "random.standard_normal", "float32", (1 << 28,)),
    Case("random numbers", "random.standard_normal", "float32", (1 << 16,), quick=True),
)

FACTORS = (
    Case("tall matrices", "linalg.gram", "float32", (1000000, 128)),
    Case("tall matrices", "linalg.qr_tall", "float32", (1000000, 128)),
    Case("factorizations", "randomized_svd", "float32", (20000, 20000), (("k", 100),), "k = 100"),
    Case("factorizations", "randomized_svd", "float32", (2000, 500), (("k", 10),), "k = 10"),
    Case("factorizations", "pca", "float32", (100000, 2000), (("k", 20),), "k = 20"),
)

LAUNCHES = tuple(
    Case("launches from CuPy", op, "float32", shape, (("host", True),), quick=op == "softmax")
    for op, shape in (("softmax", (8, 16)), ("transpose", (8, 16)), ("matmul", (16, 16, 16)))
)

CASES = (
    *PRODUCTS, *MOVES, *ROWS, *REDUCTIONS, *ATTENTION, *DRAWS, *FACTORS, *LAUNCHES,
)  # fmt: skip


def operations() -> list[str]:
    """All names that ``--ops`` takes."""
    return list(dict.fromkeys(case.op for case in CASES))


def select(quick: bool, ops: Sequence[str] | None) -> list[Case]:
    """The rows that were asked for."""
    return [c for c in CASES if (c.quick or not quick) and (not ops or c.op in ops)]
