"""Max margins of parameterizations: against training, the cases with a closed form, refusals."""

import numpy as np
import pytest
from scipy.optimize import minimize

import symbias as sb
from symbias.solvers.margins import gordan
from symbias.studies import margins

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 12))
Y = X[:, 0] - 0.7 * X[:, 1] > 0
D = sb.MaxMargin().direction

HOMOGENEOUS = {
    "plain": (sb.Plain(12), 1),
    "u v": (sb.Hadamard(12), 2),
    "depth 3": (sb.Hadamard(12, depth=3), 3),
    "groups": (sb.GroupProduct(12, groups=np.arange(12) // 4), 2),
    "matrix": (sb.MatrixProduct(3, 4), 2),
    "deep matrix": (sb.MatrixProduct(3, 4, depth=3), 3),
    "cosines": (sb.Synthesis(sb.Cosine(), sb.Hadamard(12)), 2),
    "square link": (sb.Linked(sb.Hadamard(12), sb.PowerLink(2.0)), 4),
    "u^1.5": (sb.Linked(sb.Plain(12), sb.PowerLink(1.5)), 1.5),
    "latent": (
        sb.Synthesis(
            sb.Copies([np.arange(8), np.arange(4, 12)], 12),
            sb.GroupProduct(16, groups=[0] * 8 + [1] * 8),
        ),
        2,
    ),
    "sum": (sb.Sum([sb.Hadamard(12), sb.Synthesis(sb.Cosine(), sb.Hadamard(12))]), 2),
    "one's own": (
        sb.Parameterization.of(lambda t: t["u"] ** 2 - t["v"] ** 2, {"u": 12, "v": 12}),
        2,
    ),
}


def inputs(p: sb.Parameterization) -> np.ndarray:
    return X.reshape(30, *p.shape)


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_a_direction_of_every_kind(name: str) -> None:
    p, degree = HOMOGENEOUS[name]
    found = D(p, inputs(p), Y)
    assert found.w.shape == p.shape
    assert found.least == (degree <= 2)
    assert found.gap <= 1e-8
    sign = np.where(Y, 1.0, -1.0)
    np.testing.assert_allclose(found.margins, sign * (X @ found.w.ravel()), rtol=1e-9)
    assert found.margins.min() == pytest.approx(1, abs=1e-9)
    assert set(found.support) <= set(np.flatnonzero(found.margins < 1 + 1e-4))
    assert found.multipliers.sum() == pytest.approx(2 / degree * found.R, rel=1e-5)


@pytest.mark.parametrize("name", [n for n in HOMOGENEOUS if n not in ("sum", "latent")])
def test_induced_is_the_balanced_norm_of_that_degree(name: str) -> None:
    p, degree = HOMOGENEOUS[name]
    found = D(p, inputs(p), Y)
    R = sb.MaxMargin().induced(p)
    assert float(R(found.w)) == pytest.approx(found.R, rel=1e-7)
    assert float(R(2 * found.w)) == pytest.approx(2 ** (2 / degree) * found.R, rel=1e-7)
    assert R.formula == p.norm_formula


def test_by_hand() -> None:
    """One sample: l2 points at it, l1 at its largest entry, the nuclear norm at its first pair."""
    x = np.array([[3.0, 1.0], [0.0, 0.0], [0.0, 0.0], [-3.0, -1.0]])[[0, 3]]
    y = [1, 0]
    np.testing.assert_allclose(D(sb.Plain(2), x, y).w, x[0] / 10, atol=1e-8)
    assert pytest.approx(1 / 20) == D(sb.Plain(2), x, y).R
    np.testing.assert_allclose(D(sb.Hadamard(2), x, y).w, [1 / 3, 0], atol=1e-8)
    assert pytest.approx(1 / 3) == D(sb.Hadamard(2), x, y).R
    assert pytest.approx(1.5 / 3 ** (2 / 3)) == D(sb.Hadamard(2, depth=3), x, y).R
    a = np.diag([3.0, 1.0])[None]
    matrix = D(sb.MatrixProduct(2, 2), np.concatenate([a, -a]), y)
    np.testing.assert_allclose(matrix.w, np.diag([1 / 3, 0]), atol=1e-6)


def test_labels_of_any_kind_and_order() -> None:
    """The second of two in sorted order is +1."""
    one = D(sb.Hadamard(12), X, Y).w
    for labels in (Y.astype(int), np.where(Y, 1.0, -1.0), np.where(Y, "b", "a")):
        np.testing.assert_array_equal(D(sb.Hadamard(12), X, labels).w, one)
    np.testing.assert_allclose(D(sb.Hadamard(12), X, ~Y).w, -one, atol=1e-7)


def test_two_columns_for_two_classes() -> None:
    """min |w_1|^2 + |w_2|^2 with <x, w_2 - w_1> of margin 1 is half of the one vector each."""
    one, two = D(sb.Plain(12), X, Y), D(sb.Plain((12, 2)), X, Y)
    np.testing.assert_allclose(two.w, np.stack([-one.w, one.w], axis=1) / 2, atol=1e-7)
    assert pytest.approx(one.R / 2) == two.R
    np.testing.assert_allclose(two.margins, one.margins, rtol=1e-6)


@pytest.mark.parametrize(
    "p",
    [sb.Plain((12, 3)), sb.Hadamard((12, 3)), sb.MatrixProduct(12, 3), sb.GroupProduct((12, 3))],
)
def test_several_classes(p: sb.Parameterization) -> None:
    names = np.array(["ant", "bee", "cat"])
    own = np.argmax(X[:, :3], axis=1)
    found = D(p, X, names[own])
    scores = X @ found.w
    others = np.where(np.arange(3) == own[:, None], -np.inf, scores).max(axis=1)
    np.testing.assert_allclose(found.margins, scores[np.arange(30), own] - others, rtol=1e-9)
    assert found.margins.min() == pytest.approx(1, abs=1e-9)
    assert found.multipliers.shape == (30, 3)
    assert np.all(found.multipliers[np.arange(30), own] == 0)
    if isinstance(p, sb.Plain):  # stationarity, written out: w_k = sum_i (own - other) x_i
        table = -found.multipliers
        table[np.arange(30), own] = found.multipliers.sum(axis=1)
        np.testing.assert_allclose(X.T @ table, found.w, atol=1e-7)


def test_a_stationary_point_from_a_start_that_separates() -> None:
    p = sb.Hadamard(12, depth=3)
    start = D(sb.Plain(12), X, Y).w
    found = D(p, X, Y, start=start)
    assert not found.least
    assert float(p.balanced_norm(start)) >= found.R
    again = D(p, X, Y, start=found.w)
    np.testing.assert_allclose(again.w, found.w, atol=1e-9)
    z = sb.Synthesis(sb.Cosine(), p)
    turned = D(z, sb.Cosine().forward(X.T).T, Y, start=sb.Cosine().forward(found.w))
    np.testing.assert_allclose(sb.Cosine().inverse(turned.w), found.w, atol=1e-7)


# against training, which knows the loss and the factors alone


FAST = ["w", "u v", "u1 u2 u3", "s v, groups of 4", "P Q, 5 columns", "u v, 3 classes"]


@pytest.mark.parametrize("name", FAST)
def test_descent_goes_to_the_margin(name: str) -> None:
    """p = 20, a random problem; the rival is 8 degrees away or more."""
    (setting,) = [s for s in margins.SETTINGS if s.name == name]
    row = margins.direction_row(setting, 20, 10, 1, steps=100_000)
    assert row["angle"] < 0.5
    assert row["rival_angle"] > 8
    assert row["excess"] < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("setting", margins.SETTINGS, ids=lambda s: s.name)
def test_ten_problems_of_20_features(setting: margins.Setting) -> None:
    """Below 1 degree, but for u v of 3 classes: directions with nearly one R, told apart slowly."""
    rows = [margins.direction_row(setting, 20, 10, seed) for seed in range(10)]
    angles = [row["angle"] for row in rows]
    if setting.name == "u v, 3 classes":
        assert np.median(angles) < 1
    else:
        assert max(angles) < (0.5 if setting.degree == 3 else 1)
    assert max(row["excess"] for row in rows) < 0.01
    assert all(row["angle"] < row["rival_angle"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("setting", margins.SETTINGS, ids=lambda s: s.name)
def test_problems_of_100_features(setting: margins.Setting) -> None:
    rows = [margins.direction_row(setting, 100, 50, seed) for seed in range(3)]
    assert max(row["excess"] for row in rows) < 0.01
    assert all(row["angle"] < row["rival_angle"] for row in rows)
    if setting.degree == 3:
        assert np.median([row["angle"] for row in rows]) < 0.5


def test_plain_descent_is_off_by_one_over_log_t() -> None:
    rows = margins.rate_rows(decades=5)
    times = [row["angle_times_log"] for row in rows]
    assert max(times) < 1.15 * min(times)
    assert rows[0]["angle"] > 1.5 * rows[-1]["angle"] > 3
    assert rows[-1]["growth_error"] < 0.06


def test_the_path_of_weight_decay_goes_there() -> None:
    rows = margins.path_rows()
    for name in margins.ON_PATHS:
        own = [row for row in rows if row["setting"] == name]
        angles, growths = ([row[k] for row in own] for k in ("angle", "growth_error"))
        assert angles == sorted(angles, reverse=True)
        assert growths == sorted(growths, reverse=True)
        assert own[-1]["growth_error"] < 0.1


# refusals


PARTS = [(np.arange(6), sb.Hadamard(6)), (np.arange(6, 12), sb.Hadamard(6, depth=3))]


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(11)), r"free coordinates \['free'\]"),
        (sb.Synthesis(sb.CumulativeSum(), sb.Plain(11)), r"free coordinates \['free'\]"),
        (sb.Parts(12, PARTS), r"2\^L with L from 2 to 3"),
        (sb.Sum([sb.Plain(12), sb.Hadamard(12)]), r"not homogeneous"),
        (sb.Linked(sb.Hadamard(12), sb.ElasticLink(1.0, 0.5)), r"not homogeneous"),
        (sb.Linked(sb.Hadamard(12), sb.ExponentialLink(0.1)), r"not homogeneous"),
        (sb.Radial(12, 2, sb.PowerLink(3.0)), "for sums of w or of w"),
        (sb.Parameterization.of(lambda t: t["u"] ** 2, {"u": 12}), "is not known"),
    ],
)
def test_what_no_theorem_covers_is_refused(p: sb.Parameterization, message: str) -> None:
    with pytest.raises(sb.Refused, match=message):
        D(p, X, Y)


