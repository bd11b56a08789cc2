"""Which measurements act at all, in whatever shape?

Each measurement becomes a spline of five columns, and a group lasso keeps or drops it whole.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import SplineTransformer, StandardScaler

import symbias as sb

X, y = load_diabetes(return_X_y=True)
names = load_diabetes().feature_names
splines = SplineTransformer(n_knots=4, include_bias=False).fit_transform(X)
columns = StandardScaler().fit_transform(splines)
labels = np.repeat(np.arange(10), 5)
model = sb.DesignedRegressorCV(sb.GroupLasso(labels)).fit(columns, y)

kept = np.unique(labels[model.coef_ != 0])
print(f"{len(kept)} of 10 act:", " ".join(names[g] for g in kept))

for g in kept:
    part = columns[:, labels == g] @ model.coef_[labels == g]
    plt.plot(np.linspace(0, 1, len(y)), part[np.argsort(X[:, g])], label=names[g])
plt.gca().set(xlabel="quantile of the measurement", ylabel="its part of the prediction")
plt.legend(ncols=3)
plt.savefig("groups.svg")
