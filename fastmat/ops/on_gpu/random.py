"""Random numbers by position, on GPUs: those of the CPU."""

from __future__ import annotations

from typing import Any

from fastmat.ops.draws import FLOATING, REAL, SEEDS, key_of, place_of
from fastmat.ops.on_gpu.draws import draw, dtype_of
from fastmat.ops.random import INTEGERS, NUMBERS, bounds, moments, range_of


def uniform(
    low: float = 0.0,
    high: float = 1.0,
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """As `fastmat.random.uniform`."""
    kind = dtype_of(dtype, out, "float64", REAL)
    a, extent = bounds(low, high, kind)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("uniform", kind, place, key, out, like, a, extent)


def standard_normal(
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """As `fastmat.random.standard_normal`."""
    kind = dtype_of(dtype, out, "float64", FLOATING)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("normal", kind, place, key, out, like, *moments(0.0, 1.0, kind))


def normal(
    loc: complex = 0.0,
    scale: float = 1.0,
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """As `fastmat.random.normal`."""
    kind = dtype_of(dtype, out, "float64", FLOATING)
    given = moments(loc, scale, kind)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("normal", kind, place, key, out, like, *given)


def integers(
    low: int,
    high: int | None = None,
    size: Any = None,
    *,
    dtype: Any = None,
    endpoint: bool = False,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """As `fastmat.random.integers`."""
    kind = dtype_of(dtype, out, "int64", INTEGERS)
    least, extent = range_of(low, high, endpoint, kind)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    threshold = (SEEDS - extent) % extent  # products whose low half is less are drawn again
    wrapped = least % SEEDS, extent % SEEDS, threshold
    return draw("integers", kind, place, key, out, like, *wrapped)


def rademacher(
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """As `fastmat.random.rademacher`."""
    kind = dtype_of(dtype, out, "float64", NUMBERS)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("rademacher", kind, place, key, out, like)
