"""Likelihoods: per-observation log-densities of data, as a function of parameters.

When to use which:

* ``likelihood(model)``: a model that returns the distribution of the target. Knows its support, its Fisher information.
* a bare function of log-densities, given to ``lg.map_objective``: anything else, dependent data too.
* ``pseudo_likelihood(fn)``: minus a loss that is no density; what needs one is refused.
* ``cox_partial(...)``: survival times with an unspecified baseline hazard.
* ``conditional_logit(groups)``: binary labels with an unspecified intercept in each group (matched case-control).

A likelihood is a pytree, takes its data as arguments, and yields one term for each independent observation in nats,
never a sum or a mean. The last two are likelihoods of *ranks* and *places*, free of what is left unspecified: one term
for all cases, which still have weights and scores of their own.
"""

from lossgeo.likelihoods.conditional import ConditionalLogit as ConditionalLogit
from lossgeo.likelihoods.conditional import conditional_logit as conditional_logit
from lossgeo.likelihoods.cox import CoxPartial as CoxPartial
from lossgeo.likelihoods.cox import cox_partial as cox_partial
from lossgeo.likelihoods.declared import FunctionLikelihood as FunctionLikelihood
from lossgeo.likelihoods.declared import Likelihood as Likelihood
from lossgeo.likelihoods.declared import ModelLikelihood as ModelLikelihood
from lossgeo.likelihoods.declared import check_target_shape as check_target_shape
from lossgeo.likelihoods.declared import likelihood as likelihood
from lossgeo.likelihoods.declared import pseudo_likelihood as pseudo_likelihood
from lossgeo.likelihoods.information import fisher_information as fisher_information
