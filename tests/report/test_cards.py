"""Cards say what each mechanism computes, and refuse for its reasons."""

import numpy as np
import pytest

import symbias as sb

CARDS = {
    "product": sb.Hadamard(9),
    "depth 3": sb.Hadamard(9, depth=3),
    "groups": sb.GroupProduct((4, 3)),
    "matrix": sb.MatrixProduct(4, 3),
    "series": sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(9)),
    "linked": sb.Linked(sb.Hadamard(5), sb.ExponentialLink(0.1)),
    "plain": sb.Plain(3),
    "radial": sb.Radial(3, 2, sb.PowerLink(2.0)),
    "parts": sb.Parts(3, [([0, 2], sb.Hadamard(2)), ([1], sb.Plain(1))]),
    "sum": sb.Sum([sb.Hadamard((2, 2)), sb.MatrixProduct(2, 2)]),
}


@pytest.mark.parametrize("name", CARDS)
def test_every_row_has_a_penalty_or_a_reason(name: str) -> None:
    card = sb.card(CARDS[name])
    assert [row.mechanism for row in card.rows[:4]] == [
        "weight decay",
        "label noise",
        "gradient flow",
        "Langevin, against dw",
    ]
    for row in card.rows:
        assert row.note
        assert (row.value is None) == (row.status in ("refused", "needs a run"))
    assert [row.mechanism for row in card.rows[-2:]] == ["Adam", "AdamW"]
    assert len({len(line) for line in card.table()}) == 1


def test_values_are_those_of_the_formulas() -> None:
    rows = {row.mechanism: row.value for row in sb.card(sb.Hadamard(9)).rows}
    w = np.array([0.7, -1.2])
    assert rows["weight decay"](w) == pytest.approx(np.abs(w).sum())
    assert rows["label noise"](w) == pytest.approx(np.abs(w).sum() / 2)
    c = 1e-6
    psi = 0.5 * w * np.arcsinh(2 * w / c) - 0.25 * (np.sqrt(4 * w**2 + c**2) - c)
    assert rows["gradient flow"](w) == pytest.approx(psi.sum())
    langevin = rows["Langevin, against dw"]
    ones = np.ones(2)
    assert langevin(w) - langevin(ones) == pytest.approx(0.5 * np.log(np.abs(w)).sum())


@pytest.mark.slow
def test_sgd_noise_keeps_the_potential_and_moves_its_charges() -> None:
    def row(p: sb.Parameterization):
        return next(r for r in sb.card(p).rows if r.mechanism == "SGD noise alone")

    series = row(CARDS["series"])
    assert series.status == "needs a run"
    assert "asinh(2 z / |c|) / 2" in series.penalty
    assert "expected_after" in series.note
    for name in ("depth 3", "groups", "matrix", "linked", "radial", "parts", "sum"):
        assert row(CARDS[name]).status == "refused"
        assert "where labels are fitted: " in row(CARDS[name]).note
    assert "steps of any size end where the flow does" in row(CARDS["plain"]).note


def test_classification_has_the_norm_of_weight_decay_where_all_is_of_one_degree() -> None:
    def row(p: sb.Parameterization):
        return next(r for r in sb.card(p).rows if r.mechanism == "max margin")

    w = np.array([0.7, -1.2])
    assert row(sb.Hadamard(9)).value(w) == pytest.approx(np.abs(w).sum())
    assert row(sb.Hadamard(9)).penalty == "sum |w_i|"
    free = row(sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(5)))
    assert free.status == "refused"
    assert "free coordinates" in free.note


