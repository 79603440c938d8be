"""pca: time and rate beside the peers of ``fastmat compare``; time, error and memory beside others.

Peers are scikit-learn's PCA with its randomized solver (in the place of NumPy), and PyTorch's
`pca_lowrank`, with as many columns and iterations; those of `Peers` are the exact decomposition of
NumPy, scikit-learn, PyTorch, and `scipy.sparse.linalg.svds` of the centred matrix.
"""

import tracemalloc

import numpy as np

import fastmat as fm
from fastmat.comparisons import decompositions
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison, require

SHAPES = ((2000, 500, 10), (20000, 1000, 20), (100000, 200, 10))


class Components(Comparison):
    """pca of tall and very tall matrices."""

    params = (("float32", "float64"), SHAPES, LIBRARIES)
    param_names = ("dtype", "m, n, k", "library")

    def case(self, dtype, shape):
        return Case(**decompositions.row("pca", dtype, *shape, 4))


def _fastmat(x, k):
    return fm.pca(x, k, n_iter=4, rng=1).components


def _numpy(x, k):
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:k]


def _sklearn(x, k):
    from sklearn.decomposition import PCA

    found = PCA(k, svd_solver="randomized", iterated_power=4, random_state=1).fit(x)
    return found.components_


def _torch(x, k):
    import torch

    return torch.pca_lowrank(torch.from_numpy(x), k + 10, niter=4)[2].numpy()[:, :k].T


def _scipy(x, k):
    from scipy.sparse.linalg import svds

    return svds(x - x.mean(0), k, rng=1)[2]


class Peers:
    """What pca and others leave of the centred matrix, over the least that can be left."""

    params = (
        ((2000, 500, 10), (20000, 200, 10)),
        (0.0, 1e4),
        ("fastmat", "numpy", "sklearn", "torch", "scipy"),
    )
    param_names = ("m, n, k", "mean over deviation", "library")
    unit = "1"

    def setup(self, shape, offset, library):
        require(library)
        m, n, k = shape
        rng = np.random.default_rng(1)
        x = rng.standard_normal((m, n)) * 0.97 ** np.arange(n)
        self.x = (x + offset * rng.standard_normal(n)).astype(np.float32)
        self.call = globals()[f"_{library}"]
        self.call(self.x, k)

    def time_call(self, shape, offset, library):
        self.call(self.x, shape[2])

    def track_error(self, shape, offset, library):
        """Of the components, in the Frobenius norm; 1 is the best there can be."""
        wide = self.x.astype(np.float64)
        wide -= wide.mean(0)
        components = np.linalg.qr(self.call(self.x, shape[2]).astype(np.float64).T)[0]
        rest = np.linalg.norm(wide - wide @ components @ components.T)
        least = np.linalg.norm(np.linalg.svd(wide, compute_uv=False)[shape[2] :])
        return float(rest / least)

    def track_peak(self, shape, offset, library):
        """Memory beyond the matrix, as a multiple of it; of what NumPy allocates."""
        if library == "torch":
            raise NotImplementedError("PyTorch's memory is not NumPy's")
        tracemalloc.start()
        self.call(self.x, shape[2])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / self.x.nbytes
