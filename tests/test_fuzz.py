"""Calls with arguments that nobody should make: NumPy's result, or a clear error, never a crash.

A run in CI makes some thousands of calls; ``FASTMAT_FUZZ_CALLS=100000 pytest tests/test_fuzz.py``
makes as many as you want, of each operation. `fuzz_arguments.py` makes the same calls, led by the
branches that they take.
"""

import os

import numpy as np
import pytest
from layouts import LAYOUTS, unmodified

import fastmat as fm

CALLS = int(os.environ.get("FASTMAT_FUZZ_CALLS", "2500"))
DTYPES = ["?", "i1", "u2", "i4", "i8", "f2", "f4", "f8", "c8", "c16", ">f4", ">i8"]
STRANGE = ["O", "U3", "M8[s]", "V5", "g"]
GUARD = 64  # bytes around an output that must not change

NUMPY = {
    "matmul": np.matmul,
    "matvec": getattr(np, "matvec", None),
    "vecmat": getattr(np, "vecmat", None),
    "vecdot": np.vecdot,
}


def length(rng):
    return int(rng.choice([0, 1, 2, 3, 4, 5, 8, 13, 17, 33], p=[0.06] + 9 * [0.94 / 9]))


def operand(rng, shape):
    """An array of small whole numbers, which products are exact for, or something strange."""
    chance = rng.random()
    if chance < 0.02:
        return rng.choice(np.array([None, "text", 1.5, [[1, 2], [3]], {}], dtype=object))
    if chance < 0.04:
        return np.zeros(shape, rng.choice(STRANGE))
    array = rng.integers(0, 4, shape).astype(rng.choice(DTYPES))
    if chance < 0.6:
        return array
    if chance < 0.63:
        return array.tolist()
    if chance < 0.66:
        raw = np.empty(array.nbytes + 1, np.uint8)[1:]
        unaligned = raw.view(array.dtype).reshape(shape) if array.size else array
        unaligned[...] = array
        return unaligned
    return LAYOUTS[rng.choice(list(LAYOUTS))](array) if array.ndim and array.size else array


def shapes(rng, op):
    """Shapes of two operands that fit, mostly."""
    m, k, n = (length(rng) for _ in range(3))
    batches = [(), (), (2,), (3, 1), (1, 2), (0,)]
    items = {
        "matmul": [((m, k), (k, n)), ((k,), (k, n)), ((m, k), (k,)), ((k,), (k,))],
        "matvec": [((m, k), (k,))],
        "vecmat": [((k,), (k, n))],
        "vecdot": [((k,), (k,))],
    }[op]
    found = []
    for item in items[rng.integers(len(items))]:
        shape = batches[rng.integers(len(batches))] + item
        if len(item) == 1 and op == "matmul":
            shape = item
        if rng.random() < 0.08:
            shape = tuple(rng.permutation([*shape, length(rng)]))
        found.append(tuple(int(size) for size in shape))
    return found


def output(rng, shape, dtype):
    """An output between guards: the whole memory, and the view to be written."""
    if rng.random() < 0.1:
        shape = (*shape, 2)
    if rng.random() < 0.1:
        dtype = np.dtype(rng.choice(DTYPES))
    size = int(np.prod(shape)) * dtype.itemsize
    memory = rng.integers(0, 255, size + 2 * GUARD).astype(np.uint8)
    order = rng.choice(["C", "F"])
    view = np.ndarray(shape, dtype, memory, GUARD, order=order)
    if rng.random() < 0.05:
        view.flags.writeable = False
    return memory, view


def outcome(function, *arguments, **keywords):
    """The result, or the kind of error (NumPy's own may be any)."""
    ours = getattr(function, "__module__", "").startswith("fastmat")
    errors = (ValueError, TypeError) if ours else Exception
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arguments, **keywords))
    except errors as error:
        assert str(error)  # noqa: PT017
        return type(error)


def is_error(result):
    return isinstance(result, type)


def supported(x):
    dtype = np.asarray(x).dtype
    return dtype.kind in "biufc" and dtype.char not in "gG"


def check_call(rng, op):
    """Make one call without and one with `out`; whether the first gave a result."""
    x1, x2 = (operand(rng, shape) for shape in shapes(rng, op))
    where = f"{op} of {x1!r:.300} and {x2!r:.300}"
    expected = outcome(NUMPY[op], x1, x2)
    with unmodified(*(x for x in (x1, x2) if isinstance(x, np.ndarray))):
        found = outcome(getattr(fm, op), x1, x2)
    if is_error(found):
        assert is_error(expected) or not all(map(supported, (x1, x2))), f"{where}: {found}"
        return False
    assert not is_error(expected), f"{where}: NumPy raises {expected}"
    assert found.dtype == expected.dtype.newbyteorder("="), where
    np.testing.assert_array_equal(found, expected, err_msg=where)

    memory, out = output(rng, expected.shape, expected.dtype.newbyteorder("="))
    before = memory.copy()
    written = outcome(getattr(fm, op), x1, x2, out=out)
    if is_error(written):
        np.testing.assert_array_equal(memory, before, err_msg=f"{where}: out was touched")
    else:
        np.testing.assert_array_equal(out, expected.astype(out.dtype), err_msg=where)
        for edge in (slice(None, GUARD), slice(memory.size - GUARD, None)):
            np.testing.assert_array_equal(memory[edge], before[edge], err_msg=where)
    return True


def check_transpose(rng):
    """Make one call; whether it gave a result."""
    shape = tuple(length(rng) for _ in range(rng.integers(0, 4)))
    x = operand(rng, shape)
    axes = None
    if rng.random() < 0.7:
        axes = tuple(int(axis) for axis in rng.permutation(len(shape)))
    if rng.random() < 0.1:
        axes = tuple(int(rng.integers(-4, 4)) for _ in range(rng.integers(0, 4)))
    where = f"transpose of {x!r:.300} by {axes}"
    expected, found = (outcome(function, x, axes) for function in (np.transpose, fm.transpose))
    if is_error(found):
        assert is_error(expected) or expected.dtype.kind in "OUV", where
        return False
    assert not is_error(expected), where
    np.testing.assert_array_equal(found, expected, err_msg=where)
    return True


OPS = [op for op, function in NUMPY.items() if function is not None]


@pytest.mark.parametrize("op", OPS)
def test_hostile_calls(op):
    rng = np.random.default_rng(list(op.encode()))
    results = sum(check_call(rng, op) for _ in range(CALLS))
    assert CALLS / 3 < results < CALLS * 0.99


def test_hostile_transposes():
    rng = np.random.default_rng(7)
    results = sum(check_transpose(rng) for _ in range(CALLS))
    assert CALLS / 3 < results < CALLS * 0.99
