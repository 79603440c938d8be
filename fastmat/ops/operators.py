"""Linear operators: somebody else's products, held to what they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.dtypes import DType


class Operator:
    """Products with what has ``matmat`` and ``rmatmat``.

    What goes in and what comes out are copies: an operator may write into the block it is given,
    return that, or return the same memory each time.

    Parameters
    ----------
    of
        A SciPy ``LinearOperator``, or whatever has its methods.
    dtype
        Of the blocks, and of the products with them.
    name
        What it is called in messages.
    transposed
        Whether this stands for the transpose.
    """

    ndim = 2

    def __init__(self, of: Any, dtype: DType, name: str, transposed: bool = False) -> None:
        self._of, self.dtype, self._name, self._transposed = of, dtype, name, transposed

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        m, n = self._of.shape
        return (n, m) if self._transposed else (m, n)

    @property
    def T(self) -> Operator:
        """The transpose."""
        return Operator(self._of, self.dtype, self._name, not self._transposed)

    def times(self, q: Array) -> Array:
        """The operator times a block."""
        if self._transposed:
            return np.conj(self._product("rmatmat", np.conj(q)))
        return self._product("matmat", q)

    def times_adjoint(self, y: Array) -> Array:
        """The adjoint of the operator times a block."""
        if self._transposed:
            return np.conj(self._product("matmat", np.conj(y)))
        return self._product("rmatmat", y)

    def power_step(self, q: Array) -> Array:
        """The adjoint of the operator times the operator times a block."""
        return self.times_adjoint(self.times(q))

    def passes_of_step(self, few: int) -> int:
        """How many products `power_step` takes."""
        return 2

    def _product(self, method: str, block: Array) -> Array:
        kind = type(self._of).__name__
        multiply: Callable[[Array], Any] = getattr(self._of, method)
        try:
            found = np.asarray(multiply(np.array(block, order="C")))
        except (NotImplementedError, TypeError) as error:
            vector = method.replace("matmat", "matvec")
            if not isinstance(error, NotImplementedError) and self._has(vector):
                raise
            raise TypeError(
                f"{self._name} ({kind}) has neither {method} nor {vector}; it must have one of them"
            ) from error
        shape = self._of.shape[method == "rmatmat"], block.shape[1]
        if found.shape != shape:
            raise ValueError(
                f"{self._name} ({kind}) has a {method} that returned an array of shape "
                f"{found.shape}; it must have {shape}"
            )
        if found.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(
                f"{self._name} ({kind}) has a {method} that returned {found.dtype}; it must "
                f"return {self.dtype}, as it is given"
            )
        return np.array(found, self.dtype, order="C")

    def _has(self, vector: str) -> bool:
        """Whether it can be multiplied with a vector.

        Where it cannot, SciPy's products with blocks are a call of None.
        """
        zeros = np.zeros(self._of.shape[vector == "matvec"], self.dtype)
        try:
            getattr(self._of, vector)(zeros)
        except NotImplementedError:
            return False
        return True
