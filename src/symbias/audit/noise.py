"""The gauge in which SGD noise and weight decay leave a bond, from gradients on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from symbias._core.extras import needed_by
from symbias.checkpoints import Checkpoint, CheckpointError, Numpy, open_checkpoint, shown
from symbias.symmetry import Bond, Symmetry


@dataclass
class Equilibrium:
    r"""What is needed to place a bond where plain SGD settles it.

    With second moments :math:`C_X = E[G_X G_X^T], C_Y` of minibatch gradients the element g has
    :math:`S = g^T g`, :math:`S (2\lambda' M + \eta C_Y) S = 2\lambda' N + \eta C_X`, with
    :math:`\lambda' = \lambda (1 - \eta\lambda/2)`; see `symbias.equilibrium`.

    Attributes
    ----------
    gradients
        A safetensors file or folder with arrays named as the weights and one more leading axis of
        samples: gradients of the loss, without weight decay, at this checkpoint.
    learning_rate, weight_decay
        Of plain SGD, without momentum; the decay coupled (L2).
    batch_size
        Samples per minibatch, where the gradients are those of single samples:
        :math:`C = Cov(G) / B + E[G] E[G]^T`. With 1 they are minibatch gradients themselves.
    """

    gradients: Path
    learning_rate: float
    weight_decay: float = 0.0
    batch_size: int = 1

    def check(self, source: Checkpoint) -> None:
        """Raise CheckpointError unless the gradients fit the checkpoint."""
        self._held = open_checkpoint(self.gradients)
        samples = set()
        for name, entry in self._held.entries.items():
            if name not in source.entries:
                raise CheckpointError(f"gradients: no array {shown(name)!r} in the checkpoint")
            if not entry.floating or entry.shape[1:] != source.entries[name].shape:
                raise CheckpointError(
                    f"gradients: {shown(name)!r} must be floating, of shape (samples, "
                    f"*{source.entries[name].shape}), not {entry.shape}"
                )
            samples.add(entry.shape[0] if entry.shape else 0)
        if len(samples) != 1 or min(samples) < 2:
            raise CheckpointError("gradients: all arrays need the same 2 or more samples")

    def settle(self, group: Sequence[Bond], params: dict[str, Numpy]) -> dict[str, Numpy]:
        """The arrays of these bonds at the equilibrium gauge.

        Raises
        ------
        ValueError
            Where there is no finite equilibrium: a direction that nothing holds.
        """
        with needed_by("the equilibrium of SGD"):
            import jax

            from symbias.dynamics import SGD
            from symbias.mechanisms.sgd import settle

        missing = [name for name in params if name not in self._held.entries]
        if missing:
            raise CheckpointError(f"gradients: no array {shown(missing[0])!r}")
        with jax.enable_x64(True):
            rule = SGD(self.learning_rate, 1, weight_decay=self.weight_decay)
            grads = {n: jax.numpy.asarray(self._minibatches(n)) for n in params}
            stack = {name: jax.numpy.asarray(a)[None] for name, a in params.items()}
            moved, _ = settle(Symmetry(group), rule, stack, grads)
            return {name: np.asarray(a[0]) for name, a in moved.items()}

    def _minibatches(self, name: str) -> Numpy:
        """Arrays whose mean second moment is that of minibatch gradients."""
        samples = self._held.read(name)
        if self.batch_size == 1:
            return samples
        n, mean = len(samples), samples.mean(axis=0)
        spread = (samples - mean) * np.sqrt((n + 1) / (n * self.batch_size))
        return np.concat([spread, mean[None] * np.sqrt(n + 1)])
