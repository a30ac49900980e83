"""Certificates: the closed forms of a margin loss against what its value alone implies."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lossgeo._pytree import pytree
from lossgeo.losses.margin import DerivedLoss, MarginLoss

__all__ = ["Certificate", "verify"]

_FLAGS = ("convex", "calibrated", "proper_composite", "normalized")
_CONSTANTS = ("lipschitz", "smoothness")


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What :func:`verify` found.

    Attributes:
        loss: name of the loss.
        errors: for each closed form the largest error relative to ``1 + |value|``; ``inf`` where one side is infinite
            or NaN and the other is not.
        tolerances: the bound for each.
        disagreements: flags that differ, with the declared and the derived value.
    """

    loss: str
    errors: dict[str, float]
    tolerances: dict[str, float]
    disagreements: dict[str, tuple[bool, bool]]

    @property
    def passed(self) -> bool:
        """Whether every error is within its bound and every flag agrees."""
        return not self.failures

    @property
    def failures(self) -> list[str]:
        """Names of what fails."""
        missed = [name for name, error in self.errors.items() if not error <= self.tolerances[name]]
        return missed + list(self.disagreements)

    def __str__(self) -> str:
        """One line for each closed form."""
        lines = [f"{self.loss}: {'verified' if self.passed else 'FAILS in ' + ', '.join(self.failures)}"]
        lines += [
            f"  {name:17}{error:9.1e}  (bound {self.tolerances[name]:.0e})" for name, error in self.errors.items()
        ]
        lines += [f"  {n:17}declared {a}, derived {b}" for n, (a, b) in self.disagreements.items()]
        return "\n".join(lines)


def verify(loss: MarginLoss) -> Certificate:
    r"""Compare every closed form of a loss with the one derived from its value.

    The minimizer is checked by its meaning, that its conditional risk attains the derived minimum, and by its place
    where the derived one is a regular point; the link, by the round trip :math:`\eta(f^*(\eta)) = \eta`.

    Args:
        loss: a margin loss with concrete parameters. Methods that it does not override are derived and not compared.

    Returns:
        A :class:`Certificate`; nothing is raised.

    Example:
        >>> verify(losses.smoothed_hinge).passed
        True
    """
    bare = DerivedLoss(_Value(loss))
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    tight, loose = 64 * eps, 256 * eps**0.5
    eta = jnp.linspace(0.005, 0.995, 64)
    theta = jnp.linspace(0.0, 1.0, 64)
    u = jnp.concatenate([jnp.linspace(-5.0, 1.0, 60), jnp.asarray([-1.0, -0.5, -1e-3, 0.0])])
    v = jnp.linspace(-6.0, 6.0, 64)
    m = jnp.linspace(-7.9, 8.1, 64)
    step = jnp.asarray(np.geomspace(0.05, 5.0, 64)[::-1].copy())

    pairs = {
        "derivative": (lambda f: f.derivative(m), tight * 16),
        "bayes_risk": (lambda f: f.bayes_risk(eta), tight * 16),
        "psi": (lambda f: f.psi(theta), tight * 16),
        "conjugate": (lambda f: f.conjugate(u), tight * 16),
        "prox": (lambda f: f.prox(v, step), loose),
    }
    errors, tolerances = {}, {}
    for name, (evaluate, tolerance) in pairs.items():
        if name not in loss.undefined and _overrides(loss, name):
            errors[name], tolerances[name] = _error(evaluate(loss), evaluate(bare)), tolerance
    if _overrides(loss, "minimizer"):
        risk = bare.conditional_risk(loss.minimizer(eta), eta)
        errors["minimizer"], tolerances["minimizer"] = _error(risk, bare.bayes_risk(eta)), tight * 16
        if loss.proper_composite:
            errors["minimizer"] = max(errors["minimizer"], _error(loss.minimizer(eta), bare.minimizer(eta)) * eps**0.5)
    if loss.proper_composite:
        errors["inverse_link"] = _error(loss.inverse_link(bare.minimizer(eta)), eta)
        tolerances["inverse_link"] = loose
    for name in _CONSTANTS:
        if _overrides(loss, name):
            errors[name], tolerances[name] = _error(getattr(loss, name), getattr(bare, name)), loose + 1e-5
    flags = {name: (getattr(loss, name), getattr(bare, name)) for name in _FLAGS if _overrides(loss, name)}
    return Certificate(
        type(loss).__name__, errors, tolerances, {name: pair for name, pair in flags.items() if pair[0] != pair[1]}
    )


@pytree
class _Value:
    """The value of a loss and nothing else of it."""

    loss: MarginLoss

    def __call__(self, m: jax.Array) -> jax.Array:
        return self.loss.value(m)


def _overrides(loss: MarginLoss, name: str) -> bool:
    return getattr(type(loss), name) is not getattr(MarginLoss, name)


def _error(left: object, right: object) -> float:
    a, b = np.asarray(left, float), np.asarray(right, float)
    both = np.isfinite(a) & np.isfinite(b)
    if np.any(~both & ~((a == b) | (np.isnan(a) & np.isnan(b)))):
        return float("inf")
    difference = np.where(both, np.abs(np.where(both, a, 0) - np.where(both, b, 0)), 0)
    return float(np.max(difference / (1 + np.where(both, np.abs(b), 0)), initial=0.0))
