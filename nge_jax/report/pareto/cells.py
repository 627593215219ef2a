"""Sections of reports: accuracy against size, with a row for each cell and the command that trains it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.report.figure import COLORS, save, save_svg
from nge_jax.report.pareto.front import Network, size_figure, undominated
from nge_jax.workdir import artifacts

TITLE = "Accuracy against size"


def draw(
    networks: Sequence[Network], title: str, workdir: Path, stem: str, caption: str
) -> Picture:
    """Draws networks by size and accuracy into the workdir."""
    save(size_figure(networks, title, 6.8), workdir / stem)
    save_svg(size_figure(networks, title, 3.9), workdir / f"{stem}_narrow")
    alt = f"Accuracy of {len(networks)} cells against the parameters of their networks"
    return Picture(stem, alt, caption, narrow_stem=f"{stem}_narrow")


def of_history(workdir: Path, train_command: str | None) -> Iterator[Section]:
    """Shows the cells of pareto.json that a strategy's search by the supernet has left; none without the file.

    Raises:
      InputError: the file holds something else.
    """
    path = workdir / artifacts.PARETO
    if not path.exists() or train_command is None:
        return
    networks = _read(artifacts.read_json(path), path)
    rows = [
        (
            network.name.replace("_", " "),
            f"{network.parameters:,}",
            f"{network.accuracy:.2%}",
            train_command.replace(artifacts.GENOTYPE, f"{artifacts.PARETO}:{network.name}"),
        )
        for network in networks
    ]
    caption = (
        "The cells of the history that no smaller or equal cell beats, rated on the same images in the last weights. "
        "The parameters are those of networks of the supernet's size. Each row has the command that trains the cell."
    )
    picture = draw(networks, "validation accuracy in the supernet", workdir, "pareto", caption)
    yield Section(TITLE, [picture, Table(("Cell", "Parameters", "Accuracy", "Command"), rows)])


def of_searches(workdir: Path, commands: Mapping[str, str]) -> Iterator[Section]:
    """Shows the cells of front.json: of searches that pay differently for parameters, with random cells behind.

    Args:
      workdir: the folder of all searches.
      commands: train the searches' cells, by the searches' folders.

    Raises:
      InputError: the file holds something else.
    """
    path = workdir / artifacts.FRONT
    if not path.exists():
        return
    record = artifacts.read_json(path, ("found", "random"))
    colors = [*COLORS.values()]
    found = [
        cell._replace(style={"color": colors[3 * n % len(colors)], "markersize": 5, "zorder": 3})
        for n, cell in enumerate(_read(record["found"], path))
    ]
    random = _read(record["random"], path)
    cells = [*found, *random]
    beside = f", and {len(random)} random cells of all sizes in gray" if random else ""
    caption = (
        f"The cells found{beside}. The line joins the cells that no smaller or equal cell beats."
    )
    picture = draw(
        cells, "validation accuracy, mean over all searches' weights", workdir, "front", caption
    )
    text = Text(
        "Every cell is rated in the weights of every search, on images that did not train them. The accuracy is the "
        "mean. The parameters are those of the network that the command trains."
    )
    yield Section(TITLE, [picture, text, _table_of_searches(cells, len(found), commands)])


def _table_of_searches(cells: Sequence[Network], found: int, commands: Mapping[str, str]) -> Table:
    """Makes a row for each cell found, the first of all cells."""
    best = undominated([c.parameters for c in cells], [c.accuracy for c in cells])
    rows = [
        (
            cell.name,
            f"{cell.parameters:,}",
            f"{cell.accuracy:.2%}",
            "yes" if n in best else "no",
            commands.get(cell.name, ""),
        )
        for n, cell in enumerate(cells[:found])
    ]
    return Table(("Search", "Parameters", "Accuracy", "On the line", "Command"), rows)


def _read(cells: Any, path: Path) -> list[Network]:
    """Reads cells with parameters and accuracies; raises InputError for anything else."""
    try:
        return [
            Network(str(name), int(cell["parameters"]), float(cell["accuracy"]))
            for name, cell in cells.items()
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected cells with their accuracies, found {error!r}") from None
