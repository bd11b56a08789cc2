"""What is claimed of every mechanism, and by whom."""

from typing import NamedTuple


class Theorem(NamedTuple):
    """A statement on training, for a page."""

    mechanism: str
    says: str
    source: str


THEOREMS = (
    Theorem(
        "weight decay",
        "Decay of strength lambda on all factors is lambda R(w) on w, R the least of "
        "1/2 |theta|^2 among the factors of w: at every minimum of the one, the other.",
        "Srebro, Rennie, Jaakkola 2004; Tibshirani 2021",
    ),
    Theorem(
        "label noise",
        "SGD with fresh noise on the labels adds eta sigma^2 / (4 B (1 - beta)) times the least "
        "mean of |df_i/dtheta|^2 among the factors of w: to first order in eta, on the mean of w.",
        "Blanc, Gupta, Valiant, Valiant 2020; Damian, Ma, Lee 2021",
    ),
    Theorem(
        "gradient flow",
        "Among the w that fit, the flow ends at the Bregman projection of its start in the "
        "potential that the charges of the start define.",
        "Gunasekar et al. 2018; Woodworth et al. 2020; Li, Wang, Lee, Arora 2022",
    ),
    Theorem(
        "SGD noise",
        "Finite steps and minibatches shrink the charges, c_inf = c_0 prod |1 - eta^2 g^2|, and "
        "move the start: the end is the projection with both; of lengths |x|^2 the start alone, "
        "log|x| by sum log|1 - 2 eta g|.",
        "Pesme, Pillaud-Vivien, Flammarion 2021; Even, Pesme, Gunasekar, Flammarion 2023",
    ),
    Theorem(
        "Langevin",
        "Noise without a component along the orbits samples exp(-l/T) over the volume of the "
        "orbit, against dw.",
        "Ziyin, Xu, Chuang 2025; this library",
    ),
    Theorem(
        "max margin",
        "On separable data the direction of w goes to that of the least R with all margins at "
        "least 1, among w >= 0 for lengths; where R is not convex, to a stationary point.",
        "Soudry et al. 2018; Gunasekar et al. 2018; Lyu, Li 2020; Ji, Telgarsky 2020",
    ),
    Theorem(
        "Adam",
        "On separable data Adam without decay goes to the direction of the largest margin in "
        "l_inf, for w itself; signs of gradients on factors to a stationary point of max |theta| "
        "at margins of 1, which for products of two numbers is the largest margin in l_inf of "
        "them.",
        "Zhang, Zou, Cao 2024; Tsilivis, Vardi, Kempe 2025; this library",
    ),
    Theorem(
        "AdamW",
        "Full-batch AdamW, where it converges, ends at a KKT point of the loss with "
        "max |theta_i| <= 1/lambda.",
        "Xie, Li 2024",
    ),
    Theorem(
        "step size",
        "Descent settles at a w that fits only where the largest eigenvalue of the loss's Hessian "
        "is at most 2/eta at some factors of w.",
        "Mulayoff, Michaeli, Soudry 2021; Cohen et al. 2021",
    ),
    Theorem(
        "small start",
        "From small starts entries of w are learned one after the other: each when its "
        "integrated gradient reaches the height of its potential, 1/2 log(4/c) for u v; groups "
        "when that of its norm does.",
        "Berthier 2023; Pesme, Flammarion 2023; this library",
    ),
    Theorem(
        "function space",
        "Weight decay lam of a ReLU network with one hidden layer, one input and an undecayed skip "
        "is lam int |f''| on its function f: a trend filter, with knots at the data among its "
        "minimisers. Without the skip it is lam max(int |f''|, |f'(-inf) + f'(inf)|); decayed "
        "biases weigh int |f''| by sqrt(1 + x^2).",
        "Savarese, Evron, Soudry, Srebro 2019; Boursier, Flammarion 2023",
    ),
)
