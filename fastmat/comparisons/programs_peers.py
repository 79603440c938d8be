"""The rows of `programs` as NumPy, SciPy, plain Numba and PyTorch spell them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, prange
from scipy import special
from scipy.spatial.distance import cdist

from fastmat.comparisons.programs import Array, Call, is_sparse, mask_of, pattern

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

# How NumPy adds and multiplies.
_UFUNCS: dict[str, tuple[np.ufunc, np.ufunc]] = {
    "min_plus": (np.minimum, np.add),
    "a user's min_plus": (np.minimum, np.add),
    "max_plus": (np.maximum, np.add),
    "plus_min": (np.add, np.minimum),
}
_SAMPLES = 2**14  # dot products that NumPy computes at a time


def numpy_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call:
    """NumPy's way, or SciPy's where NumPy has none."""
    options: dict[str, Any] = dict(case.options)
    if case.op == "linear":
        return partial(_linear, *arrays, out, **options)
    if case.op == "linear_vjp":
        return partial(_linear_vjp, *arrays, out, **options)
    if case.op == "matmul_vjp":
        return partial(_matmul_vjp, *arrays, out)
    if "modulus" in options:
        return partial(_modular, *arrays, out, options["modulus"])
    if is_sparse(case):
        return partial(_sampled, *arrays, out, pattern(case).tocoo())
    name = options.get("semiring")
    if name is None:
        return partial(_masked, *arrays, out, ~_mask(case))
    if name in ("sqeuclidean", "cityblock"):
        return partial(_distances, *arrays, out, name)
    if name == "log_sum_exp":
        return partial(_log_sum_exp, *arrays, out)
    return partial(broadcast, *arrays, out, *_UFUNCS[name])


def _mask(case: Case) -> Array:
    kept = mask_of(case)
    assert kept is not None
    return kept


def broadcast(a: Array, b: Array, out: Array, add: np.ufunc, multiply: np.ufunc) -> None:
    """Row by row, so that what is multiplied fits a cache, as does none of more rows."""
    for i, numbers in enumerate(a):
        add.reduce(multiply(numbers[:, np.newaxis], b), 0, out=out[i])


def _log_sum_exp(a: Array, b: Array, out: Array) -> None:
    for i, numbers in enumerate(a):
        sums = numbers[:, np.newaxis] + b
        largest = sums.max(0)
        np.add(np.log(np.exp(sums - largest).sum(0)), largest, out=out[i])


def _distances(a: Array, b: Array, out: Array, name: str) -> None:
    """SciPy's, which are in float64."""
    np.copyto(out, cdist(a, b.T, name), casting="same_kind")


def _modular(a: Array, b: Array, out: Array, modulus: int) -> None:
    """Residues after each term: the sum of more than two products of them overflows."""
    out[...] = 0
    for k in range(a.shape[1]):
        out += a[:, k, np.newaxis] * b[k] % modulus
    out %= modulus


def _masked(a: Array, b: Array, out: Array, left_out: Array) -> None:
    np.matmul(a, b, out)
    np.copyto(out, np.zeros((), out.dtype), where=left_out)


def _sampled(a: Array, b: Array, out: Array, mask: Any) -> None:
    columns = np.ascontiguousarray(b.T)
    for begin in range(0, mask.nnz, _SAMPLES):
        part = slice(begin, begin + _SAMPLES)
        np.einsum("ij,ij->i", a[mask.row[part]], columns[mask.col[part]], out=out[part])


def _linear(
    x: Array, weight: Array, bias: Array, out: Array, activation: str | None = None
) -> None:
    np.matmul(x, weight.T, out)
    out += bias
    if activation == "gelu":
        np.multiply(0.5 * out, 1 + special.erf(out * math.sqrt(0.5)), out=out)


def _linear_vjp(
    cotangent: Array,
    x: Array,
    weight: Array,
    bias: Array,
    out: Array,
    activation: str | None = None,
) -> None:
    slope = cotangent
    if activation == "gelu":
        z = x @ weight.T
        z += bias
        density = np.exp(-0.5 * z * z) * math.sqrt(0.5 / math.pi)
        slope = cotangent * (0.5 * (1 + special.erf(z * math.sqrt(0.5))) + z * density)
    by_x, by_weight, by_bias = _parts(out, (x, weight, bias))
    np.matmul(slope, weight, by_x)
    np.matmul(slope.T, x, by_weight)
    np.sum(slope, 0, out=by_bias)


