"""When did the level of the Nile change?

Total variation makes a fit piecewise constant: the data say how often, and where.
"""

from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np

import symbias as sb

table = files("symbias").joinpath("data/nile.csv").read_text().splitlines()
year, flow = np.loadtxt(table, delimiter=",", skiprows=3, unpack=True)
fit = sb.fit_series(year, flow, "tv")  # five-fold cross-validation chooses the strength

before, after = (fit.unshrunk[0], fit.unshrunk[-1])
when = " and ".join(f"{a:.0f}/{b:.0f}" for a, b in fit.breaks)
print(f"{len(fit.breaks)} change, at {when}: from {before:.0f} to {after:.0f}")

plt.plot(year, flow, ".", color="0.6", label="annual flow, 10^8 m^3")
plt.step(year, fit.unshrunk, where="mid", label="the two levels, shrinkage undone")
plt.step(year, fit.fitted, "--", where="mid", label="total variation")
plt.xlabel("year")
plt.legend(ncols=3, loc="upper center")
plt.ylim(400, 1550)
plt.savefig("level.svg")
