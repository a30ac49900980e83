"""Every case of ``tests/reference/geometry`` to 1e-12 in float64, and to float32 accuracy with float64 switched off.

The reference numbers are closed forms in 40 digits; the provenance is in each file.
"""

import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import geometry as geo
from lossgeo import numerics

FOLDER = pathlib.Path(__file__).parents[1] / "reference" / "geometry"


def cases(name, key="cases"):
    return json.loads((FOLDER / f"{name}.json").read_text())[key]


@pytest.fixture(scope="module", params=[True, False], ids=["float64", "float32"])
def precision(request):
    """Switch float64 on or off as a user does, and give the tolerance that goes with it."""
    with jax.enable_x64(request.param):
        yield 1e-12 if request.param else 1e-5


def numbers(entry):
    """Nested strings as nested floats."""
    return [numbers(v) for v in entry] if isinstance(entry, list) else float(entry)


def check(value, truth, rtol, atol=0.0):
    assert value.dtype == jnp.result_type(float)  # float32 is not promoted where float64 is off
    np.testing.assert_allclose(np.asarray(value, float), np.asarray(numbers(truth), float), rtol=rtol, atol=atol)


def normal_density(y, loc, scale):
    return -0.5 * ((y - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi)


def gamma_against_log_normal(shape, rate, loc, scale):
    def log_p(y):
        return shape * jnp.log(rate) - jax.scipy.special.gammaln(shape) + (shape - 1) * jnp.log(y) - rate * y

    # Beyond these ends neither law has mass that float32 could see.
    points, weights = geo.interval_rule(jnp.log(1e-6), jnp.log(1e4), 401)
    y = jnp.exp(points)
    return geo.kl_by_quadrature(log_p, lambda v: normal_density(jnp.log(v), loc, scale) - jnp.log(v), y, weights * y)


def binomial_against_poisson(total, p, rate):
    y = jnp.arange(40.0)
    inside = y <= total
    gammaln = jax.scipy.special.gammaln
    choose = gammaln(total + 1) - gammaln(y + 1) - gammaln(jnp.where(inside, total - y + 1, 1.0))
    log_p = jnp.where(inside, choose + y * jnp.log(p) + (total - y) * jnp.log1p(-p), -jnp.inf)
    return geo.kl_by_quadrature(lambda _: log_p, lambda v: v * jnp.log(rate) - rate - gammaln(v + 1), y)


KL = {
    "normal": lambda p, q: geo.kl_normal(*p, *q),
    "exponential": lambda p, q: geo.kl_exponential(*p, *q),
    "beta": lambda p, q: geo.kl_beta(*p, *q),
    "von_mises": lambda p, q: geo.kl_von_mises(*p, *q),
    "bernoulli": lambda p, q: geo.kl_bernoulli(*p, *q),
    "negbin": lambda p, q: geo.kl_negative_binomial(p[0], p[1], q[1]),
    "chi2": lambda p, q: geo.kl_gamma(p[0] / 2, 0.5, q[0] / 2, 0.5),
    "gamma||lognormal": lambda p, q: gamma_against_log_normal(*p, *q),
    "binomial||poisson": lambda p, q: binomial_against_poisson(*p, *q),
    "dirichlet": lambda p, q: geo.kl_dirichlet(jnp.array(p), jnp.array(q)),
    "pareto": lambda p, q: geo.kl_pareto(*p, *q),
    "poisson": lambda p, q: geo.kl_poisson(*p, *q),
}


@pytest.mark.parametrize("case", cases("kl"), ids=lambda c: c["family"])
def test_kl(case, precision):
    check(KL[case["family"]](numbers(case["p"]), numbers(case["q"])), case["kl"], precision)


def beta_entropy(concentration):
    """Minus A* less E log h; the base measure is 1 / prod y over the simplex."""
    mu = geo.dirichlet.gradient(concentration)
    return jnp.sum(mu) - geo.dirichlet.conjugate(mu)


def poisson_entropy(rate):
    y = jnp.arange(60.0)
    return geo.entropy(jnp.exp(y * jnp.log(rate) - rate - jax.scipy.special.gammaln(y + 1)))


ENTROPY = {
    "exponential": lambda rate: -geo.exponential.conjugate(1 / rate[0]),
    "beta": beta_entropy,
    "uniform": lambda ends: math.log(10.0) - geo.kl_uniform(ends[0], ends[1], -5.0, 5.0),
    "chi2": lambda nu: _gamma_entropy(jnp.array([0.5 * nu[0], -0.5])),
    "poisson": lambda rate: poisson_entropy(rate[0]),
    "dirichlet": beta_entropy,
}


def _gamma_entropy(eta):
    mu = geo.gamma.gradient(eta)
    return mu[0] - geo.gamma.conjugate(mu)


@pytest.mark.parametrize("case", cases("entropy"), ids=lambda c: c["family"])
def test_entropy(case, precision):
    check(ENTROPY[case["family"]](jnp.array(numbers(case["p"]))), case["entropy"], precision)


def half(fn):
    """Twice the divergence: these files take the squared norm and not its half."""
    return lambda x, y: 2 * fn(geo.half_squared_norm, x, y)


BREGMAN = {
    "squared_euclidean": half(geo.bregman_divergence),
    "itakura_saito": geo.itakura_saito_divergence,
    "logsumexp": lambda x, y: geo.bregman_divergence(geo.log_sum_exp, x, y),
    "von_neumann": geo.von_neumann_divergence,
}


@pytest.mark.parametrize("case", cases("bregman"), ids=lambda c: c["generator"])
def test_bregman(case, precision):
    x, y = jnp.array(numbers(case["x"])), jnp.array(numbers(case["y"]))
    check(BREGMAN[case["generator"]](x, y), case["D_xy"], precision)


def test_bregman_identities(precision):
    duality, three_point, family = cases("bregman", "identities")
    a, d = geo.negative_entropy, geo.bregman_divergence
    x, y, z = (jnp.array(numbers(three_point[k])) for k in "xyz")
    for side in (d(a, x, y), d(geo.dual(a), a.gradient(y), a.gradient(x))):
        check(side, duality["lhs"], 5 * precision)
    left, first, second = (2 * d(geo.half_squared_norm, *pair) for pair in ((x, z), (x, y), (y, z)))
    np.testing.assert_allclose(left, first + second + 2 * jnp.vdot(x - y, y - z), rtol=precision)
    check(geo.exponential_family_kl(geo.poisson, jnp.log(4.0), jnp.log(2.5)), family["lhs"], 5 * precision)


@pytest.mark.parametrize("case", cases("other_divergences"), ids=lambda c: c["name"].split()[0])
def test_other_divergences(case, precision):
    p, q = jnp.array([0.2, 0.3, 0.5]), jnp.array([0.6, 0.3, 0.1])
    value = {
        "js": lambda: geo.jensen_shannon_divergence(p, q),
        "renyi": lambda: geo.renyi_divergence(p, q, 2.0),
        "bhattacharyya": lambda: geo.bhattacharyya_normal(0.0, 1.0, 1.0, 2.0),
    }[case["name"].split()[0]]()
    check(value, case["value"], precision)


@pytest.mark.parametrize("case", cases("fisher_rao"), ids=lambda c: c["family"].split()[0])
def test_fisher_rao(case, precision):
    a, b = numbers(case["a"]), numbers(case["b"])
    value = {
        "normal": lambda: geo.fisher_rao_normal(*a, *b),
        "bernoulli": lambda: geo.fisher_rao_bernoulli(a, b),
        "geometric": lambda: geo.fisher_rao_negative_binomial(a, b),
        "categorical": lambda: geo.fisher_rao_categorical(jnp.array(a), jnp.array(b)),
    }[case["family"].split()[0]]()
    check(value, case["distance"], precision)
    assert geo.fisher_rao_categorical(jnp.array([0.2, 0.8]), jnp.array([0.2, 0.8])) == 0


def test_i_projection(precision):
    case = cases("pythagorean")[0]
    q, r, c = (jnp.array(numbers(case[k])) for k in ("q", "r", "c"))
    found = geo.project(q, geo.Moments(jnp.arange(6.0)[None], c[None]), side="I")
    check(found.point, case["p_star"], precision)
    check(found.coordinates[0], case["theta"], 2 * precision)
    check(found.divergence, case["KL_pstar_q"], 5 * precision)
    check(geo.kl_divergence(r, q), case["KL_r_q"], precision)
    check(geo.kl_divergence(r, found.point), case["KL_r_pstar"], 2 * precision)


def test_projection_on_the_simplex(precision):
    case = cases("pythagorean")[1]
    check(geo.projection_simplex(jnp.array(numbers(case["v"]))), case["projection"], precision)


def test_softmax_cross_entropy(precision):
    dtype = jnp.result_type(float)
    for case in cases("numerics_softmax_logsumexp", "softmax_ce"):
        z = np.asarray(case["logits"])
        if np.max(np.abs(z)) > float(jnp.finfo(dtype).max):
            continue  # not a number of float32
        # The loss of (89, 0) is log1p(e^-89) = 2.2e-39, as the gradient in the file says; its loss is 2^-128.
        truth = case["grad"][1] if case["logits"] == [89.0, 0.0] else case["loss"]
        loss = numerics.softmax_cross_entropy(jnp.array(z), case["label"])
        check(loss, truth, precision, atol=float(jnp.finfo(dtype).tiny))
        one_hot = jax.nn.one_hot(case["label"], z.size)
        check(geo.fenchel_young_loss(geo.log_sum_exp, jnp.array(z), one_hot), truth, precision, jnp.finfo(dtype).tiny)
    for case in cases("numerics_softmax_logsumexp", "binary_logit"):
        if case["logit"] > float(jnp.finfo(dtype).max):
            continue
        for sign, key in ((1, "softplus"), (-1, "loss_y1")):
            check(numerics.softplus(sign * jnp.array(case["logit"])), case[key], precision)
        check(geo.bernoulli.hessian(jnp.array(case["logit"])), case["hess"], precision)


def test_log_sum_exp(precision):
    assert numerics.log_sum_exp(jnp.array([jnp.inf, -jnp.inf])) == jnp.inf
    top = float(jnp.finfo(jnp.result_type(float)).max) / 2
    z = jnp.array([top, top])
    check(geo.log_sum_exp.value(z), top, precision)
    check(jax.grad(geo.log_sum_exp.value)(z), [0.5, 0.5], precision)


def test_special_functions(precision):
    truth = {case["function"].split("(")[0]: case["value"] for case in cases("numerics_softmax_logsumexp", "special")}
    check(jax.scipy.special.xlogy(0.0, 1.0), truth["xlogy"], precision)
    check(numerics.log1mexp(jnp.array(50.0)), truth["log1mexp"], precision)
    check(numerics.log_ndtr(jnp.array(8.0)), truth["log_normal_cdf"], precision * 10)
    check(jax.scipy.special.gammaln(jnp.array(0.5)), truth["lgamma"], precision)
    check(jax.scipy.special.digamma(jnp.array(1e8)), truth["digamma"], precision)
    check(geo.von_mises.gradient(jnp.array([1e-6, 0.0]))[0], truth["I1/I0"], precision)
