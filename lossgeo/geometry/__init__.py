r"""Convex and information geometry: one convex function, five readings.

Start from a potential, a convex function with its gradient map, inverse and conjugate:

>>> from lossgeo import geometry as geo
>>> z = jnp.array([2.0, 0.0, -1.0])
>>> p = geo.log_sum_exp.gradient(z)                         # softmax: the mean parameter
>>> geo.log_sum_exp.inverse(p)                              # the centered logits: softmax forgets a constant
>>> geo.fenchel_young_loss(geo.log_sum_exp, z, y)           # softmax cross-entropy less the entropy of y
>>> geo.exponential_family_kl(geo.gamma, eta_p, eta_q)      # KL(p || q) inside a family
>>> geo.fisher_metric(geo.gamma, eta)                       # its second-order term
>>> geo.sectional_curvature(geo.FisherMetric(geo.normal), eta, u, v)   # -1/2
>>> geo.project(q, geo.Moments(statistics, targets), side="I")         # maximum entropy, with a Pythagorean certificate

Which module to read:

=============================  ======================================================================================
``potentials``                 the record :class:`Potential`, ``dual``, and ``potential`` which derives what is missing
``generators``                 half squared norm, Mahalanobis, negative entropy, log-sum-exp, Burg
``families``, ``matrices``     log-partitions: Bernoulli to von Mises, multivariate normal; log-det, von Neumann
``bregman``                    Bregman, Fenchel–Young, KL within a family, unit deviance
``divergences``                entropy, cross-entropy, KL, Jensen–Shannon, Rényi, alpha, f- of probability vectors
``closed_forms``               KL between usual families in usual parameters; Wasserstein of normals
``fisher``                     the four Fisher matrices, pull-back metric, natural gradient
``curvature``, ``geodesics``   connections, curvature, Fisher–Rao distances, e-, m- and alpha-geodesics
``projections``                orthogonal: hat matrix, leverage, degrees of freedom, R² and when it may be used
``convex_projections``         simplex, balls, cones, monotone
``information_projections``    I- and M-projection, maximum entropy, margins, Sinkhorn
``alternating_projection``     the em algorithm: alternating e- and m-projection between data and model
``descent``                    mirror descent and natural-gradient descent as optax transformations
``clustering``, ``simplex``    barycenters and k-means; coordinates and balls for figures
=============================  ======================================================================================

Conventions. Nats. Directions as written: ``kl_divergence(p, q)`` is KL(p‖q), ``bregman_divergence(A, x, y)`` has its
tangent at y. ``eta`` are natural (dual) coordinates, ``mu`` mean coordinates. Leading axes are batches and trailing
axes one point; batches of different rank are an error, never broadcast. Dtypes are kept. Domains are documented and not
checked; limits at their edges are exact; nothing is clipped. This package knows arrays and functions, and no
statistics.
"""

