"""Measures networks and their parts on this device. `command` is `nge latency`, `runtimes` makes the calls to time."""
