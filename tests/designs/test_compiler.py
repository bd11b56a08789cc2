"""A design's weight-decay penalty is the penalty that was wished for."""

import numpy as np
import pytest

import symbias as sb
from tests.backends import back, each, to, x64

RNG = np.random.default_rng(2)
SPACING = RNG.uniform(0.2, 3.0, 8)
LABELS = ["x", "y", "x", "z", "z", "x", "w", "y", "z"]

TREE = [2, 0, -1, 2, 3, 3, 0, -1, 7]


def _latent(w: np.ndarray) -> float:
    """Only entry 2 is shared: the best split of it, on a fine grid."""
    share = np.linspace(-0.5, 1.5, 2_000_001) * w[2]
    first = np.sqrt(w[0] ** 2 + w[1] ** 2 + share**2)
    second = np.sqrt((w[3:6] ** 2).sum() + (w[2] - share) ** 2)
    return (first + 2 * second).min() + 3 * np.linalg.norm(w[6:8]) + 4 * abs(w[8])


# penalty, and its definition written out once more
CASES = {
    "l1": (sb.L1(), lambda w: np.abs(w).sum()),
    "l1-weights": (sb.L1(np.arange(9.0)), lambda w: (np.arange(9) * np.abs(w)).sum()),
    "lq-2/3": (sb.Lq(2 / 3), lambda w: (np.abs(w) ** (2 / 3)).sum()),
    "lq-1/2": (sb.Lq(0.5), lambda w: np.sqrt(np.abs(w)).sum()),
    "lq-1": (sb.Lq(1.0), lambda w: np.abs(w).sum()),
    "group-size": (
        sb.GroupLasso(4),
        lambda w: 2 * np.linalg.norm(w[:4]) + 2 * np.linalg.norm(w[4:8]) + abs(w[8]),
    ),
    "group-labels": (
        sb.GroupLasso(LABELS, weights={"w": 0.0, "x": 1.0, "y": 2.0, "z": 0.5}),
        lambda w: (
            np.linalg.norm(w[[0, 2, 5]])
            + 2 * np.linalg.norm(w[[1, 7]])
            + 0.5 * np.linalg.norm(w[[3, 4, 8]])
        ),
    ),
    "lq-0.7": (sb.Lq(0.7), lambda w: (np.abs(w) ** 0.7).sum()),
    "lq-1.5": (sb.Lq(1.5), lambda w: (np.abs(w) ** 1.5).sum()),
    "lq-2": (sb.Lq(2.0), lambda w: (w**2).sum()),
    "ridge": (sb.Ridge(), lambda w: (w**2).sum() / 2),
    "elastic": (sb.ElasticNet(0.3), lambda w: 0.3 * np.abs(w).sum() + 0.35 * (w**2).sum()),
    "logsum": (sb.LogSum(0.2), lambda w: np.log(1 + np.abs(w) / 0.2).sum()),
    "custom-corner": (
        sb.Custom(lambda w: w + np.sin(w) / 2),
        lambda w: (np.abs(w) + np.sin(np.abs(w)) / 2).sum(),
    ),
    "custom-smooth": (
        sb.Custom(lambda w: np.where(w < 1, w * w / 2, w - 0.5), "huber"),
        lambda w: np.where(np.abs(w) < 1, w * w / 2, np.abs(w) - 0.5).sum(),
    ),
    "custom-root": (sb.Custom(np.sqrt), lambda w: np.sqrt(np.abs(w)).sum()),
    "latent": (
        sb.LatentGroupLasso([[0, 1, 2], [2, 3, 4, 5], [6, 7], [8]], weights=[1, 2, 3, 4.0]),
        lambda w: _latent(w),
    ),
    "tree": (
        sb.TotalVariation(tree=TREE),
        lambda w: sum(abs(w[i] - w[j]) for i, j in enumerate(TREE) if j >= 0),
    ),
    "differences-3": (sb.Differences(3), lambda w: np.abs(np.diff(w, 3)).sum()),
    "differences-grid": (
        sb.Differences(1, grid=(3, 3)),
        lambda w: np.abs(np.diff(np.diff(w.reshape(3, 3), axis=0), axis=1)).sum(),
    ),
    "tv": (sb.TotalVariation(), lambda w: np.abs(np.diff(w)).sum()),
    "fused": (
        sb.L1() + 0.4 * sb.TotalVariation(),
        lambda w: np.abs(w).sum() + 0.4 * np.abs(np.diff(w)).sum(),
    ),
    "reshaped": (
        sb.Reshaped(sb.Nuclear(), (3, 3)),
        lambda w: np.linalg.svd(w.reshape(3, 3))[1].sum(),
    ),
    "trend": (sb.TrendFilter(), lambda w: np.abs(np.diff(w, 2)).sum()),
    "trend-spacing": (
        sb.TrendFilter(SPACING),
        lambda w: np.abs(np.diff(np.diff(w) / SPACING)).sum(),
    ),
    "spectral": (
        sb.Spectral(),
        lambda w: np.abs(
            [
                (np.sqrt(1 / 9) if k == 0 else np.sqrt(2 / 9))
                * (w * np.cos(np.pi * k * (np.arange(9) + 0.5) / 9)).sum()
                for k in range(9)
            ]
        ).sum(),
    ),
}


