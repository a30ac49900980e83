"""Distributions: densities whose hyper-parameters are pytree leaves. One object is a noise model and a prior.

When to use which, as the distribution of an observation and as the prior of a parameter:

=============== ==================================================== =========================================
family          observation                                          prior
=============== ==================================================== =========================================
``Normal``      squared error: any real, no outliers                 ridge penalty; shrinks, never to 0
``Laplace``     absolute error: medians                              lasso penalty; exact zeros in the mode
``StudentT``    any real with outliers                               weak prior with heavy tails
``Bernoulli``   a label 0 or 1 (logistic loss)
``Categorical`` a class id 0, …, K - 1 (softmax cross-entropy)
``Poisson``     a count
``Gamma``       a positive amount                                    rates and precisions (conjugate)
``HalfNormal``  the size of an error                                 standard deviations
``Flat``                                                             no prior (maximum likelihood), constraints
``Fixed``                                                            a parameter that is held
=============== ==================================================== =========================================

``Bernoulli``, ``Categorical`` and ``Poisson`` take either a mean-like parameter or its logarithmic twin (``logits``,
``log_rate``, keyword only). With a linear predictor give the twin: it cannot leave its domain and nothing underflows.

The contract is :class:`Distribution`; any foreign object with a ``log_prob`` method (:func:`is_distribution`) is
accepted in the same places.
"""

from lossgeo.distributions.bernoulli import Bernoulli as Bernoulli
from lossgeo.distributions.categorical import Categorical as Categorical
from lossgeo.distributions.distribution import Distribution as Distribution
from lossgeo.distributions.distribution import Kink as Kink
from lossgeo.distributions.distribution import is_distribution as is_distribution
from lossgeo.distributions.fixed import Fixed as Fixed
from lossgeo.distributions.flat import Flat as Flat
from lossgeo.distributions.gamma import Gamma as Gamma
from lossgeo.distributions.half_normal import HalfNormal as HalfNormal
from lossgeo.distributions.laplace import Laplace as Laplace
from lossgeo.distributions.normal import Normal as Normal
from lossgeo.distributions.poisson import Poisson as Poisson
from lossgeo.distributions.student_t import StudentT as StudentT
