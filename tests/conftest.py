"""Double precision and no silent broadcasting for the whole suite; float32 is asked for by the tests that mean it."""

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
