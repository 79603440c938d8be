"""randomized_svd_vjp: time beside NumPy's formulas, and how many products with the matrix it takes.

NumPy's way is that of matrices of rank k; it has none for what was dropped of others.
"""

import time

import numpy as np

import fastmat as fm
from fastmat.comparisons import decompositions
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison


class OfRank(Comparison):
    """Without the matrix."""

    params = (((1000, 800, 20), (4000, 4000, 50)), LIBRARIES)
    param_names = ("m, n, k", "library")

    def case(self, shape):
        return Case(**decompositions.row("randomized_svd_vjp", "float32", *shape, 4))


class Truncated:
    """With the matrix: the time of the gradient over that of the decomposition, by the gap."""

    params = (0.5, 0.9, 0.99)
    param_names = ("next value over last",)
    unit = "1"

    def setup(self, gap):
        rng = np.random.default_rng(1)
        u, v = (np.linalg.qr(rng.standard_normal((side, 200)))[0] for side in (2000, 1500))
        values = np.r_[np.linspace(2, 1, 20), np.linspace(gap, 0, 180)]
        self.x = ((u * values) @ v.T).astype(np.float32)
        self.found = fm.randomized_svd(self.x, 20, n_iter=4, rng=1)
        self.cotangent = self.found.U[::-1].copy(), None, None
        fm.randomized_svd_vjp(self.cotangent, self.x, *self.found)

    def track_ratio(self, gap):
        start = time.perf_counter()
        fm.randomized_svd(self.x, 20, n_iter=4, rng=1)
        middle = time.perf_counter()
        fm.randomized_svd_vjp(self.cotangent, self.x, *self.found)
        return (time.perf_counter() - middle) / (middle - start)
