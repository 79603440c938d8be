"""Attention and its gradients in compiled code: the bits of the call from Python."""

import numba
import numpy as np
import pytest
from attentions import MASKS, operands, options
from layouts import LAYOUTS
from numba import njit, prange
from numba.core.errors import TypingError
from products import bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")
attend = fm.scaled_dot_product_attention
vjp = fm.scaled_dot_product_attention_vjp


@njit
def plain(q, k, v):
    return fm.scaled_dot_product_attention(q, k, v)


@njit
def with_all(q, k, v, mask, is_causal, scale):
    return fm.scaled_dot_product_attention(q, k, v, mask, is_causal, scale, return_stats=True)


@njit
def into(q, k, v, out):
    return fm.scaled_dot_product_attention(q, k, v, out=out)


@njit
def differentiated(g, q, k, v, mask, is_causal):
    found = fm.scaled_dot_product_attention(q, k, v, mask, is_causal, return_stats=True)
    of_result = found.result, found.logsumexp
    return fm.scaled_dot_product_attention_vjp(g, q, k, v, *of_result, mask, is_causal)


@njit
def differentiated_into(g, q, k, v, out):
    found = fm.scaled_dot_product_attention(q, k, v, return_stats=True)
    return fm.scaled_dot_product_attention_vjp(g, q, k, v, found.result, found.logsumexp, out=out)


