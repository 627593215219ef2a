"""The report of a search: its cells, warnings, curves, and P over the epochs."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nge_jax.errors import InputError
from nge_jax.report import edges, figure, history
from nge_jax.report import run as report_run
from nge_jax.report.curves import operations_figure, probabilities_figure
from nge_jax.report.document import Block, Caution, Code, Picture, Section, Table, Text
from nge_jax.report.heat import heat_figure
from nge_jax.report.pareto import cells as cells_by_size
from nge_jax.report.parts import latency, trainings
from nge_jax.report.run import COMMON_COLUMNS, Columns
from nge_jax.space import skips
from nge_jax.space.cell import Cell, count_operations, derive, is_uniform, within
from nge_jax.space.spaces import Space
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import EpochRows, Size

TRAINING, VALIDATION = "training half (weights)", "validation half (embedding)"
CURVES = {
    "Loss": {TRAINING: "weight_loss", VALIDATION: "embedding_loss"},
    "Accuracy": {TRAINING: "weight_accuracy", VALIDATION: "embedding_accuracy"},
}
COLUMNS = {
    **COMMON_COLUMNS,
    "Training loss": ("weight_loss", ".4f"),
    "Validation loss": ("embedding_loss", ".4f"),
    "Training accuracy": ("weight_accuracy", ".2%"),
    "Validation accuracy": ("embedding_accuracy", ".2%"),
}
# Some relaxations (`search.relaxation`) record these, too: by key, the title and the format.
RECORDED = {
    "temperature": ("Temperature of the draws", ".3g"),
    "entropy_weight": ("Weight of P's entropy in the loss", ".2f"),
    "skip_dropout": ("Rate of skips left out", ".2f"),
    "edge_mutation": ("Rate of edges that mutate", ".3f"),
    "layer_correlation": ("Weight of the cells' correlation", ".3f"),
    "layer_cosine": ("Mean cosine between cells' gradients", ".3f"),
}
# A choice is close if P's entropy is above this part of the entropy of equal probabilities.
NEAR_UNIFORM = 0.95


def write_search_report(
    workdir: Path, sizes: Iterable[Size] = (), train_command: str | None = None
) -> Path:
    """Draws the pictures of a search and writes its report.md and report.html.

    Args:
      workdir: of a search that has ended.
      sizes: sizes of networks made of the cells found, if there are any.
      train_command: trains such a network; None where none does.

    Returns:
      The path of report.html.

    Raises:
      InputError: a file is missing or is not what a search writes; nothing is drawn then.
    """
    cells, probs, betas, space = _read_choice(workdir := Path(workdir))
    count_columns = _count_columns(space)
    epochs = report_run.read_epochs(workdir, COLUMNS, *count_columns.values())
    entropies = _entropy_columns(space, epochs)
    facts = report_run.run_facts(workdir, epochs)
    by_gradient = facts.get("Strategy", "gradient") == "gradient"
    results, ratings = _rate(workdir, space, epochs, by_gradient=by_gradient)
    strengths, warnings = probs[-1], search_warnings(cells, epochs, None, space)
    if by_gradient:
        strengths, warnings = _judge(workdir, cells, probs, betas, epochs, space)
    sections = [report_run.cells_section(workdir, cells, cautions=[*map(Caution, warnings)])]
    trained, more = trainings.sections(workdir)
    sections += ratings + [*cells_by_size.of_history(workdir, train_command)]
    sections += [*_training_sections(train_command, list(sizes)), *latency.sections(workdir)]
    sections += trained
    before = derive(_strengths(probs, betas, 0), space) if by_gradient else None
    sections += [
        report_run.curves_section(workdir, epochs, _curves(entropies, space, epochs, betas)),
        _operations_section(workdir, epochs, space, before),
        *([_margins_section(cells, strengths, betas, space)] if by_gradient and entropies else []),
        _probabilities_section(workdir, cells, probs, betas, space, bool(entropies)),
        _epochs_section(epochs, {**COLUMNS, **entropies}, count_columns),
    ]
    return report_run.write(workdir, "Architecture search", results | more | facts, sections)


def _read_choice(workdir: Path) -> tuple[Cell, np.ndarray, np.ndarray | None, Space]:
    """Reads the cells found, P and the weights of the edges that they were chosen by, and the space."""
    file = workdir / artifacts.ARCHITECTURE
    probs, space = artifacts.read_architecture(file)
    cells = within(artifacts.read_cell(workdir / artifacts.GENOTYPE), space)
    if cells is None:
        raise InputError(f"{workdir / artifacts.GENOTYPE}: expected a cell of the space searched")
    return cells, probs, artifacts.read_betas(file, probs), space


def _judge(
    workdir: Path,
    cells: Cell,
    probs: np.ndarray,
    betas: np.ndarray | None,
    epochs: EpochRows,
    space: Space,
) -> tuple[np.ndarray, list[str]]:
    """Returns the scores that the gradient's cells were derived from, and what a reader should know of the choice."""
    last = derive(_strengths(probs, betas, -1), space)
    fallen, told = edges.fallen(workdir, epochs, last)
    deciding = -1 if fallen is None else fallen[0]["epoch"]
    strengths = _strengths(probs, betas, deciding)
    until = epochs if fallen is None else epochs[:deciding]
    warnings = search_warnings(cells, until, probs[deciding], space)
    return strengths, [*warnings, *told, *_limits_met(workdir, cells, strengths, epochs, space)]


