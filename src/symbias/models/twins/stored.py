"""Models larger than memory: their arrays stay on disk, and are read when code touches them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from symbias.models.twins.confirm import Function, numbered
from symbias.symmetry import Bond, act_on, random_element

Read = Callable[[str], Any]


@contextmanager
def empty_parameters() -> Iterator[None]:
    """Parameters that modules make meanwhile have a shape and no values; buffers are as always."""
    import torch

    register = torch.nn.Module.register_parameter

    def without_values(module: Any, name: str, param: Any) -> None:
        if param is not None and not param.is_meta:  # one that is tied stays the same
            param = torch.nn.Parameter(param.to("meta", torch.float64), requires_grad=False)
        register(module, name, param)

    torch.nn.Module.register_parameter = without_values  # type: ignore
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = register  # type: ignore


@contextmanager
def reading(module: Any, read: Read) -> Iterator[None]:
    """Every parameter that code touches is ``read`` by its name, and forgotten after that."""
    import torch
    from torch.overrides import TorchFunctionMode

    names = {id(p): name for name, p in module.named_parameters()}

    def filled(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(filled, value))
        return read(names[id(value)]) if id(value) in names else value

    class Reading(TorchFunctionMode):
        def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if args and id(args[0]) in names and (fact := _fact(func, args, kwargs)) is not None:
                return torch.device("cpu") if isinstance(fact, torch.device) else fact
            return func(*map(filled, args), **{k: filled(v) for k, v in kwargs.items()})

    with Reading():
        yield


def _fact(func: Any, args: Any, kwargs: Any) -> Any:
    """What an attribute or method says of an array without its values, None if it needs them."""
    import torch

    methods = (torch.Tensor.size, torch.Tensor.dim, torch.Tensor.numel, torch.Tensor.stride)
    if func not in methods and getattr(func, "__name__", "") != "__get__":
        return None
    fact = func(*args, **kwargs)
    return None if isinstance(fact, torch.Tensor) else fact


class StoredFunction(Function):
    """The outputs of a module with `empty_parameters`, whose arrays are read one at a time."""

    def __init__(self, module: Any, run: Any, read: Read) -> None:
        self.read = read
        super().__init__(module, run)

    def outputs(self) -> Any:
        with reading(self.module, self.read):
            return self.run(self.module)

    def change_by(self, bonds: Sequence[Bond], scale: float, seed: int = 0) -> float:
        import torch

        symmetry = numbered(bonds)
        element = random_element(symmetry, seed, scale)

        def moved(name: str) -> Any:
            return act_on(symmetry, element, name, self.read(name))

        with torch.no_grad(), reading(self.module, moved):
            return self.distance(self.run(self.module))
