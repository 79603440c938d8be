"""RowBlocks: randomized_svd of a matrix by rows, and its peak memory."""

from fastmat.comparisons import decompositions
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

SHAPES = ((100_000, 500, 20), (4000, 4000, 50))


class ByRows(Comparison):
    """RowBlocks of an array; NumPy's place has scikit-learn, with the whole array."""

    params = (("float32", "float64"), SHAPES, LIBRARIES)
    param_names = ("dtype", "m, n, k", "library")

    def case(self, dtype, shape):
        return Case(**decompositions.row("RowBlocks", dtype, *shape, 2))


class Memory:
    """Peak memory of a decomposition of rows that are made when they are read, in bytes."""

    params = (SHAPES,)
    param_names = ("m, n, k",)
    unit = "bytes"

    def track_peak(self, shape):
        import tracemalloc

        import fastmat as fm

        m, n, k = shape

        def blocks():
            for start in range(0, m, 1000):
                size = (min(1000, m - start), n)
                yield fm.random.standard_normal(size, dtype="f4", rng=1, offset=start * n)

        x = fm.RowBlocks(blocks, (m, n))
        fm.randomized_svd(x, k, n_iter=1, rng=1)
        tracemalloc.start()
        fm.randomized_svd(x, k, n_iter=1, rng=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak
