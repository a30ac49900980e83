"""lossgeo: certified maximum-likelihood and maximum-a-posteriori estimation, and the geometry of losses."""

from lossgeo import dictionary as dictionary
from lossgeo import distributions as distributions
from lossgeo import geometry as geometry
from lossgeo import likelihoods as likelihoods
from lossgeo import links as links
from lossgeo import losses as losses
from lossgeo import models as models
from lossgeo import priors as priors
from lossgeo import solvers as solvers
from lossgeo import supports as supports
from lossgeo.dictionary import explain as explain
from lossgeo.fitting import Fit as Fit
from lossgeo.fitting import FitError as FitError
from lossgeo.fitting import fit as fit
from lossgeo.inference import geometry_of as geometry_of
from lossgeo.likelihoods import likelihood as likelihood
from lossgeo.likelihoods import pseudo_likelihood as pseudo_likelihood
from lossgeo.objective import Objective as Objective
from lossgeo.objective import map_objective as map_objective
from lossgeo.paths import cross_validate as cross_validate
from lossgeo.paths import multistart as multistart
from lossgeo.paths import path as path
from lossgeo.solvers import Status as Status
from lossgeo.solving import Solution as Solution
from lossgeo.solving import solve as solve
