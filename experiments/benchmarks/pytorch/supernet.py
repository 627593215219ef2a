"""Runs the same supernet in PyTorch, as a baseline of time. It needs torch and no other package.

The operations, their order, the weights' distribution and both updates follow DARTS, on which the paper builds. The
operation `none` is left out. Images are augmented in advance, which favors PyTorch a little. The architecture's
parameters are DARTS's logits. The architecture step computes no gradient of the weights.

The process prints a line of JSON. For every number N on a line of the standard input, it then runs N steps and prints
the seconds a step. `search_step.py --torch` starts the process.
"""

import argparse
import os
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from measure import process

NODES = 4  # inner nodes of a cell
EDGES = sum(2 + k for k in range(NODES))


def norm(channels, affine=False):
    return nn.BatchNorm2d(channels, affine=affine)


def convolution(channels, size, stride, dilation=1, affine=False):
    """Makes ReLU, depthwise and 1x1 convolution, BN."""
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, size, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        norm(channels, affine),
    )


def separable(channels, size, stride, affine=False):
    return nn.Sequential(
        convolution(channels, size, stride, affine=affine),
        convolution(channels, size, 1, affine=affine),
    )


def max_pool(stride):
    return nn.MaxPool2d(3, stride, padding=1)


def avg_pool(stride):
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


class FactorizedReduce(nn.Module):
    """Applies ReLU, two 1x1 convolutions of stride 2 and BN. The second convolution reads the input one pixel off."""

    def __init__(self, channels_in, channels, affine=False):
        super().__init__()
        self.halves = nn.ModuleList(
            nn.Conv2d(channels_in, half, 1, stride=2, bias=False)
            for half in (channels - channels // 2, channels // 2)
        )
        self.norm = norm(channels, affine)

    def forward(self, x):
        x = F.relu(x)
        return self.norm(torch.cat([self.halves[0](x), self.halves[1](x[:, :, 1:, 1:])], 1))


def skip(channels, stride, affine=False):
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)


def preprocessing(channels_before, channels, reduction_before, affine=False):
    """Makes the layers that bring a cell's two inputs to the cell's size."""

    def one_by_one(channels_in):
        conv = nn.Conv2d(channels_in, channels, 1, bias=False)
        return nn.Sequential(nn.ReLU(), conv, norm(channels, affine))

    first, second = channels_before
    halve = FactorizedReduce(first, channels, affine) if reduction_before else one_by_one(first)
    return nn.ModuleList([halve, one_by_one(second)])


def stem(channels):
    conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, norm(channels, affine=True))


class MixedEdge(nn.Module):
    """Applies all operations of an edge, in the order of `genotype.OPERATIONS`, weighted by p [7]."""

    def __init__(self, channels, stride):
        super().__init__()
        self.operations = nn.ModuleList(
            [
                skip(channels, stride),
                nn.Sequential(max_pool(stride), norm(channels)),
                nn.Sequential(avg_pool(stride), norm(channels)),
                separable(channels, 3, stride),
                separable(channels, 5, stride),
                convolution(channels, 3, stride, dilation=2),
                convolution(channels, 5, stride, dilation=2),
            ]
        )

    def forward(self, x, p):
        return sum(p_o * operation(x) for p_o, operation in zip(p, self.operations, strict=True))


class Cell(nn.Module):
    def __init__(self, channels_before, channels, reduction, reduction_before):
        super().__init__()
        self.preprocess = preprocessing(channels_before, channels, reduction_before)
        self.edges = nn.ModuleList(
            MixedEdge(channels, 2 if reduction and i < 2 else 1)
            for k in range(2, 2 + NODES)
            for i in range(k)
        )

    def forward(self, before, probs):
        """Applies the cell. before: outputs of the two preceding cells; probs: [14, 7]."""
        nodes = [prepare(x) for prepare, x in zip(self.preprocess, before, strict=True)]
        edges = iter(zip(self.edges, probs, strict=True))
        for _ in range(NODES):
            nodes.append(sum(edge(x, p) for x, (edge, p) in zip(nodes, edges, strict=False)))
        return torch.cat(nodes[2:], 1)


class Supernet(nn.Module):
    """Stacks cells and channels as `nge_jax.supernet.model` does; reductions at 1/3 and 2/3."""

    def __init__(self, cells, channels, classes=10):
        super().__init__()
        before, reduction_before = (3 * channels, 3 * channels), False
        self.stem = stem(before[0])
        self.cells, self.reductions = nn.ModuleList(), []
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            channels *= 1 + reduction
            self.cells.append(Cell(before, channels, reduction, reduction_before))
            self.reductions.append(reduction)
            before, reduction_before = (before[1], NODES * channels), reduction
        self.classifier = nn.Linear(before[1], classes)

    def forward(self, images, probs):
        """Computes logits of images [B, 3, H, W]; probs: [2, 14, 7], normal and reduction."""
        x = self.stem(images)
        before = x, x
        for cell, reduction in zip(self.cells, self.reductions, strict=True):
            before = before[1], cell(before, probs[int(reduction)])
        return self.classifier(before[1].mean((2, 3)))


def weight_step(net, loss):
    """Makes DARTS's update of the weights by the gradient of `loss()`, a function without arguments."""
    sgd = torch.optim.SGD(net.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)

    def step():
        sgd.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        sgd.step()

    return step


def make_step(name, net, images, labels):
    """Makes a function without arguments that updates the group `name`."""
    alphas = (1e-3 * torch.randn(2, EDGES, 7)).requires_grad_(name == "embedding")
    if name == "weights":
        probs = alphas.softmax(-1)
        return weight_step(net, lambda: F.cross_entropy(net(images, probs), labels))
    net.requires_grad_(False)
    adam = torch.optim.Adam([alphas], 6e-4, betas=(0.5, 0.999), weight_decay=1e-3)

    def step():
        adam.zero_grad()
        F.cross_entropy(net(images, alphas.softmax(-1)), labels).backward()
        adam.step()

    return step


class Inputs(NamedTuple):
    """The network and images to measure. report: the figures to print when ready."""

    net: nn.Module
    images: torch.Tensor
    labels: torch.Tensor
    report: dict


def prepare(net, batch_size):
    """Prepares a network and random images: channels-last, with a thread for each allowed core."""
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    net = net.to(memory_format=torch.channels_last)
    images = torch.randn(batch_size, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch_size,))
    parameters = sum(p.numel() for p in net.parameters())
    report = {"parameters": parameters, "torch": torch.__version__}
    return Inputs(net=net, images=images, labels=labels, report=report)


def flags(doc):
    """Makes a parser of flags for the step and the size to measure."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--step", choices=("weights", "embedding"), default="weights")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    return parser


def main() -> None:
    args = flags(__doc__).parse_args()
    torch.manual_seed(0)
    inputs = prepare(Supernet(args.cells, args.channels), args.batch_size)
    step = make_step(args.step, inputs.net, inputs.images, inputs.labels)
    process.serve(inputs.report, lambda steps: [step() for _ in range(steps)])


if __name__ == "__main__":
    main()
