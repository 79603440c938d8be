"""Values that are written into arrays: cast to the dtype of the array, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array
from fastmat.core.dtypes import DType, movable, unmovable

RANKS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}  # of kinds of numbers, for `rank`
_SCALARS = {bool: 0, int: 1, float: 2, complex: 3}  # Python's own, whose size does not count


def rank(dtype: DType) -> int | None:
    """0 for bool, 1 for integers, 2 for real, 3 for complex numbers; None for all else."""
    if dtype.name == "bfloat16":
        return 2
    return RANKS.get(dtype.kind)


def items_of(x: Any, name: str = "x") -> Array:
    """`x` as an array whose items kernels can move as bits."""
    array = as_array(x, name)
    if not movable(array.dtype):
        raise unmovable(name, array.dtype)
    return array


def cast(value: Any, name: str, dtype: DType) -> Array:
    """A value as an array of just this dtype, cast to it under the rule 'same_kind'.

    Of Python's own numbers only the kind counts, as in NumPy 2.
    """
    kind = rank(dtype)
    own = _SCALARS.get(type(value))
    if own is not None and kind is not None:
        if own > kind:
            raise _refused(name, f"is {value!r}", dtype)
        if own == 1 and kind == 1:
            least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
            if not least <= value <= most:
                raise OverflowError(
                    f"{name} is {value}; for {dtype} it must be from {least} to {most}"
                )
        with np.errstate(over="ignore"):
            return np.array(value).astype(dtype)
    array = as_array(value, name)
    if array.dtype == dtype:
        return array
    given = rank(array.dtype)
    allowed = np.can_cast(array.dtype, dtype, "same_kind")
    if not allowed or (kind is not None and given is not None and given > kind):
        raise _refused(name, f"has dtype {array.dtype}", dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype)


def _refused(name: str, got: str, dtype: DType) -> TypeError:
    return TypeError(f"{name} {got}, which cannot be cast to {dtype} under the rule 'same_kind'")
