"""LowRankSketch: a stream of rows, its singular values, merging, and peak memory."""

from fastmat.comparisons import decompositions
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

SHAPES = ((100_000, 500, 20), (20_000, 2000, 50))


class Stream(Comparison):
    """LowRankSketch of all rows, and its factors; NumPy does the same in blocks of 4096 rows."""

    params = (("float32", "float64"), SHAPES, LIBRARIES)
    param_names = ("dtype", "m, n, k", "library")

    def case(self, dtype, shape):
        return Case(**decompositions.row("LowRankSketch", dtype, *shape, 0))


class Parts:
    """Merging, and the factors of what was merged."""

    params = (SHAPES,)
    param_names = ("m, n, k",)

    def setup(self, shape):
        import numpy as np

        import fastmat as fm

        m, n, k = shape
        x = np.random.default_rng(1).standard_normal((m, n), np.float32)
        self.k = k
        self.parts = [
            fm.LowRankSketch(n, k + 10, dtype="f4", rng=1, first_row=start).update(rows)
            for start, rows in ((0, x[: m // 2]), (m // 2, x[m // 2 :]))
        ]
        self.whole = fm.LowRankSketch(n, k + 10, dtype="f4", rng=1).update(x)
        self.whole.svd(k)

    def time_merge(self, shape):
        import copy

        copy.copy(self.parts[0]).merge(self.parts[1])

    def time_svd(self, shape):
        self.whole.svd(self.k)


class Memory:
    """Peak memory of a stream and its factors, over what both hold in the end."""

    params = (SHAPES,)
    param_names = ("m, n, k",)
    unit = "times"

    def track_peak(self, shape):
        import tracemalloc

        import fastmat as fm

        m, n, k = shape

        def factors():
            sketch = fm.LowRankSketch(n, k + 10, dtype="f4", rng=1)
            for start in range(0, m, 1000):
                size = (min(1000, m - start), n)
                sketch.update(fm.random.standard_normal(size, dtype="f4", rng=1, offset=start * n))
            return sketch, sketch.svd(k)

        factors()
        tracemalloc.start()
        kept = factors()
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del kept
        return peak / now
