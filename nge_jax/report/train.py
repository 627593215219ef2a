"""The report of a training."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.report import confusion
from nge_jax.report import run as report_run
from nge_jax.report.document import Code, Section, Text
from nge_jax.report.parts import following, mistakes
from nge_jax.report.run import COMMON_COLUMNS
from nge_jax.text.digits import three_digits
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import EpochRows, Size

CURVES = {
    "Loss": {"training": "train_loss", "validation": "validation_loss"},
    "Accuracy": {"training": "train_accuracy", "validation": "validation_accuracy"},
    "Learning rate": {"learning rate": "learning_rate"},
}
COLUMNS = {
    **COMMON_COLUMNS,
    "Loss": ("train_loss", ".4f"),
    "Accuracy": ("train_accuracy", ".2%"),
}
VALIDATED = {  # where images are held out
    "Validation loss": ("validation_loss", ".4f"),
    "Validation accuracy": ("validation_accuracy", ".2%"),
}


def write_train_report(
    workdir: Path,
    sizes: Iterable[Size],
    *,
    title: str = "Training",
    results: Mapping[str, str] | None = None,
    first: Sequence[Section] = (),
) -> Path:
    """Draws the pictures of a training and writes its report.md and report.html.

    Args:
      workdir: of a training that has ended; the cells are drawn where genotype.json is there.
      sizes: the size of the network that was trained.
      title: what the task is called.
      results: for the headline, by name.
      first: sections before all others.

    Returns:
      The path of report.html.

    Raises:
      InputError: a file is missing or is not what a training writes; nothing is drawn then.
    """
    workdir = Path(workdir)
    epochs = report_run.read_epochs(workdir, COLUMNS)
    facts = report_run.run_facts(workdir, epochs, "Training") | _early_end(workdir, epochs)
    genotype = None
    if (workdir / artifacts.GENOTYPE).exists():
        genotype = artifacts.read_genotype(workdir / artifacts.GENOTYPE)
    tested = {**_accuracies(workdir, epochs[-1]), **_validated(epochs), **_test_time(workdir)}
    shown = (confusion.section(workdir), mistakes.section(workdir))
    sections = [*first, *filter(None, shown)]
    sections.append(report_run.curves_section(workdir, epochs, CURVES))
    if genotype is not None:
        sections.append(report_run.cells_section(workdir, genotype))
    sections += [report_run.sizes_section(sizes), _following(workdir, segments=bool(results))]
    validated = all(key in e for e in epochs for key, _ in VALIDATED.values())
    columns = COLUMNS | (VALIDATED if validated else {})
    sections.append(Section("Epochs", [report_run.epoch_table(epochs, columns)]))
    return report_run.write(workdir, title, {**tested, **(results or {}), **facts}, sections)


def _accuracies(workdir: Path, last: Mapping[str, Any]) -> dict[str, str]:
    """Returns the accuracies of a classifier's test for the headline, from the last epoch's metrics."""
    if "test_accuracy" not in last:
        return {}
    tested = {"Test accuracy": f"{last['test_accuracy']:.2%} of {last['test_examples']:,} images"}
    if "test_balanced_accuracy" in last:
        matrix = confusion.read(workdir)
        over = f" {confusion.over_classes(matrix)}" if matrix is not None else ""
        tested["Balanced accuracy"] = f"{last['test_balanced_accuracy']:.2%}{over}"
    if (baseline := confusion.baseline(workdir)) is not None:
        tested["Always the largest class"] = "{:.2%} ({})".format(*baseline)
    return tested


def _validated(epochs: EpochRows) -> dict[str, str]:
    """Returns the best and the last accuracy on what is held out, for the headline."""
    rows = [row for row in epochs if "validation_accuracy" in row]
    if not rows:
        return {}
    # The last of equal accuracies has the checkpoint that is kept, see `runtime.checkpoint`.
    best = max(rows, key=lambda row: (row["validation_accuracy"], row["epoch"]))
    last = rows[-1]["validation_accuracy"]
    text = f"{last:.2%}, best {best['validation_accuracy']:.2%} after epoch {best['epoch']}"
    return {"Validation accuracy": text}


def _early_end(workdir: Path, epochs: EpochRows) -> dict[str, str]:
    """Returns the number of epochs for the headline, where fewer than wanted were trained."""
    keys = artifacts.read_json(workdir / artifacts.CONFIG).get("train")
    keys = keys if isinstance(keys, dict) else {}  # an edited config may have something else
    wanted, patience, last = keys.get("epochs"), keys.get("patience"), epochs[-1]
    if not patience or last["epoch"] == wanted or last.get("epochs_without_gain") != patience:
        return {}
    return {"Epochs": f"{last['epoch']} of {wanted}, ended by train.patience={patience}"}


def _test_time(workdir: Path) -> dict[str, str]:
    """Returns the milliseconds of an image in the test's batches, if the run has recorded them."""
    starts = report_run.starts(workdir)
    found = [start for start in starts if isinstance(start.get("test_milliseconds"), float)]
    if not found:
        return {}
    took = f"{three_digits(found[-1]['test_milliseconds'])} ms"
    return {"Time an image": f"{took}, in batches of {found[-1].get('test_batch')}"}


def _following(workdir: Path, *, segments: bool) -> Section:
    """Says which commands follow; the run's folder may move, therefore they name it from beside."""
    given = following.commands(workdir.resolve().name, segments=segments)
    text = Text("From the folder that holds this run:")
    return Section("Next", [text, Code("\n".join(given))])
