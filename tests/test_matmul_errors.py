"""Bad input of `fm.matmul`, `matvec`, `vecmat`, `vecdot`: the right exception, out untouched.

Dtypes that are not supported are in `test_matmul_dtypes.py`.
"""

import numpy as np
import pytest
from products import bits

import fastmat as fm

OPERATIONS = ("matmul", "matvec", "vecmat", "vecdot")
# Shapes of operands and result that fit.
FITTING = {
    "matmul": ((3, 4), (4, 5), (3, 5)),
    "matvec": ((3, 4), (4,), (3,)),
    "vecmat": ((4,), (4, 5), (5,)),
    "vecdot": ((3, 4), (3, 4), (3,)),
}

MISMATCHES = {
    "matmul": [
        ((2, 3), (4, 5)),
        ((3,), (4,)),
        ((3,), (4, 5)),
        ((2, 3), (4,)),
        ((2, 0), (1, 3)),
        ((2, 1), (3, 3)),
        ((0,), (1,)),
        ((5, 2, 3), (5, 4, 3)),
        ((2, 4, 3), (3, 3, 4)),
        ((2, 1, 4, 3), (3, 1, 3, 4)),
        ((0, 4, 3), (2, 3, 4)),
    ],
    "matvec": [
        ((2, 3), (4,)),
        ((2, 3), (2,)),
        ((2, 1), (3,)),
        ((2, 4, 3), (3, 3)),
    ],
    "vecmat": [
        ((4,), (3, 2)),
        ((2,), (3, 2)),
        ((1,), (3, 2)),
        ((2, 3), (3, 3, 4)),
    ],
    "vecdot": [
        ((3,), (4,)),
        ((2, 3), (2, 4)),
        ((2, 3), (3, 2)),
        ((1,), (3,)),
        ((2, 3), (3, 3)),
    ],
}
CASES = [(op, *shapes) for op, several in MISMATCHES.items() for shapes in several]


@pytest.mark.parametrize(("op", "shape1", "shape2"), CASES)
@pytest.mark.parametrize("dtype", ["f4", "i8", "f2", "?"])
def test_mismatched_shapes(op, shape1, shape2, dtype):
    """The message has both shapes."""
    x1, x2, out = np.ones(shape1, dtype), np.ones(shape2, dtype), np.ones((2, 4), dtype)
    for keywords in ({}, {"out": out}):
        with pytest.raises(ValueError, match=r"x[12]") as error:
            getattr(fm, op)(x1, x2, **keywords)
        assert str(shape1) in str(error.value)
        assert str(shape2) in str(error.value)
    assert bits(out) == bits(np.ones((2, 4), dtype))


@pytest.mark.parametrize(
    ("op", "shape1", "shape2"),
    [
        ("matmul", (), (3, 3)),
        ("matmul", (3, 3), ()),
        ("matmul", (), ()),
        ("matvec", (3,), (3,)),
        ("matvec", (), (3,)),
        ("matvec", (3, 3), ()),
        ("vecmat", (3,), (3,)),
        ("vecmat", (), (3, 3)),
        ("vecmat", (3,), ()),
        ("vecdot", (), (3,)),
        ("vecdot", (3,), ()),
        ("vecdot", (), ()),
    ],
)
def test_too_few_dimensions(op, shape1, shape2):
    bad = "x1" if len(shape1) < len(FITTING[op][0]) or (op == "vecdot" and not shape1) else "x2"
    if op in ("matmul", "vecdot"):
        bad = "x1" if not shape1 else "x2"
    with pytest.raises(ValueError, match=bad):
        getattr(fm, op)(np.ones(shape1), np.ones(shape2))


@pytest.mark.parametrize("op", OPERATIONS)
def test_python_scalars_are_not_operands(op):
    shape1, shape2, _ = FITTING[op]
    for scalar in (2, 2.5, 1j, True, np.float64(2)):
        with pytest.raises(ValueError, match="x1"):
            getattr(fm, op)(scalar, np.ones(shape2))
        with pytest.raises(ValueError, match="x2"):
            getattr(fm, op)(np.ones(shape1), scalar)


@pytest.mark.parametrize("op", OPERATIONS)
def test_ragged_lists(op):
    shape1, shape2, _ = FITTING[op]
    ragged = [[1, 2, 3, 4], [5, 6]]
    with pytest.raises(ValueError, match="x1"):
        getattr(fm, op)(ragged, np.ones(shape2))
    with pytest.raises(ValueError, match="x2"):
        getattr(fm, op)(np.ones(shape1), ragged)


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize(
    "bad", [None, object(), "text", {"a": 1}, b"bytes"], ids=lambda bad: type(bad).__name__
)
def test_what_is_no_array(op, bad):
    shape1, shape2, _ = FITTING[op]
    with pytest.raises((TypeError, ValueError), match="x1"):
        getattr(fm, op)(bad, np.ones(shape2))
    with pytest.raises((TypeError, ValueError), match="x2"):
        getattr(fm, op)(np.ones(shape1), bad)


