"""`mask=` of softmax, moments and normalizations inside the user's own ``@njit`` functions."""

import numba
import numpy as np
import pytest
from layouts import LAYOUTS, unmodified
from masked import hidden, random_mask, shapes_of
from normals import values
from numba import njit, prange
from numba.core.errors import TypingError
from products import bits
from softmaxes import spread

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


def softmaxes(axis):
    """The three operations and their gradients over an axis, which is a constant for Numba."""

    @njit
    def function(x, g, h, mask):
        y, log = fm.softmax(x, axis, mask=mask), fm.log_softmax(x, axis, mask=mask)
        total = fm.logsumexp(x, axis, keepdims=True, mask=mask)
        return (
            y,
            log,
            total,
            fm.softmax_vjp(g, y, axis, mask=mask),
            fm.log_softmax_vjp(g, log, axis, mask=mask),
            fm.logsumexp_vjp(h, x, total, axis, keepdims=True, mask=mask),
        )

    return function


FUNCTIONS = {axis: softmaxes(axis) for axis in (-1, 0)}


def check_softmaxes(x, mask, axis):
    """The bits of the calls from Python, and no argument modified."""
    x = hidden(x, mask)
    h = values([1 if a == axis % x.ndim else n for a, n in enumerate(x.shape)], x.dtype, 5)
    g = hidden(values(x.shape, x.dtype, 6), mask)
    with unmodified(x, g, h, mask):
        found = FUNCTIONS[axis](x, g, h, mask)
    expected = FUNCTIONS[axis].py_func(x, g, h, mask)
    for result, part in zip(found, expected, strict=True):
        assert result.dtype == part.dtype
        assert bits(result) == bits(part)


@pytest.mark.parametrize("axis", FUNCTIONS)
def test_softmax_of_two_dimensions(axis):
    for shape in [(1, 1), (5, 3), (64, 65), (8, 5000), (1100, 7), (2, 70_001)]:
        for of_mask in shapes_of(shape):
            if len(of_mask) == 2:
                check_softmaxes(spread(shape, "f4"), random_mask(of_mask, 0.5), axis)


@pytest.mark.parametrize("dims", [0, 1, 2, 3, 4])
def test_softmax_of_masks_of_fewer_dimensions(dims):
    """Masks that are 1 along any axes: also where the axes of groups cannot be joined in them."""
    shape = (3, 4, 5, 6)
    for ones in range(1 << dims):
        of_mask = tuple(1 if ones >> k & 1 else n for k, n in enumerate(shape[4 - dims :]))
        check_softmaxes(spread(shape, "f4"), random_mask(of_mask, 0.5), -1)


@pytest.mark.parametrize("layout", ["f_order", "sliced", "negative", "read_only", "broadcast"])
def test_softmax_of_layouts(layout):
    for shape in [(9, 35), (3, 5000)]:
        for axis in FUNCTIONS:
            mask = LAYOUTS[layout](random_mask(shape))
            check_softmaxes(spread(shape, "f4"), mask, axis)


def test_softmax_of_nothing():
    for shape in [(0, 3), (3, 0)]:
        for axis in FUNCTIONS:
            check_softmaxes(np.empty(shape, "f4"), np.ones((1, 1), bool), axis)


def test_masks_that_are_none():
    @njit
    def function(x, mask):
        return fm.softmax(x, mask=mask), fm.moments(x, mask=mask)

    x = spread((4, 9), "f4")
    result, moments = function(x, None)
    assert bits(result) == bits(fm.softmax(x))
    assert moments.mean == fm.moments(x).mean


def test_out():
    """Of its own, x itself, and one that shares memory with the mask."""

    @njit
    def function(x, mask, out):
        return fm.softmax(x, out=out, mask=mask)

    x, mask = spread((70, 90), "f4"), random_mask((70, 90))
    expected = bits(fm.softmax(x, mask=mask))
    for given, out in ((x, np.empty_like(x)), (x.copy(), None)):
        assert bits(function(given, mask, given if out is None else out)) == expected
    target = np.zeros(x.shape, "f4")
    within = target.view(bool)[:, ::4]
    within[...] = mask
    assert bits(function(x, within, target)) == expected


def test_in_a_parallel_loop():
    @njit(parallel=True)
    def many(x, mask, out):
        for i in prange(x.shape[0]):
            fm.softmax(x[i], out=out[i], mask=mask)

    x, mask = spread((9, 70, 60), "f4"), random_mask((70, 60))
    expected = bits(fm.softmax(x, mask=mask))
    for threads in (1, 2, 8):
        numba.set_num_threads(threads)
        out = np.empty_like(x)
        many(x, mask, out)
        assert bits(out) == expected


@njit
def moments(x, mask):
    return (
        fm.moments(x, mask=mask),
        fm.moments(x, axis=-1, mask=mask),
        fm.moments(x, 0, correction=1, keepdims=True, mask=mask),
    )


