"""The fibers of a block, run one at a time in random order until each has to wait.

All of it is compiled: Python is left once for all blocks of a launch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cuda_emulator import copies as async_copies
from cuda_emulator import operations as op
from cuda_emulator import tensor_core, warp
from cuda_emulator.cache import cached
from cuda_emulator.machine import (
    ANSWER,
    BLOCK,
    FIBER,
    FIRST,
    MAIL,
    MAIL_WORDS,
    OPERATION,
    SCHEDULER,
    SITE,
    THREAD,
)
from cuda_emulator.raw import call, fill, write_word

# How a launch ends
DONE, BAD_ACCESS, STUCK, BARRIERS_DIFFER, NOT_TAKING_PART, NOT_IN_MASK, TOO_MANY = range(7)

# What a fiber does
READY, IN_WARP, IN_BLOCK, EXITED = range(4)

_FULL = np.int64(0xFFFFFFFF)


class Code(NamedTuple):
    """Addresses of a module."""

    switch: int
    start: int
    state: int
    shared: int
    shared_size: int


class Fibers(NamedTuple):
    """The fibers' stacks and what else each has."""

    stacks: int  # address
    stack_size: int
    pointers: np.ndarray  # of the stacks
    mail: np.ndarray
    mail_address: int
    doing: np.ndarray
    ready: np.ndarray
    copies: np.ndarray
    copy_counts: np.ndarray
    copy_groups: np.ndarray


