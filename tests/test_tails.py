"""Normal tails over their density, and the kernels of the gamma and beta functions: against 60 digits of mpmath."""

import jax
import numpy as np
import pytest

from lossgeo import numerics
from lossgeo.numerics.decay import NODES, WEIGHTS

# x, the value, and its derivative
MILLS = [
    (-3.0, 225.33489622034912058, -677.00468866104736174),
    (-1.0, 3.4770518117036944669, -4.4770518117036944669),
    (0.0, 1.2533141373155002512, -1.0),
    (0.5, 0.87636445645369234673, -0.56181777177315382664),
    (5.0, 0.19280810471531576488, -0.035959476423421175613),
    (200.0, 0.00499987500937382833, -0.000024998125234333993601),
    (1e8, 9.999999999999999e-9, -9.999999999999997e-17),
]
EXP1 = [
    (1e-300, 690.19831223331217232, -9.9999999999999997494e299),
    (0.001, 6.3378740703254879563, -993.66212592967449123),
    (0.5, 0.92291063248373046883, -1.0770893675162695312),
    (1.75, 0.39987977037797259865, -0.17154880105059882992),
    (2.0, 0.3613286168882225847, -0.1386713831117774153),
    (3.0, 0.26208374025531849619, -0.071249593078014837145),
    (50.0, 0.019615109930114870365, -0.00038489006988512963469),
    (1e10, 9.9999999990000000002e-11, -9.9999999980000000006e-21),
]
# x, step, value
DECREASE = [
    (-1.0, 1e-08, 4.4770517719331767254e-8),
    (-1.0, 3.0, 3.0556825824156399937),
    (0.25, 0.5, 0.28525339679031876084),
    (3.0, 1e-08, 8.6229103640175179677e-10),
    (3.0, 40.0, 0.28134704191349828256),
    (1e4, 1.0, 9.9989998000500059969e-9),
    (1e4, 1e6, 0.000099009899990100010491),
]
# a, x, value, largest term
GAMMA_KERNEL = [
    (0.01, 0.001, -4.6695574308318430734, 5),
    (2.5, 1.0, -1.2846828704729191596, 2),
    (2.5, 80.0, -69.329616283788215129, 80),
    (1e6, 1001000.0, 5.4891497459772977863, 1e3),
    (1e6, 250000.0, -636288.3723032281747, 1e6),
    (1e12, 1e12, 12.896572024759518029, 13),
]
# a, b, x, value, largest term
BETA_KERNEL = [
    (0.01, 2.5, 0.125, -4.9470467300001776744, 5),
    (2.5, 0.5, 0.875, -1.5374498852388984593, 2),
    (1e6, 2e6, 0.3125, -2989.417719969293771, 1e5),
    (1e6, 2e6, 0.5, -169893.25071130297174, 1e6),
    (1e12, 1e12, 0.5, 12.549998434479503708, 13),
    (1e-3, 1e12, 2.0**-40, -7.8167684532636652536, 8),
]
# a, b, x, both logarithms
BETA_TAILS = [
    (0.001, 30.0, 0.03125, -0.00024449897227733794451, -8.3164216994181683937),
    (0.001, 0.001, 0.5, -0.69314718055994530942, -0.69314718055994530942),
    (0.01, 30.0, 0.03125, -0.0024684873359697474361, -6.0053837203069012709),
    (30.0, 0.01, 0.96875, -6.0053837203069012709, -0.0024684873359697474361),
    (0.01, 0.5, 2.0**-40, -0.29095968927280332903, -1.3765254785136405442),
    (0.1, 1.0, 0.5, -0.069314718055994534789, -2.7035551918624043658),
    (30.0, 1000.0, 0.03125, -0.39294358757468280651, -1.1241357444704823483),
    (1000.0, 1000.0, 0.4375, -18.417741697682481844, -1.0029433745302032222e-8),
]


@pytest.mark.parametrize(
    ("function", "table", "ulp"), [(numerics.mills_ratio, MILLS, 8), (numerics.scaled_exp1, EXP1, 80)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_and_their_derivatives(function, table, ulp, dtype):
    x, value, slope = np.array(table).T
    fits = np.abs(slope) < 1e30
    x, value, slope = x[fits], value[fits], slope[fits]
    eps = np.finfo(dtype).eps
    # The argument is rounded too: x times the logarithmic derivative more ulp.
    allowed = ulp * eps + eps * np.abs(x * slope / value) * (dtype == np.float32)
    out, derivative = jax.vmap(jax.value_and_grad(function))(x.astype(dtype))
    assert out.dtype == dtype and np.all(np.abs(out / value - 1) <= allowed)
    np.testing.assert_allclose(derivative, slope, rtol=2 * ulp * eps)


def test_the_smallest_argument_of_the_exponential_integral():
    x, value, _ = EXP1[0]
    np.testing.assert_allclose(numerics.scaled_exp1(x), value, rtol=1e-15)


def test_decrease_of_the_mills_ratio_does_not_cancel():
    x, step, value = np.array(DECREASE).T
    np.testing.assert_allclose(numerics.mills_decrease(x, step), value, rtol=4e-15)
    single = numerics.mills_decrease(x.astype(np.float32), step.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, value, rtol=2e-6)


def test_kernels_lose_only_the_digits_of_their_largest_term():
    a, x, value, size = np.array(GAMMA_KERNEL).T
    assert np.all(np.abs(numerics.log_gamma_kernel(a, x) - value) <= 20 * np.finfo(float).eps * size)
    a, b, x, value, size = np.array(BETA_KERNEL).T
    assert np.all(np.abs(numerics.log_beta_kernel(a, b, x, 1 - x) - value) <= 20 * np.finfo(float).eps * size)


def test_beta_tails_of_small_and_large_shapes():
    """The smaller tail to 80 ulp, or ten over the smaller shape if that is more; the larger one is made from it."""
    a, b, x, below, above = np.array(BETA_TAILS).T
    found = np.array(jax.jit(numerics.log_beta_tails)(a, b, x, 1 - x))
    smaller = np.where(below < above, found[0] - below, found[1] - above)
    allowed = np.maximum(80, 10 / np.minimum(a, b)) * np.finfo(float).eps * np.maximum(1, -np.minimum(below, above))
    assert np.all(np.abs(smaller) <= allowed)
    np.testing.assert_allclose(np.exp(found[0]) + np.exp(found[1]), 1.0, rtol=1e-12)


def test_the_rule_integrates_what_decays():
    """Exact for polynomials up to degree 95, and for exp(-c t) to rounding, at the ends as in the middle."""
    for degree in (0, 1, 2, 17, 95):
        np.testing.assert_allclose(np.sum(WEIGHTS * NODES**degree), 1 / (degree + 1), rtol=4e-16)
        np.testing.assert_allclose(np.sum(WEIGHTS * (1 - NODES) ** degree), 1 / (degree + 1), rtol=4e-15)
    for rate in (1.0, 40.0, 80.0):
        np.testing.assert_allclose(np.sum(WEIGHTS * np.exp(-rate * NODES)), -np.expm1(-rate) / rate, rtol=4e-16)
