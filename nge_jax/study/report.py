"""The report of a study: the answer, the table, accuracy against size, every network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from nge_jax.cost import Cost
from nge_jax.report import run as report_run
from nge_jax.report.document import Caution, Code, Picture, Section, Table, Text
from nge_jax.report.figure import COLORS, INK, STYLE, hover, new_figure, save, save_svg
from nge_jax.report.pareto.front import lay_out
from nge_jax.report.parts import following
from nge_jax.search import runner as search_runner
from nge_jax.settings.configs import flatten
from nge_jax.study.plan import FOUND, PLAIN, PUBLISHED, RANDOM
from nge_jax.study.result import TITLES, Row, StudyResult, read_result
from nge_jax.study.statistics import DECIDING, spread
from nge_jax.text.digits import three_digits
from nge_jax.workdir import artifacts

HEADER = ("", "n", "accuracy, %", "parameters", "multiply-adds", "s/training")
NOTE = (
    "n: networks x trainings. ± sd: over the networks, or over the trainings of a single network."
)
PICTURE = "accuracy_by_size"
# The color and the mark of each kind of network.
MARKS = {
    FOUND: (COLORS["max_pool_3x3"], "D"),
    RANDOM: (COLORS["sep_conv_3x3"], "o"),
    PUBLISHED: (COLORS["dil_conv_3x3"], "s"),
    PLAIN: (INK, "^"),
}
METHOD = (
    "All networks are trained from scratch by the same recipe, and the test images are read once at the end of each "
    "training. The error of the difference counts cells and training seeds, by the deviation of the cells' means, and "
    "test images, by the deviation of the difference from image to image. A difference of more than "
    f"{DECIDING} standard errors is called a difference."
)


def report(path: str | Path) -> Path:
    """Writes study.json and the report of the study that has ended in the workdir `path`; returns report.html's path.

    Raises:
      InputError: a file is missing or is not what a study writes.
    """
    path = Path(path)
    result = read_result(path)
    artifacts.write_json(path / artifacts.STUDY, result.to_json())
    seconds = [s for network in result.networks for s in network.seconds]
    epochs = [{"epoch": number, "seconds": s} for number, s in enumerate(seconds, 1)]
    facts = report_run.run_facts(path, epochs, "Trainings")
    facts.pop("Epochs")
    searches = sum(result.search_seconds.values())
    facts |= {"Searches": f"{len(result.search_seconds)}, {three_digits(searches)} s"}
    row, random = result.rows[:2]
    results = {
        "Cells found": f"{show_spread(row.accuracy, row.deviation)} %",
        "Random cells of the same cost": f"{show_spread(random.accuracy, random.deviation)} %",
    }
    sections = [
        _answer_section(result),
        _picture_section(path, result),
        _networks_section(result),
        _searches_section(result),
    ]
    if has_network(path):
        sections.append(_following_section(path, result))
    return report_run.write(path, "Study", results | facts, sections)


def _answer_section(result: StudyResult) -> Section:
    sentence = result.difference.sentence()
    blocks = [Text(f"{sentence[0].upper()}{sentence[1:]}."), to_table(result.rows), Text(NOTE)]
    if diverged := sum(network.diverged for network in result.networks):
        blocks.append(Caution(f"{diverged} trainings have diverged; they count as they ended."))
    return Section("Answer", [*blocks, *map(Text, describe_limits(result)), Text(METHOD)])


def describe_limits(result: StudyResult) -> list[str]:
    """Says in a line which limits of the recipe all networks keep; none without such limits.

    A study that began by an older version may have trained networks beyond the limits.
    """
    settings = flatten(artifacts.read_json(result.workdir / artifacts.CONFIG))
    limits = [
        f"recipe.limits.{name}={limit}"
        for name in Cost._fields
        if (limit := settings.get(f"recipe.limits.{name}"))
        and all(getattr(network, name) <= limit for network in result.networks)
    ]
    return [f"Networks beyond {' or '.join(limits)} are left out."] if limits else []


def _picture_section(path: Path, result: StudyResult) -> Section:
    save(size_figure(result, 6.8), path / PICTURE)
    save_svg(size_figure(result, 3.9), path / f"{PICTURE}_narrow")
    alt = f"Test accuracy of {len(result.networks)} networks against their parameters"
    caption = "Each point is a network: the mean over its trainings, and the standard deviation."
    picture = Picture(PICTURE, alt, caption, narrow_stem=f"{PICTURE}_narrow")
    return Section("Accuracy against size", [picture])


def size_figure(result: StudyResult, width: float) -> Figure:
    """Draws the accuracy of every network against its parameters; `width` in inches."""
    with rc_context(STYLE):
        figure = new_figure(width, 3.0)
        axes = figure.subplots()
        for kind, (color, mark) in MARKS.items():
            group = [network for network in result.networks if network.kind == kind]
            for number, network in enumerate(group):
                mean, deviation = spread(network.accuracies)
                label = (TITLES[kind] or network.name) if not number else None
                point = axes.errorbar(
                    network.parameters, mean, yerr=deviation, fmt=mark, color=color, ms=4, lw=0.8, label=label
                )  # fmt: skip
                hover(point.lines[0], f"{network.name}: {mean:.2f} %")
        lay_out(figure, axes, "accuracy, %")
    return figure


def _networks_section(result: StudyResult) -> Section:
    seeds = max(len(network.accuracies) for network in result.networks)
    header = ("Network", "Of search", "Parameters", "Multiply-adds", "Accuracy, %")
    header = (*header, *(f"Seed {seed}" for seed in range(seeds)))
    rows = []
    for network in sorted(result.networks, key=lambda network: -np.mean(network.accuracies)):
        single = [f"{accuracy:.2f}" for accuracy in network.accuracies]
        rows.append(
            (
                f"found by {network.name}" if network.kind == FOUND else network.name,
                "–" if network.search is None else str(network.search),
                f"{network.parameters:,}",
                f"{network.multiply_adds:,}",
                show_spread(*spread(network.accuracies)),
                *single,
                *["–"] * (seeds - len(single)),
            )
        )
    return Section("Networks", [Table(header, rows)])


def _searches_section(result: StudyResult) -> Section:
    rows = [(str(s), three_digits(t), f"search-{s}") for s, t in result.search_seconds.items()]
    text = "Each search has a folder with its report. This trains the first cell found by its config as it is:"
    settings = artifacts.read_json(result.workdir / artifacts.CONFIG, ("data", "search"))
    first = result.workdir / f"search-{min(result.search_seconds)}"
    command = search_runner.train_command(settings, first)
    return Section(
        "Searches", [Table(("Seed", "Seconds", "Folder"), rows), Text(text), Code(command)]
    )


def _following_section(path: Path, result: StudyResult) -> Section:
    """Says which network is left, and the commands that use it; the study's folder may move."""
    given = following.commands(path.resolve().name, network=artifacts.NETWORK)
    place = Text("From the folder that holds this study:")
    return Section("Next", [*map(Text, describe_network(result)), place, Code("\n".join(given))])


