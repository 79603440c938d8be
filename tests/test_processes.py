"""fastmat in processes of every kind: many threads, forks, loops that are parallel themselves."""

import importlib.metadata
import os
import subprocess
import sys
import textwrap

import pytest

SETUP = """
import os, sys, signal, threading
import numba, numpy as np
import fastmat as fm

def operands(n, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(-9, 9, (n, n)).astype(dtype) for _ in range(2)]

a, b = operands(300)
expected = np.einsum("ik,kj->ij", a, b)  # not BLAS, which has threads of its own

def check():
    assert np.array_equal(fm.matmul(a, b), expected), "wrong product"
    assert np.array_equal(fm.transpose(a, (1, 0)), a.T), "wrong transpose"

def check_in_a_child():
    child = os.fork()
    if child == 0:
        try:
            check()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"child ended with {status}"
    check()
"""


def _installed(distribution):
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


LAYERS = ["omp", "workqueue", *(["tbb"] if _installed("tbb") else [])]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def run(code, layer="default", **environment):
    """Run code in a process of its own; what it printed."""
    settings = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "4", **environment}
    result = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.split()


@pytest.fixture(params=LAYERS)
def layer(request):
    return request.param


def test_the_layer_is_used(layer):
    assert run("check(); print(numba.threading_layer())", layer) == [layer]


def test_many_threads_at_once(layer):
    code = """
    ints = operands(70, np.int32)
    product = np.einsum("ik,kj->ij", *ints)
    tiny = operands(4)
    vector = np.einsum("ik,k->i", a, b[0])
    calls = [
        lambda: np.array_equal(fm.matmul(a, b), expected),
        lambda: np.array_equal(fm.matmul(*ints), product),
        lambda: np.array_equal(fm.matvec(a, b[0]), vector),
        lambda: np.array_equal(fm.transpose(a), a.T),
        lambda: np.array_equal(fm.matmul(*tiny), np.einsum("ik,kj->ij", *tiny)),
    ]
    wrong = []

    def work(which):
        for i in range(1000):
            # every tenth call is a large one: all of them would take minutes
            call = calls[which % 5] if i % 10 == 0 else calls[4]
            if not call():
                wrong.append(which)

    check()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not wrong
    """
    run(code, layer)


@needs_fork
def test_fork_after_a_parallel_call(layer):
    code = """
    check()
    for _ in range(3):
        check_in_a_child()
    """
    run(code, layer)


@needs_fork
def test_fork_after_a_parallel_loop_of_the_caller(layer):
    code = """
    @numba.njit(parallel=True)
    def total(x):
        found = 0.0
        for i in numba.prange(x.size):
            found += x[i]
        return found

    assert total(np.ones(1000)) == 1000  # no kernel of fastmat has been loaded yet
    check_in_a_child()
    """
    run(code, layer)


@needs_fork
def test_pool_of_forked_processes(layer):
    code = """
    import multiprocessing

    def task(i):
        check()
        return i

    check()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(task, range(12)) == list(range(12))
    check()
    """
    run(code, layer)


@needs_fork
def test_pre_forking_server(layer):
    """A parent that has used its threads forks workers, which answer requests on one socket."""
    code = """
    import socket

    check()
    listener = socket.create_server(("127.0.0.1", 0))
    workers = []
    for _ in range(3):
        worker = os.fork()
        if worker == 0:
            while True:
                connection, _ = listener.accept()
                with connection:
                    x = np.frombuffer(connection.recv(300 * 8, socket.MSG_WAITALL))
                    connection.sendall(fm.matvec(a, x).tobytes())
        workers.append(worker)
    try:
        for i in range(30):
            with socket.create_connection(listener.getsockname(), timeout=60) as connection:
                connection.sendall(b[:, i].tobytes())
                answer = np.frombuffer(connection.recv(300 * 8, socket.MSG_WAITALL))
            assert np.array_equal(answer, expected[:, i])
            if i % 10 == 0:
                check()  # the parent goes on with all its threads
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
    check()
    """
    run(code, layer)


def test_pool_of_threads(layer):
    code = """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: check(), range(40)))
    """
    run(code, layer)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(layer, backend):
    pytest.importorskip("joblib")
    code = f"""
    from joblib import Parallel, delayed

    check()
    results = Parallel(n_jobs=2, backend="{backend}")(delayed(fm.matmul)(a, b) for _ in range(4))
    assert all(np.array_equal(result, expected) for result in results)
    """
    run(code, layer)


def test_inside_a_parallel_loop(layer):
    code = """
    @numba.njit(parallel=True)
    def many(a, b, out):
        for i in numba.prange(out.shape[0]):
            fm.matmul(a, b, out=out[i])

    many(a, b, out := np.empty((8, 300, 300)))
    assert all(np.array_equal(item, expected) for item in out)
    check()
    """
    run(code, layer)


def test_interrupt_leaves_a_usable_process(layer):
    code = """
    check()
    for _ in range(5):
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                fm.matmul(a, b)
        except KeyboardInterrupt:
            pass
        check()
    """
    run(code, layer)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_no_memory_for_work_space(layer):
    code = """
    import resource

    x, y = operands(2000)
    out = np.full((2000, 2000), 7.0)
    check()
    pages = int(open("/proc/self/statm").read().split()[0])
    used = pages * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    filler = []
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), hard))
    try:
        while True:  # what is free inside the process is taken, too
            filler.append(bytearray(1 << 18))
    except MemoryError:
        pass
    try:
        fm.matmul(x, y, out=out)
    except MemoryError:
        print("MemoryError")
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    del filler
    check()
    """
    assert run(code, layer) == ["MemoryError"]


def test_threads_are_limited():
    code = """
    check()
    with fm.threads(2):
        print(numba.get_num_threads())
        check()
        with fm.threads(1):
            print(numba.get_num_threads())
        print(numba.get_num_threads())
    print(numba.get_num_threads())
    for wrong in (0, 5, 1.5, "2"):
        try:
            with fm.threads(wrong):
                raise AssertionError("no error")
        except (TypeError, ValueError) as error:
            assert "n is" in str(error), error
    """
    assert run(code) == ["2", "1", "2", "4"]


@pytest.mark.parametrize("threads", ["1", "3"])
def test_numba_num_threads_is_honoured(threads):
    code = "check(); print(numba.get_num_threads())"
    assert run(code, NUMBA_NUM_THREADS=threads) == [threads]
