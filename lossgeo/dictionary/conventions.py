r"""The strength of a penalty in the conventions of other packages.

For a normal noise of variance :math:`s^2` (1 for other likelihoods), a normal prior of variance :math:`\tau^2` or a
Laplace prior of scale :math:`b`, and :math:`n` rows. Packages differ in whether they sum or average, halve, and, in
glmnet's normal ridge, divide by the standard deviation of the target.
"""

__all__ = ["conventions"]


def conventions(family: str, penalty: str, *, strength: float, noise: float, n: int, sd_y: float) -> dict[str, float]:
    r"""Parameters of package calls whose solution is this posterior mode.

    Args:
        family: ``"normal"``, ``"bernoulli"``, ``"poisson"`` or ``"laplace"``.
        penalty: ``"l2"`` or ``"l1"``.
        strength: :math:`\tau^2` for ``"l2"``, :math:`b` for ``"l1"``.
        noise: :math:`s^2` for the normal, the scale for the Laplace, 1 for the others.
        n: number of rows.
        sd_y: standard deviation of the target, dividing by n.

    Returns:
        A mapping from the call to the value; empty for a pair that no package has.
    """
    total = noise / strength
    mean = total / n
    if (family, penalty) == ("normal", "l2"):
        return {
            "RSS + lambda |w|^2": total,
            "RSS/n + lambda |w|^2": mean,
            "sklearn.linear_model.Ridge(alpha)": total,
            "sklearn.linear_model.ElasticNet(alpha), l1_ratio=0": mean,
            "statsmodels OLS.fit_regularized(alpha), L1_wt=0": mean,
            "glum GeneralizedLinearRegressor(alpha), normal, l1_ratio=0": mean,
            "jaxopt ridge_regression(l2reg)": mean,
            "glmnet(lambda), gaussian, alpha=0, standardize=FALSE": mean * sd_y,
            "MASS::lm.ridge(lambda), columns of unit sd": total,
            "optax.add_decayed_weights, SGD on the mean NLL": 1 / (n * strength),
        }
    if (family, penalty) == ("normal", "l1"):
        return {
            "RSS + lambda |w|_1": 2 * total,
            "RSS/2 + lambda |w|_1": total,
            "sklearn.linear_model.Lasso(alpha)": mean,
            "skglm.Lasso(alpha)": mean,
            "celer.Lasso(alpha)": mean,
            "statsmodels OLS.fit_regularized(alpha), L1_wt=1": mean,
            "glmnet(lambda), gaussian, alpha=1, standardize=FALSE": mean,
        }
    if (family, penalty) == ("bernoulli", "l2"):
        return {
            "sklearn.linear_model.LogisticRegression(C), L2": strength,
            "glum GeneralizedLinearRegressor(alpha), binomial, l1_ratio=0": mean,
            "glmnet(lambda), binomial, alpha=0, standardize=FALSE": mean,
            "statsmodels GLM(Binomial).fit_regularized(alpha), L1_wt=0": mean,
            "optax.add_decayed_weights, SGD on the mean NLL": mean,
        }
    if (family, penalty) == ("bernoulli", "l1"):
        return {
            "sklearn.linear_model.LogisticRegression(C), l1_ratio=1": strength,
            "glum GeneralizedLinearRegressor(alpha), binomial, l1_ratio=1": mean,
            "glmnet(lambda), binomial, alpha=1, standardize=FALSE": mean,
            "statsmodels Logit.fit_regularized(alpha)": total,
        }
    if (family, penalty) == ("poisson", "l2"):
        return {
            "sklearn.linear_model.PoissonRegressor(alpha)": mean,
            "glum GeneralizedLinearRegressor(alpha), poisson, l1_ratio=0": mean,
            "glmnet(lambda), poisson, alpha=0, standardize=FALSE": mean,
        }
    if (family, penalty) == ("laplace", "l1"):
        return {"sklearn.linear_model.QuantileRegressor(alpha), quantile=0.5": mean / 2}
    return {}
