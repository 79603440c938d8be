"""Gradients of attention on GPUs, against the oracles of those on CPUs."""

import attention_oracles
import attentions
import ml_dtypes
import numpy as np
import pytest
from gpus import on
from normals import near
from oracles import BFLOAT16, HALVES, widen

import fastmat as fm

vjp = fm.scaled_dot_product_attention_vjp
# Leading axes of q, k and v; queries, keys, depth, width. All come in chunks of 32 numbers.
SMALL = [
    ((), (), (), 1, 1, 1, 1),
    ((2, 1, 3), (1, 2, 1), (2, 1), 5, 9, 4, 3),
    ((2,), (2,), (2,), 65, 64, 7, 32),
    ((2, 2, 2), (2, 1), (), 3, 129, 31, 5),
    ((), (), (), 129, 70, 8, 4),
]


def arguments_of(q, k, v, seed=0, **keywords):
    """A random cotangent, the operands, and what attention returns for them."""
    expected = attention_oracles.attention(q, k, v, **keywords)
    dtype = np.result_type(q, k, v)
    result = expected.result.astype(dtype)
    cotangent = np.random.default_rng(seed).standard_normal(result.shape).astype(dtype)
    return cotangent, q, k, v, result, expected.logsumexp.astype("f8")


def of_rounding(cotangent, q, k, v, result, logsumexp, mask=None, is_causal=False, scale=None):
    """What rounding to 16 bits, of weights and of gradients by scores, adds to bounds.

    Tensor cores take them so: each is off by half a unit in its last place, and a float16 by half
    of the smallest subnormal number at least.
    """
    own = [x.shape for x in (q, k, v)]
    given = np.result_type(q, k, v)
    if given not in HALVES:
        return 0, 0, 0
    half = float(ml_dtypes.finfo(given).eps) / 2
    least = float(ml_dtypes.finfo(given).smallest_subnormal) / 2
    _, (q, k, v), scores, _, factor = attention_oracles._scores(q, k, v, mask, is_causal, scale)
    g, result = widen(cotangent, given), widen(result, given)
    logs = np.where(np.isneginf(logsumexp), 0, logsumexp)[..., np.newaxis]
    p = np.exp(scores - logs)
    ds = p * (g @ v.swapaxes(-1, -2) - (g * result).sum(-1, keepdims=True))
    p, ds = (half * np.abs(x) + least for x in (p, ds))
    found = [
        abs(factor) * (ds @ np.abs(k)),
        abs(factor) * (ds.swapaxes(-1, -2) @ np.abs(q)),
        p.swapaxes(-1, -2) @ np.abs(g),
    ]
    return [
        attention_oracles._added_up(x, 0 * x, shape, np.dtype("f8"))[0]
        for x, shape in zip(found, own, strict=True)
    ]


def check(gpu, q, k, v, **keywords):
    """Call the gradients on the GPU and hold them to the oracle."""
    arguments = arguments_of(q, k, v, **keywords)
    wanted = attention_oracles.gradients(*arguments, **keywords)
    options = dict(keywords)
    if keywords.get("mask") is not None:
        keywords["mask"] = gpu.array(keywords["mask"])
    found = vjp(*map(gpu.array, arguments), **keywords)
    roundings = of_rounding(*arguments, **options)
    for gradient, x, (value, bound), more in zip(found, (q, k, v), wanted, roundings, strict=True):
        assert isinstance(gradient, gpu.kind)
        gradient = gpu.numpy(gradient)
        assert gradient.shape == x.shape
        assert gradient.dtype == x.dtype
        near(gradient, value, bound + more)
    return [gpu.numpy(gradient) for gradient in found]


@pytest.mark.parametrize("shape", SMALL, ids=str)
def test_causal(gpu, shape):
    check(gpu, *attentions.operands(shape, "f4"), is_causal=True)


@pytest.mark.parametrize("kind", ["boolean", "keys", "queries", "sparse"])
def test_boolean_masks(gpu, kind):
    shape = ((2, 3), (1, 3), (2, 1), 70, 130, 5, 3)
    operands = attentions.operands(shape, "f4")
    check(gpu, *operands, **attentions.options(kind, shape, "f4"), scale=0.7)


@pytest.mark.cuda_full
def test_additive_mask(gpu):
    shape = ((2,), (2,), (2,), 67, 70, 5, 3)
    check(gpu, *attentions.operands(shape, "f4"), **attentions.options("additive", shape, "f4"))


def test_what_is_hidden_takes_no_part(gpu):
    q, k, v = attentions.operands(((), (), (), 70, 130, 6, 5), "f4")
    mask = np.ones((70, 130), bool)
    mask[:, 120:] = mask[3] = mask[66] = mask[:, 5] = False
    arguments = arguments_of(q, k, v, mask=mask)
    wanted = [gpu.numpy(x) for x in vjp(*map(gpu.array, arguments), gpu.array(mask))]
    cotangent, q, k, v, *_ = arguments
    k[125:], v[120:], k[5], v[5] = np.nan, np.inf, np.inf, np.nan
    q[3], cotangent[66] = np.nan, np.inf
    found = vjp(*map(gpu.array, arguments), gpu.array(mask))
    for gradient, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(gpu.numpy(gradient), expected)
    assert not wanted[0][3].any()
    assert not wanted[1][5].any()
    assert not wanted[2][120:].any()


def test_halves(gpu):
    """On tensor cores."""
    for shape in [
        ((2, 2), (2, 1), (1,), 130, 70, 8, 32),
        ((3,), (1,), (3,), 1, 33, 32, 8),
    ]:
        check(gpu, *attentions.operands(shape, BFLOAT16), is_causal=True)


