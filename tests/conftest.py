"""Shared set-up of the tests: reproducible hypothesis runs, and three tiers.

`make check` takes a few tests of every file, `make test` all but those marked ``slow``, and
`make test-slow` those.
"""

from collections import defaultdict

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


def _spaced(items: list[pytest.Item], few: int) -> list[pytest.Item]:
    count = min(few, len(items))
    return [items[k * len(items) // count] for k in range(count)]
