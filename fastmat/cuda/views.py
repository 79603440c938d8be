"""Where the numbers of an array on a GPU lie, in the words that kernels understand."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastmat.core.dtypes import SUPPORTED

if TYPE_CHECKING:
    from fastmat.cuda.libraries import Library


class View(NamedTuple):
    """Where the numbers of an array lie, in the words that kernels understand."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in items
    dtype: str
    device: int
    library: Library
    owner: Any  # keeps the memory
    readonly: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return ITEMSIZE[self.dtype]

    @property
    def contiguous(self) -> bool:
        """Whether the items follow each other in C order."""
        return _in_c_order(self.shape, self.strides)

    def transposed(self, axes: Sequence[int]) -> View:
        """The view with its axes in another order."""
        return self._replace(
            shape=tuple(self.shape[i] for i in axes), strides=tuple(self.strides[i] for i in axes)
        )

    def broadcast_to(self, shape: Sequence[int]) -> View:
        """The view repeated along axes of length 1 and new ones at the front."""
        shape = tuple(shape)
        if shape == self.shape:
            return self
        new = len(shape) - self.ndim
        strides = [0] * new
        for have, stride, want in zip(self.shape, self.strides, shape[new:], strict=True):
            if have != want and have != 1:
                raise ValueError(f"shape {self.shape} does not broadcast to {shape}")
            strides.append(stride if have == want else 0)
        return self._replace(shape=shape, strides=tuple(strides))

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """The view with another shape; None if that takes a copy."""
        shape = tuple(shape)
        if self.contiguous:
            return self._replace(shape=shape, strides=c_strides(shape))
        # NumPy knows the rule; an array of single bytes stands for the memory.
        stand_in = np.lib.stride_tricks.as_strided(
            np.empty(0, np.int8), self.shape, self.strides, writeable=False
        )
        try:
            strides = np.reshape(stand_in, shape, copy=False).strides
        except (TypeError, ValueError):  # TypeError: NumPy before 2.1
            return None
        return self._replace(shape=shape, strides=strides)


ITEMSIZE = {name: 2 if name == "bfloat16" else np.dtype(name).itemsize for name in SUPPORTED}


@functools.lru_cache(4096)
def _in_c_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    return all(
        n == 1 or s == expected
        for n, s, expected in zip(shape, strides, c_strides(shape), strict=True)
    )


def c_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in items, of a C-contiguous array."""
    if len(shape) == 1:
        return (1,)
    if len(shape) == 2:
        return (shape[1] or 1, 1)
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))
