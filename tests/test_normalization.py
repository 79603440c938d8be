"""`fm.layer_norm`, `rms_norm`, `group_norm`, `instance_norm`, `batch_norm`, `normalize`.

Bad input is at the end; means far from 0, extreme magnitudes and NaN are in the middle.
"""

from itertools import combinations

import normal_oracles
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, SAME_VALUES, WRITABLE, makers_for, outside
from normals import (
    VARIANTS,
    WITH_STATISTICS,
    bound_of,
    channels_last,
    check,
    check_running,
    fits,
    keywords_for,
    near,
    operation,
    reference,
    values,
)
from oracles import BFLOAT16, BOOL, COMPLEX, FLOATS, HALVES, INTEGERS, name
from products import bits
from tolerances import normalized_bound, statistics_bounds, variance_of_one_piece

import fastmat as fm

REAL_ONLY = WITH_STATISTICS

SHAPES = [
    (1,),
    (2,),
    (7,),
    (1, 1),
    (1, 5),
    (5, 1),
    (3, 4),
    (13, 17),
    (2, 3, 4),
    (1, 7, 11),
    (11, 7, 1),
    (2, 6, 5, 7),
    (3, 1, 4, 4),
    (2, 3, 2, 3, 5),
    (65, 33),
    (33, 65),
    (4, 64, 3),
]
MANY_SHORT_ROWS = [(1000, 3), (5000, 8), (300, 33)]
FEW_LONG_ROWS = [(2, 70_001), (1, 300_007)]
EMPTY = [(0,), (0, 3), (3, 0), (0, 0), (2, 0, 3), (0, 2, 3), (2, 3, 0), (2, 3, 0, 4)]


def check_variant(variant, x, **keywords):
    """Call a variant with its keywords and compare with the oracle."""
    return check(operation(variant), x, **{**keywords_for(variant, x), **keywords})


# Shapes and dtypes


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_shapes(dtype, variant):
    for shape in SHAPES:
        if fits(variant, shape):
            check_variant(variant, values(shape, dtype))


@pytest.mark.parametrize("op", WITH_STATISTICS)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_statistics(dtype, op):
    """Mean and rstd, in float64; the result is the same with and without them."""
    for variant in VARIANTS:
        if operation(variant) != op or variant == "instance_norm given":
            continue
        for shape in [(3, 4), (13, 17), (2, 6, 5, 7), (65, 3, 33), (1, 7, 11), (2, 3, 2, 3, 5)]:
            if not fits(variant, shape):
                continue
            x = values(shape, dtype)
            assert bits(check_variant(variant, x, stats=True)) == bits(check_variant(variant, x))


@pytest.mark.xfail(strict=True, reason="statistics are (C,) instead of (N, C)")
def test_statistics_of_instance_norm_that_were_given():
    """The docstring says: statistics (N, C)."""
    x = values((4, 6, 5), "f8")
    check_variant("instance_norm given", x, stats=True)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_many_short_rows(dtype, variant):
    for shape in MANY_SHORT_ROWS:
        for turned in (shape, shape[::-1], (shape[0], 2, shape[1])):
            if fits(variant, turned) and np.prod(turned) < 50_000:
                check_variant(variant, values(turned, dtype))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_few_long_rows(dtype, variant):
    shapes = FEW_LONG_ROWS if "plain" in variant or variant == "rms_norm" else FEW_LONG_ROWS[:1]
    for shape in shapes:
        if fits(variant, shape):
            check_variant(variant, values(shape, dtype))
    if operation(variant) in ("group_norm", "instance_norm", "batch_norm"):
        check_variant(variant, values((1, 2, 70_001), dtype))


EDGES = [31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 4095, 4096, 4097]
LONG_EDGES = [65_535, 65_536, 65_537]


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", BFLOAT16], ids=name)
def test_numbers_at_the_edges_of_blocks(dtype):
    """Groups of these lengths: rows, columns, and rows with the columns between them."""
    for n in EDGES + (LONG_EDGES if dtype in ("f4", "f8") else []):
        x = values((2, n), dtype)
        stats = n in (33, 1025, 4097)
        check_variant("layer_norm plain", x, stats=stats)
        check("layer_norm", np.array(x.T), axis=0, stats=stats)
        check("batch_norm", np.array(x.T), training=True, stats=stats)
        if n < 5000:
            check_variant("rms_norm", x)
            check("layer_norm", values((3, n, 2), dtype), axis=(0, 1), stats=stats)
            check("instance_norm", values((2, 2, n), dtype), stats=stats)
            check("normalize", x)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_groups_at_the_edges_of_blocks(dtype, variant):
    for groups in (31, 32, 33, 63, 64, 65, 127, 129):
        for shape in [(groups, 7), (5, groups), (2, groups, 3), (groups, 3, 2)]:
            if fits(variant, shape):
                check_variant(variant, values(shape, dtype))


@pytest.mark.exhaustive
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_all_edges(dtype, variant):
    edges = sorted({side + d for side in (1, 8, 16, 32, 64, 128, 256) for d in (-1, 0, 1)} - {0})
    for m in edges:
        for n in edges:
            for shape in [(m, n), (2, m, n)]:
                if fits(variant, shape) and m * n < 20_000:
                    check_variant(variant, values(shape, dtype))


