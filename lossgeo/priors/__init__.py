r"""Priors: log-densities of parameters, declared as a tree of distributions, as a function, or not at all.

================================================  ===============================================================
what is declared                                  what it is
================================================  ===============================================================
``None``                                          flat: maximum likelihood
``dist.Normal(0.0, 1.0)``                         the same for every parameter
``{"coef": dist.Laplace(0.0, 0.1), ...}``         a tree prefix; ``None`` or ``dist.Flat(support)`` within it is flat
``dist.Fixed(value)`` in the tree                 held, not estimated
``Tied("name")`` in the tree                      equal to another parameter, or to a function of it
``lambda p: {"a": dist.Normal(p["m"], p["s"])}``  a hierarchy, *centered*: ``m`` and ``s`` are parameters too
``lambda params: ...`` of shape ``()``            a bare log-density
``Jeffreys(likelihood)``                          :math:`\tfrac12\log\det I(\theta)`: Firth's bias reduction
================================================  ===============================================================

*Non-centered*, the same hierarchy has ``{"raw": dist.Normal(0.0, 1.0)}`` as its prior and
``a = params["m"] + params["s"] * params["raw"]`` in its model. As posteriors both are one; their modes differ, because
a mode depends on the coordinates, and the centered one often does not exist: the density is unbounded where ``s`` goes
to 0 with every ``a`` at ``m``.
"""

from lossgeo.priors.declared import Entry as Entry
from lossgeo.priors.declared import FunctionPrior as FunctionPrior
from lossgeo.priors.declared import Prior as Prior
from lossgeo.priors.declared import TreePrior as TreePrior
from lossgeo.priors.declared import prior as prior
from lossgeo.priors.jeffreys import Jeffreys as Jeffreys
from lossgeo.priors.tied import Tied as Tied
