"""Gradients inside the user's own ``@njit`` functions."""

import numba
import numpy as np
import pytest
from gradients import (
    FIELDS,
    arguments,
    arrays,
    called,
    compare_all,
    expectation,
    shapes_for,
)
from layouts import LAYOUTS, unmodified
from normals import operation, values
from numba import njit, prange
from numba.core.errors import TypingError
from products import bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def layer(cotangent, x, mean, rstd, normalized_shape, weight):
    return fm.layer_norm_vjp(cotangent, x, mean, rstd, normalized_shape, weight)


@njit
def layer_split(cotangent, x, mean, rstd, weight):
    return fm.layer_norm_vjp(cotangent, x, mean, rstd, weight=weight, axis=(0, -1))


@njit
def rms(cotangent, x, rstd, normalized_shape, weight):
    return fm.rms_norm_vjp(cotangent, x, rstd, normalized_shape, weight)


@njit
def group(cotangent, x, num_groups, mean, rstd, weight):
    return fm.group_norm_vjp(cotangent, x, num_groups, mean, rstd, weight)


@njit
def instance(cotangent, x, mean, rstd, weight):
    return fm.instance_norm_vjp(cotangent, x, mean, rstd, weight)


@njit
def instance_given(cotangent, x, mean, rstd):
    return fm.instance_norm_vjp(cotangent, x, mean, rstd, None, False)


@njit
def batch(cotangent, x, mean, rstd, weight):
    return fm.batch_norm_vjp(cotangent, x, mean, rstd, weight, True)


@njit
def batch_given(cotangent, x, mean, rstd, weight):
    return fm.batch_norm_vjp(cotangent, x, mean, rstd, weight)


@njit
def normalized(cotangent, x):
    return fm.normalize_vjp(cotangent, x)


@njit
def normalized_1(cotangent, x, ord):
    return fm.normalize_vjp(cotangent, x, ord, 1)


@njit
def normalized_inf(cotangent, x):
    return fm.normalize_vjp(cotangent, x, np.inf, (0, -1), 1e-12)


@njit
def soft(cotangent, result):
    return fm.softmax_vjp(cotangent, result)


@njit
def soft_first(cotangent, result):
    return fm.softmax_vjp(cotangent, result, 0)


@njit
def log_soft(cotangent, result):
    return fm.log_softmax_vjp(cotangent, result, axis=-1)


@njit
def sum_of_exponentials(cotangent, x, result):
    return fm.logsumexp_vjp(cotangent, x, result)


@njit
def sum_of_exponentials_kept(cotangent, x, result):
    return fm.logsumexp_vjp(cotangent, x, result, (0, -1), keepdims=True)


FUNCTIONS = {
    "layer_norm": layer,
    "layer_norm split": layer_split,
    "rms_norm": rms,
    "group_norm": group,
    "instance_norm": instance,
    "instance_norm given": instance_given,
    "batch_norm": batch,
    "batch_norm given": batch_given,
    "normalize": normalized,
    "normalize 1": normalized_1,
    "normalize inf": normalized_inf,
    "softmax": soft,
    "softmax first": soft_first,
    "log_softmax": log_soft,
    "logsumexp": sum_of_exponentials,
    "logsumexp split": sum_of_exponentials_kept,
}
SINGLE = ("layer_norm", "batch_norm", "normalize", "softmax", "logsumexp")
SHAPES = [(3, 4, 6), (1, 2, 5), (40, 4, 33), (2, 4, 3000), (900, 2, 9), (0, 4, 3)]


def operands(variant, given):
    """The arguments that the compiled function takes, in its order."""
    code = FUNCTIONS[variant].py_func.__code__
    return [given.get(key) for key in code.co_varnames[: code.co_argcount]]


def listed(op, result):
    """The parts of a result as a list."""
    if op not in FIELDS:
        return [result]
    assert result._fields == FIELDS[op]
    return list(result)


# Where sums over several axes are as in Python, which joins and orders axes by their lengths.
SAME_BITS = ("layer_norm", "rms_norm", "softmax", "log_softmax", "logsumexp")


def check(variant, given, same=True):
    """Near the oracle, and with the bits of the call from Python if both see the same arrays."""
    op = operation(variant)
    same = same and variant in SAME_BITS
    with unmodified(*arrays(given).values()):
        parts = listed(op, FUNCTIONS[variant](*operands(variant, given)))
    compare_all(parts, expectation(op, given))
    for part, wanted in zip(parts, called(op, given), strict=True):
        assert (part is None) == (wanted is None)
        assert part is None or not same or bits(part) == bits(wanted)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")  # of the oracle
