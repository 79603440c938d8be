"""fastmat and its peers: the same operation by every library, checked, then timed.

Operands, checks, clocks and each library's spelling are those of ``fastmat compare``. Parameters
are spelled out in the benchmarks, not read from its table of cases: asv compares commits by them,
so they must not change with the table.
"""

from __future__ import annotations

import abc
import importlib.util
import itertools
import os
import time
import timeit

import numpy as np

from fastmat.comparisons import checks, draws, inputs, libraries
from fastmat.comparisons.cases import PARAMETERS, Case

# The last parameter of every benchmark. What a library cannot do, or is not installed for, is n/a.
LIBRARIES = ("fastmat", "fastmat-serial", "numpy", "torch")
WITH_NUMBA = (*LIBRARIES, "numba")  # plain loops, where one would write them

PAUSE = 0.15  # seconds until the idle threads of another library have stopped spinning
BLOCK = 0.05  # seconds to time at a time

# How many times as far off as fastmat PyTorch may be in operations on groups of numbers. It sums
# float32 in float32 (10 times were seen, of batch norm with channels last), and float16 is rounded
# at each step of what is composed of its functions (900 times were seen).
TORCH_ROOM = 10_000

_CALLS = {
    "fastmat": libraries.fastmat_call,
    "fastmat-serial": libraries.fastmat_call,
    "numpy": libraries.numpy_call,
    "torch": libraries.torch_call,
    "numba": libraries.numba_call,
}


def require(library: str) -> None:
    """Raise NotImplementedError, asv's n/a, where the library is not installed."""
    module = library.removesuffix("-serial")
    if importlib.util.find_spec(module) is None:
        raise NotImplementedError(f"{module} is not installed")


def set_threads(library: str) -> None:
    """All cores that this process may use; one for ``fastmat-serial``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = int(os.environ.get("NUMBA_NUM_THREADS", cores or 1))
    if library == "numpy":
        from threadpoolctl import threadpool_limits

        threadpool_limits(count, user_api="blas")
    elif library == "torch":
        import torch

        torch.set_num_threads(count)
    else:
        import numba

        numba.set_num_threads(1 if library == "fastmat-serial" else count)


class Work:
    """A case with its operands and output, and the call by which a library does it."""

    def __init__(self, case: Case, library: str, in_place: bool = False) -> None:
        require(library)
        set_threads(library)
        self.case = case
        self.library = library
        self.arrays = inputs.operands(case)
        self.in_place = in_place
        self.out = self.arrays[0] if in_place else libraries.output(case, self.arrays)
        self.call = _CALLS[library](case, self.arrays, self.out)
        if self.call is None or (in_place and library == "torch"):
            raise NotImplementedError(f"{library} has no {case.title} for {case.dtype}")

    def expected(self) -> np.ndarray:
        """NumPy's result."""
        result = libraries.output(self.case, self.arrays)
        libraries.numpy_call(self.case, self.arrays, result)()
        return result

    def run_and_check(self) -> None:
        """Make the first call, untimed; raise if its result is wrong."""
        expected = self.expected()
        if not self.in_place:
            checks.poison(self.out)
        returned = self.call()
        if self.library == "torch":  # some of its functions cannot be given an output
            self.out = returned.numpy()
        self.check(expected)

    def check(self, expected: np.ndarray) -> None:
        """Raise if the output is further from `expected` than rounding permits."""
        if draws.has(self.case) and self.library == "torch":
            return  # it draws numbers of its own
        error = checks.error(self.case, self.arrays, self.out, expected)
        lenient = self.library == "torch" and self.case.op in PARAMETERS
        room = TORCH_ROOM if lenient else 1
        if error > room:
            raise AssertionError(f"error {error:.3g} times what rounding permits")


class Comparison(abc.ABC):
    """Base of the timed classes: a subclass lists its parameters and says which case they mean.

    asv runs `setup` before each sample, and a sample is one run of `time_call`. So a sample is
    what ``fastmat compare`` measures, too: a pause, one untimed call, a block of timed ones.
    """

    unit = "GFLOP/s"
    in_place = False

    number = 1
    rounds = 1
    repeat = (3, 7, 5.0)
    warmup_time = 0.0

    work = None
    calls = 1

    @abc.abstractmethod
    def case(self, *parameters) -> Case:
        """The case that these parameters, without the library, stand for."""

    def setup(self, *parameters):
        if self.work is None:
            *which, library = parameters
            require(library)
            work = Work(self.case(*which), library, self.in_place)
            work.run_and_check()
            time.sleep(PAUSE)
            count, seconds = timeit.Timer(work.call).autorange()
            self.calls = max(1, round(BLOCK * count / seconds))
            self.work = work
        time.sleep(PAUSE)
        self.work.call()

    def timer(self) -> float:
        """The clock that asv reads, divided so that it gives the time of one call."""
        return time.perf_counter() / self.calls

    def time_call(self, *parameters):
        call = self.work.call
        for _ in itertools.repeat(None, self.calls):
            call()

    def track_rate(self, *parameters):
        from fastmat.comparisons import roofs, timing

        work = self.work
        seconds = timing.medians({"it": work.call}, timing.Effort())["it"]
        amount, unit = roofs.work(work.case, work.arrays, work.out)
        assert self.unit == f"G{unit}"
        return float(f"{amount / seconds / 1e9:.4g}")
