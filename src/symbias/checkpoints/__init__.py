"""Checkpoints on disk: headers, dtypes, arrays read by name, copies written whole or not at all."""

from symbias.checkpoints.checkpoint import Checkpoint, open_checkpoint
from symbias.checkpoints.dtypes import is_coarse, precision
from symbias.checkpoints.headers import CheckpointError, Numpy, read_small, shown
from symbias.checkpoints.rewrite import Draft, check_out, draft, leftovers
from symbias.checkpoints.sources import Arrays, Source
from symbias.checkpoints.write import write_file

__all__ = [
    "Arrays",
    "Checkpoint",
    "CheckpointError",
    "Draft",
    "Numpy",
    "Source",
    "check_out",
    "draft",
    "is_coarse",
    "leftovers",
    "open_checkpoint",
    "precision",
    "read_small",
    "shown",
    "write_file",
]
