"""Bad input of attention: the right exception, which names the argument, and nothing touched."""

import numpy as np
import pytest
from attentions import operands
from oracles import BFLOAT16

import fastmat as fm

attend = fm.scaled_dot_product_attention
vjp = fm.scaled_dot_product_attention_vjp
Q, K, V = operands(((2,), (2,), (2,), 4, 5, 3, 6), "f8")
FOUND = attend(Q, K, V, return_stats=True)
COTANGENT = np.ones((2, 4, 6))


def raises(error, match, *arguments, **keywords):
    """Both functions raise, and do not touch their outputs."""
    out = np.full((2, 4, 6), 7.0)
    outs = [np.full(x.shape, 7.0) for x in (Q, K, V)]
    for target in (None, out):
        with pytest.raises(error, match=match):
            attend(*arguments, **keywords, out=target)
    for target in (None, outs):
        with pytest.raises(error, match=match):
            vjp(COTANGENT, *arguments, *FOUND, **keywords, out=target)
    assert all((x == 7).all() for x in (out, *outs))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((Q[0, 0], K, V), "q has shape"),
        ((Q, K[0, 0], V), "k has shape"),
        ((Q, K, 1.0), "v has shape"),
        ((Q[..., :2], K, V), "q has shape .* and k has shape .* last dimensions, 2 and 3"),
        ((Q, K[:, :4], V), "k has shape .* and v has shape .* 4 and 5"),
        ((Q, np.ones((3, 5, 3)), V), "do not broadcast"),
        ((Q, K, np.ones((3, 5, 6))), "do not broadcast"),
    ],
)
def test_shapes_that_do_not_fit(arguments, match):
    raises(ValueError, match, *arguments)


@pytest.mark.parametrize("dtype", ["?", "i4", "u1", "c8", "c16", "g", "O", "U3", "M8[s]"])
def test_dtypes(dtype):
    for i, name in enumerate("qkv"):
        arguments = [Q, K, V]
        arguments[i] = np.zeros(arguments[i].shape, dtype)
        raises(TypeError, f"{name} has dtype", *arguments)
    if dtype != "?":
        raises(TypeError, "mask has dtype", Q, K, V, mask=np.zeros((4, 5), dtype))


def test_no_common_dtype():
    raises(TypeError, "promoted", Q.astype(BFLOAT16), K.astype("f2"), V.astype("f2"))


def test_masks():
    for shape in [(5, 4), (4,), (3, 4, 5), (1, 2, 4, 5), (2, 1, 4, 5), (2, 4, 0)]:
        raises(ValueError, "mask has shape", Q, K, V, mask=np.ones(shape, bool))
    raises(ValueError, "mask is given and is_causal", Q, K, V, mask=True, is_causal=True)


def test_scale():
    for scale in ("a", [1, 2], object()):
        raises(TypeError, "scale is", Q, K, V, scale=scale)


def test_out():
    for out, error in [
        (np.ones((2, 4, 5)), ValueError),
        (np.ones((4, 6)), ValueError),
        (np.ones((2, 4, 6), "i8"), TypeError),
        ("out", TypeError),
        ([[1.0]], TypeError),
    ]:
        with pytest.raises(error, match="out"):
            attend(Q, K, V, out=out)
    read_only = np.full((2, 4, 6), 7.0)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        attend(Q, K, V, out=read_only)


def test_out_of_gradients():
    good = [np.full(x.shape, 7.0) for x in (Q, K, V)]
    for out, error in [
        (np.ones(3), TypeError),
        (good[:2], TypeError),
        ((good[0], good[2], good[1]), ValueError),
        ((good[0], good[1], good[2].astype("i8")), TypeError),
        ((good[0], good[1], "out"), TypeError),
        ((good[0], good[1], np.broadcast_to(0.0, V.shape)), ValueError),
    ]:
        with pytest.raises(error, match="out"):
            vjp(COTANGENT, Q, K, V, *FOUND, out=out)
    x, y = operands(((), (), (), 5, 5, 4, 4), "f8")[:2]
    found = attend(x, y, y, return_stats=True)
    with pytest.raises(ValueError, match="out has arrays that overlap"):
        vjp(x, x, y, y, *found, out=(None, x, x))
    assert all((part == 7).all() for part in good)


def test_what_belongs_to_the_result():
    result, logsumexp = FOUND
    for wrong in (COTANGENT[0], COTANGENT[:, :3], COTANGENT[..., :5], 1.0):
        with pytest.raises(ValueError, match="cotangent has shape"):
            vjp(wrong, Q, K, V, result, logsumexp)
        with pytest.raises(ValueError, match="result has shape"):
            vjp(COTANGENT, Q, K, V, wrong, logsumexp)
    for wrong in (logsumexp[0], logsumexp[..., np.newaxis]):
        with pytest.raises(ValueError, match="logsumexp has shape"):
            vjp(COTANGENT, Q, K, V, result, wrong)
    for dtype in ("i8", "c16", "?"):
        with pytest.raises(TypeError, match="cotangent has dtype"):
            vjp(COTANGENT.astype(dtype), Q, K, V, result, logsumexp)
        with pytest.raises(TypeError, match="result has dtype"):
            vjp(COTANGENT, Q, K, V, result.astype(dtype), logsumexp)
        with pytest.raises(TypeError, match="logsumexp has dtype"):
            vjp(COTANGENT, Q, K, V, result, logsumexp.astype(dtype))
