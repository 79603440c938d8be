"""Kernels that are loaded when a shape first needs them. (This module does not import Numba.)"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any


class NotLoaded(Exception):
    """Compiled code needs a kernel that is loaded on demand: (module, name, name of the dtype)."""

    def load(self) -> None:
        """Load the kernel."""
        module, name, dtype = self.args
        getattr(importlib.import_module(module), name).load(dtype)


def retry(entry: Callable[..., None], arguments: Iterable[Any], missing: NotLoaded) -> None:
    """Call a kernel again that raised `NotLoaded`, till nothing is missing."""
    arguments = tuple(arguments)
    while True:
        missing.load()
        try:
            return entry(*arguments)
        except NotLoaded as another:
            missing = another
