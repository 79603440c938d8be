"""Attention on GPUs, against the oracles of attention on CPUs."""

import attention_oracles
import attentions
import ml_dtypes
import numpy as np
import pytest
from gpus import on
from normals import near
from oracles import BFLOAT16, HALVES

import fastmat as fm

attend = fm.scaled_dot_product_attention
# Leading axes of q, k and v; queries, keys, depth, width. All come in chunks of 32 numbers.
SMALL = [
    ((), (), (), 1, 1, 1, 1),
    ((2, 1, 3), (1, 2, 1), (2, 1), 5, 9, 4, 3),
    ((2,), (2,), (2,), 65, 64, 7, 32),
    ((2, 3, 2), (3, 1), (), 3, 129, 31, 5),
]
FULL = [((), (), (), 130, 401, 13, 25), ((2,), (4, 1), (1,), 127, 63, 33, 40)]


def check(gpu, q, k, v, stats=True, **keywords):
    """Call attention on the GPU and hold what it returns to the oracle."""
    expected = attention_oracles.attention(q, k, v, **keywords)
    rounding = of_weights(q, k, v, **keywords)
    if keywords.get("mask") is not None:
        keywords["mask"] = gpu.array(keywords["mask"])
    found = attend(*map(gpu.array, (q, k, v)), **keywords, return_stats=stats)
    result = found.result if stats else found
    assert isinstance(result, gpu.kind)
    result = gpu.numpy(result)
    assert result.shape == expected.result.shape
    assert result.dtype == np.result_type(q, k, v)
    near(result, expected.result, expected.result_bound + rounding)
    if stats:
        assert isinstance(found.logsumexp, gpu.kind)
        logs = gpu.numpy(found.logsumexp)
        assert logs.dtype == np.float64
        near(logs, expected.logsumexp, expected.logsumexp_bound)
    return result


def of_weights(q, k, v, **keywords):
    """What the rounding of weights to 16 bits, of which tensor cores take them, adds to a bound.

    A weight is off by half a unit in its last place; a float16 by that of 2**-14 at least.
    """
    dtype = np.result_type(q, k, v)
    if dtype not in HALVES:
        return 0
    size = np.abs(v)
    relative = attention_oracles.attention(q, k, size, **keywords).result * 2.0**-1
    finfo = ml_dtypes.finfo(dtype)
    lowest = size.astype("f8").sum(-2, keepdims=True) * float(finfo.smallest_subnormal)
    return relative * float(finfo.eps) + lowest


@pytest.mark.parametrize("kind", ["causal", "boolean"])
@pytest.mark.parametrize("shape", SMALL, ids=str)
def test_small(gpu, kind, shape):
    operands = attentions.operands(shape, "f4")
    check(gpu, *operands, **attentions.options(kind, shape, "f4"))


@pytest.mark.parametrize("kind", ["keys", "queries", "sparse"])
def test_boolean_masks(gpu, kind):
    shape = ((2, 3), (1, 3), (2, 1), 70, 200, 5, 3)
    operands = attentions.operands(shape, "f4")
    check(gpu, *operands, **attentions.options(kind, shape, "f4"))


def test_additive_mask(gpu):
    for shape in (SMALL[1], ((2,), (2,), (2,), 67, 70, 5, 3)):
        operands = attentions.operands(shape, "f4")
        check(gpu, *operands, **attentions.options("additive", shape, "f4"))


def test_aligned(gpu):
    """Accesses of 16 bytes; three chunks of depth, three of width."""
    shape = ((2,), (2,), (2,), 66, 130, 132, 68)
    check(gpu, *attentions.operands(shape, "f4"), stats=False, scale=0.3)


def test_halves(gpu):
    """On tensor cores; the last is not aligned."""
    for shape in [
        ((2, 2), (2, 1), (1,), 130, 70, 8, 32),
        ((3,), (1,), (3,), 1, 33, 32, 8),
        ((2,), (2,), (2,), 34, 65, 8, 6),
    ]:
        check(gpu, *attentions.operands(shape, BFLOAT16), is_causal=True)


