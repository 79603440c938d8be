"""Operations on groups of numbers as PyTorch has them. (Imports PyTorch.)

Each has the name and the arguments of fastmat's, and returns the tensor that holds the result:
`out`, but a new one where PyTorch's function cannot be given an output (its `.out` overloads for
layer and group norm copy).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def layer_norm(
    x: Tensor, *, normalized_shape: tuple[int, ...], weight: Tensor, bias: Tensor, out: Tensor
) -> Tensor:
    return functional.layer_norm(x, normalized_shape, weight, bias)


def rms_norm(
    x: Tensor, *, normalized_shape: tuple[int, ...], weight: Tensor, eps: float, out: Tensor
) -> Tensor:
    return functional.rms_norm(x, normalized_shape, weight, eps)


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


def softmax(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    return torch.softmax(x, axis, out=out)


def log_softmax(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    return torch.log_softmax(x, axis, out=out)


def logsumexp(x: Tensor, *, axis: int, out: Tensor) -> Tensor:
    return torch.logsumexp(x, axis, out=out)
