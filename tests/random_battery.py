"""A battery of statistical tests of random draws, outside CI: python tests/random_battery.py [size]

Prints a p-value for each test. Of the hundred and more, one below 0.01 is to be expected; one
below 1e-6 is a failure, and so are several below 1e-4, and the script then ends with status 1.
"""

import itertools
import sys

import numpy as np
import random_tests as tests
import scipy.stats

from fastmat import random

SIZE = 10_000_000
FAILURE = 1e-6
SEEDS = (0, 1, 2**32, 2**64 - 1, 0x123456789ABCDEF)
STREAMS = (0, 1, 2**32, 2**63)


def results(size):
    """(what was tested, p-value)"""
    for dtype, seed in itertools.product((np.float32, np.float64), SEEDS):
        name = f"{np.dtype(dtype)}, seed {seed:#x}"
        u = random.uniform(size=size, dtype=dtype, rng=seed)
        z = random.standard_normal(size, dtype=dtype, rng=seed)
        yield f"Kolmogorov-Smirnov, uniform, {name}", tests.kolmogorov_smirnov(u)
        yield f"Kolmogorov-Smirnov, normal, {name}", tests.kolmogorov_smirnov(z, "norm")
        yield f"moments, {name}", tests.moments(z)
        for lag in (1, 2, 3, 4, 1024):
            yield f"serial correlation {lag}, {name}", tests.correlation(u[lag:], u[:-lag])
            yield f"of normal numbers {lag}, {name}", tests.correlation(z[lag:], z[:-lag])
        yield f"pairs in cells, {name}", tests.cells(u[::2], u[1::2], sides=256)
        yield f"triples in cells, {name}", tests.cells(u[:-2:3], u[1:-1:3], u[2::3], sides=32)
        yield f"runs, {name}", tests.runs(u)
        yield f"gaps, {name}", tests.gaps(u)
    for seed in SEEDS:
        integers = random.integers(0, 2**64, size, dtype=np.uint64, rng=seed)
        yield f"bits, seed {seed:#x}", tests.bits(integers)
        yield f"pairs of bits, seed {seed:#x}", tests.pairs_of_bits(integers)
        yield f"birthday spacings, seed {seed:#x}", tests.birthday_spacings(integers)
        reverse = np.zeros_like(integers)  # the low bits, where others are weak
        for k in range(40):
            reverse |= (integers >> np.uint64(k) & np.uint64(1)) << np.uint64(63 - k)
        yield f"birthday spacings of low bits, seed {seed:#x}", tests.birthday_spacings(reverse)
        counts = np.bincount(random.integers(1000, size=size, rng=seed))
        yield f"integers up to 1000, seed {seed:#x}", tests.chi_square(counts)
        signs = random.rademacher(size, dtype=np.int8, rng=seed)
        yield f"signs, seed {seed:#x}", tests.chi_square(np.bincount(signs + 1)[::2])
    for one, other in itertools.combinations(SEEDS, 2):
        x, y = (random.uniform(size=size, rng=seed) for seed in (one, other))
        yield f"seeds {one:#x} and {other:#x}", tests.correlation(x, y)
        yield f"seeds {one:#x} and {other:#x} in cells", tests.cells(x, y, sides=256)
    for one, other in itertools.combinations(STREAMS, 2):
        x, y = (random.uniform(size=size, rng=7, stream=stream) for stream in (one, other))
        yield f"streams {one:#x} and {other:#x}", tests.correlation(x, y)
        yield f"streams {one:#x} and {other:#x} in cells", tests.cells(x, y, sides=256)
    by_seed = np.array([random.uniform(size=4, rng=seed) for seed in range(20_000)])
    yield "first numbers of seeds that follow each other", tests.kolmogorov_smirnov(by_seed[:, 0])
    yield "their serial correlation", tests.correlation(by_seed[1:, 0], by_seed[:-1, 0])
    by_stream = np.array([random.uniform(rng=1, stream=stream) for stream in range(20_000)])
    yield "first numbers of streams that follow each other", tests.kolmogorov_smirnov(by_stream)
    yield "their serial correlation", tests.correlation(by_stream[1:], by_stream[:-1])


def main(arguments):
    size = int(float(arguments[0])) if arguments else SIZE
    print(f"{size:.0e} numbers each")
    found = []
    for what, p in results(size):
        found.append(p)
        print(f"{p:10.2e}  {'<<<  ' if min(p, 1 - p) < 1e-4 else ''}{what}", flush=True)
    least, low = min(found), sum(p < 1e-4 for p in found)
    overall = scipy.stats.kstest(found, "uniform").pvalue
    print(
        f"{len(found)} tests: least {least:.1e}, {low} below 1e-4; uniform in [0, 1]: {overall:.2f}"
    )
    return 1 if least < FAILURE or low > 2 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
