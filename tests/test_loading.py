"""Kernels are loaded when they are first needed: by a shape, a stack, a user's function."""

import os
import subprocess
import sys

import pytest
from numba import njit

from fastmat.cpu.parallel import parallel_for, task

PRELUDE = """
import threading
import numpy as np
import fastmat as fm
from fastmat.cpu import gemm, matvec, small

def operands(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]

def check(a, b):
    assert np.array_equal(fm.matmul(a, b), a @ b)
"""


def run(code):
    """Run lines of code in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 3), (3, 3)),
        ((90, 90), (90, 90)),
        ((6, 90, 90), (6, 90, 90)),  # from a task
        ((3, 9000), (9000, 3)),  # from a task that adds up a piece of a long sum
        ((900, 90), (90, 3)),
        ((300, 300), (300,)),
        ((300,), (300, 300)),
        ((40, 3, 3), (40, 3, 3)),
        ((40, 20, 20), (40, 20, 20)),
    ],
)
def test_first_product_of_a_process(a, b):
    run(f"check(*operands({a}, {b}))")


def test_only_what_a_shape_needs():
    run("""
check(*operands((3, 3), (3, 3)))
assert not gemm.gemm._loaded and not matvec.matvec._loaded
check(*operands((90, 90), (90, 90)))
assert gemm.gemm._loaded and not matvec.matvec._loaded
""")


def test_user_functions_load_everything():
    run("""
from numba import njit
@njit
def product(a, b):
    return fm.matmul(a, b)
for shapes in [((3, 3), (3, 3)), ((6, 90, 90), (6, 90, 90)), ((3, 9000), (9000, 3))]:
    a, b = operands(*shapes)
    if a.ndim == 2:
        assert np.array_equal(product(a, b), a @ b)
        assert gemm.gemm._loaded and matvec.matvec._loaded and small.in_lanes._loaded
    assert np.array_equal(product(a, b), a @ b)
""")


def test_cached_user_functions_load_everything(tmp_path):
    module = tmp_path / "product_in_a_module.py"
    module.write_text("""
import fastmat as fm
from numba import njit

@njit(cache=True)
def product(a, b):
    return fm.matmul(a, b)
""")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from product_in_a_module import product
for shapes in [((3, 3), (3, 3)), ((90, 90), (90, 90)), ((3, 9000), (9000, 3))]:
    a, b = operands(*shapes)
    assert np.array_equal(product(a, b), a @ b)
assert gemm.gemm._loaded and matvec.matvec._loaded
"""
    run(code)
    run(code + "assert sum(product.stats.cache_hits.values()) == 1")


def test_by_many_threads_at_once():
    run("""
pairs = [operands(*shapes) for shapes in [((90, 90), (90, 90)), ((6, 90, 90), (6, 90, 90)),
                                          ((300, 300), (300,)), ((3, 9000), (9000, 3))] * 4]
failures = []
def work(a, b):
    try:
        check(a, b)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=work, args=pair) for pair in pairs]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
""")


def test_operands_are_not_kept():
    """A reference that compiled code counts and forgets would keep an array for ever."""
    run("""
import gc, sys
for shapes in [((3, 3), (3, 3)), ((90, 90), (90, 90)), ((6, 90, 90), (6, 90, 90)),
               ((3, 9000), (9000, 3)), ((900, 90), (90, 3)), ((300, 300), (300,)),
               ((40, 3, 3), (40, 3, 3))]:
    for dtype in ("f8", "f2", "c8"):
        a, b = (x.astype(dtype) for x in operands(*shapes))
        before = sys.getrefcount(a), sys.getrefcount(b)
        c = fm.matmul(a, b)
        assert (sys.getrefcount(a), sys.getrefcount(b)) == before, (shapes, dtype)
        assert sys.getrefcount(c) == 2
a, b = operands((90, 90), (90, 90))
before = sys.getrefcount(a)
fm.matmul(a, b, out=a)
assert sys.getrefcount(a) == before
""")


def test_loading_for_a_user_function_can_be_interrupted():
    run("""
import pytest
from numba import njit
from fastmat.core.compile import Kernel

@njit
def product(a, b):
    return fm.matmul(a, b)

load, calls = Kernel.load, []
def interrupted(self, name):
    calls.append(name)
    if len(calls) == 4:
        raise KeyboardInterrupt
    return load(self, name)
Kernel.load = interrupted
a, b = operands((300, 300), (300, 300))
with pytest.raises(KeyboardInterrupt):
    product(a, b)
assert np.array_equal(product(a, b), a @ b)
""")


def test_a_kernel_that_cannot_be_loaded():
    run("""
import time
import pytest
from fastmat.core.compile import Kernel

check(*operands((3, 3), (3, 3)))
load = Kernel.load
def fail(self, name):
    raise MemoryError("nothing left")
Kernel.load = fail
a, b = operands((300, 300), (300, 300))
with pytest.raises(RuntimeError, match="product.float64 could not be loaded"):
    fm.matmul(a, b)
def interrupt(self, name):
    raise KeyboardInterrupt
Kernel.load = interrupt
with pytest.raises(KeyboardInterrupt):
    try:
        fm.matmul(a, b)
    except RuntimeError:
        time.sleep(10)
Kernel.load = load
check(a, b)
""")


def test_python_and_a_user_function_load_at_once():
    """Each would wait for the other, if they did not take Numba's lock first."""
    run("""
from numba import njit

@njit
def product(a, b):
    return fm.matmul(a, b)

a, b = operands((300, 300), (300, 300))
def from_python():
    for x in (operands((3, 3), (3, 3))[0], a, np.ones((2, 2), "f4")):
        fm.matmul(x, x)
threads = [threading.Thread(target=product, args=(a, b)), threading.Thread(target=from_python)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_another_thread_loads():
    run("""
import os, time
a, b = operands((90, 90), (90, 90))
fm.matmul(a[:3, :3], b[:3, :3])
loading = threading.Thread(target=lambda: fm.matmul(a.astype("c16"), b.astype("c16")))
loading.start()
time.sleep(0.02)
child = os.fork()
if child == 0:
    try:
        check(a, b)
    except BaseException:
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
loading.join()
check(a, b)
""")


@task
def _refuse(args, slot, index):
    if index == args[0]:
        raise ValueError("this one not")


@njit
def _run_tasks(which, count, threads):
    parallel_for(_refuse, count, threads, (which,))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_task_raises_is_raised(threads):
    _run_tasks(-1, 9, threads)
    with pytest.raises(ValueError, match="this one not"):
        _run_tasks(7, 9, threads)
    _run_tasks(-1, 9, threads)
