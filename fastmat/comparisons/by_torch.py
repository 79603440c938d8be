"""Operations on groups of numbers as PyTorch has them. (Imports PyTorch.)

Each has the name and the arguments of fastmat's, and returns the tensor that holds the result:
`out`, but a new one where PyTorch's function cannot be given an output (its `.out` overloads for
layer and group norm, and for their gradients, copy).

Gradients are what autograd calls on the way back, and nothing of the way forth: the function for
that, where there is one for CPUs; otherwise autograd itself, on a graph that is kept (`GRAPHS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten
ALL = [True, True, True]  # gradients by x, by weight and by bias


class Pair(NamedTuple):
    """Result and sum, two tensors that are put together only when they are looked at."""

    result: Tensor
    sum: Tensor

    def numpy(self) -> np.ndarray[Any, Any]:
        return np.stack([part.numpy() for part in self])


def layer_norm(
    x: Tensor,
    *,
    normalized_shape: tuple[int, ...],
    weight: Tensor,
    bias: Tensor,
    out: Tensor,
    residual: Tensor | None = None,
    activation: str | None = None,
) -> Tensor | Pair:
    total = x if residual is None else torch.add(x, residual, out=out[1])
    result = functional.layer_norm(total, normalized_shape, weight, bias)
    if activation == "gelu":
        result = functional.gelu(result)
    return result if residual is None else Pair(result, total)


def rms_norm(
    x: Tensor,
    *,
    normalized_shape: tuple[int, ...],
    weight: Tensor,
    eps: float,
    out: Tensor,
    residual: Tensor | None = None,
) -> Tensor | Pair:
    total = x if residual is None else torch.add(x, residual, out=out[1])
    result = functional.rms_norm(total, normalized_shape, weight, eps)
    return result if residual is None else Pair(result, total)


def group_norm(x: Tensor, *, num_groups: int, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    return functional.group_norm(x, num_groups, weight, bias)


def instance_norm(x: Tensor, *, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=weight, bias=bias)


def batch_norm(
    x: Tensor,
    *,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    out: Tensor,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """What `torch.nn.functional.batch_norm` calls on a CPU, which can be given an output."""
    statistics = torch.empty_like(weight), torch.empty_like(weight)
    parameters = weight, bias, running_mean, running_var, training, momentum, eps
    torch.native_batch_norm(x, *parameters, out=(out, *statistics))
    return out


def normalize(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    return functional.normalize(x, dim=axis, out=out)


def moments(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, axis, correction=0)
    out[0], out[1] = mean, variance
    return out


def standardize(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, axis, correction=0, keepdim=True)
    return torch.sub(x, mean, out=out).div_(variance.sqrt_())


def softmax(x: Tensor, *, axis: int, out: Tensor, mask: Tensor | None = None) -> Tensor:
    filled = x if mask is None else _filled(x, mask, -math.inf)
    return torch.softmax(filled, axis, out=out)


def log_softmax(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    return torch.log_softmax(x, axis, out=out)


def logsumexp(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    return torch.logsumexp(x, axis, out=out)


def masked_sum(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.sum(_filled(x, mask), axis, out=out)


def masked_mean(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.div(_filled(x, mask).sum(axis), mask.sum(axis), out=out)


def masked_var(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return out.copy_(_masked_variance(x, mask, axis))


def masked_std(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.sqrt(_masked_variance(x, mask, axis), out=out)


def masked_min(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.amin(_filled(x, mask, math.inf), axis, out=out)


def masked_max(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.amax(_filled(x, mask, -math.inf), axis, out=out)


def masked_argmin(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.argmin(_filled(x, mask, math.inf), axis, out=out)


def masked_argmax(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.argmax(_filled(x, mask, -math.inf), axis, out=out)


def masked_count(x: Tensor, *, mask: Tensor, axis: int, out: Tensor) -> Tensor:
    return torch.sum(mask, axis, out=out)


def _filled(x: Tensor, mask: Tensor, value: float = 0.0) -> Tensor:
    return torch.where(mask, x, value)


def _masked_variance(x: Tensor, mask: Tensor, axis: int) -> Tensor:
    count = mask.sum(axis, keepdim=True)
    mean = _filled(x, mask).sum(axis, keepdim=True) / count
    return _filled(x - mean, mask).square().sum(axis) / count.squeeze(axis)


def scaled_dot_product_attention(
    q: Tensor, *, k: Tensor, v: Tensor, out: Tensor, is_causal: bool = False
) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)


def layer_norm_vjp(
    cotangent: Tensor,
    *,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor,
    out: Tensor,
) -> Tensor:
    bias = weight  # of which only the shape counts
    arguments = normalized_shape, mean, rstd, weight, bias, ALL
    return aten.native_layer_norm_backward(cotangent, x, *arguments)[0]


def group_norm_vjp(
    cotangent: Tensor,
    *,
    x: Tensor,
    num_groups: int,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor,
    out: Tensor,
) -> Tensor:
    n, channels, *space = x.shape
    sizes = n, channels, math.prod(space), num_groups
    return aten.native_group_norm_backward(cotangent, x, mean, rstd, weight, *sizes, ALL)[0]


def batch_norm_vjp(
    cotangent: Tensor,
    *,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor,
    training: bool,
    out: Tensor,
) -> Tensor:
    running = mean, rstd**-2  # with an eps of 0; not read in training
    arguments = weight, *running, mean, rstd, training, 0.0, ALL
    return aten.native_batch_norm_backward(cotangent, x, *arguments)[0]


def softmax_vjp(cotangent: Tensor, *, result: Tensor, axis: int, out: Tensor) -> Tensor:
    arguments = cotangent, result, axis, result.dtype
    if not out.is_contiguous():  # PyTorch 2.13 would write it as if it were
        return aten._softmax_backward_data(*arguments)
    return aten._softmax_backward_data.out(*arguments, grad_input=out)


def log_softmax_vjp(cotangent: Tensor, *, result: Tensor, axis: int, out: Tensor) -> Tensor:
    arguments = cotangent, result, axis, result.dtype
    if not out.is_contiguous():  # PyTorch 2.13 would write it as if it were
        return aten._log_softmax_backward_data(*arguments)
    return aten._log_softmax_backward_data.out(*arguments, out=out)


def gradient_of_graph(op: str, cotangent: Tensor, **operands: Any) -> Callable[[], Tensor]:
    """The call of autograd that goes back through a graph built here."""
    for name in ("x", "weight"):
        if name in operands:
            operands[name] = operands[name].detach().requires_grad_()
    result, *inputs = GRAPHS[op](**operands)
    return partial(_backward, result, inputs, cotangent)


def _backward(result: Tensor, inputs: list[Tensor], cotangent: Tensor) -> Tensor:
    return torch.autograd.grad(result, inputs, cotangent, retain_graph=True)[0]


def _rms_norm_graph(
    x: Tensor, rstd: Tensor, weight: Tensor, normalized_shape: tuple[int, ...]
) -> tuple[Tensor, ...]:
    return functional.rms_norm(x, normalized_shape, weight, 1e-6), x, weight


def _instance_norm_graph(
    x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    bias = torch.zeros_like(weight, requires_grad=True)
    return functional.instance_norm(x, weight=weight, bias=bias), x, weight, bias


def _normalize_graph(x: Tensor, axis: int) -> tuple[Tensor, ...]:
    return functional.normalize(x, dim=axis), x


def _logsumexp_graph(x: Tensor, result: Tensor, axis: int) -> tuple[Tensor, ...]:
    return torch.logsumexp(x, axis), x


def _masked_graph(op: str, x: Tensor, mask: Tensor, axis: int, **result: Tensor) -> Any:
    """Of a masked reduction; those of extreme numbers are given what they returned, too."""
    if op == "sum":
        return _filled(x, mask).sum(axis), x
    if op == "mean":
        return _filled(x, mask).sum(axis) / mask.sum(axis), x
    if op in ("var", "std"):
        variance = _masked_variance(x, mask, axis)
        return variance if op == "var" else variance.sqrt(), x
    extreme = torch.amin if op == "min" else torch.amax
    return extreme(_filled(x, mask, math.inf if op == "min" else -math.inf), axis), x


def _attention_graph(
    q: Tensor, k: Tensor, v: Tensor, result: Tensor, logsumexp: Tensor, is_causal: bool = False
) -> tuple[Tensor, ...]:
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal), q, k, v


# Result, and what it is differentiated by; statistics are those that PyTorch's own way forth keeps.
GRAPHS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "rms_norm_vjp": _rms_norm_graph,
    "instance_norm_vjp": _instance_norm_graph,
    "normalize_vjp": _normalize_graph,
    "logsumexp_vjp": _logsumexp_graph,
    **{
        f"masked_{op}_vjp": partial(_masked_graph, op)
        for op in ("sum", "mean", "var", "std", "min", "max")
    },
    "scaled_dot_product_attention_vjp": _attention_graph,
}