ACCURACY = {"latent": 1e-8, "custom-corner": 1e-10, "custom-smooth": 1e-10, "custom-root": 1e-10}

# matrices
MATRICES = {
    "nuclear": (sb.Nuclear(), lambda w: np.linalg.svd(w)[1].sum()),
    "schatten-1/2": (sb.Schatten(0.5), lambda w: (np.linalg.svd(w)[1] ** 0.5).sum()),
    "tv-columns": (sb.TotalVariation(axis=0), lambda w: np.abs(np.diff(w, axis=0)).sum()),
    "fused-columns": (
        sb.L1() + sb.TotalVariation(axis=0),
        lambda w: np.abs(w).sum() + np.abs(np.diff(w, axis=0)).sum(),
    ),
    "tv-rows": (sb.TotalVariation(axis=1), lambda w: np.abs(np.diff(w, axis=1)).sum()),
    "tv-joint": (
        sb.TotalVariation(joint=True),
        lambda w: np.linalg.norm(np.diff(w, axis=0), axis=1).sum(),
    ),
    "tree-joint": (
        sb.TotalVariation(tree=[1, -1, 1, 2, 2], joint=True),
        lambda w: np.linalg.norm(w[[0, 2, 3, 4]] - w[[1, 1, 2, 2]], axis=1).sum(),
    ),
    "trend-joint": (
        sb.TrendFilter(joint=True),
        lambda w: np.linalg.norm(np.diff(w, 2, axis=0), axis=1).sum(),
    ),
    "lq": (sb.Lq(2 / 3), lambda w: (np.abs(w) ** (2 / 3)).sum()),
    "logsum": (sb.LogSum(), lambda w: np.log(1 + 10 * np.abs(w)).sum()),
}


@each
@pytest.mark.parametrize("name", MATRICES)
def test_the_design_of_a_matrix_has_the_penalty(name: str, backend: str) -> None:
    penalty, definition = MATRICES[name]
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=(5, 3))
    w = RNG.normal(size=(5, 3))
    with x64():
        found = sb.WeightDecay(0.7).penalty(p, to(backend, w))
        np.testing.assert_allclose(back(found), 0.7 * definition(w), rtol=1e-11)
        np.testing.assert_allclose(back(penalty(to(backend, w))), definition(w), rtol=1e-11)
        assert back(p(p.section(to(backend, w), charge=0.3))) == pytest.approx(w, abs=1e-10)


@pytest.mark.parametrize("name", ["haar", "db2", "bior1.3"])
def test_wavelets_leave_the_coarsest_free(name: str) -> None:
    p = sb.design(sb.Spectral(name, level=1), sb.WeightDecay(1.0), shape=16)
    assert p.shapes["free"] == (8,)
    assert sb.WeightDecay(1.0).penalty(p, np.full(16, 3.0)) == pytest.approx(0, abs=1e-12)
    w = RNG.normal(size=16)
    assert sb.WeightDecay(2.0).penalty(p, w) == pytest.approx(2 * sb.Spectral(name, level=1)(w))


def test_haar_is_the_haar_basis() -> None:
    w = RNG.normal(size=8)
    pairs = (w[::2] - w[1::2]) / np.sqrt(2)
    assert sb.Spectral("haar", level=1)(w) == pytest.approx(np.abs(pairs).sum())


