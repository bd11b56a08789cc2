"""Physical removal of what a network does not use: units followed through one run of it."""

from symbias.torch.removal.measures import Measures
from symbias.torch.removal.shrink import Shrunk, shrink
from symbias.torch.removal.tracing import arguments, follow

__all__ = ["Measures", "Shrunk", "arguments", "follow", "shrink"]
