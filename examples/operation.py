"""An operation as one value: a plain 3x3 convolution in two groups, and a space that has it.

nge search search_digits:gradient,smoke search.space=examples/operation.py:SPACE --workdir=runs/own
nge train train_digits:smoke genotype=runs/own --workdir=runs/own_trained
nge predict runs/own_trained FILES
nge export runs/own_trained runs/own_exported
"""

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
