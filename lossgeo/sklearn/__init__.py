r"""The scikit-learn shell: any likelihood and prior as an estimator for pipelines, searches and cross-validation.

>>> from lossgeo.sklearn import MAPClassifier, MAPRegressor
>>> MAPRegressor(models.glm(dist.Gamma, links.log)).fit(X, y, sample_weight=w).fit_.summary()

This module needs scikit-learn; ``import lossgeo`` does not load it. What scikit-learn's estimators leave out is in
``fit_``, a :class:`lossgeo.Fit`: the certificate, standard errors, criteria. Data are converted to the floating type
that JAX is configured for (float32 unless ``jax_enable_x64``), which nothing here changes.
"""

from lossgeo.sklearn.classifier import MAPClassifier as MAPClassifier
from lossgeo.sklearn.regressor import MAPRegressor as MAPRegressor
