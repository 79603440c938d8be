"""Normalization inside the user's own ``@njit`` functions.

Wrong arguments are in `test_normalization_njit_errors.py`.
"""

import numba
import numpy as np
import pytest
from layouts import LAYOUTS, unmodified
from normals import bound_of, divisor, near, reference, values
from numba import njit, prange
from products import bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def layer(x, shape, weight, bias):
    return fm.layer_norm(x, shape, weight, bias)


@njit
def layer_with_statistics(x, shape, weight, bias):
    return fm.layer_norm(x, shape, weight, bias, return_stats=True)


@njit
def rms(x, shape, weight):
    return fm.rms_norm(x, shape, weight)


@njit
def group(x, groups, weight, bias):
    return fm.group_norm(x, groups, weight, bias, return_stats=True)


@njit
def instance(x, mean, var, weight, bias):
    return fm.instance_norm(x, mean, var, weight, bias, return_stats=True)


@njit
def instance_given(x, mean, var, weight, bias):
    return fm.instance_norm(x, mean, var, weight, bias, False, return_stats=True)


@njit
def batch(x, mean, var, weight, bias):
    return fm.batch_norm(x, mean, var, weight, bias, True, return_stats=True)


@njit
def batch_given(x, mean, var, weight, bias):
    return fm.batch_norm(x, mean, var, weight, bias, return_stats=True)


@njit
def normalized(x):
    return fm.normalize(x), fm.normalize(x, 1), fm.normalize(x, np.inf)


def check(result, op, x, same=True, **keywords):
    """Near the oracle, and with the bits of the call from Python if both see the same arrays."""
    expected = reference(op, x, **keywords)
    plain = getattr(fm, op)(x, **keywords)
    assert result.dtype == expected.dtype
    assert result.shape == x.shape
    near(result, expected.value, bound_of(expected))
    assert not same or bits(result) == bits(plain)


def check_with_statistics(result, op, x, same=True, **keywords):
    """The same for a named tuple."""
    assert result._fields == ("result", "mean", "rstd")
    check(result.result, op, x, same, **keywords)
    plain = getattr(fm, op)(x, **keywords, return_stats=True)
    for part, wanted in zip(result[1:], plain[1:], strict=True):
        assert part.dtype == np.float64
        assert part.shape == wanted.shape
        if same:
            assert bits(part) == bits(wanted)
        else:
            np.testing.assert_allclose(part, wanted, 1e-12, 1e-12)


def affine(shape, dtype="f4"):
    return {"weight": values(shape, dtype, 1), "bias": values(shape, dtype, 2)}


def running(channels, dtype="f8"):
    var = values(channels, "f8", 4) ** 2 + 0.5
    return {
        "running_mean": values(channels, "f8", 3).astype(dtype),
        "running_var": var.astype(dtype),
    }


SHAPES = [(1, 2), (5, 3), (64, 65), (8, 5000), (1100, 70), (2, 70_001)]


def test_last_axis():
    for shape in SHAPES:
        x, both = values(shape, "f4"), affine(shape[-1:])
        with unmodified(x, *both.values()):
            result = layer_with_statistics(x, shape[-1], **both)
            root = rms(x, shape[-1], both["weight"])
        check_with_statistics(result, "layer_norm", x, normalized_shape=shape[-1], **both)
        check(root, "rms_norm", x, normalized_shape=shape[-1], weight=both["weight"])
        check(layer(x, shape[-1], **both), "layer_norm", x, normalized_shape=shape[-1], **both)


@pytest.mark.parametrize("dtype", ["f8", "i4"])
def test_dtypes(dtype):
    """Integers count as float64; parameters of another dtype are converted."""
    for shape in [(5, 3), (8, 5000)]:
        x = values(shape, dtype)
        for of_parameters in ("f8", "f4"):
            both = affine(shape[-1:], of_parameters)
            result = layer(x, shape[-1], **both)
            check(result, "layer_norm", x, normalized_shape=shape[-1], **both)
        root = rms(x, shape[-1], both["weight"])
        check(root, "rms_norm", x, normalized_shape=shape[-1], weight=both["weight"])
        x = values((4, 6, 5), dtype)
        both = affine(6, "f8")
        check_with_statistics(group(x, 3, **both), "group_norm", x, num_groups=3, **both)
        for part, order in zip(normalized(x), (2, 1, np.inf), strict=True):
            check(part, "normalize", x, ord=order)