def _rate(
    workdir: Path, space: Space, epochs: EpochRows, *, by_gradient: bool
) -> tuple[dict[str, str], list[Section]]:
    """Returns the headline's results and the sections that say how good the cells are."""
    sections: list[Section] = []
    # A strategy has asked for cells, and has had them evaluated.
    evaluated = None if by_gradient else artifacts.read_history(workdir / artifacts.HISTORY, space)
    compared = artifacts.read_random_cells(workdir)
    if evaluated is None:
        results = {"Supernet accuracy": f"{epochs[-1]['embedding_accuracy']:.2%}"}
    else:
        results = history.facts(evaluated)
    if "embedding_rate" in epochs[-1]:
        results["Rate of the embedding, matched"] = f"{epochs[-1]['embedding_rate']:.3g}"
    if space.is_tabular:
        section, more = _accuracies_section(workdir)
        results |= more
        sections.append(section)
    if evaluated is not None:
        sections.append(history.section(workdir, evaluated, space))
    if compared is not None:
        section, more = _random_cells_section(*compared)
        results |= more
        sections.append(section)
    return results, sections


def _training_sections(train_command: str | None, sizes: Sequence[Size]) -> Iterator[Section]:
    """Says how the cells are trained, and how large their networks are."""
    if train_command is not None:
        how = [Text("Trains the cells from scratch:"), Code(train_command)]
        yield Section("Train it", how)
    if sizes:
        yield report_run.sizes_section(sizes)


def _curves(
    entropies: Columns, space: Space, epochs: EpochRows, betas: np.ndarray | None
) -> report_run.Curves:
    """Returns the panels of the curves."""
    curves = dict(CURVES)
    if entropies:
        curves["Entropy of P, nats"] = {kind: f"entropy_{kind}" for kind in space.cell_types}
    curves |= {title: {title.lower(): key} for key, (title, _) in _recorded(epochs).items()}
    if betas is not None:
        curves["Entropy of edge weights, nats"] = {
            kind: f"edge_entropy_{kind}" for kind in space.cell_types
        }
    return curves


def _strengths(probs: np.ndarray, betas: np.ndarray | None, epoch: int) -> np.ndarray:
    """Returns the scores that cells are derived from, [cell type, edge, operation]."""
    return probs[epoch] if betas is None else betas[epoch][..., None] * probs[epoch]


def _entropy_columns(space: Space, epochs: EpochRows) -> Columns:
    """Makes the columns of P's entropy; empty for a relaxation whose P has no probabilities."""
    columns = {f"Entropy, {kind}": (f"entropy_{kind}", ".4f") for kind in space.cell_types}
    return columns if all(key in row for row in epochs for key, _ in columns.values()) else {}


def _count_columns(space: Space) -> Mapping[str, Columns]:
    """Makes the table of epochs of each cell type's operations."""
    return {
        kind: {name: (f"{name}_{kind}", ".0f") for name in space.operations}
        for kind in space.cell_types
    }


def search_warnings(
    cells: Cell, epochs: EpochRows, probs: np.ndarray | None, space: Space
) -> list[str]:
    """Says what a reader should know before trusting the cells; cells derived from P [C, E, O] need more."""
    warnings = []
    for number, cell_type in enumerate(space.cell_types):
        if probs is not None and is_uniform(probs[number], space, number):
            warnings.append(
                f"The probabilities of the {cell_type} cell are all equal: the edge model has decayed to nothing, and "
                "the cell is no choice but the first of equals. With embedding.weight_decay=0 it does not decay."
            )
            continue
        kept = len(cells.kept_edges(cell_type))
        counts = count_operations(cells, cell_type, space)
        skips, sentences = counts.get("skip_connect", 0), []
        if 2 * skips >= kept:
            half = [2 * epoch[f"skip_connect_{cell_type}"] >= kept for epoch in epochs]
            run = len(list(itertools.takewhile(bool, reversed(half))))
            since = f"; half or more since epoch {epochs[-run]['epoch']}" if run else ""
            sentences = [
                f"skip_connect takes {skips} of the {kept} edges of the {cell_type} cell{since}.",
                "Such cells do well in the supernet and often worse when trained from scratch.",
            ]
        sentences += edges.sentences(counts, epochs[-1], cell_type)
        warnings += [" ".join(sentences)] if sentences else []
        # It is 0 for a P without probabilities, which records no entropy.
        entropy = epochs[-1].get(f"entropy_{cell_type}", 0.0)
        largest = _largest_entropy(space, number)
        if probs is not None and entropy > NEAR_UNIFORM * largest:
            warnings.append(
                f"The probabilities of the {cell_type} cell are still close to equal (entropy "
                f"{entropy:.3f} of at most {largest:.3f} nats): small differences chose the cell."
            )
    return warnings


