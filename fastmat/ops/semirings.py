"""Semirings: what a product adds and multiplies with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmat.core.dtypes import DType, kernel_name, unsupported

NAMES = (
    "plus_times",
    "plus_plus",
    "plus_min",
    "plus_max",
    "plus_first",
    "plus_second",
    "plus_pair",
    "min_plus",
    "min_times",
    "min_max",
    "min_first",
    "min_second",
    "max_plus",
    "max_times",
    "max_min",
    "max_first",
    "max_second",
    "lor_land",
    "land_lor",
    "lxor_land",
    "sqeuclidean",
    "cityblock",
    "chebyshev",
    "hamming",
    "log_sum_exp",
)
_SAMPLES = (-7, -2.5, -1, 0, 0.75, 1, 3, 100)


class Semiring:
    """What a product adds and multiplies with: ``out[i, j] = add over k of multiply(a, b)``.

    Parameters
    ----------
    add
        Function of two numbers, associative and commutative: products are added up in any order.
    multiply
        Function of two numbers, the first from the left operand.
    identity
        The number `e` with ``add(e, x) == x``: what a sum of nothing is. Or a function of the
        dtype that returns it.
    dtype
        The dtype to compute in and to return; by default that of the operands.

    Raises
    ------
    TypeError
        Where `add` or `multiply` is not a function, or `dtype` is none that kernels compute with.
    ValueError
        Where `identity` changes a number that it is added to: some are tried.

    Notes
    -----
    The functions are scalar ones, compiled by `numba.njit` or not yet. They are compiled into the
    innermost loop of the product, once for each dtype, and applied to whole vectors of the CPU if
    LLVM can do that: so they should have no branches that are expensive, and call nothing that
    Numba cannot inline. They may be called for numbers that are not part of the result, which are
    copies of some that are. What they return must be convertible to the dtype of the product.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> nearest = fm.Semiring(min, lambda x, y: (x - y) ** 2, np.inf)
    >>> fm.matmul(np.array([[0.0, 3.0]]), np.array([[1.0], [1.0]]), semiring=nearest)
    array([[1.]])
    """

    def __init__(
        self,
        add: Callable[[Any, Any], Any],
        multiply: Callable[[Any, Any], Any],
        identity: Any,
        dtype: Any = None,
    ) -> None:
        for name, function in (("add", add), ("multiply", multiply)):
            if not callable(function):
                raise TypeError(f"{name} is {function!r}; it must be a function of two numbers")
        self.dtype: DType | None = None if dtype is None else np.dtype(dtype)
        if self.dtype is not None and kernel_name(self.dtype) is None:
            raise unsupported("the semiring", self.dtype)
        self.add, self.multiply, self.identity = _plain(add), _plain(multiply), identity
        self._check_identity()

    def __repr__(self) -> str:
        names = (getattr(x, "__name__", str(x)) for x in (self.add, self.multiply))
        return f"Semiring({', '.join(names)})"

    def identity_for(self, dtype: Any) -> Any:
        """The identity in a dtype, as a Python number."""
        wanted = np.dtype(dtype)
        value = self.identity(wanted) if callable(self.identity) else self.identity
        try:
            with np.errstate(all="ignore"):
                number = np.asarray(value).astype(wanted)[()]
        except (TypeError, ValueError):
            raise ValueError(f"identity is {value!r}, which is not a number") from None
        same = number == value or (number != number and value != value)
        if not same and not np.issubdtype(wanted, np.inexact):
            raise ValueError(
                f"identity is {value!r}, which no {wanted} is; it may also be a function of the "
                "dtype, such as lambda dtype: np.iinfo(dtype).max"
            )
        return number.item()

    def _check_identity(self) -> None:
        """Add the identity to a few numbers, of the dtype or of the first kind that it suits."""
        kinds = ("float64", "int64", "bool") if self.dtype is None else (self.dtype.name,)
        add = getattr(self.add, "py_func", self.add)
        failure: Exception | None = None
        for kind in kinds:
            try:
                identity = self.identity_for(kind)
                for sample in _samples(kind):
                    for pair in ((identity, sample), (sample, identity)):
                        if add(*pair) != sample:
                            raise ValueError(
                                f"identity is {identity!r}, but add{pair} is {add(*pair)!r}"
                            )
                return
            except ValueError as error:
                failure = failure or error
            except Exception as error:  # of a kind that the function does not take
                text = f"{type(error).__name__}: {error}"
                failure = failure or TypeError(f"add cannot be evaluated ({text})")
        assert failure is not None
        raise failure


def _plain(function: Any) -> Any:
    """Python's own min and max, as functions that Numba compiles."""
    return {min: _smaller, max: _larger}.get(function, function)


def _smaller(x: Any, y: Any) -> Any:
    return y if y < x else x


