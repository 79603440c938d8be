"""Products inside a user's own compiled functions, against `np.dot` there."""

import time

import numpy as np

from .peers import BLOCK, PAUSE, set_threads

# What np.dot can do inside njit: contiguous floating-point matrices and vectors.
SHAPES = {
    "2x2": ((2, 2), (2, 2)),
    "4x4": ((4, 4), (4, 4)),
    "8x8": ((8, 8), (8, 8)),
    "16x16": ((16, 16), (16, 16)),
    "64x64": ((64, 64), (64, 64)),
    "512x512": ((512, 512), (512, 512)),
    "3x300 @ 300x3": ((3, 300), (300, 3)),
    "1000x10 @ 10x10": ((1000, 10), (10, 10)),
    "4x4 @ 4": ((4, 4), (4,)),
    "300x300 @ 300": ((300, 300), (300,)),
}


def loops():
    """For each library a compiled function that makes a product n times."""
    from numba import njit

    import fastmat as fm

    @njit
    def fastmat_loop(a, b, out, n):
        for _ in range(n):
            fm.matmul(a, b, out)

    @njit
    def numpy_loop(a, b, out, n):
        for _ in range(n):
            np.dot(a, b, out)

    return {"fastmat": fastmat_loop, "numpy": numpy_loop}


class InNjit:
    """One product with `out`, many times in a row: seconds for one."""

    params = (("float32", "float64"), tuple(SHAPES), ("fastmat", "numpy"))
    param_names = ("dtype", "shape", "library")
    number = 1
    rounds = 1
    repeat = (3, 7, 5.0)
    warmup_time = 0.0

    work = None
    calls = 1

    def setup(self, dtype, shape, library):
        if self.work is None:
            set_threads(library)
            rng = np.random.default_rng(0)
            a, b = (rng.integers(-9, 10, shape).astype(dtype) for shape in SHAPES[shape])
            expected = a @ b
            out = np.full_like(expected, np.nan)
            self.work = loops()[library], a, b, out
            self.run(1)
            np.testing.assert_array_equal(out, expected)  # whole numbers: no rounding
            begin = time.perf_counter()
            self.run(100)
            self.calls = max(1, round(BLOCK * 100 / (time.perf_counter() - begin)))
        time.sleep(PAUSE)
        self.run(1)

    def run(self, calls):
        loop, a, b, out = self.work
        loop(a, b, out, calls)

    def timer(self):
        """The clock that asv reads, divided so that it gives the time of one product."""
        return time.perf_counter() / self.calls

    def time_product(self, dtype, shape, library):
        self.run(self.calls)
