"""linalg.solve_triangular, where ``numpy`` is SciPy."""

from fastmat.comparisons import tall
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison


class Solve(Comparison):
    """One right-hand side, some, and as many as there are equations."""

    params = (("float32", "float64"), (300, 1000), (1, 50, 1000), LIBRARIES)
    param_names = ("dtype", "n", "right_hand_sides", "library")

    def case(self, dtype, n, right_hand_sides):
        shapes = (n, n), (n, right_hand_sides)
        return Case(**tall.row("solve_triangular", dtype, *shapes, group="asv"))