def has_network(path: Path) -> bool:
    """Tells whether a study has left a network; an older version has left none."""
    return (path / artifacts.NETWORK / artifacts.CONFIG).is_file()


def describe_network(result: StudyResult) -> list[str]:
    """Says which network the study has left, how it was chosen, and where it is beyond the search's limits."""
    first = next(network for network in result.networks if network.kind == FOUND)
    lines = [
        f"The folder {artifacts.NETWORK} has the network of the first cell found, trained with the first training "
        f"seed: {first.parameters:,} parameters, {first.accuracies[0]:.2f} % of the test images right.",
        "The order of the seeds chose this network, and not the accuracy on the test images.",
    ]
    settings = flatten(artifacts.read_json(result.workdir / artifacts.CONFIG))
    for name in Cost._fields:
        if (limit := settings.get(f"limits.{name}")) and getattr(first, name) > limit:
            lines.append(
                f"The network is beyond limits.{name}={limit}. The search has kept the limit, and keys recipe.KEY make "
                "the study's networks larger."
            )
    return lines


def to_table(rows: Sequence[Row]) -> Table:
    """Makes a row for each kind of network."""
    return Table(
        HEADER,
        [
            (
                row.title,
                f"{row.networks} x {row.trainings}",
                show_spread(row.accuracy, row.deviation),
                f"{row.parameters:,.0f}",
                f"{row.multiply_adds:,.0f}",
                three_digits(row.seconds),
            )
            for row in rows
        ],
    )


def show_spread(mean: float, deviation: float | None) -> str:
    """Writes a mean with its deviation, if it has one."""
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def to_text(table: Table) -> str:
    """Lays a table out for a terminal: names to the left, numbers to the right."""
    rows = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