@pytest.mark.parametrize("op", OPERATIONS)
def test_wrong_shape_of_out(op):
    shape1, shape2, shape = FITTING[op]
    x1, x2 = np.ones(shape1), np.ones(shape2)
    wrong = {
        tuple(n + 1 for n in shape),
        tuple(n - 1 for n in shape),
        (*shape[:-1], 1),
        (*shape, 2),
        shape[:-1],
        (0,),
    }
    for out_shape in wrong:
        out = np.full(out_shape, 7.0)
        with pytest.raises(ValueError, match="out") as error:
            getattr(fm, op)(x1, x2, out=out)
        assert str(out_shape) in str(error.value)
        assert str(shape) in str(error.value)
        assert (out == 7).all()


def test_out_may_not_be_smaller_than_the_batch():
    """An out of stride 1 in a batch that was broadcast would be written several times."""
    out = np.full((1, 3, 5), 7.0)
    for x1, x2 in [
        (np.ones((2, 3, 4)), np.ones((4, 5))),
        (np.ones((3, 4)), np.ones((2, 4, 5))),
        (np.ones((1, 3, 4)), np.ones((2, 4, 5))),
    ]:
        with pytest.raises(ValueError, match="out"):
            fm.matmul(x1, x2, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize(
    ("dtype", "out_dtype"),
    [
        ("f8", "i8"),
        ("f8", "?"),
        ("f4", "i4"),
        ("f2", "i2"),
        ("c8", "f4"),
        ("c16", "f8"),
        ("i8", "u8"),
        ("i4", "?"),
    ],
)
def test_wrong_dtype_of_out(op, dtype, out_dtype):
    """The message has the dtype of the result and that of out."""
    shape1, shape2, shape = FITTING[op]
    out = np.ones(shape, out_dtype)
    before = bits(out)
    with pytest.raises(TypeError, match="out") as error:
        getattr(fm, op)(np.ones(shape1, dtype), np.ones(shape2, dtype), out=out)
    assert np.dtype(dtype).name in str(error.value)
    assert str(np.dtype(out_dtype)) in str(error.value)
    assert bits(out) == before


@pytest.mark.parametrize("op", OPERATIONS)
def test_read_only_out(op):
    shape1, shape2, shape = FITTING[op]
    out = np.full(shape, 7.0)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"out.*read-only|read-only.*out"):
        getattr(fm, op)(np.ones(shape1), np.ones(shape2), out=out)
    assert (out == 7).all()
    out = np.broadcast_to(np.full((), 7.0), shape)
    with pytest.raises(ValueError, match="read-only"):
        getattr(fm, op)(np.ones(shape1), np.ones(shape2), out=out)


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("out", [[[0.0]], 1.0, "text", np.float64(0)], ids=repr)
def test_out_that_is_no_array(op, out):
    shape1, shape2, _ = FITTING[op]
    with pytest.raises(TypeError, match="out"):
        getattr(fm, op)(np.ones(shape1), np.ones(shape2), out=out)


@pytest.mark.parametrize("op", OPERATIONS)
def test_dtype_that_the_operands_cannot_be_cast_to(op):
    shape1, shape2, shape = FITTING[op]
    out = np.full(shape, 7, "i8")
    for dtypes, wanted, argument in [
        (("f8", "f8"), "i8", "x1"),
        (("i8", "f8"), "i8", "x2"),
        (("c8", "f4"), "f8", "x1"),
        (("i8", "i8"), "u8", "x1"),
        (("?", "i8"), "?", "x2"),
    ]:
        x1, x2 = np.ones(shape1, dtypes[0]), np.ones(shape2, dtypes[1])
        with pytest.raises(TypeError, match=argument) as error:
            getattr(fm, op)(x1, x2, dtype=wanted, out=out)
        assert np.dtype(wanted).name in str(error.value)
    assert (out == 7).all()


@pytest.mark.parametrize("op", OPERATIONS)
def test_signature_is_numpys(op):
    shape1, shape2, shape = FITTING[op]
    x1, x2 = np.ones(shape1), np.ones(shape2)
    function = getattr(fm, op)
    with pytest.raises(TypeError):
        function(x1=x1, x2=x2)
    with pytest.raises(TypeError):
        function(x1)
    with pytest.raises(TypeError):
        function(x1, x2, np.empty(shape), "f8")
    with pytest.raises(TypeError):
        function(x1, x2, dtype="no dtype")


def test_axis_of_vecdot():
    x, out = np.ones((2, 3)), np.full(2, 7.0)
    for axis in (2, -3, 5):
        with pytest.raises(ValueError, match="axis"):
            fm.vecdot(x, x, axis=axis, out=out)
    with pytest.raises(ValueError, match="axis"):
        fm.vecdot(x, np.ones(3), axis=-2, out=out)
    assert fm.vecdot(x[0], x[0]) is not None  # loads the kernel: from now on there is a short way
    for axis in (1.0, -1.0, "1", None, (1,), np.array([-1, -1])):
        with pytest.raises(TypeError):
            fm.vecdot(x, x, axis=axis, out=out)
        with pytest.raises(TypeError):
            fm.vecdot(x[0], x[0], axis=axis)
    assert (out == 7).all()
