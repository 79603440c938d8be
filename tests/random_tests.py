"""Statistical tests of random numbers: each takes numbers and gives a p-value."""

import math

import numpy as np
import scipy.stats


def kolmogorov_smirnov(x, distribution="uniform"):
    """The largest distance of the distribution functions; asymptotic p-value."""
    n, x = x.size, np.sort(x).astype(np.float64)
    cdf = x if distribution == "uniform" else getattr(scipy.stats, distribution).cdf(x)
    steps = np.arange(n) / n
    distance = max((cdf - steps).max(), (steps + 1 / n - cdf).max())
    return float(scipy.stats.kstwobign.sf(distance * math.sqrt(n)))


def moments(z):
    """The first four moments of standard normal numbers, as one chi-square of four."""
    z, n = z.astype(np.float64), z.size
    # Hermite polynomials are uncorrelated, with variances 1, 2, 6, 24.
    hermite = (z, z**2 - 1, z**3 - 3 * z, z**4 - 6 * z**2 + 3)
    total = sum(
        n * h.mean() ** 2 / variance for h, variance in zip(hermite, (1, 2, 6, 24), strict=True)
    )
    return float(scipy.stats.chi2.sf(total, 4))


def correlation(x, y):
    """Numbers in pairs, which ought not to be correlated."""
    x, y = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (x, y))
    r = (x * y).mean() / math.sqrt((x * x).mean() * (y * y).mean())
    return float(2 * scipy.stats.norm.sf(abs(r) * math.sqrt(x.size)))


def chi_square(counts, expected=None):
    return float(scipy.stats.chisquare(np.ravel(counts), expected).pvalue)


def cells(*coordinates, sides=32):
    """Uniform numbers as points: how many are in each cell of a grid."""
    index = 0
    for u in coordinates:
        index = index * sides + (u * sides).astype(np.int64)
    return chi_square(np.bincount(index, minlength=sides ** len(coordinates)))


def bits(integers):
    """How often each bit of numbers of 64 is set, as one chi-square of 64."""
    n = integers.size
    ones = np.array([np.count_nonzero(integers >> np.uint64(k) & np.uint64(1)) for k in range(64)])
    total = ((ones - n / 2) ** 2).sum() / (n / 4)
    return float(scipy.stats.chi2.sf(total, 64))


def pairs_of_bits(integers):
    """How often neighbouring bits, of numbers and of neighbours, are 00, 01, 10, 11."""
    shifted = integers >> np.uint64(1)
    equal = np.bitwise_count(~(integers ^ shifted) & np.uint64(2**63 - 1)).sum(dtype=np.int64)
    between = np.bitwise_count(~(integers[1:] ^ integers[:-1])).sum(dtype=np.int64)
    n, m = 63 * integers.size, 64 * (integers.size - 1)
    total = (equal - n / 2) ** 2 / (n / 4) + (between - m / 2) ** 2 / (m / 4)
    return float(scipy.stats.chi2.sf(total, 2))


def runs(x):
    """How many runs above and below the median there are: Wald and Wolfowitz, 1940."""
    above = x > 0.5
    n1 = np.count_nonzero(above)
    n0 = x.size - n1
    found = 1 + np.count_nonzero(above[1:] != above[:-1])
    mean = 1 + 2 * n0 * n1 / x.size
    variance = (mean - 1) * (mean - 2) / (x.size - 1)
    return float(2 * scipy.stats.norm.sf(abs(found - mean) / math.sqrt(variance)))


def gaps(x, low=0.2, high=0.5, longest=20):
    """Lengths of gaps between numbers of an interval: Knuth, TAOCP 2, 3.3.2."""
    places = np.flatnonzero((x >= low) & (x < high))
    lengths = np.minimum(np.diff(places) - 1, longest)
    p = high - low
    expected = p * (1 - p) ** np.arange(longest + 1)
    expected[-1] = (1 - p) ** longest
    return chi_square(np.bincount(lengths, minlength=longest + 1), expected * lengths.size)


def birthday_spacings(integers, birthdays=4096, days=2**36):
    """Spacings that are there twice, in samples of birthdays: Marsaglia and Tsang, 2002.

    Their number is Poisson's of mean birthdays**3 / (4 * days).
    """
    shift = np.uint64(64 - int(math.log2(days)))
    samples = integers[: integers.size // birthdays * birthdays] >> shift
    dates = np.sort(samples.reshape(-1, birthdays), axis=1)
    spacings = np.sort(np.diff(dates, axis=1), axis=1)
    repeats = int(np.count_nonzero(spacings[:, 1:] == spacings[:, :-1]))
    mean = birthdays**3 / (4 * days) * len(samples) / birthdays
    tails = scipy.stats.poisson.cdf(repeats, mean), scipy.stats.poisson.sf(repeats - 1, mean)
    return float(min(1.0, 2 * min(tails)))
