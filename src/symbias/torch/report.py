"""What designs and penalties have done to a model so far: norms, gaps, and what is wrong."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from symbias.torch.collapsing import made_plain
from symbias.torch.factors import FactorList
from symbias.torch.gaps import FLOOR, Gap, find_gap
from symbias.torch.normalized import normalized
from symbias.torch.optimizers import living, undecayed_by
from symbias.torch.owners import designed, owners, places_of
from symbias.torch.proximal import penalized
from symbias.torch.removal import arguments, follow
from symbias.torch.sizes import ascending, measure_sizes

POINTS = 8  # of the curve of scores, besides 0 and the gap
NORMALIZED = (
    "it is in front of a normalisation, which divides its size out: the penalty shrinks what grows "
    "back. symbias.torch.penalize_channels penalises the channels themselves"
)


@dataclass(frozen=True)
class Weighed:
    """One designed or penalised weight.

    Attributes
    ----------
    name, wish : str
        Which, and its penalty.
    sizes : array
        Norms of groups, singular values, entries, differences: what the penalty sums, sorted.
    gap : Gap or None
    notes : tuple of str
        What is wrong.
    """

    name: str
    wish: str
    sizes: np.ndarray
    gap: Gap | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Sizes and gaps of a model's designed and penalised weights. Print it to read it.

    Attributes
    ----------
    weights : tuple of Weighed
    gap : Gap or None
        In all sizes together: the threshold for `symbias.torch.collapse`.
    curve : tuple of (threshold, fraction of zero sizes, score)
        With ``evaluate``: the score of a copy that is cut at each threshold.
    """

    weights: tuple[Weighed, ...]
    gap: Gap | None
    curve: tuple[tuple[float, float, float], ...]

    def as_dict(self) -> dict[str, float]:
        """Numbers for a logger: dead sizes, their number, and the gap's ratio, by weight."""
        found: dict[str, float] = {}
        for w in self.weights:
            found[f"{w.name}/sizes"] = float(len(w.sizes))
            found[f"{w.name}/dead"] = float(w.gap.dead if w.gap else np.sum(w.sizes == 0))
            found[f"{w.name}/gap"] = w.gap.ratio if w.gap else 1.0
        return found

    def __str__(self) -> str:
        head = ("weight", "sizes", "dead", "smallest", "median", "largest", "gap")
        rows = [head, *(_row(w) for w in self.weights)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
        lines = [
            "  ".join([name.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])
            for name, *rest in rows
        ]
        lines.append(_said(self.gap))
        lines += [f"{w.name}: {note}" for w in self.weights for note in w.notes]
        if self.curve:
            lines.append("threshold  zero  score")
            lines += [f"{t:9.2e}  {z:4.0%}  {s:.4g}" for t, z, s in self.curve]
        return "\n".join(lines)

    def figure(self) -> Any:
        """Sizes, sorted, of every weight, on a logarithmic scale; with the gap."""
        from matplotlib.figure import Figure

        fig = Figure(figsize=(7, 4), layout="constrained")
        ax = fig.subplots()
        for w in self.weights:
            low = FLOOR * max(w.sizes.max(initial=0.0), 1e-30)
            ax.plot(np.linspace(0, 1, len(w.sizes)), np.maximum(w.sizes, low), label=w.name)
        if self.gap is not None and self.gap.threshold > 0:
            ax.axhline(self.gap.threshold, color="0.4", linestyle="--", label="in the gap")
        ax.set(yscale="log", xlabel="fraction of the sizes", ylabel="size")
        ax.legend(frameon=False, fontsize="small")
        return fig


def report(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float] | None = None,
    *,
    example_input: Any = None,
) -> Report:
    """How far designs and penalties are: norms, the gap between dead and alive, and warnings.

    During or after training; the model is not touched.

    Parameters
    ----------
    evaluate : function of a model, optional
        Such as its accuracy on held-out data: called on a copy for each of ten thresholds.
    example_input : as in `symbias.torch.shrink`, optional
        With it, weights in front of a normalisation are found: their size is divided out, and a
        penalty on them does not mean what it says.

    Raises
    ------
    ValueError
        Where nothing is designed or penalised.

    Notes
    -----
    Cost: the sizes of every weight once; a singular value decomposition for matrix products.
    """
    ours = designed(model)
    wished = {o.name: p for o, p in owners(model) if penalized(p) is not None}
    if not ours and not wished:
        raise ValueError(f"nothing in {type(model).__name__} is designed or penalised")
    behind: set[str] = set()
    if example_input is not None:
        inputs, keywords = arguments(example_input)
        seen = follow(model, inputs, keywords)[0].normalized
        behind = {name for name, p in wished.items() if id(p) in seen}
        behind |= normalized(model, [places_of(model, name) for name in [*ours, *wished]]).keys()
    sweep = cache(lambda: living(torch.optim.Optimizer))
    found = [_of_design(name, f, name in behind, sweep) for name, f in ours.items()]
    found += [_of_penalty(name, p, name in behind) for name, p in wished.items()]
    pooled = np.concatenate([w.sizes for w in found])
    gap = find_gap(pooled)
    curve = () if evaluate is None else _curve(model, evaluate, pooled, gap)
    return Report(tuple(found), gap, curve)


