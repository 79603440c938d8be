"""Random matrices on GPUs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.devices import on_gpu
from fastmat.cuda.arrays import on_device, scratch, view, writable
from fastmat.cuda.arrays import target as array_or_out
from fastmat.cuda.copy import copy, may_overlap
from fastmat.ops import random_matrices as on_cpu
from fastmat.ops.draws import FLOATING, REAL, key_of, place_of
from fastmat.ops.on_gpu.draws import draw, dtype_of
from fastmat.ops.on_gpu.matrices import Matrix, copied
from fastmat.ops.on_gpu.qr_tall import factored
from fastmat.ops.on_gpu.submatrix import take_rows
from fastmat.ops.random_matrices import factor_of, fans, lengths_of


def permutation(
    x: Any, *, out: Any = None, rng: Any = None, stream: int = 0, offset: int = 0
) -> Any:
    """As `fastmat.random.permutation`; the order is made on the CPU."""
    items = view(x, "x") if on_gpu(x) else None
    if items is None and not isinstance(x, int | np.integer):
        raise TypeError(f"x is not on a GPU ({type(x).__name__}), but out is")
    if items is not None and items.ndim == 0:
        raise ValueError("x has no axes; it must have one or more, or be an integer")
    count = int(x) if items is None else items.shape[0]
    order = on_cpu.permutation(count, rng=rng, stream=stream, offset=offset)
    if items is None:
        target = writable(out, (count,), "int64")
        if count:
            copy(on_device(order, target), target)
        return out
    result, target = array_or_out(out, items.shape, items.dtype, items)
    written = target
    if out is not None and may_overlap(items, target):
        written = scratch(items.shape, items.dtype, items)
    take_rows(items, on_device(order, items), written)
    if written is not target:
        copy(written, target)
    return result


def orthogonal(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: int = 0,
    like: Any = None,
) -> Any:
    """As `fastmat.random.orthogonal`; the QR decomposition is that of `linalg.qr_tall`."""
    kind = dtype_of(dtype, out, "float64", FLOATING)
    rows, cols = lengths_of(n, m)
    target = None if out is None else Matrix(writable(out, (rows, cols), kind.name), out)
    model = Matrix(view(like, "like")) if target is None else target
    place = place_of((max(rows, cols), min(rows, cols)), offset, None, None)
    factor = 1.0 if kind.kind == "f" else math.sqrt(0.5)
    drawn = draw("normal", kind, place, key_of(rng, stream), None, model, 0.0, 0.0, factor)
    q = Matrix.of(drawn)
    q = factored(q, target=q)[0]
    if rows < cols:
        return copied(q.T, kind.name, target).array
    return q.array if target is None else copied(q, kind.name, target).array


def glorot_uniform(
    shape: Any,
    *,
    gain: float = 1.0,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """As `fastmat.random.glorot_uniform`."""
    kind = dtype_of(dtype, out, "float64", REAL)
    inputs, outputs = fans(shape, whole)
    bound = factor_of(gain) * math.sqrt(6.0 / max(1, inputs + outputs))
    place, key = place_of(shape, offset, whole, out), key_of(rng, stream)
    return draw("uniform", kind, place, key, out, like, -bound, bound + bound)


def he_normal(
    shape: Any,
    *,
    gain: float = math.sqrt(2.0),
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """As `fastmat.random.he_normal`."""
    kind = dtype_of(dtype, out, "float64", REAL)
    inputs, _ = fans(shape, whole)
    deviation = factor_of(gain) / math.sqrt(max(1, inputs))
    place, key = place_of(shape, offset, whole, out), key_of(rng, stream)
    return draw("normal", kind, place, key, out, like, 0.0, 0.0, deviation)
