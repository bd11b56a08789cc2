"""Does it matter which way noise points?

w = |x|^2: noise of all directions, and noise that never moves x along a sphere of equal w.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import symbias as sb

p = sb.Radial((), 4, sb.PowerLink(2.0))  # x has 4 entries
start, laws, samples = p.section(np.array(1.0)), [], []
for k, (orbital, name) in enumerate(((1.0, "of all directions"), (0.0, "across spheres"))):
    noise = sb.Langevin(temperature=0.5, orbital=orbital, step_size=2e-3)
    problem = sb.Problem(predict=p, params=start, loss=lambda w: (w - 1) ** 2, symmetry=p.symmetry)
    run = sb.simulate(problem, noise, steps=1000, replicas=500, progress=False)
    samples.append(np.asarray(jax.vmap(p)(run.final)))
    laws.append(noise.law(p, problem.loss))  # of w: computed, not trained
    at = np.linspace(0, 3, 151)
    plt.hist(samples[k], 30, range=(0, 3), density=True, color=f"C{k}", alpha=0.3)
    plt.plot(at[1:], np.diff(laws[k].cdf(at)) / 0.02, label=f"law: noise {name}")
own = [sb.compare(law, w).p_value for law, w in zip(laws, samples, strict=True)]
other = [sb.compare(law, w).p_value for law, w in zip(laws, samples[::-1], strict=True)]
print(f"p-values: own laws {own[0]:.2f} and {own[1]:.2f}, the other's {max(other):.0e} at most")
plt.gca().set(xlabel="w; the loss is (w - 1)^2", ylabel="density", ylim=(0, 1.5))
plt.legend()
plt.savefig("langevin.svg")
