"""Running statistics of `fm.batch_norm` and `fm.instance_norm`; PyTorch as a second oracle."""

import normal_oracles
import numpy as np
import pytest
from layouts import WRITABLE, outside
from normals import (
    VARIANTS,
    bound_of,
    channels_last,
    check,
    check_running,
    check_variant,
    fits,
    keywords_for,
    near,
    operation,
    reference,
    values,
)
from oracles import FLOATS, name
from products import bits
from tolerances import normalized_bound, statistics_bounds

import fastmat as fm


def check_updates(op, x, mean, var, momentum):
    """Call an operation that updates running statistics; compare all with the oracle."""
    use = {"training": True} if op == "batch_norm" else {"use_input_stats": True}
    given = mean.copy(), var.copy()
    normal, _ = getattr(normal_oracles, op)(x, *given, momentum=momentum, **use)
    wide, rest = normal_oracles.wide(x), tuple(a for a in range(x.ndim) if a != 1)
    axes = rest if op == "batch_norm" else rest[1:]
    n = normal.n
    unbiased = np.var(wide, axis=axes, keepdims=True) * np.longdouble(n) / (n - 1)
    error, relative = statistics_bounds(normal._replace(rstd=1 / np.sqrt(unbiased)))
    relative = 2 * relative * np.sqrt(unbiased)
    new = [np.mean(part, axis=rest) for part in (normal.mean, unbiased)]
    bounds = [np.max(part, axis=rest) for part in (error, relative * unbiased)]
    result = getattr(fm, op)(x, mean, var, momentum=momentum, **use)
    near(result, normal.value, normalized_bound(normal))
    for was, now, value, bound in zip(given, (mean, var), new, bounds, strict=True):
        check_running(was, now, value, bound, momentum)


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_running_statistics(dtype, op):
    for shape in [(4, 6, 5), (7, 3, 2, 3), (2, 65, 33), (3, 1, 4), (1, 2, 5000)]:
        for running in FLOATS:
            for momentum in (0.1, 0, 1, 0.75):
                mean = values(shape[1], running, 3)
                var = np.abs(values(shape[1], running, 4))
                check_updates(op, values(shape, dtype), mean, var, momentum)
    check_updates("batch_norm", values((9, 4), dtype), np.zeros(4), np.ones(4), 0.1)


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("layout", WRITABLE)
def test_layouts_of_running_statistics(op, layout):
    for dtype in ("f4", "f8"):
        mean = WRITABLE[layout](values(6, dtype, 3))
        var = WRITABLE[layout](np.abs(values(6, dtype, 4)))
        around = outside(mean), outside(var)
        check_updates(op, values((4, 6, 5), "f4"), mean, var, 0.1)
        assert (outside(mean), outside(var)) == around


def test_running_statistics_of_channels_last():
    x = channels_last(values((3, 64, 4, 5), "f4"))
    for op in ("batch_norm", "instance_norm"):
        check_updates(op, x, np.zeros(64, "f4"), np.ones(64, "f4"), 0.1)


def test_running_statistics_are_only_read_where_they_are_given():
    """`check` asserts that they are not modified."""
    for variant in ("batch_norm given", "instance_norm given"):
        check_variant(variant, values((4, 6, 5), "f4"))


def test_running_statistics_in_place():
    """Those of x are updated before out, which may be x, is written over."""
    for op in ("batch_norm", "instance_norm"):
        use = {"training": True} if op == "batch_norm" else {}
        x = values((4, 6, 5), "f4")
        running = [np.zeros(6), np.ones(6), np.zeros(6), np.ones(6)]
        expected = getattr(fm, op)(x, *running[:2], **use)
        assert getattr(fm, op)(x, *running[2:], **use, out=x) is x
        assert bits(x) == bits(expected)
        assert bits(running[0]) == bits(running[2])
        assert bits(running[1]) == bits(running[3])


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
def test_nan_stays_in_its_channel_of_running_statistics(op):
    use = {"training": True} if op == "batch_norm" else {}
    x = values((4, 6, 5), "f4")
    x[1, 2, 3] = np.nan
    mean, var = np.zeros(6), np.ones(6)
    getattr(fm, op)(x, mean, var, **use)
    assert np.isnan(mean).nonzero()[0].tolist() == [2]
    assert np.isnan(var).nonzero()[0].tolist() == [2]


def test_running_statistics_may_be_tensors():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(values((4, 6, 5), "f4"))
    mean, var = torch.zeros(6), torch.ones(6)
    fm.batch_norm(x, mean, var, training=True)
    assert np.abs(mean.numpy()).min() > 0
    assert np.abs(var.numpy() - 1).min() > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_torch_computes_the_same(variant):
    """In float64 PyTorch is within ten times the bounds around the oracle."""
    torch = pytest.importorskip("torch")
    for shape in [(4, 6, 5), (3, 4, 2, 7), (5, 8), (2, 6, 3, 2, 2)]:
        x = values(shape, "f8")
        if not fits(variant, shape):
            continue
        op, keywords = operation(variant), keywords_for(variant, x)
        if op == "normalize":
            order, axis = keywords.get("ord", 2), keywords.get("axis", -1)
            keywords = {"ord": order, "axis": axis if isinstance(axis, int) else 0}
            theirs = {"p": float(order), "dim": keywords["axis"]}
        elif "axis" in keywords:
            continue  # PyTorch knows the last axes only
        else:
            theirs = {"running_mean": None, "running_var": None} if op == "batch_norm" else {}
            theirs.update(keywords)
        theirs = {
            key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for key, value in theirs.items()
        }
        result = getattr(torch.nn.functional, op)(torch.from_numpy(x), **theirs).numpy()
        expected = reference(op, x, **keywords)
        near(result, expected.value, 10 * bound_of(expected))
        check(op, x, **keywords)


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, 0.6])
def test_torch_updates_the_same_statistics(op, momentum):
    torch = pytest.importorskip("torch")
    use = {"training": True} if op == "batch_norm" else {"use_input_stats": True}
    for shape in [(4, 6, 5), (3, 4, 2, 7), (1, 6, 9)]:
        x = values(shape, "f8")
        ours = values(shape[1], "f8", 3), np.abs(values(shape[1], "f8", 4))
        theirs = tuple(torch.from_numpy(part.copy()) for part in ours)
        getattr(torch.nn.functional, op)(torch.from_numpy(x), *theirs, momentum=momentum, **use)
        getattr(fm, op)(x, *ours, momentum=momentum, **use)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other.numpy(), rtol=1e-13, atol=1e-14)
