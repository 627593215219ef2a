"""Convolutions and pools of NHWC arrays with derivatives that are fast on every platform.

XLA's CPU backend is slow at some of them. These have one form for CPUs and the library's form for GPUs and TPUs, and
`jax.lax.platform_dependent` picks one when a program is lowered. Nothing here knows of cells. Read `depthwise` first.
"""
