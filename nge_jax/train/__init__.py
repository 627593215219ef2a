"""Training of a derived cell's network from scratch, on CIFAR and on ImageNet (paper Tables 1 and 2).

Read `step` first: one update, with augmentation, drop-path and auxiliary loss. `model` makes the network that a config
names, and `build` makes the rest of the plan. `runner` runs a training. `trained` and `transfer` read a trained network
back.
"""

from etils import epy as _epy

__all__ = ["TrainResult", "run", "summary"]

with _epy.lazy_api_imports(globals()):
    from nge_jax.train.runner import TrainResult as TrainResult
    from nge_jax.train.runner import run as run
    from nge_jax.train.runner import summary as summary
