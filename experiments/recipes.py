"""Trains cells with two recipes and tells whether both recipes rank the cells alike.

  python experiments/recipes.py --data_dir=DIR --cells=runs/search_cifar-small,DARTS_V2 --random=10
  python experiments/recipes.py --data_dir=DIR --scale=smoke          does it run?

The first recipe is the one that compares the searches of a scale. The second recipe is the fast one of
configs/train_cifar10.py. Scale small uses `tiny` and `fast_tiny`; scale paper uses the paper's recipe and `fast`.
The command runs the missing trainings, and continues when started again. It writes OUT/recipes.md, .html and a picture.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy import stats

from nge_jax.errors import InputError
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.report.figure import LINES, STYLE, new_figure
from nge_jax.space import genotype
from nge_jax.workdir import artifacts
from paper import plan, runs, tables
from paper.runs import Run

SEEDS = {"smoke": [0], "small": [0], "paper": [0, 1]}
FEWEST = 3  # a rank correlation of fewer finished cells says nothing


def read_cells(named: Sequence[str], random: int) -> dict[str, plan.Cell]:
    """Names the cells of the rows: the `named` cells and `random` random ones. A workdir may hold several searches.

    Raises:
        InputError: a cell does not exist, or two cells have one name.
    """
    cells = []
    for name in named:
        path = Path(name)
        if path.is_dir() and (members := _members(path)):
            folders = [path / member.folder for member in members]
            cells += [_cell_at(f"{path.name}-{f.name}", f / artifacts.GENOTYPE) for f in folders]
        elif path.is_dir():
            cells.append(_cell_at(path.name, path / artifacts.GENOTYPE))
        elif path.is_file():
            cells.append(_cell_at(path.stem, path))
        else:
            genotype.load(name)  # refuses a name of no cell
            cells.append(plan.named_cell(name))
    cells += [plan.named_cell(f"random:{number}") for number in range(1, random + 1)]
    rows = {cell.name: cell for cell in cells}
    if len(rows) < len(cells):
        raise InputError(
            f"--cells: found two cells of one name among {', '.join(c.name for c in cells)}, expected different ones"
        )
    return rows


def rank_correlation(means: Mapping[str, tuple[float, float]]) -> str:
    """Describes Spearman's rank correlation of the cells' mean accuracies with the two recipes."""
    if len(means) < FEWEST:
        return f"Spearman's rank correlation: of {FEWEST} cells or more; {len(means)} are finished."
    by_recipe = [*zip(*means.values(), strict=True)]
    if any(len(set(of_recipe)) == 1 for of_recipe in by_recipe):
        return "Spearman's rank correlation: none, a recipe gives all cells the same accuracy."
    found = stats.spearmanr(*by_recipe)
    return (
        f"Spearman's rank correlation of the two recipes over {len(means)} cells: {found.statistic:.2f} "
        f"(p = {found.pvalue:.2g} that so much is chance)."
    )


def accuracies(trainings: Sequence[Run]) -> list[float]:
    """Reads the test accuracies of the finished trainings, in percent."""
    return tables.percent(tables.results(trainings, "test_accuracy"))


def figure(means: Mapping[str, tuple[float, float]], labels: Sequence[str]) -> Figure:
    """Draws a point for each cell: the mean accuracy with the first recipe (x) and with the second (y)."""
    with rc_context(STYLE):
        drawn = new_figure(4.8, 4.0)
        axes = drawn.subplots()
        (found_color, _), (random_color, _) = LINES
        for name, (x, y) in means.items():
            marker, color = ("o", random_color) if _is_random(name) else ("D", found_color)
            axes.plot(x, y, marker, color=color)
        axes.set_xlabel(f"{labels[0]}: test accuracy, %")
        axes.set_ylabel(f"{labels[1]}: test accuracy, %")
        axes.set_title("circles: random cells")
        drawn.tight_layout(pad=0.6)
    return drawn


def main(options: plan.Options) -> None:
    cells = read_cells(options.cells, options.random)
    tasks = plan.COMPARISON[options.scale], plan.FAST_COMPARISON[options.scale]
    planned = [plan.trainings(options, task, cells) for task in tasks]
    plan.complete(options, *(row for rows in planned for row in rows.values()))
    measured = {name: [accuracies(rows[name]) for rows in planned] for name in cells}
    means = {n: (mean(a), mean(b)) for n, (a, b) in measured.items() if a and b}
    words = [plan.TASKS[task][1][options.scale] for task in tasks]
    labels = [f"train_cifar10:{word}" if word else "train_cifar10" for word in words]
    rows = [(name, *map(tables.spread, both)) for name, both in measured.items()]
    for kind, is_random in (("random cells", True), ("the others", False)):
        of_kind = [both for name, both in measured.items() if _is_random(name) == is_random]
        if of_kind:
            together = [[*itertools.chain(*column)] for column in zip(*of_kind, strict=True)]
            rows.append((f"{kind} together", *map(tables.spread, together)))
    picture = Picture("recipes_cells", "accuracies by the two recipes", "A point is a cell.")
    note = "Test accuracy, %, mean ± sd over seeds."
    header = ("cell", *labels)
    content = [Text(note), Table(header, rows), Text(rank_correlation(means)), picture]
    title = "Two recipes", "cells trained from scratch on CIFAR-10"
    tables.write(
        options, "recipes", title, [Section("Cells", content)], cells=figure(means, labels)
    )


def _is_random(name):
    return name.startswith("random_")


def _members(workdir):
    """Lists the members of several searches in a workdir. A folder with only a cell has no config."""
    return artifacts.read_members(workdir) if (workdir / artifacts.CONFIG).exists() else []


def _cell_at(name, path):
    genotype.load(str(path))
    return plan.Cell(name, runs.path_argument(path))


if __name__ == "__main__":
    flags = plan.parser(__doc__)
    flags.add_argument(
        "--cells",
        type=lambda text: text.split(","),
        default=["DARTS_V2"],
        help="workdirs of searches, JSON files or names, joined by commas; default: DARTS_V2",
    )
    flags.add_argument("--random", type=int, default=4, help="how many random cells to add")
    plan.start(main, flags, SEEDS)
