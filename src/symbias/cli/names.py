"""Names that the command line knows."""

SERIES = ("tv", "trend", "spectral")
TABLES = ("l1", "lq", "group", "ridge", "elastic", "logsum")
