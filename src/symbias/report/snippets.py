"""Ready-to-run code for a design, in three libraries."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """What was asked for, as code: "sb.L1()", "sb.WeightDecay(0.01)", and a shape."""

    penalty: str
    mechanism: str
    kind: str  # "weight-decay", "label-noise", "gradient-flow", "langevin"
    strength: float
    shape: tuple[int, ...]


def snippets(wish: Wish) -> dict[str, str]:
    """Code for "jax", "torch" and "sklearn" that trains the design on made-up data, and prints."""
    return {
        "jax": _DATA.format(**_words(wish)) + _JAX[wish.kind].format(**_words(wish)),
        "torch": _DATA.format(**_words(wish)) + _TORCH[wish.kind].format(**_words(wish)),
        "sklearn": _SKLEARN.format(**_words(wish)),
    }


def _words(wish: Wish) -> dict[str, object]:
    size = wish.shape[0]
    decay = {"weight-decay": wish.strength, "label-noise": 0.05 * wish.strength**2 / (8 * size**2)}
    return {
        "decay": decay.get(wish.kind, 0.01),
        "penalty": wish.penalty,
        "mechanism": wish.mechanism,
        "strength": wish.strength,
        "shape": wish.shape[0] if len(wish.shape) == 1 else wish.shape,
        "samples": max(8, size // 2) if wish.kind == "gradient-flow" else 2 * size,
        "features": size,
    }


_DATA = """import numpy as np
import symbias as sb

penalty = {penalty}
mechanism = {mechanism}
p = sb.design(penalty, mechanism, shape={shape})

