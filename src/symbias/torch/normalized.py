"""Weights in front of a normalisation, whose size is divided out: seen without an input.

Every module's own forward is traced by itself, with all modules that it calls as leaves (one level
of `torch.fx`, a millisecond each), along the way from a weight to what reads it. So a module that
cannot be traced hides what it does, and nothing else: blocks inside of a model with control flow
are still seen, modules in an ``nn.Sequential`` always.
"""

import inspect
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from symbias.torch.errors import ScaleInvariant
from symbias.torch.owners import Owner
from symbias.torch.transposed import is_transposed

NORM = re.compile("(Batch|Layer|Group|Instance|RMS)Norm")
NORM_FUNCTIONS = {
    *("batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm", "normalize"),
}
LINEAR = (nn.Linear, nn.modules.conv._ConvNd)
MAKERS = (*LINEAR, nn.Embedding)
# what gives c y for c x, c > 0: a normalisation behind it divides c out as well
HOMOGENEOUS = re.compile(
    "((Alpha|Feature)?Dropout|Identity|ReLU|LeakyReLU|PReLU|(Adaptive)?(Max|Avg)Pool|Flatten|"
    "Unflatten|Upsample|ZeroPad|ReflectionPad|ReplicationPad|PixelShuffle)([123]d)?$"
)
HOMOGENEOUS_FUNCTIONS = {
    *("relu", "relu_", "leaky_relu", "dropout", "dropout1d", "dropout2d", "dropout3d", "flatten"),
    *("view", "reshape", "permute", "transpose", "movedim", "squeeze", "unsqueeze", "contiguous"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "pad"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate", "to"),
    *("float", "clone", "swapaxes", "mT", "t"),
}
LOOKS = {"size", "dim", "getattr", "shape"}  # reads no value
OUTPUT = ""


def warn_normalized(root: nn.Module, weights: Iterable[Sequence[Owner]], stacklevel: int) -> None:
    """Warn once with `ScaleInvariant` of weights that only normalisations read.

    ``weights``: for each, all its places in ``root``. Nothing is said of what cannot be seen:
    `symbias.torch.report` with an example input follows a run instead.
    """
    behind = normalized(root, weights)
    if not behind:
        return
    found = [f"{name!r} by {norm}" for name, norm in behind.items()]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    instead = "penalise what reads the normalisation"
    named = {norm.split("'")[1] for norm in behind.values() if norm.startswith("'")}
    if any(has_channels(root.get_submodule(name)) for name in named):
        instead = (
            "penalise the channels themselves, symbias.torch.penalize_channels(model, '*', "
            "strength), or what reads them"
        )
    warnings.warn(
        f"a normalisation divides out the size of what is wished small ({', '.join(found[:3])}"
        f"{more}): norms there shrink together at the same function, and what is below a threshold "
        f"may be all that the network needs. Instead, {instead}",
        ScaleInvariant,
        stacklevel=stacklevel,
    )


def normalized(root: nn.Module, weights: Iterable[Sequence[Owner]]) -> dict[str, str]:
    """A normalisation, in words, for each weight whose size it divides out."""
    sight, found = _Sight(root), {}
    for places in weights:
        behind = [sight.normalizations(place) for place in places]
        if places and all(behind):
            found[places[0].name] = min(behind[0])
    return found


class _Sight:
    """What reads the modules of one model; graphs are made when they are first asked for."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self._graphs: dict[str, Any] = {}

    def normalizations(self, place: Owner) -> set[str]:
        """Those that read the output of a layer, in words; empty where anything else does."""
        known = isinstance(place.module, MAKERS) or is_transposed(place.module)
        if place.leaf != "weight" or not known:
            return set()
        found: set[str] = set()
        inside, _, _ = place.name.rpartition(".")
        target = ""
        if self._reached(inside):
            return found
        while inside:
            inside, _, part = inside.rpartition(".")
            target = f"{part}.{target}".rstrip(".")
            if not _computes(self.root.get_submodule(inside)):  # a list of modules
                continue
            calls = [n for n in self._nodes(inside) if n.op == "call_module" and n.target == target]
            ends = [self._ends(inside, call) for call in calls]
            if not ends or not all(ends):
                return set()
            found.update(*(e for e in ends if e is not None))
            if OUTPUT not in found:
                return found
            found.discard(OUTPUT)
            target = ""
        return set()

    def _reached(self, layer: str) -> bool:
        """Whether a forward further out takes the weight, or the layer's output past its container.

        What it takes to a normalisation is no matter.
        """
        parts = layer.split(".")
        for k in range(len(parts)):
            inside, rest = ".".join(parts[:k]), ".".join(parts[k:])
            for node in self._nodes(inside):
                if node.op == "get_attr" and node.target.startswith(f"{rest}."):
                    return True
                if node.op == "call_module" and node.target == rest and k < len(parts) - 1:
                    ends = self._ends(inside, node)
                    if not ends or OUTPUT in ends:
                        return True
        return False

    def _ends(self, path: str, node: Any) -> set[str] | None:
        """Where a value ends, in the module at ``path``; None where its size may matter."""
        ends: set[str] = set()
        for user in node.users:
            name = _name(user)
            if user.op == "output":
                more = {OUTPUT} if user.args[0] is node else None
            elif name in LOOKS:
                continue
            elif user.args[:1] != (node,) or user.all_input_nodes.count(node) > 1:
                more = None
            elif user.op == "call_module":
                more = self._through(path, user)
            elif name in NORM_FUNCTIONS:
                more = {f"{name} in {path or 'the model'}"}
            else:
                more = self._ends(path, user) if name in HOMOGENEOUS_FUNCTIONS else None
            if more is None:
                return None
            ends |= more
        return ends

    def _through(self, path: str, call: Any) -> set[str] | None:
        inner = f"{path}.{call.target}".lstrip(".")
        module = self.root.get_submodule(inner)
        if _normalizes(module) and not self._frozen(module):
            return {f"{inner!r} ({_kind(module).__name__})"}
        linear = isinstance(module, LINEAR) and module.bias is None
        if linear or HOMOGENEOUS.match(_kind(module).__name__):
            return self._ends(path, call)
        start = next((n for n in self._nodes(inner) if n.op == "placeholder"), None)
        ends = self._ends(inner, start) if start is not None and len(module._modules) else None
        if ends is None or OUTPUT not in ends:
            return ends
        later = self._ends(path, call)
        return None if later is None else (ends - {OUTPUT}) | later

    def _frozen(self, norm: nn.Module) -> bool:
        """Whether its statistics are constants in training."""
        constant = getattr(norm, "running_mean", None) is not None
        return constant and self.root.training and not norm.training

    def _nodes(self, path: str) -> list[Any]:
        if path not in self._graphs:
            self._graphs[path] = _nodes(self.root.get_submodule(path))
        return self._graphs[path]


def _nodes(module: nn.Module) -> list[Any]:
    """The operations of a module's own forward; none where it cannot be traced."""
    from torch.fx import Proxy, Tracer

    class OneLevel(Tracer):
        proxy_buffer_attributes = True

        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return True

    twin = object.__new__(type(module))  # a forward may write into its module
    for key, value in vars(module).items():
        vars(twin)[key] = value.copy() if isinstance(value, dict | list | set) else value
    given = inspect.signature(module.forward).parameters.values()
    defaults = {p.name: p.default for p in given if p.default is not p.empty}
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            graph = OneLevel().trace(twin, defaults or None)
            for value in vars(twin).values():  # what it keeps, others may read
                held = value.values() if isinstance(value, dict) else value
                for item in held if isinstance(value, dict | list | tuple | set) else [value]:
                    if isinstance(item, Proxy):
                        graph.call_function(setattr, (item.node,))
            return list(graph.nodes)
    except Exception:  # control flow, or whatever a forward does with what is no tensor
        return []


def _name(node: Any) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _kind(module: nn.Module) -> type[nn.Module]:
    """The class before a parametrization."""
    kind = type(module)
    return kind.__bases__[0] if "parametrizations" in module._modules else kind


def has_channels(module: nn.Module) -> bool:
    """Whether it has a scale and a shift for each channel, for `penalize_channels`."""
    scaled = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return scaled and module.weight is not None and module.bias is not None


def _computes(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _normalizes(module: nn.Module) -> bool:
    """By its class's name, or that of a base: those of other libraries too."""
    names = [kind.__name__ for kind in type(module).__mro__]
    made_here = any(isinstance(m, MAKERS) for m in module.modules())  # a layer and its norm in one
    return any(map(NORM.search, names)) and not made_here and "Frozen" not in " ".join(names)
