"""The report of a segmentation: that of a training, with the classes and pictures of its test."""

from collections.abc import Iterable
from pathlib import Path

from nge_jax.data import spec as dataset_spec
from nge_jax.report import run as report_run
from nge_jax.report.document import Picture, Section, Table
from nge_jax.report.run import Size
from nge_jax.runtime import artifacts


def write(workdir: Path, sizes: Iterable[Size]) -> Path:
    """Writes report.md and report.html; returns the latter.

    Raises ValueError, in one line, where a file is missing or is not what a segmentation writes.
    """
    last = artifacts.read_metrics(workdir / artifacts.METRICS, ())[-1]
    results, sections = {}, []
    if "test_mean_iou" in last:
        results["Mean IoU"] = f"{last['test_mean_iou']:.2%} of {last['test_examples']:,} images"
        labels = dataset_spec.read(workdir).labels
        rows = [(label, _show(last, f"test_iou_{label}")) for label in labels]
        rows.append(("mean", f"{last['test_mean_iou']:.2%}"))
        sections.append(Section("Classes", [Table(("Class", "IoU"), rows)]))
    if (workdir / "examples.svg").exists():
        alt = "Images of the test, their true and predicted segmentations, and where these differ"
        picture = Picture(artifacts.EXAMPLES, alt, "After the last step.")
        sections.insert(0, Section("Examples", [picture]))
    return report_run.write_train_report(
        workdir, sizes, title="Semantic segmentation", results=results, first=sections
    )


def _show(row, key):
    return f"{row[key]:.2%}" if key in row else "absent"
