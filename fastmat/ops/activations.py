"""Activations, by name or as a user's compiled function, as kernels take them."""

from __future__ import annotations

import importlib
from typing import Any

from fastmat.core.dtypes import DType
from fastmat.ops.statistics import compute_dtype

ACTIVATIONS = '"relu", "gelu", "silu", or a function compiled by numba.njit'
NAMES = ("relu", "gelu", "silu")


def map_address(activation: Any, dtype: DType) -> int:
    """The address of the map that applies an activation to numbers of this dtype; 0 for None."""
    if activation is None:
        return 0
    known = activation in NAMES if isinstance(activation, str) else hasattr(activation, "py_func")
    if not known:
        kind = ValueError if isinstance(activation, str) else TypeError
        raise kind(f"activation is {activation!r}; it must be {ACTIVATIONS}")
    maps = importlib.import_module("fastmat.cpu.activations")
    return int(maps.address_of(activation, compute_dtype(dtype)))