@pytest.mark.parametrize("op", ["layer_norm", "rms_norm", "normalize"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_choice_of_axes(dtype, op):
    x = values((3, 4, 5, 2, 3), dtype)
    for count in range(0, 6):
        for axes in combinations(range(5), count):
            negative = tuple(a - 5 for a in axes)
            result = check(op, x, axis=axes)
            assert bits(getattr(fm, op)(x, axis=negative)) == bits(result)
            if count == 1:
                assert bits(getattr(fm, op)(x, axis=axes[0])) == bits(result)


@pytest.mark.xfail(strict=True, reason="they follow the order of the axes of x")
def test_parameters_follow_the_order_of_the_axes():
    """The weight of axis=(2, 0) has the length of axis 2, then that of axis 0, in order."""
    x = values((3, 4, 5), "f8")
    for axes in [(2, 0), (1, 0), (2, 0, 1), (-1, 0)]:
        lengths = tuple(x.shape[a] for a in axes)
        weight, bias = values(lengths, "f8", 1), values(lengths, "f8", 2)
        check("layer_norm", x, axis=axes, weight=weight, bias=bias)
        check("rms_norm", x, axis=axes, weight=weight)


def test_many_axes():
    shape = (2, 4, 1, 3, 2, 1, 2, 3)
    for variant in VARIANTS:
        check_variant(variant, values(shape, "f4"))
        check_variant(variant, LAYOUTS["transposed"](values(shape, "f8")))
    for axes in [(0, 2, 4, 6), (1, 3, 5, 7), (0, 7), (3, 4), (6, 1, 2)]:
        check("layer_norm", values(shape, "f4"), axis=axes)


def test_spellings_of_normalized_shape():
    x, weight = values((3, 4, 5), "f4"), values((5,), "f4", 1)
    expected = bits(fm.layer_norm(x, 5, weight))
    for shape in ((5,), [5], np.int64(5), (np.int32(5),)):
        assert bits(fm.layer_norm(x, shape, weight)) == expected
    assert bits(fm.layer_norm(x, axis=-1, weight=weight)) == expected
    assert bits(fm.layer_norm(x, None, weight, axis=2)) == expected


def test_either_of_weight_and_bias():
    x = values((3, 4, 5), "f4")
    parameter = {"weight": values((4,), "f4", 1), "bias": values((4,), "f4", 2)}
    for key, value in parameter.items():
        for op, more in [
            ("layer_norm", {"axis": 1}),
            ("group_norm", {"num_groups": 2}),
            ("instance_norm", {}),
            ("batch_norm", {"training": True}),
        ]:
            check(op, x, **{key: value}, **more)


def test_positional_arguments_are_torchs():
    x = values((3, 4, 5), "f4")
    weight, bias = values((4,), "f4", 1), values((4,), "f4", 2)
    last, last_bias = values((5,), "f4", 1), values((5,), "f4", 2)
    mean, var = values((4,), "f4", 3), values((4,), "f4", 4) ** 2
    pairs = [
        (
            fm.layer_norm(x, (5,), last, last_bias, 0.5),
            reference("layer_norm", x, axis=-1, weight=last, bias=last_bias, eps=0.5),
        ),
        (
            fm.rms_norm(x, (5,), last, 0.5),
            reference("rms_norm", x, axis=-1, weight=last, eps=0.5),
        ),
        (
            fm.group_norm(x, 2, weight, bias, 0.5),
            reference("group_norm", x, num_groups=2, weight=weight, bias=bias, eps=0.5),
        ),
        (
            fm.instance_norm(x, mean, var, weight, bias, False, 0.3, 0.5),
            normal_oracles.instance_norm(x, mean, var, weight, bias, False, 0.3, 0.5)[0],
        ),
        (
            fm.batch_norm(x, mean, var, weight, bias, False, 0.3, 0.5),
            normal_oracles.batch_norm(x, mean, var, weight, bias, False, 0.3, 0.5)[0],
        ),
        (fm.normalize(x, 1, 0, 30.0), normal_oracles.normalize(x, 1, 0, 30.0)),
    ]
    for result, expected in pairs:
        near(result, expected.value, bound_of(expected))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [*INTEGERS, *BOOL], ids=name)
def test_integers_and_bool_count_as_float64(dtype, variant):
    for shape in [(13, 17, 2), (2, 6, 5)]:
        x = values(shape, dtype)
        result = check_variant(variant, x)
        assert result.dtype == np.float64
        keywords = keywords_for(variant, x)
        assert bits(result) == bits(getattr(fm, operation(variant))(x.astype("f8"), **keywords))


@pytest.mark.parametrize("dtype", COMPLEX, ids=name)
def test_complex(dtype):
    """Only `normalize` takes complex numbers."""
    for shape in [(1, 1), (3, 4), (13, 17), (2, 6, 5, 7), (65, 33), (2, 5000)]:
        x = values(shape, dtype)
        for order in (1, 2, np.inf):
            for axis in (0, -1, (0, 1), tuple(range(len(shape)))):
                check("normalize", x, ord=order, axis=axis)


@pytest.mark.parametrize("op", REAL_ONLY)
def test_complex_is_a_type_error(op):
    keywords = keywords_for(op, values((3, 4, 5), "f8"))
    for dtype in COMPLEX:
        with pytest.raises(TypeError, match="x has dtype complex"):
            getattr(fm, op)(values((3, 4, 5), dtype), **keywords)
        for key in ("weight", "bias"):
            if key in keywords:
                other = {**keywords, key: keywords[key].astype(dtype)}
                with pytest.raises(TypeError, match=key):
                    getattr(fm, op)(values((3, 4, 5), "f8"), **other)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_parameters_of_other_dtypes(dtype):
    """The result has the dtype of x, whatever weight and bias have."""
    x = values((6, 4, 5), dtype)
    for other in (*FLOATS, np.dtype("i4"), np.dtype(bool)):
        parameters = {"weight": values((4,), other, 1), "bias": values((4,), other, 2)}
        check("layer_norm", x, axis=1, **parameters)
        check("group_norm", x, num_groups=2, **parameters)
        check("batch_norm", x, training=True, **parameters)
        if other.kind != "b" and other.kind != "i":
            given = {
                "running_mean": values((4,), other, 3),
                "running_var": np.abs(values((4,), other, 4)) + np.ones((), other),
            }
            check("batch_norm", x, **given, **parameters)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(variant, shape):
    if not fits(variant, shape):
        return
    for dtype in ("f2", "f4", "f8", "i4"):
        x = values(shape, dtype)
        result = getattr(fm, operation(variant))(x, **keywords_for(variant, x))
        assert result.shape == shape
        assert result.dtype == normal_oracles.result_dtype(x)
        out = np.empty(shape, result.dtype)
        again = getattr(fm, operation(variant))(x, **keywords_for(variant, x), out=out)
        assert again is out


def test_groups_of_one_number():
    """Their deviation is 0, so that the bias is left; a norm leaves the sign."""
    x, bias = values((3, 4), "f8"), values((1,), "f8", 2)
    np.testing.assert_array_equal(fm.layer_norm(x[..., None], 1), 0)
    np.testing.assert_array_equal(fm.layer_norm(x[..., None], 1, bias=bias), bias[0])
    np.testing.assert_array_equal(fm.group_norm(x, 4), 0)
    check("normalize", x, axis=())
    check("layer_norm", x, axis=())


def test_numbers_without_axes():
    for x in (3.0, np.float32(3), np.array(3.0), 3):
        check("layer_norm", x, axis=())
        check("rms_norm", x, axis=())
        check("normalize", x, axis=())


# Layouts


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_layouts(dtype, layout):
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    for variant in VARIANTS:
        for shape in [(9, 5), (3, 6, 35), (2, 4, 5, 3), (70, 9, 2)]:
            if fits(variant, shape):
                check_variant(variant, maker(values(shape, dtype)))


@pytest.mark.parametrize("layout", SAME_VALUES)
@pytest.mark.parametrize("dtype", [*COMPLEX, np.dtype("i4"), np.dtype(bool)], ids=name)
def test_layouts_of_other_dtypes(dtype, layout):
    maker = makers_for(dtype).get(layout, LAYOUTS["block"])
    variants = VARIANTS if dtype.kind != "c" else ("normalize", "normalize 1", "normalize inf")
    for variant in variants:
        check_variant(variant, maker(values((3, 6, 35), dtype)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_channels_last(dtype, variant):
    for shape in [(2, 3, 5, 7), (3, 64, 4, 5), (1, 130, 3, 3), (2, 6, 3, 2, 5), (40, 2, 9, 1)]:
        x = channels_last(values(shape, dtype))
        check_variant(variant, x)
        check_variant(variant, x, out=channels_last(np.zeros(shape, dtype)))
        check_variant(variant, x, out=np.zeros(shape, dtype))


@pytest.mark.parametrize("layout", ["sliced", "negative", "unaligned", "byte_swapped", "read_only"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_layouts_of_parameters(dtype, layout):
    x = values((4, 6, 5), dtype)
    for variant in VARIANTS:
        keywords = keywords_for(variant, x)
        for key, value in keywords.items():
            if isinstance(value, np.ndarray):
                check(operation(variant), x, **{**keywords, key: LAYOUTS[layout](value)})


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_layouts_of_out(dtype, layout):
    """Every number of out is written, and nothing around it."""
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for variant in VARIANTS:
        for shape in [(9, 5), (3, 6, 35), (2, 4, 5, 3), (70, 9, 2)]:
            if fits(variant, shape):
                out = maker(np.full(shape, 77, dtype))
                around = outside(out)
                check_variant(variant, values(shape, dtype), out=out)
                assert outside(out) == around


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_in_place(dtype, layout):
    maker = makers_for(dtype, WRITABLE).get(layout, WRITABLE["block"])
    for variant in VARIANTS:
        for shape in [(9, 5), (3, 6, 35), (130, 4, 3)]:
            if fits(variant, shape):
                x = maker(values(shape, dtype))
                around = outside(x)
                check_variant(variant, x, out=x)
                assert outside(x) == around


def shifted(shape, dtype, by):
    """Two arrays of this shape in one memory, the second starting `by` items after the first."""
    size = int(np.prod(shape))
    base = values((size + by,), dtype)
    return base[:size].reshape(shape), base[by:].reshape(shape)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_out_overlaps_x(dtype, variant):
    """Shifted by a row, by an item, and in another order of axes."""
    for shape in [(9, 5), (3, 6, 35), (100, 4, 30)]:
        if not fits(variant, shape):
            continue
        for by in (int(np.prod(shape[1:])), 1):
            first, second = shifted(shape, dtype, by)
            check_variant(variant, first, out=second)
            first, second = shifted(shape, dtype, by)
            check_variant(variant, second, out=first)
        backwards = values(shape, dtype)
        check_variant(variant, backwards[::-1], out=backwards)
    square = values((70, 70), dtype)
    if fits(variant, square.shape):
        check_variant(variant, square.T, out=square)


@pytest.mark.parametrize("key", ["weight", "bias", "running_mean", "running_var"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_out_overlaps_parameters(dtype, key):
    """The parameter is a part of out, in its beginning, middle or end."""
    for variant in VARIANTS:
        for shape in [(40, 6, 9), (3, 5, 70)]:
            x = values(shape, dtype)
            keywords = keywords_for(variant, x)
            if key not in keywords:
                continue
            for place in (0, 0.5, 1):
                out = np.zeros(shape, dtype)
                part = keywords[key]
                start = int(place * (out.size - part.size))
                view = out.reshape(-1)[start : start + part.size].reshape(part.shape)
                view[...] = np.abs(part)
                check_variant(variant, x, out=out, **{key: view})


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_out_of_every_dtype(dtype):
    """What `same_kind` allows is the result cast to it; anything else is a TypeError."""
    x = values((6, 4, 9), dtype)
    for out_dtype in (*FLOATS, *COMPLEX, *INTEGERS, *BOOL):
        for variant in ("layer_norm", "batch_norm", "normalize"):
            keywords = keywords_for(variant, x)
            op = getattr(fm, operation(variant))
            out = np.full(x.shape, 1, out_dtype)
            if np.can_cast(dtype, out_dtype, "same_kind"):
                assert op(x, **keywords, out=out) is out
                plain = op(x, **keywords)
                if out_dtype.kind == "c":
                    assert bits(out.imag) == bits(np.zeros(x.shape, out.imag.dtype))
                    out = out.real
                assert bits(out) == bits(plain.astype(out.dtype))
            else:
                with pytest.raises(TypeError, match="out"):
                    op(x, **keywords, out=out)
                assert bits(out) == bits(np.full(x.shape, 1, out_dtype))


def test_lists():
    x = [[1, 2, 4], [8, 5, 7]]
    for op, keywords in [
        ("layer_norm", {"normalized_shape": [3], "weight": [1, 2, 3], "bias": [0.5, 1, 0]}),
        ("rms_norm", {"normalized_shape": 3, "weight": [1.0, 2.0, 3.0]}),
        ("group_norm", {"num_groups": 1, "weight": [1, 2, 3]}),
        ("batch_norm", {"training": True, "bias": [1, 2, 3]}),
        ("normalize", {}),
    ]:
        check(op, np.array(x), **keywords)
        result = getattr(fm, op)(x, **keywords)
        assert bits(result) == bits(getattr(fm, op)(np.array(x), **keywords))
    assert fm.instance_norm([[[1.0, 3.0]]], eps=0.0).tolist() == [[[-1.0, 1.0]]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_torch_tensors(variant):
    """A tensor in, a tensor out, with the same bits; an out that is a tensor is filled."""
    torch = pytest.importorskip("torch")
    for dtype in ("f2", "f4", "f8", "i4"):
        x = values((4, 6, 5), dtype)
        op = getattr(fm, operation(variant))
        keywords = keywords_for(variant, x)
        expected = bits(op(x, **keywords))
        tensors = {
            key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for key, value in keywords.items()
        }
        tensor = torch.from_numpy(x.copy())
        result = op(tensor, **tensors)
        assert isinstance(result, torch.Tensor)
        assert bits(result.numpy()) == expected
        assert bits(tensor.numpy()) == bits(x)
        out = torch.full_like(result, 7)
        assert op(tensor, **tensors, out=out) is out
        assert bits(out.numpy()) == expected
        assert op(x, **keywords, out=out) is out
        array = np.zeros(x.shape, out.numpy().dtype)
        assert op(tensor, **tensors, out=array) is array
        assert bits(array) == expected
        turned = torch.from_numpy(np.array(x.T)).permute(2, 1, 0)
        near(op(turned, **tensors).numpy(), *value_and_bound(variant, x))


def value_and_bound(variant, x):
    expected = reference(operation(variant), x, **keywords_for(variant, x))
    return expected.value, bound_of(expected)


# Numerics

WITH_MEAN = [variant for variant in VARIANTS if "norm" in variant and "rms" not in variant]
WITH_MEAN = [variant for variant in WITH_MEAN if operation(variant) in WITH_STATISTICS]


@pytest.mark.parametrize("variant", WITH_MEAN)
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_far_from_zero(dtype, ratio, variant):
    """The mean is up to a million times the standard deviation."""
    for shape in [(7, 100), (5, 4, 50), (3, 6, 70), (2, 3, 3001), (300, 9)]:
        x = (np.random.default_rng(5).standard_normal(shape) + ratio).astype(dtype)
        if fits(variant, shape):
            check_variant(variant, x, eps=0.0, stats="given" not in variant)
            check_variant(variant, -x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
def test_variances_of_one_piece_are_off_in_second_order(dtype, ratio):
    """In two passes over a short row, the error of its mean hardly matters to its variance."""
    for n in (5, 33, 64, 100, 255):
        x = (np.random.default_rng(5).standard_normal((9, n)) + ratio).astype(dtype)
        expected = reference("layer_norm", x, axis=-1, eps=0.0)
        bound = (variance_of_one_piece(n, ratio) + 4 * np.finfo("f8").eps) * expected.rstd
        rstd = fm.layer_norm(x, n, eps=0.0, return_stats=True).rstd
        near(rstd, expected.rstd, bound)


@pytest.mark.parametrize("dtype", [*HALVES, "f4", "f8"], ids=name)
def test_values_that_drift(dtype):
    """Each part of a group has a mean of its own, and the deviations are small beside it."""
    for n in (100, 4099, 70_001):
        drift = np.linspace(1000, 1100 if dtype in HALVES else 1001, n)
        x = (drift + 0.01 * np.random.default_rng(6).standard_normal((2, n))).astype(dtype)
        check("layer_norm", x, axis=-1, eps=0.0, stats=True)
        check("layer_norm", np.array(x.T), axis=0, eps=0.0, stats=True)
        check("batch_norm", np.array(x.T), training=True, eps=0.0, stats=True)
        check("group_norm", x[:, None], num_groups=1, eps=0.0, stats=True)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_one_number_far_from_the_others(dtype):
    x = values((5, 1000), dtype)
    for at, far in enumerate((1e3, 1e6, 1e10, 1e15, 1e20)):
        x[at, 17 * at] = far
    for variant in ("layer_norm", "rms_norm", "group_norm 1", "normalize", "normalize 1"):
        check_variant(variant, x)
        check_variant(variant, x[:, ::-1])


SCALES = {"f4": [1e30, 1e36, 1e-30, 1e-38, 1e-40, 1e-43], "f8": [1e140, 1e-140]}


@pytest.mark.parametrize(
    ("dtype", "scale"), [(d, s) for d, several in SCALES.items() for s in several]
)
def test_magnitudes(dtype, scale):
    """Without eps the magnitude has no effect, down to subnormal numbers."""
    for shape in [(5, 8), (3, 40, 6), (2, 5000)]:
        x = (np.random.default_rng(7).standard_normal(shape) * scale).astype(dtype)
        for variant in VARIANTS:
            if not fits(variant, shape) or "given" in variant:
                continue
            if "normalize" in variant and scale > 1e35 and dtype == "f4":
                continue  # see `test_normalize_of_the_largest_numbers`
            with np.errstate(divide="ignore"):  # subnormal numbers may all be equal
                more = {} if operation(variant) in ("normalize", "rms_norm") else {"bias": None}
                check_variant(variant, x, eps=0.0, **more)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_eps(dtype):
    """Of any size, and beside variances far below it."""
    x = values((7, 30), dtype) * np.asarray(1e-2, dtype)
    for eps in (0, 1e-12, 1e-5, np.float32(1e-3), 1, 1e6):
        for op in ("layer_norm", "rms_norm"):
            check(op, x, axis=-1, eps=eps, stats=True)
        check("group_norm", x, num_groups=3, eps=eps)
        check("batch_norm", x, training=True, eps=eps)
        check("normalize", x, eps=eps)


def test_default_eps_of_rms_norm():
    """The machine epsilon of the dtype of x: seen with numbers that are as small."""
    for dtype in FLOATS:
        eps = normal_oracles.machine_epsilon(dtype)
        x = np.full((1, 4), np.sqrt(eps), dtype)
        near(fm.rms_norm(x, 4), np.full((1, 4), np.sqrt(0.5)), np.longdouble(4 * eps))
    assert abs(fm.rms_norm(np.ones(4, "i4"), 4)[0] - 1) < 1e-15


def test_normalize_divides_by_eps_at_least():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [3e-13, 4e-13]])
    near(fm.normalize(x), [[0.6, 0.8], [0, 0], [0.3, 0.4]], np.longdouble(1e-15))
    near(fm.normalize(x, eps=10.0)[0], [0.3, 0.4], np.longdouble(1e-15))
    for order in (1, 2, np.inf):
        check("normalize", x, ord=order)
        check("normalize", x.astype("f4"), ord=order)


@pytest.mark.xfail(strict=True, reason="the inverse of a norm above 1e38 is subnormal in float32")
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dtype", ["f4", "c8"])
def test_normalize_of_the_largest_numbers(dtype, order):
    """The norm is held in float64, so the result has full precision."""
    check("normalize", np.full((2, 1009), 3e38, dtype), ord=order)


@pytest.mark.xfail(strict=True, reason="x - mean overflows in float32, where the result does not")
@pytest.mark.parametrize("op", ["layer_norm", "group_norm", "batch_norm"])
def test_the_largest_float32_numbers(op):
    """A deviation of 4.5e38 is no float32 number; divided by the standard deviation it is."""
    x = np.array([[3e38, 3e38, 3e38, -3e38]], "f4")
    if op == "batch_norm":
        check(op, np.array(x.T), training=True, eps=0.0)
    else:
        more = {"axis": -1} if op == "layer_norm" else {"num_groups": 1}
        check(op, x, eps=0.0, **more)


@pytest.mark.parametrize("op", ["layer_norm", "group_norm", "instance_norm", "batch_norm"])
def test_errors_are_not_larger_than_torchs(op):
    """In float32, with means of ten thousand standard deviations."""
    torch = pytest.importorskip("torch")
    shape = (20, 6, 500)
    x = (np.random.default_rng(8).standard_normal(shape) + 1e4).astype("f4")
    arguments = {
        "layer_norm": {"normalized_shape": (500,)},
        "group_norm": {"num_groups": 3},
        "instance_norm": {},
        "batch_norm": {"running_mean": None, "running_var": None, "training": True},
    }[op]
    theirs = getattr(torch.nn.functional, op)(torch.from_numpy(x), **arguments).numpy()
    expected = reference(op, x, **arguments).value
    ours = getattr(fm, op)(x, **arguments)
    assert np.max(np.abs(ours - expected)) <= np.max(np.abs(theirs - expected))


WARNS = pytest.mark.xfail(strict=True, reason="a division by 0 warns, unlike elsewhere")


@pytest.mark.parametrize(
    "variant", [pytest.param(v, marks=WARNS if v == "batch_norm" else ()) for v in VARIANTS]
)
@pytest.mark.filterwarnings("error")
def test_no_warnings(variant):
    """Where there is nothing to divide by, there is NaN or infinity, and no warning."""
    x = np.zeros((4, 6, 5))
    keywords = keywords_for(variant, x)
    if "running_var" in keywords:
        keywords["running_var"] = np.zeros(6)
    getattr(fm, operation(variant))(x, **{**keywords, "eps": 0.0})


@pytest.mark.xfail(strict=True, reason="a division by 0 warns, unlike for real numbers")
@pytest.mark.filterwarnings("error")
def test_no_warnings_of_complex_numbers():
    fm.normalize(np.zeros((3, 4), "c8"), eps=0.0)


# NaN and infinities


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_nan_and_inf_stay_in_their_group(dtype, variant):
    """The others have the same bits as without them."""
    for shape, where in [((9, 5), (4, 2)), ((3, 6, 35), (1, 4, 30)), ((70, 4, 33), (65, 1, 0))]:
        if not fits(variant, shape):
            continue
        x = values(shape, dtype)
        keywords = keywords_for(variant, x)
        op = getattr(fm, operation(variant))
        clean = op(x, **keywords)
        poisoned = x.copy()
        poisoned[where] = np.nan
        group = np.isnan(reference(operation(variant), poisoned, **keywords).value)
        assert group.any()
        for bad in (np.nan, np.inf, -np.inf):
            poisoned[where] = bad
            result = check(operation(variant), poisoned, **keywords)
            assert bits(result[~group]) == bits(clean[~group])


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
def test_nan_is_never_lost_in_a_norm(dtype):
    """Wherever it is, also for the largest absolute value."""
    for n in (5, 33, 1025):
        for at in (0, 1, n // 2, n - 1):
            for order in (1, 2, np.inf):
                x = values((3, n), dtype)
                x[1, at] = np.nan
                assert np.isnan(fm.normalize(x, order)[1]).all()
                assert not np.isnan(fm.normalize(x, order)[[0, 2]]).any()
                assert np.isnan(fm.normalize(np.array(x.T), order, 0)[:, 1]).all()


def test_nan_in_parameters():
    x = values((4, 6, 5), "f4")
    for variant in ("layer_norm", "group_norm", "batch_norm", "batch_norm given"):
        keywords = keywords_for(variant, x)
        for key, value in keywords.items():
            if isinstance(value, np.ndarray):
                poisoned = value.copy()
                poisoned[2] = np.nan
                check(operation(variant), x, **{**keywords, key: poisoned})


# Running statistics


def check_updates(op, x, mean, var, momentum):
    """Call an operation that updates running statistics; compare all with the oracle."""
    use = {"training": True} if op == "batch_norm" else {"use_input_stats": True}
    given = mean.copy(), var.copy()
    normal, _ = getattr(normal_oracles, op)(x, *given, momentum=momentum, **use)
    wide, rest = normal_oracles.wide(x), tuple(a for a in range(x.ndim) if a != 1)
    axes = rest if op == "batch_norm" else rest[1:]
    n = normal.n
    unbiased = np.var(wide, axis=axes, keepdims=True) * np.longdouble(n) / (n - 1)
    error, relative = statistics_bounds(normal._replace(rstd=1 / np.sqrt(unbiased)))
    relative = 2 * relative * np.sqrt(unbiased)
    new = [np.mean(part, axis=rest) for part in (normal.mean, unbiased)]
    bounds = [np.max(part, axis=rest) for part in (error, relative * unbiased)]
    result = getattr(fm, op)(x, mean, var, momentum=momentum, **use)
    near(result, normal.value, normalized_bound(normal))
    for was, now, value, bound in zip(given, (mean, var), new, bounds, strict=True):
        check_running(was, now, value, bound, momentum)


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_running_statistics(dtype, op):
    for shape in [(4, 6, 5), (7, 3, 2, 3), (2, 65, 33), (3, 1, 4), (1, 2, 5000)]:
        for running in FLOATS:
            for momentum in (0.1, 0, 1, 0.75):
                mean = values(shape[1], running, 3)
                var = np.abs(values(shape[1], running, 4))
                check_updates(op, values(shape, dtype), mean, var, momentum)
    check_updates("batch_norm", values((9, 4), dtype), np.zeros(4), np.ones(4), 0.1)


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("layout", WRITABLE)
def test_layouts_of_running_statistics(op, layout):
    for dtype in ("f4", "f8"):
        mean = WRITABLE[layout](values(6, dtype, 3))
        var = WRITABLE[layout](np.abs(values(6, dtype, 4)))
        around = outside(mean), outside(var)
        check_updates(op, values((4, 6, 5), "f4"), mean, var, 0.1)
        assert (outside(mean), outside(var)) == around


def test_running_statistics_of_channels_last():
    x = channels_last(values((3, 64, 4, 5), "f4"))
    for op in ("batch_norm", "instance_norm"):
        check_updates(op, x, np.zeros(64, "f4"), np.ones(64, "f4"), 0.1)


def test_running_statistics_are_only_read_where_they_are_given():
    """`check` asserts that they are not modified."""
    for variant in ("batch_norm given", "instance_norm given"):
        check_variant(variant, values((4, 6, 5), "f4"))


def test_running_statistics_in_place():
    """Those of x are updated before out, which may be x, is written over."""
    for op in ("batch_norm", "instance_norm"):
        use = {"training": True} if op == "batch_norm" else {}
        x = values((4, 6, 5), "f4")
        running = [np.zeros(6), np.ones(6), np.zeros(6), np.ones(6)]
        expected = getattr(fm, op)(x, *running[:2], **use)
        assert getattr(fm, op)(x, *running[2:], **use, out=x) is x
        assert bits(x) == bits(expected)
        assert bits(running[0]) == bits(running[2])
        assert bits(running[1]) == bits(running[3])


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
def test_nan_stays_in_its_channel_of_running_statistics(op):
    use = {"training": True} if op == "batch_norm" else {}
    x = values((4, 6, 5), "f4")
    x[1, 2, 3] = np.nan
    mean, var = np.zeros(6), np.ones(6)
    getattr(fm, op)(x, mean, var, **use)
    assert np.isnan(mean).nonzero()[0].tolist() == [2]
    assert np.isnan(var).nonzero()[0].tolist() == [2]


def test_running_statistics_may_be_tensors():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(values((4, 6, 5), "f4"))
    mean, var = torch.zeros(6), torch.ones(6)
    fm.batch_norm(x, mean, var, training=True)
    assert np.abs(mean.numpy()).min() > 0
    assert np.abs(var.numpy() - 1).min() > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_torch_computes_the_same(variant):
    """In float64 PyTorch is within ten times the bounds around the oracle."""
    torch = pytest.importorskip("torch")
    for shape in [(4, 6, 5), (3, 4, 2, 7), (5, 8), (2, 6, 3, 2, 2)]:
        x = values(shape, "f8")
        if not fits(variant, shape):
            continue
        op, keywords = operation(variant), keywords_for(variant, x)
        if op == "normalize":
            order, axis = keywords.get("ord", 2), keywords.get("axis", -1)
            keywords = {"ord": order, "axis": axis if isinstance(axis, int) else 0}
            theirs = {"p": float(order), "dim": keywords["axis"]}
        elif "axis" in keywords:
            continue  # PyTorch knows the last axes only
        else:
            theirs = {"running_mean": None, "running_var": None} if op == "batch_norm" else {}
            theirs.update(keywords)
        theirs = {
            key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for key, value in theirs.items()
        }
        result = getattr(torch.nn.functional, op)(torch.from_numpy(x), **theirs).numpy()
        expected = reference(op, x, **keywords)
        near(result, expected.value, 10 * bound_of(expected))
        check(op, x, **keywords)


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, 0.6])
def test_torch_updates_the_same_statistics(op, momentum):
    torch = pytest.importorskip("torch")
    use = {"training": True} if op == "batch_norm" else {"use_input_stats": True}
    for shape in [(4, 6, 5), (3, 4, 2, 7), (1, 6, 9)]:
        x = values(shape, "f8")
        ours = values(shape[1], "f8", 3), np.abs(values(shape[1], "f8", 4))
        theirs = tuple(torch.from_numpy(part.copy()) for part in ours)
        getattr(torch.nn.functional, op)(torch.from_numpy(x), *theirs, momentum=momentum, **use)
        getattr(fm, op)(x, *ours, momentum=momentum, **use)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other.numpy(), rtol=1e-13, atol=1e-14)


# Threads

THREAD_SHAPES = [
    (2, 70_001),
    (70_001, 2),
    (5000, 8),
    (300, 33),
    (1000, 3),
    (8, 16, 33, 5),
    (40, 700),
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_same_bits_at_any_number_of_threads(dtype, variant):
    for shape in THREAD_SHAPES:
        if not fits(variant, shape):
            continue
        x = values(shape, dtype)
        keywords = keywords_for(variant, x)
        statistics = {"return_stats": True} if operation(variant) in WITH_STATISTICS else {}
        for layout in (x, channels_last(x)):
            results = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                result = getattr(fm, operation(variant))(layout, **keywords, **statistics)
                parts = result if statistics else (result,)
                results.add(tuple(bits(part) for part in parts))
            assert len(results) == 1, shape


def test_same_running_statistics_at_any_number_of_threads():
    for op in ("batch_norm", "instance_norm"):
        use = {"training": True} if op == "batch_norm" else {}
        for x in (values((8, 16, 33, 5), "f4"), channels_last(values((64, 5, 300), "f4"))):
            results = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                mean, var = np.zeros(x.shape[1], "f4"), np.ones(x.shape[1], "f4")
                getattr(fm, op)(x, mean, var, **use)
                results.add((bits(mean), bits(var)))
            assert len(results) == 1


def test_run_to_run():
    numba.set_num_threads(8)
    for variant in VARIANTS:
        x = values((64, 6, 700), "f4")
        op, keywords = getattr(fm, operation(variant)), keywords_for(variant, x)
        assert len({bits(op(x, **keywords)) for _ in range(4)}) == 1


# Random calls


@st.composite
def calls(draw):
    """An array in any layout, and axes."""
    dtype = draw(st.sampled_from(FLOATS))
    shape = tuple(
        draw(st.lists(st.sampled_from([1, 2, 3, 4, 5, 8, 17, 33]), min_size=1, max_size=4))
    )
    while np.prod(shape) > 5000:
        shape = tuple(min(n, 5) for n in shape)
    ndim = len(shape)
    axes = tuple(draw(st.permutations(range(ndim)))[: draw(st.integers(1, ndim))])
    axes = tuple(a - ndim if draw(st.booleans()) else a for a in axes)
    layout = draw(st.sampled_from(sorted(makers_for(dtype))))
    x = values(shape, dtype, draw(st.integers(0, 5)))
    x = x + np.asarray(draw(st.sampled_from([0, 0, 3, 100])), dtype)
    return makers_for(dtype)[layout](x), axes


@given(calls(), st.booleans(), st.booleans(), st.sampled_from([None, *sorted(WRITABLE)]))
def test_random_calls_of_layer_norm(call, weighted, biased, layout):
    x, axes = call
    if weighted or biased:  # see `test_parameters_follow_the_order_of_the_axes`
        axes = tuple(sorted(axes, key=lambda axis: axis % x.ndim))
    lengths, dtype = tuple(x.shape[a] for a in axes), normal_oracles.result_dtype(x)
    keywords = {
        "weight": values(lengths, dtype, 1) if weighted else None,
        "bias": values(lengths, dtype, 2) if biased else None,
    }
    maker = makers_for(dtype, WRITABLE).get(layout)
    out = None if maker is None else maker(np.zeros(x.shape, dtype))
    check("layer_norm", x, axis=axes, out=out, stats=out is None, **keywords)


@given(calls(), st.sampled_from([1, 2, np.inf]), st.sampled_from([None, *sorted(WRITABLE)]))
def test_random_calls_of_normalize(call, order, layout):
    x, axes = call
    dtype = normal_oracles.result_dtype(x)
    maker = makers_for(dtype, WRITABLE).get(layout)
    out = None if maker is None else maker(np.zeros(x.shape, dtype))
    check("normalize", x, ord=order, axis=axes, out=out)
    if out is None:
        check("rms_norm", x, axis=axes, stats=True)


# Bad input

SHAPE = (3, 4, 5)
ONES4, ONES5 = np.ones(4), np.ones(5)
NORMAL_KEYWORDS = {
    "layer_norm": {"normalized_shape": 5},
    "rms_norm": {"normalized_shape": 5},
    "group_norm": {"num_groups": 2},
    "instance_norm": {},
    "batch_norm": {"training": True},
    "normalize": {},
}
AXES = [
    ({"axis": 3}, ValueError, "axis"),
    ({"axis": -4}, ValueError, "axis"),
    ({"axis": (0, 7)}, ValueError, "axis"),
    ({"axis": (1, 1)}, ValueError, "axis"),
    ({"axis": (1, -2)}, ValueError, "axis"),
    ({"axis": 1.0}, TypeError, "axis"),
    ({"axis": "a"}, TypeError, "axis"),
    ({"axis": (0, 1.5)}, TypeError, "axis"),
    ({"axis": (0, None)}, TypeError, "axis"),
    ({"axis": 1j}, TypeError, "axis"),
]
SHAPES_AND_AXES = [
    ({}, TypeError, "normalized_shape"),
    ({"normalized_shape": 5, "axis": -1}, TypeError, "normalized_shape"),
    ({"normalized_shape": 4}, ValueError, "normalized_shape"),
    ({"normalized_shape": -1}, ValueError, "normalized_shape"),
    ({"normalized_shape": 0}, ValueError, "normalized_shape"),
    ({"normalized_shape": ()}, ValueError, "normalized_shape"),
    ({"normalized_shape": (5, 4)}, ValueError, "normalized_shape"),
    ({"normalized_shape": (3, 4)}, ValueError, "normalized_shape"),
    ({"normalized_shape": (1, 3, 4, 5)}, ValueError, "normalized_shape"),
    ({"normalized_shape": 5.0}, TypeError, "normalized_shape"),
    ({"normalized_shape": (4, 5.0)}, TypeError, "normalized_shape"),
    ({"normalized_shape": "5"}, TypeError, "normalized_shape"),
    ({"axis": -1, "weight": ONES4}, ValueError, "weight"),
    ({"axis": (0, 1), "weight": np.ones((4, 3))}, ValueError, "weight"),
    ({"normalized_shape": 5, "weight": np.ones((1, 5))}, ValueError, "weight"),
    ({"normalized_shape": 5, "weight": 2.0}, ValueError, "weight"),
    ({"normalized_shape": (4, 5), "weight": ONES5}, ValueError, "weight"),
    ({"normalized_shape": 5, "weight": "abcde"}, TypeError, "weight"),
    ({"normalized_shape": 5, "weight": ONES5.astype(object)}, TypeError, "weight"),
    ({"normalized_shape": 5, "weight": ONES5.astype("g")}, TypeError, "weight"),
]
WRONG_CHANNELS = [
    ({"weight": ONES5}, ValueError, "weight"),
    ({"weight": np.ones((4, 1))}, ValueError, "weight"),
    ({"bias": ONES5}, ValueError, "bias"),
    ({"bias": np.ones(())}, ValueError, "bias"),
    ({"bias": ["a"] * 4}, TypeError, "bias"),
]
EPSILONS = [({"eps": bad}, TypeError, "eps") for bad in ("a", 1j, [1.0, 2.0], {}, np.ones(2))]
RUNNING = [
    ({"running_mean": ONES5, "running_var": ONES5}, ValueError, "running_mean"),
    ({"running_mean": ONES4, "running_var": ONES5}, ValueError, "running_var"),
    ({"running_mean": ONES4}, ValueError, "running_var"),
    ({"running_var": ONES4}, ValueError, "running_mean"),
    ({"running_mean": [0.0] * 4, "running_var": ONES4}, None, "running_mean"),
    ({"running_mean": ONES4, "running_var": ONES4.astype("i4")}, TypeError, "running_var"),
    ({"running_mean": ONES4.astype("c8"), "running_var": ONES4}, TypeError, "running_mean"),
    ({"running_mean": "abcd", "running_var": ONES4}, TypeError, "running_mean"),
    ({"running_mean": np.broadcast_to(0.0, 4), "running_var": ONES4}, ValueError, "running_mean"),
]
GIVEN = [
    ({}, ValueError, "running_mean"),
    ({"running_mean": ONES4}, ValueError, "running_var"),
    ({"running_var": ONES4}, ValueError, "running_mean"),
    ({"running_mean": ONES5, "running_var": ONES4}, ValueError, "running_mean"),
    ({"running_mean": ONES4, "running_var": np.ones((4, 1))}, ValueError, "running_var"),
    ({"running_mean": ONES4, "running_var": ONES4 * 1j}, TypeError, "running_var"),
    ({"running_mean": ONES4, "running_var": ["a"] * 4}, TypeError, "running_var"),
]
GROUPS = [
    *(({"num_groups": bad}, ValueError, "num_groups") for bad in (0, -1, -2, 3, 5, 8, 1 << 70)),
    *(({"num_groups": bad}, TypeError, "num_groups") for bad in (2.0, None, "2", 2j, [2], (2,))),
]
NORMS = [
    *(
        ({"ord": bad}, ValueError, "ord")
        for bad in (3, 0, -1, 0.5, np.nan, -np.inf, "fro", None, [1, 2], 2j)
    ),
]
ERRORS = [
    *(("layer_norm", *case) for case in SHAPES_AND_AXES),
    *(("rms_norm", *case) for case in SHAPES_AND_AXES),
    *((op, *case) for op in ("layer_norm", "rms_norm", "normalize") for case in AXES),
    *(
        (op, {**NORMAL_KEYWORDS[op], **keywords}, *rest)
        for op in NORMAL_KEYWORDS
        for keywords, *rest in EPSILONS
    ),
    *(
        (op, {**NORMAL_KEYWORDS[op], **keywords}, *rest)
        for op in ("group_norm", "instance_norm", "batch_norm")
        for keywords, *rest in WRONG_CHANNELS
    ),
    *(("group_norm", *case) for case in GROUPS),
    *(
        (op, {**NORMAL_KEYWORDS[op], **keywords}, *rest)
        for op in ("instance_norm", "batch_norm")
        for keywords, *rest in RUNNING
    ),
    *(("batch_norm", *case) for case in GIVEN),
    *(("instance_norm", {"use_input_stats": False, **case[0]}, *case[1:]) for case in GIVEN),
    *(("normalize", *case) for case in NORMS),
]


@pytest.mark.parametrize(("op", "keywords", "error", "match"), ERRORS)
def test_bad_arguments(op, keywords, error, match):
    """The message names the argument; neither out nor running statistics are touched."""
    error = error or (ValueError, TypeError)
    x, out = values(SHAPE, "f4"), np.full(SHAPE, 7, "f4")
    guard = {key: bits(part) for key, part in keywords.items() if isinstance(part, np.ndarray)}
    for given_out in ({}, {"out": out}, {"return_stats": True}):
        if "return_stats" in given_out and op == "normalize":
            continue
        with pytest.raises(error, match=match):
            getattr(fm, op)(x, **keywords, **given_out)
    assert bits(out) == bits(np.full(SHAPE, 7, "f4"))
    for key, was in guard.items():
        assert bits(keywords[key]) == was


@pytest.mark.parametrize("op", ["instance_norm", "batch_norm"])
@pytest.mark.parametrize("momentum", ["a", 1j, [0.1], None])
def test_bad_momentum(op, momentum):
    """Running statistics are not touched."""
    keywords = {**NORMAL_KEYWORDS[op], "running_mean": np.zeros(4), "running_var": np.ones(4)}
    with pytest.raises(TypeError, match="momentum"):
        getattr(fm, op)(values(SHAPE, "f4"), **keywords, momentum=momentum)
    assert (keywords["running_mean"] == 0).all()
    assert (keywords["running_var"] == 1).all()


@pytest.mark.xfail(strict=True, reason="out is written before momentum is checked")
@pytest.mark.parametrize("op", ["instance_norm", "batch_norm"])
def test_out_is_not_touched_by_a_bad_momentum(op):
    keywords = {**NORMAL_KEYWORDS[op], "running_mean": np.zeros(4), "running_var": np.ones(4)}
    out = np.full(SHAPE, 7.0)
    with pytest.raises(TypeError, match="momentum"):
        getattr(fm, op)(values(SHAPE, "f8"), **keywords, momentum="a", out=out)
    assert (out == 7).all()


@pytest.mark.xfail(strict=True, reason="a bad momentum is only seen where it is used")
@pytest.mark.parametrize("op", ["instance_norm", "batch_norm"])
@pytest.mark.parametrize("given_statistics", [True, False])
def test_momentum_is_always_checked(op, given_statistics):
    """Also where no running statistics are updated."""
    use = "training" if op == "batch_norm" else "use_input_stats"
    running = {"running_mean": np.zeros(4), "running_var": np.ones(4)} if given_statistics else {}
    with pytest.raises(TypeError, match="momentum"):
        getattr(fm, op)(values(SHAPE, "f4"), **running, **{use: not given_statistics}, momentum="a")


@pytest.mark.xfail(strict=True, reason="numbers are read from strings and bytes")
@pytest.mark.parametrize("op", NORMAL_KEYWORDS)
@pytest.mark.parametrize("number", ["1", b"1", "nan"])
def test_strings_are_no_numbers(op, number):
    with pytest.raises(TypeError, match="eps"):
        getattr(fm, op)(values(SHAPE, "f4"), **NORMAL_KEYWORDS[op], eps=number)


@pytest.mark.parametrize("op", NORMAL_KEYWORDS)
def test_bad_x(op):
    keywords = NORMAL_KEYWORDS[op]
    x = values(SHAPE, "f8")
    for bad in (
        None,
        "abc",
        b"abc",
        x.astype(object),
        x.astype("S"),
        x.astype("U"),
        x.astype("g"),
        x.astype("M8[s]"),
        np.zeros(SHAPE, [("a", "f4")]),
        {"a": 1},
        object(),
    ):
        with pytest.raises(TypeError, match="x"):
            getattr(fm, op)(bad, **keywords)
    with pytest.raises((ValueError, TypeError), match="x"):
        getattr(fm, op)([[1.0, 2.0], [3.0]], **keywords)


@pytest.mark.parametrize("op", ["group_norm", "instance_norm", "batch_norm"])
def test_too_few_dimensions(op):
    for shape in ((), (4,)):
        with pytest.raises(ValueError, match="x"):
            getattr(fm, op)(np.ones(shape), **NORMAL_KEYWORDS[op])
    given_statistics = {"running_mean": ONES4, "running_var": ONES4}
    with pytest.raises(ValueError, match="x"):
        fm.batch_norm(np.ones(4), **given_statistics)


@pytest.mark.parametrize("op", ["layer_norm", "rms_norm", "normalize"])
def test_axes_of_a_number(op):
    for axis in (0, -1, (0,)):
        with pytest.raises(ValueError, match="axis"):
            getattr(fm, op)(np.float64(3), axis=axis)


def test_one_number_per_channel():
    """It has no variance; with statistics that are given it is fine."""
    mean, var = np.zeros(4), np.ones(4)
    for shape in ((1, 4), (1, 4, 1), (1, 4, 1, 1)):
        with pytest.raises(ValueError, match="x"):
            fm.batch_norm(np.ones(shape), mean, var, training=True)
        check("batch_norm", values(shape, "f8"), running_mean=mean, running_var=var)
    for shape in ((3, 4), (3, 4, 1)):
        with pytest.raises(ValueError, match="x"):
            fm.instance_norm(np.ones(shape), mean, var)
        check(
            "instance_norm",
            values(shape, "f8"),
            running_mean=mean,
            running_var=var,
            use_input_stats=False,
        )
    assert (mean == 0).all()
    assert (var == 1).all()


@pytest.mark.parametrize("op", NORMAL_KEYWORDS)
def test_bad_out(op):
    """Nothing is written, neither to out nor to running statistics."""
    x, keywords = values(SHAPE, "f8"), dict(NORMAL_KEYWORDS[op])
    running = np.zeros(4), np.ones(4)
    if op in ("batch_norm", "instance_norm"):
        keywords.update(zip(("running_mean", "running_var"), running, strict=True))
    read_only = np.full(SHAPE, 7.0)
    read_only.flags.writeable = False
    for out, error in [
        (np.full((3, 4), 7.0), ValueError),
        (np.full((3, 5, 4), 7.0), ValueError),
        (np.full((1, *SHAPE), 7.0), ValueError),
        (np.full((), 7.0), ValueError),
        (read_only, ValueError),
        (np.full(SHAPE, 7, "i4"), TypeError),
        (np.full(SHAPE, True), TypeError),
        (np.full(SHAPE, 7, "M8[s]"), TypeError),
        ([7.0], TypeError),
        (7.0, TypeError),
        ("out", TypeError),
    ]:
        guard = bits(out) if isinstance(out, np.ndarray) else None
        with pytest.raises(error, match="out"):
            getattr(fm, op)(x, **keywords, out=out)
        assert guard is None or bits(out) == guard
    assert (running[0] == 0).all()
    assert (running[1] == 1).all()


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
def test_running_statistics_are_not_touched_by_errors(op):
    use = {"training": True} if op == "batch_norm" else {}
    mean, var = np.full(4, 0.5), np.full(4, 2.0)
    read_only = var.copy()
    read_only.flags.writeable = False
    for x, wrong in [
        (np.ones(SHAPE), {"weight": ONES5}),
        (np.ones(SHAPE), {"bias": ONES5}),
        (np.ones(SHAPE), {"eps": "a"}),
        (np.ones(SHAPE), {"momentum": "a"}),
        (np.ones(SHAPE), {"out": np.ones(4)}),
        (np.ones(SHAPE), {"running_var": read_only}),
        (np.ones(SHAPE), {"running_var": ONES5}),
        (np.ones(SHAPE) * 1j, {}),
        (np.ones((3, 5, 4)), {}),
    ]:
        arguments = {"running_mean": mean, "running_var": var, **use, **wrong}
        with pytest.raises((ValueError, TypeError)):
            getattr(fm, op)(x, **arguments)
        assert (mean == 0.5).all()
        assert (var == 2).all()
