"""Threads: of the linear algebra, and of an audit that measures several bonds at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

MOST = 4  # bonds in memory at a time
Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def blas() -> ThreadpoolController:
    """The libraries of this process, looked up once: that takes longer than a small bond."""
    return ThreadpoolController()


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map`` on the cores of this process, in order; one item more than there are cores is read.

    The linear algebra has one thread for each: more of them wait for one another.
    """
    workers = min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                  else os.cpu_count() or 1)  # fmt: skip
    waiting: deque[Future[Result]] = deque()
    with blas().limit(limits=1):
        pool = ThreadPoolExecutor(workers)
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
