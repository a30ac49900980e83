"""Distributions: densities whose hyper-parameters are pytree leaves. One object is a noise model and a prior.

When to use which, as the distribution of an observation and as the prior of a parameter:

======================== ============================================== ==========================================
family                   observation                                    prior
======================== ============================================== ==========================================
``Normal``               squared error: any real, no outliers           ridge penalty; shrinks, never to 0
``Laplace``              absolute error: medians                        lasso penalty; exact zeros in the mode
``AsymmetricLaplace``    pinball loss: quantiles
``ElasticNet``                                                          elastic net penalty; exact zeros in the mode
``GroupLaplace``                                                        group lasso penalty; exact zeros of whole groups
``GroupedLaplace``                                                      the same for groups told by labels
``Huber``                any real with some outliers (Huber's loss)     weak prior with exponential tails
``HyperbolicSecant``     any real with some outliers (log-cosh loss)    weak prior with exponential tails
``EpsilonInsensitive``   support vector regression
``StudentT``             any real with outliers                         weak prior with heavy tails
``Cauchy``               any real with wild outliers                    very weak prior
``Logistic``             the latent error of logistic regression        weak prior of a logit
``Gumbel``               the largest of many
``Bernoulli``            a label 0 or 1 (logistic loss)
``Binomial``             successes in a number of trials
``BetaBinomial``         successes that vary more than binomial ones
``Categorical``          a class id 0, …, K - 1 (softmax cross-entropy)
``OrderedLogistic``      an ordered class id (proportional odds)
``OrderedProbit``        an ordered class id, normal latent variable
``Poisson``              a count
``Geometric``            failures before the first success
``NegativeBinomial``     a count that varies more than Poisson
``Gamma``                a positive amount                              rates and precisions (conjugate)
``InverseGaussian``      a positive amount, heavier to the right
``InverseGamma``                                                        variances (conjugate)
``Chi2``                 a likelihood-ratio statistic
``Pareto``               an excess over a threshold, power law
``Uniform``                                                             a parameter within known limits
``Beta``                 a proportion                                   probabilities (conjugate)
``Kumaraswamy``          a proportion, closed quantiles
``VonMises``             an angle                                       an angle
``Exponential``          a waiting time without memory                  scales, shrinking to 0
``Weibull``              a survival time, proportional hazards
``LogNormal``            a product of many factors                      scales known within a factor
``LogLogistic``          a survival time, proportional odds
``HalfNormal``           the size of an error                           standard deviations
``HalfStudentT``                                                        standard deviations, heavy tail
``HalfCauchy``                                                          standard deviations, very heavy tail
``MultivariateNormal``   vectors with correlated errors                 correlated effects
``LKJCholesky``                                                         correlation matrices
``Wishart``              sums of squares of normal vectors              precision matrices (conjugate)
``Dirichlet``            probabilities                                  class probabilities (conjugate)
``Multinomial``          counts of K classes
``DirichletMultinomial`` counts of K classes, more varied
``Censored``             known by a bound only (survival times)
``Truncated``            seen only inside an interval                   a parameter with bounds
``ZeroInflated``         counts with more zeros
``Hurdle``               zeros, and positive values
``Mixture``              from one of K unknown sources                  spike and slab; several modes
``Transformed``          a smooth function of a known variable          logit-normal, logistic normal, …
``Independent``          vectors of independent entries
``Flat``                                                                no prior (maximum likelihood), constraints
``Fixed``                                                               a parameter that is held
======================== ============================================== ==========================================

``Bernoulli``, ``Binomial``, ``Categorical``, ``Geometric`` and ``Poisson`` take either a mean-like parameter or its
logarithmic twin (``logits``, ``log_rate``, keyword only). With a linear predictor give the twin: it cannot leave its
domain and nothing underflows.

The contract is :class:`Distribution`; any foreign object with a ``log_prob`` method (:func:`is_distribution`) is
accepted in the same places.
"""