@pytest.mark.cuda_full
def test_hidden_halves_take_no_part(gpu):
    q, k, v = attentions.operands(((), (), (), 70, 130, 8, 16), "f2")
    mask = np.random.default_rng(0).random((70, 130)) < 0.5
    mask[:, 120:] = mask[3] = mask[66] = mask[:, 5] = False
    arguments = arguments_of(q, k, v, mask=mask)
    wanted = [gpu.numpy(x) for x in vjp(*map(gpu.array, arguments), gpu.array(mask))]
    cotangent, q, k, v, *_ = arguments
    k[125:], v[120:], k[5], v[5] = np.nan, np.inf, np.inf, np.nan
    q[3], cotangent[66] = np.nan, np.inf
    found = vjp(*map(gpu.array, arguments), gpu.array(mask))
    for gradient, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(gpu.numpy(gradient), expected, rtol=4e-3, atol=4e-3)
    assert not wanted[1][5].any()


def test_layouts(gpu):
    rng = np.random.default_rng(0)
    q = rng.standard_normal((6, 5, 7), np.float32).T[::2, ::-1]
    k = np.broadcast_to(rng.standard_normal((9, 1), np.float32), (4, 9, 6))
    v = rng.standard_normal((5, 18, 4), np.float32)[:4, ::-2, 1:3]
    check(gpu, q, k, v, is_causal=True)


def test_nothing(gpu):
    for shape in [(0, 3, 2, 2), (3, 0, 2, 2), (3, 3, 0, 2), (3, 3, 2, 0)]:
        check(gpu, *attentions.operands(((2,), (2,), (2,), *shape), "f4"), is_causal=True)
    check(gpu, *attentions.operands(((0,), (1,), (0,), 2, 3, 2, 2), "f4"), is_causal=True)


def test_out(gpu):
    q, k, v = attentions.operands(((3, 2), (3, 1), (3, 2), 9, 9, 6, 6), "f4")
    wanted = check(gpu, q, k, v, is_causal=True)
    arguments = [gpu.array(x) for x in arguments_of(q, k, v, is_causal=True)]
    out = [
        gpu.array(np.full((6, 9, 2, 3), 7, "f4").T),
        gpu.array(np.full((3, 1, 18, 12), 7, "f4")[:, :, ::-2, ::2]),
        arguments[3],
    ]
    found = vjp(*arguments, is_causal=True, out=out)
    for gradient, to, expected in zip(found, out, wanted, strict=True):
        assert gradient is to
        np.testing.assert_array_equal(gpu.numpy(to), expected)


def test_same_bits():
    arguments = arguments_of(
        *attentions.operands(((2,), (2,), (2,), 66, 130, 6, 5), "f4"), is_causal=True
    )
    found = []
    for seed in (1, 2):
        with on("emulator", seed=seed) as gpu:
            gradients = vjp(*map(gpu.array, arguments), is_causal=True)
            found.append([gpu.numpy(x) for x in gradients])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_errors(gpu):
    q, k, v = attentions.operands(((2,), (2,), (2,), 4, 5, 3, 6), "f4")
    given = list(map(gpu.array, arguments_of(q, k, v)))
    out = [gpu.array(np.full_like(x, 7)) for x in (q, k, v)]

    def raises(error, match, i=None, x=None, **keywords):
        arguments = list(given)
        if i is not None:
            arguments[i] = gpu.array(x)
        with pytest.raises(error, match=match):
            vjp(*arguments, **{"out": out, **keywords})
        assert all((gpu.numpy(to) == 7).all() for to in out)

    raises(ValueError, "cotangent has shape", 0, np.ones((2, 4, 5), "f4"))
    raises(TypeError, "cotangent has dtype", 0, np.ones((2, 4, 6), "i4"))
    raises(ValueError, "result has shape", 4, np.ones((4, 6), "f4"))
    raises(ValueError, "logsumexp has shape", 5, np.ones((4, 2)))
    raises(ValueError, "q has shape", 1, np.ones((2, 4, 4), "f4"))
    raises(TypeError, "out is of type", out=out[:2])
    raises(ValueError, "out has shape", out=[out[0], out[2], out[1]])
    raises(TypeError, "out has dtype", out=[gpu.array(np.ones((2, 4, 3))), None, None])
    x = gpu.array(np.full((2, 5, 6), 7, "f4"))
    same = list(map(gpu.array, arguments_of(v, v, v)))
    with pytest.raises(ValueError, match="out has arrays that overlap"):
        vjp(*same, out=(None, x, x))


@pytest.mark.cuda_full
@pytest.mark.parametrize("kind", attentions.MASKS)
@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8"], ids=str)
def test_full(gpu, kind, dtype):
    for shape in attentions.SHAPES:
        operands = attentions.operands(shape, dtype)
        check(gpu, *operands, **attentions.options(kind, shape, dtype))


@pytest.mark.cuda_full
@pytest.mark.parametrize("sizes", [(64, 64), (64, 128), (256, 192), (320, 40)], ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_heads(gpu, sizes, dtype):
    check(gpu, *attentions.operands(((2,), (2,), (2,), 70, 70, *sizes), dtype), is_causal=True)


@pytest.mark.cuda_full
def test_mixed_dtypes(gpu):
    q, k, v = attentions.operands(((2,), (2,), (2,), 9, 11, 5, 4), "f4")
    check(gpu, q.astype("f2"), k, v)
    check(gpu, q, k.astype("f8"), v.astype(BFLOAT16), mask=np.zeros((9, 11), "f2"))
