"""The elementary functions of `core.elementary` and `core.trigonometry` in kernels for GPUs.

The same source, step by step, so that the bits are the same: in kernels with ``fuse=False``, where
no product is rounded with the sum that it goes to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba import cuda, types
from numba.cuda.extending import intrinsic

from fastmat.core import elementary, mathfn, trigonometry

fma, maximum, select, polynomial, reinterpret = (
    intrinsic(one._defn)
    for one in (
        elementary.fma,
        elementary.maximum,
        elementary.select,
        elementary.polynomial,
        mathfn.reinterpret,
    )
)

_NAMES = {"fma": fma, "select": select, "polynomial": polynomial, "reinterpret": reinterpret}
_IMPLEMENTATIONS = {
    "exp": elementary._exp,
    "log": elementary._log,
    "tanh": elementary._tanh,
    "erf": elementary._erf,
    "rsqrt": elementary._rsqrt,
    "sincos_turns": trigonometry._sincos_turns,
}


@functools.cache
def function(name: str, dtype: str) -> Callable[..., Any]:
    """The device function for a dtype, float32 or float64."""
    source = _IMPLEMENTATIONS[name](getattr(types, dtype))
    names = {**source.__globals__, **_NAMES}
    if name == "erf":
        names["exp"] = function("exp", dtype)
    twin = FunctionType(source.__code__, names, name, source.__defaults__, source.__closure__)
    device: Callable[..., Any] = cuda.jit(device=True)(twin)
    return device
