"""The report of a search: its cells, what to beware of, curves, and P over the epochs."""

import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nge_jax.report import figure, history
from nge_jax.report import run as report_run
from nge_jax.report.curves import probabilities_figure
from nge_jax.report.document import Block, Caution, Code, Picture, Section, Text
from nge_jax.report.run import COMMON_COLUMNS, Size
from nge_jax.runtime import artifacts
from nge_jax.runtime.artifacts import EpochRows
from nge_jax.space.genotype import CELL_TYPES, OPERATIONS, Genotype, operation_counts

TRAINING, VALIDATION = "training half (weights)", "validation half (embedding)"
CURVES = {
    "Loss": {TRAINING: "weight_loss", VALIDATION: "embedding_loss"},
    "Accuracy": {TRAINING: "weight_accuracy", VALIDATION: "embedding_accuracy"},
    "Entropy of P, nats": {"normal": "entropy_normal", "reduction": "entropy_reduction"},
}
COLUMNS = {
    **COMMON_COLUMNS,
    "Training loss": ("weight_loss", ".4f"),
    "Validation loss": ("embedding_loss", ".4f"),
    "Training accuracy": ("weight_accuracy", ".2%"),
    "Validation accuracy": ("embedding_accuracy", ".2%"),
    "Entropy, normal": ("entropy_normal", ".4f"),
    "Entropy, reduction": ("entropy_reduction", ".4f"),
}
COUNT_COLUMNS = {
    cell_type: {name: (f"{name}_{cell_type}", ".0f") for name in OPERATIONS}
    for cell_type in CELL_TYPES
}
NEAR_UNIFORM = 0.95  # of the entropy of equal probabilities: the choice is then a close one


def write_search_report(workdir: Path, sizes: Iterable[Size], train_command: str) -> Path:
    """Draws the pictures of a search and writes its report.md and report.html.

    Args:
      workdir: of a search that has ended.
      sizes: those of networks made of the cells it found.
      train_command: trains such a network.

    Returns:
      The path of report.html.

    Raises:
      InputError: a file is missing or is not what a search writes; nothing is drawn then.
    """
    workdir = Path(workdir)
    genotype = artifacts.read_genotype(workdir / artifacts.GENOTYPE)
    epochs = report_run.read_epochs(workdir, COLUMNS, *COUNT_COLUMNS.values())
    probs, operations, edges = artifacts.read_architecture(workdir / artifacts.ARCHITECTURE)
    facts = report_run.run_facts(workdir, epochs)
    by_gradient = facts.get("Strategy", "gradient") == "gradient"
    evaluated = None  # the cells, of a strategy that asks for some
    if by_gradient:
        results = {"Supernet accuracy": f"{epochs[-1]['embedding_accuracy']:.2%}"}
    else:
        evaluated = artifacts.read_history(workdir / artifacts.HISTORY)
        results = history.facts(evaluated)

    warnings = search_warnings(genotype, epochs, by_gradient=by_gradient)
    sections = [
        report_run.cells_section(workdir, genotype, cautions=[*map(Caution, warnings)]),
        *([] if evaluated is None else [history.section(workdir, evaluated)]),
        Section("Train it", [Text("Trains the cells from scratch:"), Code(train_command)]),
        report_run.sizes_section(sizes),
        report_run.curves_section(workdir, epochs, CURVES),
        _probabilities_section(workdir, genotype, probs, operations, edges),
        _epochs_section(epochs),
    ]
    return report_run.write(workdir, "Architecture search", results | facts, sections)


def search_warnings(
    genotype: Genotype, epochs: EpochRows, *, by_gradient: bool = True
) -> list[str]:
    """Says what a reader should know before trusting the cells; only the gradient's are derived from P."""
    warnings = []
    for cell_type in CELL_TYPES:
        edges = len(genotype.cell(cell_type)[0])
        skips = operation_counts(genotype, cell_type)["skip_connect"]
        if 2 * skips >= edges:
            half = [2 * epoch[f"skip_connect_{cell_type}"] >= edges for epoch in epochs]
            run = len(list(itertools.takewhile(bool, reversed(half))))
            since = f"; half or more since epoch {epochs[-run]['epoch']}" if run else ""
            warnings.append(
                f"skip_connect takes {skips} of the {edges} edges of the {cell_type} cell{since}. "
                "Such cells do well in the supernet and often worse when trained from scratch."
            )
        entropy, largest = epochs[-1][f"entropy_{cell_type}"], math.log(len(OPERATIONS))
        if by_gradient and entropy > NEAR_UNIFORM * largest:
            warnings.append(
                f"The probabilities of the {cell_type} cell are still close to equal (entropy "
                f"{entropy:.3f} of at most {largest:.3f} nats): small differences chose the cell."
            )
    return warnings


def _probabilities_section(
    workdir: Path,
    genotype: Genotype,
    probs: np.ndarray,
    operations: list[str],
    edges: list[tuple[int, int]],
) -> Section:
    """Draws P [epochs + 1, cell type, edge, operation] into the workdir and shows it."""
    pictures = []
    for c, cell_type in enumerate(CELL_TYPES):
        stem = f"probabilities_{cell_type}"
        pairs, _ = genotype.cell(cell_type)
        figure.save(probabilities_figure(probs[:, c], operations, edges, pairs), workdir / stem)
        alt = f"Probability of each operation over the epochs, on each edge of the {cell_type} cell"
        caption = f"The {cell_type} cell: probabilities P over the epochs, a panel for each edge. "
        caption += "Kept edges are titled with their operation, which has the thick line."
        pictures.append(Picture(stem, alt, caption))
    return Section("Probabilities", pictures)


def _epochs_section(epochs: EpochRows) -> Section:
    blocks: list[Block] = [report_run.epoch_table(epochs, COLUMNS)]
    for cell_type, counts in COUNT_COLUMNS.items():
        blocks.append(Text(f"Operations of the {cell_type} cell that leads at the epoch's end:"))
        columns = {"Epoch": COMMON_COLUMNS["Epoch"], **counts}
        blocks.append(report_run.epoch_table(epochs, columns))
    return Section("Epochs", blocks)
