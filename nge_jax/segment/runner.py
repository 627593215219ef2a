"""The segmentation runner: the network of a derived cell as DeepLabv3's backbone, on PASCAL VOC 2012.

The workdir begins as a training's workdir does. The network and its test at the end differ.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nge_jax.console import banner
from nge_jax.cost import network_table
from nge_jax.data.spec import MASKS
from nge_jax.devices import parallel
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import arguments_as
from nge_jax.networks import transfer as network_transfer
from nge_jax.networks.parts import check as operations
from nge_jax.networks.transfer import Variables
from nge_jax.report.parts import following
from nge_jax.runtime import task as run_task
from nge_jax.segment import build as segment_build
from nge_jax.segment import report as segment_report
from nge_jax.segment import task as segment_task
from nge_jax.segment.evaluate import SegmentationEvaluation
from nge_jax.segment.plan import Segmentation, make_weight_optimizer
from nge_jax.settings.checks import check_complete
from nge_jax.space import genotype
from nge_jax.train import model as train_model
from nge_jax.train import runner as train_runner
from nge_jax.train import step as train_step
from nge_jax.train import trained
from nge_jax.train.plan import Inputs
from nge_jax.train.runner import sizes as sizes
from nge_jax.train.step import TrainState
from nge_jax.workdir import artifacts
from nge_jax.workdir import recorded as run_record


class SegmentationResult(NamedTuple):
    """The result of a segmentation's training, on the test split after the last step.

    Attributes:
      mean_iou: the mean IoU over the classes that the split has.
      iou: the IoU of each of these classes, by name.
      pixel_accuracy: the fraction of labeled pixels that are right.
      examples: the number of images tested.
      workdir: the folder that holds all other results.
    """

    mean_iou: float
    iou: dict[str, float]
    pixel_accuracy: float
    examples: int
    workdir: Path


def run(
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    callbacks: Sequence[Any] = (),
) -> SegmentationResult:
    """Trains in the workdir `path`, or resumes the training there, tests and writes the report.

    `config.init_from` is read when the training begins, and not when it resumes.

    Args:
      config: a config of a segmentation.
      path: the workdir.
      overwrite: removes the results of an earlier run.
      callbacks: each an `nge.Callback`, beside those of `run.callbacks`.

    Raises:
      InputError, GenotypeError: the config, the data or a workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    given = run_task.Given(callbacks=callbacks)
    return run_task.run(KIND, config, path, overwrite=overwrite, given=given)


def _open(config: ConfigDict, images: None) -> Inputs:
    del images  # a config of a segmentation leaves no values open
    cells = genotype.load(config.genotype)  # refuses a wrong genotype before images are read
    run_record.warn_of_changed_operations(config.genotype, cells)
    return Inputs(segment_build.open_source(config), cells)


def _begin(segmentation: Segmentation, path: Path, goes_on: bool) -> Variables | None:
    """Reads the network of `config.init_from`, and checks that this network can begin with its backbone."""
    if not segmentation.init_from or goes_on:
        return None
    folder = Path(segmentation.init_from)
    network = trained.load_beginning(folder, segmentation.model.genotype, path)
    optimizer = make_weight_optimizer(segmentation, segmentation.arguments)
    shapes = train_step.state_shapes(segmentation.model, optimizer, segmentation.source.spec.shape)
    saved = train_step.variables_of(network.state)
    with arguments_as(saved="config.init_from"):
        network_transfer.restore_backbone(train_step.variables_of(shapes), saved, folder)
    return saved


def _conclude(segmentation: Segmentation, state: TrainState, path: Path) -> SegmentationResult:
    """Reads the test's result from the metrics, so that a run that had ended before does not test again."""
    del state
    last = artifacts.read_metrics(path / artifacts.METRICS, ())[-1]
    names = {label: segment_task.iou_name(label) for label in segmentation.source.spec.labels}
    return SegmentationResult(
        mean_iou=last["test_mean_iou"],
        iou={label: last[name] for label, name in names.items() if name in last},
        pixel_accuracy=last["test_pixel_accuracy"],
        examples=last["test_examples"],
        workdir=path,
    )


def report(path: str | Path) -> Path:
    """Writes the report of the segmentation in the workdir `path`; returns the path of report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a segmentation writes.
    """
    return train_runner.report_by(segment_report.write_segment_report, path)


@in_32_bits
def evaluate_only(
    config: ConfigDict, path: str | Path, checkpoint: str | int = artifacts.NEWEST
) -> SegmentationEvaluation:
    """Tests the network of a checkpoint and prints the result; writes nothing.

    Args:
      config: the run's.
      path: the workdir, or an exported network.
      checkpoint: see `trained.load`.

    Raises:
      InputError: there is no such checkpoint, or the config, the data or the workdir is refused.
    """
    path = Path(path)
    config = run_task.check_for_test(KIND, config, path)
    network = trained.load(path, checkpoint)
    source = segment_build.open_source(config, network.spec.labels)
    banner.show_notes(source.notes)
    segmentation = segment_build.build(config, source, network.module.genotype)
    if network.step:  # an exported network has none
        print(f"step {network.step}")
    return segment_task.test(segmentation, parallel.replicated(network.state))


def summary(config: ConfigDict) -> str:
    """Returns a table of the network that a segmentation config trains, on an image of the test's size.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    check_complete(config, "segment")
    segment_build.check(config)
    cells, classes = genotype.load(config.genotype), segment_build.count_classes(config.data.devkit)
    model = train_model.make_network(config, cells, MASKS, classes)
    operations.check_cells(cells, model.plan)
    shape = (config.data.test_size, config.data.test_size, 3)
    return network_table(f"{config.genotype} as DeepLabv3's backbone", model, shape)


KIND = run_task.Kind(
    name="segment",
    resolve=lambda config, path: (config, None),
    check=segment_build.check,
    members=lambda values, path: {},
    open=_open,
    recognize=train_runner.recognize,
    build=lambda config, inputs, parts: segment_build.build(config, *inputs),
    begin=_begin,
    files=train_runner.make_files,
    describe=train_runner.describe,
    parts="the network",
    make_task=segment_task.make_task,
    describe_state=lambda segmentation, state: (),
    conclude=_conclude,
    report=report,
    tell=lambda segmentation, result, path: following.lines(str(path), segments=True),
)
