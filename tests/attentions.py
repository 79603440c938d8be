"""Operands of attention, and calls that are held to the oracle."""

import attention_oracles
import numpy as np
from layouts import unmodified
from normals import near

import fastmat as fm

# Leading axes of q, k and v; queries, keys, depth, width.
SHAPES = [
    ((), (), (), 1, 1, 1, 1),
    ((), (), (), 3, 2, 5, 4),
    ((2,), (2,), (2,), 7, 13, 3, 6),
    ((2, 3), (2, 3), (2, 3), 17, 5, 8, 1),
    ((), (), (), 33, 65, 16, 17),
    ((1, 2), (1, 2), (1, 2), 64, 64, 32, 32),
    ((), (), (), 31, 193, 7, 11),
    ((), (), (), 129, 192, 64, 64),
    ((), (), (), 130, 401, 13, 25),
    ((2,), (2,), (2,), 300, 97, 40, 12),
    # broadcast
    ((2, 1, 3), (1, 2, 1), (2, 1), 5, 9, 4, 3),
    ((2, 3), (1,), (), 9, 21, 6, 5),
    ((2, 2, 3), (2, 2, 1), (2, 2, 1), 40, 50, 8, 8),
    ((1,), (4,), (2, 1), 6, 200, 3, 7),
]
MASKS = ["none", "causal", "boolean", "keys", "queries", "sparse", "additive", "bias"]


def operands(shape, dtype, seed=0, size=1.0):
    """Queries, keys and values, normally distributed."""
    of_q, of_k, of_v, m, n, depth, width = shape
    rng = np.random.default_rng([seed, m, n, depth, width])
    shapes = (*of_q, m, depth), (*of_k, n, depth), (*of_v, n, width)
    return [np.asarray(rng.standard_normal(s) * size).astype(dtype) for s in shapes]


def options(kind, shape, dtype, seed=0):
    """The keywords that stand for a kind of mask."""
    *batches, m, n, _, _ = shape
    batch = np.broadcast_shapes(*batches)
    rng = np.random.default_rng([seed, m, n])
    if kind == "none":
        return {}
    if kind == "causal":
        return {"is_causal": True}
    if kind == "boolean":
        return {"mask": rng.random((m, n)) < 0.5}
    if kind == "keys":  # as of padded sequences: some items have no keys at all
        lengths = rng.integers(0, n + 1, (*batch, 1, 1))
        return {"mask": np.arange(n) < lengths}
    if kind == "queries":
        return {"mask": rng.random((m, 1)) < 0.5}
    if kind == "sparse":  # whole blocks without a key
        mask = np.zeros((*batch, m, n), bool)
        mask[..., rng.integers(0, m, 3), rng.integers(0, n, 3)] = True
        return {"mask": mask}
    mask = rng.standard_normal((*batch[-1:], m, n))
    if kind == "bias":  # float64 is converted to what is computed in: as if it had been that
        return {"mask": mask.astype("f4").astype("f8")}
    mask[rng.random(mask.shape) < 0.3] = -np.inf
    return {"mask": mask.astype(dtype)}


def check(q, k, v, **keywords):
    """Call attention and hold result and logarithms to the oracle; return what it returned."""
    expected = attention_oracles.attention(q, k, v, **keywords)
    given = [x for x in (q, k, v, keywords.get("mask")) if x is not None]
    with unmodified(*given):
        found = fm.scaled_dot_product_attention(q, k, v, **keywords, return_stats=True)
    assert found.result.shape == expected.result.shape
    assert found.result.dtype == np.result_type(q, k, v)
    assert found.logsumexp.shape == expected.logsumexp.shape
    assert found.logsumexp.dtype == np.float64
    near(found.result, expected.result, expected.result_bound)
    near(found.logsumexp, expected.logsumexp, expected.logsumexp_bound)
    return found


def check_gradients(q, k, v, seed=0, **keywords):
    """Call the gradients, of a random cotangent, and hold them to the oracle."""
    expected = attention_oracles.attention(q, k, v, **keywords)
    dtype = np.result_type(q, k, v)
    result = expected.result.astype(dtype)
    logsumexp = expected.logsumexp.astype("f8")
    rng = np.random.default_rng(seed)
    cotangent = rng.standard_normal(result.shape).astype(dtype)
    arguments = cotangent, q, k, v, result, logsumexp
    given = [x for x in (*arguments, keywords.get("mask")) if x is not None]
    with unmodified(*given):
        found = fm.scaled_dot_product_attention_vjp(*arguments, **keywords)
    wanted = attention_oracles.gradients(*arguments, **keywords)
    for gradient, x, (value, bound) in zip(found, (q, k, v), wanted, strict=True):
        assert gradient.shape == x.shape
        assert gradient.dtype == x.dtype
        near(gradient, value, bound)
    return found
