"""Checkpoints on disk: their gauge freedom audited, and balanced without changing the function."""

from symbias.audit.checkpoint import Checkpoint, open_checkpoint
from symbias.audit.headers import CheckpointError
from symbias.audit.run import Audit, audit

__all__ = ["Audit", "Checkpoint", "CheckpointError", "audit", "open_checkpoint"]