# ruff: noqa: I001  (several names a line, so that the list of what is public can be read)
# fmt: off
from lossgeo.geometry.bregman import (
    bregman_divergence as bregman_divergence, exponential_family_kl as exponential_family_kl,
    fenchel_young_loss as fenchel_young_loss, generalized_kl_divergence as generalized_kl_divergence,
    itakura_saito_divergence as itakura_saito_divergence, log_det_divergence as log_det_divergence,
    unit_deviance as unit_deviance, von_neumann_divergence as von_neumann_divergence,
)
from lossgeo.geometry.closed_forms import (
    bhattacharyya_normal as bhattacharyya_normal, kl_bernoulli as kl_bernoulli, kl_beta as kl_beta,
    kl_binomial as kl_binomial, kl_cauchy as kl_cauchy, kl_dirichlet as kl_dirichlet,
    kl_exponential as kl_exponential, kl_gamma as kl_gamma, kl_gumbel as kl_gumbel,
    kl_inverse_gaussian as kl_inverse_gaussian, kl_laplace as kl_laplace,
    kl_multivariate_normal as kl_multivariate_normal, kl_negative_binomial as kl_negative_binomial,
    kl_normal as kl_normal, kl_pareto as kl_pareto, kl_poisson as kl_poisson, kl_uniform as kl_uniform,
    kl_von_mises as kl_von_mises, kl_weibull as kl_weibull, wasserstein_normal as wasserstein_normal,
)
from lossgeo.geometry.clustering import (
    Clusters as Clusters, bregman_barycenter as bregman_barycenter, bregman_information as bregman_information,
    bregman_kmeans as bregman_kmeans,
)
from lossgeo.geometry.convex_projections import (
    projection_box as projection_box, projection_halfspace as projection_halfspace,
    projection_hyperplane as projection_hyperplane, projection_l1_ball as projection_l1_ball,
    projection_l2_ball as projection_l2_ball, projection_linf_ball as projection_linf_ball,
    projection_monotone as projection_monotone, projection_nonnegative as projection_nonnegative,
    projection_positive_semidefinite as projection_positive_semidefinite,
    projection_second_order_cone as projection_second_order_cone, projection_simplex as projection_simplex,
)
from lossgeo.geometry.curvature import (
    AlphaConnection as AlphaConnection, FisherMetric as FisherMetric, LeviCivita as LeviCivita,
    cubic_tensor as cubic_tensor, curvature_tensor as curvature_tensor, efron_curvature as efron_curvature,
    ricci_tensor as ricci_tensor, riemann_tensor as riemann_tensor, scalar_curvature as scalar_curvature,
    sectional_curvature as sectional_curvature,
)
from lossgeo.geometry.descent import (
    MirrorDescentState as MirrorDescentState, mirror_descent as mirror_descent,
    natural_gradient_descent as natural_gradient_descent, scale_by_natural_gradient as scale_by_natural_gradient,
)
from lossgeo.geometry.divergences import (
    alpha_divergence as alpha_divergence, bhattacharyya_distance as bhattacharyya_distance,
    chi_squared_divergence as chi_squared_divergence, cross_entropy as cross_entropy, entropy as entropy,
    f_divergence as f_divergence, hellinger_distance as hellinger_distance,
    jensen_shannon_divergence as jensen_shannon_divergence, kl_divergence as kl_divergence,
    kl_divergence_of_logits as kl_divergence_of_logits, renyi_divergence as renyi_divergence,
    self_information as self_information, total_variation as total_variation,
)
from lossgeo.geometry.alternating_projection import AlternatingProjection as AlternatingProjection, em as em
from lossgeo.geometry.families import (
    bernoulli as bernoulli, beta as beta, categorical as categorical, dirichlet as dirichlet,
    exponential as exponential, gamma as gamma, gaussian as gaussian, inverse_gaussian as inverse_gaussian,
    normal as normal, poisson as poisson, von_mises as von_mises,
)
from lossgeo.geometry.fisher import (
    empirical_fisher as empirical_fisher, fisher_information as fisher_information, fisher_inner as fisher_inner,
    fisher_metric as fisher_metric, monte_carlo_fisher as monte_carlo_fisher, natural_gradient as natural_gradient,
    observed_information as observed_information, pullback_metric as pullback_metric,
    pullback_product as pullback_product,
)
from lossgeo.geometry.generators import (
    burg as burg, half_squared_norm as half_squared_norm, log_sum_exp as log_sum_exp, mahalanobis as mahalanobis,
    negative_entropy as negative_entropy,
)
from lossgeo.geometry.geodesics import (
    NumericalGeodesic as NumericalGeodesic, alpha_path as alpha_path, e_geodesic as e_geodesic,
    fisher_rao_bernoulli as fisher_rao_bernoulli, fisher_rao_categorical as fisher_rao_categorical,
    fisher_rao_covariance as fisher_rao_covariance, fisher_rao_exponential as fisher_rao_exponential,
    fisher_rao_negative_binomial as fisher_rao_negative_binomial, fisher_rao_normal as fisher_rao_normal,
    fisher_rao_normal_lower_bound as fisher_rao_normal_lower_bound, fisher_rao_poisson as fisher_rao_poisson,
    geodesic_categorical as geodesic_categorical, geodesic_normal as geodesic_normal, m_geodesic as m_geodesic,
    numerical_geodesic as numerical_geodesic, numerical_geodesic_between as numerical_geodesic_between,
)
from lossgeo.geometry.information_projections import (
    Hierarchical as Hierarchical, LogLinear as LogLinear, Margins as Margins, Moments as Moments,
    Projection as Projection, maximum_entropy as maximum_entropy, project as project, sinkhorn as sinkhorn,
)
from lossgeo.geometry.matrices import (
    log_det as log_det, multivariate_normal as multivariate_normal, pack_normal as pack_normal,
    unpack_normal as unpack_normal, von_neumann as von_neumann,
)
from lossgeo.geometry.potentials import (
    Domain as Domain, Potential as Potential, dual as dual, everywhere as everywhere, potential as potential,
)
from lossgeo.geometry.projections import (
    SumsOfSquares as SumsOfSquares, column_basis as column_basis,
    effective_degrees_of_freedom as effective_degrees_of_freedom, hat_matrix as hat_matrix, leverage as leverage,
    orthogonal_projection as orthogonal_projection, ridge_smoother as ridge_smoother,
    sums_of_squares as sums_of_squares,
)
from lossgeo.geometry.quadrature import (
    half_line_rule as half_line_rule, interval_rule as interval_rule, kl_by_quadrature as kl_by_quadrature,
    real_line_rule as real_line_rule,
)
from lossgeo.geometry.simplex import (
    barycentric_to_cartesian as barycentric_to_cartesian, cartesian_to_barycentric as cartesian_to_barycentric,
    simplex_ball as simplex_ball, simplex_center as simplex_center, simplex_lattice as simplex_lattice,
    simplex_vertices as simplex_vertices,
)
# fmt: on