@pytest.mark.parametrize("given", [("weight",), ("bias",), ()], ids=str)
def test_weight_or_bias_alone(given):
    x = values((6, 4, 5), "f4")
    for op, function, keywords, size in [
        ("layer_norm", layer_with_statistics, {"normalized_shape": 5}, 5),
        ("group_norm", group, {"num_groups": 2}, 4),
    ]:
        both = {key: value if key in given else None for key, value in affine(size).items()}
        result = function(x, *keywords.values(), both["weight"], both["bias"])
        check_with_statistics(result, op, x, **keywords, **both)
    both = {key: value if key in given else None for key, value in affine(4).items()}
    result = batch(x, None, None, both["weight"], both["bias"])
    check_with_statistics(result, "batch_norm", x, training=True, **both)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_normalized_shape_is_a_tuple(count):
    x = values((3, 4, 5, 6), "f4")
    shape = x.shape[-count:]
    both = affine(shape)
    result = layer_with_statistics(x, shape, **both)
    check_with_statistics(result, "layer_norm", x, count == 1, normalized_shape=shape, **both)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((50,), 0),
        ((7, 9), 0),
        ((700, 9), 0),
        ((7, 9), (0, 1)),
        ((7, 4, 5), 1),
        ((7, 4, 5), (0, -1)),
        ((7, 4, 5, 3), (1, 2)),
        ((2, 3, 4, 5, 6), (3, -1)),
        ((2, 3, 4, 5, 6), 0),
    ],
)
def test_axes(shape, axis):
    """Positive, negative, several: constants of every kind."""

    @njit
    def along(x, weight, bias):
        return (
            fm.layer_norm(x, None, weight, bias, axis=axis, return_stats=True),
            fm.rms_norm(x, axis=axis, weight=weight, eps=1e-3),
            fm.normalize(x, 2, axis),
        )

    x = values(shape, "f4")
    axes = sorted(a % len(shape) for a in np.atleast_1d(axis))
    both = affine(tuple(shape[a] for a in axes))
    first, second, third = along(x, **both)
    same = len(axes) == 1  # from Python, several may be walked through as one
    check_with_statistics(first, "layer_norm", x, same, axis=axis, **both)
    check(second, "rms_norm", x, same, axis=axis, weight=both["weight"], eps=1e-3)
    check(third, "normalize", x, same, axis=axis)


def test_all_axes_of_normalize():
    @njit
    def everything(x):
        return fm.normalize(x, np.inf, None), fm.normalize(x, 1, axis=(0, -1), eps=1.0)

    x = values((7, 40), "f4")
    first, second = everything(x)
    check(first, "normalize", x, False, ord=np.inf, axis=None)
    check(second, "normalize", x, False, ord=1, axis=(0, -1), eps=1.0)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5), (3, 6, 70, 70), (2, 4, 3, 5, 6)], ids=str)
def test_channels(shape):
    x, both = values(shape, "f4"), affine(shape[1])
    same = len(shape) < 4  # from Python, spatial axes are walked through as one
    with unmodified(x, *both.values()):
        trained = batch(x, None, None, **both)
    check_with_statistics(trained, "batch_norm", x, same, training=True, **both)
    if len(shape) > 2:
        result = instance(x, None, None, **both)
        check_with_statistics(result, "instance_norm", x, same, **both)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5), (3, 6, 70, 70), (2, 4, 3, 5, 6)], ids=str)
def test_groups_of_channels(shape):
    x, both = values(shape, "f4"), affine(shape[1])
    groups = divisor(shape[1])
    with unmodified(x, *both.values()):
        result = group(x, groups, **both)
    check_with_statistics(result, "group_norm", x, len(shape) < 4, num_groups=groups, **both)


