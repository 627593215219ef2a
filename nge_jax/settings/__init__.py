"""What a run may be told: keys with their limits, config files, flags, checks, help.

Nothing here imports jax or knows a workdir. Read `configs` first.
"""
