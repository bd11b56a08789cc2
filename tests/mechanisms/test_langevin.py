"""Laws of Langevin training: formulas against dense definitions, refusals, effective loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import integrate, stats

import symbias as sb
from symbias._core.refusal import Refused
from symbias.mechanisms import Langevin, Law, effective_loss, noise_drift
from symbias.symmetry import Bond, GeneralLinear, Orthogonal, Rescaling, Symmetry, UniformScale
from tests.mechanisms.effective import Product, Radius, SquareProduct


def quadratic(w):
    return jnp.sum((w - 1) ** 2) / 2


def differences(values: np.ndarray) -> np.ndarray:
    """Densities are known up to a constant."""
    return values - values[0]


W = np.array([0.3, 0.7, 1.1, 1.9])
T = 0.2


@pytest.mark.parametrize(("n", "p", "rho"), [(4, 2, 1.0), (3, 2, 0.5), (2, 4, 0.5), (1, 2, 0.0)])
def test_power_family(n: int, p: int, rho: float) -> None:
    """Against dw: w^(k/p - 1) exp(-l/T), k = rho (n - 1) + 1."""
    law = Langevin(T, rho).law(Radius(n, p), quadratic)
    k = rho * (n - 1) + 1
    expected = -((W - 1) ** 2) / 2 / T + (k / p - 1) * np.log(W)
    np.testing.assert_allclose(differences(law.evaluate(W)), differences(expected), atol=1e-12)
    assert law.reference == "predictor"
    assert any("small steps" in line for line in law.assumptions)

    def density(w: float) -> float:
        return w ** (k / p - 1) * np.exp(-((w - 1) ** 2) / 2 / T)

    mass = integrate.quad(density, 0, 6, points=[0.01, 1])[0]
    for w in (0.05, 0.8, 1.5):
        part = integrate.quad(density, 0, w, points=[min(0.01, w / 2)])[0]
        assert abs(law.cdf(w) - part / mass) < 1e-5  # 20,000 draws see steps of 1e-2


@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_ambient_and_quotient_of_a_compact_group(rho: float) -> None:
    """log vol of a sphere in R^4: three times log |x|."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 4))
    r = np.linalg.norm(x, axis=1)
    loss = (r**3 - 1) ** 2 / 2
    for reference, power in (("ambient", rho - 1), ("quotient", rho)):
        law = Langevin(T, rho).law(Radius(4, 3), quadratic, reference)
        expected = -loss / T + power * 3 * np.log(r)
        got = law.evaluate({"x": x})
        np.testing.assert_allclose(differences(got), differences(expected), atol=1e-9)


def test_three_densities_are_one_law() -> None:
    """Integrated over theta, the ambient density gives the predictor's: radii in R^3."""
    rule, p = Langevin(T, 0.4), Radius(3, 2)
    ambient, predictor = (rule.law(p, quadratic, name) for name in ("ambient", "predictor"))
    r = np.linspace(0.2, 1.4, 7)
    x = r[:, None] * np.array([0.0, 0.6, 0.8])
    shells = ambient.evaluate({"x": x}) + 2 * np.log(r)  # area of the sphere; dr
    per_w = shells - np.log(2 * r)  # dw = 2 r dr
    np.testing.assert_allclose(differences(per_w), differences(predictor.evaluate(r**2)), atol=1e-9)


def test_product_law() -> None:
    """u v: |w|^(-1/2) exp(-l/T), on both half-lines."""
    law = Langevin(T).law(Product(1), quadratic)
    w = np.array([[0.3], [-0.7], [1.9]])
    expected = -((w[:, 0] - 1) ** 2) / 2 / T - np.log(np.abs(w[:, 0])) / 2
    np.testing.assert_allclose(differences(law.evaluate(w)), differences(expected), atol=1e-12)
    draws = law.sample(4000, key=1)
    assert draws.shape == (4000, 1)
    assert stats.kstest(draws[:, 0], law.cdf).pvalue > 1e-3


def matrices() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    w = np.random.default_rng(0).normal(size=(4, 3, 3))
    with jax.enable_x64(True):
        points = [SquareProduct(3).section(jnp.asarray(x)) for x in w]
    return w, np.linalg.svd(w)[1], {k: np.stack([p[k] for p in points]) for k in "PQ"}


