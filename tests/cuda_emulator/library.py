"""How fastmat reads and makes the emulator's arrays."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from cuda_emulator.arrays import EmulatedArray
from fastmat.cuda.arrays import ITEMSIZE, Library, View


class EmulatedLibrary(Library):
    name = "emulator"

    def view(self, x: Any, name: str) -> View:
        dtype = x.dtype.name
        if dtype not in ITEMSIZE:
            raise TypeError(f"{name} has dtype {dtype}")
        strides = tuple(s // x.dtype.itemsize for s in x.strides)
        return View(x.pointer, x.shape, strides, dtype, x.device, self, x, x.readonly)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> tuple[Any, int]:
        kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        array = EmulatedArray.empty(shape, kind, device=device)
        return array, array.pointer

    def stream(self, device: int) -> int:
        return 0

    def host(self, array: EmulatedArray) -> np.ndarray:
        return array.numpy()

    def put(self, x: np.ndarray, device: int) -> tuple[Any, int]:
        array = EmulatedArray.from_numpy(x, device=device)
        return array, array.pointer

    def permuted(self, array: EmulatedArray, axes: Any) -> EmulatedArray:
        return array.transpose(tuple(axes))
