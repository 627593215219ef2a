"""Rates a table's cells with NAS-Bench-301's surrogate, always together with random cells."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nge_jax.report.document import Section, Table, Text
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.space.ratings import nas_bench_301
from nge_jax.space.ratings.nas_bench_301 import Surrogate
from paper import runs, tables
from paper.plan import Cell, Options

RANDOM_CELLS = 1000
NOTE = (
    "Validation accuracy on CIFAR-10 after 98 epochs as the surrogate of NAS-Bench-301 guesses it, mean ± sd over the "
    "cells of a row. Differences under 0.3 say little. The surrogate does not punish cells of skip connections, so it "
    "is no witness on skip collapse: the last column counts them."
)


def rate(surrogate: Surrogate, rows: Mapping[str, Sequence[Genotype]]) -> Table:
    """Makes a table of the ratings of each row's cells and of random cells."""
    random = nas_bench_301.random_accuracies(surrogate, RANDOM_CELLS)
    lines = []
    for name, cells in rows.items():
        guesses = nas_bench_301.of_genotypes(surrogate, cells)
        better = (guesses[:, None] > random).mean(1) if len(cells) else []
        skips = [cell.operation_counts("normal")["skip_connect"] for cell in cells]
        lines.append(
            (
                name,
                tables.spread(guesses.tolist()),
                str(len(cells)),
                tables.spread([100 * float(share) for share in better], ".0f"),
                tables.spread(skips, ".1f"),
            )
        )
    name = f"{RANDOM_CELLS:,} random cells"
    best = f"{tables.spread(random.tolist())}, best {random.max():.2f}"
    lines.append((name, best, str(len(random)), "50", tables.ABSENT))
    header = ("cells", "surrogate, %", "cells rated", "random cells below, %", "skips, normal")
    return Table(header, lines)


def sections(options: Options, rows: Mapping[str, Sequence[Cell]]) -> list[Section]:
    """Makes the section of the cells whose search is finished. Without --surrogate there is no section."""
    if options.surrogate is None:
        return []
    surrogate = nas_bench_301.load(options.surrogate)
    found = {
        name: [_read(cell) for cell in cells if _is_there(cell)] for name, cells in rows.items()
    }
    return [Section("Surrogate", [Text(NOTE), rate(surrogate, found)])]


def _is_there(cell: Cell) -> bool:
    """Tells whether a cell exists: it has a published name, or a finished search has written its file."""
    return not cell.genotype.endswith(".json") or (runs.ROOT / cell.genotype).is_file()


def _read(cell: Cell) -> Genotype:
    path: Path = runs.ROOT / cell.genotype
    return genotype.load(str(path) if path.is_file() else cell.genotype)
