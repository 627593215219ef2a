"""The training runner: trains the network of a derived cell on a data set of images, and tests it once, at the end.

The recipe is from paper Sec. 4.2, and from DARTS where the paper is silent. Two choices differ from DARTS. The learning
rate and the drop-path rate change with every step, in DARTS with every epoch. Images that do not fill a batch at the
end of an epoch are left out; each epoch leaves out other images.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from nge_jax.console import banner
from nge_jax.cost import model_cost, network_table
from nge_jax.data import spec as dataset_spec
from nge_jax.data.source import Source
from nge_jax.data.spec import MASKS, DatasetSpec
from nge_jax.data.user_images import UserImages
from nge_jax.devices import distributed, parallel
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import InputError, arguments_as
from nge_jax.networks import transfer as network_transfer
from nge_jax.networks.network import Network
from nge_jax.networks.transfer import Variables
from nge_jax.report import train as train_report
from nge_jax.report.parts import following
from nge_jax.runtime import task as run_task
from nge_jax.settings.checks import check_complete
from nge_jax.space import genotype
from nge_jax.space.parts.reference import changed_files
from nge_jax.train import build as train_build
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import images as training_images
from nge_jax.train import model as train_model
from nge_jax.train import step as train_step
from nge_jax.train import task as train_task
from nge_jax.train import trained
from nge_jax.train.arguments import make_optimizer
from nge_jax.train.evaluate import Evaluation
from nge_jax.train.images import Sizes
from nge_jax.train.plan import Inputs, Training
from nge_jax.train.step import TrainState
from nge_jax.workdir import artifacts, metrics_log
from nge_jax.workdir import folder as workdir
from nge_jax.workdir import recorded as run_record
from nge_jax.workdir.artifacts import Size


class TrainResult(NamedTuple):
    """The result of a training.

    Attributes:
      evaluation: the test split's metrics after the last step.
      workdir: the folder that holds all other results.
    """

    evaluation: Evaluation
    workdir: Path


def run(
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    callbacks: Sequence[Any] = (),
) -> TrainResult:
    """Trains `config.genotype` in the workdir `path`, or resumes the training there, tests and writes the report.

    Args:
      config: a config of a training.
      path: the workdir.
      overwrite: removes the results of an earlier run.
      callbacks: each an `nge.Callback`, beside those of `run.callbacks`.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    given = run_task.Given(callbacks=callbacks)
    return run_task.run(KIND, config, path, overwrite=overwrite, given=given)


def recognize(config: ConfigDict, inputs: Inputs, path: Path) -> Inputs:
    """Checks that cells and images are the same as the workdir's run began with; returns those to resume with."""
    recorded = path / artifacts.GENOTYPE
    # The file that `config.genotype` names may have changed since.
    if recorded.exists() and genotype.load(str(recorded)) != inputs.cells:
        raise InputError(
            f"config.genotype: {config.genotype} differs from the cell that this workdir trains ({recorded}); "
            "choose another --workdir for it"
        )
    now, before = run_record.current_operations(inputs.cells), ()
    if workdir.has_checkpoints(path):  # else nothing is lost
        before = run_record.read_operations(path, inputs.cells)
    if changed := changed_files(now, before):
        raise InputError(
            f"--workdir: {path}: config.genotype: {'; '.join(changed)}; restore the file, or choose another --workdir"
        )
    source = inputs.source
    spec = dataset_spec.agreed(path, source.spec, *_known_by(source))
    return inputs._replace(source=source._replace(spec=spec))


def _known_by(source: Source) -> tuple:
    """Returns the facts, besides the spec, by which later starts recognize the images."""
    return source.examples, source.drawn, source.inventory


def make_files(training: Any) -> dict[str, str]:
    """Returns the files that the workdir of a training or a segmentation begins with."""
    source, cells = training.source, training.model.genotype
    texts = {
        artifacts.GENOTYPE: genotype.to_json(cells),
        artifacts.DATASET: dataset_spec.to_json(source.spec, *_known_by(source)),
        artifacts.OPERATIONS: run_record.operations_to_json(run_record.current_operations(cells)),
    }
    return {name: text for name, text in texts.items() if text}