from lossgeo.distributions.asymmetric_laplace import AsymmetricLaplace as AsymmetricLaplace
from lossgeo.distributions.bernoulli import Bernoulli as Bernoulli
from lossgeo.distributions.beta import Beta as Beta
from lossgeo.distributions.beta_binomial import BetaBinomial as BetaBinomial
from lossgeo.distributions.binomial import Binomial as Binomial
from lossgeo.distributions.categorical import Categorical as Categorical
from lossgeo.distributions.cauchy import Cauchy as Cauchy
from lossgeo.distributions.censored import Censored as Censored
from lossgeo.distributions.chi2 import Chi2 as Chi2
from lossgeo.distributions.dirichlet import Dirichlet as Dirichlet
from lossgeo.distributions.dirichlet_multinomial import DirichletMultinomial as DirichletMultinomial
from lossgeo.distributions.distribution import Distribution as Distribution
from lossgeo.distributions.distribution import Kink as Kink
from lossgeo.distributions.distribution import is_distribution as is_distribution
from lossgeo.distributions.elastic_net import ElasticNet as ElasticNet
from lossgeo.distributions.epsilon_insensitive import EpsilonInsensitive as EpsilonInsensitive
from lossgeo.distributions.exponential import Exponential as Exponential
from lossgeo.distributions.fixed import Fixed as Fixed
from lossgeo.distributions.flat import Flat as Flat
from lossgeo.distributions.gamma import Gamma as Gamma
from lossgeo.distributions.geometric import Geometric as Geometric
from lossgeo.distributions.group_laplace import GroupLaplace as GroupLaplace
from lossgeo.distributions.grouped_laplace import GroupedLaplace as GroupedLaplace
from lossgeo.distributions.gumbel import Gumbel as Gumbel
from lossgeo.distributions.half_cauchy import HalfCauchy as HalfCauchy
from lossgeo.distributions.half_normal import HalfNormal as HalfNormal
from lossgeo.distributions.half_student_t import HalfStudentT as HalfStudentT
from lossgeo.distributions.huber import Huber as Huber
from lossgeo.distributions.hurdle import Hurdle as Hurdle
from lossgeo.distributions.hyperbolic_secant import HyperbolicSecant as HyperbolicSecant
from lossgeo.distributions.independent import Independent as Independent
from lossgeo.distributions.inverse_gamma import InverseGamma as InverseGamma
from lossgeo.distributions.inverse_gaussian import InverseGaussian as InverseGaussian
from lossgeo.distributions.kumaraswamy import Kumaraswamy as Kumaraswamy
from lossgeo.distributions.laplace import Laplace as Laplace
from lossgeo.distributions.lkj_cholesky import LKJCholesky as LKJCholesky
from lossgeo.distributions.log_logistic import LogLogistic as LogLogistic
from lossgeo.distributions.log_normal import LogNormal as LogNormal
from lossgeo.distributions.logistic import Logistic as Logistic
from lossgeo.distributions.mixture import Mixture as Mixture
from lossgeo.distributions.multinomial import Multinomial as Multinomial
from lossgeo.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from lossgeo.distributions.negative_binomial import NegativeBinomial as NegativeBinomial
from lossgeo.distributions.normal import Normal as Normal
from lossgeo.distributions.ordered import OrderedLogistic as OrderedLogistic
from lossgeo.distributions.ordered import OrderedProbit as OrderedProbit
from lossgeo.distributions.pareto import Pareto as Pareto
from lossgeo.distributions.poisson import Poisson as Poisson
from lossgeo.distributions.student_t import StudentT as StudentT
from lossgeo.distributions.transformed import Transformed as Transformed
from lossgeo.distributions.truncated import Truncated as Truncated
from lossgeo.distributions.uniform import Uniform as Uniform
from lossgeo.distributions.von_mises import VonMises as VonMises
from lossgeo.distributions.weibull import Weibull as Weibull
from lossgeo.distributions.wishart import Wishart as Wishart
from lossgeo.distributions.zero_inflated import ZeroInflated as ZeroInflated