@pytest.mark.parametrize("penalty", [sb.L1(), sb.LogSum(0.3), sb.Custom(lambda w: w + w**3)])
def test_a_gauge_design_has_the_penalty_as_its_log_volume(penalty) -> None:
    T = 0.4
    langevin = sb.Langevin(T, reference="ambient")
    p = sb.design(penalty, langevin, shape=4)
    w = np.abs(RNG.normal(size=4))
    np.testing.assert_allclose(p(p.section(w)), w, rtol=1e-9)
    volume = float(sb.log_volume(p.symmetry, p.section(w)))
    assert T * volume == pytest.approx(float(penalty(w)), rel=1e-9)
    below = p.section(-w)  # the volume is monotone along w
    np.testing.assert_allclose(p(below), -w, rtol=1e-9)
    volume = float(sb.log_volume(p.symmetry, below))
    assert T * volume == pytest.approx(-float(penalty(w)), rel=1e-9)


@pytest.mark.slow
def test_the_log_penalty_is_the_law_against_dw() -> None:
    import jax.numpy as jnp

    langevin = sb.Langevin(0.5, orbital=0.3)
    p = sb.design(sb.LogPenalty(0.2), langevin, shape=())
    law = langevin.law(p, lambda w: (w - 1) ** 2)
    with x64():
        w = jnp.linspace(0.3, 2.0, 5)
        found = jnp.stack([law.log_density(v) for v in w])
        wanted = -((w - 1) ** 2 + 0.2 * jnp.log(w)) / 0.5
        assert back(found - found[0]) == pytest.approx(back(wanted - wanted[0]))


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda w: w + 1, "zero at zero, got 1"),
        (lambda w: -w, "wanted positive"),
        (lambda w: np.sin(w), "decreasing near .w. = 1.57"),
        (lambda w: np.where(w < 2, w, w + 1), "jumps at .w. = 2"),
        (lambda w: np.where(w > 0, 1 + w, 0), "jumps at 0"),
        (lambda w: np.where(w < 3, w, np.nan), "nan at .w. = 3"),
        (lambda w: np.where(w < 1, w, np.where(w < 2, 1, w - 1)), "constant near"),
        (lambda w: w.sum(), "elementwise"),
        (lambda w: (w > 0) * 1.0, "jumps at 0"),
        (lambda w: w + 0j, "complex"),
    ],
)
def test_functions_that_are_no_penalty_are_refused(fn, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.Custom(fn)


def test_a_penalty_that_is_flat_at_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="singular"):
        sb.design(sb.Custom(lambda w: w**3), sb.WeightDecay(1.0), shape=2)


@pytest.mark.parametrize("fn", [lambda w: w / (1 + w), lambda w: 1 - np.exp(-w)])
def test_a_bounded_penalty_warns(fn) -> None:
    penalty = sb.Custom(fn)
    assert penalty.bounded
    with pytest.warns(UserWarning, match="holds locally"):
        p = sb.design(penalty, sb.WeightDecay(1.0), shape=3)
    w = np.array([0.1, -2.0, 5.0])
    assert sb.WeightDecay(1.0).penalty(p, w) == pytest.approx(fn(np.abs(w)).sum(), rel=1e-10)


def test_links_have_their_derivative_at_zero() -> None:
    import jax

    for penalty in (sb.ElasticNet(0.5), sb.LogSum(0.1), sb.Custom(lambda w: 2 * w + w**2)):
        h = penalty.scalar.link()
        with x64():
            slope = jax.grad(lambda z, h=h: h.forward(z))(0.0)
            near = h.forward(jax.numpy.float64(1e-6)) / 1e-6
        assert float(slope) == pytest.approx(float(near), rel=1e-4)
        assert float(slope) > 0


@each
@pytest.mark.parametrize("name", CASES)
def test_the_design_has_the_penalty(name: str, backend: str) -> None:
    penalty, definition = CASES[name]
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=9)
    assert p.shape == (9,)
    for w in [RNG.normal(size=9), np.where(RNG.random(9) < 0.5, 0.0, RNG.normal(size=9))]:
        expected = definition(w)
        with x64():
            found = sb.WeightDecay(0.7).penalty(p, to(backend, w))
            rtol = ACCURACY.get(name, 1e-11)
            np.testing.assert_allclose(back(found), 0.7 * expected, rtol=rtol)
            np.testing.assert_allclose(back(penalty(to(backend, w))), expected, rtol=rtol)
            assert back(p(p.section(to(backend, w), charge=0.3))) == pytest.approx(w, abs=1e-10)


@pytest.mark.parametrize("penalty", ["tv", "trend"])
def test_the_null_space_is_free(penalty: str) -> None:
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=6)
    line = 2.0 + 3.0 * np.arange(6.0) * (penalty == "trend")
    assert sb.WeightDecay(1.0).penalty(p, line) == pytest.approx(0, abs=1e-12)
    assert p.free == {"free"}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("penalty", ["l1", "lq", "group", "tv", "trend", "spectral"])
