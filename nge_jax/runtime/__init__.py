"""How a run lives: its loop, checkpoints, devices and processes, working directory, flags.

Nothing here knows the paper. Read `workdir` and `artifacts` first: what a run leaves behind, and what may be
resumed. `checkpoint` saves and restores, `parallel` spreads a step over devices, `distributed` joins processes.
"""
