"""The rows of `fastmat compare` on sparse matrices, in small."""

from dataclasses import replace

import numpy as np
import pytest

from fastmat.comparisons import checks, decompositions, inputs, libraries, roofs, sparse
from fastmat.comparisons.cases import CASES

ROWS = [case for case in CASES if sparse.has(case)]


def small(case):
    """The same with fewer rows and columns, that are less sparse for it."""
    options = dict(case.options) | {"density": 0.1, "k": 3}
    shapes = tuple(tuple(n // 1000 + 40 for n in shape) for shape in case.shapes)
    return replace(case, shapes=shapes, options=tuple(options.items()))


def test_rows_are_there():
    assert ("float32", ((10**6, 2000),)) in [(case.dtype, case.shapes) for case in ROWS]
    assert any(case.quick for case in ROWS)


@pytest.mark.parametrize("case", ROWS[:2], ids=lambda case: f"{case.dtype} {case.title}")
def test_libraries_agree(case):
    case = small(case)
    arrays = inputs.operands(case)
    expected = libraries.output(case, arrays)
    libraries.numpy_call(case, arrays, expected)()
    for library in ("numpy", "fastmat", "torch"):
        result = libraries.output(case, arrays)
        checks.poison(result)
        call = getattr(libraries, f"{library}_call")(case, arrays, result)
        if call is None:
            assert library == "torch"  # not installed
            continue
        call()
        assert decompositions.error(case, arrays, result, expected) <= 1, library
        result *= 1.2
        assert decompositions.error(case, arrays, result, expected) > 1
    assert roofs.floating_point_operations(case) > 0


def test_what_factors_leave():
    case = small(ROWS[1])
    arrays = inputs.operands(case)
    x = sparse.matrix(case, arrays).toarray()
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    flat = np.concatenate([u[:, :3].ravel(), s[:3], vh[:3].ravel()])
    np.testing.assert_allclose(
        sparse.rest(case, arrays, flat), np.sqrt(np.sum(s[3:] ** 2) / np.sum(s**2)), rtol=1e-10
    )
