"""Trains a derived network in PyTorch, as a baseline of time. It needs torch and no other package.

The operations, their order, drop-path, the auxiliary head and the update follow DARTS. Images are augmented in advance
and drop-path's rate is constant, which favors PyTorch a little.

The process prints a line of JSON. For every number N on a line of the standard input, it then runs N steps and prints
the seconds a step. `train_step.py --torch` starts the process.
"""

import argparse
import json

import torch
from torch import nn
from torch.nn import functional as F

from measure import process
from pytorch.supernet import (
    avg_pool,
    convolution,
    max_pool,
    norm,
    prepare,
    preprocessing,
    separable,
    skip,
    stem,
    weight_step,
)


class Zero(nn.Module):
    """Stands for an absent edge."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


OPERATIONS = {
    "none": lambda channels, stride: Zero(stride),
    "skip_connect": lambda channels, stride: skip(channels, stride, affine=True),
    "max_pool_3x3": lambda channels, stride: max_pool(stride),
    "avg_pool_3x3": lambda channels, stride: avg_pool(stride),
    "sep_conv_3x3": lambda channels, stride: separable(channels, 3, stride, affine=True),
    "sep_conv_5x5": lambda channels, stride: separable(channels, 5, stride, affine=True),
    "dil_conv_3x3": lambda channels, stride: convolution(channels, 3, stride, 2, affine=True),
    "dil_conv_5x5": lambda channels, stride: convolution(channels, 5, stride, 2, affine=True),
}


def drop_path(x, rate):
    """Zeroes whole samples of x [B, C, H, W] with probability `rate`, in place as DARTS does."""
    keep = x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - rate)
    return x.div_(1 - rate).mul_(keep)


class Cell(nn.Module):
    """Computes a cell.

    pairs: (operation, predecessor), two for each inner node.
    concat: the nodes whose outputs are concatenated.
    """

    def __init__(self, pairs, concat, channels_before, channels, reduction, reduction_before):
        super().__init__()
        self.preprocess = preprocessing(channels_before, channels, reduction_before, affine=True)
        self.sources, self.concat = [source for _, source in pairs], concat
        self.edges = nn.ModuleList(
            OPERATIONS[name](channels, 2 if reduction and source < 2 else 1)
            for name, source in pairs
        )

    def forward(self, before, rate):
        nodes = [prepare(x) for prepare, x in zip(self.preprocess, before, strict=True)]
        for index, (edge, source) in enumerate(zip(self.edges, self.sources, strict=True)):
            y = edge(nodes[source])
            if self.training and rate and not isinstance(edge, nn.Identity):
                y = drop_path(y, rate)
            if index % 2 == 0:
                first = y
            else:
                nodes.append(first + y)
        return torch.cat([nodes[node] for node in self.concat], 1)


def auxiliary_head(channels, classes):
    """Makes the head that classifies 8x8 pixels."""
    return nn.Sequential(
        nn.ReLU(),
        nn.AvgPool2d(5, stride=3, count_include_pad=False),
        nn.Conv2d(channels, 128, 1, bias=False),
        norm(128, affine=True),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        norm(768, affine=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, classes),
    )


class Network(nn.Module):
    """Stacks cells as `nge_jax.networks.network.cifar_network` does, for images of 32x32.

    genotype: the genotype as a JSON object.
    """

    def __init__(self, genotype, cells, channels, auxiliary, classes=10):
        super().__init__()
        before, reduction_before = (3 * channels, 3 * channels), False
        self.stem = stem(before[0])
        self.cells = nn.ModuleList()
        self.auxiliary_at = 2 * cells // 3
        self.auxiliary = None
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            channels *= 1 + reduction
            kind = "reduce" if reduction else "normal"
            pairs, concat = genotype[kind], genotype[f"{kind}_concat"]
            cell = Cell(pairs, concat, before, channels, reduction, reduction_before)
            self.cells.append(cell)
            before, reduction_before = (before[1], len(concat) * channels), reduction
            if auxiliary and number == self.auxiliary_at:
                self.auxiliary = auxiliary_head(before[1], classes)
        self.classifier = nn.Linear(before[1], classes)

    def forward(self, images, rate):
        """Computes logits of images [B, 3, 32, 32], and the auxiliary head's logits or None. rate: drop-path's rate."""
        x = self.stem(images)
        before, auxiliary = (x, x), None
        for number, cell in enumerate(self.cells):
            before = before[1], cell(before, rate)
            if self.auxiliary is not None and number == self.auxiliary_at:
                auxiliary = self.auxiliary(before[1])
        return self.classifier(before[1].mean((2, 3))), auxiliary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--genotype", type=json.loads, required=True, help="genotype as JSON")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--auxiliary_weight", type=float, default=0.4)
    parser.add_argument("--drop_path", type=float, default=0.3)
    args = parser.parse_args()

    torch.manual_seed(0)
    net = Network(args.genotype, args.cells, args.channels, args.auxiliary_weight > 0)
    inputs = prepare(net, args.batch_size)

    def loss():
        logits, auxiliary = inputs.net(inputs.images, args.drop_path)
        loss = F.cross_entropy(logits, inputs.labels)
        if auxiliary is None:
            return loss
        return loss + args.auxiliary_weight * F.cross_entropy(auxiliary, inputs.labels)

    step = weight_step(inputs.net, loss)
    process.serve(inputs.report, lambda steps: [step() for _ in range(steps)])


if __name__ == "__main__":
    main()
