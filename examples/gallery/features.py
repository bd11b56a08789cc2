"""Which features matter, and do other solvers agree?

L1 on the coefficients, chosen by cross-validation, beside scikit-learn's lasso of that strength.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LassoCV

import symbias as sb

X, y = load_diabetes(return_X_y=True)
names = load_diabetes().feature_names
ours = sb.DesignedRegressorCV("l1").fit(X, y)  # the largest strength within one standard error
theirs = Lasso(ours.strength_, tol=1e-10).fit(X, y)
best = LassoCV().fit(X, y)  # the strength of least error

off = np.abs(ours.coef_ - theirs.coef_).max() / np.abs(theirs.coef_).max()
kept = " ".join(names[j] for j in ours.support_.nonzero()[0])
print(f"kept: {kept}, equal to Lasso to {off:.0e}; LassoCV keeps {np.sum(best.coef_ != 0)}")

plt.bar(np.arange(10) - 0.25, ours.coef_, 0.25, label=f"symbias, strength {ours.strength_:.2g}")
plt.bar(np.arange(10), theirs.coef_, 0.25, label="scikit-learn's Lasso, the same strength")
plt.bar(np.arange(10) + 0.25, best.coef_, 0.25, label=f"LassoCV, strength {best.alpha_:.2g}")
plt.xticks(range(10), names)
plt.ylabel("coefficient")
plt.legend()
plt.savefig("features.svg")
