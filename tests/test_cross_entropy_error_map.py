"""The error of the softmax cross-entropy in ulp, over offsets and margins, in every floating dtype."""

import decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossgeo import numerics

pytestmark = pytest.mark.usefixtures("fast_compilation")

# Largest offset and margin: the loss of the largest margin is still a normal number.
RANGES = {jnp.float16: (2e4, 9.0), jnp.bfloat16: (1e30, 80.0), jnp.float32: (1e30, 85.0), jnp.float64: (1e300, 700.0)}


def both_signs(largest, num):
    points = np.geomspace(largest * 1e-4 if largest < 1e4 else 1.0, largest, num)
    return np.concatenate([-points[::-1], [0.0], points])


def grid(dtype):
    """Offsets over all magnitudes and, denser, of the size of the margins, where differences of logits round most."""
    offset, margin = RANGES[dtype]
    near = np.random.default_rng(0).uniform(-1.5 * margin, 1.5 * margin, 12)
    return np.concatenate([both_signs(offset, 8), near]), both_signs(margin, 14)


@pytest.mark.parametrize("dtype", RANGES, ids=lambda d: jnp.dtype(d).name)
def test_ours_stays_within_two_ulp_where_four_other_formulas_fail(dtype):
    offsets, margins = grid(dtype)
    ours = numerics.cross_entropy_error_map(jax.jit(numerics.softmax_cross_entropy), offsets, margins, dtype)
    assert ours.shape == (offsets.size, margins.size) and np.max(ours) <= 2
    bits = jnp.finfo(dtype).nmant
    for name, formula in numerics.CROSS_ENTROPY_FORMULAS.items():
        errors = numerics.cross_entropy_error_map(jax.jit(formula), offsets, margins, dtype)
        assert np.max(errors) > 2.0 ** (bits - 1), name  # no correct digit left somewhere
        failures = errors > 2
        if name == "log of softmax":  # overflow: with any large offset
            assert np.all(np.isinf(errors[offsets > 1e3]))
        elif name == "log-sum-exp less logit":  # rounding on the scale of the offset
            right = (margins > 0) & (margins < 1)
            assert np.mean(failures[np.abs(offsets) > 1e3][:, right]) > 0.2
        else:  # cancellation: right predictions, whatever the offset
            assert np.any(failures[offsets == 0][0, margins > 0])
    soft = jax.jit(
        lambda z, labels: numerics.softmax_cross_entropy_with_probs(z, jax.nn.one_hot(labels, 2, dtype=dtype))
    )
    assert np.max(numerics.cross_entropy_error_map(soft, offsets, margins, dtype)) <= 2


def test_the_truth_is_the_textbook_number():
    exact = numerics.exact_cross_entropy(jnp.array([[89.0, 0.0], [0.0, 0.0], [1e300, -1e300]]), 0)
    # The gradient of this case in 40 digits; the loss is the same number to within its square.
    np.testing.assert_allclose(float(exact[0]), 2.2273635617957438e-39, rtol=1e-15)
    assert abs(exact[1] - decimal.Decimal(2).ln()) < decimal.Decimal("1e-25")
    assert exact[2] < decimal.Decimal("1e-100000")
    three = numerics.exact_cross_entropy(jnp.array([[-1e4, -1e4, -1e4]]), 1)
    np.testing.assert_allclose(float(three[0]), np.log(3), rtol=1e-15)


def test_the_ruler():
    one = [decimal.Decimal(1)]
    eps = float(jnp.finfo(jnp.bfloat16).eps)
    np.testing.assert_array_equal(numerics.ulp_error(jnp.array([1 + eps], jnp.bfloat16), one), [1.0])
    np.testing.assert_array_equal(numerics.ulp_error(jnp.array([jnp.nan], jnp.float32), one), [np.inf])
    np.testing.assert_array_equal(
        numerics.ulp_error(jnp.array([jnp.inf], jnp.float32), [decimal.Decimal(10) ** 40]), [0.0]
    )
    with pytest.raises(ValueError, match="must keep the dtype"):
        wide = lambda z, c: numerics.softmax_cross_entropy(z.astype(jnp.float64), c)  # noqa: E731
        numerics.cross_entropy_error_map(wide, [0.0], [1.0], jnp.float32)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_sixteen_bit_derivatives_keep_dtype_and_digits(dtype):
    z = jnp.array([3.0, 0.5, -1.0], dtype)
    gradient = jax.grad(numerics.softmax_cross_entropy)(z, 0)
    exact = jax.grad(numerics.softmax_cross_entropy)(z.astype(jnp.float64), 0)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient.astype(float), exact, rtol=float(jnp.finfo(dtype).eps))
