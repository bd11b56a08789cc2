"""Shared set-up of the tests: reproducible hypothesis runs."""

from hypothesis import settings

settings.register_profile("symbias", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("symbias")