def test_short_parameters_have_designs_too(penalty: str, size: int) -> None:
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=size)
    w = np.arange(1.0, size + 1)
    np.testing.assert_allclose(p(p.section(w, charge=0.1)), w)


@pytest.mark.parametrize(
    ("penalty", "shape", "message"),
    [
        ("lasso", 3, "unknown penalty 'lasso'.*l1, lq, ridge"),
        (sb.Lq(2.5), 3, "singular there.*sb.Ridge"),
        (lambda: sb.Lq(-1.0), 3, "Lq needs q > 0, got q = -1"),
        (lambda: sb.Lq(0), 3, "Lq needs q > 0, got q = 0"),
        (sb.Schatten(0.7), (3, 3), r"Schatten\(p=0.6666.* is the nearest"),
        (sb.Nuclear(), 3, "penalty on matrices"),
        (sb.LatentGroupLasso([[0, 1]]), 3, "must cover the coefficients"),
        (sb.TotalVariation(tree=[1, 0, -1]), 3, "cycle"),
        (sb.TotalVariation(tree=[-1]), 3, "the tree has 1 nodes"),
        (sb.Differences(1, grid=(2, 2)), 3, "has 4 entries"),
        (lambda: sb.TotalVariation(axis=5), (8, 3), "axis must be 0 or 1"),
        (lambda: sb.TotalVariation(axis=(0, 1)), (8, 3), "full grid"),
        (lambda: sb.TotalVariation(axis=1, tree=[-1, 0]), (2, 3), "over the first axis"),
        (lambda: sb.Spectral("nonsense"), 4, "not a discrete wavelet"),
        (sb.Spectral("haar", level=3), 4, "halved 2 times"),
        (sb.Spectral("haar"), 101, "would penalise none"),
        (sb.Spectral("haar", image=(3, 4)), 12, "would penalise none"),
        (sb.Spectral("db4"), 4, "would penalise none"),
        (sb.GroupLasso([0, 1]), 3, "one label per coefficient"),
        (sb.GroupLasso([[0, 1], [1, 2]]), 3, "latent group lasso"),
        (sb.GroupLasso([[0, 1, 2], [1, 2]]), 3, "latent group lasso"),
        (sb.GroupLasso([0, 0, 1], weights=[1.0]), 3, "expected 2 group weights"),
        (sb.GroupLasso(["a", "b"], weights={"a": 1.0}), 2, "no weight for the groups \\['b'\\]"),
        (sb.GroupLasso([0, 1], weights=[1.0, -1.0]), 2, "at least 0"),
        (sb.GroupLasso(0), 3, "size of a group"),
        (sb.L1([1.0]), 3, "one per coefficient"),
        (lambda: sb.L1([1.0, np.nan]), 2, "finite"),
        (sb.TotalVariation(), (3, 4), "no exact square synthesis"),
        (sb.TrendFilter([1.0]), 3, "spacing must have 2 entries"),
    ],
)
def test_what_cannot_be_reached_is_refused(penalty, shape, message: str) -> None:
    def make() -> None:
        made = penalty if isinstance(penalty, sb.Penalty | str) else penalty()
        sb.design(made, sb.WeightDecay(1.0), shape=shape)

    with pytest.raises(ValueError, match=message):
        make()


def test_a_mechanism_that_is_not_one_is_refused() -> None:
    with pytest.raises(TypeError, match="Adam"):
        sb.design("l1", "adamw", shape=3)


@pytest.mark.parametrize("penalty", [sb.Lq(2), sb.Ridge(), 3 * sb.Ridge()])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_gradient_flow_reaches_all_multiples_of_squares(penalty, shape) -> None:
    flow = sb.GradientFlow(0.1)
    p, w = sb.design(penalty, flow, shape=shape), np.random.default_rng(0).normal(size=shape)
    assert float(flow.induced(p)(w)) == pytest.approx(float(penalty(w)), rel=1e-12)


@pytest.mark.parametrize("mechanism", [sb.GradientFlow(0.1), sb.Langevin(1.0), sb.WeightDecay(1.0)])
@pytest.mark.parametrize(
    ("penalty", "shape"), [(sb.TotalVariation(), (4, 3)), (sb.Nuclear(), 4), (sb.Schatten(), ())]
)
def test_what_no_design_has_is_refused_by_all_mechanisms(mechanism, penalty, shape) -> None:
    with pytest.raises(sb.Refused):
        sb.design(penalty, mechanism, shape=shape)
