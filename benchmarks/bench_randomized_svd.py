"""randomized_svd, low_rank_approximation, randomized_range, randomized_eigh: time, rate, memory.

Peers are scikit-learn (in the place of NumPy) and PyTorch, with as many columns and iterations. A
rate counts the products with the matrix alone.
"""

from fastmat.comparisons import decompositions, sparse
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison, require

SPARSE = ((10**6, 2000, 1e-3, 20), (10**5, 10**5, 1e-4, 20))
SHAPES = ((4000, 4000, 50), (20000, 1000, 20), (100000, 200, 10))


class Svd(Comparison):
    """randomized_svd of square, tall and very tall matrices."""

    params = (("float32", "float64"), SHAPES, LIBRARIES)
    param_names = ("dtype", "m, n, k", "library")

    def case(self, dtype, shape):
        return Case(**decompositions.row("randomized_svd", dtype, *shape, 4))


class Range(Comparison):
    """randomized_range, without a decomposition at its end."""

    params = (((4000, 4000, 60),), LIBRARIES)
    param_names = ("m, n, size", "library")

    def case(self, shape):
        return Case(**decompositions.row("randomized_range", "float32", *shape, 2))


class TwoFactors(Comparison):
    """low_rank_approximation: the same, and a product with the singular values."""

    params = (((4000, 4000, 50),), LIBRARIES)
    param_names = ("m, n, k", "library")

    def case(self, shape):
        return Case(**decompositions.row("low_rank_approximation", "float32", *shape, 4))


class Eigenpairs(Comparison):
    """randomized_eigh of a symmetric matrix."""

    params = ((2000,), LIBRARIES)
    param_names = ("n", "library")

    def case(self, n):
        return Case(**decompositions.row("randomized_eigh", "float32", n, n, 20, 4))


def _by_fastmat(x, k):
    import fastmat as fm

    return fm.randomized_svd(x, k, n_iter=4, rng=1)


def _by_numpy(x, k):
    import numpy as np

    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return u[:, :k], s[:k], vh[:k]


def _by_svds(x, k):
    from scipy.sparse.linalg import svds

    return svds(x, k, rng=1)


def _by_scikit_learn(x, k):
    from sklearn.utils.extmath import randomized_svd

    return randomized_svd(x, k, n_iter=4, power_iteration_normalizer="LU", random_state=1)


def _by_torch(x, k):
    import torch

    u, s, v = torch.svd_lowrank(torch.from_numpy(x), k + 10, 4)
    return u[:, :k].numpy(), s[:k].numpy(), v[:, :k].T.numpy()


METHODS = {
    "fastmat": _by_fastmat,
    "numpy.linalg.svd": _by_numpy,
    "scipy.sparse.linalg.svds": _by_svds,
    "sklearn": _by_scikit_learn,
    "torch": _by_torch,
}


class Methods:
    """The first triplets by other methods, the full decomposition among them: time and error."""

    params = (((2000, 500, 20), (1500, 1500, 50)), tuple(METHODS))
    param_names = ("m, n, k", "method")

    def setup(self, shape, method):
        import numpy as np

        require(method.partition(".")[0])
        m, n, self.k = shape
        x = np.random.default_rng(1).standard_normal((m, n), np.float32)
        self.x = x * ((1 + np.arange(n)) ** -0.5).astype(np.float32)
        self.way = METHODS[method]
        self.way(self.x, self.k)

    def time_svd(self, shape, method):
        self.way(self.x, self.k)

    def track_error(self, shape, method):
        """What the factors leave of the matrix, relative to the least that they can."""
        import numpy as np

        u, s, vh = (np.asarray(part, np.float64) for part in self.way(self.x, self.k))
        x = self.x.astype(np.float64)
        least = np.linalg.norm(np.linalg.svd(x, compute_uv=False)[self.k :])
        return np.linalg.norm(x - (u * s) @ vh) / least


class Sparse(Comparison):
    """randomized_svd of a SciPy CSR matrix: time, and what the factors leave of it."""

    params = (SPARSE, LIBRARIES)
    param_names = ("m, n, density, k", "library")

    def case(self, shape):
        return Case(**sparse.row("float32", *shape, 4))

    def track_error(self, *parameters):
        return sparse.rest(self.work.case, self.work.arrays, self.work.out)


class SparseMemory:
    """Peak memory of one decomposition of a SciPy CSR matrix, in bytes beyond the input."""

    params = (SPARSE,)
    param_names = ("m, n, density, k",)
    unit = "bytes"

    def track_peak(self, shape):
        *_, k = shape
        case = Case(**sparse.row("float32", *shape, 4))
        return _peak(sparse.matrix(case, sparse.operands(case)), k)


class Memory:
    """Peak memory of one decomposition, in bytes beyond the input."""

    params = (SHAPES,)
    param_names = ("m, n, k",)
    unit = "bytes"

    def track_peak(self, shape):
        import numpy as np

        m, n, k = shape
        x = np.random.default_rng(1).standard_normal((m, n), np.float32)
        return _peak(x, k)


def _peak(x, k):
    """Bytes that a second call asks NumPy for, at the most at once."""
    import tracemalloc

    import fastmat as fm

    fm.randomized_svd(x, k, n_iter=4, rng=1)
    tracemalloc.start()
    fm.randomized_svd(x, k, n_iter=4, rng=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
