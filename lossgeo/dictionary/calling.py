"""Package calls for a noise model, a penalty and its scales, where a package has exactly that problem."""

import math

from lossgeo.dictionary.conventions import conventions

__all__ = ["package_calls"]

FAMILIES = {
    ("Normal", "identity"): "normal",
    ("Laplace", "identity"): "laplace",
    ("AsymmetricLaplace", "identity"): "quantile",
    ("Huber", "identity"): "huber",
    ("Bernoulli", "logit"): "bernoulli",
    ("Categorical", "softmax"): "multinomial",
    ("Poisson", "log"): "poisson",
    ("Gamma", "log"): "gamma",
}
MARGINS = {"Hinge": "hinge", "SquaredHinge": "squared hinge", "Square": "square", "Logistic": "bernoulli"}
DISPERSION = {"normal": "s2", "laplace": "s", "quantile": "s", "huber": "s"}


def package_calls(
    kind: str,
    link: str,
    *,
    margin: bool,
    b: float,
    t2: float,
    scales: dict[str, float],
    weight: float,
    n: int,
    sd_y: float = math.nan,
) -> dict[str, float]:
    r"""Parameters of package calls; empty where no package has the problem.

    Args:
        kind: name of the class of the distribution or margin loss.
        link: name of the link.
        margin: whether ``kind`` is a margin loss.
        b: scale of the Laplace part of the prior; ``inf`` for none.
        t2: variance of the normal part of the prior; ``inf`` for none.
        scales: of the noise, in the symbols of the card.
        weight: of the data term, for families without a dispersion.
        n: number of rows.
        sd_y: standard deviation of the target.
    """
    family = MARGINS.get(kind) if margin else FAMILIES.get((kind, link))
    if family is None or (math.isinf(b) and math.isinf(t2)):
        return {}
    noise = scales[DISPERSION[family]] if family in DISPERSION else 1.0
    if family == "gamma":
        noise = 1 / scales["concentration"]
    if family in DISPERSION or family == "gamma":
        weight = 1.0
    penalty = "l2" if math.isinf(b) else ("l1" if math.isinf(t2) else "elastic net")
    pair = (weight * b, weight * t2)
    strength = pair if penalty == "elastic net" else min(pair)
    return conventions(family, penalty, strength=strength, noise=noise, n=n, sd_y=sd_y)