def _matmul_vjp(cotangent: Array, a: Array, b: Array, out: Array) -> None:
    by_a, by_b = _parts(out, (a, b))
    np.matmul(cotangent, b.T, by_a)
    np.matmul(a.T, cotangent, by_b)


def _parts(out: Array, arrays: Sequence[Array]) -> list[Array]:
    """The output cut into arrays of these shapes."""
    ends = np.cumsum([x.size for x in arrays])[:-1]
    return [part.reshape(x.shape) for part, x in zip(np.split(out, ends), arrays, strict=True)]


def numba_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call | None:
    """Three plain loops, compiled and parallel, of the semirings that are written down here."""
    name = str(dict(case.options).get("semiring"))
    if name not in _LOOPS:
        return None
    add, multiply, identity = _LOOPS[name]
    return partial(_loops(add, multiply), *arrays, out, out.dtype.type(identity))


_LOOPS: dict[str, tuple[Any, Any, float]] = {
    "min_plus": (min, lambda x, y: x + y, np.inf),
    "max_plus": (max, lambda x, y: x + y, -np.inf),
    "plus_min": (lambda x, y: x + y, min, 0),
    "sqeuclidean": (lambda x, y: x + y, lambda x, y: (x - y) ** 2, 0),
    "cityblock": (lambda x, y: x + y, lambda x, y: abs(x - y), 0),
}


@functools.cache
def _loops(add: Any, multiply: Any) -> Callable[..., None]:
    """Columns innermost, where numbers lie side by side."""
    plus, times = (f if f in (min, max) else njit(f) for f in (add, multiply))

    @njit(parallel=True)
    def product(a, b, out, identity):
        for i in prange(a.shape[0]):
            out[i] = identity
            for k in range(a.shape[1]):
                x = a[i, k]
                for j in range(b.shape[1]):
                    out[i, j] = plus(out[i, j], times(x, b[k, j]))

    return product  # type: ignore[no-any-return]


class Gradients(tuple[Any, ...]):
    """Tensors that are put into one array only when they are looked at."""

    def numpy(self) -> Array:
        return np.concatenate([part.numpy().ravel() for part in self])


def torch_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call | None:
    """PyTorch's way; the call returns what holds the result."""
    import torch
    from torch.nn import functional

    options: dict[str, Any] = dict(case.options)
    tensors, result = [torch.from_numpy(x) for x in arrays], torch.from_numpy(out)

    def layer(*given: Any) -> Any:
        found = functional.linear(*given)
        return functional.gelu(found) if options.get("activation") == "gelu" else found

    if case.op == "linear":
        return partial(layer, *tensors)
    if case.op.endswith("_vjp"):
        function = layer if case.op == "linear_vjp" else torch.matmul
        return partial(_gradients, function, *tensors)
    name = options.get("semiring")
    if name == "cityblock":
        return partial(torch.cdist, tensors[0], tensors[1].T.contiguous(), 1.0)
    if name is not None or "modulus" in options:
        return None
    if is_sparse(case):
        mask = pattern(case)
        places = [torch.from_numpy(x) for x in (mask.indptr, mask.indices)]
        ones = torch.sparse_csr_tensor(*places, torch.from_numpy(mask.data), mask.shape)
        return partial(_sampled_by_torch, ones, *tensors)
    left_out = torch.from_numpy(~_mask(case))
    return lambda: torch.matmul(*tensors, out=result).masked_fill_(left_out, 0)


def _sampled_by_torch(ones: Any, a: Any, b: Any) -> Any:
    import torch

    return torch.sparse.sampled_addmm(ones, a, b, beta=0.0).values()


def _gradients(function: Callable[..., Any], cotangent: Any, *operands: Any) -> Gradients:
    """Forth and back: autograd, too, has to know what the activation was applied to."""
    import torch

    leaves = [x.detach().requires_grad_() for x in operands]
    return Gradients(torch.autograd.grad(function(*leaves), leaves, cotangent))
