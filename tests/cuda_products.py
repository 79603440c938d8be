"""Products on GPUs, called and compared with their oracles."""

import contextlib

import numpy as np
import pytest
from oracles import ORACLES, rounded
from products import same
from semiring_oracles import RINGS, product, result
from tolerances import log_sum_exp_bound, product_bound

import fastmat as fm


def called(gpu, op, *arrays, **keywords):
    """What a function returns for arrays that are put on the GPU, read back; they do not change."""
    given = [gpu.array(x) for x in arrays]
    for key in ("mask", "out"):
        if isinstance(keywords.get(key), np.ndarray):
            keywords[key] = gpu.array(keywords[key])
    if "epilogue_args" in keywords:
        keywords["epilogue_args"] = tuple(gpu.array(x) for x in keywords["epilogue_args"])
    found = getattr(fm, op)(*given, **keywords)
    assert isinstance(found, gpu.kind)
    if "out" in keywords:
        assert found is keywords["out"]
    for x, y in zip(arrays, given, strict=True):
        assert gpu.numpy(y).tobytes() == np.ascontiguousarray(x).tobytes()
    return gpu.numpy(found)


def check(gpu, op, x1, x2, **keywords):
    """A product whose sums are exact, such as those of small integers."""
    found = called(gpu, op, x1, x2, **keywords)
    plain = {key: value for key, value in keywords.items() if key not in ("out", "fill")}
    expected = ORACLES[op](x1, x2, **plain, exact=True)
    same(found, rounded(expected.value, found.dtype))
    assert found.dtype == expected.dtype
    return found


def check_near(gpu, op, x1, x2, **keywords):
    """A product within the bound of the error analysis."""
    found = called(gpu, op, x1, x2, **keywords)
    within(found, ORACLES[op](x1, x2, **keywords, exact=False))
    return found


def within(found, expected, bound=product_bound):
    """Assert that a result is that of an oracle, within a bound."""
    assert found.dtype == expected.dtype
    assert found.shape == np.shape(expected.value)
    error = np.abs(found.astype(np.asarray(expected.value).dtype) - expected.value)
    wrong = ~(error <= bound(expected))
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {wrong.size} results are off"


def check_ring(gpu, x1, x2, name, **keywords):
    """A product in a semiring whose sums are exact."""
    found = called(gpu, "matmul", x1, x2, semiring=name, **keywords)
    same(found, result(product(x1, x2, name, exact=True)))
    return found


def check_ring_near(gpu, x1, x2, name):
    """The same within the bound of the error analysis; minima and maxima to the bit."""
    found = called(gpu, "matmul", x1, x2, semiring=name)
    expected = product(x1, x2, name)
    if RINGS[name].add in (np.fmin, np.fmax):
        same(found, result(expected))
    else:
        within(found, expected, log_sum_exp_bound if name == "log_sum_exp" else product_bound)
    return found


@contextlib.contextmanager
def small_tiles():
    """Products in tiles so small that few numbers make many of them, and compile soon."""
    from fastmat.cuda import jobs, matmul
    from fastmat.cuda.launch_matmul import Choice
    from fastmat.cuda.tiling import Tile

    choices = (Choice(Tile(16, 32, 4, 4, 4), 1.0),)
    with pytest.MonkeyPatch.context() as patch:
        for table in ("TILES", "FINISHING"):
            patch.setattr(jobs, table, dict.fromkeys((4, 8, 16), choices))
        matmul._plan.cache_clear()
        yield
    matmul._plan.cache_clear()
