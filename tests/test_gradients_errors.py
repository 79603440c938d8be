"""Bad input of gradients: the right exception, which names the argument, and nothing touched."""

import numpy as np
import pytest
from gradients import ALL, FIELDS, OPS, arguments, arrays, called, shape_of_gradient
from normals import operation, values
from products import bits

import fastmat as fm

SHAPE = (3, 4, 6)
WRONG_SHAPES = [(), (3,), (4, 6), (3, 4), (3, 6, 4), (1, 4, 6), (3, 1, 6), (1, 3, 4, 6), (3, 4, 7)]
BAD_ARRAYS = ["abc", b"abc", object(), {"a": 1}, None]
BAD_DTYPES = ["O", "U", "S", "g", "M8[s]", [("a", "f4")]]


def raises(error, match, op, given):
    """The call raises, with and without an out; no array is touched."""
    out = np.full(SHAPE, 7.0)
    before = [bits(part) for part in arrays(given).values()]
    for more in (None, out):
        with pytest.raises(error, match=match):
            called(op, given, more)
    assert (out == 7).all()
    assert [bits(part) for part in arrays(given).values()] == before


@pytest.mark.parametrize("variant", ALL)
def test_shapes_that_do_not_fit(variant):
    """The cotangent is held to the shape of the result, and statistics to that of the forward."""
    given, op = arguments(variant, values(SHAPE, "f8")), operation(variant)
    for key in ("cotangent", "result", "mean", "rstd", "weight"):
        if key not in given or (key == "result" and op != "logsumexp"):
            continue  # the result of softmax says itself what is right
        for shape in WRONG_SHAPES:
            if shape != np.shape(given[key]):
                raises(ValueError, key, op, {**given, key: np.ones(shape)})


@pytest.mark.parametrize("variant", ALL)
def test_dtypes_that_are_no_numbers(variant):
    given, op = arguments(variant, values(SHAPE, "f8")), operation(variant)
    for key, part in arrays(given).items():
        for dtype in BAD_DTYPES:
            wrong = np.zeros(part.shape, dtype)
            raises(TypeError, key, op, {**given, key: wrong})
        for wrong in BAD_ARRAYS[: -1 if key == "weight" else None]:
            raises(TypeError, key, op, {**given, key: wrong})


@pytest.mark.parametrize("op", OPS)
def test_cotangents_are_real(op):
    for dtype in ("f4", "f8"):
        given = arguments(op, values(SHAPE, dtype))
        for wrong in ("c8", "c16"):
            raises(
                TypeError, "cotangent", op, {**given, "cotangent": given["cotangent"].astype(wrong)}
            )


@pytest.mark.parametrize("op", [op for op in OPS if op in FIELDS])
def test_statistics_are_real(op):
    given = arguments(op, values(SHAPE, "f8"))
    for key in given.keys() & {"mean", "rstd", "weight"}:
        raises(TypeError, key, op, {**given, key: given[key].astype("c16")})


AXES = [
    ({"axis": 3}, ValueError, "axis"),
    ({"axis": -4}, ValueError, "axis"),
    ({"axis": (0, 7)}, ValueError, "axis"),
    ({"axis": (1, 1)}, ValueError, "axis"),
    ({"axis": (1, -2)}, ValueError, "axis"),
    ({"axis": 1.0}, TypeError, "axis"),
    ({"axis": "a"}, TypeError, "axis"),
    ({"axis": (0, 1.5)}, TypeError, "axis"),
]
NORMALIZED_SHAPES = [
    ({}, TypeError, "normalized_shape"),
    ({"normalized_shape": 6, "axis": -1}, TypeError, "normalized_shape"),
    ({"normalized_shape": 4}, ValueError, "normalized_shape"),
    ({"normalized_shape": ()}, ValueError, "normalized_shape"),
    ({"normalized_shape": (6, 4)}, ValueError, "normalized_shape"),
    ({"normalized_shape": (1, 3, 4, 6)}, ValueError, "normalized_shape"),
    ({"normalized_shape": 6.0}, TypeError, "normalized_shape"),
    ({"normalized_shape": "6"}, TypeError, "normalized_shape"),
]
OTHERS = [
    *(("group_norm", {"num_groups": n}, ValueError, "num_groups") for n in (0, -1, 3, 5, 8)),
    *(("group_norm", {"num_groups": n}, TypeError, "num_groups") for n in (2.0, None, "2", (2,))),
    *(
        ("normalize", {"ord": n}, ValueError, "ord")
        for n in (3, 0, -1, 0.5, np.nan, -np.inf, "fro", None)
    ),
    *(("normalize", {"eps": n}, TypeError, "eps") for n in ("a", 1j, [1.0, 2.0], None)),
]
WITH_AXIS = [op for op in OPS if op not in ("group_norm", "instance_norm", "batch_norm")]
KEYWORDS = [
    *((op, *case) for op in ("layer_norm", "rms_norm") for case in NORMALIZED_SHAPES),
    *((op, *case) for op in WITH_AXIS for case in AXES),
    *OTHERS,
]


@pytest.mark.parametrize(("op", "keywords", "error", "match"), KEYWORDS)
def test_bad_keywords(op, keywords, error, match):
    given = arguments(op, values(SHAPE, "f8"))
    for key in ("weight", "axis", "normalized_shape"):
        given.pop(key, None)
    raises(error, match, op, {**given, **keywords})


@pytest.mark.parametrize("op", ["group_norm", "instance_norm", "batch_norm"])
def test_too_few_dimensions(op):
    given = arguments(op, values(SHAPE, "f8"))
    for shape in ((), (4,)):
        wrong = {**given, "x": np.ones(shape), "cotangent": np.ones(shape)}
        with pytest.raises(ValueError, match="x"):
            called(op, wrong)


@pytest.mark.parametrize("op", OPS)
def test_bad_out(op):
    """Nothing is written to it."""
    given = arguments(op, values(SHAPE, "f8"))
    assert shape_of_gradient(given) == SHAPE
    read_only = np.full(SHAPE, 7.0)
    read_only.flags.writeable = False
    for out, error in [
        (np.full((3, 4), 7.0), ValueError),
        (np.full((3, 6, 4), 7.0), ValueError),
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
            called(op, given, out)
        assert guard is None or bits(out) == guard


@pytest.mark.parametrize("op", OPS)
def test_out_is_by_keyword_only(op):
    given, out = arguments(op, values(SHAPE, "f8")), np.full(SHAPE, 7.0)
    with pytest.raises(TypeError):
        getattr(fm, f"{op}_vjp")(*given.values(), *[None] * 5, out)
    assert (out == 7).all()
