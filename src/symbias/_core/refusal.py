"""A refusal is a value too: a prediction or design that does not exist, with the reason."""


class Refused(ValueError):
    """What was asked for does not hold here; the message is the reason and, if any, the remedy.

    A theorem or a counterexample, never a missing feature dressed up as one.
    """
