"""What zero inflation and the hurdle share: a base and the probability of a zero beside it."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lossgeo import numerics
from lossgeo.distributions.composition import batch_shape_of, draw_batch, is_discrete, ranks
from lossgeo.distributions.distribution import Distribution, lacks, one_of, promote
from lossgeo.distributions.quantile import discrete_quantile


class ZeroModified(Distribution):
    r"""A base whose draws are 0 with probability :math:`\pi`, for a reason of their own.

    Hyper-parameters in the order of ``fisher_information``: those of the base, then the probability or its log-odds.
    """

    base: Any
    probability: ArrayLike | None
    logits: ArrayLike | None

    replaces_zeros: ClassVar[bool] = False
    """Whether the zeros of the base itself are lost."""

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """What the shapes of the base and of the probability broadcast to."""
        given = self.probability if self.logits is None else self.logits
        return jnp.broadcast_shapes(batch_shape_of(self.base), jnp.shape(given))  # type: ignore[arg-type]

    def _check(self) -> None:
        """Raise unless the base makes sense."""
        raise NotImplementedError

    def _zero(self) -> tuple[jax.Array, jax.Array]:
        """The probability of a zero beside the base and its complement, from whichever was given."""
        one_of(self, probability=self.probability, logits=self.logits)
        if self.logits is None:
            zero = jnp.asarray(self.probability)  # a Python number stays weakly typed
            return zero, 1 - zero
        return numerics.sigmoid(self.logits), numerics.sigmoid(-jnp.asarray(self.logits))

    def _with_zero(self, value: ArrayLike) -> jax.Array:
        r""":math:`\log(\pi + (1 - \pi) e^v)`."""
        value, zero, rest = promote(value, *self._zero())
        pair = jnp.stack(jnp.broadcast_arrays(jnp.zeros_like(value), value), axis=-1)
        weights = jnp.stack(jnp.broadcast_arrays(zero, rest), axis=-1)
        return numerics.log_mixture(*jnp.broadcast_arrays(*promote(pair, weights)))

    def _positive(self) -> Any:
        """What is drawn from beside the zeros."""
        return self.base

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """See :meth:`Distribution.sample`; of the dtype of the base."""
        self._check()
        zero_key, key = jax.random.split(key)
        (zero,) = promote(self._zero()[0])
        zeros = jax.random.bernoulli(zero_key, jnp.broadcast_to(zero, (*shape, *self.batch_shape)))
        return jnp.where(zeros, 0, draw_batch(self._positive(), key, shape, self.batch_shape))

    def icdf(self, q: ArrayLike) -> jax.Array:
        """See :meth:`Distribution.icdf`; of counts."""
        self._check()
        if not is_discrete(self.base):
            raise lacks(self, "closed-form quantile function for a base with a density")
        high = getattr(self.base.support, "high", jnp.inf)
        return discrete_quantile(self, q, jnp.where(promote(self._zero()[1])[0] > 0, high, 0))

    def _at_zero(self) -> tuple[jax.Array, jax.Array]:
        r"""The probability :math:`f_0` of a zero under the base and :math:`1 - f_0`; 0 and 1 for a density."""
        if not is_discrete(self.base):
            nothing = jnp.zeros(batch_shape_of(self.base), jnp.result_type(float, *jax.tree.leaves(self.base)))
            return nothing, 1 + nothing
        value = self.base.log_prob(jnp.zeros((), jnp.result_type(float, *jax.tree.leaves(self.base))))
        return jnp.exp(value), -jnp.expm1(value)

    def entropy(self) -> jax.Array:
        r"""That of the base, whose positive values become :math:`s` times as probable, and of the zeros.

        .. math:: s\,(H + f_0\log f_0) - s\,(1 - f_0)\log s - p_0\log p_0

        For amounts, with respect to the Lebesgue measure and a point mass at 0.
        """
        self._check()
        found = ranks(*promote(self.base.entropy(), *self._at_zero(), *self._zero()))
        entropy, at_zero, positive, zero, rest = (jnp.broadcast_to(v, self.batch_shape) for v in found)
        kept, total = (rest / positive, zero) if self.replaces_zeros else (rest, zero + rest * at_zero)
        entr = jax.scipy.special.entr
        return kept * (entropy - entr(at_zero)) + positive * entr(kept) + entr(total)

    def fisher_information(self) -> jax.Array:
        r"""From that of the base, :math:`F`, and the score :math:`s_0` of the base at 0.

        With :math:`m = 1 - f_0` and the probability :math:`p_0` of a zero, for the hurdle the blocks
        :math:`\tfrac{1 - \pi}{m}[F - \tfrac{f_0}{m} s_0 s_0^\top]` and :math:`\tfrac{1}{\pi(1 - \pi)}`, else

        .. math:: \begin{pmatrix} (1 - \pi)[F - \tfrac{\pi f_0}{p_0} s_0 s_0^\top] & \tfrac{f_0}{p_0} s_0 \\
            \cdot & \tfrac{m}{p_0(1 - \pi)}\end{pmatrix}

        Raises:
            NotImplementedError: the base has none, or hyper-parameters that are no scalars.
        """
        self._check()
        zero, rest = (jnp.broadcast_to(v, self.batch_shape) for v in ranks(*promote(*self._zero())))
        inner = self.base.fisher_information()
        k = inner.shape[-1]
        inner = jnp.broadcast_to(inner, (*self.batch_shape, k, k)).astype(zero.dtype)
        at_zero, positive = (jnp.broadcast_to(v, self.batch_shape) for v in self._at_zero())
        score = self._score_at_zero(k)
        outer = score[..., :, None] * score[..., None, :]

        def entries(value: jax.Array) -> jax.Array:
            return value[..., None, None]

        if self.replaces_zeros:
            block = entries(rest / positive) * (inner - entries(at_zero / positive) * outer)
            mixed, last = jnp.zeros_like(score), 1 / (zero * rest)
        else:
            total = zero + rest * at_zero
            block = entries(rest) * (inner - entries(zero * at_zero / total) * outer)
            mixed, last = (at_zero / total)[..., None] * score, positive / (total * rest)
        if self.logits is not None:  # the derivative of the probability
            slope = zero * rest
            mixed, last = mixed * slope[..., None], last * slope * slope
        top = jnp.concatenate([block, mixed[..., None]], axis=-1)
        bottom = jnp.concatenate([mixed, last[..., None]], axis=-1)
        return jnp.concatenate([top, bottom[..., None, :]], axis=-2)

    def _score_at_zero(self, size: int) -> jax.Array:
        """Derivatives of the log-probability of 0 under the base, shape ``(*batch, size)``; zeros for a density."""
        leaves, tree = jax.tree.flatten(self.base)
        batch = self.batch_shape
        if len(leaves) != size:
            raise lacks(self, f"closed-form Fisher information with a {type(self.base).__name__} as its base")
        leaves = [jnp.broadcast_to(v, batch).ravel() for v in ranks(*promote(*leaves))]
        if not is_discrete(self.base):
            return jnp.zeros((*batch, size), leaves[0].dtype)

        def at_zero(theta: jax.Array) -> jax.Array:
            return jax.tree.unflatten(tree, list(theta)).log_prob(jnp.zeros((), theta.dtype))

        return jax.vmap(jax.grad(at_zero))(jnp.stack(leaves, axis=-1)).reshape(*batch, size)