@pytest.mark.slow
def test_square_products() -> None:
    """Predictor, slice and conditioned laws of P Q in singular values."""
    w, s, theta = matrices()
    loss = ((w - 1) ** 2).sum((1, 2)) / 2
    pairs = np.log(s[:, :, None] + s[:, None, :]) / 2
    sums = {
        "predictor": pairs.sum((1, 2)),
        "quotient": np.zeros(4),
        "slice": np.stack([m[np.triu_indices(3, 1)] for m in pairs]).sum(1),
        "conditioned": np.stack([m[np.triu_indices(3)] for m in pairs]).sum(1),
    }
    for reference, stretch in sums.items():
        law = Langevin(T).law(SquareProduct(3), quadratic, reference)
        got = law.evaluate(w if reference == "predictor" else theta)
        np.testing.assert_allclose(
            differences(got), differences(-loss / T - stretch), atol=1e-8, err_msg=reference
        )


class Rectangular(SquareProduct):
    """P of shape (rows, rank), Q of shape (rank, columns)."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        self.shape, self.rank = (rows, columns), rank
        bond = Bond(GeneralLinear(rank), vectors=[("P", 1)], covectors=[("Q", 0)], name="rank")
        self.symmetry = Symmetry([bond])

    def section(self, w):
        u, s, vt = jnp.linalg.svd(w, full_matrices=False)
        root = jnp.sqrt(s[: self.rank])
        return {"P": u[:, : self.rank] * root, "Q": root[:, None] * vt[: self.rank]}


class Normalised:
    """w = x / |x|, in R^2."""

    shape = (2,)
    symmetry = Symmetry([Bond(UniformScale(), vectors=[("x", None)], name="norm")])

    def __call__(self, params):
        return params["x"] / jnp.sqrt(jnp.sum(params["x"] ** 2))

    def section(self, w):
        return {"x": w}


class TooLittle(Radius):
    """|x|^2 with only the rotations of the first two coordinates of three."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        labels = np.array([0, 1, -1])
        self.symmetry = Symmetry([Bond(Orthogonal(2), vectors=[("x", 0, labels)])])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Langevin(T, 0.5).law(Product(2), quadratic), "are not compact"),
        (lambda: Langevin(T).law(Rectangular(3, 4, 3), quadratic), "'rank': the noise drives"),
        (lambda: Langevin(T).law(Rectangular(3, 3, 2), quadratic), "of which 8 are free"),
        (lambda: Langevin(T).law(Product(2), quadratic, "ambient"), "no law against 'ambient'"),
        (lambda: Langevin(T).law(Radius(3, 2), quadratic, "slice"), "no law against 'slice'"),
        (lambda: Langevin(T).law(Normalised(), quadratic), "'norm': no law is known"),
        (lambda: Langevin(T).law(TooLittle(), quadratic), "do not add up"),
        (lambda: Langevin(0.0), "temperature must be positive"),
        (
            lambda: Langevin(T).law(Radius(2, 2), lambda w: 0.0 * w).cdf(1.0),
            "escapes to infinity",
        ),
        (
            lambda: Law(lambda w: -w * w - 1.2 * jnp.log(jnp.abs(w)), "predictor").sample(3),
            "piles up at w = 0",
        ),
        (
            lambda: Law(
                lambda w: -3 * jnp.log(jnp.sum(w**2)) - jnp.sum(w**2), "predictor", (2,)
            ).sample(3),
            "piles up at w = 0",
        ),
        (
            lambda: Langevin(T).law(Product(2), lambda w: 0.0 * w.sum()).sample(3),
            "escapes to infinity",
        ),
        (
            lambda: Langevin(T).law(Radius(2, 2), quadratic, "ambient").cdf(1.0),
            "against the ambient measure, not against dw",
        ),
        (lambda: Langevin(T).law(Product(2), quadratic).cdf(1.0), "no distribution function"),
        (lambda: Law(lambda w: jnp.nan * w, "predictor").cdf(1.0), "no mass"),
    ],
)
def test_what_has_no_law_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_noise_drift_by_hand() -> None:
    """2 T (m - n) for a bond with ends of widths m and n, on the balanced slice; 0 for m = n."""
    for rows, columns in ((3, 4), (4, 4), (5, 3)):
        p = Rectangular(rows, columns, 2)
        with jax.enable_x64(True):
            w = jnp.asarray(np.random.default_rng(0).normal(size=(rows, columns)))
            drift = noise_drift(p.symmetry, p.section(w), T)
        np.testing.assert_allclose(drift["rank"], 2 * T * (rows - columns) * np.eye(2), atol=1e-9)