@njit
def _random(seed, n):
    """A number below n."""
    x = seed[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    seed[0] = x
    return np.int64((x >> np.uint64(33)) % np.uint64(n))


@njit
def _begin(fibers, code, n):
    """Every fiber starts the kernel when it is first switched to."""
    for f in range(n):
        top = fibers.stacks + (f + 1) * fibers.stack_size - 64
        for word in range(6):
            write_word(top + 8 * word, 0)
        write_word(top + 48, code.start)
        write_word(top + 56, 0)
        fibers.pointers[f] = top
        fibers.doing[f] = READY
        fibers.ready[f] = f
        fibers.copy_counts[f] = 0
        fibers.copy_groups[f] = 0
    fill(code.shared, 0xFF, code.shared_size)


@njit
def _shared_address(code, address):
    """The host's address of one in shared memory, of which 32 bits may be left."""
    return code.shared + ((address - code.shared) & _FULL)


@njit
def _bad(fibers, fiber, ranges, address, size, aligned, written):
    """Whether an access is an error; the fiber's mail then tells of it."""
    if address & (aligned - 1) == 0:
        for i in range(ranges.shape[0]):
            if (
                address >= ranges[i, 0]
                and address + size <= ranges[i, 1]
                and ranges[i, 2] >= written
            ):
                return False
    row = fibers.mail[fiber]
    row[SITE] = -1
    row[FIRST] = address
    row[FIRST + 1] = size
    row[FIRST + 2] = aligned - 1
    row[FIRST + 3] = written
    return True


@njit
def _copy(fibers, code, f, ranges, row):
    """Ask for an asynchronous copy: arguments are the target, the source, the bytes to read."""
    target = _shared_address(code, fibers.mail[f, FIRST])
    source = fibers.mail[f, FIRST + 1]
    size = row[1]
    read = fibers.mail[f, FIRST + 2] & _FULL if row[2] else size
    read = min(read, size)
    if _bad(fibers, f, ranges, target, size, size, 1):
        return BAD_ACCESS
    # Nothing is read if no bytes are, but the address has to be aligned.
    if read > 0 and _bad(fibers, f, ranges, source, read, size, 0):
        return BAD_ACCESS
    asked = async_copies.ask(
        fibers.copies, fibers.copy_counts, fibers.copy_groups, f, target, source, size, read
    )
    return DONE if asked else TOO_MANY


@njit
def _alone(fibers, code, f, ranges, row, alive):
    """What needs no other thread."""
    kind = row[0]
    if kind == op.COPY:
        return _copy(fibers, code, f, ranges, row)
    if kind == op.COMMIT:
        fibers.copy_groups[f] += 1
    elif kind == op.WAIT:
        async_copies.wait(fibers.copies, fibers.copy_counts, fibers.copy_groups, f, row[1])
    elif kind == op.ACTIVE:
        fibers.mail[f, ANSWER] = alive
    return DONE


@njit
def _load_matrices(fibers, code, first, ranges, row):
    count = row[1]
    addresses = np.zeros(32, np.int64)
    for lane in range(8 * count):
        address = _shared_address(code, fibers.mail[first + lane, FIRST])
        if _bad(fibers, first + lane, ranges, address, 16, 16, 0):
            return BAD_ACCESS, first + lane
        addresses[lane] = address
    tensor_core.load_matrices(fibers.mail, first, addresses, count, row[2])
    return DONE, -1


@njit
def _together(fibers, code, first, lanes, ranges, row):
    """Do what lanes have all come for."""
    kind = row[0]
    mail = fibers.mail
    wrong = np.int64(-1)
    if kind == op.SHUFFLE:
        wrong = np.int64(warp.shuffle(mail, first, lanes, row[1]))
    elif kind == op.VOTE:
        warp.vote(mail, first, lanes, row[1])
    elif kind == op.MATCH:
        warp.match(mail, first, lanes, row[1])
    elif kind == op.REDUX:
        warp.reduce(mail, first, lanes, row[1], row[2])
    elif kind == op.MMA:
        if lanes != _FULL:
            return NOT_TAKING_PART, first
        tensor_core.mma(mail, first, row[1], row[2], row[3], row[4], row[5])
    elif kind == op.LDMATRIX:
        if lanes != _FULL:
            return NOT_TAKING_PART, first
        return _load_matrices(fibers, code, first, ranges, row)
    if wrong >= 0:
        return NOT_TAKING_PART, first + wrong
    return DONE, np.int64(-1)


@njit
def _mask(fibers, f, row):
    """The lanes that an operation of a warp waits for."""
    if row[0] == op.MMA or row[0] == op.LDMATRIX:
        return _FULL
    return fibers.mail[f, FIRST] & _FULL


@njit
def _gather(fibers, code, first, alive, ranges, table, ready_count):
    """Do every operation of a warp that all lanes in its mask have come for."""
    seen = np.int64(0)
    for lane in range(32):
        f = first + lane
        if not (alive >> lane) & 1 or (seen >> lane) & 1 or fibers.doing[f] != IN_WARP:
            continue
        number = fibers.mail[f, OPERATION]
        row = table[number]
        mask = _mask(fibers, f, row)
        if not (mask >> lane) & 1:
            return NOT_IN_MASK, f, ready_count
        lanes = mask & alive
        complete = True
        for other in range(32):
            if (lanes >> other) & 1:
                o = first + other
                if (
                    fibers.doing[o] != IN_WARP
                    or fibers.mail[o, OPERATION] != number
                    or _mask(fibers, o, row) != mask
                ):
                    complete = False
                    break
        if not complete:
            continue
        seen |= lanes
        status, wrong = _together(fibers, code, first, lanes, ranges, row)
        if status != DONE:
            return status, wrong, ready_count
        for other in range(32):
            if (lanes >> other) & 1:
                fibers.doing[first + other] = READY
                fibers.ready[ready_count] = first + other
                ready_count += 1
    return DONE, np.int64(-1), ready_count


@njit
def _barrier(fibers, n, row):
    """All threads have come to a barrier: let them go on with its answer."""
    true = 0
    for f in range(n):
        true += fibers.mail[f, FIRST] & _FULL != 0
    answer = (0, np.int64(true == n), np.int64(true > 0), true)[row[1]]
    for f in range(n):
        fibers.mail[f, ANSWER] = answer
        fibers.doing[f] = READY
        fibers.ready[f] = f


@njit
def _run_block(fibers, code, state, table, ranges, n, seed):
    """Run a block to its end: how it ended, and which fiber is to blame."""
    _begin(fibers, code, n)
    warps = (n + 31) // 32
    alive = np.zeros(warps, np.int64)
    for f in range(n):
        alive[f >> 5] |= np.int64(1) << (f & 31)
    arrived = np.zeros(warps, np.int64)
    ready_count = n
    at_barrier = 0
    state_address = code.state
    while ready_count:
        k = _random(seed, ready_count)
        f = fibers.ready[k]
        ready_count -= 1
        fibers.ready[k] = fibers.ready[ready_count]
        w = f >> 5
        first = 32 * w
        while True:
            state[FIBER] = fibers.pointers[f]
            state[MAIL] = fibers.mail_address + 8 * MAIL_WORDS * f
            state[THREAD] = f
            call(code.switch, state_address + 8 * SCHEDULER, state_address + 8 * FIBER)
            fibers.pointers[f] = state[FIBER]
            row = table[fibers.mail[f, OPERATION]]
            kind = row[0]
            if kind == op.COPY or kind == op.COMMIT or kind == op.WAIT or kind == op.ACTIVE:
                status = _alone(fibers, code, f, ranges, row, alive[w])
                if status != DONE:
                    return status, f
                continue
            break
        if kind == op.FAULT:
            return BAD_ACCESS, f
        if kind == op.YIELD:
            fibers.ready[ready_count] = f
            ready_count += 1
        elif kind == op.BARRIER:
            fibers.doing[f] = IN_BLOCK
            at_barrier += 1
            if at_barrier == n:
                for other in range(n):
                    if (
                        fibers.mail[other, SITE] != fibers.mail[0, SITE]
                        or fibers.mail[other, OPERATION] != fibers.mail[0, OPERATION]
                    ):
                        return BARRIERS_DIFFER, other
                _barrier(fibers, n, row)
                at_barrier = 0
                ready_count = n
        else:
            if kind == op.EXIT:
                fibers.doing[f] = EXITED
                alive[w] &= ~(np.int64(1) << (f & 31))
            else:
                fibers.doing[f] = IN_WARP
                arrived[w] += 1
            # A warp with all lanes alive in an operation for all of them is the usual case.
            if arrived[w]:
                everybody = kind != op.EXIT and _mask(fibers, f, row) == _FULL
                if not everybody or arrived[w] == _count(alive[w]):
                    before = ready_count
                    status, wrong, ready_count = _gather(
                        fibers, code, first, alive[w], ranges, table, ready_count
                    )
                    if status != DONE:
                        return status, wrong
                    arrived[w] -= ready_count - before
    for f in range(n):
        if fibers.doing[f] != EXITED:
            return STUCK, f
    return DONE, -1


@njit
def _count(mask):
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@cached
@njit
def run(fibers, code, state, table, ranges, n, blocks, grid, seed):
    """Run blocks in this order: how that ended, which fiber is to blame, and in which block."""
    for b in blocks:
        state[BLOCK] = b % grid[0]
        state[BLOCK + 1] = b // grid[0] % grid[1]
        state[BLOCK + 2] = b // grid[0] // grid[1]
        status, wrong = _run_block(fibers, code, state, table, ranges, n, seed)
        if status != DONE:
            return status, wrong, b
    return DONE, -1, -1
