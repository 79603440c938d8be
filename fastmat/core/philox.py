"""Random numbers by position: Philox 4x32-10.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A draw is a
function of a seed and of a counter, so it does not matter who draws when.
"""

from numba.types import float64, uint64

from fastmat.core.inline import inlined

ROUNDS = 10
_WORD = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
STEPS = 0x9E3779B9, 0xBB67AE85  # what the two words of the key grow by: golden ratio, sqrt(3) - 1


@inlined
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Four random words of 32 bits, from a counter of four and a key of two.

    Words are the low halves of 64 bits; what is in the high halves is of no account till the end,
    so that a round is two products, two shifts and two exclusive ors of three.
    """
    c0, c1, c2, c3 = uint64(c0), uint64(c1), uint64(c2), uint64(c3)
    k0, k1 = uint64(k0), uint64(k1)
    word, half = uint64(_WORD), uint64(32)
    for _ in range(ROUNDS):
        x = (c0 & word) * uint64(MULTIPLIERS[0])
        y = (c2 & word) * uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (y >> half) ^ c1 ^ k0, y, (x >> half) ^ c3 ^ k1, x
        k0 = k0 + uint64(STEPS[0])
        k1 = k1 + uint64(STEPS[1])
    return c0 & word, c1 & word, c2 & word, c3 & word


@inlined
def uniform(seed, i, j):
    """A number in [0, 1), a multiple of 2**-53, for a seed of 64 bits and two counters of 32."""
    seed = uint64(seed)
    key = seed & uint64(_WORD), seed >> uint64(32)
    a, b, _, _ = philox4x32(i, j, 0, 0, key[0], key[1])
    return float64((a << uint64(21)) | (b >> uint64(11))) * 2.0**-53
