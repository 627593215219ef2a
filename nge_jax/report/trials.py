"""The report of a search whose cells are rated by trainings: the ratings, how they agree, and who was trained again."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy import stats

from nge_jax.errors import InputError
from nge_jax.files import read_arrays, reason
from nge_jax.report import run as report_run
from nge_jax.report.document import Caution, Picture, Section, Table, Text
from nge_jax.report.figure import COLORS, STYLE, new_figure, save, save_svg
from nge_jax.report.pareto import cells as cells_by_size
from nge_jax.report.pareto.front import Network
from nge_jax.report.parts import latency
from nge_jax.report.run import COMMON_COLUMNS
from nge_jax.space import sharing
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import EpochRows, Size

COLUMNS = {name: COMMON_COLUMNS[name] for name in ("Epoch", "Seconds", "Images/s")} | {
    "Cell": ("cell", ".0f"),
    "Seed": ("train_seed", ".0f"),
    "Epochs trained": ("trained_epochs", ".0f"),
    "Rung": ("rung_epochs", ".0f"),
    "Training loss": ("train_loss", ".4f"),
    "Training accuracy": ("train_accuracy", ".2%"),
    "Validation accuracy": ("validation_accuracy", ".2%"),
}
FEWEST = 4  # a rank correlation of fewer cells says nothing
HISTORY = (
    "architectures", "ratings", "rungs", "predicted", "parameters", "candidates", "accuracies", "by_seed",
)  # fmt: skip
History = dict[str, np.ndarray]


def write_trials_report(workdir: Path, sizes: Iterable[Size], train_command: str) -> Path:
    """Draws the pictures of a search and writes its report.md and report.html.

    Args:
      workdir: the folder of a search that has ended.
      sizes: sizes of networks of the cells found.
      train_command: trains such a network.

    Returns:
      The path of report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    cells = artifacts.read_genotype(workdir / artifacts.GENOTYPE)
    history = read_history(workdir / artifacts.HISTORY)
    epochs = report_run.read_epochs(workdir, COLUMNS)
    facts = report_run.run_facts(workdir, epochs)
    facts.pop("Epochs")  # the loop's, which mean nothing to a reader
    best = int(history["accuracies"].argmax())
    by_seed = history["by_seed"][best]
    results = {
        "Accuracy of the cell on the images that rate": _spread(by_seed[~np.isnan(by_seed)]),
        "Cells trained": f"{len(history['ratings']):,}",
    }
    cautions = [*map(Caution, sharing.constant_cells(cells))]
    sections = [
        report_run.cells_section(workdir, cells, cautions=cautions),
        _ratings_section(workdir, history, epochs),
        *_pareto_sections(workdir, history, train_command),
        _agreement_section(history),
        _finalists_section(history),
        Section(
            "Train it", [Text("Trains the cells from scratch:"), report_run.Code(train_command)]
        ),
        report_run.sizes_section(sizes),
        *latency.sections(workdir),
        Section("Units", [report_run.epoch_table(epochs, COLUMNS)], folded=True),
    ]
    return report_run.write(workdir, "Architecture search", results | facts, sections)


def read_history(path: Path) -> History:
    """Reads history.npz of a search by trials that has ended; raises InputError if it is another file."""
    try:
        return read_arrays(path, HISTORY)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected an archive of {', '.join(HISTORY)}, found {reason(error)}"
        ) from None


def rank_correlation(first: np.ndarray, second: np.ndarray) -> tuple[float, int]:
    """Computes Spearman's rank correlation of two ratings where both are known, and counts these cells.

    The correlation is NaN for fewer than FEWEST cells, or where one of the ratings is the same for all.
    """
    known = ~np.isnan(first) & ~np.isnan(second)
    a, b, count = first[known], second[known], int(known.sum())
    if count < FEWEST or not a.std() or not b.std():
        return math.nan, count
    correlation: Any = stats.spearmanr(a, b)
    return float(correlation.statistic), count


def _ratings_section(workdir: Path, history: History, epochs: EpochRows) -> Section:
    times = _times(epochs)
    for stem, width in (("ratings", 6.8), ("ratings_narrow", 3.9)):
        drawing = ratings_figure(history, times, width)
        (save if stem == "ratings" else save_svg)(drawing, workdir / stem)
    count = len(history["ratings"])
    alt = f"Ratings of {count} cells over the time of the search, and against their parameters"
    caption = (
        "Each point is a cell's rating, in the color of its rung. Left: over the time of the search. Right: against "
        "the parameters of the cell's network."
    )
    rows = []
    for rung, ratings in zip(history["rungs"], history["ratings"].T, strict=True):
        rated = ratings[~np.isnan(ratings)]
        rows.append((str(rung), str(len(rated)), _spread(rated), f"{rated.max():.2%}"))
    header = ("Epochs", "Cells", "Accuracy, mean ± sd", "Best")
    picture = Picture("ratings", alt, caption, narrow_stem="ratings_narrow")
    return Section("Ratings", [picture, Table(header, rows)])


