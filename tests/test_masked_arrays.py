"""Masked reductions of `numpy.ma.MaskedArray`, in whose mask True means invalid."""

import numpy as np
import pytest
from masks import function, marks
from normals import values
from products import bits

import fastmat as fm

OPS = ("sum", "mean", "var", "std", "min", "max")
LIKE = {"rtol": 1e-6}  # NumPy adds up in the dtype of the array


def arrays(dtype="f4"):
    """Masked arrays, some with slices in which nothing is valid."""
    for shape in [(4, 5), (70, 90), (3, 4, 5)]:
        mask = ~marks(shape)
        mask[1] = True
        yield np.ma.MaskedArray(values(shape, dtype), mask)
        yield np.ma.MaskedArray(values(shape, dtype))
        yield np.ma.MaskedArray(values(shape, dtype), True)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_results_are_those_of_numpy_ma(dtype):
    for x in arrays(dtype):
        for op in OPS:
            for axis in (None, 0, 1, -1):
                for keepdims in (False, True):
                    result = function(op)(x, None, axis, keepdims)
                    with np.errstate(all="ignore"):
                        wanted = getattr(x, op)(axis=axis, keepdims=keepdims)
                    if wanted is np.ma.masked:
                        assert result is np.ma.masked
                        continue
                    assert np.shape(result) == np.shape(wanted)
                    assert isinstance(result, np.ma.MaskedArray) == (np.ndim(wanted) > 0)
                    missing = np.ma.getmaskarray(wanted)
                    np.testing.assert_array_equal(np.ma.getmaskarray(result), missing)
                    np.testing.assert_allclose(
                        np.ma.filled(result, 0).astype("f8"), np.ma.filled(wanted, 0), **LIKE
                    )


def test_counts_and_places():
    for x in arrays():
        for axis in (None, 0, 1):
            np.testing.assert_array_equal(fm.masked_count(x, None, axis), x.count(axis))
            for op in ("argmin", "argmax"):
                result = function(op)(x, None, axis)
                wanted = getattr(x, op)(axis=axis)
                there = np.asarray(x.count(axis)) > 0
                np.testing.assert_array_equal(~np.ma.getmaskarray(result), there)
                np.testing.assert_array_equal(
                    np.ma.getdata(result)[there], np.asarray(wanted)[there]
                )


def test_both_masks_must_hold():
    x = next(iter(arrays()))
    for mask in (marks(x.shape, 3), marks(x.shape[1:], 3), np.array(False)):
        both = np.ma.MaskedArray(x.data, x.mask | ~mask)
        for op in OPS:
            result, wanted = function(op)(x, mask, 1), function(op)(both, None, 1)
            assert bits(result.filled(7)) == bits(wanted.filled(7))
            np.testing.assert_array_equal(result.mask, wanted.mask)
        np.testing.assert_array_equal(fm.masked_count(x, mask, 1), both.count(1))


def test_correction_leaves_nothing_to_divide_by():
    x = np.ma.MaskedArray([[1.0, 2.0, 3.0], [1.0, 2.0, 9.0]], [[0, 0, 0], [0, 1, 1]])
    result = fm.masked_var(x, None, 1, correction=1)
    np.testing.assert_array_equal(result.mask, [False, True])
    assert result[0] == 1


def test_out():
    x = next(iter(arrays("f8")))
    for out in (np.zeros(5), np.ma.zeros(5)):
        assert fm.masked_sum(x, None, 0, out=out) is out
        np.testing.assert_allclose(np.asarray(out), x.sum(0).filled(0))
    out = np.ma.zeros(4)
    fm.masked_mean(x, None, 1, out=out)
    np.testing.assert_array_equal(out.mask, [False, True, False, False])


def test_initial():
    x = next(iter(arrays("f8")))
    np.testing.assert_array_equal(fm.masked_min(x, None, 1).mask, [False, True, False, False])
    assert fm.masked_min(x, None, 1, initial=-99.0)[0] == -99


def test_gradients_are_plain_arrays():
    x = next(iter(arrays("f8")))
    result = fm.masked_mean(x, None, 1)
    by_x = fm.masked_mean_vjp(np.ma.MaskedArray(np.ones(4), result.mask), x, None, 1)
    assert type(by_x) is np.ndarray
    shares = ~x.mask / np.maximum(x.count(1), 1)[:, None]
    np.testing.assert_allclose(by_x, shares)


def test_none_is_for_masked_arrays_only():
    with pytest.raises(TypeError, match="mask"):
        fm.masked_sum(np.ones(3), None)
