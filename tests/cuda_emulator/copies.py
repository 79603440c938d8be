"""Asynchronous copies to shared memory, as late as they may be.

The target is spoiled when the copy is asked for, and filled only when the thread waits for the
group of the copy: who reads too early, and who still reads what was there before, gets garbage.
"""

from __future__ import annotations

from cuda_emulator.raw import fill, get, put, read_byte, within, write_byte

TARGET, SOURCE, SIZE, READ, GROUP, COPY_WORDS = range(6)
PENDING = 512  # copies of a thread
COUNT, GROUPS, THREAD_WORDS = 0, 1, 2 + PENDING * COPY_WORDS


@within
def begin(thread):
    """A thread has asked for no copies."""
    put(thread, COUNT, 0)
    put(thread, GROUPS, 0)


@within
def ask(thread, target, source, size, read):
    """Note a copy; False if there are too many."""
    i = get(thread, COUNT)
    if i == PENDING:
        return False
    fill(target, 0xFF, size)
    copy = thread + 8 * (2 + i * COPY_WORDS)
    put(copy, TARGET, target)
    put(copy, SOURCE, source)
    put(copy, SIZE, size)
    put(copy, READ, read)
    put(copy, GROUP, get(thread, GROUPS))
    put(thread, COUNT, i + 1)
    return True


@within
def commit(thread):
    """Close the group of copies."""
    put(thread, GROUPS, get(thread, GROUPS) + 1)


@within
def wait(thread, pending):
    """Do the copies of all groups but the latest; all if `pending` is -1."""
    left = 0
    first_late = get(thread, GROUPS) - pending
    for i in range(get(thread, COUNT)):
        copy = thread + 8 * (2 + i * COPY_WORDS)
        if pending >= 0 and get(copy, GROUP) >= first_late:
            kept = thread + 8 * (2 + left * COPY_WORDS)
            for word in range(COPY_WORDS):
                put(kept, word, get(copy, word))
            left += 1
            continue
        read = get(copy, READ)
        for j in range(get(copy, SIZE)):
            byte = read_byte(get(copy, SOURCE) + j) if j < read else 0
            write_byte(get(copy, TARGET) + j, byte)
    put(thread, COUNT, left)
