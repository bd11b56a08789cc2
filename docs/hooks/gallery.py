"""The gallery of cards, computed while the site is built."""

from functools import cache
from typing import Any

from mkdocs.structure.files import File, Files

import symbias as sb

CARDS: dict[str, tuple[str, str]] = {
    "Products: sparsity": (
        "sb.Hadamard(10)",
        "The oldest: w = u v. Weight decay makes it the lasso, gradient flow from a small start "
        "the least l1 norm.",
    ),
    "Deeper products: sparser still": (
        "sb.Hadamard(10, depth=3)",
        "Weight decay on three factors is |w|^(2/3), not convex and less biased on what is large.",
    ),
    "Groups": (
        "sb.GroupProduct((4, 3))",
        "One scale for each row: rows are in or out. No potential describes its gradient flow.",
    ),
    "Matrix products: low rank": (
        "sb.MatrixProduct(6, 4)",
        "W = P Q: weight decay is the nuclear norm, label noise the nuclear norm of S^(1/2) W.",
    ),
    "A link: very sparse, hardly shrunk": (
        "sb.design(sb.LogSum(0.1), sb.WeightDecay(1.0), shape=10)",
        "w = h(u v), with h the inverse of the penalty, made to measure for weight decay.",
    ),
    "Elastic net": (
        "sb.design(sb.ElasticNet(0.5), sb.WeightDecay(1.0), shape=10)",
        "A corner at zero, and a parabola further out.",
    ),
    "Radii": (
        "sb.Radial((), 3, sb.PowerLink(2.0))",
        "w = |x|^2: orbits are spheres, and under Langevin noise their volume is the bias.",
    ),
    "Total variation": (
        "sb.design(sb.TotalVariation(), sb.WeightDecay(1.0), shape=50)",
        "Cumulative sums of products: piecewise constant. Its card is that of the jumps z.",
    ),
}


def _cells(row: list[str]) -> list[str]:
    training, penalty, *rest = row
    return [training, f"`{penalty}`", *(cell.replace("|", "\\|") for cell in rest)]


@cache
def gallery() -> str:
    """The page, in Markdown."""
    lines = [
        "# Gallery of cards",
        "",
        "What a parameterization prefers depends on how it is trained. Each card below is "
        "`sb.card(p)`, computed when this site was built; a refusal is an answer too.",
    ]
    for title, (code, text) in CARDS.items():
        card = sb.card(eval(code, {"sb": sb}))
        lines += ["", f"## {title}", "", text, "", "```python", f"sb.card({code})", "```", ""]
        lines += [f"![Penalties along one coordinate, and level sets: {title}]({card.figure()})"]
        head, *rows = card.table()
        lines += [
            "",
            "| " + " | ".join(cell.replace("|", "\\|") for cell in head) + " |",
            "|---" * len(head) + "|",
        ]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def on_files(files: Files, config: Any) -> Files:
    files.append(File.generated(config, "gallery.md", content=gallery()))
    return files
