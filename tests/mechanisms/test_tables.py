"""A tabulated link is not read beyond its range, by any mechanism; special cases are certified."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb


def table() -> sb.TabulatedLink:
    return sb.TabulatedLink(lambda w: w + np.sqrt(w), 1e-9, 2.0)


def behind(size: int) -> sb.Parameterization:
    return sb.Linked(sb.Hadamard(size), table())


HOLDERS: dict[str, Any] = {
    "two factors": lambda: behind(2),
    "one factor": lambda: sb.Linked(sb.Plain(2), table()),
    "in a synthesis": lambda: sb.Synthesis(
        sb.Diagonal([1.0, 2.0]), sb.Linked(sb.Hadamard(2), table())
    ),
    "in parts": lambda: sb.Parts(
        2, [([1], sb.Hadamard(1)), ([0], sb.Linked(sb.Hadamard(1), table()))]
    ),
    "behind a link": lambda: sb.Linked(behind(2), sb.PowerLink(1.0)),
    "a length": lambda: sb.Radial(2, 2, table()),
}
INSIDE, BEYOND = np.array([1.5, 0.7]), np.array([5.0, 0.7])
MECHANISMS: dict[str, Any] = {
    "weight decay": lambda p: sb.WeightDecay(1.0).induced(p),
    "label noise": lambda p: sb.LabelNoise(1.0, 1.0, 1).induced(p),
    "gradient flow": lambda p: sb.GradientFlow(0.5, start=np.array([0.1, 0.1])).induced(p),
    "Langevin": lambda p: sb.Langevin(0.5).induced(p),
    "Langevin, on theta": lambda p: sb.Langevin(0.5).law(
        p, lambda w: 0.0 * w.sum(), "ambient" if isinstance(p, sb.Radial) else "slice"
    ),
    "section": lambda p: p.section,
}


LONG = ("in parts", "behind a link", "a length", "two factors")  # under Langevin
CELLS = [
    pytest.param(h, m, marks=[pytest.mark.slow] * (m.startswith("Langevin") and h in LONG))
    for h in HOLDERS
    for m in MECHANISMS
]


@pytest.mark.parametrize(("holder", "mechanism"), CELLS)
def test_beyond_the_table_is_refused(holder: str, mechanism: str) -> None:
    p = HOLDERS[holder]()
    if mechanism == "Langevin, on theta" and holder == "one factor":
        pytest.skip("no orbit")
    answer = MECHANISMS[mechanism](p)
    assert answer(INSIDE) is not None
    with pytest.raises(ValueError, match="table"):
        answer(BEYOND)


def test_projections_and_limits_beyond_the_table_are_refused() -> None:
    p, flow = behind(2), sb.GradientFlow(0.5, start=np.array([0.1, 0.1]))
    inputs = np.eye(2)[:1]
    assert flow.bregman_projection(p, inputs, [1.5])[0] == pytest.approx(1.5)
    for way in (flow.bregman_projection, flow.interpolator):
        with pytest.raises(ValueError, match="table"):
            way(p, inputs, [5.0])


@pytest.mark.slow
def test_a_law_with_mass_at_the_end_of_a_table_is_refused() -> None:
    p = behind(1)

    def loss(w: Any) -> Any:
        return jnp.sum((w - 1) ** 2) / 2

    assert 0.4 < float(sb.Langevin(1e-3).law(p, loss).cdf(np.array(1.0))) < 0.6
    with pytest.raises(ValueError, match="its density is not known"):
        sb.Langevin(0.5).law(p, loss).cdf(np.array(1.0))
    two = behind(2)
    with pytest.raises(ValueError, match="density is not known"):
        sb.Langevin(0.5).law(two, loss).sample(200)


def test_while_traced_it_is_not_a_number() -> None:
    with jax.enable_x64(True):
        z = jax.jit(table().inverse)(jnp.array([1.0, 5.0]))
    assert float(z[0]) == pytest.approx(2.0)
    assert np.isnan(z[1])


def test_training_passes_through() -> None:
    assert np.isfinite(table().forward(np.array([50.0])))[0]


@pytest.mark.parametrize(
    ("inner", "exponent"),
    [(sb.Hadamard(2), 0.5), (sb.Plain(2), 1.0), (sb.Hadamard(2, depth=3), 1 / 3)],
)
def test_a_penalty_behind_a_link_has_the_exponent_of_both(
    inner: sb.Parameterization, exponent: float
) -> None:
    """w = z^2: |z|^(2/L) = |w|^(1/L); of plain z, z^2 / 2 = |w| / 2."""
    form = sb.Linked(inner, sb.PowerLink(2.0)).balanced_form()
    assert form.scalar.exponent == pytest.approx(exponent, abs=1e-5)  # type: ignore[attr-defined]
    assert form.scalar.corner is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        (sb.Hadamard(1), lambda z: abs(z)),
        (sb.Plain(1), lambda z: z**2 / 2),
        (sb.Hadamard(1, depth=3), lambda z: 1.5 * abs(z) ** (2 / 3)),
        (sb.Linked(sb.Hadamard(1), sb.PowerLink(2.0)), lambda z: abs(z) ** 0.5),
    ],
)
def test_an_elastic_link_is_what_stands_behind_it(inner: sb.Parameterization, value: Any) -> None:
    """Only of a product of two is it l1 |w| + l2 w^2 / 2."""
    p = sb.Linked(inner, sb.ElasticLink(0.8, 0.6))
    for w in (0.7, -1.4):
        z = 0.8 * w + 0.3 * w * abs(w)
        penalty = sb.WeightDecay(1.0).induced(p)
        assert float(penalty(np.array([w]))) == pytest.approx(float(value(z)))
        assert penalty.form((1,)).value(np.array([w])) == pytest.approx(float(value(z)))


def test_the_formula_of_a_law_counts_orbital_noise() -> None:
    p = sb.Radial(1, 3)
    assert "0.5 T log volume" in sb.Langevin(1.0, orbital=0.5).induced(p).formula
    assert "volume" not in sb.Langevin(1.0).induced(p).formula


def test_searches_of_a_penalty_stop_where_its_table_ends() -> None:
    """R(t) = t + sqrt(t) on t <= 2: not convex, and no supremum is claimed beyond."""
    form = behind(1).balanced_form()
    assert not form.convex
    scalar = sb.Linked(sb.Plain(1), sb.TabulatedLink(lambda w: w + w**3, 1e-9, 2.0)).balanced_form()
    assert scalar.convex  # z^2 / 2 with z = t + t^3
    found = scalar.scalar.conjugate(np.array([0.5]), 1e9)  # type: ignore[attr-defined]
    t = np.linspace(0, 2, 2_000_001)
    assert found[0] == pytest.approx(np.max(0.5 * t - (t + t**3) ** 2 / 2), rel=1e-8)
    with pytest.raises(ValueError, match="not known beyond 2"):
        scalar.scalar.conjugate(np.array([1e4]), 1e9)  # type: ignore[attr-defined]
