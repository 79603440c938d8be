"""What the lanes of a warp do together: shuffles, votes, matches, reductions.

Each function gets the mail of the first fiber of the warp, and the lanes that take part, as a
mask. Mail is read and written by word (`cuda_emulator.machine`).
"""

from __future__ import annotations

import numpy as np

from cuda_emulator.machine import ANSWER, FIRST, MAIL_WORDS
from cuda_emulator.raw import get, put, within

_ALL = np.int64(0xFFFFFFFF)

# Arguments and answers. (Numba compiles a function again for each literal number.)
MASK, VALUE, LANE, CLAMP = map(np.int64, range(4))
RESULT, IN_RANGE = map(np.int64, range(2))


@within
def argument(mail, lane, i):
    """Argument i of a lane."""
    return get(mail, lane * MAIL_WORDS + FIRST + i)


@within
def answer(mail, lane, i, value):
    """Give a lane its result i."""
    put(mail, lane * MAIL_WORDS + ANSWER + i, value)


@within
def has(lanes, lane):
    """Whether a lane is in a mask."""
    return (lanes >> lane) & 1 != 0


@within
def shuffle(mail, lanes, mode):
    """Arguments: mask, value, lane or distance, clamp. Answers: value, whether it was in range.

    Returns a lane that wants the value of one that does not take part; -1: there is none.
    """
    for lane in range(32):
        if not has(lanes, lane):
            continue
        b = argument(mail, lane, LANE) & 31
        c = argument(mail, lane, CLAMP)
        segment = (c >> 8) & 31
        last = (lane & segment) | (c & 31 & ~segment)
        if mode == 0:
            source = (lane & segment) | (b & ~segment)
        elif mode == 1:
            source = lane - b
        elif mode == 2:
            source = lane + b
        else:
            source = lane ^ b
        within = source >= last if mode == 1 else source <= last
        if not within:
            source = lane
        if not has(lanes, source):
            return lane
        answer(mail, lane, RESULT, argument(mail, source, VALUE))
        answer(mail, lane, IN_RANGE, np.int64(within))
    return -1


@within
def vote(mail, lanes, mode):
    """Arguments: mask, predicate. Answers: ballot, whether all, any, or all the same."""
    ballot = np.int64(0)
    for lane in range(32):
        if has(lanes, lane) and argument(mail, lane, VALUE) & 1:
            ballot |= np.int64(1) << lane
    if mode == 0:
        result = ballot == lanes
    elif mode == 1:
        result = ballot != 0
    else:
        result = ballot == 0 or ballot == lanes
    for lane in range(32):
        if has(lanes, lane):
            answer(mail, lane, RESULT, ballot)
            answer(mail, lane, IN_RANGE, np.int64(result))


@within
def match(mail, lanes, mode):
    """Arguments: mask, value. Answers: the lanes with the same value (or all lanes, or none)."""
    for lane in range(32):
        if not has(lanes, lane):
            continue
        same = np.int64(0)
        for other in range(32):
            if has(lanes, other) and argument(mail, other, VALUE) == argument(mail, lane, VALUE):
                same |= np.int64(1) << other
        if mode == 1 and same != lanes:
            same = np.int64(0)
        answer(mail, lane, RESULT, same)
        answer(mail, lane, IN_RANGE, np.int64(same != 0))


@within
def reduce(mail, lanes, operation, signed):
    """Arguments: mask, value of 32 bits. Answer: the values of all lanes, combined."""
    result = np.int64(0)
    begun = False
    for lane in range(32):
        if not has(lanes, lane):
            continue
        value = argument(mail, lane, VALUE) & _ALL
        if signed and value >> 31:
            value -= np.int64(1) << 32
        if not begun:
            result = value
        elif operation == 0:
            result += value
        elif operation == 1:
            result = min(result, value)
        elif operation == 2:
            result = max(result, value)
        elif operation == 3:
            result &= value
        elif operation == 4:
            result |= value
        else:
            result ^= value
        begun = True
    for lane in range(32):
        if has(lanes, lane):
            answer(mail, lane, RESULT, result & _ALL)
