"""Primitives against extended precision, in ulp of the result, and their derivatives against theory, at the edges."""

import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from lossgeo import numerics

DTYPES = [np.float32, np.float64]
LONG = np.longdouble


pytestmark = pytest.mark.usefixtures("fast_compilation")


def ulps(actual, exact):
    """Error in units of the last place of the exact value."""
    actual, exact = np.asarray(actual), np.asarray(exact, LONG)
    spacing = np.spacing(np.abs(exact).astype(actual.dtype)).astype(LONG)
    return np.max(np.abs(actual.astype(LONG) - exact) / spacing)


def tails(dtype, largest):
    """Points of both signs from 1e-6 to ``largest``, exactly representable in ``dtype``."""
    x = np.concatenate([np.geomspace(1e-6, largest, 400), np.linspace(0.1, 3.0, 200)]).astype(dtype)
    return np.concatenate([-x[::-1], np.zeros(1, dtype), x])


# The elementary functions of XLA on CPU are good to about 2 ulp each; four of them meet in a value at most.
ULPS = 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_softplus_and_sigmoid_keep_their_digits_in_both_tails_to_third_order(dtype):
    x = tails(dtype, 80.0)
    long = x.astype(LONG)
    decay = np.exp(-np.abs(long))
    p, q = np.where(long < 0, decay, 1) / (1 + decay), np.where(long > 0, decay, 1) / (1 + decay)
    softplus = np.maximum(long, 0) + np.log1p(decay)
    assert numerics.softplus(x).dtype == dtype
    assert ulps(numerics.softplus(x), softplus) <= ULPS
    assert ulps(numerics.sigmoid(x), p) <= ULPS
    first = jax.jit(jax.vmap(jax.grad(numerics.softplus)))
    second = jax.jit(jax.vmap(jax.grad(jax.grad(numerics.softplus))))
    third = jax.jit(jax.vmap(jax.grad(jax.grad(jax.grad(numerics.softplus)))))
    assert ulps(first(x), p) <= ULPS
    assert ulps(second(x), p * q) <= ULPS
    # q - p vanishes at 0: there the error is relative to p q, whose ulp is 1/4 eps at most.
    np.testing.assert_allclose(third(x), p * q * (q - p), rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
    away = np.abs(x) > 1
    assert ulps(np.asarray(third(x))[away], (p * q * (q - p))[away]) <= 2 * ULPS


def test_softplus_at_infinity():
    ends = jnp.array([-jnp.inf, jnp.inf])
    np.testing.assert_array_equal(numerics.softplus(ends), [0.0, jnp.inf])
    for order, wanted in enumerate(([0.0, 1.0], [0.0, 0.0]), start=1):
        fn = numerics.softplus
        for _ in range(order):
            fn = jax.grad(fn)
        np.testing.assert_array_equal(jax.vmap(fn)(ends), wanted)
    assert jnp.isnan(numerics.softplus(jnp.nan))


HARD = jax.jit(jax.vmap(jax.grad(numerics.softmax_cross_entropy)))
SOFT = jax.jit(jax.vmap(jax.grad(numerics.softmax_cross_entropy_with_probs)))


def cross_entropy_reference(z, labels):
    """Loss, gradient and Hessian in extended precision, summing the other classes only."""
    z = z.astype(LONG)
    n, num_classes = z.shape
    loss, gradient = np.zeros(n, LONG), np.zeros(z.shape, LONG)
    for i, c in enumerate(labels):
        top = z[i].argmax()
        rest = np.exp(np.delete(z[i], top) - z[i, top]).sum()
        loss[i] = (z[i, top] - z[i, c]) + np.log1p(rest)
        gradient[i] = np.exp(z[i] - z[i, top]) / (1 + rest)
        gradient[i, c] = -np.delete(gradient[i], c).sum()
    return loss, gradient


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 3.0, -1e3, 1e6])
def test_softmax_cross_entropy_is_accurate_for_all_offsets_and_margins(dtype, offset):
    margins = np.concatenate([-np.geomspace(1e-3, 60, 40), [0.0], np.geomspace(1e-3, 60, 40)])
    others = np.random.default_rng(0).normal(size=(margins.size, 3)) - 3.0
    z = np.concatenate([margins[:, None], np.zeros((margins.size, 1)), others], axis=1)
    z = (np.round(z * 2**12) / 2**12 + offset).astype(dtype)  # differences of logits are exact in either dtype
    for label in range(3):
        labels = np.full(margins.size, label)
        loss, gradient = cross_entropy_reference(z, labels)
        value = numerics.softmax_cross_entropy(z, labels)
        assert value.dtype == dtype
        assert ulps(value, loss) <= ULPS
        assert ulps(HARD(z, labels), gradient) <= 2 * ULPS
        onehot = np.eye(5, dtype=dtype)[labels]
        assert ulps(numerics.softmax_cross_entropy_with_probs(z, onehot), loss) <= ULPS
        soft = SOFT(z, onehot)
        assert ulps(soft, gradient) <= 2 * ULPS


