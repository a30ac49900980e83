r"""Primal-dual interior points for losses with kinks: quantile regression, support vector machines, the lasso of both.

For the function of :mod:`lossgeo.solvers.pieces` the residuals are split, :math:`t = u - v` with :math:`u, v \ge 0`,
and the conditions of optimality are relaxed by :math:`\mu > 0`:

.. math:: A^\top y + P(z - m) = 0, \quad (h - y)\,u = \mu, \quad (y - l)\,v = \mu.

Newton's method on them is a weighted least-squares problem, :math:`(P + A^\top W A)\,dz = \ldots` with
:math:`W^{-1} = u/(h - y) + v/(y - l)`, once to predict how far :math:`\mu` can fall and once more to correct.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lossgeo import linalg
from lossgeo.solvers.pieces import Pieces, White, white_coordinates
from lossgeo.solvers.problem import Problem
from lossgeo.solvers.status import RUNNING, Status

__all__ = ["InteriorPoint", "InteriorPointState"]

TO_THE_WALL = 0.995
"""Share of the way to the nearest wall of a box that a step may go."""

SAME_SCALE = 1e6
"""Relative change of a scale, in units of the last digit, that may be rounding error."""

IDLE_STEP = 1e-6
"""Length of a step below which the arithmetic has no digits left."""


class InteriorPointState(NamedTuple):
    """Where the iteration stands.

    ``x`` are white coordinates of the minimiser; ``above`` and ``below`` its distances :math:`u, v` from the kinks;
    ``room`` and ``rise`` the distances :math:`h - y, y - l` of the slopes from the walls of their boxes.
    """

    pieces: Pieces
    white: White
    x: jax.Array
    above: jax.Array
    below: jax.Array
    room: jax.Array
    rise: jax.Array
    value: jax.Array
    edm: jax.Array
    num_steps: jax.Array
    status: jax.Array
    change: jax.Array  # relative, of a scale that is estimated, the last time it was

    @property
    def slopes(self) -> jax.Array:
        """:math:`y`, from the nearer wall, so that it keeps its digits there."""
        return jnp.where(self.rise <= self.room, self.pieces.low + self.rise, self.pieces.high - self.room)

    @property
    def point(self) -> jax.Array:
        """:math:`z`."""
        return self.pieces.center + self.white.basis @ self.x


@dataclasses.dataclass(frozen=True)
class InteriorPoint:
    """Predictor-corrector interior points, for convex losses that are piecewise linear in linear predictors.

    Takes a problem that tells its ``pieces``. The start of the parameters does not matter. ``edm`` is the duality gap
    in nats, and what a remaining imbalance of the slopes may add to it. Where a scale is estimated beside a penalty it
    starts anew with that of each minimum, until that is the same. Iterates until the arithmetic has no digits
    left; the caller then moves to the vertex nearby (:mod:`lossgeo.solvers.vertex`).

    References: Portnoy and Koenker (1997), The Gaussian hare and the Laplacian tortoise, Statist. Sci. 12, section 5;
    Mehrotra (1992), SIAM J. Optim. 2, 575; Ferris and Munson (2002), SIAM J. Optim. 13, 783 (support vectors).

    Args:
        max_steps: default budget.
    """

    max_steps: int = 100

    @property
    def name(self) -> str:
        """See :class:`lossgeo.solvers.Solver`."""
        return "interior points"

    def init(self, problem: Problem, tol: jax.Array) -> InteriorPointState:
        """See :class:`lossgeo.solvers.Solver`.

        Raises:
            ValueError: the problem does not tell its pieces.
        """
        if problem.pieces is None:
            raise ValueError(
                "solvers.InteriorPoint needs a convex loss that is piecewise linear in a linear predictor."
            )
        return self._start(problem.pieces(problem.args).without_idle_rows())

    def _start(self, pieces: Pieces) -> InteriorPointState:
        white = white_coordinates(pieces)
        width = pieces.high - pieces.low
        x = -(white.importance * white.residual) @ white.rows
        t = white.residual + white.rows @ x
        size = jnp.mean(jnp.abs(t))
        slack = 0.5 * jnp.where(size > 0, size, 1.0)
        share = jnp.clip(-pieces.low / width, 0.1, 0.9)
        state = InteriorPointState(
            pieces,
            white,
            x,
            jnp.maximum(t, 0.0) + slack,
            jnp.maximum(-t, 0.0) + slack,
            (1.0 - share) * width,
            share * width,
            jnp.zeros((), t.dtype),
            jnp.zeros((), t.dtype) + jnp.inf,
            jnp.asarray(0),
            jnp.asarray(RUNNING, jnp.int32),
            jnp.zeros((), t.dtype) + jnp.inf,
        )
        value, gap, imbalance, _ = _measure(state)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(white.rows)) & jnp.isfinite(gap + imbalance)
        status = jnp.where(finite, RUNNING, Status.NOT_FINITE).astype(jnp.int32)
        return state._replace(value=value, edm=gap + imbalance, status=status)

    def step(self, problem: Problem, state: InteriorPointState, tol: jax.Array) -> InteriorPointState:
        """See :class:`lossgeo.solvers.Solver`."""
        white = state.white
        x, above, below, room, rise = state.x, state.above, state.below, state.room, state.rise
        weights = 1.0 / (above / room + below / rise)
        matrix = white.quadratic + linalg.weighted_gram(white.rows, weights, white.rows)
        scaled, scale = linalg.equilibrate(matrix + jnp.diag(jnp.where(white.null, 1.0, 0.0)))
        eps = jnp.finfo(x.dtype).eps
        lower = jnp.linalg.cholesky(scaled + 4.0 * eps * jnp.eye(x.shape[0], dtype=x.dtype), symmetrize_input=False)
        unbalanced = -(state.slopes @ white.rows + white.quadratic @ x)
        split = -(white.residual + white.rows @ x - above + below)

        def newton(to_room: jax.Array, to_rise: jax.Array) -> tuple[jax.Array, ...]:
            """Changes of ``x``, ``above``, ``below`` and the slopes that make the products change as asked."""
            pull = to_rise / rise - to_room / room - split
            rhs = unbalanced - (weights * pull) @ white.rows
            dx = scale * jax.scipy.linalg.cho_solve((lower, True), scale * rhs)
            dy = weights * (white.rows @ dx + pull)
            return dx, (to_room + above * dy) / room, (to_rise - below * dy) / rise, dy

        def lengths(da: jax.Array, db: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
            primal = jnp.minimum(_longest(above, da), _longest(below, db))
            dual = jnp.minimum(_longest(room, -dy), _longest(rise, dy))
            both = jnp.minimum(primal, dual)
            # With a quadratic, the balance of slopes and curvature is kept only by equal steps.
            curved = jnp.any(state.pieces.strength > 0)
            return jnp.where(curved, both, primal), jnp.where(curved, both, dual)

        num = 2 * above.shape[0]
        mu = (room @ above + rise @ below) / num
        _, da, db, dy = newton(-room * above, -rise * below)
        primal, dual = (jnp.minimum(1.0, length) for length in lengths(da, db, dy))
        aimed = (room - dual * dy) @ (above + primal * da) + (rise + dual * dy) @ (below + primal * db)
        target = mu * jnp.clip(aimed / num / mu, 0.0, 1.0) ** 3
        dx, da, db, dy = newton(target - room * above + dy * da, target - rise * below - dy * db)
        primal, dual = (jnp.minimum(1.0, TO_THE_WALL * length) for length in lengths(da, db, dy))
        moved = state._replace(
            x=x + primal * dx,
            above=above + primal * da,
            below=below + primal * db,
            room=room - dual * dy,
            rise=rise + dual * dy,
        )
        value, gap, imbalance, size = _measure(moved)
        usable = jnp.isfinite(gap + imbalance) & jnp.isfinite(value)

        def keep(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(usable, new, old)

        edm = keep(gap + imbalance, state.edm)
        settled = (imbalance <= eps * size) | (edm > 0.5 * state.edm)
        done = usable & (gap <= eps * size) & settled
        stuck = ~usable | (jnp.maximum(primal, dual) < IDLE_STEP)
        status = jnp.where(done, Status.CONVERGED, jnp.where(stuck, Status.STALLED, RUNNING)).astype(jnp.int32)
        ended = InteriorPointState(
            state.pieces,
            white,
            keep(moved.x, x),
            keep(moved.above, above),
            keep(moved.below, below),
            keep(moved.room, room),
            keep(moved.rise, rise),
            keep(value, state.value),
            edm,
            state.num_steps + 1,
            status,
            state.change,
        )
        if state.pieces.scale is None:
            return ended
        return jax.lax.cond(status == Status.CONVERGED, self._rescaled, lambda state: state, ended)

    def _rescaled(self, state: InteriorPointState) -> InteriorPointState:
        """The start with the scale of the minimum that was found, or its end if that is the scale it had."""
        pieces = state.pieces
        assert pieces.scale is not None and pieces.total is not None
        loss = pieces.loss(state.point)
        scale, collapsed = loss / pieces.total, loss <= pieces.loss_noise(state.point)
        change = jnp.abs(scale / pieces.scale - 1.0)
        eps = jnp.finfo(change.dtype).eps
        rounding = (change <= SAME_SCALE * eps) & (change >= 0.5 * state.change)
        same = (change <= 16.0 * eps) | rounding | collapsed | ~jnp.isfinite(scale)
        again = self._start(pieces.at_scale(jnp.where(same, pieces.scale, scale)))
        again = again._replace(num_steps=state.num_steps, change=change)
        return jax.tree.map(lambda old, new: jnp.where(same, old, new), state, again)

    def params(self, problem: Problem, state: InteriorPointState) -> jax.Array:
        """The point, shape ``(p,)``."""
        return state.point


def _longest(value: jax.Array, change: jax.Array) -> jax.Array:
    """Longest step, at most twice the whole one, that keeps positive values positive."""
    shrinks = change < 0
    return jnp.min(jnp.where(shrinks, -value / jnp.where(shrinks, change, -1.0), 2.0), initial=2.0)


def _measure(state: InteriorPointState) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Value, complementarity, what the imbalance of the slopes may be worth, and the size of the terms; in nats."""
    pieces, white = state.pieces, state.white
    t = white.residual + white.rows @ state.x
    quadratic = state.x @ white.quadratic @ state.x
    gap = state.room @ state.above + state.rise @ state.below
    left = jnp.linalg.norm(state.slopes @ white.rows + white.quadratic @ state.x)
    reach = jnp.sqrt(jnp.sum(white.importance * jnp.square(t)) + white.stiffness * quadratic)
    value = jnp.sum(jnp.maximum(pieces.low * t, pieces.high * t)) + 0.5 * quadratic
    size = jnp.sum((pieces.high - pieces.low) * jnp.abs(t)) + quadratic
    return value, gap, left * reach, size
