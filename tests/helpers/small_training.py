"""A training that takes seconds, most of them to compile, and what tests read of its workdir."""

import json

import jax
import numpy as np

from nge_jax.settings.configs import load_config
from nge_jax.space import genotype
from nge_jax.train import trained

# Compiles fast: one convolution a cell.
PAIRS = (("dil_conv_3x3", 0), ("skip_connect", 1))
SMALL = genotype.Genotype(PAIRS, (2,), PAIRS, (2,))


def make_config(name="train_digits", variant="smoke"):
    return load_config(name, variant)


def small_config(folder, **changes):
    """A training of SMALL on the digits, two cells of four channels."""
    (folder / "cell.json").write_text(genotype.to_json(SMALL))
    config = make_config()
    config.genotype = str(folder / "cell.json")
    config.network.cells = 2
    config.train.epochs = 3
    config.train.images_per_epoch = 1280
    config.weights.learning_rate = 0.2
    config.run.steps_per_dispatch = 3
    config.run.checkpoint_every_steps = 14
    config.update_from_flattened_dict(changes)
    return config


def rows(path):
    """The metrics of a workdir's epochs, but for those that time decides."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def arrays(path):
    """{name: array} of the newest checkpoint of a workdir, and its step."""
    network = trained.load(path)
    leaves = jax.tree_util.tree_leaves_with_path(network.state)
    return {jax.tree_util.keystr(name): np.asarray(leaf) for name, leaf in leaves}, network.step
