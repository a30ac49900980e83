r"""Losses: what they estimate, which likelihood they are, if any, and what they cost in the language of decisions.

Losses of residuals (:class:`RegressionLoss`) and of means (:class:`DevianceLoss`) know the functional that they
estimate and the noise that they are the likelihood of; :func:`lossgeo.dictionary.likelihood_of` reads any loss so:

>>> from lossgeo import losses
>>> losses.Huber(1.345).distribution(mu, sigma)             # the noise, as a distribution
>>> losses.Pinball(0.9).minimizer(y)                        # the quantile of a sample

Margin losses are records (:class:`MarginLoss`) with value, conjugate, proximal map, minimizer, link, Bayes risk and
calibration function. ``derive(phi)`` computes all of that for any function, ``verify(loss)`` compares closed and
derived forms. The gallery, as functions of the margin :math:`m = (2y - 1) f`:

>>> losses.hinge(0.3)                               # 0.7
>>> losses.SmoothedHinge(alpha=2.0).inverse_link(0.5)       # a probability from an SVM-like score
>>> losses.verify(losses.logistic).passed                   # True

``losses.empirical_risk(loss, model)`` is the mean of any of them on data, ``losses.boost`` minimises a margin loss over
sums of stumps (AdaBoost, LogitBoost).

Losses of logits (``softmax_cross_entropy``, ``entmax_loss``, …) and scores of forecasts (:class:`ScoringRule`,
``crps``) follow; ``calibration_refinement`` splits the mean of any proper score, ``murphy_curve`` shows all of them.
"""

import math

from lossgeo.losses.boosting import Boosted as Boosted
from lossgeo.losses.boosting import boost as boost
from lossgeo.losses.calibration import Calibration as Calibration
from lossgeo.losses.calibration import calibration_refinement as calibration_refinement
from lossgeo.losses.convex_margin import Hinge as Hinge
from lossgeo.losses.convex_margin import ModifiedHuber as ModifiedHuber
from lossgeo.losses.convex_margin import SmoothedHinge as SmoothedHinge
from lossgeo.losses.convex_margin import Square as Square
from lossgeo.losses.convex_margin import SquaredHinge as SquaredHinge
from lossgeo.losses.crps import crps as crps
from lossgeo.losses.crps import crps_of_draws as crps_of_draws
from lossgeo.losses.deviance import DevianceLoss as DevianceLoss
from lossgeo.losses.deviance import GammaDeviance as GammaDeviance
from lossgeo.losses.deviance import PoissonDeviance as PoissonDeviance
from lossgeo.losses.deviance import TweedieDeviance as TweedieDeviance
from lossgeo.losses.empirical_risk import EmpiricalRisk as EmpiricalRisk
from lossgeo.losses.empirical_risk import empirical_risk as empirical_risk
from lossgeo.losses.entmax import entmax as entmax
from lossgeo.losses.entmax import entmax_loss as entmax_loss
from lossgeo.losses.logit_margin import Exponential as Exponential
from lossgeo.losses.logit_margin import Logistic as Logistic
from lossgeo.losses.margin import DerivedLoss as DerivedLoss
from lossgeo.losses.margin import MarginLoss as MarginLoss
from lossgeo.losses.margin import derive as derive
from lossgeo.losses.multiclass import focal_loss as focal_loss
from lossgeo.losses.multiclass import label_smoothing_loss as label_smoothing_loss
from lossgeo.losses.multiclass import multiclass_hinge_loss as multiclass_hinge_loss
from lossgeo.losses.multiclass import sparsemax_loss as sparsemax_loss
from lossgeo.losses.murphy import murphy_curve as murphy_curve
from lossgeo.losses.other_margin import Ramp as Ramp
from lossgeo.losses.other_margin import Savage as Savage
from lossgeo.losses.other_margin import Tangent as Tangent
from lossgeo.losses.other_margin import ZeroOne as ZeroOne
from lossgeo.losses.regression import AbsoluteError as AbsoluteError
from lossgeo.losses.regression import EpsilonInsensitive as EpsilonInsensitive
from lossgeo.losses.regression import Huber as Huber
from lossgeo.losses.regression import LogCosh as LogCosh
from lossgeo.losses.regression import Pinball as Pinball
from lossgeo.losses.regression import SquaredError as SquaredError
from lossgeo.losses.regression import StudentT as StudentT
from lossgeo.losses.residual import RegressionLoss as RegressionLoss
from lossgeo.losses.scoring import ScoringRule as ScoringRule
from lossgeo.losses.scoring import boosting_score as boosting_score
from lossgeo.losses.scoring import brier_score as brier_score
from lossgeo.losses.scoring import log_score as log_score
from lossgeo.losses.scoring import spherical_score as spherical_score
from lossgeo.losses.verification import Certificate as Certificate
from lossgeo.losses.verification import verify as verify
from lossgeo.numerics import softmax_cross_entropy as softmax_cross_entropy
from lossgeo.numerics import softmax_cross_entropy_with_probs as softmax_cross_entropy_with_probs

zero_one = ZeroOne()
square = Square()
hinge = Hinge()
squared_hinge = SquaredHinge()
modified_huber = ModifiedHuber()
smoothed_hinge = SmoothedHinge(1.0)
logistic = Logistic(1.0)
logistic_base2 = Logistic(math.log(2.0))
exponential = Exponential(1.0)
savage = Savage()
tangent = Tangent()
ramp = Ramp()
squared_error = SquaredError()
absolute_error = AbsoluteError()
log_cosh = LogCosh()
poisson_deviance = PoissonDeviance()
gamma_deviance = GammaDeviance()
