"""Draws the operations' probabilities P over the epochs of searches, side by side.

  python experiments/curves_of_p.py --runs=runs/search_cifar,runs/search_cifar-alpha --out=curves_of_p.png
  python experiments/curves_of_p.py --runs=A,B --titles="nge, seed 0;alpha" --out=curves_of_p.png

The picture has a column for each run and a row for each cell type. A line shows an operation's probability, averaged
over the cell's edges. The band around the line reaches from the lowest to the highest probability among the edges. A
narrow band means that the edges agree. A run that has not ended is drawn up to the last finished epoch.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nge_jax.errors import InputError
from nge_jax.main import exit_codes
from nge_jax.report.figure import QUIET, STYLE, new_figure, operation_color
from nge_jax.space.spaces import Space
from nge_jax.workdir import artifacts


def draw(runs: Mapping[str, Path]) -> Figure:
    """Draws P of the runs. `runs` maps titles to workdirs of searches of one space.

    Raises:
      InputError: a run has no P, or P of another space.
    """
    found = {n: artifacts.read_architecture(p / artifacts.ARCHITECTURE) for n, p in runs.items()}
    (space, *others) = [space for _, space in found.values()]
    if any(other != space for other in others):
        raise InputError("--runs: found searches of two spaces, expected those of one")
    with rc_context(STYLE):
        kinds = space.cell_types
        figure = new_figure(1.9 * len(found) + 1.5, 1.9 * len(kinds) + 0.5)
        panels = figure.subplots(len(kinds), len(found), sharex="col", sharey=True, squeeze=False)
        for column, (title, (probs, _)) in enumerate(found.items()):
            for row, kind in enumerate(kinds):
                _draw_cell(panels[row, column], probs[:, row], space)
                panels[row, 0].set_ylabel(f"P, {kind} cell")
            panels[0, column].set_title(title)
            panels[-1, column].set_xlabel("epoch")
        panels[0, 0].set_ylim(0, 1.05 * max(probs.max() for probs, _ in found.values()))
        figure.legend(panels[0, 0].lines[1:], space.operations, loc="center right", frameon=False)
        # The legend needs an inch and a half.
        figure.tight_layout(rect=(0, 0, 1 - 1.4 / figure.get_figwidth(), 1), pad=0.5)
    return figure


def _draw_cell(axes: Axes, probs: np.ndarray, space: Space) -> None:
    """Draws a cell type's P [epochs + 1, E, O]: a line for equal probabilities, then a line for each operation."""
    axes.axhline(1 / len(space.operations), color=QUIET, linewidth=0.6)
    epochs = np.arange(len(probs))
    for of_edges, operation in zip(np.moveaxis(probs, -1, 0), space.operations, strict=True):
        color, least, most = operation_color(operation), of_edges.min(1), of_edges.max(1)
        axes.fill_between(epochs, least, most, color=color, alpha=0.15, linewidth=0)
        axes.plot(epochs, of_edges.mean(1), color=color, linewidth=1.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", required=True, help="workdirs of searches, joined by commas")
    parser.add_argument("--titles", default="", help="titles of the runs, joined by semicolons")
    parser.add_argument(
        "--out", type=Path, default=Path("curves_of_p.png"), help="file of the picture"
    )
    options = parser.parse_args()
    paths = [Path(run) for run in options.runs.split(",")]
    titles = options.titles.split(";") if options.titles else [path.name for path in paths]
    if len(titles) != len(paths) or len(set(titles)) < len(titles):
        raise InputError(
            f"--titles: found {len(titles)} for {len(paths)} runs, expected another for each run"
        )
    figure = draw(dict(zip(titles, paths, strict=True)))
    figure.savefig(options.out, dpi=130, metadata={"Software": None})
    print(f"picture: {options.out}")


if __name__ == "__main__":
    with exit_codes():
        main()
