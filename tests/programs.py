"""Call products with a semiring, a mask or an epilogue, and compare them with their oracles."""

import numpy as np
from layouts import unmodified
from oracles import widen
from products import same
from semiring_oracles import RINGS, masked, product, result
from tolerances import log_sum_exp_bound, product_bound

import fastmat as fm

# Tiles have 12 rows, 32 columns of float32 and 16 of float64; sums are cut at 384.
SHAPES = [  # m, k, n
    (0, 3, 4),
    (3, 4, 0),
    (3, 0, 4),
    (0, 0, 0),
    (1, 1, 1),
    (1, 7, 1),
    (5, 3, 7),
    (11, 5, 31),
    (12, 16, 32),
    (13, 17, 33),
    (11, 2, 15),
    (12, 1, 16),
    (13, 4, 17),
    (25, 385, 34),
    (7, 800, 5),
    (1, 385, 1),
    (12, 384, 32),
    (1, 40, 50),
    (50, 40, 1),
    (37, 13, 101),
    (211, 3, 5),
    (5, 3, 211),
]
STACKS = [
    ((4, 3, 5), (4, 5, 6)),
    ((4, 13, 5), (5, 33)),
    ((13, 5), (4, 5, 33)),
    ((2, 1, 3, 5), (3, 5, 4)),
    ((3, 1, 12, 7), (1, 2, 7, 32)),
    ((30, 2, 2), (30, 2, 2)),
    ((0, 3, 5), (5, 6)),
    ((2, 3, 0), (2, 0, 4)),
    ((5,), (5,)),
    ((5,), (5, 33)),
    ((13, 5), (5,)),
    ((0,), (0,)),
    ((3, 13, 5), (5,)),
    ((5,), (3, 5, 33)),
    ((400,), (400, 7)),
]


def call(x1, x2, **keywords):
    """`matmul`, of which the inputs are seen not to change."""
    arrays = [x for x in (x1, x2, keywords.get("mask")) if isinstance(x, np.ndarray)]
    epilogue = keywords.get("epilogue")
    arrays += [x for x in epilogue if isinstance(x, np.ndarray)] if type(epilogue) is tuple else []
    with unmodified(*arrays):
        found = fm.matmul(x1, x2, **keywords)
    out = keywords.get("out")
    if out is not None:
        assert found is out
    return found


def check_ring(x1, x2, name, **keywords):
    """Call a product whose sums are exact, such as those of small integers, and compare."""
    expected = product(x1, x2, name, exact=True)
    found = call(x1, x2, semiring=name, **keywords)
    assert "out" in keywords or type(found) is (
        np.ndarray if expected.value.ndim else expected.dtype.type
    )
    same(found, result(expected) if "out" not in keywords else result(expected).astype(found.dtype))
    return found


def check_ring_near(x1, x2, name):
    """Call a product and assert that it is within the bound; of minima and maxima, equal."""
    expected = product(x1, x2, name)
    found = call(x1, x2, semiring=name)
    assert (found.dtype, found.shape) == (expected.dtype, expected.value.shape)
    if RINGS[name].add in (np.fmin, np.fmax) or found.dtype.kind in "biu":
        same(found, result(expected))
        return
    bound = log_sum_exp_bound(expected) if name == "log_sum_exp" else product_bound(expected)
    near(found, expected.value, bound)


def near(found, value, bound):
    """Assert that results are within a bound, or the same infinity or NaN."""
    found = widen(found, np.asarray(found).dtype).astype(value.dtype)
    with np.errstate(invalid="ignore"):
        right = (np.abs(found - value) <= bound) | (found == value)
    right |= np.isnan(found) & np.isnan(value)
    assert right.all(), f"{np.count_nonzero(~right)} are off; first at {np.argwhere(~right)[0]}"


def check_masked(x1, x2, kept, fill=0, mask=None, **keywords):
    """Call a masked product of small integers; `kept` are the booleans that the mask stands for."""
    name = keywords.get("semiring", "plus_times")
    expected = masked(result(product(x1, x2, name, exact=True)), kept, fill)
    found = call(x1, x2, mask=kept if mask is None else mask, fill=fill, **keywords)
    same(found, expected)
    return found