def test_noise_drift_relaxes_products() -> None:
    """u v: dQ = -2 T Q / (u^2 + v^2) dt off the slice."""
    params = {"u": np.array([1.5]), "v": np.array([0.4])}
    q, size = 1.5**2 - 0.4**2, 1.5**2 + 0.4**2
    drift = noise_drift(Product(1).symmetry, params, T)
    np.testing.assert_allclose(next(iter(drift.values())), -2 * T * q / size, rtol=1e-9)


@pytest.mark.slow
def test_metropolis_draws_of_a_correlated_gaussian() -> None:
    """2,000 chains: mean and covariance within 5 standard errors, neighbours uncorrelated."""
    root = np.array([[1.0, 0.0], [1.8, 0.6]])
    inverse = np.linalg.inv(root)
    law = Law(lambda w: -jnp.sum((inverse @ (w - 2.0)) ** 2) / 2, "predictor", (2,))
    draws = law.sample(2000, key=0)
    white = (draws - 2.0) @ inverse.T
    assert np.abs(white.mean(0)).max() < 5 / np.sqrt(2000)
    assert np.abs(np.cov(white.T) - np.eye(2)).max() < 5 * np.sqrt(2 / 2000)


@pytest.mark.slow
def test_effective_loss_and_its_gradient() -> None:
    """L + (1 - rho) T/2 log det Gram; for x in R^3 the Gram is |x|^2/2 twice. JAX and PyTorch."""
    symmetry = Symmetry([Bond(Orthogonal(3), vectors=[("x", 0)])])
    x = np.array([1.0, 2.0, -0.5])

    def loss(p):
        return (p["x"] ** 2).sum() ** 2

    value = effective_loss(loss, symmetry, 0.3, orbital=0.25)
    weight, square = 0.3 * 0.75, np.sum(x**2)
    expected = square**2 + weight * np.log(square / 2)
    slope = 4 * square * x + weight * 2 * x / square
    assert abs(value({"x": x}) - expected) < 1e-12
    with jax.enable_x64(True):
        grads = jax.grad(value)({"x": jnp.asarray(x)})
        np.testing.assert_allclose(grads["x"], slope, rtol=1e-12)
    t = {"x": torch.tensor(x, requires_grad=True)}
    value(t).backward()
    np.testing.assert_allclose(t["x"].grad, slope, rtol=1e-12)
    with pytest.raises(ValueError, match="orbital"):
        effective_loss(loss, symmetry, 0.3, orbital=2.0)
    scales = Symmetry([Bond(Rescaling(2), vectors=[("u", 0)], covectors=[("v", 0)])])
    with pytest.raises(Refused, match="ambient law of compact groups only, not of Rescaling"):
        effective_loss(loss, scales, 0.3)


def test_the_rule_is_the_mechanism() -> None:
    """One object is simulated and predicted."""
    from symbias import dynamics

    rule = Langevin(T, orbital=1.0)
    assert isinstance(rule, dynamics.Langevin)
    assert isinstance(rule, dynamics.Rule)
    assert rule == Langevin(T, orbital=1.0)


def squared_length(t):
    return jnp.sum(t["x"] ** 2).reshape(1)


