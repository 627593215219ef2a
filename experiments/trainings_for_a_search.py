"""Counts the trainings by which a random search of NAS-Bench-201 equals another search.

  python experiments/trainings_for_a_search.py --table=nas_bench_201.npz             expectations, in a second
  python experiments/trainings_for_a_search.py --table=nas_bench_201.npz 92.9 93.8   searches of these test accuracies

A random search trains K random cells without `none` for 12 epochs, and takes the cell with the best validation
accuracy. Mean and deviation of the cell's test accuracy are exact, because no search is drawn. Another search is worth
K trainings if K is the least number whose mean is as high.
"""

import argparse
from pathlib import Path

import numpy as np

from nge_jax.settings.flags import refusals
from nge_jax.space import nas_bench_201
from nge_jax.space.nas_bench_201 import TESTS, cell_index
from nge_jax.space.spaces import NO_NONE

COUNTS = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100)
MOST = 1000


def chances(cells: int, count: int) -> np.ndarray:
    """Computes the chance [cells] of each rank, best first, to be the best of `count` cells drawn with replacement."""
    worse_or_equal = np.arange(cells, -1, -1) / cells
    return -np.diff(worse_or_equal**count)


def expectation(tests: np.ndarray, count: int) -> tuple[float, float]:
    """Computes mean and deviation of the chosen cell's test accuracy.

    Args:
      tests: test accuracies [cells], in the order of the validation accuracies, best first.
      count: the cells that are trained.
    """
    chance = chances(len(tests), count)
    mean = float(chance @ tests)
    return mean, float(np.sqrt(chance @ (tests - mean) ** 2))


def worth(tests: np.ndarray, accuracy: float) -> int | None:
    """Returns the least number of trainings with this expected test accuracy; None if MOST have not."""
    return next((k for k in range(1, MOST + 1) if expectation(tests, k)[0] >= accuracy), None)


def main(options: argparse.Namespace) -> None:
    table = nas_bench_201.load(options.table)
    operations = range(5 - len(NO_NONE.operations), 5)
    cells = np.stack(np.meshgrid(*[operations] * len(NO_NONE.edges)), -1).reshape(-1, 6)
    order = np.argsort(-table.selection[cell_index(cells)], kind="stable")
    tests = table.tests[cell_index(cells)][order]
    print(f"| trainings | {' | '.join(f'{name}, %' for name in TESTS)} |")
    print(f"|{'---|' * (1 + len(TESTS))}")
    for count in COUNTS:
        spreads = [expectation(column, count) for column in tests.T]
        print(f"| {count} | {' | '.join(f'{mean:.2f} ± {sd:.2f}' for mean, sd in spreads)} |")
    for accuracy in options.accuracies:
        count = worth(tests[:, 0], accuracy)
        told = f"more than {MOST}" if count is None else str(count)
        print(f"{accuracy:.2f} % on CIFAR-10: {told} trainings")


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the flags."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--table", type=Path, required=True, help="table of NAS-Bench-201, an .npz")
    flags.add_argument(
        "accuracies", type=float, nargs="*", help="test accuracies of CIFAR-10, in %%"
    )
    return flags


if __name__ == "__main__":
    with refusals():
        main(parser().parse_args())