def _larger(x: Any, y: Any) -> Any:
    return y if y > x else x


_smaller.__name__, _larger.__name__ = "min", "max"


def _samples(kind: str) -> list[Any]:
    dtype = np.dtype(kind)
    if dtype.kind == "u":
        return [0, 1, 3, 100]
    return list({dtype.type(x).item() for x in _SAMPLES})


class Modular(Semiring):
    """Sums of products modulo an integer."""

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus
        reciprocal = 1.0 / modulus

        def add(x: int, y: int) -> int:
            total = x + y
            return total - modulus if total >= modulus else total

        def multiply(x: int, y: int) -> int:
            # The quotient is right to one unit: what is left over then lies in (-p, 2p).
            quotient = int(float(x) * float(y) * reciprocal)
            rest = x * y - quotient * modulus
            rest = rest + modulus if rest < 0 else rest
            return rest - modulus if rest >= modulus else rest

        super().__init__(add, multiply, 0, np.int64)

    def _check_identity(self) -> None:
        """Zero is the identity of residues."""

    def __repr__(self) -> str:
        return f"modular({self.modulus})"


_modular = functools.lru_cache(Modular)  # so that it is compiled once


def modular(modulus: int) -> Semiring:
    """The integers modulo `modulus`: products that are exact whatever their length.

    Parameters
    ----------
    modulus
        Integer from 1 to 2**31 - 1.

    Returns
    -------
    Semiring
        It takes integers, of any sign and size, and gives int64 from 0 to ``modulus - 1``.

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Notes
    -----
    Operands are reduced first. Products of residues then fit 62 bits, and are reduced by a
    quotient in floating point that is off by one at most.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fibonacci = np.array([[1, 1], [1, 0]])
    >>> power = np.eye(2, dtype=np.int64)
    >>> for bit in f"{10**18:b}":
    ...     power = fm.matmul(power, power, semiring=fm.modular(10**9 + 7))
    ...     if bit == "1":
    ...         power = fm.matmul(power, fibonacci, semiring=fm.modular(10**9 + 7))
    >>> int(power[0, 1])
    209783453
    """
    try:
        value = int(np.array(modulus)) if not hasattr(modulus, "__index__") else modulus.__index__()
        exact = value == modulus and not isinstance(modulus, bool)
    except (TypeError, ValueError):
        exact = False
    if not exact:
        raise TypeError(f"modulus is {modulus!r}; it must be an integer")
    if not 1 <= value < 2**31:
        raise ValueError(f"modulus is {value}; it must be from 1 to 2**31 - 1")
    return _modular(value)


LOGICAL = ("lor_land", "land_lor", "lxor_land")
OF_BOOL = ("plus_times", "min_max", "max_min")
OF_ORDER = ("min", "max", "chebyshev")  # whole names, or parts of them


def checked(semiring: Any) -> str | Semiring:
    """The name of a semiring, or one of the user's; an error that names the argument otherwise."""
    if isinstance(semiring, Semiring):
        return semiring
    if not isinstance(semiring, str):
        raise TypeError(
            f"semiring is of type {type(semiring).__name__}; it must be a name or a "
            "fastmat.Semiring"
        )
    if semiring not in NAMES:
        raise ValueError(f"semiring is {semiring!r}; it must be one of {', '.join(NAMES)}")
    return semiring


def dtype_of_product(semiring: str | Semiring, promoted: DType) -> DType:
    """The dtype that a semiring computes in, for operands that promote to this one."""
    if not isinstance(semiring, str):
        return promoted if semiring.dtype is None else semiring.dtype
    if semiring in LOGICAL:
        return np.dtype(bool)
    if promoted.kind == "b" and semiring not in OF_BOOL:
        return np.dtype(np.int64)  # as sums of bool are in NumPy
    return promoted


def check_dtype(semiring: str | Semiring, dtype: DType) -> None:
    """A TypeError where a semiring is not defined for a dtype."""
    if isinstance(semiring, Modular) and dtype != np.int64:
        raise TypeError(f"{semiring!r} gives int64, not {dtype}")
    if not isinstance(semiring, str):
        return
    if semiring in LOGICAL and dtype.kind != "b":
        raise TypeError(f"semiring {semiring!r} gives bool, not {dtype}")
    if dtype.kind == "b" and semiring not in (*LOGICAL, *OF_BOOL):
        raise TypeError(f"semiring {semiring!r} is not defined for bool")
    if semiring == "log_sum_exp" and dtype.kind in "biuc":
        raise TypeError(f"semiring 'log_sum_exp' wants real floating-point numbers, not {dtype}")
    if dtype.kind == "c" and any(part in OF_ORDER for part in semiring.split("_")):
        raise TypeError(f"semiring {semiring!r} wants numbers that have an order, not {dtype}")
