"""Writes the sizes of the published cells into nge_jax/commands.py, where `nge cells` finds them at once.

  python experiments/cell_sizes.py

Run it when a cell is added or when `nge_jax/cost.py` counts otherwise.
"""

import re
from pathlib import Path

from nge_jax.cost import cifar_cost, imagenet_cost
from nge_jax.space.genotype import KNOWN

COMMANDS = Path(__file__).parents[1] / "nge_jax" / "commands.py"
TABLE = re.compile(r"^CELL_SIZES = \{\n.*?^\}$", re.DOTALL | re.MULTILINE)


def cell_sizes(name: str) -> tuple[int, int, int, int]:
    """Returns parameters and multiply-adds of a published cell's network for CIFAR-10, then for ImageNet."""
    cifar, imagenet = cifar_cost(KNOWN[name]), imagenet_cost(KNOWN[name])
    return *cifar, *imagenet


def with_table(source: str) -> str:
    """Returns the source of nge_jax/commands.py with every cell's sizes."""
    lines = [
        f'    "{name}": ({", ".join(f"{n:_}" for n in cell_sizes(name))}),\n' for name in KNOWN
    ]
    found, count = TABLE.subn(f"CELL_SIZES = {{\n{''.join(lines)}}}", source)
    if count != 1:
        raise ValueError(f"{COMMANDS}: found {count} tables CELL_SIZES, expected one")
    return found


if __name__ == "__main__":
    COMMANDS.write_text(with_table(COMMANDS.read_text()))
