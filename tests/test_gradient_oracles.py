"""The oracles of gradients are those of the forward oracles: held to differences of these.

Nothing here calls fastmat, but for the names of the variants.
"""

import gradient_oracles
import normal_oracles
import numpy as np
import pytest
import softmax_oracles
from gradients import (
    NORMAL,
    SOFTMAX,
    arguments_for,
    arrays,
    keywords_of_forward,
    result_of,
    shapes_for,
)
from normal_oracles import WIDE
from normals import PER_CHANNEL, operation, values

STEP = 1e-5
EPS = np.finfo(WIDE).eps
SHAPES = [(3, 4), (5, 1), (2, 6, 5), (3, 4, 2, 3)]


def random(shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(WIDE)


def same_slope(loss, place, gradient, noise):
    """The gradient gives the derivative along three random directions."""
    for seed in range(3):
        direction = random(np.shape(place), seed)
        found, bound = gradient_oracles.slope(loss, place, direction, STEP, noise)
        size = np.sum(np.abs(gradient * direction)) + noise
        assert bound <= 1e-6 * size + 16 * noise / STEP  # or it would not tell much
        assert abs(found - np.sum(gradient * direction)) <= bound


@pytest.mark.parametrize("variant", NORMAL)
def test_normalization(variant):
    op = operation(variant)
    for shape in shapes_for(variant, SHAPES):
        x, g = random(shape) + WIDE(0.7), random(shape, 9)
        keywords = {**keywords_of_forward(variant, x.astype("f8")), "eps": 1e-5}
        for key, part in arrays(keywords).items():
            keywords[key] = part.astype(WIDE)
        given = arguments_for(op, x, g, keywords, WIDE)
        found = getattr(gradient_oracles, f"{op}_vjp")(**given)
        normal = forward(op, x, **keywords)
        terms = np.abs(g) * (normal.scaled + normal.bias + normal.size * normal.rstd + 1)
        noise = EPS * (x.size + 20) * np.sum(terms)
        for key, gradient in (("x", found.x), ("weight", found.weight), ("bias", found.bias)):
            if gradient is None or (key != "x" and keywords.get(key) is None):
                continue

            def loss(place, g=g, key=key, given={"x": x, **keywords}):  # noqa: B006
                return np.sum(g * forward(op, **{**given, key: place}).value)

            same_slope(loss, {"x": x, **keywords}[key], gradient, noise)


def forward(op, x, **keywords):
    result = getattr(normal_oracles, op)(x, **keywords)
    return result[0] if op in PER_CHANNEL else result


@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_normalize(order):
    for shape in SHAPES:
        for axis in (-1, 0, (0, 1)):
            for eps in (1e-12, 50.0):
                x, g = random(shape) + WIDE(0.7), random(shape, 9)
                found = gradient_oracles.normalize_vjp(g, x, order, axis, eps).x

                def loss(place, g=g, axis=axis, eps=eps):
                    return np.sum(g * normal_oracles.normalize(place, order, axis, eps).value)

                same_slope(loss, x, found, EPS * (x.size + 20) * np.sum(np.abs(g)))


def test_normalize_of_complex_numbers():
    """The two parts count as two numbers."""
    for shape in SHAPES:
        x = random(shape) + 1j * random(shape, 4) + WIDE(0.7)
        g = random(shape, 9) + 1j * random(shape, 8)
        found = gradient_oracles.normalize_vjp(g, x).x

        def loss(place, g=g):
            value = normal_oracles.normalize(place[0] + 1j * place[1]).value
            return np.sum((np.conj(g) * value).real)

        parts = np.stack([found.real, found.imag])
        noise = EPS * (x.size + 20) * np.sum(np.abs(g))
        same_slope(loss, np.stack([x.real, x.imag]), parts, noise)


def test_normalize_shares_what_is_largest():
    """The mean of the slopes to the left and to the right of a tie, which PyTorch gives, too."""
    x, g = np.array([[2.0, -2.0, 1.0]]), np.array([[0.25, 0.5, 1.0]])
    total = np.sum(g * x) / 4
    expected = g / 2 - np.array([[total / 2, -total / 2, 0]])
    np.testing.assert_array_equal(gradient_oracles.normalize_vjp(g, x, np.inf).x, expected)


@pytest.mark.parametrize("variant", SOFTMAX)
def test_softmax(variant):
    op, keywords = operation(variant), SOFTMAX[variant]
    for shape in shapes_for(variant, SHAPES):
        x = 2 * random(shape)
        result = getattr(softmax_oracles, op)(x, **keywords).value
        g = random(result.shape, 9)
        given = {"x": x} if op == "logsumexp" else {}
        vjp = getattr(gradient_oracles, f"{op}_vjp")
        found = vjp(cotangent=g, **given, result=result, **keywords).x

        def loss(place, op=op, g=g, keywords=keywords):
            return np.sum(g * getattr(softmax_oracles, op)(place, **keywords).value)

        noise = EPS * (x.size + 20) * np.sum(np.abs(g) * (np.abs(result) + np.max(np.abs(x)) + 1))
        same_slope(loss, x, found, noise)


def test_results_handed_over_are_those_of_the_forward_oracle():
    x = values((3, 4), "f4")
    assert result_of("softmax", x, {"axis": 0}).dtype == np.float32
    np.testing.assert_allclose(result_of("softmax", x, {"axis": 0}).sum(0), 1, 4 * 2.0**-23)