def test_mixed_depths_do_not_end_at_the_sum_of_their_norms() -> None:
    """The counterexample behind the refusal: one depth 2, one depth 3, one feature each.

    Along theta -> infinity the deeper part alone grows by s^3: its share of w goes to 1.
    """
    theta = {
        "u1": np.ones(1),
        "u2": np.ones(1),
        "v1": np.ones(1),
        "v2": np.ones(1),
        "v3": np.ones(1),
    }
    p = sb.Parts(2, [([0], sb.Hadamard(1)), ([1], sb.Hadamard(1, depth=3))])
    named = dict(zip(p.shapes, theta.values(), strict=True))
    shares = [p({k: s * a for k, a in named.items()}) for s in (1.0, 10.0, 100.0)]
    assert [float(w[1] / w[0]) for w in shares] == pytest.approx([1, 10, 100])


@pytest.mark.parametrize(
    ("link", "narrow", "wide"),
    [
        (sb.ExponentialLink(0.3), [0.0, 1.0, 1.0], [4.0, 0.0, 0.0]),
        (sb.ElasticLink(0.5, 0.5), [0.0, 2.0, 2.0], [0.8, 1.8, 1.8]),
    ],
)
def test_behind_links_the_least_penalty_has_no_direction(
    link: sb.PowerLink, narrow: list[float], wide: list[float]
) -> None:
    """The counterexample behind the refusal: of two w, which costs less depends on the margin."""
    p, rows = sb.Linked(sb.Hadamard(3), link), np.array([[1.0, 4.0, 0.0], [1.0, 0.0, 4.0]])
    one, other = (np.array(w) / np.min(rows @ w) for w in (narrow, wide))
    small, large = (
        [float(p.balanced_norm(margin * w)) for w in (one, other)] for margin in (0.01, 100.0)
    )
    assert small[0] < small[1]
    assert large[1] < large[0]


