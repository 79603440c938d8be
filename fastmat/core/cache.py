"""Where compiled kernels are kept on disk, and what makes them stale."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import platformdirs
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
)

PACKAGE = Path(__file__).resolve().parent.parent


@functools.cache
def source_hash() -> str:
    """Hash of every fastmat source: a kernel inlines code from many of them."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """The folder of all fastmat caches: ``FASTMAT_CACHE_DIR`` or the user's cache folder."""
    chosen = os.environ.get("FASTMAT_CACHE_DIR")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("fastmat", appauthor=False))


def cache_folder() -> Path:
    """The folder for this source and this instruction set."""
    isa = os.environ.get("FASTMAT_ISA", "native")
    return cache_root() / f"{source_hash()}-{isa}"


class _Locator(_CacheLocator):  # type: ignore[misc]
    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file
        self._name = f"{function.__module__}.{function.__qualname__}"

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return source_hash()

    def get_disambiguator(self) -> str:
        return self._name

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _Impl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class KernelCache(FunctionCache):  # type: ignore[misc]
    """Numba's on-disk cache, kept in fastmat's folder and keyed by all of its source.

    Each dtype has an index of its own: Numba reads, changes and writes an index without a lock,
    so two processes that compile two dtypes of one kernel at once could mix them up.
    """

    _impl_class = _Impl

    def __init__(self, function: Any, dtype: str) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}-{dtype}",
            source_stamp=self._impl.locator.get_source_stamp(),
        )