@pytest.mark.parametrize("variant", FUNCTIONS)
def test_as_from_python(variant):
    for shape in shapes_for(variant, SHAPES):
        check(variant, arguments(variant, values(shape, "f8")))


@pytest.mark.parametrize("variant", SINGLE)
def test_single_precision(variant):
    for shape in SHAPES[:4]:
        check(variant, arguments(variant, values(shape, "f4")))


@pytest.mark.parametrize("variant", ["layer_norm", "group_norm", "batch_norm"])
def test_without_a_weight(variant):
    given = {**arguments(variant, values((3, 4, 6), "f8")), "weight": None}
    check(variant, given)
    result = FUNCTIONS[variant](*operands(variant, given))
    assert result.weight is None
    assert result.bias is None


@pytest.mark.parametrize("variant", ["layer_norm", "softmax", "logsumexp"])
def test_layouts(variant):
    """Strided and read-only arguments."""
    for layout in ("sliced", "negative", "transposed"):
        given = arguments(variant, values((5, 4, 33), "f8"))
        for key, part in arrays(given).items():
            if key in ("cotangent", "x", "result"):
                given[key] = LAYOUTS[layout](part)
        check(variant, given, same=False)
    given = arguments(variant, values((5, 4, 33), "f8"))
    read_only = {key: LAYOUTS["read_only"](part) for key, part in arrays(given).items()}
    check(variant, {**given, **read_only})


@njit
def layer_into(cotangent, x, mean, rstd, weight, out):
    return fm.layer_norm_vjp(cotangent, x, mean, rstd, x.shape[-1], weight, out=out)


@njit
def soft_into(cotangent, result, out):
    return fm.softmax_vjp(cotangent, result, out=out)


def test_out():
    """It is what is returned, and may be an argument or overlap it."""
    for place in range(3):
        given = arguments("layer_norm", values((5, 4, 33), "f8"))
        del given["normalized_shape"]
        expected = expectation("layer_norm", {**given, "normalized_shape": 33})
        out = (given["cotangent"], given["x"], np.zeros((5, 4, 33)))[place]
        result = layer_into(*given.values(), out)
        assert np.shares_memory(result.x, out)
        compare_all([out, *result[1:]], expected)
        given = arguments("softmax", values((5, 4, 33), "f8"))
        expected = expectation("softmax", given)
        backwards = np.zeros((5, 4, 33)) if place == 2 else list(given.values())[place][::-1]
        soft_into(*given.values(), backwards)
        compare_all([backwards], expected)


@njit(parallel=True)
def layer_of_each(cotangent, x, mean, rstd, weight, dx, dweight):
    for i in prange(len(x)):
        part = fm.layer_norm_vjp(cotangent[i], x[i], mean[i], rstd[i], x.shape[-1], weight)
        dx[i] = part.x
        dweight[i] = part.weight + part.bias


def test_inside_a_parallel_loop():
    """The bits are those of the same call from Python, at any number of threads."""
    given = arguments("layer_norm", values((8, 300, 33), "f8"))
    del given["normalized_shape"]
    g, x, mean, rstd, weight = given.values()
    for threads in (1, 2, 4):
        numba.set_num_threads(threads)
        dx, dweight = np.zeros(x.shape), np.zeros((8, 33))
        layer_of_each(*given.values(), dx, dweight)
        for i in range(8):
            alone = fm.layer_norm_vjp(g[i], x[i], mean[i], rstd[i], 33, weight)
            assert bits(dx[i]) == bits(alone.x)
            assert bits(dweight[i]) == bits(alone.weight + alone.bias)


X = values((3, 4, 6), "f8")
LAYER = arguments("layer_norm", X)
GROUP = arguments("group_norm", X)
BATCH = arguments("batch_norm", X)
SUM = arguments("logsumexp", X)
READ_ONLY = LAYOUTS["read_only"](X)


@njit
def soft_along(cotangent, result, axis):
    return fm.softmax_vjp(cotangent, result, axis)


@njit
def batch_maybe(cotangent, x, mean, rstd, training):
    return fm.batch_norm_vjp(cotangent, x, mean, rstd, None, training)


