"""Searches with the four edge models (the searches behind the paper's Table 4) and tabulates them.

  python experiments/search_edge_models.py --data_dir=DIR              scaled down, two seeds, hours on a CPU
  python experiments/search_edge_models.py --data_dir=DIR --size=      the paper's size

Runs what is missing, one search after another, each in runs/edge_models/MODEL-SEED; stopped, it goes on when
started again. Prints a Markdown table and draws the curves into runs/edge_models/curves.png; --table_only does
so for the searches finished so far.
"""

import statistics
import subprocess
import sys
from pathlib import Path

from absl import app, flags
from matplotlib import rc_context
from matplotlib.ticker import PercentFormatter

from nge_jax import genotype, plots, record
from nge_jax.draw import new_figure
from nge_jax.embedding import EDGE_MODELS
from nge_jax.genotype import CELL_TYPES

_DATA_DIR = flags.DEFINE_string("data_dir", "", "tfds folder; empty: TFDS's own default")
_OUT = flags.DEFINE_string("out", "runs/edge_models", "where the workdirs go")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1"], "seeds of each edge model's searches")
_SIZE = flags.DEFINE_string(
    "size", "small", "a size of configs/search_cifar.py; empty: the paper's"
)
_TABLE_ONLY = flags.DEFINE_bool("table_only", False, "run nothing")

ROOT = Path(__file__).parents[1]
KEYS = ("embedding_accuracy", "entropy_normal", "entropy_reduction")


def search(model: str, seed: str, workdir: Path) -> None:
    variant = ",".join(filter(None, (model, _SIZE.value)))
    command = [sys.executable, "-m", "nge_jax.main", f"--config=configs/search_cifar.py:{variant}"]
    command += [f"--config.seed={seed}", f"--config.data.dir={_DATA_DIR.value}"]
    subprocess.run([*command, f"--workdir={workdir.absolute()}"], check=True, cwd=ROOT)


def row(model: str, seed: str, workdir: Path) -> tuple[float, str]:
    """The supernet's last validation accuracy, and the Markdown row."""
    last = record.read_metrics(workdir / "metrics.jsonl", KEYS)[-1]
    found = record.read_genotype(workdir / "genotype.json")
    accuracy, *entropies = (last[key] for key in KEYS)
    cells = []
    for cell_type in CELL_TYPES:
        counts = genotype.operation_counts(found, cell_type)
        cells.append(", ".join(f"{n} {name}" for name, n in counts.items() if n))
    cells = " / ".join(cells)
    entropies = " / ".join(f"{value:.3f}" for value in entropies)
    return accuracy, f"| {model} | {seed} | {accuracy:.1%} | {entropies} | {cells} |"


def draw_curves(workdirs: dict[str, list[Path]], path: Path) -> None:
    """Validation accuracy and the normal cell's entropy over the epochs: a line a search, a colour a model."""
    with rc_context(plots.STYLE):
        figure = new_figure(7.2, 2.6)
        panels = figure.subplots(1, 2, gridspec_kw={"left": 0.08, "right": 0.99, "bottom": 0.17})
        for number, (model, paths) in enumerate(workdirs.items()):
            for seed, workdir in enumerate(paths):
                rows = record.read_metrics(workdir / "metrics.jsonl", KEYS)
                epochs = range(1, len(rows) + 1)
                label = model if seed == 0 else None
                for axes, key in zip(panels, KEYS, strict=False):
                    values = [row[key] for row in rows]
                    axes.plot(epochs, values, color=f"C{number}", linewidth=1.1, label=label)
        panels[0].set_title("accuracy of the supernet on the validation half")
        panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panels[0].legend()
        panels[1].set_title("entropy of P, normal cell (nats)")
        for axes in panels:
            axes.set_xlabel("epoch")
        figure.savefig(path, dpi=150)


def main(_) -> None:
    rows, summaries, finished = [], [], {}
    for model in EDGE_MODELS:
        accuracies = []
        for seed in _SEEDS.value:
            workdir = Path(_OUT.value) / f"{model}-{seed}"
            if not _TABLE_ONLY.value:
                search(model, seed, workdir)
            if (workdir / "genotype.json").exists():
                accuracy, text = row(model, seed, workdir)
                accuracies.append(accuracy)
                rows.append(text)
                finished.setdefault(model, []).append(workdir)
        if len(accuracies) > 1:
            mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
            summaries.append(f"{model} {mean:.1%} ± {deviation:.1%}")
    print("| edge model | seed | validation accuracy | entropy (normal / reduction) | operations |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))
    print("\nMean ± sd: " + ", ".join(summaries))
    draw_curves(finished, Path(_OUT.value) / "curves.png")


if __name__ == "__main__":
    app.run(main)
