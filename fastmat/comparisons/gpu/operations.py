"""What each row calls: fastmat, PyTorch and CuPy on the same memory."""

from __future__ import annotations

from collections.abc import Callable

from fastmat.comparisons.gpu import moves, products, rows
from fastmat.comparisons.gpu.cases import Case
from fastmat.comparisons.gpu.work import Bench, Work

_BUILDERS: dict[str, Callable[..., Work]] = {
    "matmul": products.matmul,
    "linear": products.linear,
    "matvec": products.vector,
    "vecmat": products.vector,
    "scaled_dot_product_attention": products.attention,
    "linalg.gram": products.gram,
    "linalg.qr_tall": products.qr_tall,
    "randomized_svd": products.randomized_svd,
    "pca": products.pca,
    "transpose": moves.transpose,
    "masked_fill": moves.masked_fill,
    "take_submatrix": moves.take_submatrix,
    "random.uniform": moves.draws,
    "random.standard_normal": moves.draws,
    "softmax": rows.softmax,
    "log_softmax": rows.softmax,
    "logsumexp": rows.logsumexp,
    "softmax_vjp": rows.softmax_vjp,
    "layer_norm": rows.layer_norm,
    "rms_norm": rows.rms_norm,
    "layer_norm_vjp": rows.layer_norm_vjp,
    "rms_norm_vjp": rows.rms_norm_vjp,
    "batch_norm": rows.batch_norm,
    "group_norm": rows.group_norm,
    **{f"masked_{op}": rows.masked_reduction for op in ("sum", "mean", "var", "max", "argmax")},
}


def work(bench: Bench, case: Case) -> Work:
    """Everything about one row."""
    options = dict(case.options)
    if options.pop("host", False):
        return moves.launch(bench, case)
    return _BUILDERS[case.op](bench, case, **options)