def same(found, expected):
    """Equal bits, and as many arrays, shapes and dtypes."""
    for x, y in zip(found, expected, strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        assert bits(x) == bits(y)


def cotangent(shape, dtype):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("kind", MASKS)
def test_masks(kind):
    shape = (2,), (2,), (2,), 70, 250, 9, 6
    arrays, keywords = operands(shape, "f4"), options(kind, shape, "f4")
    mask, causal = keywords.get("mask"), "is_causal" in keywords
    expected = attend(*arrays, **keywords, return_stats=True)
    same(with_all(*arrays, mask, causal, None), expected)
    g = cotangent(expected.result.shape, "f4")
    same(
        differentiated(g, *arrays, mask, causal),
        vjp(g, *arrays, *expected, **keywords),
    )


@pytest.mark.parametrize(
    "batches",
    [
        ((), (), ()),
        ((3,), (), (1,)),
        ((2, 3), (2, 3), (2, 3)),
        ((2, 1, 3), (1, 2, 1), (2, 1)),
        ((2, 1, 2, 3), (2, 3), (3,)),
    ],
    ids=str,
)
def test_leading_axes(batches):
    arrays = operands((*batches, 33, 40, 5, 6), "f8")
    expected = attend(*arrays, return_stats=True)
    assert bits(plain(*arrays)) == bits(expected.result)
    g = cotangent(expected.result.shape, "f8")
    same(differentiated(g, *arrays, None, False), vjp(g, *arrays, *expected))


def test_empty():
    for m, n, depth, width in [(0, 3, 2, 2), (4, 3, 2, 0), (4, 0, 2, 3), (4, 3, 0, 2)]:
        arrays = operands(((), (), (), m, n, depth, width), "f8")
        expected = attend(*arrays, return_stats=True)
        same([plain(*arrays)], [expected.result])
        g = cotangent(expected.result.shape, "f8")
        same(differentiated(g, *arrays, None, False), vjp(g, *arrays, *expected))


def test_dtypes_promote():
    q, k, v = operands(((), (), (), 9, 12, 4, 3), "f4")
    arrays = q.astype("f8"), k, v
    expected = attend(*arrays, return_stats=True)
    same([plain(*arrays)], [expected.result])
    g = cotangent((9, 3), "f8")
    same(differentiated(g, *arrays, None, False), vjp(g, *arrays, *expected))


def test_scale():
    arrays = operands(((), (), (), 9, 12, 4, 3), "f8")
    for scale in (2, 0.25, np.float32(0.5)):
        same(with_all(*arrays, None, False, scale), attend(*arrays, scale=scale, return_stats=True))


@pytest.mark.parametrize("layout", ["f_order", "sliced", "negative", "read_only", "broadcast"])
def test_layouts(layout):
    arrays = [LAYOUTS[layout](x) for x in operands(((), (), (), 40, 50, 9, 6), "f8")]
    same([plain(*arrays)], [attend(*arrays)])


@pytest.mark.parametrize("layout", ["c_order", "f_order", "sliced"])
def test_out(layout):
    arrays = operands(((2,), (2,), (2,), 40, 50, 6, 6), "f8")
    out = LAYOUTS[layout](np.full((2, 40, 6), 7.0))
    found = into(*arrays, out)
    assert found.ctypes.data == out.ctypes.data
    assert bits(out) == bits(attend(*arrays))
    narrow = np.full((2, 40, 6), 7, "f4")
    into(*arrays, narrow)
    assert bits(narrow) == bits(attend(*arrays).astype("f4"))


def test_out_that_overlaps():
    arrays = operands(((2,), (2,), (2,), 40, 40, 6, 6), "f8")
    expected = bits(attend(*arrays))
    for which in range(3):
        own = [x.copy() for x in arrays]
        into(*own, own[which])
        assert bits(own[which]) == expected


def test_out_of_gradients():
    arrays = operands(((2,), (1,), (), 40, 40, 6, 6), "f8")
    found = attend(*arrays, return_stats=True)
    g = cotangent(found.result.shape, "f8")
    expected = vjp(g, *arrays, *found)
    out = tuple(np.full(x.shape, 7.0) for x in arrays)
    same(differentiated_into(g, *arrays, out), expected)
    same(out, expected)
    out = None, np.full(arrays[1].shape, 7, "f4"), None
    found = differentiated_into(g, *arrays, out)
    assert bits(out[1]) == bits(expected.k.astype("f4"))
    same([found[0], found[2]], [expected[0], expected[2]])


def test_in_a_parallel_loop():
    @njit(parallel=True)
    def many(q, k, v, out):
        for i in prange(q.shape[0]):
            out[i] = fm.scaled_dot_product_attention(q[i], k[i], v[i])

    q, k, v = operands(((6,), (6,), (6,), 90, 200, 16, 8), "f8")
    expected = attend(q, k, v)
    for threads in (1, 2, 8):
        numba.set_num_threads(threads)
        out = np.empty_like(expected)
        many(q, k, v, out)
        assert bits(out) == bits(expected)


def test_errors_at_run_time():
    q, k, v = operands(((2,), (2,), (2,), 4, 5, 3, 6), "f8")
    for bad, match in [
        ((q[..., :2].copy(), k, v), "last dimension"),
        ((q, k[:, :4].copy(), v), "second last"),
        ((q, np.concatenate([k, k, k]), np.concatenate([v, v, v])), "broadcast"),
    ]:
        with pytest.raises(ValueError, match=match):
            plain(*bad)
    with pytest.raises(ValueError, match="is_causal"):
        with_all(q, k, v, np.ones((4, 5), bool), True, None)
    for mask in (np.ones((4, 4), bool), np.ones((3, 5), bool), np.ones((3, 4, 5))):
        with pytest.raises(ValueError, match="mask"):
            with_all(q, k, v, mask, False, None)
    out = np.full((2, 4, 5), 7.0)
    with pytest.raises(ValueError, match="out"):
        into(q, k, v, out)
    assert (out == 7).all()
    found = attend(q, k, v, return_stats=True)
    g = np.ones((2, 4, 6))
    with pytest.raises(ValueError, match="cotangent"):
        differentiated(g[:, :3].copy(), q, k, v, None, False)
    out = np.zeros(q.shape), np.zeros(v.shape), np.zeros(v.shape)
    with pytest.raises(ValueError, match="out"):
        differentiated_into(g, q, k, v, out)
    assert found.result.shape == (2, 4, 6)


def test_wrong_types_do_not_compile():
    q, k, v = operands(((), (), (), 4, 5, 3, 6), "f8")
    for bad, match in [
        ((q.astype("i8"), k, v), "q has dtype int64"),
        ((q, k.astype("c16"), v), "k has dtype complex128"),
        ((q, k, v[0]), "v has 1 dimensions"),
        ((q, k, 1.0), "v is of type"),
    ]:
        with pytest.raises(TypingError, match=match):
            plain(*bad)
    with pytest.raises(TypingError, match="mask has dtype int64"):
        with_all(q, k, v, np.ones((4, 5), "i8"), False, None)
    with pytest.raises(TypingError, match="scale is of type"):
        with_all(q, k, v, None, False, "a")
    with pytest.raises(TypingError, match="out has 3 dimensions"):
        into(q, k, v, np.ones((1, 4, 6)))
    with pytest.raises(TypingError, match="out has dtype int64"):
        into(q, k, v, np.ones((4, 6), "i8"))
    with pytest.raises(TypingError, match="cotangent has 1 dimensions"):
        differentiated(np.ones(4), q, k, v, None, False)
    with pytest.raises(TypingError, match="three arrays"):
        differentiated_into(np.ones((4, 6)), q, k, v, (np.ones((4, 6)),))