def _largest_entropy(space: Space, cell_type: int) -> float:
    """Computes the entropy of equal probabilities in nats, a mean over the edges of a cell type."""
    counts = [len(space.choices(cell_type, edge)) for edge in range(len(space.edges))]
    return sum(map(math.log, counts)) / len(counts) if space.allowed else math.log(counts[0])


def _accuracies_section(workdir: Path) -> tuple[Section, dict[str, str]]:
    """Shows how the cell trains, from the NAS-Bench-201 table given to the search; and makes the headline's part."""
    path = workdir / artifacts.ACCURACIES
    if not path.is_file():
        text = "How it trains is in the table of NAS-Bench-201: set data.table and give the same command again."
        return Section("Accuracies", [Text(text)]), {}
    truth = artifacts.read_json(path, ("found", "epochs"))

    def show(value: float | None) -> str:
        return "absent" if value is None else f"{value:.2f}%"

    rows = [(name, show(a["validation"]), show(a["test"])) for name, a in truth["found"].items()]
    last = [(str(e["epoch"]), e["cell"], show(e["test"])) for e in truth["epochs"]]
    blocks = [
        Text(
            "Of the network of this cell, trained for 200 epochs by the benchmark; the search has not seen these."
        ),
        Table(("Data set", "Validation", "Test"), rows),
        Text("CIFAR-10 test accuracy of the cell that P favored after each epoch:"),
        Table(("Epoch", "Cell", "Test"), last),
    ]
    headline = {f"{name} test": show(a["test"]) for name, a in truth["found"].items()}
    return Section("Accuracies", blocks), headline


def _random_cells_section(
    accuracy: float, others: dict[str, float]
) -> tuple[Section, dict[str, str]]:
    """Shows the cell found beside random ones, all in the search's weights, and makes the headline's part."""
    found_row = ("the cell found", f"{accuracy:.2%}")
    rows = [found_row, *((name, f"{other:.2%}") for name, other in others.items())]
    mean = f"{sum(others.values()) / len(others):.2%}"
    rows.append(("mean of the random cells", mean))
    better = sum(other < accuracy for other in others.values())
    text = (
        "Validation accuracy of single cells in the weights that the search ended with, on the same images (weights "
        "that have learned for mixtures of operations do worse for single ones). The cell "
        f"found is better than {better} of the {len(others)} random ones."
    )
    if 2 * better <= len(others):
        text += " These weights do not tell it from a random cell."
    facts = {"Cell in its weights": f"{accuracy:.2%}, random ones {mean}"}
    return Section("Beside random cells", [Text(text), Table(("Cell", "Accuracy"), rows)]), facts


def _limits_met(
    workdir: Path,
    cells: Cell,
    strengths: np.ndarray,
    epochs: EpochRows,
    space: Space,
) -> Iterator[str]:
    """Says where limits on skip connections have changed the search or its cells."""
    settings = artifacts.read_json(workdir / artifacts.CONFIG, ("search",))["search"]
    planned, done = settings.get("epochs", 0), epochs[-1]["epoch"]
    if settings.get("stop_on_skips") and done < planned:
        yield (
            f"The search stopped after epoch {done} of {planned}: the normal cell had "
            f"{settings['stop_on_skips']} skip connections or more (search.stop_on_skips)."
        )
    favored = skips.count_skips(derive(strengths, space), space)
    kept = skips.count_skips(cells, space)
    if kept < favored > settings.get("max_skips", favored):  # limits of a network take others away
        yield f"P favors {favored} skip connections in the normal cell, search.max_skips left {kept}."


