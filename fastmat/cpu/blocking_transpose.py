"""Block sizes and crossovers of transpose, with the measurements that chose them.

All on a Zen 4 EPYC (32 KiB L1, 1 MiB L2, 32 MiB L3), one thread, in CPU time.
"""

import functools
from pathlib import Path
from typing import NamedTuple

TASKS_PER_THREAD = 4  # so that threads end together
LONG = 16  # lines in a row from which it does not matter that both its ends are not streamed

LAST_LEVEL_CACHE = 32 << 20  # bytes, where the machine does not tell


class Tuning(NamedTuple):
    # Bytes that a task copies where rows stay rows. Streaming 64 MiB: 128 KiB 1.9 times NumPy's
    # copy, 32 KiB 1.6, 8 KiB 1.0.
    run: int
    # Bytes of output from which threads pay.
    parallel: int
    # Bytes of output above which stores pass by the caches. Streaming against not, float32:
    # 1024 x 1024 1.05, 1040 x 1040 1.2, 2048 x 2048 1.5, 2304 x 2304 2.1; float64: 512 x 512 1.0,
    # 1024 x 1024 1.35, 1448 x 1448 1.5; int8: 1024 x 1024 0.7, 2048 x 2048 1.1, 4096 x 4096 1.5.
    streamed: int
    # Blocks of source rows by source columns, in cache lines, when not streaming. Source rows
    # make target rows long: 3999 x 3999 float32 0.53 of a copy, with (4, 16) 0.33.
    rows: int
    columns: int
    # The same when streaming.
    streamed_rows: int
    streamed_columns: int


SQUARE = 4  # side of the blocks that change places within a matrix, in cache lines

# The best of 13 to 30 shapes on 4096 x 4096 items: share of a copy (for one line by one line).
STREAMED_BLOCKS = {
    1: (2, 32),  # 0.36 (0.28)
    2: (2, 32),  # 0.73 (0.52)
    4: (8, 32),  # 0.90 (0.65)
    8: (8, 32),  # 0.89 (0.55)
    16: (4, 16),  # 1.16 (0.80)
}


@functools.cache
def tuning(itemsize: int) -> Tuning:
    """The table's row for items of this size, on this machine."""
    streamed_rows, streamed_columns = STREAMED_BLOCKS[itemsize]
    return Tuning(
        run=1 << 17,
        parallel=1 << 18,
        streamed=last_level_cache() // 4,
        rows=16,
        columns=16,
        streamed_rows=streamed_rows,
        streamed_columns=streamed_columns,
    )


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