@pytest.mark.parametrize("layout", ["c_order", "f_order", "sliced"])
def test_groups_of_channels_in_three_dimensions_of_space(layout):
    """The same, without weight and bias."""
    x = LAYOUTS[layout](values((2, 4, 3, 5, 6), "f4"))
    result = group(x, 2, None, None)
    check_with_statistics(result, "group_norm", x, False, num_groups=2)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_running_statistics(dtype):
    """Used and left alone in inference, updated in training, in both functions."""
    for shape in [(4, 6, 5), (3, 6, 2000)]:
        x, both, given = values(shape, dtype), affine(6, dtype), running(6, dtype)
        with unmodified(x, *given.values(), *both.values()):
            found = batch_given(x, *given.values(), **both)
            check_with_statistics(found, "batch_norm", x, **given, **both)
            found = instance_given(x, *given.values(), **both)
            keywords = {"use_input_stats": False, **given, **both}
            check_with_statistics(found, "instance_norm", x, **keywords)
        for function, op, use in [
            (batch, "batch_norm", {"training": True}),
            (instance, "instance_norm", {}),
        ]:
            mine, plain = ({key: part.copy() for key, part in given.items()} for _ in range(2))
            result = function(x, *mine.values(), **both)
            check_with_statistics(result, op, x, **use, **both)
            getattr(fm, op)(x, **plain, **both, **use)
            for key, part in mine.items():
                assert part.dtype == dtype
                assert not np.array_equal(part, given[key])
                room = 4 * np.finfo(dtype).eps
                np.testing.assert_allclose(part, plain[key], room, room)


def test_momentum_and_eps():
    @njit
    def function(x, mean, var, momentum, eps):
        return fm.batch_norm(x, mean, var, None, None, True, momentum, eps)

    x = values((40, 6), "f8")
    for momentum, eps in [(0.5, 1e-3), (1.0, 0.0), (0.0, 1.0)]:
        mine, plain = running(6), running(6)
        result = function(x, *mine.values(), momentum, eps)
        check(result, "batch_norm", x, training=True, eps=eps)
        fm.batch_norm(x, **plain, training=True, momentum=momentum, eps=eps)
        for key in mine:
            np.testing.assert_allclose(mine[key], plain[key], 1e-14, 1e-14)


@pytest.mark.parametrize("layout", ["f_order", "sliced", "negative", "read_only"])
def test_layouts(layout):
    """Those that are not contiguous may be copied, or walked through in another order."""
    maker, same = LAYOUTS[layout], layout == "read_only"
    x, both = maker(values((9, 6, 35), "f4")), affine(35)
    both["weight"] = maker(both["weight"])
    result = layer_with_statistics(x, 35, **both)
    check_with_statistics(result, "layer_norm", x, same, normalized_shape=35, **both)
    both = affine(6)
    result = group(x, 2, **both)
    check_with_statistics(result, "group_norm", x, same, num_groups=2, **both)
    result = batch(x, None, None, **both)
    check_with_statistics(result, "batch_norm", x, same, training=True, **both)
    for part, order in zip(normalized(x), (2, 1, np.inf), strict=True):
        check(part, "normalize", x, same, ord=order)


def test_layouts_of_five_dimensions():
    for layout in ("f_order", "sliced"):
        x, both = LAYOUTS[layout](values((2, 4, 3, 5, 6), "f4")), affine(4)
        result = batch(x, None, None, **both)
        check_with_statistics(result, "batch_norm", x, False, training=True, **both)


@njit
def all_into(x, outs, weight, bias):
    """One call of each, with out by keyword; rms_norm and normalize in place."""
    fm.layer_norm(x, x.shape[2], None, None, out=outs[0])
    fm.rms_norm(x, axis=0, out=outs[1])
    fm.group_norm(x, 2, weight, bias, out=outs[2])
    fm.instance_norm(x, out=outs[3])
    fm.batch_norm(x, None, None, weight, bias, True, out=outs[4])
    return fm.normalize(x, out=outs[5])


INTO = [
    ("layer_norm", lambda x, w, b: {"normalized_shape": x.shape[2]}),
    ("rms_norm", lambda x, w, b: {"axis": 0}),
    ("group_norm", lambda x, w, b: {"num_groups": 2, "weight": w, "bias": b}),
    ("instance_norm", lambda x, w, b: {}),
    ("batch_norm", lambda x, w, b: {"training": True, "weight": w, "bias": b}),
    ("normalize", lambda x, w, b: {}),
]


def expected_of(x, weight, bias):
    return [getattr(fm, op)(x, **keywords(x, weight, bias)) for op, keywords in INTO]


@pytest.mark.parametrize("layout", ["c_order", "sliced"])
def test_out(layout):
    x, both = values((9, 6, 35), "f4"), affine(6)
    outs = tuple(LAYOUTS[layout](np.full(x.shape, 7, "f4")) for _ in INTO)
    last = all_into(x, outs, **both)
    assert last.ctypes.data == outs[-1].ctypes.data
    for out, (op, keywords) in zip(outs, INTO, strict=True):
        check(out, op, x, layout == "c_order", **keywords(x, *both.values()))


