"""Bonds of any PyTorch model, found on shrunken twins of its architecture."""

from symbias.models.twins.find import find_bonds
from symbias.models.twins.found import Account, Approximate, Found, as_yaml
from symbias.models.twins.loading import claims_for, load_model

__all__ = ["Account", "Approximate", "Found", "as_yaml", "claims_for", "find_bonds", "load_model"]
