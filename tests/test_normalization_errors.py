"""Bad input of normalization: the right exception, nothing touched."""

import numpy as np
import pytest
from normals import (
    check,
    values,
)
from products import bits

import fastmat as fm

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


@pytest.mark.parametrize("op", ["instance_norm", "batch_norm"])
def test_out_is_not_touched_by_a_bad_momentum(op):
    keywords = {**NORMAL_KEYWORDS[op], "running_mean": np.zeros(4), "running_var": np.ones(4)}
    out = np.full(SHAPE, 7.0)
    with pytest.raises(TypeError, match="momentum"):
        getattr(fm, op)(values(SHAPE, "f8"), **keywords, momentum="a", out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("op", ["instance_norm", "batch_norm"])
@pytest.mark.parametrize("given_statistics", [True, False])
def test_momentum_is_always_checked(op, given_statistics):
    """Also where no running statistics are updated."""
    use = "training" if op == "batch_norm" else "use_input_stats"
    running = {"running_mean": np.zeros(4), "running_var": np.ones(4)} if given_statistics else {}
    with pytest.raises(TypeError, match="momentum"):
        getattr(fm, op)(values(SHAPE, "f4"), **running, **{use: not given_statistics}, momentum="a")


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
