"""An operation as one value: a plain 3x3 convolution in two groups, and a space that has it.

nge search search_digits:gradient,smoke search.space=examples/operation.py:SPACE --workdir=runs/own
nge train train_digits:smoke genotype=runs/own --workdir=runs/own_trained
nge predict runs/own_trained FILES
nge export runs/own_trained runs/own_exported

`python operation.py` checks it, also beside a reference in NumPy.
"""

import numpy as np

import nge_jax as nge


def apply(weights, x, layer):
    """Computes ReLU, convolution and batch normalization: [B, H, W, C] -> [B, H / stride, W / stride, C]."""
    return layer.norm(layer.conv(layer.relu(x), weights["kernel"], layer.stride))


GROUP_CONV_3X3 = nge.Operation(
    name="group_conv_3x3",
    apply=apply,
    parameters=lambda channels, stride: {"kernel": (3, 3, channels // 2, channels)},
    short="group3",
    color="#5b4b9a",
)
SPACE = nge.with_operations(nge.DARTS, "skip_connect", "sep_conv_3x3", GROUP_CONV_3X3)


def reference(weights, x, stride):
    """Computes the same in NumPy."""
    x = np.pad(np.maximum(x, 0), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::stride, ::stride]
    halves = zip(np.split(windows, 2, 3), np.split(weights["kernel"], 2, 3), strict=True)
    y = np.concatenate([np.einsum("nijchw,hwck->nijk", *half) for half in halves], -1)
    return (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)


if __name__ == "__main__":
    nge.testing.check_operation(GROUP_CONV_3X3, reference=reference)
    print("the operation is right")
