r"""Fused primitives that do not cancel: the places where a textbook formula loses its digits.

When to use which:

* ``softplus`` and ``sigmoid``: the logistic likelihood. Value, first, second and third derivatives keep their relative
  accuracy in *both* tails (the derivative of ``jax.nn.sigmoid`` is ``s * (1 - s)``, 0 where ``s`` rounds to 1).
* ``softmax_cross_entropy`` (class ids) and ``softmax_cross_entropy_with_probs`` (any non-negative targets): the
  multinomial likelihood. A confident and right prediction has a small positive loss and not 0.
* ``softmax``: probabilities whose derivatives of every order keep their digits.
* ``log1mexp``: a complementary log-probability.
* ``log_ndtr``: the logarithm of the normal distribution function.
* ``log1p_remainder`` and ``stirling_remainder``: what is left of :math:`\log(1 + x)` and :math:`\log\Gamma(x)` when the
  part that cancels is taken out by hand; limits such as Student's t at large degrees of freedom are built on them.
* ``log_gamma_tails`` and ``log_beta_tails``: both tails of the incomplete gamma and beta functions as logarithms, with
  derivatives in all arguments; ``log_gamma_kernel`` and ``log_beta_kernel``: what these functions integrate;
  ``log_rising``: a ratio of gamma functions whose arguments differ by a count; ``log_remainder``, ``poisson_kernel``:
  see there; ``differentiated_as``: the value of one form, the derivatives of another.
* ``mills_ratio`` and ``mills_decrease``: normal tails over the density; ``scaled_exp1``: the exponential integral.
* ``kl_term``: a Kullback–Leibler divergence as a sum of non-negative terms, accurate between near neighbours.
* ``log_mixture`` and ``log_sub_exp``: weighted sums (mixtures) and differences (intervals) of probabilities.
* ``log_sum_exp`` and ``log_softmax`` over the last axis; ``log_i0_of_square`` and ``log_i0e`` for directions;
  ``gauss_legendre``.
* ``cross_entropy_error_map``: grades any implementation of the cross-entropy, in ulp over offsets and margins, in any
  floating dtype; ``CROSS_ENTROPY_FORMULAS`` are four that fail.

All functions work in the dtype of their arguments (integers become the default float), are elementwise or act on the
last axis, and may be differentiated as often as one likes. A derivative is written by hand only where automatic
differentiation of the value cancels or gives NaN.
"""

from lossgeo.numerics.accuracy import CROSS_ENTROPY_FORMULAS as CROSS_ENTROPY_FORMULAS
from lossgeo.numerics.accuracy import cross_entropy_error_map as cross_entropy_error_map
from lossgeo.numerics.accuracy import exact_cross_entropy as exact_cross_entropy
from lossgeo.numerics.accuracy import ulp_error as ulp_error
from lossgeo.numerics.bessel import log_i0_of_square as log_i0_of_square
from lossgeo.numerics.bessel import log_i0e as log_i0e
from lossgeo.numerics.derivatives import differentiated_as as differentiated_as
from lossgeo.numerics.gauss_legendre import gauss_legendre as gauss_legendre
from lossgeo.numerics.incomplete import log_beta_kernel as log_beta_kernel
from lossgeo.numerics.incomplete import log_beta_tails as log_beta_tails
from lossgeo.numerics.incomplete import log_gamma_kernel as log_gamma_kernel
from lossgeo.numerics.incomplete import log_gamma_tails as log_gamma_tails
from lossgeo.numerics.incomplete import log_remainder as log_remainder
from lossgeo.numerics.incomplete import log_rising as log_rising
from lossgeo.numerics.incomplete import poisson_kernel as poisson_kernel
from lossgeo.numerics.kl import kl_term as kl_term
from lossgeo.numerics.log_sum_exp import log_softmax as log_softmax
from lossgeo.numerics.log_sum_exp import log_sum_exp as log_sum_exp
from lossgeo.numerics.logarithms import log1mexp as log1mexp
from lossgeo.numerics.logarithms import log1p_remainder as log1p_remainder
from lossgeo.numerics.logarithms import log_ndtr as log_ndtr
from lossgeo.numerics.logarithms import stirling_remainder as stirling_remainder
from lossgeo.numerics.logits import sigmoid as sigmoid
from lossgeo.numerics.logits import softmax as softmax
from lossgeo.numerics.logits import softmax_cross_entropy as softmax_cross_entropy
from lossgeo.numerics.logits import softmax_cross_entropy_with_probs as softmax_cross_entropy_with_probs
from lossgeo.numerics.logits import softplus as softplus
from lossgeo.numerics.mills import mills_decrease as mills_decrease
from lossgeo.numerics.mills import mills_ratio as mills_ratio
from lossgeo.numerics.mills import scaled_exp1 as scaled_exp1
from lossgeo.numerics.sums import log_mixture as log_mixture
from lossgeo.numerics.sums import log_sub_exp as log_sub_exp
