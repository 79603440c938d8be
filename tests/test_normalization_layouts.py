"""Normalization of every memory layout, into every kind of `out`, of lists and tensors."""

import numpy as np
import pytest
from layouts import LAYOUTS, SAME_VALUES, WRITABLE, makers_for, outside
from normals import (
    VARIANTS,
    bound_of,
    channels_last,
    check,
    check_variant,
    fits,
    keywords_for,
    near,
    operation,
    reference,
    values,
)
from oracles import BOOL, COMPLEX, FLOATS, INTEGERS, name
from products import bits

import fastmat as fm


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
