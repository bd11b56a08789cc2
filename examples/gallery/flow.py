"""Does gradient descent on w = u v find sparse solutions by itself?

From small starts it does. A potential, computed without any training, predicts where it ends.
"""

import matplotlib.pyplot as plt
import numpy as np

import symbias as sb

X = np.random.default_rng(0).normal(size=(12, 30))  # 30 unknowns: many w fit exactly
y = X @ np.r_[1.0, -2.0, 1.5, np.zeros(27)]
p = sb.Hadamard(30)
starts, trained, predicted = np.logspace(0, -4, 7), [], []
for scale in starts:
    flow = sb.GradientFlow(scale)
    problem = sb.Problem(predict=lambda t, x: x @ p(t), params=flow.init(p), data=(X, y))
    run = sb.simulate(problem, sb.SGD(learning_rate=0.01), steps=100_000, progress=False)
    trained.append(p({k: v[0] for k, v in run.final.items()}))
    predicted.append(flow.bregman_projection(p, X, y))
off, sizes = np.abs(np.subtract(trained, predicted)).max(), np.abs(trained).sum(1)
print(f"l1 norm {sizes[0]:.2f} from 1, {sizes[-1]:.2f} from 0.0001; every weight within {off:.3f}")
plt.semilogx(starts, np.abs(predicted).sum(1), label="predicted")
plt.semilogx(starts, sizes, "o", label="trained")
plt.axhline(4.5, color="0.6", label="the sparse truth")
plt.gca().set(xlabel="size of the start", ylabel="l1 norm of the end")
plt.legend()
plt.savefig("flow.svg")