# your data here; predictions are X @ w
rng = np.random.default_rng(0)
X = rng.normal(size=({samples}, {features})) / {features} ** 0.5
truth = np.zeros(p.shape)
truth[: max(1, len(truth) // 4)] = 2.0
y = X @ truth + 0.05 * rng.normal(size=(X @ truth).shape)

"""

_JAX = {
    "weight-decay": """import jax
import jax.numpy as jnp
import optax

theta = p.section(np.zeros(p.shape), charge=0.5)  # a start that training can leave
theta = {{name: jnp.asarray(factor, jnp.float32) for name, factor in theta.items()}}


def loss(theta):
    decay = sum(jnp.sum(v**2) for name, v in theta.items() if name not in p.free)
    error = X @ p(theta) - y
    return jnp.sum(error**2) / (2 * len(X)) + mechanism.strength / 2 * decay


optimizer = optax.sgd(0.02, momentum=0.9)


@jax.jit
def train(theta):
    def step(carry, _):
        theta, state = carry
        updates, state = optimizer.update(jax.grad(loss)(theta), state)
        return (optax.apply_updates(theta, updates), state), None

    return jax.lax.scan(step, (theta, optimizer.init(theta)), length=10_000)[0][0]


w = p(train(theta))
print("loss", float(jnp.sum((X @ w - y) ** 2) / (2 * len(X))), "penalty", float(penalty(w)))
""",
    "label-noise": """import jax

start = {{k: np.float32(v) for k, v in p.section(truth, charge=0.1).items()}}
flat = y.reshape(len(X), -1).astype(np.float32)
problem = sb.Problem(
    predict=lambda theta, x: (x @ p(theta)).reshape(len(x), -1),
    params=start,
    data=(X.astype(np.float32), flat),
    symmetry=p.symmetry,
)
rule = sb.SGD(
    mechanism.learning_rate, label_noise=mechanism.sigma, momentum=mechanism.momentum
)
run = sb.simulate(problem, rule, steps=20_000, replicas=4, progress=False)
w = np.mean(np.asarray(jax.vmap(p)(run.final)), axis=0)
print("penalty", float(penalty(w)), "and what label noise adds", float(mechanism.penalty(p, w, X)))
""",
    "gradient-flow": """import jax
import jax.numpy as jnp

theta = {{name: jnp.asarray(v, jnp.float32) for name, v in mechanism.init(p).items()}}


def loss(theta):
    return jnp.sum((X @ p(theta) - y) ** 2) / (2 * len(X))


@jax.jit
def train(theta):
    def step(theta, _):
        grads = jax.grad(loss)(theta)
        return {{k: v - 0.3 * grads[k] for k, v in theta.items()}}, None

    return jax.lax.scan(step, theta, length=100_000)[0]


w = p(train(theta))
limit = mechanism.bregman_projection(p, X, y)
print("penalty", float(penalty(w)), "and of the predicted limit", float(penalty(limit)))
""",
    "langevin": """import jax

start = {{k: np.float32(v) for k, v in p.section(truth + 0.5).items()}}
problem = sb.Problem(
    predict=lambda theta, x: x @ p(theta),
    params=start,
    data=(X.astype(np.float32), y.astype(np.float32)),
    symmetry=p.symmetry,
)
run = sb.simulate(problem, mechanism, steps=5_000, replicas=8, progress=False)
w = np.asarray(jax.vmap(p)(run.final))
print("temperature * log volume", mechanism.temperature * float(
    sb.log_volume(p.symmetry, p.section(np.abs(w[0])))
), "penalty", float(penalty(np.abs(w[0]))))
""",
}

_TORCH_HEAD = """import torch

inputs, target = torch.from_numpy(X), torch.from_numpy(y)
theta = {start}
theta = {{{{name: torch.from_numpy(v).requires_grad_() for name, v in theta.items()}}}}


def loss(target):
    return (inputs @ p(theta) - target).square().sum() / (2 * len(inputs))

"""

_TORCH = {
    "weight-decay": _TORCH_HEAD.format(start="p.section(np.zeros(p.shape), charge=0.5)")
    + """
decayed = [v for name, v in theta.items() if name not in p.free]
free = [theta[name] for name in p.free]
groups = [{{"params": decayed, "weight_decay": mechanism.strength}}]
groups += [{{"params": free}}] if free else []
optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9)
for _ in range(3_000):
    optimizer.zero_grad()
    loss(target).backward()
    optimizer.step()
with torch.no_grad():
    print("loss", float(loss(target)), "penalty", float(penalty(p(theta))))
""",
    "label-noise": _TORCH_HEAD.format(start="p.section(truth, charge=0.1)")
    + """
optimizer = torch.optim.SGD(
    list(theta.values()), lr=mechanism.learning_rate, momentum=mechanism.momentum
)
torch.manual_seed(0)
for _ in range(3_000):
    optimizer.zero_grad()
    loss(target + mechanism.sigma * torch.randn_like(target)).backward()
    optimizer.step()
with torch.no_grad():
    print("loss", float(loss(target)), "penalty", float(penalty(p(theta))))
""",
    "gradient-flow": _TORCH_HEAD.format(start="mechanism.init(p)")
    + """
optimizer = torch.optim.SGD(list(theta.values()), lr=0.3)
for _ in range(10_000):
    optimizer.zero_grad()
    loss(target).backward()
    optimizer.step()
with torch.no_grad():
    print("loss", float(loss(target)), "penalty", float(penalty(p(theta))))
""",
    "langevin": _TORCH_HEAD.format(start="p.section(truth + 0.5)")
    + """
torch.manual_seed(0)
width = (2 * mechanism.temperature * mechanism.step_size) ** 0.5
for _ in range(2_000):
    grads = torch.autograd.grad(loss(target), list(theta.values()))
    with torch.no_grad():
        noise = {{name: torch.randn_like(v) for name, v in theta.items()}}
        noise = sb.horizontal(p.symmetry, theta, noise)  # nothing along orbits
        for (name, v), grad in zip(theta.items(), grads, strict=True):
            v -= mechanism.step_size * grad - width * noise[name]
with torch.no_grad():
    print("loss", float(loss(target)), "penalty", float(penalty(p(theta).abs())))
""",
}

_SKLEARN = """import numpy as np
import symbias as sb
from sklearn.model_selection import cross_val_score

rng = np.random.default_rng(0)
X = rng.normal(size=({samples}, {features})) / {features} ** 0.5
truth = np.zeros({shape})
truth[: max(1, len(truth) // 4)] = 2.0
y = X @ truth + 0.05 * rng.normal(size=(X @ truth).shape)

# the estimators train by weight decay, under which the penalty is exact
model = sb.DesignedRegressor({penalty}, strength={decay}).fit(X, y)
print("objective", model.objective_, "nonzero", int(model.support_.sum()))
print("cross-validated R^2", cross_val_score(model, X, y, cv=3).mean())
"""