def test_data_that_are_not_separable_are_refused_with_the_proof() -> None:
    with pytest.raises(sb.Refused, match=r"2 samples, times their labels .*sb.DesignedClassifier"):
        D(sb.Hadamard(12), np.vstack([X, X[:1]]), np.append(Y, ~Y[0]))
    classes = np.random.default_rng(1).permutation(np.arange(60) % 3)
    many = np.random.default_rng(2).normal(size=(60, 4))
    with pytest.raises(sb.Refused, match="not separable"):
        D(sb.MatrixProduct(4, 3), many, classes)


LENGTHS = {1: sb.Radial(12, 2), 2: sb.Radial(12, 3, sb.PowerLink(2.0, 0.7))}
POSITIVE = np.where(X[:, 0] + X[:, 3] > 0, 1.0, -1.0)


@pytest.mark.parametrize("power", LENGTHS)
def test_lengths_have_the_least_margin_among_w_at_least_zero(power: int) -> None:
    """Against SLSQP in w, complementary slackness of the multipliers, and the signed margin."""
    p, B = LENGTHS[power], POSITIVE[:, None] * X
    found = D(p, X, POSITIVE)
    R = sb.MaxMargin().induced(p)
    assert found.least
    assert found.gap < 1e-8
    assert found.w.min() >= 0
    assert found.margins.min() == pytest.approx(1, abs=1e-9)
    bounds, held = [(0, None)] * 12, {"type": "ineq", "fun": lambda w: B @ w - 1}
    direct = minimize(lambda w: float(R(w)), found.w + 0.1, bounds=bounds, constraints=held)
    assert pytest.approx(float(R(found.w)), rel=1e-9) == found.R
    assert pytest.approx(direct.fun, rel=1e-5) == found.R
    slope = found.w if power == 1 else np.full(12, 0.49 / 2)
    pull = B.T @ found.multipliers
    assert np.all(pull <= slope + 1e-6)
    np.testing.assert_allclose(pull[found.w > 0], slope[found.w > 0], rtol=1e-5)
    signed = D(sb.Plain(12) if power == 1 else sb.Hadamard(12), X, POSITIVE)
    assert signed.w.min() < 0


