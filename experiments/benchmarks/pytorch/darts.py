"""Runs the search steps of a checkout of quark0/darts, to compare their time with; needs torch, no other package.

Their supernet (`cnn/model_search.py`) as it is, but for three things: `none` is taken out of their operations, as the
paper does; what they move to a GPU stays on the CPU; and it runs channels-last. The updates are those of their
`train_search.py` and, first-order, `architect.py`: each computes the other group's gradients too. Images come
augmented.

Prints and reads what `supernet.py` does. `search_step.py --torch --darts=DIR` starts it.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from measure import process
from pytorch import supernet


def load(darts: Path, channels: int, cells: int):
    """Makes their network of the paper's seven operations."""
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
