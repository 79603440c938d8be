"""Power iterations of randomized factorizations: how often a matrix is read, and what is lost."""

import numpy as np
import pytest
from products import bits
from spectra import matrix

import fastmat as fm


def test_passes():
    """As many as there are: both products of an iteration share one, if that is accurate."""
    x = np.random.default_rng(3).standard_normal((300, 250))
    assert fm.randomized_svd(x, 5, n_iter=3, rng=0).n_passes == 2 + 3  # power_step
    assert fm.randomized_svd(x[:, :100], 5, n_iter=3, rng=0).n_passes == 2 + 1  # gram
    steep = x * 1e-3 ** np.arange(250)
    for a, wasted in (steep, 1), (steep[:, :100], 1):
        found = fm.randomized_svd(a, 5, n_iter=3, rng=0)
        assert found.n_passes == 2 + 2 * 3 + wasted
        exact = fm.randomized_svd(a, 5, n_iter=3, power_iteration_normalizer="QR", rng=0)
        assert [bits(part) for part in found] == [bits(part) for part in exact]


@pytest.mark.parametrize(
    ("dtype", "exponent"), [("f4", -72), ("f8", -532), ("c8", -72), ("c16", -532)]
)
def test_squares_that_underflow_are_not_taken(dtype, exponent):
    """They have a few bits at these scales, though their spans are as at others."""
    rng = np.random.default_rng(5)
    for m, n in (300, 250), (300, 60):  # power_step, gram
        x = matrix(m, n, 0.99 ** np.arange(n), rng, dtype)
        plain = fm.randomized_svd(x, 5, n_iter=3, rng=1)
        assert plain.n_passes < 2 + 2 * 3
        x *= x.real.dtype.type(2.0**exponent)
        found, exact = (
            fm.randomized_svd(x, 5, n_iter=3, power_iteration_normalizer=normalizer, rng=1)
            for normalizer in ("auto", "QR")
        )
        assert [bits(part) for part in found] == [bits(part) for part in exact]


@pytest.mark.parametrize("normalizer", ["auto", "QR", "LU", "none"])
def test_normalizers(normalizer):
    """Without one, magnitudes are kept in check: scikit-learn's overflow (its issue 23421)."""
    rng = np.random.default_rng(4)
    for scale in (1e-30, 1, 1e30):
        x = matrix(60, 50, 0.8 ** np.arange(50), rng, "f4") * np.float32(scale)
        for n_iter in (0, 1, 15):
            found = fm.randomized_svd(
                x, 3, n_iter=n_iter, power_iteration_normalizer=normalizer, rng=1
            )
            s = np.linalg.svd(x.astype("f8"), compute_uv=False)[:3]
            assert np.all(np.abs(found.S - s) <= (0.3 if n_iter == 0 else 1e-2) * s)
