"""Adam and AdamW: box and margin, by definition and by runs; counterexamples, refusals."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

import symbias as sb
from symbias.studies import adaptive, margins

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Y = X @ np.array([2.0, -0.5, 0.3, -3.0, 0.9, 0.0]) + 0.1 * RNG.normal(size=40)
GROUPS = sb.GroupProduct(6, groups=[0, 0, 0, 1, 1, 1])
WHOLE = {
    "w": (sb.Plain(6), 1),
    "u v": (sb.Hadamard(6), 2),
    "u1 u2 u3": (sb.Hadamard(6, depth=3), 3),
    "groups": (GROUPS, 2),
}


def gradient(w: np.ndarray) -> np.ndarray:
    return X.T @ (X @ w - Y) / len(Y)


# the box


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("decay", [0.5, 2.0])
def test_the_box_of_w_is_the_image_of_that_of_the_factors(name: str, decay: float) -> None:
    """Corners of the factors' box reach the corners of that of w, and nothing passes them."""
    p, degree = WHOLE[name]
    box = sb.AdamW(decay).induced(p)
    assert box.whole
    assert box.bound == pytest.approx(decay**-degree)
    corners = {k: np.full(s, 1 / decay) for k, s in p.shapes.items()}
    np.testing.assert_allclose(p(corners), box.bound)
    rng = np.random.default_rng(1)
    inside = {k: rng.uniform(-1, 1, s) / decay for k, s in p.shapes.items()}
    assert float(box(p(inside))) == 0
    outside = np.full(6, box.bound)
    outside[2] *= -1.001
    assert float(box(outside)) == np.inf


BEHIND = {
    "lengths": sb.Radial(4, 3, sb.PowerLink(2.0)),
    "h(u v)": sb.Linked(sb.Hadamard(4), sb.PowerLink(1.5, 0.7)),
    "differences": sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(4)),
    "parts": sb.Parts((6,), [([1, 5, 0], sb.Hadamard(3, depth=3)), ([2, 3, 4], sb.Plain(3))]),
}


@pytest.mark.parametrize("name", BEHIND)
def test_boxes_behind_maps_and_links(name: str) -> None:
    """The support of the image in random directions: its largest <c, w> over many factors."""
    p, wall = BEHIND[name], 1.3
    box = sb.AdamW(1 / wall).induced(p)
    assert box.whole
    rng, size = np.random.default_rng(2), int(np.prod(p.shape))
    corners = rng.choice([-wall, wall], (1000, sum(int(np.prod(s)) for s in p.shapes.values())))
    if not p.signed:  # and points inside
        corners = corners * rng.choice([0.0, 1.0], (1000, size)).repeat(3, axis=1)
    cuts = np.cumsum([int(np.prod(s)) for s in p.shapes.values()])[:-1]
    reached = np.stack([
        p({k: a.reshape(s) for (k, s), a in zip(p.shapes.items(), np.split(c, cuts), strict=True)})
        for c in corners
    ])  # fmt: skip
    assert all(float(box(w)) == 0 for w in 0.999 * reached[:200])
    z = np.stack([p.flat_coordinates(w) for w in reached])
    np.testing.assert_allclose(z.max(axis=0), np.broadcast_to(box.bound, size), rtol=1e-12)
    np.testing.assert_allclose(z.min(axis=0), np.broadcast_to(box.low, size), atol=1e-12)
    assert all(float(box(w)) == np.inf for w in 1.01 * reached[np.abs(z).min(axis=1) > 0][:200])


@pytest.mark.parametrize("name", BEHIND)
def test_least_squares_behind_maps_and_links(name: str) -> None:
    """No factors in their box have less, and w is reached: descent over theta by L-BFGS-B."""
    p, rng = BEHIND[name], np.random.default_rng(3)
    size = int(np.prod(p.shape))
    x, y = rng.normal(size=(12, size)), 3 * rng.normal(size=12)
    w = sb.AdamW(0.8).least_squares(p, x, y)
    assert float(sb.AdamW(0.8 * (1 - 1e-9)).induced(p)(w)) == 0
    least = np.sum((x @ w - y) ** 2)
    cuts = np.cumsum([int(np.prod(s)) for s in p.shapes.values()])

    def loss(flat: np.ndarray) -> float:
        parts = zip(p.shapes.items(), np.split(flat, cuts[:-1]), strict=True)
        return float(np.sum((x @ p({k: a.reshape(s) for (k, s), a in parts}) - y) ** 2))

    found = min(
        (minimize(loss, rng.uniform(-1, 1, cuts[-1]), bounds=[(-1.25, 1.25)] * cuts[-1])
         for _ in range(4)),
        key=lambda r: r.fun,
    )  # fmt: skip
    assert least <= found.fun * (1 + 1e-9)
    assert least == pytest.approx(found.fun, rel=1e-4)


