"""The part of the study of margins that is about Adam, AdamW and steepest descent."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from symbias.report.page import Section
from symbias.studies import adaptive, margins
from symbias.studies.adaptive import Row

SEEDS, BOX_SEEDS = 10, 6
_QUICK_STEPS = 20_000
NEAR = 1e-4  # a w that is the least of all, not another KKT point

MARGIN_HEADER = [
    "steps",
    "n x p",
    "angle, median",
    "largest",
    "to the rival, least",
    "margin ratio, least",
    "nearer to its own",
]
BOX_HEADER = [
    "theta",
    "betas",
    "max |theta| - 1/lam, largest",
    "KKT residual, median",
    "largest",
    "at bounded least squares",
    "from unbounded, least",
]


def runs(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """All runs, and a summary of each setting; ``quick`` takes two problems of one size."""
    problems, seeds = (margins.PROBLEMS[:1], 2) if quick else (margins.PROBLEMS, SEEDS)
    steps = _QUICK_STEPS if quick else adaptive.STEPS
    rows, summary, boxes, box_summary = [], [], [], []
    for setting in adaptive.SETTINGS:
        for size in problems:
            own = [adaptive.margin_row(setting, *size, seed, steps) for seed in range(seeds)]
            rows += own
            summary.append(summarised(own))
            say(", ".join(margin_cells(summary[-1])))
            jax.clear_caches()  # a program for each run: a process may map only so many
    steps, seeds = (adaptive.BOX_STEPS // 10, 2) if quick else (adaptive.BOX_STEPS, BOX_SEEDS)
    for boxed in adaptive.BOXED:
        for betas in adaptive.BETAS[:1] if quick else adaptive.BETAS:
            own = [adaptive.box_row(boxed, betas, seed, steps=steps) for seed in range(seeds)]
            boxes += own
            box_summary.append(box_summarised(own))
            say(", ".join(box_cells(box_summary[-1])))
            jax.clear_caches()
    return {
        "margins": rows,
        "margin_summary": summary,
        "boxes": boxes,
        "box_summary": box_summary,
    }


def summarised(rows: Sequence[Row]) -> Row:
    """Problems of one setting and size."""
    return margins.told_apart(rows) | {"least_ratio": min(row["ratio"] for row in rows)}


def box_summarised(rows: Sequence[Row]) -> Row:
    """Problems of one parameterization and one pair of betas."""
    residuals = [row["residual"] for row in rows]
    return {
        "setting": rows[0]["setting"],
        "betas": rows[0]["betas"],
        "problems": len(rows),
        "beyond": max(row["beyond"] for row in rows),
        "median_residual": float(np.median(residuals)),
        "largest_residual": max(residuals),
        "least": sum(row["error"] < NEAR for row in rows),
        "unbounded": min(row["unbounded"] for row in rows),
    }


def margin_cells(row: Row) -> list[str]:
    """A line of the table of margins."""
    return [
        row["setting"],
        f"{row['samples']} x {row['features']}",
        f"{row['median_angle']:.2f}",
        f"{row['largest_angle']:.2f}",
        f"{row['least_rival_angle']:.1f}",
        f"{row['least_ratio']:.3f}",
        f"{row['told_apart']} of {row['problems']}",
    ]


def box_cells(row: Row) -> list[str]:
    """A line of the table of boxes."""
    return [
        row["setting"],
        ", ".join(f"{beta:g}" for beta in row["betas"]),
        f"{row['beyond']:.0e}",
        f"{row['median_residual']:.0e}",
        f"{row['largest_residual']:.0e}",
        f"{row['least']} of {row['problems']}",
        f"{row['unbounded']:.1f}",
    ]


def sections(result: dict[str, Any]) -> list[Section]:
    """Two sections of the page."""
    summary, boxes = result["margin_summary"], result["box_summary"]
    predicted = [row for row in summary if "itself" not in row["setting"]]
    told, problems = (sum(row[k] for row in predicted) for k in ("told_apart", "problems"))
    beyond = max(0.0, *(row["beyond"] for row in boxes))
    return [
        Section(
            "Adam and steepest descent",
            "On w itself each goes to the margin of its norm: l_inf for Adam and the signs. Steps "
            "of .3/sqrt(t) on the log of the logistic loss, eps = 0; on the loss itself gradients "
            "soon are far below the usual eps, and the direction stays between. The rival is l2, "
            "for l2 itself l_inf.",
            answer=f"{told} of {problems} runs end nearer to the margin of their norm.",
            tables=[("", [MARGIN_HEADER, *map(margin_cells, summary)])],
        ),
        Section(
            "AdamW",
            "Least squares of 8 features, 40 samples, lam = 1, rates .1/(1 + k/100). At a KKT "
            "point of the box max |theta| <= 1/lam; residuals are max |theta - clip(theta - g)|. "
            "Walls on which a gradient hardly presses take the longest.",
            answer=f"No |theta| ends beyond 1/lam by more than {beyond:.1g}.",
            tables=[("", [BOX_HEADER, *map(box_cells, boxes)])],
        ),
    ]
