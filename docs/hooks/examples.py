"""The ten examples, run while the site is built: question, figure, printed answer, code."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[2] / "examples" / "gallery"
READERS = {
    "A table or a series": ("level", "features", "groups", "completion"),
    "A network in PyTorch": ("pruning", "adapter"),
    "A theory of training": ("trainings", "flow", "charges", "langevin"),
}
INTRO = """# Ten examples

Each is a script of fewer than 30 lines that asks one question, prints the answer and draws one
figure. All of them ran when this site was built, and a test holds each answer to its claim. To run
one yourself:

```console
cd examples/gallery
python level.py   # prints, and writes level.svg beside it
```
"""


def run(name: str, folder: Path) -> tuple[str, str]:
    """What an example prints, and its figure (SVG); it writes to ``folder``."""
    settings = {"MPLBACKEND": "agg", "MATPLOTLIBRC": str(FOLDER / "matplotlibrc")}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py")],
        cwd=folder,
        env=os.environ | settings | threads,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name}.py failed:\n{done.stderr}")
    return done.stdout.strip(), (folder / f"{name}.svg").read_text()


def entry(name: str, answer: str) -> str:
    """The part of the page about one example, in Markdown."""
    code = (FOLDER / f"{name}.py").read_text()
    question, text = (ast.get_docstring(ast.parse(code)) or "").split("\n\n")
    code = code.split('"""\n\n', 1)[1]
    return f"""
### {question}

{text}

![{question}](examples/{name}.svg)

```{{.text .answer}}
{answer}
```

```python title="examples/gallery/{name}.py"
{code}```
"""


@cache
def examples() -> tuple[str, dict[str, str]]:
    """The page, and the figures by name."""
    page, figures = [INTRO], {}
    with TemporaryDirectory() as folder:
        for reader, names in READERS.items():
            page.append(f"\n## {reader}\n")
            for name in names:
                answer, figures[name] = run(name, Path(folder))
                page.append(entry(name, answer))
    return "".join(page), figures


def on_files(files: Files, config: Any) -> Files:
    page, figures = examples()
    files.append(File.generated(config, "examples.md", content=page))
    for name, figure in figures.items():
        files.append(File.generated(config, f"examples/{name}.svg", content=figure))
    return files
