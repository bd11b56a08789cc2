"""What does one factorization, w = u v, prefer under five trainings?

The parameterization alone has no bias: each training pulls w towards zero in its own way.
"""

import matplotlib.pyplot as plt
import numpy as np

import symbias as sb

p = sb.Hadamard(1)  # w = u v
trainings = {
    "weight decay": sb.WeightDecay(1.0),
    "label noise": sb.LabelNoise(1.0, learning_rate=0.1, batch_size=1),
    "gradient flow from 10": sb.GradientFlow(10.0),
    "gradient flow from 0.001": sb.GradientFlow(0.001),
    "Langevin noise": sb.Langevin(1.0, orbital=0.0),
}
w, answer = np.linspace(0.1, 2.5, 49), []
for (name, training), line in zip(trainings.items(), ("-", "--", "-", ":", "-"), strict=True):
    prefers = training.induced(p, inputs=np.ones((1, 1)), loss=lambda w: (w**2).sum())
    pull = np.gradient([float(prefers(np.array([x]))) for x in w], w)
    pull -= 2 * w * (name == "Langevin noise")  # a law's cost has the loss in it
    plt.plot(w[1:-1], pull[1:-1] / pull[18], line, label=name)
    answer.append(f"{pull[38] / pull[8]:.2f} {name}")
print("pull at w = 2 over pull at 0.5:", ", ".join(answer))
plt.gca().set(xlabel="w", ylabel="pull towards zero, 1 at w = 1", ylim=(0, 3))
plt.legend()
plt.savefig("trainings.svg")