@njit
def layer(x, weight, bias, residual, g, mask):
    n = x.shape[-1]
    plain = fm.layer_norm(x, n, weight, bias, mask=mask, return_stats=True)
    summed = fm.layer_norm(x, n, residual=residual, activation="gelu", mask=mask)
    back = fm.layer_norm_vjp(g, x, plain.mean, plain.rstd, n, weight, mask=mask)
    alone = fm.layer_norm_vjp(g, x, plain.mean, plain.rstd, n, mask=mask)
    normalized = plain.result, plain.mean, plain.rstd
    gradients = back.x, back.weight, back.bias
    return *normalized, summed.result, summed.sum, *gradients, alone.x


@njit
def batch(x, running_mean, running_var, weight, bias, g, mask):
    given = fm.batch_norm(x, running_mean, running_var, weight, bias, mask=mask)
    own = fm.batch_norm(
        x, running_mean, running_var, weight, bias, training=True, mask=mask, return_stats=True
    )
    back = fm.batch_norm_vjp(g, x, own.mean, own.rstd, weight, training=True, mask=mask)
    fixed = fm.batch_norm_vjp(g, x, own.mean, own.rstd, weight, mask=mask)
    alone = fm.batch_norm_vjp(g, x, own.mean, own.rstd, training=True, mask=mask)
    normalized = given, own.result, own.mean, own.rstd
    gradients = back.x, back.weight, back.bias, fixed.x, fixed.weight, fixed.bias
    return *normalized, *gradients, alone.x, running_mean, running_var


def close(found, expected, x):
    """Up to the order of sums, which depends on which axes can be joined."""
    assert len(found) == len(expected)
    for result, part in zip(found, expected, strict=True):
        assert np.asarray(result).dtype == np.asarray(part).dtype or np.ndim(part) == 0
        assert np.shape(result) == np.shape(part)
        size = np.nanmax(np.abs(part), initial=1e-3)
        np.testing.assert_allclose(result, part, rtol=1e-5, atol=2e-5 * size)


@pytest.mark.parametrize("shape", [(6, 50), (70, 65), (3, 4, 60), (3, 4, 5, 6), (3, 3000)])
def test_normalizations(shape):
    for of_mask in {shape, (shape[0], *[1] * (len(shape) - 2), shape[-1])}:
        mask = random_mask(of_mask)
        mask[0] = False
        x, g = hidden(values(shape, "f4"), mask), hidden(values(shape, "f4", 6), mask)
        residual = values(shape, "f4", 5)
        for found, part in zip(moments(x, mask), moments.py_func(x, mask), strict=True):
            close(found, part, x)
        weight, bias = values(shape[-1], "f4", 1), values(shape[-1], "f4", 2)
        with unmodified(x, g, residual, mask):
            found = layer(x, weight, bias, residual, g, mask)
        clean = np.where(np.broadcast_to(mask, shape), found[4], 0)
        expected = layer.py_func(x, weight, bias, residual, g, mask)
        close((*found[:4], clean), (*expected[:4], clean), x)
        close(found[5:], expected[5:], x)
        weight, bias = values(shape[1], "f4", 1), values(shape[1], "f4", 2)
        running = values(shape[1], "f8", 3), values(shape[1], "f8", 4) ** 2 + 0.5
        again = tuple(part.copy() for part in running)
        with unmodified(x, g, mask):
            found = batch(x, *running, weight, bias, g, mask)
        close(found, batch.py_func(x, *again, weight, bias, g, mask), x)


def test_layouts_of_normalizations():
    for layout in ("f_order", "sliced", "negative"):
        x, mask = values((6, 7, 20), "f4"), random_mask((6, 7, 20))
        maker = LAYOUTS[layout]
        close(moments(maker(x), maker(mask))[1], fm.moments(x, -1, mask=mask), x)
        weight = values(20, "f4", 1)
        arguments = maker(x), weight, weight, maker(x), maker(x), maker(mask)
        close(layer(*arguments), layer.py_func(*arguments), x)


OPERATIONS = {
    "softmax": lambda x, mask: fm.softmax(x, mask=mask),
    "log_softmax": lambda x, mask: fm.log_softmax(x, mask=mask),
    "logsumexp": lambda x, mask: fm.logsumexp(x, mask=mask),
    "softmax_vjp": lambda x, mask: fm.softmax_vjp(x, x, mask=mask),
    "moments": lambda x, mask: fm.moments(x, mask=mask),
    "layer_norm": lambda x, mask: fm.layer_norm(x, axis=-1, mask=mask),
    "batch_norm": lambda x, mask: fm.batch_norm(x, training=True, mask=mask),
}


@pytest.mark.parametrize("op", OPERATIONS)
def test_wrong_masks(op):
    """Types and ranks do not compile; shapes raise when called."""
    function, x = njit(OPERATIONS[op]), np.ones((4, 3), "f4")
    for mask, message in [
        (np.ones((4, 3)), "mask has dtype float64; it must be bool"),
        (np.ones((4, 3), "u1"), "mask has dtype uint8; it must be bool"),
        (np.ones((1, 4, 3), bool), "mask has 3 dimensions"),
        (True, "mask is of type"),
    ]:
        with pytest.raises(TypingError, match=message):
            function(x, mask)
    for shape in [(3, 4), (4, 2), (0, 3)]:
        with pytest.raises(ValueError, match="mask does not broadcast"):
            function(x, np.ones(shape, bool))
