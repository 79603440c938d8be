"""Asynchronous copies to shared memory, as late as they may be.

The target is spoiled when the copy is asked for, and filled only when the thread waits for the
group of the copy: who reads too early, and who still reads what was there before, gets garbage.
"""

from __future__ import annotations

from numba import njit

from cuda_emulator.raw import fill, read_byte, write_byte

TARGET, SOURCE, SIZE, READ, GROUP, COPY_WORDS = range(6)
PENDING = 512  # copies of a thread


@njit
def ask(copies, counts, groups, fiber, target, source, size, read):
    """Note a copy; False if there are too many."""
    i = counts[fiber]
    if i == PENDING:
        return False
    fill(target, 0xFF, size)
    copies[fiber, i, TARGET] = target
    copies[fiber, i, SOURCE] = source
    copies[fiber, i, SIZE] = size
    copies[fiber, i, READ] = read
    copies[fiber, i, GROUP] = groups[fiber]
    counts[fiber] = i + 1
    return True


@njit
def wait(copies, counts, groups, fiber, pending):
    """Do the copies of all groups but the latest; all if `pending` is -1."""
    left = 0
    for i in range(counts[fiber]):
        late = copies[fiber, i, GROUP] >= groups[fiber] - pending
        if pending >= 0 and late:
            copies[fiber, left] = copies[fiber, i]
            left += 1
            continue
        for j in range(copies[fiber, i, SIZE]):
            byte = read_byte(copies[fiber, i, SOURCE] + j) if j < copies[fiber, i, READ] else 0
            write_byte(copies[fiber, i, TARGET] + j, byte)
    counts[fiber] = left
