"""Compiling for accelerators that are not there: the chips, the programs, and what a compiled program consists of."""
