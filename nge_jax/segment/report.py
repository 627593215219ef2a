"""The report of a segmentation: a training's report, with the test's classes and pictures."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nge_jax.data import spec as dataset_spec
from nge_jax.report import train as train_report
from nge_jax.report.document import Picture, Section, Table
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import Size


def write_segment_report(workdir: Path, sizes: Iterable[Size]) -> Path:
    """Draws the pictures of a segmentation and writes its report.md and report.html.

    Args:
      workdir: the workdir of a segmentation that has ended; its examples are shown if it has some.
      sizes: the size of the trained network.

    Returns:
      The path of report.html.

    Raises:
      InputError: a file is missing or is not what a segmentation writes.
    """
    last = artifacts.read_metrics(workdir / artifacts.METRICS, ())[-1]
    results, sections = {}, []
    if (workdir / f"{artifacts.EXAMPLES}.svg").exists():
        alt = "Images of the test, their true and predicted segmentations, and where these differ"
        picture = Picture(artifacts.EXAMPLES, alt, "After the last step.")
        sections.append(Section("Examples", [picture]))
    if "test_mean_iou" in last:
        results["Mean IoU"] = f"{last['test_mean_iou']:.2%} of {last['test_examples']:,} images"
        labels = dataset_spec.read(workdir).labels
        rows = [(label, _show_iou(last, label)) for label in labels]
        rows.append(("mean", f"{last['test_mean_iou']:.2%}"))
        sections.append(Section("Classes", [Table(("Class", "IoU"), rows)]))
    return train_report.write_train_report(
        workdir, sizes, title="Semantic segmentation", results=results, first=sections
    )


def _show_iou(metrics: Mapping[str, Any], label: str) -> str:
    key = f"test_iou_{label}"
    return f"{metrics[key]:.2%}" if key in metrics else "absent"
