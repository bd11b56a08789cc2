"""Can a table be filled in where most of it is missing?

The nuclear norm prefers low rank: a few profiles, mixed. Here three, and 60% of the table gone.
"""

import matplotlib.pyplot as plt
import numpy as np

import symbias as sb

rng = np.random.default_rng(0)
profiles = np.cos(np.outer([1, 2, 3], np.linspace(0, np.pi, 60)))
truth = np.sort(rng.normal(size=(40, 3)), axis=0) @ profiles
seen = np.where(rng.random(truth.shape) < 0.4, truth + 0.1 * rng.normal(size=truth.shape), np.nan)
filled, model = sb.complete(seen, "nuclear", strength=0.05)

gone = np.isnan(seen)
error = np.sqrt(np.mean((filled - truth)[gone] ** 2) / np.mean(truth[gone] ** 2))
rank = np.linalg.matrix_rank(filled, tol=1e-6)
print(f"{gone.mean():.0%} are missing, and filled in with an error of {error:.0%}; rank {rank}")

_, panels = plt.subplots(1, 3, sharey=True)
tables = {"seen": seen, "filled in": filled, "truth": truth}
for panel, (title, table) in zip(panels, tables.items(), strict=True):
    panel.imshow(table, vmin=-4, vmax=4, aspect="auto")
    panel.set(title=title, xlabel="column", xticks=[0, 30, 59], yticks=[0, 20, 39])
panels[0].set_ylabel("row")
plt.savefig("completion.svg")
