"""Block sizes and crossovers of transpose, with the measurements that chose them."""

import functools
from pathlib import Path
from typing import NamedTuple

LAST_LEVEL_CACHE = 32 << 20  # bytes, where the machine does not tell


class Tuning(NamedTuple):
    run: int  # bytes that a task copies where rows stay rows
    parallel: int  # bytes of output from which threads pay
    streamed: int  # bytes of output above which stores pass by the caches
    rows: int  # source rows of a block, in cache lines
    columns: int  # source columns of a block, in cache lines
    streamed_rows: int  # the same for streamed blocks
    streamed_columns: int


STREAMED_BLOCKS = {1: (2, 32), 2: (2, 32), 4: (8, 32), 8: (2, 32), 16: (4, 16)}


@functools.cache
def tuning(itemsize: int) -> Tuning:
    """The table's row for items of this size, on this machine."""
    return Tuning(1 << 17, 1 << 18, last_level_cache() // 4, 16, 16, *STREAMED_BLOCKS[itemsize])


def last_level_cache() -> int:
    """Bytes of the largest cache that Linux reports for the first CPU."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    sizes = [LAST_LEVEL_CACHE]
    try:
        found = [
            path.read_text().strip()
            for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
        ]
        sizes = [int(size[:-1]) * units[size[-1]] for size in found] or sizes
    except (OSError, KeyError, ValueError):
        pass
    return max(sizes)
