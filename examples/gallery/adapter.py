"""Where on its orbit does a trained LoRA adapter sit?

W + B A stays the same under A -> g A, B -> B g^-1. An audit measures it, balancing moves it.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import symbias as sb
from symbias.audit import audit

torch.manual_seed(0)
x, change = torch.randn(256, 64), torch.randn(64, 2) @ torch.randn(2, 64) / 16  # of rank 2
A, B = (torch.randn(8, 64) / 8).requires_grad_(), torch.zeros(64, 8, requires_grad=True)
optimizer = torch.optim.AdamW([A, B], lr=0.01)
for _ in range(300):
    optimizer.zero_grad()
    (x @ (B @ A - change).T).square().mean().backward()
    optimizer.step()
bonds = sb.Symmetry([sb.Bond(sb.GeneralLinear(8), [("A", 0)], [("B", 1)], name="adapter")])
trained = {"A": A.detach().numpy(), "B": B.detach().numpy()}
balanced, rows = sb.balance(bonds, trained).params, []
for ends, line in ((trained, "o--"), (balanced, "s-")):
    rows.append(audit(ends, bonds=bonds).rows[0])
    plt.semilogy(range(1, 9), np.transpose([np.linalg.svd(v)[1] for v in ends.values()]), line)
print(*(f"norm {row.norm:.2f}, imbalance {row.imbalance:.2f}" for row in rows), sep=" -> ")
plt.legend(["A, trained", "B, trained", "A, balanced", "B, balanced"], title="singular values of")
plt.savefig("adapter.svg")
