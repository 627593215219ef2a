"""Networks of a derived cell, as Flax Linen modules: images -> (logits, endpoints) (paper Tables 1 to 3).

Read `network` first: the networks for CIFAR and ImageNet. `cell` is a derived cell and the stack of cells. `layers` has
the operations. `deeplab` is the segmentation head on top of ImageNet's network.
"""