@pytest.mark.parametrize("sizes", [(3, 2, 2, 2), (3, 4, 3, 3), (2, 2, 1, 2)])
def test_matrix_products_are_contained_in_theirs(sizes: tuple[int, int, int, int]) -> None:
    *shape, depth = sizes
    p = sb.MatrixProduct(*shape, depth=depth)
    box = sb.AdamW(0.5).induced(p)
    assert not box.whole
    assert box.formula.startswith("contained in")
    full = {k: np.full(s, 2.0) for k, s in p.shapes.items()}
    np.testing.assert_allclose(p(full), box.bound)
    signs = {k: 2.0 * np.sign(RNG.normal(size=s)) for k, s in p.shapes.items()}
    assert np.abs(p(signs)).max() <= box.bound


def test_formulas() -> None:
    said = [sb.AdamW(1.0).induced(p).formula for p, _ in WHOLE.values()]
    assert said[0] == "0 where max |w_i| <= 1 / lam, else inf"
    assert "1 / lam^2" in said[1]
    assert "1 / lam^3" in said[2]
    assert sb.AdamW(1.0).induced(sb.MatrixProduct(3, 2)).formula.endswith("<= 2 / lam^2")
    with pytest.raises(ValueError, match="shape"):
        sb.AdamW(1.0).induced(sb.Plain(6))(np.ones(5))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), decay=st.floats(0.3, 3.0))
