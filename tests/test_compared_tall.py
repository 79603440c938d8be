"""The rows of `fastmat compare` on `fastmat.linalg`, in small."""

from dataclasses import replace

import numpy as np
import pytest

from fastmat.comparisons import checks, inputs, libraries, roofs, tall
from fastmat.comparisons.cases import CASES, Case

ROWS = [case for case in CASES if tall.has(case)]


def small(case):
    """The same with shapes that no tile divides; square ones stay square."""
    return replace(case, shapes=tuple(tuple(n // 16 + 3 for n in shape) for shape in case.shapes))


@pytest.mark.parametrize("case", ROWS, ids=lambda case: f"{case.dtype} {case.title}")
def test_libraries_agree(case):
    case = small(case)
    arrays = inputs.operands(case)
    for library in ("numpy", "fastmat", "torch"):
        result = libraries.output(case, arrays)
        checks.poison(result)
        assert tall.error(case, arrays, result) > 1
        call = getattr(libraries, f"{library}_call")(case, arrays, result)
        if call is None:
            assert library == "torch"  # not installed, or without this operation
            continue
        returned = call()
        found = returned.numpy() if library == "torch" else result
        assert tall.error(case, arrays, found) <= 1, library
        wrong = found.copy()
        wrong.flat[0] = 0
        assert tall.error(case, arrays, wrong) > 1


def test_products_of_the_check_are_exact():
    for dtype in ("g", "G"):
        a = (np.random.default_rng(1).standard_normal((700, 300)) / 3).astype(dtype)
        a = a * (1 + 1j) if dtype == "G" else a
        exact = a.T @ a
        assert np.max(np.abs(tall._product(a.T, a) - exact)) < 1e-15 * np.max(np.abs(exact))


def test_operations():
    def count(*args):
        case = Case(**tall.row(*args, group=""))
        assert roofs.is_product(case)
        return roofs.floating_point_operations(case)

    assert count("gram", "float32", (5, 3)) == 45
    assert count("power_step", "float32", (5, 3), (3, 2)) == 120
    assert count("cholesky", "float32", (2, 3, 3)) == 18
    assert count("solve_triangular", "complex64", (3, 3), (3, 2)) == 72
    assert count("qr_tall", "float32", (5, 3)) == 144
