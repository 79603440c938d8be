"""Products in semirings, masks and sampled products in plain NumPy. Never imports fastmat.

A product in a semiring is computed one term of the sum after the other, in a dtype in which the
result depends neither on the order nor on rounding: terms that are added up in a wider dtype,
with the sum of their moduli for the bound of the error analysis; terms of which the smallest or
largest is taken in the dtype of the accumulator, in which each is rounded once.
"""

from typing import NamedTuple

import numpy as np
from oracles import BFLOAT16, HALVES, Product, rounded, widen


class Ring(NamedTuple):
    """What to add and multiply with; both take arrays."""

    add: np.ufunc
    multiply: object
    identity: object  # function of the dtype


def _zero(dtype):
    return 0


def _largest(dtype):
    """The identity of the minimum: the largest number."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).max
    return True if dtype == np.dtype(bool) else np.inf


def _smallest(dtype):
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    return False if dtype == np.dtype(bool) else -np.inf


def _first(x, y):
    return np.broadcast_arrays(x, y)[0]


def _second(x, y):
    return np.broadcast_arrays(x, y)[1]


def _pair(x, y):
    return np.ones(np.broadcast_shapes(x.shape, y.shape), x.dtype)


def _apart(x, y):
    """|x - y|, of unsigned numbers, too."""
    return np.maximum(x, y) - np.minimum(x, y) if x.dtype.kind == "u" else np.abs(x - y)


def _square_apart(x, y):
    apart = x - y
    return apart * apart


def _differ(x, y):
    return (x != y).astype(x.dtype)


_MULTIPLY = {
    "times": np.multiply,
    "plus": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "first": _first,
    "second": _second,
    "pair": _pair,
    "land": np.logical_and,
    "lor": np.logical_or,
}
# Products that are NaN are left out of a minimum or maximum: fmin and fmax.
_ADD = {
    "plus": (np.add, _zero),
    "min": (np.fmin, _largest),
    "max": (np.fmax, _smallest),
    "lor": (np.logical_or, _zero),
    "land": (np.logical_and, lambda dtype: True),
    "lxor": (np.logical_xor, _zero),
}
_PAIRS = (
    *(f"plus_{x}" for x in ("times", "plus", "min", "max", "first", "second", "pair")),
    *(f"min_{x}" for x in ("plus", "times", "max", "first", "second")),
    *(f"max_{x}" for x in ("plus", "times", "min", "first", "second")),
    "lor_land",
    "land_lor",
    "lxor_land",
)


def _ring(name):
    add, multiply = name.split("_")
    return Ring(_ADD[add][0], _MULTIPLY[multiply], _ADD[add][1])


RINGS = {
    **{name: _ring(name) for name in _PAIRS},
    "sqeuclidean": Ring(np.add, _square_apart, _zero),
    "cityblock": Ring(np.add, _apart, _zero),
    "chebyshev": Ring(np.fmax, _apart, _zero),
    "hamming": Ring(np.add, _differ, _zero),
    "log_sum_exp": Ring(np.logaddexp, np.add, lambda dtype: -np.inf),
}
LOGICAL = ("lor_land", "land_lor", "lxor_land")
OF_ORDER = (*(x for x in RINGS if "min" in x or "max" in x), "chebyshev")


def supports(name, dtype):
    """Whether a semiring is defined for a dtype: its result is not bool by way of numbers."""
    kind = "f" if np.dtype(dtype) == BFLOAT16 else np.dtype(dtype).kind
    if name == "log_sum_exp":
        return kind == "f"
    return kind != "c" or name not in OF_ORDER


def dtype_of(name, x1, x2):
    """Logical products are bool; other sums of bool are int64, as NumPy's are."""
    if name in LOGICAL:
        return np.dtype(bool)
    dtype = np.result_type(x1, x2)
    counted = dtype == np.dtype(bool) and name not in ("plus_times", "min_max", "max_min")
    return np.dtype("i8") if counted else dtype


def _computed(x, name, dtype, exact):
    """An operand in the dtype that the oracle computes in."""
    if name in LOGICAL:
        return widen(x, bool)
    if RINGS[name].add in (np.fmin, np.fmax):  # each term is rounded once, to the accumulator's
        return widen(x, dtype).astype("f4") if dtype in HALVES else np.asarray(x).astype(dtype)
    return widen(x, dtype, exact)


def product(x1, x2, name, dtype=None, exact=False):
    """The product of `matmul` in a semiring: its value, and the sum of the terms' moduli."""
    x1, x2 = np.asarray(x1), np.asarray(x2)
    dtype = dtype_of(name, x1, x2) if dtype is None else np.dtype(dtype)
    ring = RINGS[name]
    if (name, dtype) == ("plus_times", bool):
        ring = RINGS["lor_land"]
    a, b = (_computed(x, name, dtype, exact) for x in (x1, x2))
    value, magnitude = fold(a, b, ring.add, ring.multiply, ring.identity(dtype))
    return Product(value, magnitude, a.shape[-1], dtype)


def fold(x1, x2, add, multiply, identity):
    """The sum over the last axis of x1 and the second last of x2, term by term.

    Also the sum of the terms' moduli; for `logaddexp` the largest one that is finite.
    """
    a = x1[None, :] if x1.ndim == 1 else x1
    b = x2[:, None] if x2.ndim == 1 else x2
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    value = np.full(shape, identity, a.dtype)
    magnitude = np.zeros(shape, np.longdouble)
    with np.errstate(all="ignore"):
        for i in range(a.shape[-1]):
            term = multiply(a[..., :, i, None], b[..., i, None, :])
            value = add(value, term).astype(a.dtype)
            if a.dtype.kind in "fc":
                size = np.abs(term).astype(np.longdouble)
                if add is np.logaddexp:  # where the exponential is 0 or infinite, nothing is off
                    magnitude = np.maximum(magnitude, np.where(np.isfinite(size), size, 0))
                else:
                    magnitude += size
    drop = tuple(axis for axis, x in ((-2, x1), (-1, x2)) if x.ndim == 1)
    return np.squeeze(value, axis=drop), np.squeeze(magnitude, axis=drop)


def modular(x1, x2, p):
    """The product of Python's integers, modulo p."""
    x1, x2 = (np.asarray(x).astype(object) for x in (x1, x2))
    if x1.shape[-1] == 0:  # NumPy's sum of no objects is None
        return np.asarray(np.matmul(x1.astype("i8"), x2.astype("i8")))
    return np.asarray(np.matmul(x1, x2) % p).astype("i8")


def banded(m, n, lower, upper):
    """The entries with -lower <= j - i <= upper."""
    diagonal = np.arange(n) - np.arange(m)[:, None]
    return (-lower <= diagonal) & (diagonal <= upper)


def blocks(block_mask, height, width, m, n):
    """Every block of a mask as height x width entries, cut to (m, n)."""
    wide = np.repeat(np.repeat(block_mask, height, axis=-2), width, axis=-1)
    return wide[..., :m, :n]


def masked(value, mask, fill):
    """A result of which the mask leaves out entries."""
    fill = np.asarray(fill).astype(value.dtype)
    return np.where(np.broadcast_to(mask, value.shape), value, fill)


def result(found):
    """A product rounded once to its dtype."""
    return rounded(found.value, found.dtype)