@pytest.mark.slow
def test_adam_and_adamw_say_what_is_known_of_them() -> None:
    def rows(p: sb.Parameterization):
        return sb.card(p).rows[-2:]

    w = np.array([0.7, -1.2])
    adam, adamw = rows(sb.Plain(9))
    assert adam.value(w) == pytest.approx(1.2)
    assert adamw.penalty == "0 where max |w_i| <= 1 / lam, else inf"
    assert (adamw.value(w / 2), adamw.value(w)) == (0, np.inf)
    adam, adamw = rows(sb.Hadamard(9))
    assert (adam.status, adamw.status) == ("limit", "limit")
    assert adam.penalty == "least max |theta_i|^2"
    assert adam.value(w) == pytest.approx(1.2)
    assert "no exact zeros" in adamw.note
    adam, _ = rows(sb.Hadamard(9, depth=3))
    assert adam.status == "refused"
    assert "where Adam takes w through the factors of Hadamard is not known" in adam.note
    adam, adamw = rows(sb.Synthesis(sb.CumulativeSum(), sb.Plain(5)))
    assert "free coordinates ['free']" in adam.note
    assert adamw.penalty == "0 where max |z_i| <= 1 / lam, else inf"
    assert rows(sb.MatrixProduct(4, 3))[1].penalty == "contained in max |w_i| <= 2 / lam^2"
    assert "0 <= w_i <= h(sqrt(2) / lam)" in rows(sb.Radial(3, 2))[1].penalty
    own = sb.Parameterization.of(lambda theta: theta["x"] ** 3, {"x": 3})
    assert rows(own)[1].status == "refused"
    half = sb.card(sb.Plain(9), adamw=sb.AdamW(0.5)).rows[-1]
    assert half.value(w) == 0


def test_groups_and_matrices_have_no_potential() -> None:
    for name in ("groups", "matrix"):
        row = next(r for r in sb.card(CARDS[name]).rows if r.mechanism == "gradient flow")
        assert row.status == "refused"
        assert "do not commute" in row.note


def test_a_gauge_design_shows_both_measures() -> None:
    penalty = sb.LogSum(0.5)
    langevin = sb.Langevin(0.3, reference="ambient")
    card = sb.card(sb.design(penalty, langevin, shape=3), langevin=langevin)
    rows = {row.mechanism: row.value for row in card.rows}
    w, far = np.array([0.7, 1.3]), np.array([1.7, 2.3])
    assert rows["Langevin, ambient"](w) == pytest.approx(float(penalty(w)))
    # against dw the same process prefers large w
    assert rows["Langevin, against dw"](far) < rows["Langevin, against dw"](w)


@pytest.mark.slow
def test_the_sample_is_of_the_same_kind() -> None:
    for p in CARDS.values():
        card = sb.card(p)
        assert card.sample.shape in ((2,), (2, 2), (3, 2), (1,))
        assert card.rows[0].penalty


@pytest.mark.parametrize("name", ["product", "matrix", "groups"])
def test_the_figure_is_drawn(name: str) -> None:
    from symbias.report.style import svg_text

    text = svg_text(sb.card(CARDS[name]).figure())
    assert text.startswith("<?xml")
    assert len(text) > 20_000


LONG = ((3, 3), (3, 3, 2), (4, 4, 6))


@pytest.mark.parametrize(
    "sizes", [(3, 4, 2), (4, 3), *(pytest.param(s, marks=pytest.mark.slow) for s in LONG)]
)
def test_a_card_says_of_a_law_what_the_law_says(sizes: tuple[int, ...]) -> None:
    """Square or not, and of a smaller or larger inner dimension: other laws, or none."""
    p, langevin = sb.MatrixProduct(*sizes), sb.Langevin(1.0)
    (row,) = [r for r in sb.card(p, langevin=langevin).rows if r.mechanism == langevin.label]
    try:
        said = langevin.induced(p).formula, langevin.status
    except ValueError as error:
        said = "none", "refused"
        reason = str(error).partition("numbers")[0]
        assert row.note.startswith(reason.rstrip("0123456789 "))  # numbers are those of the sample
    assert (row.penalty, row.status) == said


@pytest.mark.slow
def test_the_note_of_gradient_flow_holds_for_own_functions() -> None:
    """u = v = init_scale there: it is the charge u v that is init_scale^2."""
    p = sb.Parameterization.of(lambda t: t["u"] ** 2 - t["v"] ** 2, {"u": 2, "v": 2})
    (row,) = [r for r in sb.card(p).rows if r.mechanism == "gradient flow"]
    assert "from charges c = init_scale^2" in row.note
    theta = sb.GradientFlow(1e-3).init(p)
    np.testing.assert_allclose(np.abs(sb.charges(p.symmetry, theta)["u+v|"]), 1e-6)
