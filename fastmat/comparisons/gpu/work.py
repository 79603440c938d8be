"""What the rows have in common: the libraries on one device, and how far a result may be off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass
class Work:
    """The calls of one row by library, the check of fastmat's result, and what a call does.

    `error` is in units of what rounding permits: above 1 the result is wrong. `roof` is
    ``"copy"``, or the dtype whose product by the vendor's library is the roof.
    """

    calls: dict[str, Callable[[], Any]]
    error: Callable[[], float]
    amount: float
    unit: str = "B/s"
    roof: str = "copy"


class Bench:
    """PyTorch, and CuPy where it is installed, on one device."""

    def __init__(self, device: str = "cuda") -> None:
        import torch

        self.torch = torch
        self.device = device
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.manual_seed(7)
        try:
            import cupy
        except ImportError:
            cupy = None
        self.cupy = cupy

    def dtype(self, name: str) -> Any:
        """PyTorch's dtype of this name."""
        return getattr(self.torch, name)

    def draw(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Numbers of a normal distribution, or small integers."""
        torch = self.torch
        if dtype in EPS or dtype.startswith("complex"):
            wide = dtype if dtype.startswith("complex") else "float32"
            drawn = torch.randn(shape, dtype=self.dtype(wide), device=self.device)
            return drawn.to(self.dtype(dtype))
        return torch.randint(0, 100, shape, device=self.device, dtype=self.dtype(dtype))

    def as_cupy(self, x: Any) -> Any:
        """The same memory as an array of CuPy; None without CuPy, or of a dtype it lacks."""
        if self.cupy is None or x.dtype == self.torch.bfloat16:
            return None
        return self.cupy.from_dlpack(x)


def ratio(result: Any, expected: Any, allowed: Any) -> float:
    """Largest error over what is allowed; infinite where a number is NaN."""
    ratio = ((result.to(expected.dtype) - expected).abs() / allowed).max().item()
    return math.inf if math.isnan(ratio) else float(ratio)


def bytes_of(*arrays: Any) -> float:
    return float(sum(x.numel() * x.element_size() for x in arrays))
