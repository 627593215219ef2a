"""The training runner: the network of a derived cell on a data set of images, tested once, at the end.

Paper Sec. 4.2 gives the recipe, DARTS what the paper leaves open. Chosen here: the learning rate and the
drop-path rate move with every step, in DARTS with every epoch; the images of an epoch that do not fill a
batch are left out, others each time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from nge_jax.cost import model_cost, network_table
from nge_jax.data import small
from nge_jax.data import spec as dataset_spec
from nge_jax.data.source import Source, Span
from nge_jax.data.spec import SMALL, DatasetSpec
from nge_jax.errors import InputError
from nge_jax.report import run as report_run
from nge_jax.report.run import Size
from nge_jax.runtime import artifacts, distributed, parallel, workdir
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.distributed import Preempted, PreemptionNotice
from nge_jax.search.runner import SHAPES
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.train import build as train_build
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import model as train_model
from nge_jax.train import step as train_step
from nge_jax.train import trained
from nge_jax.train.build import Training
from nge_jax.train.evaluate import Evaluation
from nge_jax.train.record import Journal
from nge_jax.train.step import TrainState


def summary(config: ConfigDict) -> str:
    """The network that a training config trains.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    train_build.check(config)
    name = config.data.name
    if name in SHAPES:
        kind, shape, classes = SMALL, SHAPES[name], small.NUM_CLASSES[name]
    else:
        spec = train_build.open_source(config).spec
        kind, shape, classes = spec.kind, spec.shape, len(spec.labels)
    model = train_model.make_network(config, genotype.load(config.genotype), kind, classes)
    return network_table(f"{config.genotype} on {name}", model, shape)


def run(config: ConfigDict, path: str | Path, *, overwrite: bool) -> None:
    """Trains `config.genotype` in the workdir `path`, or goes on where it stopped, tests and reports.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    path = Path(path)
    found = genotype.load(config.genotype)
    train_build.check(config)
    source = train_build.open_source(config)
    begin(config, path, found, source.spec, overwrite=overwrite)

    plan = train_build.build(config, found, source)
    cost = model_cost(plan.model, source.spec.shape)
    print(
        f"{config.genotype} on {config.data.name}: {cost.parameters:,} parameters, "
        f"{cost.multiply_adds:,} multiply-adds an image",
        flush=True,
    )
    fit(config, make_loop(config, plan), path)
    if distributed.is_first():
        print(f"report: {report(path)}")


def report(path: str | Path) -> Path:
    """Writes the report of the training in the workdir `path`; returns report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a training writes.
    """
    return report_run.write_train_report(Path(path), [_size(Path(path))])


def _size(path: Path) -> Size:
    config = ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("genotype", "network")))
    spec = dataset_spec.read(path)
    cell = artifacts.read_genotype(path / artifacts.GENOTYPE)
    model = train_model.make_network(config, cell, spec.kind, len(spec.labels))
    return config.genotype, *model_cost(model, spec.shape)


def begin(
    config: ConfigDict, path: Path, found: Genotype, spec: DatasetSpec, *, overwrite: bool
) -> None:
    """Makes `path` the workdir of a training on data of `spec`, once every process has checked all else.

    Raises:
      InputError: the workdir is refused.
    """
    if not overwrite:
        _check_cell(path, config, found)
    workdir.check(path, config, overwrite=overwrite)
    distributed.wait_for_all("all is checked")
    if distributed.is_first():
        workdir.prepare(path, config, overwrite=overwrite)
        artifacts.write_atomically(path / artifacts.GENOTYPE, genotype.to_json(found))
        artifacts.write_atomically(path / artifacts.DATASET, dataset_spec.to_json(spec))
    distributed.wait_for_all("the workdir is prepared")


class Loop(NamedTuple):
    """What a task puts into the loop of `fit`.

    state, key: before the first step, on every device.
    phase: of `parallel.on_all_devices`, for the batches of `source`.
    evaluate: `(state, split) -> (metrics, score)`, more being better.
    """

    state: TrainState
    key: jax.Array
    phase: Callable
    source: Source
    schedule: optax.Schedule
    total_steps: int
    steps_per_epoch: int
    evaluate: Callable[[TrainState, str], tuple[dict[str, Any], float]]


def make_loop(config: ConfigDict, plan: Training) -> Loop:
    """The loop of a classifier's training."""
    model, schedule, optimizer, recipe, source = plan
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = train_step.init_state(model, optimizer, init_key, source.spec.shape)
    state, key = parallel.replicated((state, key))
    step_fn = train_step.make_train_step(model, optimizer, recipe)
    phase = parallel.on_all_devices(parallel.make_phase(step_fn, source.batch_at), source.axes)
    score = train_evaluate.make_score(model, source.spec.mean, source.spec.std)

    def evaluate(state, split):
        of_split = _final_test if split == "test" else _validate
        result = of_split(config, score, state, source)
        return {f"{split}_{k}": v for k, v in result._asdict().items()}, result.accuracy

    steps = recipe.total_steps, recipe.steps_per_epoch
    return Loop(state, key, phase, source, schedule, *steps, evaluate)


