"""Inference from a fit: covariances, intervals, the summary table. The methods of ``lg.Fit`` call these functions."""

from lossgeo.inference.covariance import Fitted as Fitted
from lossgeo.inference.covariance import covariance as covariance
from lossgeo.inference.covariance import standard_errors as standard_errors
from lossgeo.inference.criteria import Criteria as Criteria
from lossgeo.inference.criteria import criteria as criteria
from lossgeo.inference.geometry import Deviance as Deviance
from lossgeo.inference.geometry import FitGeometry as FitGeometry
from lossgeo.inference.geometry import geometry_of as geometry_of
from lossgeo.inference.intervals import wald_interval as wald_interval
from lossgeo.inference.quantiles import hall_sheather_bandwidth as hall_sheather_bandwidth
from lossgeo.inference.quantiles import quantile_covariance as quantile_covariance
from lossgeo.inference.resampling import resampling_weights as resampling_weights
from lossgeo.inference.summary import Summary as Summary
from lossgeo.inference.summary import summarize as summarize
