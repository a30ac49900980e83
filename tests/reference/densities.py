"""Log densities of a handful of posteriordb posteriors, from their model descriptions, and how their parameters map.

Each takes ``params`` in lossgeo's coordinates and the data of the JSON file, and returns the log posterior with all
normalising constants of the named, untruncated distributions and without any Jacobian. ``constrained`` gives the values
in the order of ``param_names``.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jax.scipy.stats import norm

from lossgeo import supports


def half_cauchy_unnormalised(x, scale):
    return -jnp.log1p((x / scale) ** 2) - jnp.log(jnp.pi * scale)


def eight_schools_centered(p, d):
    return (
        half_cauchy_unnormalised(p["tau"], 5.0)
        + norm.logpdf(p["mu"], 0.0, 5.0)
        + jnp.sum(norm.logpdf(p["theta"], p["mu"], p["tau"]))
        + jnp.sum(norm.logpdf(d["y"], p["theta"], d["sigma"]))
    )


def eight_schools_noncentered(p, d):
    return (
        half_cauchy_unnormalised(p["tau"], 5.0)
        + norm.logpdf(p["mu"], 0.0, 5.0)
        + jnp.sum(norm.logpdf(p["theta_trans"]))
        + jnp.sum(norm.logpdf(d["y"], p["mu"] + p["tau"] * p["theta_trans"], d["sigma"]))
    )


def GLM_Poisson(p, d):
    t = d["year"]
    log_rate = p["alpha"] + p["beta1"] * t + p["beta2"] * t**2 + p["beta3"] * t**3
    return jnp.sum(d["C"] * log_rate - jnp.exp(log_rate) - gammaln(d["C"] + 1.0))


def M0(p, d):
    seen = np.sum(d["y"], axis=1)
    t, caught = float(d["T"]), seen[seen > 0]
    choose = jnp.sum(gammaln(t + 1) - gammaln(caught + 1.0) - gammaln(t - caught + 1))
    log_q, log_not_q = jnp.log(p["p"]), jnp.log1p(-p["p"])
    present = jnp.sum(jnp.log(p["omega"]) + caught * log_q + (t - caught) * log_not_q)
    absent = jnp.logaddexp(jnp.log(p["omega"]) + t * log_not_q, jnp.log1p(-p["omega"]))
    return choose + present + np.sum(seen == 0) * absent


def garch11(p, d):
    beta1 = (1.0 - p["alpha1"]) * p["share"]  # uniform below 1 - alpha1; a share of it has a fixed support
    y = jnp.asarray(d["y"])

    def step(variance, previous):
        variance = p["alpha0"] + p["alpha1"] * (previous - p["mu"]) ** 2 + beta1 * variance
        return variance, variance

    first = jnp.asarray(d["sigma1"] ** 2 * 1.0)
    _, rest = jax.lax.scan(step, first, y[:-1])
    return jnp.sum(norm.logpdf(y, p["mu"], jnp.sqrt(jnp.concatenate([first[None], rest]))))


def gp_regr(p, d):
    x, y = jnp.asarray(d["x"]), jnp.asarray(d["y"])
    distance = (x[:, None] - x[None, :]) / p["rho"]
    lower = jnp.linalg.cholesky(p["alpha"] ** 2 * jnp.exp(-0.5 * distance**2) + p["sigma"] * jnp.eye(len(x)))
    z = jax.scipy.linalg.solve_triangular(lower, y, lower=True)
    prior = 25 * jnp.log(4.0) - gammaln(25.0) + 24 * jnp.log(p["rho"]) - 4 * p["rho"]
    prior = prior + norm.logpdf(p["alpha"], 0.0, 2.0) + norm.logpdf(p["sigma"])
    return prior - jnp.sum(jnp.log(jnp.diagonal(lower))) - 0.5 * z @ z - 0.5 * len(x) * jnp.log(2 * jnp.pi)


def dugongs(p, d):
    mean, tau = p["alpha"] - p["beta"] * p["lambda"] ** d["x"], p["tau"]
    # The hyper-prior of tau is a Gamma(1e-4, 1e-4), twice.
    gamma = jnp.log(2.0) + 1e-4 * jnp.log(1e-4) - gammaln(1e-4) + (1e-4 - 1) * jnp.log(tau) - 1e-4 * tau
    wide = norm.logpdf(p["alpha"], 0.0, 1e3) + norm.logpdf(p["beta"], 0.0, 1e3)
    return jnp.sum(norm.logpdf(d["Y"], mean, 1 / jnp.sqrt(tau))) + wide + gamma


SUPPORTS = {
    "eight_schools_centered": {"tau": supports.positive},
    "eight_schools_noncentered": {"tau": supports.positive},
    "GLM_Poisson": {
        "alpha": supports.interval(-20.0, 20.0),
        **dict.fromkeys(["beta1", "beta2", "beta3"], supports.interval(-10.0, 10.0)),
    },
    "M0": {"omega": supports.unit_interval, "p": supports.unit_interval},
    "garch11": {"alpha0": supports.positive, "alpha1": supports.unit_interval, "share": supports.unit_interval},
    "gp_regr": dict.fromkeys(["rho", "alpha", "sigma"], supports.positive),
    "dugongs": {"lambda": supports.interval(0.5, 1.0), "tau": supports.positive},
}
DENSITIES = {
    f.__name__: f
    for f in (eight_schools_centered, eight_schools_noncentered, GLM_Poisson, M0, garch11, gp_regr, dugongs)
}


def from_constrained(model, params, values):
    """Our tree of parameters from a list in the order of the reference."""
    tree, position = {}, 0
    for name, shape, _ in params:
        size = int(np.prod(shape)) if shape else 1
        part = np.asarray(values[position : position + size], float).reshape(shape)
        tree[name] = jnp.asarray(part)
        position += size
    if model == "garch11":
        tree["share"] = tree.pop("beta1") / (1 - tree["alpha1"])
    return tree


def constrained(model, tree, params):
    """The reference's list of values from our tree."""
    if model == "garch11":
        tree = {**tree, "beta1": (1 - tree["alpha1"]) * tree["share"]}
    return np.concatenate([np.ravel(np.asarray(tree[name])) for name, _, _ in params])
