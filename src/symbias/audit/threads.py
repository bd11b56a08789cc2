"""Threads of the linear algebra: small matrices gain nothing from more than one."""

from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def blas() -> ThreadpoolController:
    """The libraries of this process, looked up once: that takes longer than a small bond."""
    return ThreadpoolController()
