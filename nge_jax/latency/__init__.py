"""Latencies of networks from a table of parts: what a cell, an operation on an edge, or P costs in milliseconds.

`parts` lists a network's parts at their shapes, `table` reads and writes the CSV, and `costs` sums it. `timing` times a
call. `record` keeps the times of a search's cell in the workdir. `nge_jax.measure` measures the parts. This package
imports no jax.
"""