@torch.no_grad()
def _of_design(
    name: str,
    factors: FactorList,
    normalized: bool,
    sweep: Callable[[], list[torch.optim.Optimizer]],
) -> Weighed:
    measured = measure_sizes(factors.factors.design, factors())
    notes = []
    if not factors.in_loss and (kind := undecayed_by(factors.decayed(), sweep)):
        notes.append(
            f"{kind} does not decay its factors: without factor_penalty in the loss there is no "
            "penalty"
        )
    notes += [NORMALIZED] * normalized
    return _weighed(name, measured.wish.formula, measured.sizes, notes)


@torch.no_grad()
def _of_penalty(name: str, weight: nn.Parameter, normalized: bool) -> Weighed:
    made = penalized(weight)
    assert made is not None
    notes = []
    if not made.stepped:
        notes.append("no optimizer takes proximal steps for it: st.ProximalStep(optimizer)")
    notes += [NORMALIZED] * normalized
    sizes = ascending(made.sizes(weight))
    return _weighed(name, f"{made.strength:g} * ({made.penalty.formula})", sizes, notes)


def _weighed(name: str, wish: str, numbers: np.ndarray, notes: list[str]) -> Weighed:
    if not np.all(np.isfinite(numbers)):
        notes.append("it is not finite: training diverged")
    elif numbers.max(initial=0.0) == 0:
        notes.append(f"ALL {len(numbers)} SIZES ARE ZERO: the layer is dead")
    return Weighed(name, wish, numbers, find_gap(numbers), tuple(notes))


def _said(gap: Gap | None) -> str:
    if gap is None:
        return "no gap in all sizes together: train longer, or with a larger strength"
    if gap.threshold == 0:
        return f"gap in all sizes together: {gap.dead} are exactly zero"
    return f"gap in all sizes together: collapse(model, threshold={gap.threshold:.2g})"


def _row(w: Weighed) -> tuple[str, ...]:
    s = w.sizes if len(w.sizes) else np.zeros(1)
    dead = w.gap.dead if w.gap else int(np.sum(s == 0))
    gap = f"{w.gap.ratio:.2g}x" if w.gap else "none"
    some = (f"{x:.2g}" for x in (s[0], np.median(s), s[-1]))
    return (w.name, str(len(w.sizes)), str(dead), *some, gap)


@torch.no_grad()
def _curve(
    model: nn.Module, evaluate: Callable[[nn.Module], float], sizes: np.ndarray, gap: Gap | None
) -> tuple[tuple[float, float, float], ...]:
    """Scores of copies that are cut at rising thresholds."""
    wanted = {0.0, *np.quantile(sizes, np.linspace(0.1, 0.9, POINTS))}
    wanted |= {gap.threshold} if gap else set()
    points = []
    for threshold in sorted(map(float, wanted)):
        twin = copy.deepcopy(model)
        _cut(model, twin, threshold)
        points.append((threshold, float(np.mean(sizes <= threshold)), float(evaluate(twin))))
    return tuple(points)


@torch.no_grad()
def _cut(model: nn.Module, twin: nn.Module, threshold: float) -> None:
    """Zeros in a copy, where sizes are at most the threshold."""
    if designed(twin):
        made_plain(twin, threshold)
    copies = dict(twin.named_parameters())
    names = {id(p): name for name, p in model.named_parameters()}
    for p in model.parameters():
        made = penalized(p)
        if made is not None:
            for q, new in zip(made.all_of(p), made.cut(p, threshold), strict=True):
                copies[names[id(q)]].copy_(new)
