"""Makes the paper's Figure 4: pictures of the cells found, and counts of their operations.

  python experiments/figure4_cells.py --data_dir=DIR                       the scaled-down searches of Table 4
  python experiments/figure4_cells.py --data_dir=DIR --scale=smoke         does it run?
  python experiments/figure4_cells.py --data_dir=DIR --models=nge,alpha    other edge models too
  python experiments/figure4_cells.py --table_only                         only the searches finished so far

Runs the searches that are missing. Writes OUT/figure4.md, .html and pictures.
"""

from nge_jax.report.cell import cell_figure
from nge_jax.report.document import Code, Picture, Section, Table, Text
from nge_jax.space import genotype
from nge_jax.space.genotype import CELL_TYPES, OPERATIONS
from nge_jax.workdir import artifacts
from paper import plan, runs, surrogate, tables

SEEDS = {"smoke": [0], "small": [0, 1, 2], "paper": [0, 1, 2, 3]}


def main(options: plan.Options) -> None:
    searches = [plan.search(options, m, seed) for m in options.models for seed in options.seeds]
    plan.complete(options, searches)
    finished = list(filter(runs.is_finished, searches))
    cells = {
        run.workdir.name: artifacts.read_genotype(run.workdir / artifacts.GENOTYPE)
        for run in finished
    }
    sections, figures, counts = [], {}, {}
    for cell_type in CELL_TYPES:
        cell_counts = [cell.operation_counts(cell_type) for cell in cells.values()]
        counts[cell_type] = {o: [count[o] for count in cell_counts] for o in OPERATIONS}
    rows = [(o, *(tables.spread(counts[t][o], ".1f") for t in CELL_TYPES)) for o in OPERATIONS]
    label = "edges of a normal cell"
    figures["operations"] = tables.spread_figure(label, counts["normal"], {})
    note = (
        f"Mean ± sd of the number of edges, over {len(cells)} cells; 8 edges each. The paper draws one cell and "
        "prints no genotype of it, so that it is not counted here."
    )
    picture = Picture("figure4_operations", label, "Operations of the normal cells.")
    table = Table(("operation", *CELL_TYPES), rows)
    sections.append(Section("Operations", [Text(note), table, picture]))
    found = {run.workdir.name: [plan.derived_cell(run)] for run in finished}
    sections += surrogate.sections(options, found)
    for name, cell in cells.items():
        blocks = []
        for cell_type in CELL_TYPES:
            figures[f"{name}_{cell_type}"] = cell_figure(*cell.cell(cell_type))
            caption = f"The {cell_type} cell of {name}."
            blocks.append(Picture(f"figure4_{name}_{cell_type}", caption, caption))
        sections.append(Section(name, [*blocks, Code(genotype.to_json(cell))]))
    tables.write(options, "figure4", ("Figure 4", "the cells found"), sections, **figures)


if __name__ == "__main__":
    flags = plan.parser(__doc__)
    flags.add_argument(
        "--models",
        type=plan.some_of(plan.MODELS),
        default=["nge"],
        help=f"some of {','.join(plan.MODELS)}",
    )
    plan.start(main, flags, SEEDS)
