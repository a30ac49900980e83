"""The dictionary: which textbook problem an objective is, and what stands for what.

``explain`` names an objective and gives its penalty in the conventions of other packages. ``likelihood_of`` and
``loss_of`` translate between losses and noise, ``prior_of`` and ``penalty_of`` between penalties and priors, with
their negative entries: the hinge is no likelihood, MCP and total variation are no priors. ``from_sklearn`` is the
objective of an estimator; ``to_sklearn``, ``to_glmnet`` and ``to_statsmodels`` are the calls that solve an objective.
"""

from lossgeo.dictionary import penalties as penalties
from lossgeo.dictionary.card import Explanation as Explanation
from lossgeo.dictionary.correspondence import likelihood_of as likelihood_of
from lossgeo.dictionary.correspondence import loss_of as loss_of
from lossgeo.dictionary.correspondence import penalty_of as penalty_of
from lossgeo.dictionary.correspondence import prior_of as prior_of
from lossgeo.dictionary.explaining import explain as explain
from lossgeo.dictionary.glmnet_writer import to_glmnet as to_glmnet
from lossgeo.dictionary.optax_writer import to_optax as to_optax
from lossgeo.dictionary.package_call import PackageCall as PackageCall
from lossgeo.dictionary.readings import LikelihoodReading as LikelihoodReading
from lossgeo.dictionary.readings import LossReading as LossReading
from lossgeo.dictionary.readings import PriorReading as PriorReading
from lossgeo.dictionary.sklearn_reader import from_sklearn as from_sklearn
from lossgeo.dictionary.sklearn_reader import sklearn_params as sklearn_params
from lossgeo.dictionary.sklearn_writer import to_sklearn as to_sklearn
from lossgeo.dictionary.statsmodels_writer import to_statsmodels as to_statsmodels
