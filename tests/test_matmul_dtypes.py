"""`fm.matmul`: promotion of mixed dtypes, `dtype=`, and what is not supported."""

from itertools import product

import numpy as np
import pytest
from oracles import BFLOAT16, DTYPES, HALVES, INTEGERS, name
from products import any_bits, check, same, small_integers

import fastmat as fm

PAIRS = list(product(DTYPES, DTYPES))


def promoted(dtype1, dtype2):
    """NumPy's promotion, or None where it has none (bfloat16 with float16 or wider integers)."""
    try:
        return np.result_type(dtype1, dtype2)
    except TypeError:
        return None


@pytest.mark.parametrize("dtype1", DTYPES, ids=name)
def test_mixed_dtypes_promote(dtype1):
    for dtype2 in DTYPES:
        x1, x2 = small_integers((5, 4), dtype1, 1), small_integers((4, 20), dtype2, 2)
        if promoted(dtype1, dtype2) is None:
            with pytest.raises(TypeError):
                fm.matmul(x1, x2)
            continue
        result = check("matmul", x1, x2)
        if BFLOAT16 not in (dtype1, dtype2):
            assert result.dtype == np.matmul(x1, x2).dtype


@pytest.mark.parametrize("dtype1", DTYPES, ids=name)
def test_mixed_dtypes_in_bigger_products(dtype1):
    for dtype2 in DTYPES:
        if promoted(dtype1, dtype2) is not None:
            x1, x2 = small_integers((37, 70), dtype1, 1), small_integers((70, 41), dtype2, 2)
            check("matmul", x1, x2)


@pytest.mark.parametrize("wanted", DTYPES, ids=name)
def test_dtype_casts_the_operands_as_numpy_does(wanted):
    """The sum is made in the dtype asked for; a cast that is not `same_kind` is a TypeError."""
    for dtype in DTYPES:
        x1, x2 = small_integers((5, 4), dtype, 1), small_integers((4, 6), dtype, 2)
        if np.can_cast(dtype, wanted, "same_kind"):
            check("matmul", x1, x2, dtype=wanted)
        else:
            with pytest.raises(TypeError):
                fm.matmul(x1, x2, dtype=wanted)


@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_dtype_widens_integer_sums(dtype):
    """No wrap-around where the dtype asked for has room."""
    wide = "i8" if dtype.kind == "i" else "u8"
    x1, x2 = any_bits((20, 30), dtype, 1), any_bits((30, 20), dtype, 2)
    result = check("matmul", x1, x2, dtype=wide)
    if dtype.itemsize <= 2:
        assert (result.astype(object) == x1.astype(object) @ x2.astype(object)).all()


@pytest.mark.parametrize("dtype", HALVES, ids=name)
def test_dtype_keeps_float32_sums_of_halves(dtype):
    x1, x2 = np.full((20, 4096), 1, dtype), np.full((4096, 20), 1, dtype)
    x1[:, 0] = 1.0078125
    result = check("matmul", x1, x2, dtype="f4")
    assert result[0, 0] == np.float32(4096.0078125)


def test_dtype_may_be_spelled_in_many_ways():
    x1, x2 = small_integers((3, 4), "i4", 1), small_integers((4, 3), "i4", 2)
    for spelling in ("float32", "f4", np.float32, np.dtype("f4"), ">f4"):
        result = fm.matmul(x1, x2, dtype=spelling)
        same(result, (x1 @ x2).astype("f4"))
    assert fm.matmul(x1, x2, dtype=float).dtype == np.float64
    assert fm.matmul(x1, x2, dtype=None).dtype == np.int32


def test_array_likes():
    """Nested lists and tuples become arrays as in NumPy."""
    same(fm.matmul([[1, 2], [3, 4]], [[5, 6], [7, 8]]), np.array([[19, 22], [43, 50]]))
    same(fm.matmul([[1.5, 2]], ((1,), (2,))), np.array([[5.5]]))
    same(fm.matmul([1, 2, 3], [4, 5, 6]), np.int64(32))
    same(fm.matmul([[True, False]], [[False], [True]]), np.array([[False]]))
    same(fm.matmul([1j, 2], np.ones((2, 2), "f4")), np.full(2, 2 + 1j))
    same(fm.matmul([], []), np.float64(0))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses_of_ndarray(tmp_path):
    x1, x2 = small_integers((3, 4), "f8", 1), small_integers((4, 3), "f8", 2)
    mapped = np.memmap(tmp_path / "x1", np.float64, "w+", shape=(3, 4))
    mapped[...] = x1
    for left, right in [(np.matrix(x1), x2), (x1, np.matrix(x2)), (mapped, x2)]:
        same(np.asarray(fm.matmul(left, right)), x1 @ x2)


def test_torch_tensors_come_back_as_torch_tensors():
    torch = pytest.importorskip("torch")
    x1, x2 = small_integers((13, 14), "f4", 1), small_integers((14, 15), "f4", 2)
    result = fm.matmul(torch.from_numpy(x1), torch.from_numpy(x2))
    assert isinstance(result, torch.Tensor)
    same(result.numpy(), x1 @ x2)


@pytest.mark.parametrize(
    "bad",
    [
        np.ones((3, 3), object),
        np.ones((3, 3), "S3"),
        np.ones((3, 3), "U3"),
        np.ones((3, 3), "M8[s]"),
        np.ones((3, 3), "m8[s]"),
        np.ones((3, 3), np.longdouble),
        np.ones((3, 3), np.clongdouble),
        np.ones((3, 3), [("field", "f4")]),
        np.ones((3, 3), "V4"),
        [["a", "b", "c"]] * 3,
        [[None, 1, 2]] * 3,
    ],
    ids=lambda x: str(np.asarray(x).dtype),
)
def test_other_dtypes_raise(bad):
    """The message names the argument, its dtype, and what is supported."""
    good, out = np.ones((3, 3)), np.full((3, 3), 7.0)
    dtype = str(np.asarray(bad).dtype)
    for arguments, argument in [((bad, good), "x1"), ((good, bad), "x2")]:
        with pytest.raises(TypeError) as error:
            fm.matmul(*arguments, out=out)
        message = str(error.value)
        assert argument in message
        assert dtype in message
        for supported in DTYPES:
            assert supported.name in message
    assert (out == 7).all()


@pytest.mark.parametrize("dtype", [object, "S3", "M8[s]", np.longdouble, "V4"])
def test_other_dtypes_cannot_be_asked_for(dtype):
    with pytest.raises(TypeError, match="float64"):
        fm.matmul(np.ones((3, 3)), np.ones((3, 3)), dtype=dtype)
