"""Each operation as every library spells it, ready to be called again and again."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import fastmat
from fastmat.comparisons import (
    by_numpy,
    decompositions,
    draws,
    masked_reductions,
    moves,
    programs,
    programs_peers,
    tall,
)
from fastmat.comparisons.cases import PARAMETERS, Case
from fastmat.comparisons.inputs import Array

Call = Callable[[], object]


def numpy_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call:
    """NumPy's way, or SciPy's where NumPy has no function, into a preallocated output."""
    if case.op in moves.PARAMETERS:
        return moves.numpy_call(case, arrays, out)
    if programs.has(case):
        return programs_peers.numpy_call(case, arrays, out)
    if draws.has(case):
        return draws.numpy_call(case, out)
    if decompositions.has(case):
        return decompositions.numpy_call(case, arrays, out)
    if tall.has(case):
        return tall.numpy_call(case, arrays, out)
    if case.op in PARAMETERS:
        arrays = _one_dtype(case, arrays)
        function = getattr(by_numpy, case.op)
        return partial(function, arrays[0], out=out, **_keywords(case, arrays))
    if case.op in ("transpose", "matrix_transpose"):
        return partial(np.copyto, out, _permuted(case, arrays[0]))
    function = getattr(np, case.op, None)
    if function is None:  # NumPy 2.0 and 2.1 have neither matvec nor vecmat
        function = np.matmul
    return partial(function, *arrays, out)


def fastmat_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call:
    """fastmat's way, into a preallocated output."""
    if case.op in moves.PARAMETERS:
        return moves.fastmat_call(case, arrays, out)
    if programs.has(case):
        return programs.fastmat_call(case, arrays, out)
    if draws.has(case):
        return draws.fastmat_call(case, out)
    if decompositions.has(case):
        return decompositions.fastmat_call(case, arrays, out)
    if tall.has(case):
        return tall.fastmat_call(case, arrays, out)
    function = getattr(fastmat, case.op)
    if case.op == "transpose":
        return partial(function, arrays[0], case.axes, out)
    if case.op == "moments":
        return partial(_store_moments, arrays[0], out, **_keywords(case, arrays))
    if case.op in PARAMETERS:
        destination = (out[0], out[1]) if case.residual else out
        if case.op == "scaled_dot_product_attention_vjp":
            destination = (out, None, None)
        return partial(function, arrays[0], out=destination, **_keywords(case, arrays))
    return partial(function, *arrays, out)


def _store_moments(x: Array, out: Array, **keywords: Any) -> None:
    out[0], out[1] = fastmat.moments(x, **keywords)


def torch_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call | None:
    """PyTorch's way, where it is installed and can do it at all.

    The call returns what holds the result, with a method `numpy`: the output, but something new
    where PyTorch's function cannot be given an output.
    """
    if importlib.util.find_spec("torch") is None or case.layout == "reversed":
        return None
    if programs.has(case):
        return programs_peers.torch_call(case, arrays, out)
    if tall.has(case):
        return tall.torch_call(case, arrays, out)
    import torch

    if case.op in PARAMETERS:
        arrays = _one_dtype(case, arrays)
    tensors: list[Any] = [torch.from_numpy(array) for array in arrays]
    result = torch.from_numpy(out)
    if draws.has(case):
        return draws.torch_call(case, result)
    if decompositions.has(case):
        return decompositions.torch_call(case, tensors, result)
    if case.op in moves.PARAMETERS:
        return moves.torch_call(case, tensors, result)
    if case.op in PARAMETERS:
        from fastmat.comparisons import by_torch

        function = getattr(by_torch, case.op, None)
        keywords = _keywords(case, tensors)
        if case.op in by_torch.GRAPHS:
            return by_torch.gradient_of_graph(case.op, tensors[0], **keywords)
        return function and partial(function, tensors[0], out=result, **keywords)
    if case.op in ("transpose", "matrix_transpose"):
        return partial(result.copy_, tensors[0].permute(_axes(case)))
    if case.op != "matmul" or case.dtype == "bool":
        return None
    return partial(torch.matmul, *tensors, out=result)


def numba_call(case: Case, arrays: tuple[Array, ...], out: Array) -> Call | None:
    """Plain loops that Numba compiles, for what neither NumPy nor PyTorch have."""
    return programs_peers.numba_call(case, arrays, out) if programs.has(case) else None


def _keywords(case: Case, operands: Sequence[Any]) -> dict[str, Any]:
    """The operands after the first, and the other arguments, by name."""
    return dict(zip(case.parameters, operands[1:], strict=True)) | dict(case.options)


def _one_dtype(case: Case, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Mean and rstd in the dtype of all else: other libraries hold them so, fastmat in float64."""
    names = ("", *case.parameters)
    return tuple(
        array.astype(arrays[0].dtype, copy=False) if name in ("mean", "rstd") else array
        for name, array in zip(names, arrays, strict=True)
    )


def output(case: Case, arrays: tuple[Array, ...]) -> Array:
    """An uninitialized output for the case.

    Mean and variance are its first and second half; so are result and sum with a residual.
    """
    if case.op in moves.PARAMETERS:
        return moves.output(case, arrays)
    if programs.has(case):
        return programs.output(case, arrays)
    if draws.has(case):
        return draws.output(case)
    if decompositions.has(case):
        return decompositions.output(case, arrays)
    if tall.has(case):
        return tall.output(case, arrays)
    if case.op in PARAMETERS:
        of_second = ("logsumexp_vjp", "scaled_dot_product_attention_vjp")
        by_group = case.op in of_second or masked_reductions.is_gradient(case.op)
        first = arrays[1] if by_group else arrays[0]
        if masked_reductions.is_masked(case.op) and not by_group:
            dtype = masked_reductions.result_dtype(case.op, first.dtype)
            return np.empty(first.shape[:-1], dtype)
        if case.residual:
            return np.empty((2, *first.shape), first.dtype)
        if case.op == "moments":
            return np.empty((2, *first.shape[:-1]), first.dtype)
        return np.empty_like(first[..., 0] if case.op == "logsumexp" else first)
    shapes = [array.shape for array in arrays]
    if case.op == "matmul":
        shape = (*shapes[0][:-1], shapes[1][-1])
    elif case.op == "matvec":
        shape = shapes[0][:-1]
    elif case.op == "vecmat":
        shape = shapes[1][-1:]
    elif case.op == "vecdot":
        shape = shapes[0][:-1]
    else:
        shape = _permuted(case, arrays[0]).shape
    return np.empty(shape, arrays[0].dtype)


def _permuted(case: Case, array: Array) -> Array:
    return array.transpose(_axes(case))


def _axes(case: Case) -> tuple[int, ...]:
    if case.axes is not None:
        return case.axes
    ndim = len(case.shapes[0])
    if case.op == "matrix_transpose":
        return (*range(ndim - 2), ndim - 1, ndim - 2)
    return tuple(reversed(range(ndim)))
