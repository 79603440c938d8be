"""Call the gradient of an operation, check all that it promises, compare it with its oracle."""

import gradient_bounds
import gradient_oracles
import ml_dtypes
import numpy as np
import softmax_oracles
from layouts import unmodified
from normal_oracles import result_dtype
from normals import VARIANTS, fits, keywords_for, near, operation, values
from oracles import BFLOAT16
from tolerances import rounding_bound

import fastmat as fm

SOFTMAX = {
    "softmax": {},
    "softmax first": {"axis": 0},
    "softmax split": {"axis": (0, -1)},
    "log_softmax": {},
    "log_softmax middle": {"axis": 1},
    "logsumexp": {},
    "logsumexp first": {"axis": 0},
    "logsumexp all": {"axis": None},
    "logsumexp split": {"axis": (0, -1), "keepdims": True},
}
NORMAL = [variant for variant in VARIANTS if operation(variant) != "normalize"]
ALL = [*VARIANTS, *SOFTMAX]
OPS = tuple(dict.fromkeys(operation(variant) for variant in ALL))
FIELDS = dict.fromkeys((operation(variant) for variant in NORMAL), ("x", "weight", "bias"))
FIELDS["rms_norm"] = ("x", "weight")
_OF_GRADIENTS = ("normalized_shape", "axis", "num_groups", "weight", "training", "use_input_stats")
_BOUNDS = {
    "normalize": gradient_bounds.scaled_bound,
    "softmax": gradient_bounds.softmax_bound,
    "log_softmax": gradient_bounds.log_softmax_bound,
    "logsumexp": gradient_bounds.logsumexp_bound,
}


def shapes_for(variant, shapes):
    """Those shapes that the variant takes."""
    return [shape for shape in shapes if fits(variant, shape)]


def result_of(op, x, keywords):
    """What the forward operation of softmax and its kin returns, in the dtype of x."""
    value = getattr(softmax_oracles, op)(x, **keywords).value
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(value).astype(result_dtype(x))


def keywords_of_forward(variant, x, **more):
    """Keywords of the forward operation, apart from x."""
    plain = SOFTMAX[variant] if variant in SOFTMAX else keywords_for(variant, x)
    return {**plain, **more}


def arguments(variant, x, cotangent=None, **more):
    """All arguments of the gradient, by name; `more` are keywords of the forward operation."""
    return arguments_for(operation(variant), x, cotangent, keywords_of_forward(variant, x, **more))


def arguments_for(op, x, cotangent, keywords, dtype_of_statistics="f8"):
    """The same for an operation with these keywords."""
    dtype = result_dtype(x)
    if op in ("softmax", "log_softmax", "logsumexp"):
        result = result_of(op, x, keywords)
        given = {"result": result, **keywords}
        given = {"x": x, **given} if op == "logsumexp" else given
        g = values(result.shape, dtype, 6)
    else:
        given = {"x": x}
        if op == "normalize":
            given.update(keywords)
        else:
            statistics = gradient_oracles.statistics(op, x, dtype_of_statistics, **keywords)
            names = ("mean", "rstd")
            given.update(list(zip(names, statistics, strict=True))[op == "rms_norm" :])
            given.update({key: keywords[key] for key in _OF_GRADIENTS if key in keywords})
        g = values(np.shape(x), dtype, 6)
    return {"cotangent": g if cotangent is None else cotangent, **given}


def arrays(given):
    """Those arguments that are arrays, by name."""
    return {key: part for key, part in given.items() if isinstance(part, np.ndarray)}


def expectation(op, given):
    """Value, bound and dtype of each part of the result; None for those that are None."""
    expected = getattr(gradient_oracles, f"{op}_vjp")(**given)
    if op not in FIELDS:
        return [(expected.x, _BOUNDS[op](expected), expected.dtype)]
    bounds = gradient_bounds.normal_bounds(expected)
    dtypes = expected.dtype, expected.weight_dtype, expected.weight_dtype
    parts = list(zip(expected[:3], bounds, dtypes, strict=True))[: len(FIELDS[op])]
    return [None if part[0] is None else part for part in parts]


def compare(result, value, bound, dtype):
    """Assert that a result is near the value, or infinite where the value exceeds the dtype."""
    result = np.asarray(result)
    if dtype.kind == "f" or dtype == BFLOAT16:
        with np.errstate(invalid="ignore", over="ignore"):
            largest = float((ml_dtypes.finfo if dtype == BFLOAT16 else np.finfo)(dtype).max)
            wide = result.astype("f8")
            beyond = np.isinf(wide) & (np.abs(value) + bound >= largest) & (value * wide > 0)
            value = np.where(beyond, wide, value)
    near(result, value, bound)


def called(op, given, out=None):
    """The parts of the result of the gradient, as a list."""
    result = getattr(fm, f"{op}_vjp")(**given, **({} if out is None else {"out": out}))
    if op not in FIELDS:
        return [result]
    assert result._fields == FIELDS[op]
    return list(result)


def check(op, given, out=None):
    """Call a gradient and compare it with the oracle; all but `out` is asserted unmodified."""
    wanted = expectation(op, given)
    inputs = list(arrays(given).values())
    if out is not None:
        inputs = [part for part in inputs if not np.may_share_memory(part, out)]
    with unmodified(*inputs):
        parts = called(op, given, out)
    compare_all(parts, wanted, out)
    return parts


def compare_all(parts, wanted, out=None):
    """Compare the parts of a result with what `expectation` gave."""
    for place, (result, part) in enumerate(zip(parts, wanted, strict=True)):
        if part is None:
            assert result is None
            continue
        value, bound, dtype = part
        if place == 0 and out is not None:
            assert result is out
            if out.dtype != dtype:
                kind = {"c8": "f4", "c16": "f8"}.get(out.dtype.str[1:], out.dtype)
                bound = rounding_bound(np.abs(value), bound, kind)
        else:
            assert np.asarray(result).dtype == dtype
            assert np.asarray(result).dtype.isnative
        compare(result, value, bound, np.asarray(result).dtype)


def check_variant(variant, x, out=None, cotangent=None, **more):
    """Call the gradient of a variant and compare it with its oracle."""
    return check(operation(variant), arguments(variant, x, cotangent, **more), out)


def shape_of_gradient(given):
    """The shape of the gradient of x, and of out."""
    return np.shape(given.get("x", given.get("result")))
