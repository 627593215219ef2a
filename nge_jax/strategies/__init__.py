"""Search strategies, one a file; see `nge_jax.strategy` for what each of them is."""