def describe(training: Any) -> list[str]:
    """Returns lines that name the network and the data of a training or a segmentation, and its length."""
    source, lines = training.source, []
    shape = source.spec.shape
    if not any(note.startswith("data: ") for note in source.notes):
        purposes = {"train": "to train", "validation": "to validate", "test": "to test"}
        counts = {purpose: source.examples[split] for split, purpose in purposes.items()}
        lines.append(banner.data(training.data_name, source.spec.labels, shape, counts))
    if source.spec.kind != MASKS:
        lines += banner.small_samples(
            {"to validate": source.examples["validation"], "to test": source.examples["test"]}
        )
    cost = model_cost(training.model, shape)
    per_epoch = training.arguments.steps_per_epoch
    epochs = -(-training.total_steps // per_epoch)
    return [
        *lines,
        f"network: {training.genotype}, {cost.parameters:,} parameters, {cost.multiply_adds:,} multiply-adds",
        banner.steps(epochs, per_epoch, training.batch_size, training.seed),
    ]


def _open(config: ConfigDict, images: UserImages | None) -> Inputs:
    cells = genotype.load(config.genotype)  # refuses a wrong genotype before images are read
    run_record.warn_of_changed_operations(config.genotype, cells)
    settings = training_images.read_settings(config)
    return Inputs(training_images.open_source(settings, opened=images), cells)


def _begin(training: Training, path: Path, goes_on: bool) -> Variables | None:
    """Reads the network of `config.init_from` as the beginning of this training, and prints which parts are used.

    With the same classes all parts are used, with other classes only the backbone.
    """
    if not training.init_from or goes_on:
        return None
    folder, spec = Path(training.init_from).expanduser(), training.source.spec
    network = trained.load_beginning(folder, training.model.genotype, path)
    key, _ = jax.random.split(jax.random.key(training.seed))
    optimizer = make_optimizer(training.arguments.weights, training.arguments.rate)
    state = train_step.init_state(training.model, optimizer, key, spec.shape)
    fresh = train_step.variables_of(state)
    with arguments_as(saved="config.init_from"):
        variables, transfer = network_transfer.restore_backbone(
            fresh, network.variables, folder, heads=network.spec.labels == spec.labels
        )
    if distributed.is_first():
        print(f"{training.init_from}: {transfer}", flush=True)
    return variables


def _conclude(training: Training, state: TrainState, path: Path) -> TrainResult:
    """Reads the test's result from the metrics, so that a run that had ended before does not test again."""
    del training, state
    last = artifacts.read_metrics(path / artifacts.METRICS, ())[-1]
    fields: dict[str, Any] = {name: last.get(f"test_{name}") for name in Evaluation._fields}
    return TrainResult(Evaluation(**fields), path)


def report(path: str | Path) -> Path:
    """Writes the report of the training in the workdir `path`; returns the path of report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a training writes.
    """
    return report_by(train_report.write_train_report, path)


def report_by(write: Callable[[Path, list[Size]], Path], path: str | Path) -> Path:
    """Records the network's size and writes the report of a training or a segmentation; returns the page's path.

    Args:
      write: `(workdir, sizes) -> path of the page`.
      path: the workdir.
    """
    path = Path(path)
    network_sizes = sizes(path)
    artifacts.write_sizes(path, network_sizes)
    page = write(path, network_sizes)
    metrics_log.show_pictures(path)
    return page


def sizes(path: Path) -> list[Size]:
    """Counts the parameters and multiply-adds of the network that a training or a segmentation trains.

    Raises:
      InputError, GenotypeError: a file is missing or is not what the run writes.
    """
    config = ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("genotype", "network")))
    spec = dataset_spec.read(path)
    cells = artifacts.read_genotype(path / artifacts.GENOTYPE)
    model = train_model.make_network(config, cells, spec.kind, len(spec.labels))
    parameters, multiply_adds = model_cost(model, spec.shape)
    return [(config.genotype, parameters, multiply_adds)]


def reopen(config: ConfigDict, spec: DatasetSpec, folder: Path) -> Source:
    """Opens the data set of a run whose network is tested again, and prints what is used.

    Args:
      config: the run's.
      spec: describes the images that the network takes.
      folder: holds the record of the run, which a refusal names.

    Raises:
      InputError: the data set cannot be opened, or its classes or images are not those of the network.
    """
    source = training_images.open_source(training_images.read_settings(config), spec.labels)
    banner.show_notes(source.notes)
    file = folder / artifacts.DATASET
    dataset_spec.check_labels(spec.labels, source.spec.labels, file)
    if source.spec.shape != spec.shape:
        found, expected = ("x".join(map(str, one.shape)) for one in (source.spec, spec))
        raise InputError(f"{file}: found images of {found}, expected {expected}")
    return source


@in_32_bits
def evaluate_only(
    config: ConfigDict, path: str | Path, checkpoint: str | int = artifacts.NEWEST
) -> Evaluation:
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
    source = reopen(config, network.spec, path)
    # The network was trained with this mean and std. The data may have changed since, and have others.
    score = train_evaluate.make_score(network.module, network.spec.mean, network.spec.std)
    if network.step:  # an exported network has none
        print(f"step {network.step}")
    state = parallel.replicated(network.state)
    return train_evaluate.means(train_task.test(score, state, source, config.run.eval_batch_size))


def summary(config: ConfigDict) -> str:
    """Returns a table of the network that a training config trains. A network beyond a limit is refused, as by a run.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    model, images = describe_network(config)
    train_build.check_plan(config.to_dict(), model, images.shape, images.held_out)
    return network_table(f"{config.genotype} on {config.data.name}", model, images.shape)


def describe_network(config: ConfigDict) -> tuple[Network, Sizes]:
    """Makes the network that a training config trains, without weights, and tells the sizes of the data set.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    check_complete(config, "train")
    config, images = training_images.resolve(config, only_sizes=True)
    train_build.check(config)
    settings = training_images.read_settings(config)
    found = training_images.describe(settings, images)
    cells = genotype.load(config.genotype)
    return train_model.make_network(config, cells, found.kind, found.classes), found


KIND = run_task.Kind(
    name="train",
    resolve=training_images.resolve,
    check=train_build.check,
    members=lambda values, path: {},
    open=_open,
    recognize=recognize,
    build=lambda config, inputs, parts: train_build.build(config, *inputs),
    begin=_begin,
    files=make_files,
    describe=describe,
    parts="the network",
    make_task=train_task.make_task,
    describe_state=lambda training, state: (),
    conclude=_conclude,
    report=report,
    tell=lambda training, result, path: following.lines(str(path)),
)
