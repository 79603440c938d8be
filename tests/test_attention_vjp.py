"""`fm.scaled_dot_product_attention_vjp`: against the oracle, finite differences, and autograd."""

import numba
import numpy as np
import pytest
from attentions import MASKS, SHAPES, check_gradients, operands, options
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, WRITABLE
from oracles import FLOATS, name
from products import bits

import fastmat as fm

attend = fm.scaled_dot_product_attention
vjp = fm.scaled_dot_product_attention_vjp


def normal(shape, dtype, seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def both(q, k, v, seed=0, **keywords):
    """A cotangent, and the gradients that belong to it."""
    found = attend(q, k, v, **keywords, return_stats=True)
    g = normal(found.result.shape, found.result.dtype, seed)
    return g, vjp(g, q, k, v, *found, **keywords)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("kind", MASKS)
def test_shapes_and_masks(dtype, kind):
    for shape in SHAPES:
        check_gradients(*operands(shape, dtype), **options(kind, shape, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_depth_and_width(dtype):
    for side in range(1, 40):
        for shape in [((), (), (), 5, 7, side, 3), ((), (), (), 5, 7, 3, side)]:
            check_gradients(*operands(shape, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", ["none", "causal", "boolean"])
def test_edges_of_blocks(dtype, kind):
    for m, n in [(191, 33), (192, 193), (193, 31), (385, 17), (15, 385), (200, 200)]:
        shape = (), (), (), m, n, 5, 3
        check_gradients(*operands(shape, dtype), **options(kind, shape, dtype))


@pytest.mark.parametrize("kind", MASKS)
def test_finite_differences(kind):
    """Of the inner product with the cotangent, at each number."""
    shape = (2,), (1,), (), 6, 9, 4, 3
    arrays, keywords = operands(shape, "f8"), options(kind, shape, "f8")
    g, gradients = both(*arrays, **keywords)
    step = 1e-5
    for x, gradient in zip(arrays, gradients, strict=True):
        for place in np.ndindex(x.shape):
            was, values = x[place], []
            for moved in (was + step, was - step):
                x[place] = moved
                values.append(float((g * attend(*arrays, **keywords)).sum()))
            x[place] = was
            assert abs((values[0] - values[1]) / (2 * step) - gradient[place]) < 1e-8


@pytest.mark.parametrize("kind", MASKS)
def test_as_autograd(kind):
    torch = pytest.importorskip("torch")
    for shape in SHAPES[1:]:
        arrays, keywords = operands(shape, "f8"), options(kind, shape, "f8")
        g, gradients = both(*arrays, **keywords)
        tensors = [torch.from_numpy(x).requires_grad_() for x in arrays]
        mask, batch = keywords.get("mask"), g.shape[:-2]
        result = torch.nn.functional.scaled_dot_product_attention(
            *(x.expand(*batch, *x.shape[-2:]) for x in tensors),
            attn_mask=None if mask is None else torch.from_numpy(np.array(mask)),
            is_causal="is_causal" in keywords,
        )
        result.backward(torch.from_numpy(g))
        for gradient, tensor in zip(gradients, tensors, strict=True):
            expected = np.nan_to_num(tensor.grad.numpy())  # NaN where a query sees no key
            np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_scale(dtype):
    arrays = operands(((), (), (), 9, 40, 8, 5), dtype)
    for scale in (1, 0, -0.5, 3.0):
        check_gradients(*arrays, scale=scale)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_scores(dtype):
    for size in (3, 30):
        shape = (), (), (), 40, 300, 16, 8
        for kind in ("none", "causal", "boolean"):
            arrays = operands(shape, dtype, size=size)
            check_gradients(*arrays, **options(kind, shape, dtype))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_empty(dtype):
    for shape in [
        ((), (), (), 0, 3, 2, 2),
        ((0,), (0,), (0,), 4, 3, 2, 2),
        ((2, 0), (1,), (), 4, 3, 2, 2),
        ((), (), (), 4, 3, 2, 0),
        ((2,), (2,), (2,), 4, 0, 2, 3),
        ((), (), (), 4, 3, 0, 2),
    ]:
        check_gradients(*operands(shape, dtype))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_queries_that_see_no_key(dtype):
    q, k, v = operands(((), (), (), 40, 300, 8, 5), dtype)
    for mask in (
        np.zeros((40, 300), bool),
        np.arange(40)[:, np.newaxis] % 2 == np.zeros(300),
        np.where(np.arange(40)[:, np.newaxis] % 3, 0, np.full((40, 300), -np.inf)).astype(dtype),
    ):
        found = check_gradients(q, k, v, mask=mask)
        blind = ~mask.any(1) if mask.dtype == bool else np.isneginf(mask).all(1)
        assert not np.asarray(found.q[blind], "f8").any()
        assert all(np.isfinite(np.asarray(x, "f8")).all() for x in found)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_is_hidden_takes_no_part(dtype):
    """Its gradient is 0, and NaN or infinities there do not reach any other."""
    q, k, v = operands(((2,), (2,), (2,), 70, 450, 8, 13), dtype)
    mask = np.arange(450) < np.array([300, 7])[:, np.newaxis, np.newaxis]
    _, clean = both(q, k, v, mask=mask)
    assert not clean.k[0, 300:].any()
    assert not clean.v[1, 7:].any()
    for bad in (np.nan, np.inf, -np.inf):
        dirty_k, dirty_v = k.copy(), v.copy()
        for x in (dirty_k, dirty_v):
            x[0, 300:], x[1, 7:] = bad, bad
        _, found = both(q, dirty_k, dirty_v, mask=mask)
        assert [bits(x + 0.0) for x in found] == [bits(x + 0.0) for x in clean]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_later_keys_take_no_part(dtype):
    q, k, v = operands(((2,), (2,), (2,), 300, 300, 8, 13), dtype)
    _, clean = both(q, k, v, is_causal=True)
    for place in (1, 20, 33, 200, 299):
        for x in (k, v):
            dirty = x.copy()
            dirty[:, place, 5] = np.nan
            arrays = (q, dirty, v) if x is k else (q, k, dirty)
            _, found = both(*arrays, is_causal=True)
            assert bits(found.q[:, :place] + 0.0) == bits(clean.q[:, :place] + 0.0)
            assert np.isnan(found.q[:, place:]).all()
        dirty = q.copy()  # a query that earlier keys see, and later ones do not
        dirty[:, place, 5] = np.nan
        _, found = both(dirty, k, v, is_causal=True)
        for part, was in ((found.k, clean.k), (found.v, clean.v)):
            assert np.isnan(part[:, : place + 1]).all()
            assert bits(part[:, place + 1 :] + 0.0) == bits(was[:, place + 1 :] + 0.0)


def test_nan_of_the_cotangent():
    q, k, v = operands(((), (), (), 40, 300, 8, 5), "f4")
    found = attend(q, k, v, return_stats=True)
    g = normal((40, 5), "f4")
    clean = vjp(g, q, k, v, *found)
    g[7, 2] = np.nan
    dirty = vjp(g, q, k, v, *found)
    assert np.isnan(dirty.q[7]).all()
    assert bits(np.delete(dirty.q, 7, 0)) == bits(np.delete(clean.q, 7, 0))
    assert np.isnan(dirty.k).all()
    assert np.isnan(dirty.v[:, 2]).all()
    assert bits(np.delete(dirty.v, 2, 1)) == bits(np.delete(clean.v, 2, 1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_layouts(dtype, layout):
    maker, shape = LAYOUTS[layout], ((2,), (2,), (2,), 40, 210, 9, 16)
    arrays = [maker(x) for x in operands(shape, dtype)]
    for kind in ("none", "boolean", "additive"):
        keywords = options(kind, shape, dtype)
        if "mask" in keywords:
            keywords["mask"] = maker(keywords["mask"])
        found = attend(*arrays, **keywords, return_stats=True)
        g = maker(normal(found.result.shape, dtype))
        statistics = maker(found.result), maker(found.logsumexp)
        if layout.startswith("broadcast"):
            statistics = found
        gradients = vjp(g, *arrays, *statistics, **keywords)
        same = [np.array(x, order="C").astype(dtype) for x in (g, *arrays)]
        expected = vjp(*same, *found, **keywords)
        assert [bits(x) for x in gradients] == [bits(x) for x in expected]


def test_dtypes_of_the_arguments():
    q, k, v = operands(((), (), (), 5, 7, 4, 3), "f4")
    check_gradients(q.astype("f8"), k, v)
    check_gradients(q, k.astype("f2"), v)


@pytest.mark.parametrize("layout", sorted(WRITABLE))
def test_out(layout):
    arrays = operands(((2,), (2,), (2,), 40, 50, 9, 6), "f4")
    found = attend(*arrays, return_stats=True)
    g = normal(found.result.shape, "f4")
    expected = vjp(g, *arrays, *found)
    out = tuple(WRITABLE[layout](np.full(x.shape, 7, "f4")) for x in arrays)
    gradients = vjp(g, *arrays, *found, out=out)
    assert all(x is y for x, y in zip(gradients, out, strict=True))
    assert [bits(x) for x in out] == [bits(x) for x in expected]
    gradients = vjp(g, *arrays, *found, out=[None, out[1], None])
    assert gradients.k is out[1]
    assert [bits(x) for x in gradients] == [bits(x) for x in expected]


def test_out_of_arguments_that_were_broadcast():
    arrays = operands(((2, 3), (1,), (), 9, 21, 6, 5), "f4")
    found = attend(*arrays, return_stats=True)
    g = normal(found.result.shape, "f4")
    expected = vjp(g, *arrays, *found)
    for dtype in ("f4", "f8", "f2"):
        out = tuple(np.full(x.shape, 7, dtype) for x in arrays)
        vjp(g, *arrays, *found, out=out)
        for x, y in zip(out, expected, strict=True):
            np.testing.assert_array_equal(x, y.astype(dtype))


def test_out_that_overlaps_the_arguments():
    arrays = operands(((2,), (2,), (2,), 50, 50, 8, 8), "f4")
    found = attend(*arrays, return_stats=True)
    g = normal(found.result.shape, "f4")
    expected = [bits(x) for x in vjp(g, *arrays, *found)]
    assert [bits(x) for x in vjp(g, *arrays, *found, out=(g.copy(), None, None))] == expected
    for order in [(0, 1, 2), (2, 0, 1), (1, 2, 0)]:
        own = [x.copy() for x in arrays]
        vjp(g, *own, *found, out=[own[i] for i in order])
        assert [bits(own[i]) for i in order] == expected
    own = g.copy(), found.result.copy()
    vjp(own[0], *arrays, own[1], found.logsumexp, out=(own[0], own[1], None))
    assert [bits(x) for x in own] == expected[:2]


def test_same_bits_at_any_number_of_threads():
    for shape in [((8,), (2, 1), (8,), 300, 500, 64, 64), ((), (), (), 1000, 700, 16, 8)]:
        for kind in ("none", "causal", "boolean", "additive"):
            arrays, keywords = operands(shape, "f4"), options(kind, shape, "f4")
            found = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                found.add(b"".join(bits(x) for x in both(*arrays, **keywords)[1]))
            assert len(found) == 1


def test_pytorch_tensors():
    torch = pytest.importorskip("torch")
    arrays = operands(((2,), (2,), (2,), 9, 12, 4, 3), "f4")
    found = attend(*arrays, return_stats=True)
    g = normal(found.result.shape, "f4")
    tensors = [torch.from_numpy(x) for x in (g, *arrays)]
    gradients = vjp(*tensors, *found)
    for x, y in zip(gradients, vjp(g, *arrays, *found), strict=True):
        assert isinstance(x, torch.Tensor)
        assert bits(x.numpy()) == bits(y)


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(["none", "causal", "boolean", "keys", "queries", "additive", "bias"]),
    st.sampled_from(["f2", "f4", "f8"]),
    st.integers(0, 10),
)
def test_random_calls(m, n, depth, width, kind, dtype, seed):
    shape = (), (), (), m, n, depth, width
    check_gradients(*operands(shape, dtype, seed), **options(kind, shape, dtype, seed))
