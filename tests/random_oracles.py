"""Random numbers by position in plain NumPy: Philox 4x32-10 and what is made of its words."""

import numpy as np

WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(c0, c1, c2, c3, seed):
    """Four words for arrays of counters, as uint64: Salmon et al., SC 2011, section 3.3."""
    k0, k1 = int(seed) & 0xFFFFFFFF, int(seed) >> 32
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(c, np.uint64) for c in (c0, c1, c2, c3)))
    for _ in range(10):
        x, y = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (y >> HALF) ^ c1 ^ np.uint64(k0), y & WORD
        c2, c3 = (x >> HALF) ^ c3 ^ np.uint64(k1), x & WORD
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(positions, seed, stream=0, attempt=0):
    """The word of 32 bits at each position."""
    positions = np.asarray(positions, np.uint64)
    block, which = positions // np.uint64(4), positions % np.uint64(4)
    top = (int(stream) >> 32) ^ (attempt << 16)
    found = philox(block & WORD, block >> HALF, int(stream) & 0xFFFFFFFF, top, seed)
    return np.choose(which.astype(np.intp), found)


def double_words(positions, seed, stream=0, attempt=0):
    """The two words at each position of numbers of 64 bits, the high one first."""
    twice = np.asarray(positions, np.uint64) * np.uint64(2)
    return tuple(words(twice + np.uint64(k), seed, stream, attempt) for k in (0, 1))


def uniform(positions, dtype, seed, stream=0):
    """In [0, 1), exactly."""
    if dtype == np.float32:
        drawn = words(positions, seed, stream) >> np.uint64(8)
        return drawn.astype(np.float32) * np.float32(2.0**-24)
    high, low = double_words(positions, seed, stream)
    return ((high << np.uint64(21)) | (low >> np.uint64(11))).astype(np.float64) * 2.0**-53


def normal(positions, dtype, seed, stream=0):
    """Box and Muller's numbers in long double, from uniform ones rounded as the dtype has them."""
    positions = np.asarray(positions, np.uint64)
    even = positions & ~np.uint64(1)
    if dtype == np.float32:
        first, second = (words(even + np.uint64(k), seed, stream) for k in (0, 1))
        u = (first.astype(np.float32) + np.float32(0.5)).astype(np.longdouble) / 2**32
        turn = second.astype(np.uint32).view(np.int32).astype(np.float32)
        turn = turn.astype(np.longdouble) / 2**32
    else:
        first, second = (double_words(even + np.uint64(k), seed, stream) for k in (0, 1))
        joined = (first[0] << HALF) | first[1]
        u = (joined.astype(np.float64) + 0.5).astype(np.longdouble) / np.longdouble(2) ** 64
        turn = ((second[0] << HALF) | second[1]).view(np.int64).astype(np.float64)
        turn = turn.astype(np.longdouble) / np.longdouble(2) ** 64
    radius = np.sqrt(-2 * np.log(u))
    sine, cosine = _sincos(turn)
    return radius * np.where(positions % np.uint64(2) == 0, cosine, sine)


def _sincos(turn):
    """Sine and cosine of turns, each exact to its last places: reduced by quadrants."""
    quadrant = np.rint(turn * 4)
    angle = 2 * np.arctan2(np.longdouble(0), np.longdouble(-1)) * (turn - quadrant / 4)
    sine, cosine = np.sin(angle), np.cos(angle)
    which = quadrant.astype(np.int64) % 4
    of_sine = np.choose(which, (sine, cosine, -sine, -cosine))
    of_cosine = np.choose(which, (cosine, -sine, -cosine, sine))
    return of_sine, of_cosine


def integers(positions, low, extent, seed, stream=0):
    """Lemire's integers as Python's own, with the number of attempts at each."""
    positions = np.asarray(positions, np.uint64)
    found, attempts = np.zeros(positions.size, object), np.zeros(positions.size, int)
    pending, attempt = np.arange(positions.size), 0
    while pending.size:
        high, rest = double_words(positions[pending], seed, stream, attempt)
        products = (high.astype(object) * 2**32 + rest.astype(object)) * extent
        found[pending] = low + products // 2**64
        attempts[pending] = attempt
        pending = pending[products % 2**64 < 2**64 % extent]
        attempt += 1
    return found.tolist(), attempts.tolist()


def signs(positions, seed, stream=0):
    """-1 where the highest bit is set, else 1."""
    return 1 - 2 * (words(positions, seed, stream) >> np.uint64(31)).astype(int)


def keys(positions, seed, stream=0):
    """64 random bits at each position."""
    high, low = double_words(positions, seed, stream)
    return high << HALF | low


def column(rows, count, number, seed, stream=0):
    """Rows and signs of a column of a sparse matrix: Floyd's sample, in order."""
    found, signs = set(), []
    for t in range(count):
        w = philox(t // 2, number, int(stream) & 0xFFFFFFFF, int(stream) >> 32, seed)
        high, low = (int(word) for word in w[2 * (t % 2) :][:2])
        last = rows - count + t
        drawn = ((high << 32 | low) * (last + 1)) >> 64
        found.add(last if drawn in found else drawn)
        signs.append(-1 if low & 1 else 1)
    return sorted(found), signs
