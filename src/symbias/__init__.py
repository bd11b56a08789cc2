"""symbias: predict, verify and design the implicit bias of training.

Public names load on first use, so that ``import symbias`` stays light.
"""

from typing import Any

from symbias._core.lazy import load
from symbias._version import __version__

# room -> the public names it holds
_ROOMS: dict[str, tuple[str, ...]] = {
    "_core.refusal": ("Refused",),
    "dynamics": (
        "NormalizedDescent",
        "Optax",
        "Problem",
        "Run",
        "SGD",
        "log_logistic_loss",
        "logistic_loss",
        "simulate",
        "squared_error",
        "steepest_descent",
    ),
    "symmetry": (
        "Balanced",
        "Bond",
        "ComplexScaling",
        "Discovery",
        "GeneralLinear",
        "IndefiniteOrthogonal",
        "Orthogonal",
        "Rescaling",
        "Symmetry",
        "Translation",
        "UniformScale",
        "Volume",
        "WeightedRescaling",
        "act",
        "balance",
        "charges",
        "check_invariance",
        "discover",
        "gram",
        "horizontal",
        "induced_norm",
        "log_volume",
        "random_element",
        "validate",
        "volume",
    ),
    "maps": (
        "Copies",
        "Cosine",
        "CumulativeSum",
        "Diagonal",
        "ElasticLink",
        "ExponentialLink",
        "GridSum",
        "IntervalSum",
        "Link",
        "Matrix",
        "PowerLink",
        "TabulatedLink",
        "TreeSum",
        "Wavelet",
    ),
    "penalties": (
        "Custom",
        "Differences",
        "ElasticNet",
        "Entropy",
        "GroupLasso",
        "Hypentropy",
        "L1",
        "LatentGroupLasso",
        "LogPenalty",
        "LogSum",
        "Lq",
        "Nuclear",
        "Penalty",
        "Reshaped",
        "Ridge",
        "Schatten",
        "Spectral",
        "TotalVariation",
        "TrendFilter",
    ),
    "parameterizations": (
        "GroupProduct",
        "Hadamard",
        "Linked",
        "MatrixProduct",
        "Parameterization",
        "Parts",
        "Plain",
        "Radial",
        "Sum",
        "Synthesis",
    ),
    "mechanisms": (
        "Adam",
        "AdamW",
        "FunctionSpace",
        "GradientFlow",
        "GreedyRank",
        "Incremental",
        "LabelNoise",
        "Langevin",
        "Law",
        "Margin",
        "MaxMargin",
        "Mechanism",
        "PiecewiseLinear",
        "Potential",
        "Reach",
        "SignDescent",
        "SteepestDescent",
        "WeightDecay",
        "charge_drift",
        "effective_loss",
        "equilibrium",
        "expected_charge_drift",
        "flow_bracket",
        "greedy_rank",
        "incremental",
        "incremental_groups",
        "noise_drift",
        "reachable",
        "relaxation_time",
    ),
    "evidence": ("Evidence", "compare", "compare_median", "compare_point", "holm"),
    "designs": ("design",),
    "report": ("Card", "card"),
    "studies": ("Verification", "verify"),
    "estimators": (
        "DesignedClassifier",
        "DesignedRegressor",
        "DesignedRegressorCV",
        "complete",
        "fit_series",
        "selection_frequency",
    ),
    "solvers": ("Huber", "Logistic", "Poisson", "SquaredError"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name, "sb.")


def __dir__() -> list[str]:
    return __all__
