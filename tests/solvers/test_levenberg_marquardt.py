"""Levenberg-Marquardt against scipy, Newton and theory, and the coordinates in which it is finished."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from lossgeo import solvers
from lossgeo.solvers import Problem, Root, Status

pytestmark = pytest.mark.usefixtures("fast_compilation")

SOLVER = solvers.LevenbergMarquardt()
TOL = 1e-12
TIMES = np.linspace(0.0, 4.0, 30)
NOISE = np.random.default_rng(3).normal(size=30)


def residual(u, args):
    """Two exponentials; parameters in the units that ``args`` tells."""
    b = u / args["unit"]
    return b[0] * jnp.exp(-b[1] * TIMES) + b[2] * jnp.exp(-b[3] * TIMES) - args["y"]


def value(u, args):
    r = residual(u, args)
    return 0.5 * r @ r


def root(u, args):
    return Root(jax.jacfwd(residual)(u, args), residual(u, args), jnp.zeros_like(u))


def bend(u, args, v):
    second = jax.jvp(lambda w: jax.jvp(lambda z: residual(z, args), (w,), (v,))[1], (u,), (v,))[1]
    return jax.vjp(lambda z: residual(z, args), u)[1](second)[0]


TRUTH = np.array([2.0, 0.3, 5.0, 2.0])
START = np.array([1.0, 0.2, 2.0, 1.0])


def problem(noise=0.05, unit=1.0, start=START):
    unit = np.broadcast_to(unit, (4,))
    clean = np.asarray(residual(jnp.asarray(TRUTH), {"unit": 1.0, "y": 0.0}))
    args = {"unit": jnp.asarray(unit), "y": jnp.asarray(clean + noise * NOISE)}
    return Problem(value, None, args, jnp.asarray(start * unit), root=root, bend=bend)


@jax.jit
def run(given):
    state = solvers.run(SOLVER, given, SOLVER.init(given, jnp.asarray(TOL)), jnp.asarray(TOL), SOLVER.max_steps)
    return SOLVER.params(given, state), state


@jax.jit
def finish(given):
    """What a caller does where it ends: white coordinates, Newton, certificate."""
    white, whitening = solvers.whiten(given)
    newton, tol = solvers.Newton(), jnp.asarray(TOL)
    state = solvers.run(newton, white, newton.init(white, tol), tol, newton.max_steps)
    at = dataclasses.replace(white, init=state.z)
    found = solvers.certify(at, (state.value, state.grad, state.curvature), given.init, whitening)[1]
    return whitening.back(state.z), found


CERTIFY = jax.jit(solvers.certify)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_it_finds_the_least_squares_of_scipy(noise):
    given = problem(noise)
    reached, state = run(given)
    assert state.status in (Status.CONVERGED, Status.STALLED)
    polished, certificate = finish(dataclasses.replace(given, init=reached))
    np_args = jax.tree.map(np.asarray, given.args)
    peer = scipy.optimize.least_squares(
        lambda u: np.asarray(residual(jnp.asarray(u), np_args)),
        np.asarray(reached),
        method="lm",
        xtol=1e-15,
        ftol=1e-15,
    )
    assert float(value(polished, given.args)) <= peer.cost * (1 + 1e-12) + 1e-25
    # Scipy's forward differences leave it 1e-7 off where residuals are large.
    np.testing.assert_allclose(polished, peer.x, rtol=1e-5)
    assert certificate.edm <= TOL
    if noise == 0.0:
        np.testing.assert_allclose(polished, TRUTH, rtol=1e-11)


def test_units_of_the_parameters_cancel():
    plain, state = run(problem())
    scaled, other = run(problem(unit=np.array([1e6, 1e-6, 1.0, 1e3])))
    np.testing.assert_allclose(scaled / np.array([1e6, 1e-6, 1.0, 1e3]), plain, rtol=1e-6)
    assert abs(int(other.num_steps) - int(state.num_steps)) <= 2


def test_a_batch_is_what_each_member_is_alone():
    starts = jnp.asarray([START, 2.0 * START, TRUTH])
    given = problem()
    batch = jax.jit(jax.vmap(lambda start: run(dataclasses.replace(given, init=start))[0]))(starts)
    for start, together in zip(starts, batch, strict=True):
        alone = finish(dataclasses.replace(given, init=run(dataclasses.replace(given, init=start))[0]))[0]
        np.testing.assert_allclose(finish(dataclasses.replace(given, init=together))[0], alone, rtol=1e-7)


def test_the_certificate_in_white_coordinates_is_the_one_in_the_old():
    given = problem(0.2)
    polished, white = finish(dataclasses.replace(given, init=run(given)[0]))
    away = polished + 1e-4
    _, white = finish_nowhere(dataclasses.replace(given, init=away))
    _, old = CERTIFY(dataclasses.replace(given, init=away))
    np.testing.assert_allclose(white.edm, old.edm, rtol=1e-6)
    np.testing.assert_allclose(white.kkt_residual, old.kkt_residual, rtol=1e-8)
    np.testing.assert_allclose(white.hessian, old.hessian, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(white.inverse @ old.hessian, np.eye(4), atol=1e-7)
    # The old one is in units of the diagonal of the Hessian, the white one of the metric.
    ratio = np.asarray(white.step) / np.asarray(old.step)
    expected = np.linalg.norm(root(away, given.args).rows, axis=0) / np.sqrt(np.diag(old.hessian))
    np.testing.assert_allclose(ratio, expected, rtol=1e-5)
    assert np.all(white.null_weight == 0.0)
    assert white.noise < 1e-20


@jax.jit
def finish_nowhere(given):
    """The certificate in white coordinates at the start itself."""
    white, whitening = solvers.whiten(given)
    return solvers.certify(white, None, None, whitening)


def line(u, args):
    r = (u[0] + u[1] * TIMES - args["y"]) / args["scale"]
    return 0.5 * r @ r


def line_root(u, args):
    rows = jnp.stack([jnp.ones(30), jnp.asarray(TIMES)], axis=1) / args["scale"]
    return Root(rows, (u[0] + u[1] * TIMES - args["y"]) / args["scale"], jnp.zeros(2))


def test_rounding_error_is_measured_in_nats():
    # Of data of size 1 with residuals of size s, rounding makes up 1e-16 / s standard errors, a few at a time.
    for scale, low, high in ((1.0, 0.0, 1e-28), (1e-13, 1e-8, 1e-3)):
        args = {"y": jnp.asarray(1.0 + TIMES / 3.0 + scale * NOISE), "scale": jnp.asarray(scale)}
        optimum = np.linalg.lstsq(np.stack([np.ones(30), TIMES], axis=1), np.asarray(args["y"]))[0]
        certificate = finish_nowhere(Problem(line, None, args, jnp.asarray(optimum), root=line_root))[1]
        assert low <= float(certificate.noise) <= high


def test_a_start_outside_the_domain_is_said():
    _, state = run(problem(start=np.array([1.0, -1e4, 1.0, 1.0])))
    assert state.status == Status.NOT_FINITE


def test_it_needs_a_metric():
    bare = dataclasses.replace(problem(), root=None)
    with pytest.raises(ValueError, match="needs a metric"):
        SOLVER.step(bare, SOLVER.init(bare, jnp.asarray(TOL)), jnp.asarray(TOL))
