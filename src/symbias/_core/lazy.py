"""Names of a package that load on first use (PEP 562)."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from symbias._core.extras import needed_by


def load(package: str, homes: Mapping[str, str], name: str, prefix: str = "") -> Any:
    """What a package's ``__getattr__`` gives back: a name from the module that holds it, kept.

    Raises
    ------
    AttributeError
        For a name that is in no module of ``homes``.
    MissingExtra
        Where it needs a package that is not installed; ``prefix`` stands before the name then.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    with needed_by(prefix + name):
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
    setattr(sys.modules[package], name, value)
    return value
