"""`fm.scaled_dot_product_attention`: shapes, masks, values. Gradients have a file of their own."""

import itertools

import attention_oracles
import numba
import numpy as np
import pytest
from attentions import MASKS, SHAPES, check, operands, options
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, WRITABLE, base_of
from oracles import BFLOAT16, FLOATS, name
from products import bits

import fastmat as fm

attend = fm.scaled_dot_product_attention


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("kind", MASKS)
def test_shapes_and_masks(dtype, kind):
    for shape in SHAPES:
        check(*operands(shape, dtype), **options(kind, shape, dtype))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", MASKS)
def test_all_edges(dtype, kind):
    sides = [1, 2, 11, 12, 13, 15, 16, 17, 31, 32, 33, 127, 128, 129, 191, 192, 193, 385]
    for m, n in itertools.product(sides, sides):
        for depth, width in [(1, 13), (12, 4), (17, 3)]:
            shape = (), (), (), m, n, depth, width
            check(*operands(shape, dtype), **options(kind, shape, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_depth_and_width(dtype):
    for side in range(1, 40):
        for shape in [((), (), (), 5, 7, side, 3), ((), (), (), 5, 7, 3, side)]:
            check(*operands(shape, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_deep_and_wide(dtype):
    for depth, width in [(500, 2), (2, 500), (400, 400)]:
        check(*operands(((), (), (), 40, 200, depth, width), dtype))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("kind", ["none", "causal"])
def test_many_keys(dtype, kind):
    """More than are packed at once, and heads that share them."""
    shape = (3,), (1,), (), 40, 5000, 8, 8
    check(*operands(shape, dtype), **options(kind, shape, dtype))


def test_more_keys_than_are_packed_at_once():
    q, k, v = operands(((5,), (5,), (5,), 3, 9000, 40, 40), "f4")
    found = check(q, k, v).result
    for i in range(5):
        assert bits(found[i]) == bits(attend(q[i], k[i], v[i]))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_scale(dtype):
    q, k, v = operands(((), (), (), 9, 40, 8, 5), dtype)
    for scale in (1, 0, -0.5, 3.0, np.float32(0.25), True):
        check(q, k, v, scale=scale)
    assert bits(attend(q, k, v, None, False, 1 / 8**0.5)) == bits(attend(q, k, v))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_scores(dtype):
    """Weights of every size, down to those that count as 0; nothing overflows."""
    for size in (5, 30, 1e3):
        shape = (), (), (), 40, 500, 16, 8
        q, k, v = operands(shape, dtype, size=size)
        for kind in ("none", "causal", "boolean"):
            check(q, k, v, **options(kind, shape, dtype))


def test_scores_that_grow_and_fall():
    """The largest score is found in the first block of keys, in the last, and in each anew."""
    for sign in (1, -1):
        k = sign * np.linspace(-20, 20, 1000, dtype="f4")[:, np.newaxis]
        v = np.random.default_rng(0).standard_normal((1000, 3)).astype("f4")
        check(np.array([[1.0], [-1.0], [0.0]], "f4"), k, v)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_empty(dtype):
    for shape in [
        ((), (), (), 0, 3, 2, 2),
        ((0,), (0,), (0,), 4, 3, 2, 2),
        ((2, 0), (1,), (), 4, 3, 2, 2),
        ((), (), (), 4, 3, 2, 0),
    ]:
        found = check(*operands(shape, dtype))
        assert found.result.size == 0
    q, k, v = operands(((2,), (2,), (2,), 4, 0, 2, 3), dtype)
    for keywords in ({}, {"is_causal": True}, {"mask": np.ones((4, 0), bool)}):
        found = check(q, k, v, **keywords)
        assert not np.asarray(found.result, "f4").any()
        assert (found.logsumexp == -np.inf).all()
    q, k, v = operands(((), (), (), 4, 3, 0, 2), dtype)  # scores without terms: the mean
    check(q, k, v)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_queries_that_see_no_key(dtype):
    q, k, v = operands(((), (), (), 40, 300, 8, 5), dtype)
    for mask in (
        np.zeros((40, 300), bool),
        np.arange(40)[:, np.newaxis] % 2 == np.zeros(300),
        np.where(np.arange(40)[:, np.newaxis] % 3, 0, np.full((40, 300), -np.inf)).astype(dtype),
    ):
        found = check(q, k, v, mask=mask)
        blind = ~mask.any(1) if mask.dtype == bool else np.isneginf(mask).all(1)
        assert bits(found.result[blind]) == bits(np.zeros_like(found.result[blind]))
        assert (found.logsumexp[blind] == -np.inf).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_is_hidden_takes_no_part(dtype):
    """Not even NaN and infinities: of keys of a padded sequence, of later keys."""
    shape = (2,), (2,), (2,), 70, 450, 8, 13
    q, k, v = operands(shape, dtype)
    mask = np.arange(450) < np.array([300, 7])[:, np.newaxis, np.newaxis]
    clean = attend(q, k, v, mask=mask)
    for bad in (np.nan, np.inf, -np.inf):
        dirty_k, dirty_v = k.copy(), v.copy()
        for x in (dirty_k, dirty_v):
            x[0, 300:], x[1, 7:] = bad, bad
        assert bits(attend(q, dirty_k, dirty_v, mask=mask)) == bits(clean)
    clean = attend(q, k, v, is_causal=True)
    for place in (1, 20, 33, 69, 70, 300):
        dirty = v.copy()
        dirty[:, place, 5] = np.nan
        found = attend(q, k, dirty, is_causal=True)
        assert bits(found[:, :place]) == bits(clean[:, :place])
        assert np.isnan(found[:, place:, 5]).all()
        assert bits(np.delete(found, 5, -1)) == bits(np.delete(clean, 5, -1))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_and_inf_of_what_is_seen(dtype):
    q, k, v = operands(((), (), (), 40, 300, 8, 5), dtype)
    clean = attend(q, k, v)
    for x, row, rows, columns in [
        (q, 3, np.s_[3], np.s_[:]),
        (k, 3, np.s_[:], np.s_[:]),
        (v, 3, np.s_[:], np.s_[2]),
    ]:
        was = x[row, 2]
        x[row, 2] = np.nan
        found = attend(q, k, v)
        expected = clean.copy()
        expected[rows, columns] = np.nan
        x[row, 2] = was
        np.testing.assert_array_equal(found, expected)
    v[7, 1] = np.inf
    assert (attend(q, k, v)[:, 1] == np.inf).all()
    q[:, 0], k[9, 0] = 1, np.inf  # a score of +inf
    assert np.isnan(attend(q, k, v)).all()
    k[9, 0] = -np.inf  # one of -inf: weighs nothing
    v[7, 1] = 0
    keys = np.delete(k, 9, 0), np.delete(v, 9, 0)
    np.testing.assert_allclose(
        attend(q, k, v).astype("f8"), attend(q, *keys).astype("f8"), rtol=2e-3, atol=1e-3
    )


def test_additive_masks_are_arithmetic():
    q, k, v = operands(((), (), (), 5, 30, 8, 5), "f4")
    mask = np.zeros((5, 30), "f4")
    mask[2, 7] = np.nan
    mask[3, 7] = np.inf
    found = attend(q, k, v, mask=mask)
    assert np.isnan(found[2:4]).all()
    assert np.isfinite(found[[0, 1, 4]]).all()


def test_bool_bytes_of_any_value():
    mask = np.random.default_rng(0).integers(0, 3, (40, 70)).astype(np.uint8) * 77
    q, k, v = operands(((), (), (), 40, 70, 8, 5), "f4")
    assert bits(attend(q, k, v, mask=mask.view(bool))) == bits(attend(q, k, v, mask=mask != 0))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_masks_that_say_the_same(dtype):
    """Causality, a boolean mask, an additive one."""
    q, k, v = operands(((2,), (2,), (2,), 100, 300, 8, 5), dtype)
    seen = np.tril(np.ones((100, 300), bool))
    expected = attend(q, k, v, is_causal=True)
    assert bits(attend(q, k, v, mask=seen)) == bits(expected)
    assert bits(attend(q, k, v, mask=np.where(seen, 0.0, -np.inf))) == bits(expected)
    everything = attend(q, k, v)
    assert bits(attend(q, k, v, mask=True)) == bits(everything)
    assert bits(attend(q, k, v, mask=0.0)) == bits(everything)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_layouts(dtype, layout):
    maker = LAYOUTS[layout]
    for shape in [((2,), (2,), (2,), 40, 50, 9, 6), ((), (), (), 20, 200, 16, 32)]:
        arrays = [maker(x) for x in operands(shape, dtype)]
        for kind in ("none", "boolean", "additive"):
            keywords = options(kind, shape, dtype)
            if "mask" in keywords:
                keywords["mask"] = maker(keywords["mask"])
            found = check(*arrays, **keywords)
            same = [np.array(x, order="C").astype(dtype) for x in arrays]
            assert bits(found.result) == bits(attend(*same, **keywords))


def test_heads_between_queries_and_depth():
    """(items, queries, heads, depth), as projections leave them."""
    q, k, v = operands(((2, 70), (2, 90), (2, 90), 3, 3, 16, 8), "f4")
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    out = np.empty((2, 70, 3, 8), "f4").swapaxes(1, 2)
    assert attend(q, k, v, out=out) is out
    assert bits(out) == bits(check(q, k, v).result)


def test_heads_that_share_keys():
    """Grouped queries: as if keys and values had been repeated."""
    q, k, v = operands(((2, 2, 3), (2, 2, 1), (2, 2, 1), 40, 250, 8, 5), "f4")
    for keywords in ({}, {"is_causal": True}):
        found = check(q, k, v, **keywords).result
        repeated = (np.repeat(x, 3, axis=2) for x in (k, v))
        assert bits(found) == bits(attend(q, *repeated, **keywords))


@pytest.mark.parametrize("batch", [(2, 3, 2), (2, 2, 1, 3, 2)])
def test_many_leading_axes(batch):
    for kind in ("none", "boolean", "additive"):
        shape = batch, batch, batch[1:], 6, 9, 4, 3
        q, k, v = operands(shape, "f4")
        keywords = options(kind, shape, "f4")
        check(q, k, v, **keywords)
        swapped = q.copy().swapaxes(0, -3), k[::-1], v
        if swapped[0].shape == q.shape:
            check(*swapped, **keywords)


def test_dtypes_promote():
    rows = [("f2", "f4", "f2"), ("f4", "f4", "f8"), (BFLOAT16, "f4", BFLOAT16)]
    for first, second, third in rows:
        q, k, v = operands(((), (), (), 5, 7, 4, 3), "f8")
        found = check(q.astype(first), k.astype(second), v.astype(third))
        assert found.result.dtype == np.result_type(first, second, third)


def test_lists():
    assert attend([[0.0]], [[1.0], [2.0]], [[2.0], [4.0]]).tolist() == [[3.0]]


@pytest.mark.parametrize("layout", sorted(WRITABLE))
def test_out(layout):
    q, k, v = operands(((2,), (2,), (2,), 40, 50, 9, 6), "f4")
    expected = attend(q, k, v)
    out = WRITABLE[layout](np.full(expected.shape, 7, "f4"))
    around = base_of(out).nbytes
    found, _ = attend(q, k, v, out=out, return_stats=True)
    assert found is out
    assert base_of(out).nbytes == around
    assert bits(out) == bits(expected)


def test_out_of_another_dtype():
    q, k, v = operands(((), (), (), 40, 50, 9, 6), "f4")
    for dtype in ("f2", "f8", "c8"):
        out = np.full((40, 6), 7, dtype)
        attend(q, k, v, out=out)
        np.testing.assert_array_equal(out, attend(q, k, v).astype(dtype))


def test_out_that_overlaps():
    q, k, v = operands(((2,), (2,), (2,), 50, 50, 8, 8), "f4")
    expected = attend(q, k, v)
    for which in range(3):
        arrays = [q.copy(), k.copy(), v.copy()]
        attend(*arrays, out=arrays[which])
        assert bits(arrays[which]) == bits(expected)
    memory = np.concatenate([q.ravel(), np.zeros(24, "f4")])
    out = memory[24:].reshape(q.shape)
    attend(memory[: q.size].reshape(q.shape), k, v, out=out)
    assert bits(out) == bits(expected)
    mask = np.random.default_rng(0).standard_normal((50, 50)).astype("f4")
    expected = attend(q[0], k[0], v[0], mask=mask)
    attend(q[0], k[0], v[0], mask=mask, out=mask[:, 3:11])
    assert bits(mask[:, 3:11]) == bits(expected)


def test_same_bits_at_any_number_of_threads():
    for shape in [((8,), (8,), (8,), 300, 500, 64, 64), ((), (), (), 1000, 700, 16, 8)]:
        for kind in MASKS:
            q, k, v = operands(shape, "f4")
            keywords, found = options(kind, shape, "f4"), set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                found.add(bits(attend(q, k, v, **keywords)))
            assert len(found) == 1


def test_heads_do_not_influence_each_other():
    q, k, v = operands(((6,), (6,), (6,), 50, 300, 16, 8), "f4")
    together = attend(q, k, v)
    for i in range(6):
        assert bits(attend(q[i], k[i], v[i])) == bits(together[i])


def test_weights_add_up_to_one():
    q, k, v = operands(((), (), (), 70, 900, 16, 8), "f4", size=3)
    found = attend(q, k, np.ones_like(v))
    np.testing.assert_allclose(found, 1, rtol=1e-4)


def test_pytorch_tensors():
    torch = pytest.importorskip("torch")
    q, k, v = operands(((2,), (2,), (2,), 9, 12, 4, 3), "f4")
    tensors = [torch.from_numpy(x) for x in (q, k, v)]
    found = attend(*tensors)
    assert isinstance(found, torch.Tensor)
    assert bits(found.numpy()) == bits(attend(q, k, v))
    out = torch.zeros(2, 9, 3)
    assert attend(*tensors, mask=torch.ones(9, 12, dtype=bool), out=out) is out
    assert bits(out.numpy()) == bits(attend(q, k, v))


@pytest.mark.parametrize("kind", MASKS)
def test_as_pytorch(kind):
    torch = pytest.importorskip("torch")
    for shape in SHAPES[:10]:
        q, k, v = operands(shape, "f8")
        keywords = options(kind, shape, "f8")
        mask = keywords.get("mask")
        if shape[3:5] == (1, 1) and mask is not None:
            continue
        expected = torch.nn.functional.scaled_dot_product_attention(
            *(torch.from_numpy(x) for x in (q, k, v)),
            attn_mask=None if mask is None else torch.from_numpy(np.array(mask)),
            is_causal="is_causal" in keywords,
        )
        np.testing.assert_allclose(attend(q, k, v, **keywords), expected, rtol=1e-9, atol=1e-12)


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(MASKS),
    st.sampled_from(["f2", "f4", "f8"]),
    st.integers(0, 10),
)
def test_random_calls(m, n, depth, width, kind, dtype, seed):
    shape = (), (), (), m, n, depth, width
    if kind == "sparse" and m * n == 0:
        kind = "boolean"
    q, k, v = operands(shape, dtype, seed)
    check(q, k, v, **options(kind, shape, dtype, seed))


def test_the_oracle_on_numbers_by_hand():
    """Weights 1/4 and 3/4, where the difference of the scores is log(3)."""
    q, k = np.array([[1.0]]), np.array([[0.0], [np.log(3)]])
    found = attention_oracles.attention(q, k, np.array([[0.0], [4.0]]))
    assert np.allclose(np.float64(found.result), 3)
    assert np.allclose(np.float64(found.logsumexp), np.log(4))