def test_softmax_cross_entropy_regressions():
    """The cases in which other libraries return 0; the exact values are log1p(exp(-20)) and log 2."""
    f32 = jnp.float32
    np.testing.assert_allclose(numerics.softmax_cross_entropy(f32([20, 0]), 0), math.log1p(math.exp(-20)), rtol=2e-7)
    np.testing.assert_allclose(numerics.softmax_cross_entropy(f32([1e8, 1e8]), 1), math.log(2), rtol=2e-7)
    np.testing.assert_allclose(
        numerics.softmax_cross_entropy(jnp.array([0.0, 40.0]), 1), 4.248354255291589e-18, rtol=1e-15
    )
    np.testing.assert_allclose(numerics.softmax_cross_entropy(f32([3.0] * 1000), 5), math.log(1000), rtol=3e-7)
    curvature = math.exp(-20) / (1 + math.exp(-20)) ** 2
    for label in (0, 1):
        hessian = jax.jit(jax.hessian(numerics.softmax_cross_entropy))(f32([20, 0]), label)
        np.testing.assert_allclose(hessian, curvature * np.array([[1, -1], [-1, 1]]), rtol=1e-6)


def test_softmax_cross_entropy_edges():
    loss = numerics.softmax_cross_entropy
    masked = jnp.array([1.0, -jnp.inf, 0.0])
    np.testing.assert_allclose(loss(masked, 0), math.log1p(math.exp(-1)), rtol=1e-15)
    assert loss(masked, 1) == jnp.inf
    for derivative in (jax.grad, jax.hessian, lambda f: jax.jacfwd(jax.hessian(f))):
        assert jnp.all(jnp.isfinite(jax.jit(derivative(loss))(masked, 0)))
    np.testing.assert_array_equal(jax.grad(loss)(masked, 0)[1], 0.0)
    assert jnp.isnan(loss(masked, 3)) and jnp.isnan(loss(masked, -1))
    assert jnp.all(jnp.isnan(jax.grad(loss)(masked, -1)))
    assert jnp.isnan(loss(jnp.array([jnp.nan, 0.0]), 1))
    np.testing.assert_array_equal(loss(jnp.zeros((1, 1)), jnp.zeros(1, int)), 0.0)


def test_softmax_cross_entropy_checks_shapes_and_dtypes():
    with pytest.raises(ValueError, match="integer dtype"):
        numerics.softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(2))
    with pytest.raises(ValueError, match=r"\(2, 3\) and labels \(2, 1\)"):
        numerics.softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros((2, 1), int))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3,\)"):
        numerics.softmax_cross_entropy_with_probs(jnp.zeros((2, 3)), jnp.zeros(3))


@pytest.mark.parametrize("total", [1.0, 0.4, 2.5])
def test_soft_targets_of_any_total(total):
    """Gradient (sum p) q - p, Hessian (sum p)(diag q - q q'), and mixed derivatives, against plain formulas."""
    z = jnp.array([0.3, -1.2, 2.0, 0.1])
    p = total * jnp.array([0.1, 0.0, 0.6, 0.3])
    q = jax.nn.softmax(z)
    loss = numerics.softmax_cross_entropy_with_probs
    tolerance = {"rtol": 1e-14, "atol": 1e-15}  # sums of four products, a few ulp of 1
    np.testing.assert_allclose(loss(z, p), -jnp.sum(p * jax.nn.log_softmax(z)), **tolerance)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(z, p), total * q - p, **tolerance)
    np.testing.assert_allclose(jax.jit(jax.grad(loss, 1))(z, p), -jax.nn.log_softmax(z), **tolerance)
    np.testing.assert_allclose(jax.jit(jax.hessian(loss))(z, p), total * (jnp.diag(q) - jnp.outer(q, q)), **tolerance)
    mixed = q[:, None] - jnp.eye(4)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(jax.grad(loss), 1))(z, p), mixed, **tolerance)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(jax.grad(loss, 1), 0))(z, p), mixed.T, **tolerance)
    np.testing.assert_allclose(jax.jit(jax.hessian(loss, 1))(z, p), jnp.zeros((4, 4)))


