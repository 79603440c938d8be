"""The rows of `fastmat compare` on products of one's own making and linear layers, in small."""

from dataclasses import replace

import numpy as np
import pytest

from fastmat.comparisons import checks, inputs, libraries, programs, roofs
from fastmat.comparisons.cases import CASES, Case

ROWS = [case for case in CASES if programs.has(case)]
each_row = pytest.mark.parametrize("case", ROWS, ids=lambda case: f"{case.dtype} {case.title}")


def small(case):
    """The same with shapes that no tile divides."""
    return replace(case, shapes=tuple(tuple(n // 16 + 3 for n in shape) for shape in case.shapes))


def agree(case):
    arrays = inputs.operands(case)
    expected = libraries.output(case, arrays)
    libraries.numpy_call(case, arrays, expected)()
    for library in ("fastmat", "numba", "torch"):
        result = libraries.output(case, arrays)
        checks.poison(result)
        assert checks.error(case, arrays, result, expected) > 1
        call = getattr(libraries, f"{library}_call")(case, arrays, result)
        if call is not None:
            returned = call()
            found = returned.numpy() if library == "torch" else result
            assert checks.error(case, arrays, found, expected) <= 1, library
    return arrays, expected


@pytest.mark.filterwarnings("ignore:Sparse")
@each_row
def test_libraries_agree(case):
    agree(small(case))


@each_row
def test_the_check_sees_half_the_digits(case):
    case = small(case)
    arrays, low = inputs.operands(case), {"float32": np.float16, "float64": np.float32}
    expected, result = libraries.output(case, arrays), libraries.output(case, arrays)
    libraries.numpy_call(case, arrays, expected)()
    if case.dtype in low:
        arrays = tuple(x.astype(low[case.dtype]).astype(x.dtype) for x in arrays)
    else:
        arrays = (arrays[0] ^ 1, *arrays[1:])
    libraries.numpy_call(case, arrays, result)()
    assert checks.error(case, arrays, result, expected) > 1


@pytest.mark.parametrize(
    ("case", "operations"),
    [
        (Case(**programs.row("matmul", "float32", 3, 5, 7, "", semiring="min_plus")), 210),
        (Case(**programs.row("matmul", "float32", 4, 5, 4, "", mask="causal")), 100),
        (Case(**programs.row("linear", "float32", 3, 5, 7, "")), 210),
        (Case(**programs.row("linear_vjp", "float32", 3, 5, 7, "")), 420),
        (Case(**programs.row("linear_vjp", "float32", 3, 5, 7, "", activation="gelu")), 630),
        (Case(**programs.row("matmul_vjp", "float32", 3, 5, 7, "")), 420),
    ],
    ids=lambda x: getattr(x, "title", None),
)
def test_operations_are_those_of_what_is_kept(case, operations):
    assert roofs.floating_point_operations(case) == operations
    assert roofs.is_product(case)
