"""The rows of `fastmat compare --device cuda`: what they call and how they check it.

The kernels for GPUs are not what is tested here: fastmat's own for the CPU stand in for them, and
PyTorch's tensors on the CPU for those on a GPU, with shapes of a few hundred numbers.
"""

from dataclasses import replace

import pytest

from fastmat.comparisons.gpu.cases import CASES, select
from fastmat.comparisons.gpu.operations import work

torch = pytest.importorskip("torch")

SMALL = 40


def small(case):
    """The row with short axes; those of the channels stay divisible by the groups."""
    if case.op in ("group_norm", "batch_norm"):
        return replace(case, shape=(9, 64, 5, 3))
    if case.op == "linalg.qr_tall":
        return replace(case, shape=(300, 7))
    if case.op == "randomized_svd":
        return replace(case, shape=(300, 200), options=(("k", 5),))
    return replace(case, shape=tuple(min(n, SMALL + i) for i, n in enumerate(case.shape)))


ONE_OF_EACH = list({(c.op, c.dtype, c.options): small(c) for c in CASES}.values())
ON_GPUS_ONLY = ("random.",)  # PyTorch's tensors are no `out` of the draws for the CPU


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=lambda c: f"{c.dtype}-{c.title}")
def test_right_results_pass(case):
    from fastmat.comparisons.gpu.work import Bench

    options = dict(case.options)
    no_bfloat16 = case.dtype == "bfloat16"  # NumPy reads none by DLPack
    of_gpus = options.get("host") or options.get("precision") or case.op.startswith(ON_GPUS_ONLY)
    if no_bfloat16 or of_gpus:
        pytest.skip("has no meaning on the CPU")
    its = work(Bench("cpu"), case)
    its.calls["fastmat"]()
    assert 0 <= its.error() <= 1
    for library, call in its.calls.items():
        if library != "cupy":
            call()


def test_wrong_results_do_not_pass():
    from fastmat.comparisons.gpu.work import Bench

    for op in ("softmax", "layer_norm", "transpose", "matmul"):
        case = next(c for c in ONE_OF_EACH if c.op == op and c.dtype == "float32")
        its = work(Bench("cpu"), case)
        assert not its.error() <= 1  # nothing was written


def test_quick_rows_are_few():
    assert 5 <= len(select(True, None)) <= 25
    assert {case.op for case in select(False, ["softmax"])} == {"softmax"}
