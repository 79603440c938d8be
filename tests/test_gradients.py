"""`fm.layer_norm_vjp` and the other gradients: shapes, axes, dtypes, and how they are called.

Values are in `test_gradients_values.py`; more is in the other files of this stem.
"""

from itertools import combinations

import numpy as np
import pytest
from gradients import (
    ALL,
    FIELDS,
    NORMAL,
    arguments,
    arguments_for,
    called,
    check,
    check_variant,
    compare_all,
    expectation,
    shape_of_gradient,
    shapes_for,
)
from hypothesis import given as drawn
from hypothesis import strategies as st
from layouts import WRITABLE, makers_for
from normal_oracles import result_dtype
from normals import operation, values
from oracles import BOOL, COMPLEX, FLOATS, INTEGERS, name
from products import bits
from test_normalization import calls

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
    (11, 7, 1),
    (2, 6, 5, 7),
    (3, 1, 4, 4),
    (2, 3, 2, 3, 5),
    (65, 33),
    (4, 64, 3),
]
EMPTY = [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 2, 3), (2, 3, 0), (2, 3, 0, 4)]


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_shapes(dtype, variant):
    for shape in shapes_for(variant, SHAPES):
        check_variant(variant, values(shape, dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_groups_of_1_to_40_numbers(dtype):
    """Side by side in memory, and one after the other."""
    for n in range(1, 41):
        for variant in ("layer_norm", "rms_norm", "normalize", "softmax"):
            check_variant(variant, values((7, n), dtype))
        x = values((n, 7), dtype)
        for variant in ("layer_norm first", "softmax first", "logsumexp first"):
            check_variant(variant, x)
        if n > 1:
            check_variant("batch_norm", x)
            check_variant("instance_norm", values((2, 3, n), dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("n", [31, 32, 33, 4095, 4096, 4097])
def test_numbers_at_the_edges_of_blocks(dtype, n):
    """Rows, columns, and rows with the columns between them."""
    row, column = values((3, n), dtype), values((n, 3), dtype)
    for variant in ("layer_norm", "rms_norm", "softmax", "log_softmax", "logsumexp", "normalize"):
        check_variant(variant, row)
    for variant in ("layer_norm first", "batch_norm", "batch_norm given", "softmax first"):
        check_variant(variant, column)
    cube = values((2, n, 3), dtype)
    for variant in ("layer_norm middle", "group_norm 1", "normalize 1", "log_softmax middle"):
        check_variant(variant, cube)
    check_variant("instance_norm", values((2, 2, n), dtype))
    check_variant("layer_norm split", values((3, 2, n), dtype))


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_long_rows_and_many_short_ones(dtype, variant):
    """The gradients of weight and bias are short sums or long ones."""
    shapes = [(3001, 8), (8, 3001), (900, 2, 5), (2, 3, 4001)]
    for shape in shapes_for(variant, shapes):
        check_variant(variant, values(shape, dtype))


@pytest.mark.parametrize(
    "variant", ["layer_norm", "layer_norm plain", "rms_norm", "normalize", "softmax", "logsumexp"]
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_one_row_shared_among_tasks(dtype, variant):
    for n in (70_000, 200_001):
        check_variant(variant, values((1, n), dtype))


@pytest.mark.parametrize("op", ["layer_norm", "rms_norm", "normalize", "softmax", "logsumexp"])
def test_every_choice_of_axes(op):
    x = values((3, 4, 5, 2), "f8")
    for count in range(5):
        for axes in combinations(range(4), count):
            keywords = {"axis": axes}
            if op in FIELDS:
                keywords["weight"] = values(tuple(x.shape[a] for a in axes), "f8", 1)
            given = arguments_for(op, x, None, keywords)
            parts = check(op, given)
            again = called(op, {**given, "axis": tuple(a - 4 for a in axes)})
            if count == 1:
                again += called(op, {**given, "axis": axes[0]})
                parts = parts * 2
            for part, other in zip(parts, again, strict=True):
                assert (part is None and other is None) or bits(part) == bits(other)


def test_parameters_follow_the_order_of_the_dimensions():
    """The weight of axis=(2, 0), and its gradient, has the length of axis 0, then of axis 2."""
    x = values((3, 4, 5), "f8")
    keywords = {"axis": (0, 2), "weight": values((3, 5), "f8", 1)}
    given = arguments_for("layer_norm", x, None, keywords)
    parts, turned = check("layer_norm", given), called("layer_norm", {**given, "axis": (2, 0)})
    assert [bits(part) for part in parts] == [bits(part) for part in turned]


@pytest.mark.parametrize("shape", [(3, 4, 6), (70, 2, 5), (200, 8, 4), (5, 6, 2, 2), (9, 4, 3)])
def test_weights_of_channels_in_short_groups(shape):
    """Groups computed beside each other, with a weight for several of their numbers."""
    x, weight = values(shape, "f8"), values(shape[1], "f8", 1)
    for groups in {1, 2, shape[1]}:
        check(
            "group_norm",
            arguments_for("group_norm", x, None, {"num_groups": groups, "weight": weight}),
        )
    check("instance_norm", arguments_for("instance_norm", x, None, {"weight": weight}))


@pytest.mark.parametrize("variant", [v for v in NORMAL if v != "group_norm 1"])
def test_without_a_weight(variant):
    """There are no gradients of weight and bias then; that of x is as for a weight of ones."""
    for shape in shapes_for(variant, [(13, 17), (2, 6, 5), (3, 4, 2, 3)]):
        x = values(shape, "f4")
        given = {key: part for key, part in arguments(variant, x).items() if key != "weight"}
        parts = check(operation(variant), given)
        assert all(part is None for part in parts[1:])


def test_positional_arguments():
    """In the order that the documentation has them in."""
    x = values((3, 4, 5), "f8")
    for variant, names in [
        ("layer_norm", ("cotangent", "x", "mean", "rstd", "normalized_shape", "weight")),
        ("rms_norm", ("cotangent", "x", "rstd", "normalized_shape", "weight")),
        ("group_norm", ("cotangent", "x", "num_groups", "mean", "rstd", "weight")),
        ("instance_norm", ("cotangent", "x", "mean", "rstd", "weight")),
        ("instance_norm given", ("cotangent", "x", "mean", "rstd", "weight", "use_input_stats")),
        ("batch_norm", ("cotangent", "x", "mean", "rstd", "weight", "training")),
        ("normalize 1", ("cotangent", "x", "ord", "axis")),
        ("softmax first", ("cotangent", "result", "axis")),
        ("log_softmax middle", ("cotangent", "result", "axis")),
        ("logsumexp first", ("cotangent", "x", "result", "axis")),
    ]:
        given = {"weight": None, **arguments(variant, x)}
        op = operation(variant)
        result = getattr(fm, f"{op}_vjp")(*(given[key] for key in names))
        result = list(result) if op in FIELDS else [result]
        wanted = expectation(op, {key: given[key] for key in names})
        compare_all(result, wanted)


@pytest.mark.parametrize("variant", [v for v in ALL if "softmax" not in v])
@pytest.mark.parametrize("dtype", [*INTEGERS, *BOOL], ids=name)
def test_integers_and_bool_count_as_float64(dtype, variant):
    x = values((2, 6, 5), dtype)
    given = arguments(variant, x)
    parts = check(operation(variant), given)
    again = called(operation(variant), {**given, "x": x.astype("f8")})
    assert bits(parts[0]) == bits(again[0])
    assert parts[0].dtype == np.float64


@pytest.mark.parametrize("dtype", COMPLEX, ids=name)
def test_complex(dtype):
    """Only `normalize` by the norm 2 takes complex numbers."""
    for shape in [(1, 1), (3, 4), (13, 17), (2, 6, 5, 7), (2, 5000)]:
        for axis in (0, -1, (0, 1)):
            check_variant("normalize", values(shape, dtype), axis=axis)
    x, real = values((3, 4, 5), dtype), values((3, 4, 5), "f8")
    for order in (1, np.inf):
        with pytest.raises((TypeError, ValueError), match="x"):
            fm.normalize_vjp(x, x, order)
    for variant in ALL:
        given, op = arguments(variant, real), operation(variant)
        for key in given.keys() & {"cotangent", "x", "result", "weight"}:
            if op == "normalize" and key == "x":
                continue
            wrong = {**given, key: given[key].astype(dtype)}
            with pytest.raises(TypeError, match=key):
                called(op, wrong)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_weights_of_other_dtypes(dtype):
    """The gradients of weight and bias have the dtype of the weight, that of x the dtype of x."""
    x = values((6, 4, 5), dtype)
    for other in FLOATS:
        weight = values((4,), other, 1)
        for variant in ("layer_norm middle", "group_norm", "batch_norm", "batch_norm given"):
            check_variant(variant, x, weight=weight)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_cotangents_of_other_dtypes(dtype):
    """They are converted to the dtype of x."""
    x = values((6, 4, 5), dtype)
    for other in FLOATS:
        for variant in ("layer_norm", "batch_norm", "normalize", "softmax"):
            g = values(x.shape, other, 6)
            parts = check_variant(variant, x, cotangent=g)
            given = arguments(variant, x, g.astype(dtype))
            same = called(operation(variant), given)
            assert [bits(part) for part in parts] == [bits(part) for part in same]


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")  # of the oracle
@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(variant, shape):
    """The gradient of x is empty; those of weight and bias are sums of nothing, or empty."""
    for dtype in ("f2", "f4", "f8") if shapes_for(variant, [shape]) else ():
        given, op = arguments(variant, values(shape, dtype)), operation(variant)
        out = np.empty(shape_of_gradient(given), result_dtype(given.get("x", given.get("result"))))
        for result in (called(op, given), called(op, given, out)):
            assert result[0].shape == shape
            assert result[0].dtype == dtype
            for part in result[1:]:
                assert part is None or part.shape == given["weight"].shape
                assert part is None or not part.any()
        assert called(op, given, out)[0] is out


def test_groups_of_one_number():
    """A deviation of 0 and a probability of 1 do not change with the number."""
    x = values((3, 4, 1), "f8")
    for variant in ("layer_norm", "softmax", "log_softmax", "normalize 1"):
        more = {"axis": -1} if variant == "normalize 1" else {}
        parts = check_variant(variant, x, **more)
        if variant != "normalize 1":
            np.testing.assert_array_equal(parts[0], 0)
    np.testing.assert_array_equal(check_variant("logsumexp", x)[0][..., 0], values((3, 4), "f8", 6))


def test_numbers_without_axes():
    for op in ("layer_norm", "rms_norm", "normalize", "softmax", "log_softmax", "logsumexp"):
        check(op, arguments_for(op, np.array(3.0), None, {"axis": ()}))


def test_fields():
    x = values((3, 4), "f8")
    for variant in ("layer_norm", "rms_norm", "group_norm", "batch_norm"):
        result = getattr(fm, f"{operation(variant)}_vjp")(**arguments(variant, x))
        assert result._fields == FIELDS[operation(variant)]
        kind = "ScaleGradients" if variant == "rms_norm" else "Gradients"
        assert type(result).__name__ == kind


@drawn(
    calls(),
    st.sampled_from(["layer_norm", "rms_norm", "normalize", "softmax", "log_softmax", "logsumexp"]),
    st.booleans(),
    st.sampled_from([None, *sorted(WRITABLE)]),
)
def test_random_calls(call, op, more, layout):
    """Any axes of any layout, with a weight or with what is reduced kept, into any out."""
    x, axes = call
    axes = tuple(sorted(axes, key=lambda axis: axis % x.ndim))
    keywords, dtype = {"axis": axes}, result_dtype(x)
    if more and op in FIELDS:
        keywords["weight"] = values(tuple(x.shape[a] for a in axes), dtype, 1)
    if more and op == "logsumexp":
        keywords["keepdims"] = True
    maker = makers_for(dtype, WRITABLE).get(layout)
    out = None if maker is None else maker(np.zeros(x.shape, dtype))
    check(op, arguments_for(op, x, None, keywords), out)