@njit
def sum_maybe(cotangent, x, result, keepdims):
    return fm.logsumexp_vjp(cotangent, x, result, keepdims=keepdims)


TYPES = [
    (layer, {**LAYER, "cotangent": "text"}, "cotangent is of type"),
    (layer, {**LAYER, "cotangent": X * 1j}, "cotangent"),
    (layer, {**LAYER, "cotangent": X[0]}, "cotangent has 2 dimensions"),
    (layer, {**LAYER, "x": X * 1j}, "x has dtype"),
    (layer, {**LAYER, "mean": None}, "mean"),
    (layer, {**LAYER, "mean": LAYER["mean"][..., 0]}, "mean has 2 dimensions"),
    (layer, {**LAYER, "rstd": LAYER["rstd"] * 1j}, "rstd"),
    (layer, {**LAYER, "weight": X}, "weight has 3 dimensions"),
    (layer, {**LAYER, "normalized_shape": 5.0}, "normalized_shape is of type"),
    (group, {**GROUP, "mean": GROUP["mean"][0]}, "mean has 1 dimensions"),
    (group, {**GROUP, "num_groups": 2.0}, "num_groups"),
    (batch, {**BATCH, "x": X[0, 0], "cotangent": X[0, 0]}, "x has 1 dimensions"),
    (soft, {"cotangent": X, "result": X * 1j}, "result"),
    (soft, {"cotangent": X[0], "result": X}, "cotangent has 2 dimensions"),
    (sum_of_exponentials, {**SUM, "cotangent": X}, "cotangent has 3 dimensions"),
    (sum_of_exponentials, {**SUM, "result": X}, "result has 3 dimensions"),
    (normalized_1, {"cotangent": X * 1j, "x": X * 1j, "ord": 1}, "x has dtype"),
    (soft_along, {"cotangent": X, "result": X, "axis": 1}, "axis must be a constant"),
    (batch_maybe, {**BATCH, "training": True}, "training must be a constant"),
    (sum_maybe, {**SUM, "keepdims": True}, "keepdims must be a constant"),
    (soft_into, {"cotangent": X, "result": X, "out": READ_ONLY}, "out is read-only"),
    (soft_into, {"cotangent": X, "result": X, "out": X[0]}, "out has 2 dimensions"),
    (soft_into, {"cotangent": X, "result": X, "out": X.astype("i8")}, "out has dtype int64"),
]
VALUES = [
    (layer, {**LAYER, "cotangent": X[:2]}, "cotangent"),
    (layer, {**LAYER, "mean": LAYER["mean"][:2]}, "mean"),
    (layer, {**LAYER, "rstd": np.ones(X.shape)}, "rstd"),
    (layer, {**LAYER, "weight": np.ones(5)}, "weight"),
    (layer, {**LAYER, "normalized_shape": (5,)}, "normalized_shape"),
    (group, {**GROUP, "num_groups": 3}, "num_groups"),
    (group, {**GROUP, "mean": np.ones((3, 4))}, "mean"),
    (batch, {**BATCH, "rstd": np.ones(3)}, "rstd"),
    (soft, {"cotangent": X[:, :2], "result": X}, "cotangent"),
    (sum_of_exponentials, {**SUM, "result": np.ones((4, 3))}, "result"),
    (sum_of_exponentials, {**SUM, "cotangent": np.ones((3, 1))}, "cotangent"),
    (normalized_1, {"cotangent": X, "x": X, "ord": 3}, "ord"),
    (soft_into, {"cotangent": X, "result": X, "out": np.ones((3, 4, 5))}, "out"),
]


def called_with(function, given):
    code = function.py_func.__code__
    return function(*(given.get(key) for key in code.co_varnames[: code.co_argcount]))


@pytest.mark.parametrize(
    ("function", "given", "message"), TYPES, ids=[f"{f.py_func.__name__}-{m}" for f, _, m in TYPES]
)
def test_wrong_types_do_not_compile(function, given, message):
    """The message names the argument."""
    with pytest.raises(TypingError, match=message):
        called_with(function, given)


@pytest.mark.parametrize(
    ("function", "given", "message"),
    VALUES,
    ids=[f"{f.py_func.__name__}-{m}" for f, _, m in VALUES],
)
def test_wrong_values_raise_at_run_time(function, given, message):
    with unmodified(*arrays(given).values()), pytest.raises(ValueError, match=message):
        called_with(function, given)
