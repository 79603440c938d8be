"""The number of threads, as callers set it."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Run what is inside the ``with`` block on at most this many threads.

    It holds for the calling thread, for fastmat's operations and for other code that Numba
    compiled: `numba.set_num_threads` does the work. Results do not depend on it, not in one bit.

    Parameters
    ----------
    n
        1 to ``numba.config.NUMBA_NUM_THREADS`` (all cores, unless the environment variable of this
        name says otherwise).

    Raises
    ------
    ValueError
        `n` is out of range.
    TypeError
        `n` is not an integer.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> with fm.threads(1):
    ...     fm.matmul(np.eye(2), np.ones((2, 2)))
    array([[1., 1.],
           [1., 1.]])
    """
    import numba

    try:
        wanted = operator.index(n)
    except TypeError:
        raise TypeError(f"n is {n!r}; it must be an integer") from None
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= wanted <= most:
        raise ValueError(f"n is {wanted}; it must be from 1 to {most} (NUMBA_NUM_THREADS)")
    before = numba.get_num_threads()
    numba.set_num_threads(wanted)
    try:
        yield
    finally:
        numba.set_num_threads(before)
