"""Training of a derived cell's network from scratch, on CIFAR and on ImageNet (paper Tables 1 and 2).

Read `step` first: one update, with its augmentation, drop-path and auxiliary loss. `model` makes the network that a
config names, `build` everything else, `runner` runs a training; `trained` and `transfer` read one back.
"""