def test_hidden_halves_take_no_part(gpu):
    q, k, v = attentions.operands(((), (), (), 40, 80, 8, 16), "f2")
    mask = np.random.default_rng(0).random((40, 80)) < 0.5
    mask[3] = mask[:, 20] = mask[:, 70] = False
    mask[7, 21], mask[8, 21] = True, False
    wanted = check(gpu, q, k, v, mask=mask)
    k[20], v[20], k[70], v[70] = np.nan, np.inf, np.inf, np.nan
    found = attend(*map(gpu.array, (q, k, v, mask)))
    np.testing.assert_allclose(gpu.numpy(found), wanted, rtol=2e-3, atol=2e-3)
    v[21, 1] = np.inf
    found = gpu.numpy(attend(*map(gpu.array, (q, k, v, mask))))
    np.testing.assert_array_equal(np.isinf(found[:, 1]), mask[:, 21])
    assert np.isfinite(np.delete(found, 1, 1)).all()


def test_layouts(gpu):
    """The kernel of `test_small`, on strides of all kinds."""
    rng = np.random.default_rng(0)
    q = rng.standard_normal((6, 5, 7), np.float32).T[::2, ::-1]
    k = np.broadcast_to(rng.standard_normal((9, 1), np.float32), (4, 9, 6))
    v = rng.standard_normal((5, 18, 4), np.float32)[:4, ::-2, 1:3]
    check(gpu, q, k, v, is_causal=True)


def test_what_is_hidden_takes_no_part(gpu):
    shape = ((), (), (), 40, 80, 6, 5)
    q, k, v = attentions.operands(shape, "f4")
    mask = np.ones((40, 80), bool)
    mask[:, 70:] = mask[3] = mask[:, 5] = False
    wanted = check(gpu, q, k, v, mask=mask)
    k[70:], v[75:], k[5], v[5] = np.nan, np.inf, np.inf, np.nan
    found = attend(*map(gpu.array, (q, k, v)), gpu.array(mask))
    np.testing.assert_array_equal(gpu.numpy(found), wanted)
    assert not wanted[3].any()
    k, v = k[:40], v[:40]
    k[20:], v[30] = np.nan, np.nan
    found = gpu.numpy(attend(*map(gpu.array, (q, k, v)), is_causal=True))
    assert np.isnan(found[5:]).all()
    assert np.isfinite(found[:5]).all()


def test_nan_and_inf_that_are_seen(gpu):
    q, k, v = attentions.operands(((), (), (), 4, 70, 6, 5), "f4")
    k[69, 0], q[1] = np.inf, np.nan
    q[0], q[2], q[3] = 1, -1, -2
    found = gpu.numpy(attend(*map(gpu.array, (q, k, v)), gpu.array(np.ones(70, bool))))
    assert np.isnan(found[:2]).all()  # inf - inf; NaN
    wanted = attention_oracles.attention(q[2:], k[:69], v[:69])
    near(found[2:], wanted.result, wanted.result_bound)


def test_nothing(gpu):
    for shape in [(0, 3, 2, 2), (3, 0, 2, 2), (3, 3, 0, 2), (3, 3, 2, 0)]:
        check(gpu, *attentions.operands(((2,), (2,), (2,), *shape), "f4"), is_causal=True)
    check(gpu, *attentions.operands(((0,), (1,), (0,), 2, 3, 2, 2), "f4"), is_causal=True)