def test_out_of_another_dtype():
    x, both = values((9, 6, 35), "f4"), affine(6)
    outs = tuple(np.full(x.shape, 7.0) for _ in INTO)
    all_into(x, outs, **both)
    for out, expected in zip(outs, expected_of(x, *both.values()), strict=True):
        assert bits(out) == bits(expected.astype("f8"))


def test_out_overlaps():
    """In place, and shifted by a row, forwards and backwards."""
    both = affine(6)
    for first, second in [(0, 0), (0, 1), (1, 0)]:
        for k, (op, keywords) in enumerate(INTO):
            memory = values((10, 6, 35), "f4")
            x, out = memory[first : first + 9], memory[second : second + 9]
            expected = getattr(fm, op)(x.copy(), **keywords(x, *both.values()))
            # Those after it read what it wrote; only its own result is of interest, and kept.
            outs = [np.empty_like(x) for _ in INTO]
            outs[k] = out
            all_into(x, tuple(outs), **both)
            assert bits(out) == bits(expected), op


def test_out_overlaps_parameters():
    @njit
    def function(x, weight, bias, out):
        return fm.batch_norm(x, None, None, weight, bias, True, out=out)

    for place in (0, 1, 2):
        x, both = values((6, 40), "f8"), affine(40, "f8")
        out = np.zeros((6, 40))
        for key, row in (("weight", place), ("bias", place + 3)):
            out[row] = both[key]
        function(x, out[place], out[place + 3], out)
        check(out, "batch_norm", x, training=True, **both)


def test_out_overlaps_running_statistics():
    @njit
    def function(x, mean, var, out):
        return fm.batch_norm(x, mean, var, out=out)

    x, given = values((6, 40), "f8"), running(40)
    out = np.zeros((6, 40))
    out[0], out[5] = given.values()
    function(x, out[0], out[5], out)
    check(out, "batch_norm", x, **given)


def test_nan_and_infinities():
    x = values((6, 4, 50), "f4")
    x[1, 1, 3], x[3, 3, 4] = np.nan, np.inf
    both = affine(4)
    check(layer(x, 50, None, None), "layer_norm", x, normalized_shape=50)
    check_with_statistics(group(x, 4, **both), "group_norm", x, num_groups=4, **both)
    for part, order in zip(normalized(x), (2, 1, np.inf), strict=True):
        check(part, "normalize", x, ord=order)


def test_empty():
    for shape in [(0, 6, 5), (4, 0, 5), (4, 6, 0)]:
        x = np.empty(shape, "f4")
        for result in (
            layer_with_statistics(x, shape[-1], None, None),
            group(x, 1, None, None),
            batch(x, None, None, None, None),
            instance(x, None, None, None, None),
        ):
            assert result.result.shape == shape
            assert np.isnan(result.mean).all()
        for part in normalized(x):
            assert part.shape == shape
    mine = running(6)
    batch(np.empty((0, 6, 5), "f4"), *mine.values(), None, None)
    for key, part in running(6).items():
        assert bits(mine[key]) == bits(part)


def test_in_a_parallel_loop():
    """The kernels run serially inside the user's prange, with the same bits."""

    @njit(parallel=True)
    def many(x, weight, bias, out):
        for i in prange(x.shape[0]):
            a = fm.layer_norm(x[i], x.shape[3])
            b = fm.group_norm(a, 2, weight, bias)
            c = fm.batch_norm(b, None, None, weight, bias, True)
            fm.normalize(c, out=out[i])

    both = affine(6)
    for n in (20, 3000):
        x = values((9, 3, 6, n), "f4")
        expected = []
        for part in x:
            result = fm.group_norm(fm.layer_norm(part, n), 2, **both)
            expected.append(fm.normalize(fm.batch_norm(result, **both, training=True)))
        for threads in (1, 2, 8):
            numba.set_num_threads(threads)
            out = np.empty_like(x)
            many(x, *both.values(), out)
            assert bits(out) == bits(np.stack(expected))


def test_in_a_parallel_function():
    @njit(parallel=True)
    def function(x):
        return fm.layer_norm(x + 1, x.shape[1]) * 2

    x = values((100, 600), "f4")
    expected = fm.layer_norm(x + np.float32(1), 600) * np.float32(2)
    assert bits(function(x)) == bits(expected)
