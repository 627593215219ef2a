"""A trained network, read back from its workdir for use: no data set, no training."""

import argparse
from pathlib import Path
from typing import NamedTuple

import optax
from ml_collections import ConfigDict

from nge_jax.data import spec as dataset_spec
from nge_jax.data.spec import MASKS, DatasetSpec
from nge_jax.errors import InputError
from nge_jax.networks.network import Network
from nge_jax.runtime import artifacts
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.train import build as train_build
from nge_jax.train import model as train_model
from nge_jax.train import step as train_step
from nge_jax.train.step import TrainState

NEWEST, BEST = "newest", "best"


class Trained(NamedTuple):
    """The state's arrays are numpy's; `step` says which checkpoint they are of."""

    config: ConfigDict
    spec: DatasetSpec
    model: Network
    state: TrainState
    step: int


def load(path: str | Path, checkpoint: str = NEWEST) -> Trained:
    """The network of the newest checkpoint of a workdir, or of the BEST on held-out training images.

    Raises:
      InputError: the workdir is not that of a training, or holds no such checkpoint.
    """
    path = Path(path)
    values = artifacts.read_json(path / artifacts.CONFIG, ("task",))
    if values["task"] not in ("train", "segment"):
        raise InputError(f"{path}: found the workdir of a {values['task']}, expected of a training")
    config, spec = ConfigDict(values), dataset_spec.read(path)
    found = artifacts.read_genotype(path / artifacts.GENOTYPE)
    if spec.kind == MASKS:
        model = train_model.make_segmentation_network(config, found)
    else:
        model = train_model.make_network(config, found, spec.kind, len(spec.labels))
    # The rate does not matter here, but that it is a schedule does: it makes the state a counter.
    optimizer = train_build.optimizer_of(config, optax.constant_schedule(0.0))
    template = train_step.state_shapes(model, optimizer, spec.shape)
    folder = path / artifacts.CHECKPOINTS
    restored = None
    if folder.is_dir():
        with Checkpoints(folder, config.run.keep_checkpoints, read_only=True) as checkpoints:
            restore = {NEWEST: checkpoints.restore_latest, BEST: checkpoints.restore_best}
            restored = restore[checkpoint](template)
    if restored is None:
        why = "; only with config.data.validation is there a best one" if checkpoint == BEST else ""
        raise InputError(f"{folder}: found no {checkpoint} checkpoint{why}")
    return Trained(config, spec, model, *restored)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says which network: --workdir, --checkpoint."""
    parser.add_argument("--workdir", required=True, type=Path, help="that of the training")
    parser.add_argument(
        "--checkpoint",
        choices=(NEWEST, BEST),
        default=NEWEST,
        help=f"{BEST}: on the training images set aside by config.data.validation",
    )
