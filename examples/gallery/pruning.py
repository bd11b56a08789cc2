"""How many hidden units does a network for digits need?

Weights that read one unit become a scale times a vector; weight decay on both prunes the unit.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import symbias.torch as st

x, digit = map(torch.as_tensor, load_digits(return_X_y=True))
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).double()
st.apply(model, "2.weight", st.slices(axis=1))  # the inputs of the second layer, each a group
groups = st.factor_parameters(model, weight_decay=2e-3, others=1e-3)
optimizer, norms = torch.optim.SGD(groups, lr=0.5, momentum=0.9), []
for _ in range(1000):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x[::2] / 16), digit[::2]).backward()
    optimizer.step()
    norms.append(model[2].weight.detach().norm(dim=0))
st.collapse(model, threshold=0.02)  # a plain model again, with zeros
right = (model(x[1::2] / 16).argmax(1) == digit[1::2]).double().mean()
print(f"{model[2].weight.any(0).sum()} of 64 units left; {right:.1%} of unseen digits right")
plt.semilogy(torch.stack(norms), color="C0", alpha=0.5, lw=0.8)
plt.gca().set(xlabel="step", ylabel="norm of the weights that read a unit")
plt.savefig("pruning.svg")
