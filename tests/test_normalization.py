"""`fm.layer_norm`, `rms_norm`, `group_norm`, `instance_norm`, `batch_norm`, `normalize`.

Shapes, dtypes and random calls; more is in the other files of this stem.
"""

from itertools import combinations

import normal_oracles
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, WRITABLE, makers_for
from normals import (
    VARIANTS,
    WITH_STATISTICS,
    bound_of,
    check,
    check_variant,
    fits,
    keywords_for,
    near,
    operation,
    reference,
    values,
)
from oracles import BFLOAT16, BOOL, COMPLEX, FLOATS, INTEGERS, name
from products import bits

import fastmat as fm

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


def test_parameters_follow_the_order_of_the_dimensions():
    """The weight of axis=(2, 0) has the length of axis 0, then that of axis 2."""
    x = values((3, 4, 5), "f8")
    for axes in [(2, 0), (1, 0), (2, 0, 1), (-1, 0)]:
        ordered = tuple(sorted(a % 3 for a in axes))
        lengths = tuple(x.shape[a] for a in ordered)
        weight, bias = values(lengths, "f8", 1), values(lengths, "f8", 2)
        expected = check("layer_norm", x, axis=ordered, weight=weight, bias=bias)
        assert bits(fm.layer_norm(x, axis=axes, weight=weight, bias=bias)) == bits(expected)


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


@pytest.mark.parametrize("op", WITH_STATISTICS)
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
