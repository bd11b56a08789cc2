"""One designed weight inside PyTorch: its factors, and the map from them to the weight."""

import math
import re
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.parametrize import ParametrizationList

from symbias.parameterizations import Parameterization
from symbias.torch.errors import AlreadyDesigned
from symbias.torch.optimizers import watch
from symbias.torch.saving import warn_saved


class Factors(nn.Module):
    """The parametrization theta -> w of one weight, as PyTorch's own operations.

    The design is traced once: shape checks and dispatch are gone from the training step, constants
    are buffers that follow the module to its device, and `torch.compile` sees one graph.
    """

    like: Tensor

    def __init__(
        self, design: Parameterization, charge: float, factor_dtype: torch.dtype, like: Tensor
    ) -> None:
        super().__init__()
        self.design, self.charge, self.factor_dtype = design, charge, factor_dtype
        # moves and casts with the model, and so tells what the weight would be
        self.register_buffer("like", like.detach().new_empty(0), persistent=False)
        self.traced_on = like.device
        self.start: dict[str, Tensor] | None = None  # a section that was taken before
        self.effective = traced(design, factor_dtype, like.device)

    def forward(self, *factors: Tensor) -> Tensor:
        kind = factors[0].device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                weight = self.effective(*factors)
        else:
            weight = self.effective(*factors)
        return weight.to(self.like.dtype)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """Factors of ``weight`` with the charge, in the order of the design's shapes."""
        theta, self.start = self.start or self.section(weight), None
        return tuple(theta[name].to(self.factor_dtype) for name in self.design.shapes)

    def section(self, weight: Tensor) -> dict[str, Tensor]:
        exact = weight.detach().double() if weight.device.type != "mps" else weight.detach()
        return self.design.section(exact, self.charge)

    def retrace(self, factor: Tensor) -> None:
        """Follow the factors to the dtype and device of one of them."""
        if (factor.dtype, factor.device) != (self.factor_dtype, self.traced_on):
            self.factor_dtype, self.traced_on = factor.dtype, factor.device
            self.effective = traced(self.design, factor.dtype, factor.device)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_modules"] = {k: v for k, v in self._modules.items() if k != "effective"}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.effective = traced(self.design, self.factor_dtype, self.like.device)

    @cached_property
    def identity(self) -> tuple[str, list[float]]:
        """The design in words, and numbers that tell its map from others of the same words.

        They are the sum of sizes and two projections of its value at fixed factors.
        """
        p, sizes = self.design, [math.prod(s) for s in self.design.shapes.values()]
        with torch.no_grad():
            pieces = (1 + _cosines(1, sum(sizes)) / 2).split(sizes)
            pairs = zip(p.shapes.items(), pieces, strict=True)
            w = p({name: piece.reshape(shape) for (name, shape), piece in pairs}).reshape(-1)
            numbers = [w.abs().sum(), *(w @ _cosines(k, w.numel()) for k in (1, 2))]
        words = re.sub(r" at 0x[0-9a-f]+", "", repr(p))
        return words + (f", free {sorted(p.free)}" if p.free else ""), [float(x) for x in numbers]

    def extra_repr(self) -> str:
        return repr(self.design)


class FactorList(ParametrizationList):
    """PyTorch's list of parametrizations, with names for the factors and a dtype that can stay.

    Attributes
    ----------
    pinned : bool
        Whether the factors keep their dtype when the model is cast.
    """

    pinned: bool
    place: str = "the weight"  # in words, of a module that it serves
    in_loss: bool = False  # whether factor_penalty was taken of it
    replaced: Any = None  # weak reference to the weight that was here

    @property
    def factors(self) -> Factors:
        return self[0]  # type: ignore[return-value]

    def named(self) -> dict[str, nn.Parameter]:
        """The factors under the names of the design."""
        return {
            name: getattr(self, f"original{k}") if not self.is_tensor else self.original  # type: ignore[misc]
            for k, name in enumerate(self.factors.design.shapes)
        }

    def decayed(self) -> list[nn.Parameter]:
        """The factors that weight decay is for: all but the free coordinates."""
        return [t for n, t in self.named().items() if n not in self.factors.design.free]

    def append(self, module: nn.Module) -> Any:
        """Take a map of the weight on top; what replaces the weight is refused."""
        try:
            with torch.no_grad():
                mapped = module(self())
        except Exception as error:  # of weight_norm, which takes two tensors, or orthogonal
            raise refusal(self.place, type(module).__name__) from error
        if not isinstance(mapped, Tensor):
            raise refusal(self.place, type(module).__name__)
        return super().append(module)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        others = getattr(destination, "_metadata", {}).values()
        if not any("design" in entry for entry in others):  # once for all weights
            warn_saved(prefix[:-1].replace("parametrizations.", ""))
        if hasattr(destination, "_metadata"):  # beside the versions; no key of its own
            destination._metadata.setdefault(prefix[:-1], {})["design"] = self.factors.identity

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        words, numbers = self.factors.identity
        theirs, reference = local_metadata.get("design", (words, numbers))
        tolerance = 1e-8 * numbers[0]
        differ = any(abs(a - b) > tolerance for a, b in zip(numbers, reference, strict=True))
        if words != theirs or differ:
            other = "" if words != theirs else " with other groups or weights"
            error_msgs.append(f"{prefix[:-1]}: saved under {theirs}, loaded into {words}{other}")
            return
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        kept = {name: factor.detach().clone() for name, factor in self.named().items()}
        super()._apply(fn, recurse)
        for name, factor in self.named().items() if self.pinned else ():
            factor.data = kept[name].to(factor.device)
        self.factors.retrace(next(iter(self.named().values())))
        return self

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"replaced": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        watch(self, self.decayed())  # copies have no hooks


def refusal(place: str, kind: str) -> AlreadyDesigned:
    """The error for a parametrization that cannot be on top of a design."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.lstrip("_")).lower()
    return AlreadyDesigned(
        f"{place} is designed: {kind} would re-parametrize its factors; collapse it first"
    )


def _cosines(k: int, count: int) -> Tensor:
    return torch.cos(k * torch.arange(1.0, count + 1, dtype=torch.float64, device="cpu"))


def traced(design: Parameterization, dtype: torch.dtype, device: torch.device) -> GraphModule:
    """``design`` as a graph of PyTorch operations on its factors, in the order of its shapes."""
    names = list(design.shapes)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        example = [torch.ones(s, dtype=dtype, device=device) for s in design.shapes.values()]
        graph = make_fx(lambda *factors: design(dict(zip(names, factors, strict=True))))(*example)
        _fold_constants(graph)
    for name, _ in list(graph.named_buffers()):
        graph._non_persistent_buffers_set.add(name)
    return graph


def _fold_constants(graph: GraphModule) -> None:
    """Compute once what does not depend on the factors, and keep it as buffers."""
    values: dict[Any, Any] = {}

    def get(node: Any) -> Any:
        return values[node]

    for node in graph.graph.nodes:
        if node.op == "get_attr":
            values[node] = getattr(graph, node.target)
        elif node.op == "call_function" and all(n in values for n in node.all_input_nodes):
            args = torch.fx.map_arg((node.args, node.kwargs), get)
            values[node] = node.target(*args[0], **args[1])
    for k, (node, value) in enumerate(list(values.items())):
        if all(user in values for user in node.users) or not isinstance(value, Tensor):
            continue
        graph.register_buffer(f"constant{k}", value.clone())
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.get_attr(f"constant{k}"))
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    used = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    for name, _ in list(graph.named_buffers()):
        if name not in used:
            delattr(graph, name)
    graph.recompile()
