"""Runs the search steps of a checkout of quark0/darts, as a baseline of time. It needs torch and no other package.

The supernet is DARTS's `cnn/model_search.py` with three changes. The operation `none` is removed, as the paper does.
Tensors stay on the CPU. The memory format is channels-last. The updates follow DARTS's `train_search.py` and, first
order, `architect.py`. Each update also computes the gradients of the other group. Images are augmented in advance.

Input and output are as in `supernet.py`. `search_step.py --torch --darts=DIR` starts this process.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from measure import process
from pytorch import supernet


def load(darts: Path, channels: int, cells: int):
    """Makes DARTS's network with the paper's seven operations."""
    sys.path.insert(0, str(darts / "cnn"))
    torch.Tensor.cuda = lambda tensor: tensor
    import genotypes

    genotypes.PRIMITIVES.remove("none")
    from model_search import Network

    return Network(channels, 10, cells, nn.CrossEntropyLoss())


def make_step(name, net, images, labels):
    """Makes a function without arguments that updates the group `name`."""
    if name == "weights":
        return supernet.weight_step(net, lambda: net._criterion(net(images), labels))
    adam = torch.optim.Adam(net.arch_parameters(), 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)

    def step():
        adam.zero_grad()
        net._loss(images, labels).backward()
        adam.step()

    return step


def main() -> None:
    parser = supernet.flags(__doc__)
    parser.add_argument("--darts", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    net = load(args.darts, args.channels, args.cells)
    inputs = supernet.prepare(net, args.batch_size)
    step = make_step(args.step, inputs.net, inputs.images, inputs.labels)
    process.serve(inputs.report, lambda steps: [step() for _ in range(steps)])


if __name__ == "__main__":
    main()