def _pareto_sections(workdir: Path, history: History, train_command: str) -> Iterator[Section]:
    """Shows the cells that no smaller or equal cell beats, with the commands that train them.

    A search of an older version has no such record, and gets no section.
    """
    if not (workdir / artifacts.PARETO).exists():
        return
    pareto = artifacts.read_json(workdir / artifacts.PARETO)
    accuracies, parameters = history["ratings"][:, 0], history["parameters"]
    networks = [
        Network(f"cell {n}", int(parameters[n]), float(accuracies[n]))
        for n in np.flatnonzero(~np.isnan(accuracies))
    ]
    rows = []
    for name, cell in pareto.items():
        command = train_command.replace(artifacts.GENOTYPE, f"{artifacts.PARETO}:{name}")
        ratings = ", ".join(f"{value:.2%}" for value in cell["ratings"].values())
        rows.append((name.replace("_", " "), f"{cell['parameters']:,}", ratings, command))
    caption = (
        "Each point is a cell at its first rung. The line joins the cells that no smaller or equal cell beats. The "
        "table has these cells, with the accuracy at each rung and the command that trains the cell."
    )
    title = f"accuracy after {history['rungs'][0]} epochs"
    picture = cells_by_size.draw(networks, title, workdir, "pareto", caption)
    table = Table(("Cell", "Parameters", "Accuracy", "Command"), rows)
    yield Section(cells_by_size.TITLE, [picture, table])


def _times(epochs: EpochRows) -> dict[tuple[int, int], float]:
    """Returns the minute of the search in which each cell was rated at each rung: {(cell, epochs): minute}."""
    ends = itertools.accumulate(row["seconds"] / 60 for row in epochs)
    return {
        (row["cell"], row["rung_epochs"]): minute
        for row, minute in zip(epochs, ends, strict=True)
        if not row["train_seed"] and row["trained_epochs"] == row["rung_epochs"]
    }


def ratings_figure(history: History, times: dict[tuple[int, int], float], width: float) -> Figure:
    """Draws all ratings over the minutes of the search, and against the parameters; `width` in inches."""
    colors = itertools.cycle(COLORS.values())
    with rc_context(STYLE):
        figure = new_figure(width, 2.8)
        over_time, by_size = figure.subplots(1, 2, sharey=True)
        for rung, ratings, color in zip(
            history["rungs"], history["ratings"].T, colors, strict=False
        ):
            dots = {"linestyle": "none", "marker": "o", "markersize": 3, "color": color}
            rated = [n for n in np.flatnonzero(~np.isnan(ratings)) if (int(n), int(rung)) in times]
            minutes = [times[int(n), int(rung)] for n in rated]
            over_time.plot(minutes, ratings[rated], label=f"{rung} epochs", **dots)
            by_size.plot(history["parameters"][rated], ratings[rated], **dots)
        over_time.set(xlabel="minutes", title="accuracy on the images that rate")
        by_size.set(xlabel="parameters")
        over_time.yaxis.set_major_formatter(PercentFormatter(1.0))
        over_time.legend(loc="best")
        figure.tight_layout(pad=0.6)
        figure.draw_without_rendering()
    return figure


def _agreement_section(history: History) -> Section:
    rows = [
        (name, "too few" if math.isnan(value) else f"{value:+.2f}", str(count))
        for name, value, count in agreements(history)
    ]
    text = (
        "Spearman's rank correlations over the cells that have both numbers. Only the better cells went on: their "
        "ranks agree less than the ranks of all cells would."
    )
    return Section(
        "Do the ratings agree?", [Text(text), Table(("Between", "Correlation", "Cells"), rows)]
    )


def agreements(history: History) -> Iterator[tuple[str, float, int]]:
    """Yields (names, rank correlation, cells) of each pair of rungs, of the prediction and of the parameters."""
    rungs, ratings = history["rungs"], history["ratings"].T
    for a, b in itertools.combinations(range(len(rungs)), 2):
        name = f"{rungs[a]} and {rungs[b]} epochs"
        yield name, *rank_correlation(ratings[a], ratings[b])
    if not np.isnan(history["predicted"]).all():
        name = f"the strategy's prediction and {rungs[0]} epochs"
        yield name, *rank_correlation(history["predicted"], ratings[0])
    parameters = history["parameters"].astype(float)
    yield f"parameters and {rungs[0]} epochs", *rank_correlation(parameters, ratings[0])


def _finalists_section(history: History) -> Section:
    rows = []
    numbers = {cell.tobytes(): n for n, cell in enumerate(history["architectures"])}
    for place in np.argsort(-history["accuracies"], kind="stable"):
        number = numbers[history["candidates"][place].tobytes()]
        seeds = history["by_seed"][place]
        rows.append(
            (
                str(number),
                _spread(seeds[~np.isnan(seeds)]),
                f"{history['parameters'][number]:,}",
                *(f"{accuracy:.2%}" for accuracy in seeds),
            )
        )
    seeds = [f"Seed {n}" for n in range(history["by_seed"].shape[1])]
    text = "The last rung's best cells, trained again from scratch with other seeds; the first row is the cell found."
    header = ("Cell", "Accuracy, mean ± sd", "Parameters", *seeds)
    return Section("Finalists", [Text(text), Table(header, rows)])


def _spread(values: Sequence[float] | np.ndarray) -> str:
    values = np.asarray(values, float)
    mean = f"{values.mean():.2%}"
    return f"{mean} ± {values.std(ddof=1):.2%}" if len(values) > 1 else mean
