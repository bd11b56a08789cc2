"""Bad input ends a command with one line and status 2."""


class InputError(Exception):
    """What was wrong and where, in one line for a person."""