def test_out(gpu):
    q, k, v = attentions.operands(((3, 2), (3, 1), (2,), 33, 33, 6, 6), "f4")
    wanted = check(gpu, q, k, v, is_causal=True)
    for make in (
        lambda: np.full((3, 2, 33, 6), 7, "f4"),
        lambda: np.full((6, 33, 2, 3), 7, "f4").T,
        lambda: np.full((3, 2, 66, 12), 7, "f4")[:, :, ::-2, ::2],
    ):
        out = gpu.array(make())
        assert attend(*map(gpu.array, (q, k, v)), is_causal=True, out=out) is out
        np.testing.assert_array_equal(gpu.numpy(out), wanted)
    q, k, v = attentions.operands(((2,), (2,), (2,), 33, 33, 6, 6), "f4")
    wanted = check(gpu, q, k, v, is_causal=True)
    for i in range(3):
        arrays = [gpu.array(x) for x in (q, k, v)]
        attend(*arrays, is_causal=True, out=arrays[i])
        np.testing.assert_array_equal(gpu.numpy(arrays[i]), wanted)


def test_same_bits():
    operands = attentions.operands(((2,), (2,), (2,), 66, 130, 6, 5), "f4")
    found = []
    for seed in (1, 2):
        with on("emulator", seed=seed) as gpu:
            found.append(gpu.numpy(attend(*map(gpu.array, operands), is_causal=True)))
    np.testing.assert_array_equal(*found)


def test_errors(gpu):
    q, k, v = map(gpu.array, attentions.operands(((2,), (2,), (2,), 4, 5, 3, 6), "f4"))
    mask = gpu.array(np.ones((4, 5), bool))
    out = gpu.array(np.full((2, 4, 6), 7, "f4"))

    def raises(error, match, *arguments, **keywords):
        with pytest.raises(error, match=match):
            attend(*arguments, **{"out": out, **keywords})
        assert (gpu.numpy(out) == 7).all()

    small = gpu.array(np.ones(3, "f4"))
    raises(ValueError, "q has shape", small, k, v)
    raises(ValueError, "last dimensions, 3 and 6", q, v, v)
    raises(ValueError, "second last dimensions, 5 and 4", q, k, q)
    raises(ValueError, "do not broadcast", q, gpu.array(np.ones((3, 5, 3), "f4")), v)
    raises(ValueError, "mask has shape", q, k, v, gpu.array(np.ones((5, 4), bool)))
    raises(ValueError, "mask is given and is_causal", q, k, v, mask, True)
    raises(ValueError, "out has shape", q, k, v, out=gpu.array(np.ones((2, 4, 5), "f4")))
    raises(TypeError, "out has dtype", q, k, v, out=gpu.array(np.ones((2, 4, 6))))
    raises(TypeError, "q has dtype int32", gpu.array(np.ones((4, 3), "i4")), k, v)
    raises(TypeError, "mask has dtype", q, k, v, gpu.array(np.ones((4, 5), "i4")))
    raises(TypeError, "mask is not on a GPU", q, k, v, np.ones((4, 5), bool))
    raises(TypeError, "k is not on a GPU", q, np.ones((2, 5, 3), "f4"), v)
    raises(TypeError, "scale is", q, k, v, scale="a")
    halves = gpu.array(np.ones((2, 4, 3), "f2")), gpu.array(np.ones((2, 5, 3), BFLOAT16))
    raises(TypeError, "promoted", *halves, gpu.array(np.ones((2, 5, 6), "f2")))
    assert mask is not None


@pytest.mark.cuda_full
@pytest.mark.parametrize("kind", attentions.MASKS)
@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8"], ids=str)
def test_full(gpu, kind, dtype):
    for shape in [*attentions.SHAPES, *FULL]:
        operands = attentions.operands(shape, dtype)
        check(gpu, *operands, **attentions.options(kind, shape, dtype))


@pytest.mark.cuda_full
@pytest.mark.parametrize("sizes", [(64, 128), (256, 256), (320, 40), (16, 300)], ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_heads(gpu, sizes, dtype):
    check(gpu, *attentions.operands(((), (), (), 70, 70, *sizes), dtype), is_causal=True)


@pytest.mark.cuda_full
def test_mixed_dtypes(gpu):
    q, k, v = attentions.operands(((2,), (2,), (2,), 9, 11, 5, 4), "f4")
    check(gpu, q.astype("f2"), k, v)
    check(gpu, q, k.astype("f8"), v.astype(BFLOAT16), mask=np.zeros((9, 11), "f2"))
