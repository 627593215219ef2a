"""Help at the prompt: a first config of one's own, and completion. No module here imports jax."""
