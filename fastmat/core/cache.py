"""Where compiled kernels are kept on disk, and what makes them stale."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

from numba.core import config
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
    if chosen:
        return Path(chosen)
    import platformdirs  # here, so that a checkout runs without it where the folder is named

    return Path(platformdirs.user_cache_dir("fastmat", appauthor=False))


def cache_folder() -> Path:
    """The folder for this source, this instruction set, and kernels that check their indices."""
    isa = os.environ.get("FASTMAT_ISA", "native")
    checked = "-boundscheck" if config.BOUNDSCHECK else ""
    return cache_root() / f"{source_hash()}-{isa}{checked}"


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


class _CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's files; machine code is kept with its checksum, and what is damaged is not there."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception as error:  # whatever unpickling a damaged file leads to
            _warn(f"cannot be read ({self._index_name}: {error})")
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)

    def _load_data(self, name: str) -> Any:
        stored = Path(self._data_path(name)).read_bytes()
        size = hashlib.sha256().digest_size
        if hashlib.sha256(stored[size:]).digest() != stored[:size]:
            _warn(f"is damaged ({name})")
            raise OSError(f"{name} is damaged")
        return pickle.loads(stored[size:])


def _warn(what: str) -> None:
    warnings.warn(
        f"fastmat's cache {what}: kernels are compiled again; folder: {cache_folder()}",
        RuntimeWarning,
        stacklevel=2,
    )


class KernelCache(FunctionCache):  # type: ignore[misc]
    """Numba's on-disk cache, kept in fastmat's folder and keyed by all of its source.

    Each dtype has an index of its own: Numba reads, changes and writes an index without a lock,
    so two processes that compile two dtypes of one kernel at once could mix them up. A cache that
    cannot be read or written costs time, never the result.
    """

    _impl_class = _Impl

    def __init__(self, function: Any, dtype: str) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFile(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}-{dtype}",
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel to the disk, if it can be."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn(f"cannot be written ({error})")
