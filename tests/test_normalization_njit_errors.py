"""Wrong arguments of normalization in compiled code: as it compiles, and as it runs."""

import numpy as np
import pytest
from normals import values
from numba import njit
from numba.core.errors import TypingError
from test_normalization_njit import batch, batch_given, group, instance, layer, rms, running

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")

X = values((3, 4, 5), "f8")
ONES3, ONES4, ONES5 = np.ones(3), np.ones(4), np.ones(5)
READ_ONLY = np.ones(X.shape)
READ_ONLY.flags.writeable = False
READ_ONLY4 = READ_ONLY[0, :, 0]


@njit
def all_into(x, out):
    return fm.group_norm(x, 2, out=out)


@njit
def batch_into(x, mean, var, out):
    return fm.batch_norm(x, mean, var, training=True, out=out)


@njit
def of_order(x, order):
    return fm.normalize(x, order)


@njit
def along(x, axis):
    return fm.layer_norm(x, axis=axis)


@njit
def normalize_along(x, axis):
    return fm.normalize(x, 2, axis)


@njit
def maybe_with_statistics(x, return_stats):
    return fm.layer_norm(x, 5, return_stats=return_stats)


@njit
def maybe_training(x, training):
    return fm.batch_norm(x, ONES4, ONES4, training=training)


@njit
def maybe_own(x, use_input_stats):
    return fm.instance_norm(x, use_input_stats=use_input_stats)


@njit
def both_or_none(x, shape, axis):
    return fm.layer_norm(x, shape, axis=0), fm.rms_norm(x)


TYPES = [
    (layer, (X * 1j, 5, None, None), r"x has dtype .* must be real"),
    (rms, (X * 1j, 5, None), r"x has dtype .* must be real"),
    (group, (X * 1j, 2, None, None), r"x has dtype .* must be real"),
    (batch, (X * 1j, None, None, None, None), r"x has dtype .* must be real"),
    (instance, (X * 1j, None, None, None, None), r"x has dtype .* must be real"),
    (of_order, (X * 1j, 2), r"x has dtype .* must be real"),
    (layer, ("text", 5, None, None), "x is of type"),
    (rms, (1.0, 5, None), "x is of type"),
    (group, ("text", 2, None, None), "x is of type"),
    (batch, ((1, 2), None, None, None, None), "x is of type"),
    (instance, ("text", None, None, None, None), "x is of type"),
    (layer, (X.astype("M8[s]"), 5, None, None), "x has dtype"),
    (group, (ONES4, 2, None, None), "x has 1 dimensions"),
    (batch, (ONES4, None, None, None, None), "x has 1 dimensions"),
    (instance, (ONES4, None, None, None, None), "x has 1 dimensions"),
    (layer, (X, "5", None, None), "normalized_shape is of type"),
    (layer, (X, 5.0, None, None), "normalized_shape is of type"),
    (layer, (X, (4, 5.0), None, None), "normalized_shape is of type"),
    (layer, (X, (), None, None), "normalized_shape is of type"),
    (layer, (X, (1, 3, 4, 5), None, None), "normalized_shape has 4 dimensions"),
    (both_or_none, (X, 5, None), "either normalized_shape or axis"),
    (layer, (X, 5, np.ones((4, 5)), None), "weight has 2 dimensions"),
    (layer, (X, (4, 5), ONES5, None), "weight has 1 dimensions"),
    (layer, (X, 5, None, np.ones((1, 5))), "bias has 2 dimensions"),
    (layer, (X, 5, 1.0, None), "weight is of type"),
    (layer, (X, 5, None, ONES5 * 1j), "bias has dtype"),
    (group, (X, 2, np.ones((4, 1)), None), "weight has 2 dimensions"),
    (batch, (X, None, None, None, np.ones((4, 1))), "bias has 2 dimensions"),
    (along, (X, 1), "axis must be a constant"),
    (along, (X, (0, 1)), "axis must be a constant"),
    (normalize_along, (X, 1), "axis must be a constant"),
    (normalize_along, (X, "a"), "axis must be a constant"),
    (maybe_with_statistics, (X, True), "return_stats must be a constant"),
    (maybe_training, (X, True), "training must be a constant"),
    (maybe_own, (X, True), "use_input_stats must be a constant"),
    (batch, (X, ONES4, None, None, None), "running_var is None"),
    (batch, (X, None, ONES4, None, None), "running_mean is None"),
    (batch_given, (X, None, None, None, None), "running_mean is None"),
    (batch, (X, ONES4.astype("i8"), ONES4, None, None), "running_mean is"),
    (batch, (X, ONES4, np.ones((4, 1)), None, None), "running_var is"),
    (batch, (X, ONES4, READ_ONLY4, None, None), "running_var is read-only"),
    (instance, (X, READ_ONLY4, ONES4, None, None), "running_mean is read-only"),
    (all_into, (X, READ_ONLY), "out is read-only"),
    (all_into, (X, ONES4), "out has 1 dimensions"),
    (all_into, (X, X.astype("i8")), "out has dtype int64"),
    (all_into, (X, 2.0), "out is of type"),
    (batch_into, (X, ONES4, ONES4, READ_ONLY), "out is read-only"),
]


