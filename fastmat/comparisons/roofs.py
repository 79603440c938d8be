"""The roofs that a run is held against, measured once in that run."""

from __future__ import annotations

from fastmat.comparisons.cases import Case, floating_point_operations, is_product
from fastmat.comparisons.inputs import Array
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
