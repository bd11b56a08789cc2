"""symbias beside the solvers that a user would take instead."""
