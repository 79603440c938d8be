"""The precision of float32 products on GPUs, as callers set it."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

PRECISIONS = ("highest", "tf32")

_current = contextvars.ContextVar("matmul_precision", default="highest")


def current_precision() -> str:
    """What `matmul_precision` says here."""
    return _current.get()


@contextlib.contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Compute float32 products on GPUs in this precision inside the ``with`` block.

    It holds for `matmul`, `linear` and their gradients, for the calling thread (and the calling
    asynchronous task). It has no effect on arrays of other dtypes, on semirings, on products of
    matrices and vectors, and on the CPU.

    Parameters
    ----------
    precision
        "highest": numbers are multiplied and added up in float32. "tf32": tensor cores multiply
        numbers rounded to 11 significant bits, and add up in float32; several times as fast,
        where the GPU has them (compute capability 8.0).

    Raises
    ------
    ValueError
        For another name.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> with fm.matmul_precision("tf32"):
    ...     fm.matmul(np.eye(2), np.ones((2, 2)))
    array([[1., 1.],
           [1., 1.]])
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; it must be {' or '.join(PRECISIONS)}")
    token = _current.set(precision)
    try:
        yield
    finally:
        _current.reset(token)