def test_descent_on_lengths_goes_to_their_margin() -> None:
    """|x|^2 from a random start; the l1 margin of both signs is elsewhere."""
    p = sb.Radial(12, 3, sb.PowerLink(2.0))
    w = p(margins.descended(p, X, POSITIVE, 2, 60_000, 0))
    found, rival = D(p, X, POSITIVE), D(sb.Hadamard(12), X, POSITIVE)
    assert margins.angle(w, found.w) < 1
    assert margins.angle(w, rival.w) > 8


def test_data_that_no_w_at_least_zero_separates() -> None:
    """Signed w do. The weights that the refusal counts are Farkas's."""
    p, B = LENGTHS[2], -POSITIVE[:, None] * X
    assert D(sb.Hadamard(12), X, -POSITIVE).least
    with pytest.raises(sb.Refused, match=r"no w >= 0 gives all of them .*\(Farkas\)"):
        D(p, X, -POSITIVE)
    alpha = gordan(B, low=0.0).alpha
    assert alpha.min() >= 0
    assert alpha.sum() == pytest.approx(1)
    assert np.max(alpha @ B) <= 1e-9


def test_an_inner_dimension_that_cuts_off_the_least() -> None:
    own = np.argmax(X[:, :3], axis=1)
    with pytest.raises(sb.Refused, match=r"has rank 2, above the inner dimension 1 .* rank of 2"):
        D(sb.MatrixProduct(12, 3, 1), X, own)
    free = D(sb.MatrixProduct(12, 3), X, own)
    np.testing.assert_allclose(D(sb.MatrixProduct(12, 3, 2), X, own).w, free.w, atol=1e-6)


BAD = X.copy()
BAD[2, 3] = np.nan


@pytest.mark.parametrize(
    ("p", "x", "y", "message"),
    [
        (sb.Hadamard(12), X, np.zeros(30), "one class only, 0.0"),
        (sb.Hadamard(12), X, np.arange(30) % 3, r"3 different values, .* shape \(12, 3\)"),
        (sb.Hadamard(12), X, X[:, 0], "no labels: give classes, such as y > 0"),
        (sb.Hadamard((12, 3)), X, Y, r"2 classes, and w of shape \(12, 3\) scores 3"),
        (sb.Hadamard(12), X[:, :11], Y, r"shape \(30, 11\), expected \(n, 12\)"),
        (sb.Hadamard(12), BAD, Y, "not finite"),
        (sb.Hadamard(12), X, np.where(Y, 1.0, np.nan), "labels that are not finite"),
        (sb.Hadamard(12), X, Y[:-1], r"y has shape \(29,\)"),
        (sb.Hadamard(12), "text", Y, "X must be an array of numbers"),
        (sb.Hadamard(12), X, [None, "a"] * 15, "labels of several kinds"),
    ],
)
def test_bad_data_are_named(p: sb.Parameterization, x, y, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        D(p, x, y)


@pytest.mark.parametrize(
    ("p", "start", "message"),
    [
        (sb.Hadamard(12), np.ones(12), "needs no start"),
        (sb.Hadamard(12, depth=3), np.ones(11), r"of shape \(12,\), got shape \(11,\)"),
        (sb.Hadamard(12, depth=3), -np.eye(12)[0], "samples on the wrong side"),
        (sb.Sum([sb.Hadamard(12, depth=3)] * 2), np.ones(12), "many splits"),
    ],
)
def test_starts_that_do_not_help_are_named(p: sb.Parameterization, start, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        D(p, X, Y, start=start)
