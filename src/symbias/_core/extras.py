"""What the base install leaves out, named with the extra that brings it, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

# package -> its own name, and the extra of symbias that brings it
_EXTRAS = {
    **dict.fromkeys(("jax", "jaxlib"), ("JAX", "simulate")),
    "optax": ("optax", "simulate"),
    "blackjax": ("blackjax", "simulate"),
    "arviz_stats": ("arviz-stats", "simulate"),
    "xarray": ("xarray", "simulate"),
    "zarr": ("zarr", "simulate"),
    "torch": ("PyTorch", "torch"),
}


class MissingExtra(ModuleNotFoundError):
    """A package (``name``) that is not part of the base install, and the extra that brings it."""

    def __init__(self, what: str, package: str) -> None:
        title, self.extra = _EXTRAS[package]
        super().__init__(f"{what} needs {title}: pip install 'symbias[{self.extra}]'", name=package)


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Imports that ``what`` needs.

    Raises
    ------
    MissingExtra
        In the place of ModuleNotFoundError, for a package of an extra; of nested ones the outermost
        ``what`` is named, which is the nearest to what was asked for.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise MissingExtra(what, package) from None
