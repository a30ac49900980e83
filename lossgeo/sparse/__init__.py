"""Fits with many coefficients under sparse priors, driven from the host.

* ``working_sets``, ``working_kernels``, ``working_faces``: single coefficients, rows of any smooth kind; the loop, its
  compiled parts, and the certificate on the coefficients that are not 0.
* ``group_sets``, ``group_kernels``, ``group_faces``, ``group_paths``: the same for groups of coefficients.
* ``quadratics``, ``candidates``, ``quadratic_fits``, ``wide_paths``: rows that are quadratic, exact active sets on
  second moments with nothing to compile.
"""
