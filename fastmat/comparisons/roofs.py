"""The roofs that a run is held against, measured once in that run."""

from __future__ import annotations

import math

from fastmat.comparisons import decompositions, programs, tall
from fastmat.comparisons.cases import Case
from fastmat.comparisons.inputs import Array
from fastmat.comparisons.parameters import OF_HEADS
from fastmat.cpu import roof


class Roofs:
    """Figures for one number of threads.

    Arithmetic is measured on one core and multiplied by the threads; the copy runs on all.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.figures: dict[str, float] = {}

    def of(self, case: Case) -> float:
        """Operations or bytes per second that bound this case."""
        if is_product(case):
            return self._once(case.dtype, lambda: self.threads * roof.flops(case.dtype))
        return self._once("copy", roof.copy_bandwidth)

    def _once(self, name, measure) -> float:
        if name not in self.figures:
            self.figures[name] = measure()
        return self.figures[name]


def work(case: Case, arrays: tuple[Array, ...], out: Array) -> tuple[float, str]:
    """What one call does, and its unit: operations, or bytes read once plus bytes written once."""
    if is_product(case):
        return floating_point_operations(case), "FLOP/s"
    return float(sum(array.nbytes for array in (*arrays, out))), "B/s"


def floating_point_operations(case: Case) -> float:
    """Multiplications and additions of a product (real ones, also for complex numbers)."""
    if decompositions.has(case):
        return decompositions.operations(case)
    if tall.has(case):
        return tall.operations(case)
    if len(case.shapes) < 2:
        return 0.0
    if programs.has(case):
        return programs.operations(case)
    first, second = case.shapes[:2]
    if case.op in OF_HEADS:
        of_each = (14.0 if case.op.endswith("_vjp") else 4.0) / (2 if case.options else 1)
        return of_each * math.prod(first) * second[-2]
    if case.op == "matmul":
        count = math.prod(first) * second[-1]
    else:
        count = max(math.prod(first), math.prod(second))
    return (8.0 if case.dtype.startswith("complex") else 2.0) * count


def is_product(case: Case) -> bool:
    """Whether arithmetic sets the time (matrix products) rather than memory (all others)."""
    of_matrices = programs.has(case) or tall.has(case) or decompositions.has(case)
    return case.op == "matmul" or of_matrices or case.op in OF_HEADS
