"""Shared set-up of the tests: reproducible hypothesis runs, and three tiers.

`make check` takes a few tests of every file, `make test` all but those marked ``slow``, and
`make test-slow` those.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("symbias", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("symbias")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--few", type=int, default=0, help="at most so many tests of a file, evenly spaced"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    few = config.getoption("--few")
    if not few:
        return
    files = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("slow"):
            files[item.path].append(item)
    kept = [item for own in files.values() for item in _spaced(own, few)]
    chosen = set(map(id, kept))
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
    items[:] = [item for item in items if id(item) in chosen]


_drawn: dict[int, Any] = {}  # states of the generators of modules, before any test drew from them


def pytest_collection_finish(session: pytest.Session) -> None:
    for module in {item.module for item in session.items if isinstance(item, pytest.Function)}:
        for generator in _generators(module):
            _drawn[id(generator)] = generator.bit_generator.state


@pytest.fixture(autouse=True)
def _same_draws(request: pytest.FixtureRequest) -> None:
    """What a test draws from its module's generator depends on no other test."""
    for generator in _generators(request.module):
        generator.bit_generator.state = _drawn[id(generator)]


def _generators(module: Any) -> list[np.random.Generator]:
    return [g for g in vars(module).values() if isinstance(g, np.random.Generator)]


def _spaced(items: list[pytest.Item], few: int) -> list[pytest.Item]:
    count = min(few, len(items))
    return [items[k * len(items) // count] for k in range(count)]
