"""Compilation for accelerators that this machine lacks: the chips, the programs and a compiled program's kernels."""
