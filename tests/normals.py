"""Call a normalization, check all that it promises, and compare it with its oracle."""

import normal_oracles
import numpy as np
from layouts import unmodified
from normal_oracles import Normal
from oracles import BFLOAT16
from tolerances import (
    moments_bounds,
    normalized_bound,
    rounding_bound,
    scaled_bound,
    statistics_bounds,
)

import fastmat as fm

WITH_STATISTICS = ("layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm")
PER_CHANNEL = ("instance_norm", "batch_norm")


def values(shape, dtype, seed=0):
    """Random values around a mean that is not 0, in any dtype."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    if dtype.kind == "b":
        return rng.random(shape) < 0.4
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else -90, 100, shape).astype(dtype)
    x = rng.standard_normal(shape) * 1.5 + 0.7
    if dtype.kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x).astype(dtype)


def divisor(channels):
    """The smallest divisor of the channels above 1."""
    return next((d for d in range(2, channels + 1) if channels % d == 0), 1)


def _affine(shape, dtype):
    return {"weight": values(shape, dtype, 1), "bias": values(shape, dtype, 2)}


def _given(channels):
    return {"running_mean": values(channels, "f8", 3), "running_var": _positive(channels)}


def _positive(shape):
    return values(shape, "f8", 4) ** 2 + 0.5


# Ways to call an operation on (N, C, …): the keywords, for a shape and the dtype of parameters.
VARIANTS = {
    "layer_norm": lambda s, d: {"normalized_shape": s[-1:], **_affine(s[-1:], d)},
    "layer_norm 2": lambda s, d: {"normalized_shape": s[-2:], **_affine(s[-2:], d)},
    "layer_norm all": lambda s, d: {"axis": tuple(range(len(s))), **_affine(s, d)},
    "layer_norm first": lambda s, d: {"axis": 0, **_affine(s[:1], d)},
    "layer_norm middle": lambda s, d: {"axis": 1, **_affine(s[1:2], d)},
    "layer_norm split": lambda s, d: {"axis": (0, -1), **_affine((s[0], s[-1]), d)},
    "layer_norm plain": lambda s, d: {"axis": -1},
    "rms_norm": lambda s, d: {"normalized_shape": s[-1:], "weight": values(s[-1:], d, 1)},
    "rms_norm first": lambda s, d: {"axis": 0, "weight": values(s[:1], d, 1), "eps": 1e-3},
    "group_norm": lambda s, d: {"num_groups": divisor(s[1]), **_affine(s[1:2], d)},
    "group_norm 1": lambda s, d: {"num_groups": 1},
    "instance_norm": lambda s, d: _affine(s[1:2], d),
    "instance_norm given": lambda s, d: {**_given(s[1:2]), "use_input_stats": False},
    "batch_norm": lambda s, d: {"training": True, **_affine(s[1:2], d)},
    "batch_norm given": lambda s, d: {**_given(s[1:2]), **_affine(s[1:2], d)},
    "normalize": lambda s, d: {},
    "normalize 1": lambda s, d: {"ord": 1, "axis": 1},
    "normalize inf": lambda s, d: {"ord": np.inf, "axis": (0, -1)},
}


def operation(variant):
    """The name of the operation of a variant."""
    return variant.split()[0]


def parameters_dtype(x):
    """Parameters in the dtype of x, or float64."""
    return normal_oracles.result_dtype(x)


def keywords_for(variant, x):
    """The keywords of a variant for this array."""
    return VARIANTS[variant](np.shape(x), parameters_dtype(x))


def fits(variant, shape):
    """Whether the variant can be called on arrays of this shape."""
    per_channel = operation(variant) in ("group_norm", "batch_norm", "instance_norm")
    words = ("middle", "split", "2", "1", "inf")  # those that take two axes, or the second
    if (per_channel or any(word in variant.split() for word in words)) and len(shape) < 2:
        return False
    if variant == "batch_norm":
        return shape[0] * np.prod(shape[2:]) != 1
    if variant == "instance_norm":
        return np.prod(shape[2:]) != 1
    return len(shape) > 0


def reference(op, x, **keywords):
    """What the oracle gives, without running statistics."""
    expected = getattr(normal_oracles, op)(x, **keywords)
    return expected[0] if op in PER_CHANNEL else expected


def bound_of(expected):
    """The bound on the error of a result."""
    return normalized_bound(expected) if isinstance(expected, Normal) else scaled_bound(expected)


def near(result, value, bound):
    """Assert that a result is within its bound; NaN and infinities as in the oracle."""
    value, bound = np.broadcast_arrays(value, bound)
    result = np.asarray(result)
    assert result.shape == value.shape
    if result.dtype == BFLOAT16:
        result = result.astype("f4")
    result = result.astype(value.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(result - value)
        right = (error <= bound) | (result == value) | (np.isnan(result) & np.isnan(value))
    wrong = np.argwhere(~right)
    assert not wrong.size, (
        f"{len(wrong)} of {right.size} results are off; first at {wrong[0]}: "
        f"{result[tuple(wrong[0])]!r} instead of {value[tuple(wrong[0])]!r}, an error of "
        f"{error[tuple(wrong[0])]:.3g} with a bound of {bound[tuple(wrong[0])]:.3g}; "
        f"worst {np.nanmax(error[~right] / bound[~right], initial=0):.3g} times the bound"
    )


def check(op, x, *, out=None, stats=False, **keywords):
    """Call an operation and compare its result, and statistics if wanted, with the oracle.

    Arrays that share no memory with `out` are asserted unmodified, so running statistics are
    only for calls that do not update them.
    """
    expected = reference(op, x, **keywords)
    inputs = [part for part in (x, *keywords.values()) if isinstance(part, np.ndarray)]
    if out is not None:
        inputs = [part for part in inputs if not np.may_share_memory(part, out)]
    with unmodified(*inputs):
        given = {} if out is None else {"out": out}
        given.update({"return_stats": True} if stats else {})
        result = getattr(fm, op)(x, **keywords, **given)
    if stats:
        assert result._fields == ("result", "mean", "rstd")
        result, mean, rstd = result
        check_statistics(op, x, keywords, expected, mean, rstd)
    bound = bound_of(expected)
    if out is None:
        assert np.asarray(result).dtype == expected.dtype
        assert np.asarray(result).dtype.isnative
        assert type(result) is (np.ndarray if np.ndim(x) else expected.dtype.type)
    else:
        assert result is out
        if out.dtype != expected.dtype:
            kind = {"c8": "f4", "c16": "f8"}.get(out.dtype.str[1:], out.dtype)
            bound = rounding_bound(np.abs(expected.value), bound, kind)
    near(result, expected.value, bound)
    return result


def check_statistics(op, x, keywords, expected, mean, rstd):
    """Compare mean and rstd, in float64, with the oracle's."""
    shape = np.shape(x)
    if op in ("layer_norm", "rms_norm"):
        wanted = expected.mean.shape
    elif op == "batch_norm":
        wanted = shape[1:2]
    else:
        wanted = shape[:2]
    parts = expected.mean, expected.rstd, *statistics_bounds(expected)
    if op == "instance_norm":
        parts = [np.broadcast_to(part, shape[:2] + (1,) * (len(shape) - 2)) for part in parts]
    if op == "group_norm":
        groups = keywords["num_groups"]
        wanted = (shape[0], groups)
        parts = [part[:, :: max(shape[1] // groups, 1)] for part in parts]
    parts = [np.reshape(part, wanted) for part in parts]
    for result, value, bound in ((mean, parts[0], parts[2]), (rstd, parts[1], parts[3])):
        assert result.dtype == np.float64
        assert result.shape == wanted
        near(result, value, bound)


def check_moments(x, axis=None, **keywords):
    """Call `fm.moments` and compare with the oracle."""
    expected = normal_oracles.moments(x, axis, **keywords)
    with unmodified(x):
        result = fm.moments(x, axis, **keywords)
    assert result._fields == ("mean", "variance")
    bounds = moments_bounds(expected)
    wanted = expected.mean, expected.variance
    for part, value, bound, dtype in zip(result, wanted, bounds, expected.dtypes, strict=True):
        assert np.asarray(part).dtype == dtype
        assert type(part) is (np.ndarray if value.ndim else dtype.type)
        near(part, value, bound)
    return result


def check_running(given, result, new, new_bound, momentum):
    """Compare an updated running statistic with ``(1 - momentum) * given + momentum * new``.

    Three roundings in the dtype of the running statistic, and the error of the new one.
    """
    share = np.longdouble(momentum)
    kept, added = normal_oracles.wide(given) * (1 - share), share * new
    terms = np.abs(kept) + np.abs(added)
    dtype = normal_oracles.result_dtype(given)
    eps = np.longdouble(normal_oracles.machine_epsilon(dtype))
    near(result, kept + added, rounding_bound(terms, eps * terms + share * new_bound, dtype))


def channels_last(x):
    """The same values with the channels, axis 1, last in memory."""
    return np.moveaxis(np.array(np.moveaxis(x, 1, -1), order="C"), -1, 1)


def check_variant(variant, x, **keywords):
    """Call a variant with its keywords and compare with the oracle."""
    return check(operation(variant), x, **{**keywords_for(variant, x), **keywords})


def standardized(x, axis=None, **keywords):
    """Check `fm.standardize`, where no group consists of one number."""
    return check("standardize", x, axis=axis, **keywords)
