"""linear, linear_vjp and matmul_vjp beside NumPy's products and elementwise steps."""

import numpy as np
from scipy.special import erf

import fastmat as fm


def _numpy_linear(x, weight, bias):
    z = x @ weight.T + bias
    return (z * (1 + erf(z * np.float32(np.sqrt(0.5)))) / 2).astype(np.float32)


class Linear:
    """Bias and gelu after a product of (m, k) and (n, k)."""

    params = (("1024x1024x1024", "4096x256x1024"), ("fastmat", "numpy"))
    param_names = ("shape", "library")

    def setup(self, shape, library):
        m, k, n = map(int, shape.split("x"))
        rng = np.random.default_rng(0)
        sizes = (m, k), (n, k), (n,)
        self.arrays = [rng.normal(size=size).astype(np.float32) for size in sizes]
        result = fm.linear(*self.arrays, activation="gelu")
        np.testing.assert_allclose(result, _numpy_linear(*self.arrays), atol=2e-3)

    def time_call(self, shape, library):
        if library == "fastmat":
            fm.linear(*self.arrays, activation="gelu")
        else:
            _numpy_linear(*self.arrays)


class Gradients:
    """linear_vjp without activation, and matmul_vjp, of n x n matrices."""

    params = ((1024,), ("linear_vjp", "matmul_vjp", "numpy"))
    param_names = ("n", "library")

    def setup(self, n, library):
        rng = np.random.default_rng(0)
        self.arrays = [rng.normal(size=(n, n)).astype(np.float32) for _ in range(3)]
        g, a, b = self.arrays
        by_a, by_b = fm.matmul_vjp(g, a, b)
        np.testing.assert_allclose(by_a, g @ b.T, atol=2e-3)
        np.testing.assert_allclose(by_b, a.T @ g, atol=2e-3)

    def time_call(self, n, library):
        g, a, b = self.arrays
        if library == "numpy":
            _ = g @ b.T, a.T @ g
        else:
            getattr(fm, library)(g, a, b)
