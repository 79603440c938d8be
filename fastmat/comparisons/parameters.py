"""What the compared operations call their operands."""

from __future__ import annotations

from fastmat.comparisons import masked_reductions

# The operations on groups of numbers, and what they call their operands after the first, which is
# `x`, or `cotangent` for gradients.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "layer_norm": ("weight", "bias"),
    "rms_norm": ("weight",),
    "group_norm": ("weight", "bias"),
    "instance_norm": ("weight", "bias"),
    "batch_norm": ("running_mean", "running_var", "weight", "bias"),
    "normalize": (),
    "cluster_norm": ("clusters", "weight", "bias"),
    "cluster_norm_vjp": ("x", "labels", "mean", "rstd", "weight"),
    "moments": (),
    "standardize": (),
    "softmax": (),
    "log_softmax": (),
    "logsumexp": (),
    "layer_norm_vjp": ("x", "mean", "rstd", "weight"),
    "rms_norm_vjp": ("x", "rstd", "weight"),
    "group_norm_vjp": ("x", "mean", "rstd", "weight"),
    "instance_norm_vjp": ("x", "mean", "rstd", "weight"),
    "batch_norm_vjp": ("x", "mean", "rstd", "weight"),
    "normalize_vjp": ("x",),
    "softmax_vjp": ("result",),
    "log_softmax_vjp": ("result",),
    "logsumexp_vjp": ("x", "result"),
    **masked_reductions.PARAMETERS,
    "scaled_dot_product_attention": ("k", "v"),
    "scaled_dot_product_attention_vjp": ("q", "k", "v", "result", "logsumexp"),
}
OF_HEADS = ("scaled_dot_product_attention", "scaled_dot_product_attention_vjp")