def _operations_section(
    workdir: Path, epochs: EpochRows, space: Space, before: Cell | None
) -> Section:
    """Draws how often the leading cell has each operation, over the epochs; `before`: the search, if one led."""
    numbers = [epoch["epoch"] for epoch in epochs]
    counts = {
        kind: {name: [epoch[f"{name}_{kind}"] for epoch in epochs] for name in space.operations}
        for kind in space.cell_types
    }
    if before is not None:
        numbers = [0, *numbers]
        for kind, of in counts.items():
            first = count_operations(before, kind, space)
            counts[kind] = {name: [first[name], *values] for name, values in of.items()}
    figure.save(operations_figure(numbers, counts), workdir / "operations")
    narrow = operations_figure(numbers, counts, downwards=True)
    figure.save_svg(narrow, workdir / "operations_narrow")
    alt = "Operations of the cell that leads, over the epochs"
    caption = "The cell that leads after each epoch: how many of its edges have which operation."
    if before is not None:
        caption += " Epoch 0 is before the search."
    picture = Picture("operations", alt, caption, narrow_stem="operations_narrow")
    return Section("Operations", [picture])


def _margins_section(
    cells: Cell, strengths: np.ndarray, betas: np.ndarray | None, space: Space
) -> Section:
    """Says by how much the last P chose each operation and each edge."""
    what = "probability" if betas is None else "weight of the edge times probability"
    text = f"A choice's strength is its {what} after the last epoch, a margin its lead over the strongest that lost."
    blocks: list[Block] = [Text(text)]

    def name(node: int) -> str:
        return report_run.node_name(node, space.num_inputs)

    for cell_type in space.cell_types:
        rows = []
        for margin in skips.margins(strengths, cells, cell_type, space):
            edge = margin.edge
            rival = (
                "none"
                if margin.rival is None
                else f"{margin.edge_margin:+.4f} ({name(margin.rival)})"
            )
            lead = f"{margin.operation_margin:+.4f} ({margin.runner_up})"
            arrow = f"{name(edge.source)} → {name(edge.target)}"
            rows.append((arrow, edge.operation, f"{margin.strength:.4f}", lead, rival))
        blocks.append(Text(f"The {cell_type} cell:"))
        heads = ("Edge", "Operation", "Strength", "Over operation", "Over edge from")
        blocks.append(Table(heads, rows))
    return Section("Margins", blocks)


def _probabilities_section(
    workdir: Path,
    cells: Cell,
    probs: np.ndarray,
    betas: np.ndarray | None,
    space: Space,
    is_distribution: bool,
) -> Section:
    """Draws P [epochs + 1, cell type, edge, operation] into the workdir and shows it, with betas if there are any."""
    what = "probabilities" if is_distribution else "strengths"
    kept = {
        kind: {(e.source, e.target): e.operation for e in cells.kept_edges(kind)}
        for kind in space.cell_types
    }
    figure.save(heat_figure(probs, space, kept), workdir / "heat")
    figure.save_svg(heat_figure(probs, space, kept, downwards=True), workdir / "heat_narrow")
    one = "Probability" if is_distribution else "Strength"
    alt = f"{one} of each operation on each edge after the last epoch"
    caption = f"{what.capitalize()} P after the last epoch; what the cell keeps has a frame. "
    caption += "A pointer tells more digits."
    pictures = [Picture("heat", alt, caption, narrow_stem="heat_narrow")]
    for c, cell_type in enumerate(space.cell_types):
        stem = f"probabilities_{cell_type}"
        drawing = probabilities_figure(
            probs[:, c], space, kept[cell_type], None if betas is None else betas[:, c]
        )
        figure.save(drawing, workdir / stem)
        alt = f"{one} of each operation over the epochs, on each edge of the {cell_type} cell"
        caption = f"The {cell_type} cell: {what} P over the epochs, a panel for each edge. "
        caption += "Kept edges are titled with their operation, which has the thick line."
        if betas is not None:
            caption += " Dotted: the edge's weight; those of the edges into a node sum to 1."
        pictures.append(Picture(stem, alt, caption))
    return Section(what.capitalize(), pictures)


def _recorded(epochs: EpochRows) -> dict[str, tuple[str, str]]:
    return {key: shown for key, shown in RECORDED.items() if all(key in row for row in epochs)}


def _epochs_section(
    epochs: EpochRows, columns: Columns, count_columns: Mapping[str, Columns]
) -> Section:
    recorded = {title: (key, shown) for key, (title, shown) in _recorded(epochs).items()}
    blocks: list[Block] = [report_run.epoch_table(epochs, {**columns, **recorded})]
    for cell_type, counts in count_columns.items():
        blocks.append(Text(f"Operations of the {cell_type} cell that leads at the epoch's end:"))
        counted = {"Epoch": COMMON_COLUMNS["Epoch"], **counts}
        blocks.append(report_run.epoch_table(epochs, counted))
    blocks += edges.blocks(epochs, [*count_columns])
    return Section("Epochs", blocks)