OWN = {  # a map of one's own to one number, the same in closed form, and the noise along orbits
    "|x|^2": (squared_length, {"x": 3}, sb.Radial(1, 3, sb.PowerLink(2.0)), 0.5),
    "u v": (lambda t: t["u"] * t["v"], {"u": 1, "v": 1}, sb.Hadamard(1), 0.0),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.slow
def test_a_map_of_one_s_own_has_the_law_of_its_closed_form(
    name: str, capfd: pytest.CaptureFixture
) -> None:
    """Balanced factors at |w| = e^-100 too, far below where a search sees their charge."""
    fn, shapes, known, rho = OWN[name]
    laws = [Langevin(T, rho).law(p, quadratic) for p in (sb.Parameterization.of(fn, shapes), known)]
    grid = np.array([-0.5, -1e-9, 0.0, 0.05, 0.5, 1.0, 2.0])
    own, closed = (law.cdf(grid) for law in laws)
    np.testing.assert_allclose(own, closed, atol=1e-10)
    assert np.ptp(own) > 0.9
    w = np.exp(np.linspace(-100, 3, 40))[:, None]
    own, closed = (law.evaluate(w) for law in laws)
    np.testing.assert_allclose(own, closed, rtol=1e-12, atol=1e-11)
    assert "DLASCL" not in capfd.readouterr().err


@pytest.mark.slow
def test_an_own_map_that_is_no_power() -> None:
    """w = 1 + |x|^2 + |x|^4 under isotropic noise: r^2 dr exp(-l/T) in r."""
    own = sb.Parameterization.of(lambda t: 1 + squared_length(t) + squared_length(t) ** 2, {"x": 3})

    def mass(end: float) -> float:
        def density(r: float) -> float:
            return r**2 * np.exp(-((r**2 + r**4) ** 2) / 2 / T)

        return integrate.quad(density, 0, end, epsabs=1e-13, points=[end / 2])[0]

    ends = np.array([0.3, 0.7, 1.1])
    got = Langevin(T, 1.0).law(own, quadratic).cdf(1 + ends**2 + ends**4)
    np.testing.assert_allclose(got, [mass(r) / mass(3.0) for r in ends], atol=1e-6)


@pytest.mark.slow
def test_orbits_apart_and_laws_of_several_numbers_are_refused() -> None:
    two = sb.Parameterization.of(lambda t: (jnp.sum(t["x"] ** 2) - 1) ** 2, {"x": 3})
    with pytest.raises(Refused, match=r"on orbits apart, of norms .*: its law is a sum"):
        Langevin(T, 1.0).law(two, quadratic).cdf(np.array([0.5]))
    pair = sb.Parameterization.of(lambda t: t["u"] * t["v"], {"u": 2, "v": 2})
    own, closed = (Langevin(T).law(p, quadratic) for p in (pair, sb.Hadamard(2)))
    w = np.array([[0.5, 1.0], [-0.3, 2.0]])
    np.testing.assert_allclose(own.evaluate(w), closed.evaluate(w), rtol=1e-6)
    with pytest.raises(Refused, match=r"random walks of 2,400,000 steps .*: about 67 hours"):
        own.sample(1000)


@pytest.mark.parametrize("loss", [lambda w: -jnp.sum(w**4), lambda w: -jnp.sum(jnp.exp(w**4))])
def test_a_density_beyond_floating_point_is_not_normalised(loss) -> None:
    with pytest.raises(
        ValueError, match=r"cannot be normalised: its log density is .* where float"
    ):
        Langevin(0.3).law(sb.Hadamard(1), loss).cdf(np.array([0.0]))


@pytest.mark.parametrize(("shape", "points"), [((1,), [0.5]), ((2,), [0.5, 1.0]), ((), 0.5)])
def test_points_of_a_law_are_stacked(shape, points) -> None:
    law = Langevin(0.3).law(sb.Hadamard(shape), lambda w: jnp.sum(w**2))
    wanted = ", ".join(map(str, ("n", *shape)))
    with pytest.raises(ValueError, match=rf"points have shape .*, expected \({wanted}\): n points"):
        law.evaluate(np.array(points))
    assert law.evaluate(np.array([points])).shape == (1,)


def test_signs_are_frozen_on_the_balanced_slice_alone() -> None:
    """w = u v at rho = 0 by Euler steps in NumPy: noise across orbits is along (v, u).

    On the slice u = v it keeps u = v, and w = u^2. From any charge w crosses 0: to 0.19 of the
    replicas in these steps, which are coarse next to 0; the law has 0.24.
    """
    law = Langevin(0.3).law(sb.Hadamard(1), lambda w: 2 * jnp.sum((w - 0.3) ** 2))
    assert any("off the balanced slice" in line for line in law.assumptions)
    shares, h = [], 2e-3
    for charge in (0.0, 1e-6):
        rng, v = np.random.default_rng(0), np.full(1000, np.sqrt(0.3))
        u = np.sqrt(v**2 + charge)
        for _ in range(6000):
            pull, (a, b) = 4 * h * (u * v - 0.3), np.sqrt(0.6 * h) * rng.normal(size=(2, 1000))
            along = (a * v + b * u) / (u**2 + v**2)
            u, v = u - pull * v + along * v, v - pull * u + along * u
        shares.append(np.mean(u * v < 0))
    assert shares[0] == 0
    assert 0.12 < shares[1] < float(law.cdf(0.0)) + 0.07  # 5 standard errors
