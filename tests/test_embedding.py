"""fastmat inside compiled code of every kind that Numba offers."""

import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from numba import carray, cfunc, guvectorize, njit, prange, types

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


def operands(*shape, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape)
    return a, rng.standard_normal((*shape[:-2], shape[-1], shape[-2]))


def test_guvectorize():
    signature = ["void(float64[:,:], float64[:,:], float64[:,:])"]

    @guvectorize(signature, "(m,k),(k,n)->(m,n)", nopython=True)
    def product(a, b, out):
        fm.matmul(a, b, out=out)

    a, b = operands(7, 5, 4)
    np.testing.assert_array_equal(product(a, b), fm.matmul(a, b))
    np.testing.assert_array_equal(product(a, b[0]), fm.matmul(a, b[0]))


def test_guvectorize_parallel():
    signature = ["void(float64[:,:], float64[:,:], float64[:,:])"]

    @guvectorize(signature, "(m,k),(k,n)->(m,n)", nopython=True, target="parallel")
    def product(a, b, out):
        fm.matmul(a, b, out=out)

    a, b = operands(9, 150, 150)
    np.testing.assert_array_equal(product(a, b), fm.matmul(a, b))


def test_cfunc():
    pointer = types.CPointer(types.float64)

    @cfunc(types.void(pointer, pointer, pointer, types.intp))
    def product(a, b, out, n):
        shape = (n, n)
        fm.matmul(carray(a, shape), carray(b, shape), carray(out, shape))

    a, b = operands(6, 6)
    out = np.empty((6, 6))
    product.ctypes(*(x.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for x in (a, b, out)), 6)
    np.testing.assert_array_equal(out, fm.matmul(a, b))


def test_nogil():
    @njit(nogil=True)
    def product(a, b, out):
        for i in range(out.shape[0]):
            fm.matmul(a, b, out=out[i])

    a, b = operands(70, 70)
    outs = [np.empty((50, 70, 70)) for _ in range(4)]
    product(a, b, outs[0])
    threads = [threading.Thread(target=product, args=(a, b, out)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = fm.matmul(a, b)
    assert all(np.array_equal(item, expected) for out in outs for item in out)


@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning")
@pytest.mark.parametrize("n", [4, 40, 130])
def test_the_same_bits_everywhere(n):
    """From Python, inside njit, inside a parallel function, and in the body of its loop."""

    @njit
    def plain(a, b):
        return fm.matmul(a, b)

    @njit(parallel=True)
    def parallel(a, b):
        return fm.matmul(a, b)

    @njit(parallel=True)
    def loop(a, b, out):
        for i in prange(out.shape[0]):
            fm.matmul(a, b, out=out[i])

    a, b = operands(n, n)
    out = np.empty((3, n, n))
    loop(a, b, out)
    expected = fm.matmul(a, b)
    for found in (plain(a, b), parallel(a, b), *out):
        np.testing.assert_array_equal(found, expected)


MODULE = """
import numpy as np
from numba import njit
import fastmat as fm
from fastmat import overloads
overloads.register()

@njit(cache=True)
def product(a, b, out):
    fm.matmul(a, b, out=out)
    return fm.matvec(a, b[0])

for n in (3, 90):
    a, b = np.arange(2.0 * n * n).reshape(2, n, n)
    out = np.empty((n, n))
    vector = product(a, b, out)
    assert np.array_equal(out, np.einsum("ik,kj->ij", a, b))
    assert np.array_equal(vector, np.einsum("ik,k->i", a, b[0]))
print(sum(product.stats.cache_hits.values()))
"""


def test_functions_in_numbas_cache(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(MODULE)
    hits = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, str(module)],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "numba")},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        hits.append(result.stdout.strip())
    assert hits == ["0", "1"]


def test_small_products_allocate_nothing():
    @njit
    def many(a, b, out):
        for _ in range(1000):
            fm.matmul(a, b, out=out)

    from numba.core.runtime import _nrt_python, rtsys

    _nrt_python.memsys_enable_stats()
    a, b = operands(5, 5)
    out = np.empty((5, 5))
    many(a, b, out)
    before = rtsys.get_allocation_stats().alloc
    many(a, b, out)
    assert rtsys.get_allocation_stats().alloc - before < 20  # for the arguments, not each product
