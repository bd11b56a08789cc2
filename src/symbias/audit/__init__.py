"""Checkpoints on disk: their gauge freedom audited, and balanced without changing the function."""

from symbias.audit.balance import Rewritten, balance_checkpoint
from symbias.audit.joint import Joint
from symbias.audit.measure import rank_of
from symbias.audit.noise import Equilibrium
from symbias.audit.result import Audit
from symbias.audit.run import audit
from symbias.checkpoints import Checkpoint, CheckpointError, open_checkpoint
from symbias.models import Claim

__all__ = [
    "Audit",
    "Checkpoint",
    "CheckpointError",
    "Claim",
    "Equilibrium",
    "Joint",
    "Rewritten",
    "audit",
    "balance_checkpoint",
    "open_checkpoint",
    "rank_of",
]
