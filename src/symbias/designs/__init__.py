"""From a preference and a way of training to a parameterization: the inverse of `induced`."""

from symbias.designs.compiler import design

__all__ = ["design"]
