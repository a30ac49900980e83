r"""Everyday models: generalised linear models, softmax, ordinal and quantile regression, quasi-likelihoods.

A model is a callable record ``(params, x) -> distribution``, ready for :func:`lossgeo.likelihood`. Its parameters are a
plain dictionary: ``coef`` of shape ``(d,)``, ``intercept`` of shape ``()``, and what the family adds (``scale``,
``concentration``, ``cutpoints``), whose supports the model knows, so that
``lg.map_objective(lg.likelihood(models.linear_regression()))`` is a complete maximum-likelihood problem.

Where there is no density (Tweedie powers, fractional or overdispersed binomial targets) the model is a
quasi-log-likelihood ``(params, x, y) -> (n,)`` for :func:`lossgeo.pseudo_likelihood`, which refuses what needs a
density.
"""

from lossgeo.models.linear import GLM as GLM
from lossgeo.models.linear import glm as glm
from lossgeo.models.linear import linear_regression as linear_regression
from lossgeo.models.linear import logistic_regression as logistic_regression
from lossgeo.models.linear import poisson_regression as poisson_regression
from lossgeo.models.ordinal import OrdinalRegression as OrdinalRegression
from lossgeo.models.ordinal import ordinal_regression as ordinal_regression
from lossgeo.models.quantile import QuantileRegression as QuantileRegression
from lossgeo.models.quantile import quantile_regression as quantile_regression
from lossgeo.models.quasi import QuasiGLM as QuasiGLM
from lossgeo.models.quasi import quasi_binomial as quasi_binomial
from lossgeo.models.quasi import tweedie as tweedie
from lossgeo.models.softmax import SoftmaxRegression as SoftmaxRegression
from lossgeo.models.softmax import softmax_regression as softmax_regression