def test_least_squares_in_the_box_is_the_least(seed: int, decay: float) -> None:
    """Against L-BFGS-B, which knows bounds alone; a KKT point, and its gap bounds every excess."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(12, 4)), 2 * rng.normal(size=12)
    mechanism, p = sb.AdamW(decay), sb.Plain(4)
    w = mechanism.least_squares(p, x, y)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        r = x @ w - y
        return float(r @ r) / 24, x.T @ r / 12

    found = minimize(loss, np.zeros(4), jac=True, bounds=[(-1 / decay, 1 / decay)] * 4)
    assert loss(w)[0] <= found.fun + 1e-10
    at = mechanism.kkt(p, {"u": w}, loss(w)[1])
    assert at.largest <= 1 / decay + 1e-12
    assert at.residual < 1e-9
    assert abs(at.gap) < 1e-9
    other = rng.uniform(-1, 1, 4) / decay
    away = mechanism.kkt(p, {"u": other}, loss(other)[1])
    assert loss(other)[0] - loss(w)[0] <= away.gap + 1e-12
    assert away.residual > 1e-6


def test_kkt_by_hand() -> None:
    """lam = 1/2: on the wall a gradient may press outwards, inside it must vanish."""
    mechanism, p = sb.AdamW(0.5), sb.Plain(3)
    theta = {"u": np.array([2.0, -2.0, 0.5])}
    at = mechanism.kkt(p, theta, np.array([-3.0, 1.0, 0.0]))
    assert (at.largest, at.residual, at.gap) == (2, 0, 0)
    assert mechanism.kkt(p, theta, np.array([0.1, 0.0, 0.0])).residual == pytest.approx(0.1)
    inside = mechanism.kkt(p, theta, np.array([0.0, 0.0, 0.3]))
    assert (inside.residual, inside.gap) == (pytest.approx(0.3), pytest.approx(0.6 + 0.15))


@pytest.mark.parametrize("name", [n for n in WHOLE if n != "w"])
def test_kkt_takes_the_gradient_of_the_factors(name: str) -> None:
    """Against differences of the loss in theta."""
    p, _ = WHOLE[name]
    theta = p.init(3, 0.2)
    slopes = []
    for key in sorted(theta):
        for i in range(theta[key].size):
            ends = []
            for h in (1e-6, -1e-6):
                moved = {k: a.copy() for k, a in theta.items()}
                moved[key].flat[i] += h
                ends.append(np.sum((X @ p(moved) - Y) ** 2) / (2 * len(Y)))
            slopes.append((ends[0] - ends[1]) / 2e-6)
    flat = np.concatenate([theta[k].ravel() for k in sorted(theta)])
    at = sb.AdamW(1.0).kkt(p, theta, gradient(p(theta)))
    assert at.gap == pytest.approx(np.abs(slopes).sum() + flat @ slopes, rel=1e-6)
    moved = np.clip(flat - slopes, -1, 1)
    assert at.residual == pytest.approx(np.abs(flat - moved).max(), rel=1e-6)


@pytest.mark.parametrize("setting", adaptive.BOXED, ids=lambda s: s.name)
def test_adamw_ends_at_a_kkt_point_of_the_box(setting: adaptive.Boxed) -> None:
    row = adaptive.box_row(setting, (0.9, 0.95), seed=2, steps=300_000)
    assert row["beyond"] < 1e-6
    assert row["residual"] < 1e-5
    assert row["error"] < 1e-5
    assert row["unbounded"] > 1  # where it would be without the box
    assert row["walls"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("betas", adaptive.BETAS)
@pytest.mark.parametrize("setting", adaptive.BOXED[:2], ids=lambda s: s.name)
def test_six_problems_in_the_box(setting: adaptive.Boxed, betas: tuple[float, float]) -> None:
    """Seed 3 has a wall with a gradient of 1e-3: with beta_2 = .999 it is not there yet."""
    rows = [adaptive.box_row(setting, betas, seed) for seed in range(6)]
    assert max(row["beyond"] for row in rows) < 1e-6
    assert all(row["residual"] < 1e-5 or (betas[1] > 0.99 and row["seed"] == 3) for row in rows)
    assert max(row["error"] for row in rows) < 2e-3


def test_matrix_products_end_at_a_kkt_point_in_their_box() -> None:
    p, mechanism = sb.MatrixProduct(3, 2), sb.AdamW(1.0, (0.9, 0.95))
    y = 4 * Y
    problem = sb.Problem(
        lambda theta, x: jnp.matmul(x, jnp.reshape(p(theta), (-1,))), p.init(0, 0.5), data=(X, y)
    )
    rule = optax.adamw(lambda k: 0.1 / (1 + k / 100), b1=0.9, b2=0.95, weight_decay=1.0)
    run = sb.simulate(problem, sb.Optax(rule), steps=100_000, progress=False)
    theta = {name: a[0] for name, a in run.final.items()}
    w = p(theta)
    at = mechanism.kkt(p, theta, (X.T @ (X @ w.ravel() - y) / len(y)).reshape(3, 2))
    assert at.largest < 1 + 1e-4
    assert at.residual < 2e-3
    assert np.abs(w).max() == pytest.approx(mechanism.induced(p).bound, abs=1e-3)


def test_zero_is_a_kkt_point_of_products_that_is_not_the_least() -> None:
    """The theorem names KKT points: of u v also the saddle, from which w = 0 is never left."""
    p, theta = sb.Hadamard(6), {"u1": np.zeros(6), "u2": np.zeros(6)}
    assert sb.AdamW(1.0).kkt(p, theta, gradient(np.zeros(6))).residual == 0


def one_sided(betas: tuple[float, float]) -> np.ndarray:
    """|w| of AdamW, lam = 1/2, on 1/2 max(1 - w, 0)^2: the gradient vanishes from w = 1 on."""
    problem = sb.Problem(
        lambda theta: theta["w"],
        {"w": np.zeros(1)},
        lambda w: jnp.sum(jnp.maximum(1 - w, 0) ** 2) / 2,
    )
    rates = optax.adamw(lambda k: 0.1 / (1 + k / 100), b1=betas[0], b2=betas[1], weight_decay=0.5)
    run = sb.simulate(
        problem, sb.Optax(rates), steps=2000, every=1, observe={"w": lambda t: t["w"][0]},
        progress=False,
    )  # fmt: skip
    return np.abs(run.trace.w.values[0])


def test_beta_1_above_beta_2_leaves_the_box() -> None:
    """The counterexample behind the refusal: m outlives v, and the step is without bound."""
    assert one_sided((0.9, 0.95)).max() < 1.01
    assert one_sided((0.9, 0.999)).max() < 1.01
    assert one_sided((0.9, 0.8)).max() > 3
    assert one_sided((0.99, 0.9)).max() > 1e4


# the margin


def test_adam_goes_to_the_margin_of_the_largest_entry() -> None:
    setting = next(s for s in adaptive.SETTINGS if s.name == "Adam, beta_2 = 0.95")
    row = adaptive.margin_row(setting, 20, 10, 0, steps=50_000)
    assert row["angle"] < 1.5
    assert row["rival_angle"] > 25
    assert 0.99 < row["ratio"] <= 1
    assert row["gap"] < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("size", margins.PROBLEMS)
@pytest.mark.parametrize("setting", adaptive.SETTINGS[:2], ids=lambda s: s.name)
def test_adam_on_ten_problems(setting: adaptive.Setting, size: tuple[int, int]) -> None:
    rows = [adaptive.margin_row(setting, *size, seed) for seed in range(10)]
    assert all(row["angle"] < row["rival_angle"] for row in rows)
    assert min(row["ratio"] for row in rows) > 0.97


def test_on_the_loss_itself_the_usual_eps_ends_it() -> None:
    """The assumption in words: gradients of 1e-8 and less, and the direction stays between."""
    setting = next(s for s in adaptive.SETTINGS if "itself" in s.name)
    row = adaptive.margin_row(setting, 20, 10, 0, steps=50_000)
    assert row["angle"] > 15
    assert row["ratio"] < 0.9


def test_adam_on_products_of_three_goes_to_no_margin_of_w() -> None:
    """The counterexample behind the refusal of factors."""
    x, y = margins.separable(20, 10, 0)
    rule = optax.adam(lambda k: 0.3 / jnp.sqrt(1.0 + k), b1=0.9, b2=0.95, eps=0.0)
    w = adaptive.trained(sb.Hadamard(20, depth=3), x, y, rule, 20_000, 0)
    assert np.min(y * (x @ w)) > 0
    known = [sb.SteepestDescent(n).direction(sb.Plain(20), x, y).w for n in ("l1", "l2", "linf")]
    known.append(sb.MaxMargin().direction(sb.Hadamard(20, depth=3), x, y, start=w).w)
    assert min(margins.angle(w, v) for v in known) > 10


@pytest.mark.parametrize(
    ("p", "least"),
    [
        (sb.MatrixProduct(5, 4), 20),
        (sb.Linked(sb.Hadamard(20), sb.ExponentialLink(0.3)), 40),
        pytest.param(sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(19)), 30, marks=pytest.mark.slow),
    ],
    ids=["P Q", "h(u v), log-sum", "cumsum(u v)"],
)
def test_adam_on_other_factors_goes_to_no_margin_of_w(p: sb.Parameterization, least: float) -> None:
    """Counterexamples behind the refusals: degrees from l1, l2, l_inf and what is homogeneous."""
    x, y = margins.separable(20, 10, 0)
    rule = optax.adam(lambda k: 0.3 / jnp.sqrt(1.0 + k), b1=0.9, b2=0.95, eps=0.0)
    w = adaptive.trained(p, x, y, rule, 20_000, 0).ravel()
    assert np.min(y * (x @ w)) > 0
    known = [sb.SteepestDescent(n).direction(sb.Plain(20), x, y).w for n in ("l1", "l2", "linf")]
    if len(p.shape) == 2:
        known.append(sb.MaxMargin().direction(p, x.reshape(-1, 5, 4), y).w.ravel())
    assert min(margins.angle(w, v) for v in known) > least
    with pytest.raises(sb.Refused):
        sb.Adam().induced(p)


PAIRS = {
    "u v": sb.Hadamard(12),
    "groups": sb.GroupProduct(12, groups=np.arange(12) // 3),
    "cosines": sb.Synthesis(sb.Cosine(), sb.Hadamard(12)),
    "|x|^2": sb.Radial((12,), 3, sb.PowerLink(2.0)),
}


NEGATIVE = -np.abs(RNG.normal(size=(6, 12))), np.arange(6) > 0  # the first by a w below 0 alone
NEGATIVE[0][0] *= 2


def pairs(p: sb.Parameterization, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(6, 12))
    return x, np.where(2 * x[:, 0] + (-1 if p.signed else 1) * x[:, 1] > 0, 1.0, -1.0)


@pytest.mark.parametrize("name", PAIRS)
def test_the_box_of_products_of_two_has_this_margin(name: str) -> None:
    """The least max |theta|^2 is that of no other w: against linear programming in z."""
    p = PAIRS[name]
    x, y = pairs(p, 0)
    found = sb.Adam().direction(p, x, y)
    A = sb.Cosine().forward(np.eye(12)) if name == "cosines" else np.eye(12)
    low = -1.0 if p.signed else 0.0
    cost = np.append(np.zeros(12), 1.0)
    held = [np.hstack([-y[:, None] * (x @ A), np.zeros((6, 1))])]
    held += [np.hstack([s * np.eye(12), -np.ones((12, 1))]) for s in (1, -1)]
    bounds = [(low * 1e3, None)] * 12 + [(0, None)]
    program = linprog(cost, np.vstack(held), np.append(-np.ones(6), np.zeros(24)), bounds=bounds)
    reach = 1.0 if p.signed else 3.0
    assert pytest.approx(program.fun / reach, rel=1e-6) == found.R
    assert found.gap < 1e-8
    R = sb.Adam().induced(p)
    assert float(R(found.w)) == pytest.approx(found.R, rel=1e-6)
    theta = p.section(found.w) if name == "u v" else None
    if theta is not None:
        assert max(np.abs(v).max() for v in theta.values()) ** 2 == pytest.approx(found.R)
    signs = sb.SignDescent().direction(p, x, y)
    np.testing.assert_array_equal(signs.w, found.w)


@pytest.mark.parametrize(
    "name", ["u v", *(pytest.param(n, marks=pytest.mark.slow) for n in list(PAIRS)[1:])]
)
def test_adam_on_products_of_two_goes_there(name: str) -> None:
    """Ten problems (u v: two, and shorter): margins over the largest, at the same max |z|."""
    p, few = PAIRS[name], name == "u v"
    rule = optax.adam(lambda k: 0.3 / jnp.sqrt(1.0 + k), b1=0.9, b2=0.95, eps=0.0)
    for seed in range(2 if few else 10):
        x, y = pairs(p, seed)
        found = sb.Adam().direction(p, x, y)
        w = adaptive.trained(p, x, y, rule, 20_000 if few else 100_000, seed)
        ratio = np.min(y * (x @ w)) / float(sb.Adam().induced(p)(w)) * found.R
        assert (0.95 if few else 0.98) < ratio <= 1 + 1e-6


def test_adam_is_sign_descent_of_w() -> None:
    x, y = margins.separable(20, 10, 0)
    found = sb.Adam().direction(sb.Plain(20), x, y)
    np.testing.assert_array_equal(sb.SignDescent().direction(sb.Plain(20), x, y).w, found.w)
    assert float(sb.Adam().induced(sb.Plain(20))(found.w)) == pytest.approx(found.R)


# refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sb.AdamW(0.0), r"got 0: without decay there is no box. Take sb.Adam\(\)"),
        (lambda: sb.AdamW(-1.0), "weight_decay must be positive"),
        (lambda: sb.AdamW(np.inf), "weight_decay must be positive and finite"),
        (lambda: sb.AdamW(1.0, (0.95, 0.9)), "beta_1 above beta_2 .* leaves its box"),
        (lambda: sb.Adam((0.95, 0.9)), "Give a beta_2 of beta_1 or more"),
        (lambda: sb.AdamW(1.0, (0.9, 1.0)), r"betas must be in \[0, 1\)"),
        (lambda: sb.AdamW(1.0, (-0.1, 0.9)), r"betas must be in \[0, 1\)"),
        (lambda: sb.AdamW(1.0).induced(sb.Sum([sb.Hadamard(3)] * 2)), "one w has many coordinates"),
        (
            lambda: sb.AdamW(1.0).least_squares(sb.MatrixProduct(3, 2), X.reshape(40, 3, 2), Y),
            "only contained in another, of 2: ",
        ),
        (lambda: sb.AdamW(1.0).least_squares(sb.Plain(6), X[:, :5], Y), r"expected \(n, 6\)"),
        (lambda: sb.AdamW(1.0).least_squares(sb.Plain(6), X, Y[:3]), r"of shape \(40,\)"),
        (lambda: sb.AdamW(1.0).kkt(sb.Plain(6), {"u": Y[:6]}, Y[:5]), "expected dL/dw"),
        (lambda: sb.AdamW(1.0).kkt(sb.Plain(6), {"u": Y[:5]}, Y[:6]), "expected"),
        (
            lambda: sb.Adam().direction(sb.Hadamard(6, depth=3), X, Y > 0),
            "where Adam takes w through",
        ),
        (lambda: sb.Adam().induced(sb.MatrixProduct(3, 2)), "not known"),
        (lambda: sb.SteepestDescent("l1").induced(sb.Hadamard(6)), "not known"),
        (lambda: sb.Adam().direction(PAIRS["|x|^2"], *NEGATIVE), "Farkas"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, "a"), None, (0.9, 0.99, 0.999)])
def test_betas_that_are_no_two_numbers(betas) -> None:
    with pytest.raises(TypeError, match="betas must be two numbers"):
        sb.AdamW(1.0, betas)


def test_adamw_is_no_mechanism_to_design_for() -> None:
    with pytest.raises(TypeError, match="cannot design for AdamW"):
        sb.design("l1", sb.AdamW(1.0), shape=3)


def test_a_gradient_that_is_not_finite_is_no_kkt_point() -> None:
    p, mechanism = sb.Plain(2), sb.AdamW(1.0)
    with pytest.raises(ValueError, match="gradient has entries that are not finite"):
        mechanism.kkt(p, {"u": np.zeros(2)}, gradient=[np.nan, 0.0])
    with pytest.raises(TypeError, match="expected a dict of arrays by name"):
        mechanism.kkt(p, np.zeros(2), gradient=[0.0, 0.0])
