"""Arrays in and out: anything array-like becomes a NumPy array, results go back as they came."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def as_array(x: Any, name: str) -> Array:
    """`x` as a NumPy array, without a copy where it is one or exports CPU memory by DLPack."""
    if isinstance(x, np.ndarray):
        return np.asarray(x)
    if hasattr(x, "__cuda_array_interface__"):
        raise TypeError(f"{name} is on a GPU ({type(x).__name__}); this operation wants CPU arrays")
    if hasattr(x, "__dlpack__"):
        try:
            return np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError) as error:
            raise TypeError(
                f"{name} ({type(x).__name__}) cannot be read by DLPack: {error}"
            ) from error
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} is not an array: {error}") from error


def like(result: Array, *inputs: Any) -> Any:
    """`result` in the library of the first input that is not NumPy's, without a copy.

    Among NumPy's own, a result without axes becomes a scalar.
    """
    for x in inputs:
        if hasattr(x, "__dlpack__") and not isinstance(x, np.ndarray | np.generic):
            from array_api_compat import array_namespace

            return array_namespace(x).from_dlpack(result)
    return result if result.ndim else result[()]


def native(x: Array) -> Array:
    """`x` itself if kernels can read it (aligned, native byte order), otherwise a copy."""
    if x.flags.aligned and x.dtype.isnative:
        return x
    return x.astype(x.dtype.newbyteorder("="), order="K")
