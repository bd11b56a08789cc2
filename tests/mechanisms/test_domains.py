"""Where laws live, and whether they have a finite mass."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_api_compat import array_namespace
from scipy import integrate, stats

import symbias as sb
from symbias.mechanisms import Law


def quadratic(w):
    return jnp.sum((w - 1) ** 2) / 2


LINKS = {
    "length": sb.PowerLink(1.0),
    "cube": sb.PowerLink(3.0, 0.7),
    "elastic": sb.ElasticLink(1.0, 0.5),
    "exponential": sb.ExponentialLink(0.5),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ("cube", "elastic"))) for n in LINKS]
)
def test_a_radius_has_no_mass_below_zero(name: str) -> None:
    """Density of w = h(r) against dw, by quadrature over r: exp(-l(h(r)) / T) dr."""
    p, T = sb.Radial((), 2, LINKS[name]), 0.5
    law = sb.Langevin(T).law(p, quadratic)
    assert float(law.cdf(np.array(0.0))) < 1e-9
    assert float(law.cdf(np.array(-0.3))) == 0
    assert law(np.array(-0.3)) == np.inf

    def density(r: float) -> float:
        return float(np.exp(-((float(LINKS[name].forward(np.array(r))) - 1) ** 2) / (2 * T)))

    mass = integrate.quad(density, 0, 20, limit=200)[0]
    for r in (0.4, 1.0):
        part = integrate.quad(density, 0, r)[0]
        w = LINKS[name].forward(np.array(r))
        assert float(law.cdf(w)) == pytest.approx(part / mass, abs=1e-5)
    with pytest.raises(ValueError, match="outside of the range of Radial"):
        p.section(np.array(-0.3))


def test_a_gauge_link_reaches_both_signs() -> None:
    p = sb.design("l1", sb.Langevin(0.3, reference="ambient"), shape=2)
    w = np.array([0.4, -0.3])
    np.testing.assert_allclose(p(p.section(w)), w)


class Tied(sb.Parameterization):
    """Entries 11, 12, 22 of W^T W; eigenvalues below zero are taken by their size."""

    shape = (3,)
    shapes = {"W": (2, 2)}  # noqa: RUF012
    balanced_section = True

    @property
    def symmetry(self):
        return sb.Symmetry([sb.Bond(sb.Orthogonal(2), vectors=[("W", 0)], name="rotations")])

    def _effective(self, params):
        W = params["W"]
        return (W.T @ W).reshape(-1)[np.array([0, 1, 3])]

    def _section(self, w, charge):
        xp = array_namespace(w)
        s, v = xp.linalg.eigh(xp.reshape(xp.stack([w[0], w[1], w[1], w[2]]), (2, 2)))
        return {"W": xp.sqrt(xp.abs(s))[:, None] * v.T}


@pytest.mark.slow
def test_samples_of_a_tied_product_are_positive_matrices() -> None:
    """Isotropic noise (rho = 1): Gibbs on theta, so w = W^T W of Metropolis draws of theta.

    500 against 4,000 draws; a true law fails one of three at 1e-4 once in 3,000 seeds.
    """
    T = 0.5

    def loss(w: Any) -> Any:
        return jnp.sum((w - jnp.array([1.0, 0.3, 1.0])) ** 2) / 2

    law = sb.Langevin(T, orbital=1.0).law(Tied(), loss)
    w = law.sample(500, key=1)
    assert np.all(
        w[:, 0] * w[:, 2] - w[:, 1] ** 2 > -1e-7
    )  # 1e-8 of w, to which factors are checked
    assert law(np.array([1.0, 2.0, 1.0])) == np.inf
    rng, W = np.random.default_rng(0), np.random.default_rng(1).normal(size=(4000, 2, 2))

    def energy(W: np.ndarray) -> np.ndarray:
        M = np.swapaxes(W, 1, 2) @ W
        off = M - np.array([[1.0, 0.3], [0.3, 1.0]])
        return (off[:, 0, 0] ** 2 + off[:, 0, 1] ** 2 + off[:, 1, 1] ** 2) / (2 * T)

    for _ in range(1500):
        move = W + 0.35 * rng.normal(size=W.shape)
        taken = rng.random(len(W)) < np.exp(np.minimum(0, energy(W) - energy(move)))
        W = np.where(taken[:, None, None], move, W)
    true = (np.swapaxes(W, 1, 2) @ W).reshape(-1, 4)[:, [0, 1, 3]]
    for k in range(3):
        assert stats.ks_2samp(w[:, k], true[:, k]).pvalue > 1e-4


@pytest.mark.slow
def test_a_half_plane_is_a_domain() -> None:
    """Outside -inf or NaN: a half normal. 2,000 draws, each test at 1e-3."""
    for outside in (-jnp.inf, jnp.nan):
        law = Law(
            lambda w, v=outside: jnp.where(w[0] > 0, -jnp.sum(w**2) / 2, v), "predictor", (2,)
        )
        w = law.sample(2000, key=3)
        assert w[:, 0].min() > 0
        assert stats.kstest(w[:, 0], stats.halfnorm.cdf).pvalue > 1e-3
        assert stats.kstest(w[:, 1], stats.norm.cdf).pvalue > 1e-3


def test_a_domain_that_is_nowhere_is_refused() -> None:
    law = Law(lambda w: jnp.where(w[0] > 1e6, -jnp.sum(w**2), -jnp.inf), "predictor", (2,))
    with pytest.raises(ValueError, match="no w was found"):
        law.sample(10)


@pytest.mark.slow
def test_a_domain_far_from_the_origin_is_found() -> None:
    """A normal beyond w_0 > 8, where one in 10^15 standard normal points lies. Tests at 1e-3."""
    law = Law(lambda w: jnp.where(w[0] > 8, -jnp.sum(w**2) / 2, -jnp.inf), "predictor", (2,))
    w = law.sample(1000, key=0)
    assert stats.kstest(w[:, 0], stats.truncnorm(8, np.inf).cdf).pvalue > 1e-3
    assert stats.kstest(w[:, 1], stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_few_draws_are_as_good_as_many(size: int) -> None:
    """Of a narrow normal far from the origin: each within 6 standard deviations."""
    law = Law(lambda w: -jnp.sum((w - 5) ** 2) / 2e-12, "predictor", (2,))
    w = law.sample(size, key=0)
    assert w.shape == (size, 2)
    assert np.abs(w - 5).max() < 6e-6


class Broken(Tied):
    def _section(self, w, charge):
        return {"W": jnp.full((2, 2), jnp.nan)}


def test_a_section_that_gives_nan_is_refused() -> None:
    with pytest.raises(sb.Refused, match="its section gives factors of w for 0 of"):
        sb.Langevin(1.0).law(Broken(), quadratic)


def pair(w: Any) -> Any:
    return (w[0] + w[1] - 1) ** 2 / 2


def pair_and_one(w: Any) -> Any:
    return pair(w) + (w[2] - 1) ** 2 / 2


def sums_of(rows: list[list[int]]) -> Any:
    x = np.array(rows, dtype=float)
    return lambda w: jnp.sum((x @ w - 1) ** 2) / 2


# dim N_S < (1 - 1/L) |S| for every S with N_S != 0
MASS = {
    "one of two, depth 2": (sb.Hadamard(2), pair, False),  # 1 < 1
    "one of two, depth 3": (sb.Hadamard(2, depth=3), pair, True),  # 1 < 4/3
    "beside a held one": (sb.Hadamard(3), pair_and_one, False),
    "beside a held one, depth 3": (sb.Hadamard(3, depth=3), pair_and_one, True),
    "one of three": (sb.Hadamard(3), sums_of([[1, 1, 0], [0, 1, 1]]), True),  # 1 < 3/2
    "two of three": (sb.Hadamard(3), sums_of([[1, 1, 1]]), False),  # 2 < 3/2
    "two of three, depth 3": (sb.Hadamard(3, depth=3), sums_of([[1, 1, 1]]), False),  # 2 < 2
    "two of three, depth 4": (sb.Hadamard(3, depth=4), sums_of([[1, 1, 1]]), True),  # 2 < 9/4
    "a free entry": (sb.Hadamard(2, depth=5), lambda w: (w[0] - 1) ** 2, False),  # 1 < 4/5
    "a free first entry": (sb.Hadamard(2, depth=5), lambda w: (w[1] - 1) ** 2, False),
    "flat": (sb.Hadamard(2, depth=3), lambda w: 0.0 * w[0], False),
    "in z": (sb.Synthesis(sb.CumulativeSum(free=0), sb.Hadamard(2)), lambda w: (w[1] - 1) ** 2,
             False),  # w_1 = z_0 + z_1
    "in z, depth 3": (sb.Synthesis(sb.CumulativeSum(free=0), sb.Hadamard(2, depth=3)),
                      lambda w: (w[1] - 1) ** 2, True),
    "in z, but not in w": (sb.Synthesis(sb.CumulativeSum(free=0), sb.Hadamard(3)),
                           lambda w: (w[1] - 1) ** 2 + (w[2] - w[1]) ** 2, False),
    "held": (sb.Hadamard(2), quadratic, True),
}  # fmt: skip


@pytest.mark.parametrize("name", MASS)
def test_what_can_be_normalised(name: str) -> None:
    p, loss, finite = MASS[name]
    law = sb.Langevin(0.5).law(p, loss)
    if finite:
        law._check_mass()
    else:
        with pytest.raises(ValueError, match="cannot be normalised: its mass escapes"):
            law.sample(2)


def test_the_rule_is_that_of_the_mass_within_a_box() -> None:
    """By quadrature: sums over boxes of size R stay for depth 3 and grow like log R for depth 2."""

    def mass(depth: int, R: float) -> float:
        n = np.exp(np.linspace(3, np.log(R), 2001))  # along (1, -1), from a distance on
        total = 0.0
        for sum_ in np.linspace(-3, 5, 81):
            w = np.stack([n, sum_ - n])
            density = np.prod(np.abs(w), axis=0) ** (1 / depth - 1)
            total += 0.1 * np.exp(-((sum_ - 1) ** 2)) * np.trapezoid(density, n)
        return total

    two = [mass(2, R) for R in (1e2, 1e4, 1e6)]
    three = [mass(3, R) for R in (1e2, 1e4, 1e6)]
    assert two[2] - two[1] == pytest.approx(two[1] - two[0], rel=0.05)
    assert three[2] - three[1] < 0.3 * (three[1] - three[0])


# one number, by its log density; exactly on the edge, where rounding must not decide
ESCAPING = {
    "1 / (1 + w)": lambda w: -jnp.log1p(jnp.abs(w)),
    "1 / sqrt(1 + w^2)": lambda w: -jnp.log1p(w**2) / 2,
    "min(1, 1/w), one side": lambda w: jnp.where(w > 0, -jnp.log(jnp.maximum(w, 1.0)), -jnp.inf),
    "below the edge": lambda w: -0.9 * jnp.log1p(jnp.abs(w)),
}
PILED = {
    "exp(-w) / w": lambda w: -jnp.log(jnp.abs(w)) - jnp.abs(w),
    "1/w on (0, 1)": lambda w: jnp.where((w > 0) & (w < 1), -jnp.log(w), -jnp.inf),
    "below the edge": lambda w: -1.1 * jnp.log(jnp.abs(w)) - jnp.abs(w),
}


@pytest.mark.parametrize("name", ESCAPING)
def test_mass_that_grows_like_a_logarithm_toward_infinity_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="its mass escapes to infinity"):
        Law(ESCAPING[name], "predictor").cdf(np.array(1.0))


@pytest.mark.parametrize("name", PILED)
def test_mass_that_grows_like_a_logarithm_toward_zero_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="its mass piles up at w = 0"):
        Law(PILED[name], "predictor").cdf(np.array(1.0))


def test_edges_in_the_plane() -> None:
    """r^-2 r dr = d log r at either end."""
    for sign, message in ((1, "escapes to infinity"), (-1, "piles up at w = 0")):
        law = Law(lambda w, s=sign: -s * jnp.log1p(jnp.sum(w**2) ** s), "predictor", (2,))
        with pytest.raises(ValueError, match=message):
            law._check_mass()


@pytest.mark.parametrize("exponent", [1.3, 1.5, 3.0])
def test_heavy_tails(exponent: float) -> None:
    """Density (1 + |w|)^-k: beyond w > 0 lies (1 + w)^(1 - k) / 2."""
    law = Law(lambda w: -exponent * jnp.log1p(jnp.abs(w)), "predictor")
    w = np.array([1e-3, 1.0, 50.0])
    tail = (1 + w) ** (1 - exponent) / 2
    np.testing.assert_allclose(law.cdf(w), 1 - tail, atol=2e-6)
    np.testing.assert_allclose(law.cdf(-w), tail, atol=2e-6)


def test_mass_beyond_the_quadrature_is_refused_with_its_part() -> None:
    """(1 + |w|)^-1.01: e^-.6 = .55 of the mass lies beyond e^60."""
    with pytest.raises(ValueError, match=r"^0\.55 of the mass of the law lies beyond"):
        Law(lambda w: -1.01 * jnp.log1p(jnp.abs(w)), "predictor").cdf(np.array(1.0))


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 1), (-1, 0)])
def test_mass_below_the_quadrature_is_kept(low: int, high: int) -> None:
    """|w|^(-.99) on an interval: |w|^.01 of the mass within |w|, .20 of it below e^-160."""

    def density(w: Any) -> Any:
        return jnp.where((w > low) & (w < high), -0.99 * jnp.log(jnp.abs(w)), -jnp.inf)

    law = Law(density, "predictor")
    w = np.array([-2.0, -0.5, -1e-60, 0.0, 1e-60, 0.5, 2.0])
    side = np.sign(w) * np.minimum(np.abs(w), 1.0) ** 0.01
    true = (np.clip(side, low, high) - low) / (high - low)
    np.testing.assert_allclose(law.cdf(w), true, atol=2e-6)
    draws = law.sample(4000, key=0)  # the distribution of |w| at 1e-60, within 5 standard errors
    assert abs(np.mean(np.abs(draws) < 1e-60) - 1e-60**0.01) < 5 * 0.5 / 4000**0.5


@pytest.mark.parametrize("T", [1e-6, 1e-10])
def test_two_narrow_wells_on_one_half_line(T: float) -> None:
    """w = u v: |w|^(-1/2) exp(-l/T); both wells have the curvature 4, so .5^-.5 : 1.5^-.5."""
    law = sb.Langevin(T).law(sb.Hadamard(1), lambda w: 2 * ((w[0] - 0.5) * (w[0] - 1.5)) ** 2)
    first = 0.5**-0.5 / (0.5**-0.5 + 1.5**-0.5)
    assert float(law.cdf(np.array(1.0))) == pytest.approx(first, abs=1e-4)
    sd = (T / 4) ** 0.5
    inside = law.cdf(np.array([0.5 - sd, 0.5 + sd, 1.5 - sd, 1.5 + sd]))
    one = stats.norm.cdf(1) - stats.norm.cdf(-1)
    np.testing.assert_allclose(
        [inside[1] - inside[0], inside[3] - inside[2]], [one * first, one * (1 - first)], atol=1e-3
    )


# kind, factors of it, and what -log vol is on the slice and in the conditioned law
KINDS = {
    "radial": (sb.Radial(1, 3), lambda t: 2 * np.log(np.linalg.norm(t["x"])), None),
    "product": (sb.Hadamard(1), lambda t: 0.0,
                lambda t: np.log(2) + np.log(t["u1"][0] ** 2 + t["u2"][0] ** 2) / 2),
    "matrix": (sb.MatrixProduct(2, 2), None, None),
    "group": (sb.GroupProduct(1, groups=[0]), lambda t: 0.0,
              lambda t: np.log(2) + np.log(t["s"][0] ** 2 + t["v"][0] ** 2) / 2),
    "plain": (sb.Plain(1), lambda t: 0.0, lambda t: 0.0),
}  # fmt: skip


@cache
def law_of(name: str, reference: str) -> Law:
    return sb.Langevin(1.0).law(KINDS[name][0], lambda w: 0.0 * w.sum(), reference)


def alone(name: str, reference: str, theta: dict[str, np.ndarray]) -> float:
    """log density of one part of the law, without a loss."""
    _, on_slice, conditioned = KINDS[name]
    if name == "matrix":
        return float(law_of(name, reference).log_density(theta))
    if reference == "slice" or name == "radial":
        return -float(on_slice(theta))
    return -float(conditioned(theta))


PAIRS = [
    pytest.param(
        a, b, id=f"{a}-{b}", marks=[pytest.mark.slow] * ("matrix" in (a, b) and b != "plain")
    )
    for a in KINDS
    for b in KINDS
    if a < b and not {a, b} <= {"radial", "plain"}
]


@pytest.mark.parametrize("reference", ["slice", "conditioned", "predictor"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_laws_of_parts_are_assembled_part_by_part(first: str, second: str, reference: str) -> None:
    designs = [KINDS[first][0], KINDS[second][0]]
    sizes = [int(np.prod(p.shape)) for p in designs]
    parts = [(np.arange(sizes[0]), designs[0]), (sizes[0] + np.arange(sizes[1]), designs[1])]
    p = sb.Parts(sum(sizes), parts)
    law = sb.Langevin(1.0).law(p, lambda w: 0.0 * w.sum(), reference)
    rng = np.random.default_rng(0)
    found, expected = [], []
    with jax.enable_x64(True):
        for _ in range(3):
            pieces = [np.abs(rng.normal(size=q.shape)) + 0.2 for q in designs]
            w = np.concatenate([piece.ravel() for piece in pieces])
            theta = {k: jnp.asarray(v) for k, v in p.section(w).items()}
            point = jnp.asarray(w) if reference == "predictor" else theta
            found.append(float(law.log_density(point)))
            total = 0.0
            for k, (name, piece) in enumerate(zip((first, second), pieces, strict=True)):
                q = designs[k]
                if reference == "predictor":
                    total += float(law_of(name, reference).log_density(jnp.asarray(piece)))
                else:
                    total += alone(name, reference, {n: theta[f"{k}.{n}"] for n in q.shapes})
            expected.append(total)
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=1e-8)


def test_a_length_beside_a_product_keeps_its_log_two() -> None:
    p = sb.Parts(2, [([0], sb.Radial(1, 2)), ([1], sb.Hadamard(1))])
    with jax.enable_x64(True):
        near, far = (p.section(np.array([r, 0.7])) for r in (1.0, 2.0))
        for reference in ("slice", "conditioned"):
            law = sb.Langevin(1.0).law(p, lambda w: 0.0 * w.sum(), reference)
            fall = float(law.log_density(near)) - float(law.log_density(far))
            assert fall == pytest.approx(np.log(2), abs=1e-12)


@pytest.mark.slow
def test_the_law_of_a_mixed_group_against_simulation() -> None:
    """A length and a product, by Euler steps of noise without a component along orbits.

    1,000 replicas, 10 units of time in steps of 2e-3; each of three tests at 1e-3.
    """
    p = sb.Parts(2, [([0], sb.Radial(1, 2)), ([1], sb.Hadamard(1))])
    T, h, target = 0.05, 2e-3, np.array([1.0, 1.5])
    law = sb.Langevin(T).law(p, lambda w: jnp.sum((w - target) ** 2) / 2)
    drawn = law.sample(2000, key=0)
    rng = np.random.default_rng(0)
    x, u, v = np.tile([0.6, 0.8], (1000, 1)), np.full(1000, 1.2), np.full(1000, 1.2)
    for _ in range(5000):
        r, z = np.linalg.norm(x, axis=1, keepdims=True), u * v
        noise = (2 * T * h) ** 0.5 * rng.normal(size=(2, 1000))
        x = x / r * (r - h * (r - target[0]) + noise[0][:, None])
        size = np.hypot(u, v)
        pull = -h * (z - target[1]) + noise[1] / size
        u, v = u + pull * v, v + pull * u
    true = np.stack([np.linalg.norm(x, axis=1), u * v], axis=1)
    for k in range(2):
        assert stats.ks_2samp(drawn[:, k], true[:, k]).pvalue > 1e-3
    assert abs(stats.spearmanr(drawn).statistic) < 0.08


def inside(w: Any, log: Any) -> Any:
    return jnp.where(jnp.abs(w) < 1, log, -jnp.inf)


@pytest.mark.parametrize("exponent", [1.0, 1.3])
def test_mass_that_piles_up_at_an_end_of_the_range_is_refused(exponent: float) -> None:
    """(1 - w^2)^-a: infinite for a >= 1; and on a square, by the rays that leave it."""
    line = Law(lambda w: inside(w, -exponent * jnp.log1p(-(w**2))), "predictor")
    with pytest.raises(ValueError, match="piles up at w = -1, an end of the range of w"):
        line.cdf(np.array(0.0))
    square = Law(
        lambda w: jnp.sum(inside(w, -exponent * jnp.log1p(-(w**2)))) - jnp.sum(w), "predictor", (2,)
    )
    with pytest.raises(ValueError, match=r"piles up at w = .*, an end of the range"):
        square.sample(2)


def test_an_end_of_the_range_may_have_an_infinite_density() -> None:
    """(1 - w^2)^-1/2 is the arcsine law."""
    law = Law(lambda w: inside(w, -0.5 * jnp.log1p(-(w**2))), "predictor")
    w = np.array([-0.9, -0.2, 0.0, 0.5, 0.99])
    np.testing.assert_allclose(law.cdf(w), 0.5 + np.arcsin(w) / np.pi, atol=1e-5)
    plane = Law(lambda w: jnp.sum(inside(w, -0.5 * jnp.log1p(-(w**2)))), "predictor", (2,))
    plane._check_mass()


@pytest.mark.slow
def test_the_law_of_a_bounded_map_of_ones_own_is_refused() -> None:
    """w = tanh u under a loss that does not hold u: du = dw / (1 - w^2)."""
    p = sb.Parameterization.of(lambda q: jnp.tanh(q["u"]), {"u": (1,)})
    law = sb.Langevin(0.1).law(p, lambda w: jnp.sum((w - 0.3) ** 2) / 2)
    with pytest.raises(ValueError, match=r"piles up at w = -?1, an end"):
        law.cdf(np.array([0.5]))
