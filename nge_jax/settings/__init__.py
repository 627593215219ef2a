"""The settings of a run: keys with their rows, config files, checks, help, flags.

Nothing here imports jax or knows a workdir. Read `key` first, then the rows of a task, such as `search`.
"""
