"""Checkpoints on disk: their gauge freedom audited, and balanced without changing the function."""

from symbias.audit.balance import Rewritten, balance_checkpoint
from symbias.audit.checkpoint import Checkpoint, open_checkpoint
from symbias.audit.claims import Claim
from symbias.audit.headers import CheckpointError
from symbias.audit.noise import Equilibrium
from symbias.audit.run import Audit, audit

__all__ = [
    "Audit",
    "Checkpoint",
    "CheckpointError",
    "Claim",
    "Equilibrium",
    "Rewritten",
    "audit",
    "balance_checkpoint",
    "open_checkpoint",
]
