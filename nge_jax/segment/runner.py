"""The segmentation runner: the network of a derived cell as DeepLabv3's backbone, on PASCAL VOC 2012.

The loop is that of `train`; what is trained, and how it is tested at the end, differs.
"""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from nge_jax.cost import model_cost, network_table
from nge_jax.data import spec as dataset_spec
from nge_jax.errors import InputError, arguments_as
from nge_jax.report import cell as draw
from nge_jax.runtime import artifacts, distributed, host_tf, parallel, workdir
from nge_jax.segment import build as segment_build
from nge_jax.segment import evaluate as segment_evaluate
from nge_jax.segment import pictures as segment_pictures
from nge_jax.segment import report as segment_report
from nge_jax.segment import step as segment_step
from nge_jax.segment.build import Segmentation
from nge_jax.segment.evaluate import Result
from nge_jax.segment.pictures import Example
from nge_jax.space import genotype
from nge_jax.train import model as train_model
from nge_jax.train import runner as train_runner
from nge_jax.train import step as train_step
from nge_jax.train import trained
from nge_jax.train import transfer as train_transfer
from nge_jax.train.runner import Loop
from nge_jax.train.step import TrainState
from nge_jax.train.transfer import Variables


def run(config: ConfigDict, path: str | Path, *, overwrite: bool) -> None:
    """Trains in the workdir `path`, or goes on where it stopped, tests and reports.

    `config.init_from` is read when the training begins, and not when it goes on.

    Raises:
      InputError, GenotypeError: the config, the data or a workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    path = Path(path)
    found = genotype.load(config.genotype)
    segment_build.check(config)
    plan = segment_build.build(config, found, segment_build.open_source(config))
    begins = overwrite or not workdir.has_checkpoints(path)
    backbone = _read_backbone(config, plan, path) if config.init_from and begins else None
    spec = plan.source.spec
    train_runner.begin(config, path, found, spec, overwrite=overwrite)

    cost = model_cost(plan.model, spec.shape)
    print(
        f"{config.genotype} as DeepLabv3's backbone: {cost.parameters:,} parameters, "
        f"{cost.multiply_adds:,} multiply-adds an image of {config.data.test_size} pixels",
        flush=True,
    )
    train_runner.fit(config, make_loop(config, plan, path, backbone), path)
    if distributed.is_first():
        print(f"report: {report(path)}")


def report(path: str | Path) -> Path:
    """Writes the report of the segmentation in the workdir `path`; returns report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a segmentation writes.
    """
    path = Path(path)
    config = ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("genotype", "network")))
    cell = artifacts.read_genotype(path / artifacts.GENOTYPE)
    model = train_model.make_segmentation_network(config, cell)
    cost = model_cost(model, dataset_spec.read(path).shape)
    return segment_report.write(path, [(config.genotype, *cost)])


def make_loop(
    config: ConfigDict, plan: Segmentation, path: Path, backbone: Variables | None
) -> Loop:
    """The loop of a segmentation's training; a network that begins does so with `backbone`, if any."""
    model, schedule, optimizer, source, steps_per_epoch = plan
    spec = source.spec
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = train_step.init_state(model, optimizer, init_key, spec.shape)
    if backbone is not None:
        variables, transfer = train_transfer.restore_backbone(
            _variables(state), backbone, config.init_from
        )
        state = state._replace(**variables)
        print(f"{config.init_from}: {transfer}", flush=True)
    state, key = parallel.replicated((state, key))
    step_fn = segment_step.make_segment_step(
        model,
        optimizer,
        spec,
        accumulate=config.train.accumulate,
        steps_per_epoch=steps_per_epoch,
    )
    phase = parallel.on_all_devices(parallel.make_phase(step_fn, source.batch_at), source.axes)

    def evaluate(state, split):
        result = _test(config, plan, state)
        if distributed.is_first() and result.shown:
            draw.save(segment_pictures.examples_figure(result.shown), path / artifacts.EXAMPLES)
            _write_events(path, int(state.step), result.shown)
        return _columns(split, result, spec.labels), result.iou.mean

    steps = config.train.steps, steps_per_epoch
    return Loop(state, key, phase, source, schedule, *steps, evaluate)


def evaluate_only(config: ConfigDict, path: str | Path) -> Result:
    """Tests the network of the newest checkpoint and prints the result; writes nothing.

    Raises:
      InputError: there is no checkpoint, or what `run` raises it for.
    """
    segment_build.check(config)
    network = trained.load(path)
    plan = segment_build.build(config, network.module.genotype, segment_build.open_source(config))
    print(f"step {network.step}")
    return _test(config, plan, parallel.replicated(network.state))


def _test(config: ConfigDict, plan: Segmentation, state: TrainState) -> Result:
    """Metrics of the test split, which nothing else reads."""
    source = plan.source
    result = segment_evaluate.evaluate(
        segment_evaluate.make_score(plan.model, source.spec),
        state,
        source.held_out("test", config.run.eval_batch_size * jax.device_count()),
        source.examples["test"],
        config.run.pictures,
    )
    present = sum(iou is not None for iou in result.iou.per_class)
    print(
        f"mean IoU: {result.iou.mean:.2%} of {result.examples:,} images, over {present} of "
        f"{len(source.spec.labels)} classes (pixel accuracy: {result.iou.accuracy:.2%})",
        flush=True,
    )
    return result


def _write_events(path: Path, step: int, shown: list[Example]) -> None:
    """The pictures for TensorBoard, in a file of their own."""
    host_tf.tensorflow()
    from clu import metric_writers

    events = metric_writers.SummaryWriter(str(path))
    pictures = {
        f"{artifacts.EXAMPLES}/{e.name}": segment_pictures.side_by_side(e)[None] for e in shown
    }
    events.write_images(step, pictures)
    events.close()


def _columns(split: str, result: Result, labels: tuple[str, ...]) -> dict:
    """A class that no image has is left out."""
    per_class = zip(labels, result.iou.per_class, strict=True)
    return {
        f"{split}_mean_iou": result.iou.mean,
        f"{split}_pixel_accuracy": result.iou.accuracy,
        f"{split}_examples": result.examples,
    } | {f"{split}_iou_{label}": iou for label, iou in per_class if iou is not None}


def _read_backbone(config: ConfigDict, plan: Segmentation, path: Path) -> Variables:
    """What the run `config.init_from` has trained, if this network can begin with it."""
    source = Path(config.init_from)
    if source.resolve() == path.resolve():
        raise InputError(f"config.init_from: found this run's own workdir, {path}")
    try:
        network = trained.load(source)
    except InputError as error:
        raise InputError(f"config.init_from: {error}") from error
    if network.module.genotype != plan.model.genotype:
        raise InputError(
            f"config.init_from: {source / 'genotype.json'} is another cell than config.genotype"
        )
    shapes = train_step.state_shapes(plan.model, plan.optimizer, plan.source.spec.shape)
    saved = _variables(network.state)
    with arguments_as(saved="config.init_from"):
        train_transfer.restore_backbone(_variables(shapes), saved, source)
    return saved


def _variables(state: TrainState) -> Variables:
    return {"params": state.params, "batch_stats": state.batch_stats}


def summary(config: ConfigDict) -> str:
    """The network that a segmentation config trains, on an image of its test's size.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    segment_build.check(config)
    model = train_model.make_segmentation_network(config, genotype.load(config.genotype))
    shape = (config.data.test_size, config.data.test_size, 3)
    return network_table(f"{config.genotype} as DeepLabv3's backbone", model, shape)
