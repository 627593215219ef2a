"""Makes the paper's Table 4: the four edge models, `nge` with both readings of Eq. 6, and random cells.

  python experiments/table4_ablation.py --data_dir=DIR                  scaled down, three seeds, hours on a CPU
  python experiments/table4_ablation.py --data_dir=DIR --scale=smoke    does it run?
  python experiments/table4_ablation.py --data_dir=DIR --table_only     only the runs finished so far

Each seed and edge model has a search on CIFAR-10. The scale's recipe then trains the cell found with the same seed. The
cells random:SEED are trained alike. The command runs the missing runs, and continues when started again. It writes
OUT/table4.md, .html and pictures.
"""

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.report.figure import STYLE, new_figure
from nge_jax.space.genotype import CELL_TYPES
from nge_jax.workdir import artifacts
from paper import plan, runs, surrogate, tables
from paper.runs import Run

SEEDS = {"smoke": [0], "small": [0, 1, 2], "paper": [0, 1, 2, 3]}
RANDOM = "random cells"
ERRORS = {"nge": 2.60}  # percent, of the cell that the paper found
KEYS = ("embedding_accuracy", "entropy_normal", "entropy_reduction")


def table_row(name: str, searches: Sequence[Run], trainings: Sequence[Run]) -> tuple[str, ...]:
    """Makes a row of the table."""
    accuracies, *entropies = (tables.results(searches, key) for key in KEYS)
    tests = tables.percent(tables.results(trainings, "test_accuracy"))
    return (
        name,
        tables.spread(tables.percent(accuracies)),
        " / ".join(tables.spread(values, ".3f") for values in entropies),
        tables.spread(tests),
        str(len(tests)),
        f"{ERRORS[name]:.2f}" if name in ERRORS else tables.ABSENT,
    )


def search_row(run: Run) -> tuple[str, ...]:
    """Makes a row that tells what a finished search found."""
    last = artifacts.read_metrics(run.workdir / artifacts.METRICS, KEYS)[-1]
    found = artifacts.read_genotype(run.workdir / artifacts.GENOTYPE)
    accuracy, *entropies = (last[key] for key in KEYS)
    counts = [found.operation_counts(cell_type) for cell_type in CELL_TYPES]
    operations = [", ".join(f"{n} {name}" for name, n in count.items() if n) for count in counts]
    entropies = " / ".join(f"{value:.3f}" for value in entropies)
    return run.workdir.name, f"{100 * accuracy:.2f}", entropies, *operations


def curves(searches: Mapping[str, Sequence[Run]]) -> Figure:
    """Draws validation accuracy and the normal cell's entropy over epochs: a line per search, a color per model."""
    with rc_context(STYLE):
        figure = new_figure(7.2, 2.6)
        panels = figure.subplots(1, 2, gridspec_kw={"left": 0.08, "right": 0.99, "bottom": 0.17})
        for number, (model, model_searches) in enumerate(searches.items()):
            for index, run in enumerate(model_searches):
                rows = artifacts.read_metrics(run.workdir / artifacts.METRICS, KEYS)
                epochs = range(1, len(rows) + 1)
                label = None if index else model
                for axes, key in zip(panels, KEYS[:2], strict=True):
                    values = [epoch[key] for epoch in rows]
                    axes.plot(epochs, values, color=f"C{number}", linewidth=1.1, label=label)
        panels[0].set_title("accuracy of the supernet on the validation half")
        panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panels[0].legend()
        panels[1].set_title("entropy of P, normal cell (nats)")
        for axes in panels:
            axes.set_xlabel("epoch")
        figure.draw_without_rendering()
    return figure


def main(options: plan.Options) -> None:
    searches = {m: [plan.search(options, m, seed) for seed in options.seeds] for m in plan.MODELS}
    plan.complete(options, *searches.values())
    cells = {model: list(map(plan.derived_cell, row)) for model, row in searches.items()}
    cells[RANDOM] = [plan.named_cell(f"random:{seed}") for seed in options.seeds]
    trainings = plan.comparison(options, cells)
    plan.complete(options, *trainings.values())

    finished = {model: list(filter(runs.is_finished, row)) for model, row in searches.items()}
    header = (
        "edge model",
        "supernet's validation accuracy, %",
        "entropy, normal / reduction",
        "test accuracy of the derived cell, %",
        "trainings",
        f"{tables.PAPER}: test error, %",
    )
    rows = [table_row(name, searches.get(name, ()), row) for name, row in trainings.items()]
    search_rows = [search_row(run) for row in finished.values() for run in row]
    tests = {
        name: tables.percent(tables.results(row, "test_accuracy"))
        for name, row in trainings.items()
    }
    label = "test accuracy of the derived cell, %"
    note = (
        "Mean ± sd over seeds. nge: Eq. 6 as printed; nge_predecessors: nodes hear earlier nodes."
    )
    columns = ("search", "validation accuracy, %", "entropy", "normal cell", "reduction cell")
    sections = [
        Section(
            "Edge models",
            [Text(note), Table(header, rows), Picture("table4_tests", label, f"{label}.")],
        ),
        Section(
            "Searches",
            [
                Table(columns, search_rows),
                Picture("table4_curves", "Curves of the searches", "A line each."),
            ],
        ),
        *surrogate.sections(options, cells),
    ]
    paper = {name: 100 - error for name, error in ERRORS.items()}
    tests = tables.spread_figure(label, tests, paper)
    title = "Table 4", "the edge models on CIFAR-10"
    tables.write(options, "table4", title, sections, tests=tests, curves=curves(finished))


if __name__ == "__main__":
    plan.start(main, plan.parser(__doc__), SEEDS)
