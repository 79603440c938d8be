"""Compiled kernels: one specialization per kernel and dtype, compiled on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types

from fastmat.core.cache import KernelCache
from fastmat.core.dtypes import kernel_name
from fastmat.core.mathfn import NUMBA_DTYPES

_lock = threading.RLock()


def reads(dtype: types.Type, ndim: int) -> types.Array:
    """The type of an input array: any strides, read-only or not."""
    return types.Array(dtype, ndim, "A", readonly=True)


def writes(dtype: types.Type, ndim: int) -> types.Array:
    """The type of an output array: any strides."""
    return types.Array(dtype, ndim, "A")


class Kernel:
    """A kernel and its compiled specializations, one per dtype.

    Parameters
    ----------
    function
        The body, in the Python that Numba compiles.
    signature
        Maps a Numba dtype to the types of the arguments.
    """

    def __init__(
        self, function: Callable[..., None], signature: Callable[[types.Type], tuple[types.Type, ...]]
    ) -> None:
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.signature = signature
        self.dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(function)
        self.dispatcher._cache = KernelCache(function)

    def specialize(self, dtype: types.Type) -> Any:
        """The dispatcher, with the specialization for this Numba dtype compiled or loaded.

        It compiles nothing else afterwards, so that callers in njit code share the strided
        specialization whatever the layouts of their arrays.
        """
        signature = self.signature(dtype)
        with _lock:
            if signature not in self.dispatcher.overloads:
                self.dispatcher.disable_compile(False)
                self.dispatcher.compile(signature)
                self.dispatcher.disable_compile()
        return self.dispatcher

    def entry(self, dtype: np.dtype[Any]) -> Callable[..., None]:
        """The entry point for this dtype: callable from Python with arrays of just that dtype."""
        numba_dtype = NUMBA_DTYPES[str(kernel_name(dtype))]
        dispatcher = self.specialize(numba_dtype)
        entry: Callable[..., None] = dispatcher.overloads[self.signature(numba_dtype)].entry_point
        return entry


def kernel(
    signature: Callable[[types.Type], tuple[types.Type, ...]],
) -> Callable[[Callable[..., None]], Kernel]:
    """Decorator: make a function a `Kernel` with these argument types per dtype."""
    return lambda function: Kernel(function, signature)
