"""What does training remember of its start?

Gradient descent keeps the charge u1^2 - u2^2 of w = u1 u2; weight decay forgets it, in known time.
"""

import matplotlib.pyplot as plt
import numpy as np

import symbias as sb

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 1))
y = 1.5 * X[:, 0] + 0.1 * rng.normal(size=50)
p = sb.Hadamard(1)
start = p.section(np.array([0.1]), charge=2.0)
problem = sb.Problem(predict=lambda t, x: x @ p(t), params=start, data=(X, y))
watched, answer = {"charge": lambda t: t["u1"] ** 2 - t["u2"] ** 2}, []
for decay in (0.0, 0.02, 0.1):
    rule = sb.SGD(learning_rate=0.01, weight_decay=decay)
    run = sb.simulate(problem, rule, steps=4000, observe=watched, progress=False)
    charge = run.trace.charge[0, :, 0]
    predicted = 2 * (1 - 0.01 * decay) ** (2 * charge.step)
    plt.plot(charge.step[::10], charge[::10], ".", label=f"trained, weight decay {decay:g}")
    plt.plot(charge.step, predicted, "k", lw=0.8)
    answer.append(f"{charge[-1].item():.3f} ({predicted[-1].item():.3f}) at decay {decay:g}")
print("charge after 4,000 steps (predicted):", ", ".join(answer))
plt.gca().set(xlabel="step", ylabel="charge; lines: predicted", ylim=0)
plt.legend(loc="upper right", bbox_to_anchor=(1, 0.93))
plt.savefig("charges.svg")
