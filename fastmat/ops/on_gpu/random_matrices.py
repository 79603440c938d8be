"""Random matrices on GPUs."""

from __future__ import annotations

import math
from typing import Any

from fastmat.ops.draws import REAL, key_of, place_of
from fastmat.ops.on_gpu.draws import draw, dtype_of
from fastmat.ops.random_matrices import factor_of, fans


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
