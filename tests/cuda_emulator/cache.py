"""What is kept in fastmat's cache folder: the compiled scheduler, and the IR of kernels."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from fastmat.core.cache import cache_root
from fastmat.cuda.kernel import _kept


@functools.cache
def _source_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class _Locator(_CacheLocator):
    def __init__(self, function: Any) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"

    def get_cache_path(self) -> str:
        return str(cache_root() / f"{_source_hash()}-emulator")

    def get_source_stamp(self) -> str:
        return _source_hash()

    def get_disambiguator(self) -> str:
        return self._name

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        return cls(py_func)


class _Impl(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(FunctionCache):
    _impl_class = _Impl


def cached(dispatcher: Any) -> Any:
    """`dispatcher`, whose compiled code is read from the disk if it is there."""
    dispatcher._cache = _Cache(dispatcher.py_func)
    return dispatcher


def kept(kernel: Any, capability: tuple[int, int], make: Any) -> tuple[str, str]:
    """What `make` returns, two texts; from the disk if it is there."""
    if kernel.name is None:
        return make(kernel, capability)
    # Beside the kernel's PTX, which is kept for as long as it is that of the source.
    path = _kept(kernel, capability)
    path = path.with_name(f"{path.stem}-{_source_hash()}.ll")
    if path.exists():
        first, _, text = path.read_text(encoding="utf-8").partition("\n")
        return text, first
    text, first = make(kernel, capability)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(f"{first}\n{text}", encoding="utf-8")
    part.replace(path)
    return text, first