def fit(config: ConfigDict, loop: Loop, path: Path) -> TrainState:
    """The loop: dispatches of steps, checkpoints, a row of metrics an epoch; returns the last state.

    The last epoch ends with the last step, be it whole or not.
    """
    state, key, phase, source, schedule, total_steps, steps_per_epoch, evaluate = loop
    batch_size, epochs = config.train.batch_size, -(-total_steps // steps_per_epoch)
    validates = source.examples["validation"] > 0

    def end_epoch(journal, step, state):
        """Evaluates what is due and records the epoch; returns the score of the images held out, if any."""
        epoch = -(-step // steps_per_epoch)
        row = journal.epoch_row(epoch, step, state, learning_rate=float(schedule(step - 1)))
        validated = None
        if validates:
            columns, validated = evaluate(state, "validation")
            row |= columns
        journal.show(row)
        if step == total_steps:
            row |= evaluate(state, "test")[0]
        journal.write(row)
        return validated

    with Checkpoints(path / artifacts.CHECKPOINTS, config.run.keep_checkpoints) as checkpoints:
        state, step = checkpoints.restore_latest(state) or (state, 0)
        begin_epoch = step // steps_per_epoch if step < total_steps else epochs
        images, done = total_steps * batch_size, step * batch_size
        with (
            Journal(path, step, images, done, validates=validates) as journal,
            PreemptionNotice() as notice,
        ):
            for epoch in range(begin_epoch, epochs):
                spans = list(_spans(config, step, steps_per_epoch, total_steps))
                dispatches = source.epoch(epoch, spans)
                work = next(dispatches)
                if epoch == begin_epoch:  # no step yet: compiles, so that the clocks start fair
                    batches, start, _ = work
                    state = phase(state, batches, key, start, start)
                journal.begin_epoch()
                for first, last in spans:
                    state = phase(state, work[0], key, *work[1:])
                    work = next(dispatches, None)  # is read while the devices compute
                    state.step.block_until_ready()
                    step += last - first
                    note = f"epoch {epoch + 1}/{epochs}"
                    journal.advance((last - first) * batch_size, note)
                    ended = step % steps_per_epoch == 0 or step == total_steps
                    validated = end_epoch(journal, step, state) if ended else None
                    stops = notice.given() and step < total_steps
                    due = step % config.run.checkpoint_every_steps == 0 or step == total_steps
                    if due or validated is not None or stops:  # never before the epoch's row
                        checkpoints.save(step, state, validated)
                    if stops:
                        raise Preempted(f"stopped after step {step} of {total_steps}, as asked")
    return state


def evaluate_only(config: ConfigDict, path: str | Path) -> Evaluation:
    """Tests the network of the newest checkpoint and prints the result; writes nothing.

    Raises:
      InputError: there is no checkpoint, or what `run` raises it for.
    """
    train_build.check(config)
    network = trained.load(path)
    source = train_build.open_source(config)
    score = train_evaluate.make_score(network.module, source.spec.mean, source.spec.std)
    print(f"step {network.step}")
    return _final_test(config, score, parallel.replicated(network.state), source)


def _final_test(config: ConfigDict, score: Callable, state: TrainState, source: Source):
    """Metrics of the test split, which nothing else reads."""
    result = _evaluate(config, score, state, source, "test")
    print(
        f"test accuracy: {result.accuracy:.2%} of {result.examples:,} images "
        f"(among five: {result.top5_accuracy:.2%}, loss: {result.loss:.4f})",
        flush=True,
    )
    return result


def _validate(config: ConfigDict, score: Callable, state: TrainState, source: Source):
    return _evaluate(config, score, state, source, "validation")


def _evaluate(config: ConfigDict, score: Callable, state: TrainState, source: Source, split: str):
    batches = source.held_out(split, config.run.eval_batch_size * jax.device_count())
    return train_evaluate.evaluate(score, state, batches, source.examples[split])


def _spans(config: ConfigDict, step: int, steps_per_epoch: int, total_steps: int) -> Iterator[Span]:
    """What is left of the epoch after `step`: steps of the epoch that each dispatch runs, up to a checkpoint's."""
    every, first = config.run.checkpoint_every_steps, step % steps_per_epoch
    epoch_begin = step - first
    stop = min(steps_per_epoch, total_steps - epoch_begin)
    while first < stop:
        to_checkpoint = every - (epoch_begin + first) % every
        last = min(first + min(config.run.steps_per_dispatch, to_checkpoint), stop)
        yield first, last
        first = last


def _check_cell(path: Path, config: ConfigDict, found: Genotype) -> None:
    """The file behind `config.genotype` may have changed since the run began."""
    recorded = path / artifacts.GENOTYPE
    if recorded.exists() and genotype.load(str(recorded)) != found:
        raise InputError(
            f"config.genotype: {config.genotype} differs from the cell that this workdir trains ({recorded}); "
            "choose another --workdir, or pass --overwrite to start afresh"
        )