def test_masked_classes_with_target_zero_contribute_nothing():
    z, p = jnp.array([1.0, 0.0, -jnp.inf]), jnp.array([0.3, 0.9, 0.0])
    loss = numerics.softmax_cross_entropy_with_probs
    np.testing.assert_allclose(loss(z, p), loss(z[:2], p[:2]), rtol=1e-15)
    for argnums in (0, 1):
        gradient = jax.jit(jax.grad(loss, argnums))
        np.testing.assert_allclose(gradient(z, p)[:2], gradient(z[:2], p[:2]), rtol=1e-15)
        assert gradient(z, p)[2] == 0
        assert jnp.all(jnp.isfinite(jax.jit(jax.hessian(loss, argnums))(z, p)))
        assert jnp.all(jnp.isfinite(jax.jit(jax.jacfwd(loss, argnums))(z, p)))
    assert loss(z, jnp.array([0.0, 0.5, 0.5])) == jnp.inf
    assert jnp.all(jnp.isfinite(jax.grad(loss)(z, jnp.array([0.0, 0.5, 0.5]))))


def plain_cross_entropy(z, label):
    return jax.nn.logsumexp(z) - z[label]


def test_hand_written_derivatives_agree_with_automatic_ones_to_third_order():
    """Where the plain formula does not cancel, automatic differentiation of it is the reference; also under vmap."""
    z = jnp.asarray(np.random.default_rng(1).normal(size=(20, 4)))
    labels = jnp.arange(20) % 4
    ours, plain = numerics.softmax_cross_entropy, plain_cross_entropy
    for derivative in (lambda f: f, jax.grad, jax.hessian, lambda f: jax.jacfwd(jax.hessian(f))):
        actual, wanted = (jax.jit(jax.vmap(derivative(f)))(z, labels) for f in (ours, plain))
        np.testing.assert_allclose(actual, wanted, rtol=1e-13, atol=2e-15)  # a few ulp of 1: the plain one cancels
    np.testing.assert_array_equal(ours(z, labels), jax.vmap(ours)(z, labels))
    np.testing.assert_array_equal(ours(z, labels), jnp.stack([ours(row, c) for row, c in zip(z, labels, strict=True)]))
    directions = jnp.asarray(np.random.default_rng(2).normal(size=z.shape))
    slope = jax.jvp(lambda v: ours(v, labels), (z,), (directions,))[1]
    step = 1e-3  # fourth-order central differences: truncation about 1e-12, rounding about 1e-13
    at = [ours(z + k * step * directions, labels) for k in (-2, -1, 1, 2)]
    np.testing.assert_allclose(slope, (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step), atol=2e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_and_its_jacobian(dtype):
    z = np.array([20.0, 0.0, -3.0], dtype)
    long = np.exp(z.astype(LONG) - 20)
    q = long / long.sum()
    others = np.array([q[1] + q[2], q[0] + q[2], q[0] + q[1]])
    jacobian = np.diag(q * others) - np.outer(q, q) * (1 - np.eye(3))
    assert ulps(numerics.softmax(z), q) <= ULPS
    assert ulps(jax.jacrev(numerics.softmax)(z), jacobian) <= 2 * ULPS
    np.testing.assert_array_equal(numerics.softmax(jnp.array([0.0, -jnp.inf])), [1.0, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1mexp(dtype):
    x = np.concatenate([np.geomspace(1e-6, 80, 500), np.linspace(0.6, 1.2, 600)]).astype(dtype)
    long = x.astype(LONG)
    p = np.exp(-long)
    assert ulps(numerics.log1mexp(x), np.where(long < 1, np.log(-np.expm1(-long)), np.log1p(-p))) <= ULPS
    first, second = p / -np.expm1(-long), -p / np.expm1(-long) ** 2
    assert ulps(jax.jit(jax.vmap(jax.grad(numerics.log1mexp)))(x), first) <= ULPS
    assert ulps(jax.jit(jax.vmap(jax.grad(jax.grad(numerics.log1mexp))))(x), second) <= 2 * ULPS
    ends = jnp.array([0.0, jnp.inf, -1.0])
    np.testing.assert_array_equal(numerics.log1mexp(ends), [-jnp.inf, 0.0, jnp.nan])
    far = dtype(1000.0)  # exp(1000) overflows
    assert all(jax.jit(d(numerics.log1mexp))(far) == 0 for d in (jax.grad, lambda f: jax.grad(jax.grad(f))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_ndtr_keeps_its_digits_above_zero(dtype):
    x = np.array([0.1, 1.0, 3.0, 5.0, 6.5, 7.9, 9.0], dtype)
    upper = scipy.special.ndtr(-x.astype(float))
    np.testing.assert_allclose(numerics.log_ndtr(x), np.log1p(-upper), rtol=50 * np.finfo(dtype).eps)
    lower = np.array([-30.0, -3.0, -0.1], dtype)
    exact = scipy.special.log_ndtr(lower.astype(float))
    np.testing.assert_allclose(numerics.log_ndtr(lower), exact, rtol=8 * np.finfo(dtype).eps)


def test_incomplete_gamma_and_beta_agree_with_scipy_in_both_tails():
    a = np.array([0.3, 1.0, 2.4, 30.0, 1e4])[:, None]
    level = np.array([1e-200, 1e-30, 1e-3, 0.2, 0.5, 0.8])
    tails = jax.jit(numerics.log_gamma_tails)
    for which, quantile in enumerate((scipy.special.gammaincinv, scipy.special.gammainccinv)):
        x = quantile(a, level)
        fine = (x > 1e-290) & (x < 1e290)
        exact = (scipy.special.gammainc, scipy.special.gammaincc)[which](a, x)
        value = tails(np.broadcast_to(a, x.shape), np.where(fine, x, 1.0))[which]
        np.testing.assert_allclose(np.where(fine, value, 0), np.log(np.where(fine, exact, 1)), rtol=1e-12, atol=1e-12)
    b = np.array([0.5, 2.0, 40.0])[:, None, None]
    x = np.minimum(scipy.special.betaincinv(a, b, level), 0.9)
    shapes = [np.broadcast_to(v, x.shape) for v in (a, b)]
    below, above = jax.jit(numerics.log_beta_tails)(*shapes, np.maximum(x, 1e-290), 1 - x)
    fine = (x > 1e-290) & (x < 0.9)
    exact = np.log(np.where(fine, scipy.special.betainc(a, b, x), 1))
    np.testing.assert_allclose(np.where(fine, below, 0), exact, rtol=1e-11, atol=1e-12)
    exact = np.log1p(-np.where(fine, scipy.special.betainc(a, b, x), 0))  # at most 0.8: no cancellation
    np.testing.assert_allclose(np.where(fine, above, 0), exact, rtol=1e-11, atol=1e-11)


def remainder_series(x, order):
    """Derivative of (x - log(1 + x)) / x**2 by its Taylor series in exact fractions; for |x| <= 1/2."""
    x, total = fractions.Fraction(float(x)), fractions.Fraction(0)
    power = fractions.Fraction(1)
    for k in range(order, 70):
        total += power * fractions.Fraction((-1) ** k * math.perm(k, order), k + 2)
        power = fractions.Fraction(power * x).limit_denominator(10**40) if k > 10 else power * x
    return float(total)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_remainder(dtype):
    small = np.array([-0.45, -0.3999, -0.1, -1e-3, -1e-8, 0.0, 1e-30, 1e-8, 1e-3, 0.2, 0.45], dtype)
    large = np.concatenate([np.linspace(0.5, 3, 60), np.geomspace(3, 1e20, 60), -np.linspace(0.41, 0.999, 60)]).astype(
        dtype
    )
    long = large.astype(LONG)
    assert ulps(numerics.log1p_remainder(small), [remainder_series(x, 0) for x in small]) <= ULPS
    # From 0.6 on, x - log1p(x) loses a factor of at most 4.4 and below -0.4 one of 4.6.
    assert ulps(numerics.log1p_remainder(large), (long - np.log1p(long)) / long**2) <= 2 * ULPS
    derivative = numerics.log1p_remainder
    for order in (1, 2, 3):
        derivative = jax.grad(derivative)
        inside = small[1:]  # the series branch; the derivatives of the other lose a factor 1 / 0.4 per order
        exact = np.array([remainder_series(x, order) for x in inside])
        # Differentiated Horner schemes of 14 terms: rounding of some ten ulp.
        np.testing.assert_allclose(jax.jit(jax.vmap(derivative))(inside), exact, rtol=20 * np.finfo(dtype).eps)
    assert numerics.log1p_remainder(jnp.float64(-1.0)) == jnp.inf


def test_stirling_remainder():
    """Against exact factorials, the first term far out, and continuity of the derivatives at the switch."""
    for n in (1, 2, 5, 9, 10, 11, 20, 30):
        exact = LONG(0)
        for k in range(1, n):
            exact += np.log(LONG(k))
        exact += (
            n - (n - LONG(0.5)) * np.log(LONG(n)) - LONG(0.5) * np.log(2 * LONG(np.pi) + LONG(2.4492935982947064e-16))
        )
        # Absolute below 10 (the error of gammaln, of size up to 13); relative above, where the reference itself
        # carries some 1e-17.
        np.testing.assert_allclose(
            numerics.stirling_remainder(float(n)), float(exact), rtol=2e-14, atol=6e-15 * (n < 10)
        )
    np.testing.assert_allclose(numerics.stirling_remainder(1e10), 1 / 12e10, rtol=1e-15)
    np.testing.assert_array_equal(numerics.stirling_remainder(jnp.array([0.0, jnp.inf])), [jnp.inf, 0.0])
    left, right = jnp.float64(10.0) * (1 - 1e-15), jnp.float64(10.0)
    derivative = numerics.stirling_remainder
    for _ in range(3):
        derivative = jax.grad(derivative)
        compiled = jax.jit(derivative)
        # Digamma and its derivatives at 10 are of size 2.3 and less, with errors of a few ulp.
        np.testing.assert_allclose(compiled(left), compiled(right), rtol=0, atol=2e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_derivatives_of_the_stirling_remainder(dtype):
    """Three of them, against the recurrence from 60 steps further out in long double."""
    x = np.geomspace(1e-3, 9.999, 300).astype(dtype)
    far, near, eps = x.astype(LONG) + 60, x.astype(LONG), np.finfo(dtype).eps
    derivative = numerics.stirling_remainder
    for k in (1, 2, 3):
        derivative = jax.grad(derivative)
        series = [1 / (12 * far), -1 / (360 * far**3), 1 / (1260 * far**5), -1 / (1680 * far**7)]
        exact = sum(s * math.prod(range(2 * i + 1, 2 * i + 1 + k)) / far**k for i, s in enumerate(series))
        sums = math.factorial(k - 1) * sum(1 / (near + j) ** k for j in range(60))

        def smooth(v, k=k):
            leading = -np.log(v) if k == 1 else math.factorial(k - 2) / v ** (k - 1)
            return leading + math.factorial(k - 1) / (2 * v**k)

        exact = (-1) ** k * (exact + smooth(far) - smooth(near) + sums)
        found = np.asarray(jax.jit(jax.vmap(derivative))(x))
        # Relative to the polygamma function of that order; the first is 0 at 1.46.
        size = abs(smooth(near)) + (k == 1)
        np.testing.assert_array_less(np.abs(found - exact) / size, 16 * eps)


def test_python_numbers_integers_and_numpy_arrays_are_accepted():
    assert numerics.softplus(0.5).dtype == jnp.float64
    assert (jnp.float32(1) + numerics.log1mexp(0.5)).dtype == jnp.float32  # weakly typed
    assert numerics.sigmoid(np.array([0, 1])).dtype == jnp.float64
    np.testing.assert_allclose(
        numerics.softmax_cross_entropy(np.array([[1, 1]]), np.array([0])), [math.log(2)], rtol=1e-15
    )
    assert jax.jit(jax.grad(numerics.softplus))(jnp.float32(0.0)) == 0.5