@pytest.mark.parametrize(
    ("function", "args", "message"), TYPES, ids=[f"{f.py_func.__name__}-{m}" for f, _, m in TYPES]
)
def test_wrong_types_do_not_compile(function, args, message):
    """The message names the argument, and says what is wrong with it."""
    with pytest.raises(TypingError, match=message):
        function(*args)


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (layer, (X, 4, None, None), "normalized_shape"),
        (layer, (X, (3, 5), None, None), "normalized_shape"),
        (rms, (X, 4, None), "normalized_shape"),
        (layer, (X, 5, ONES4, None), "weight"),
        (layer, (X, 5, ONES5, ONES4), "bias"),
        (layer, (X, (4, 5), np.ones((5, 4)), None), "weight"),
        (rms, (X, 5, ONES4), "weight"),
        (group, (X, 2, ONES5, None), "weight"),
        (group, (X, 2, None, ONES3), "bias"),
        (group, (X, 3, None, None), "num_groups"),
        (group, (X, 0, None, None), "num_groups"),
        (group, (X, -2, None, None), "num_groups"),
        (batch, (X, None, None, ONES5, None), "weight"),
        (instance, (X, None, None, None, ONES5), "bias"),
        (batch, (X, ONES5, ONES4, None, None), "running_mean"),
        (batch, (X, ONES4, ONES5, None, None), "running_var"),
        (batch_given, (X, ONES3, ONES4, None, None), "running_mean"),
        (batch, (np.ones((1, 4, 1)), None, None, None, None), "x has one number"),
        (instance, (np.ones((3, 4, 1)), None, None, None, None), "x has one number"),
        (of_order, (X, 3), "ord"),
        (of_order, (X, 0), "ord"),
        (of_order, (X, -np.inf), "ord"),
        (of_order, (X, np.nan), "ord"),
        (all_into, (X, np.ones((3, 4, 4))), "out"),
        (all_into, (X, np.ones((4, 3, 5))), "out"),
    ],
)
def test_wrong_values_raise_at_run_time(function, args, message):
    before = [np.array(part) for part in args if isinstance(part, np.ndarray)]
    with pytest.raises(ValueError, match=message):
        function(*args)
    after = [part for part in args if isinstance(part, np.ndarray)]
    for was, part in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, part)


def test_errors_touch_neither_out_nor_running_statistics():
    for x, out in [
        (X, np.full((3, 4, 4), 7.0)),
        (np.ones((1, 4, 1)), np.full((1, 4, 1), 7.0)),
        (np.ones((3, 5, 5)), np.full((3, 5, 5), 7.0)),
    ]:
        mine = running(4)
        with pytest.raises(ValueError, match=r"out|x|running"):
            batch_into(x, *mine.values(), out)
        assert (out == 7).all()
        for key, part in running(4).items():
            np.testing.assert_array_equal(mine[key], part)
