"""Measures the training step of a genotype: compiles the step, prints the cost of compilation, then runs the step.

The cost is a line of JSON. For every number N on a line of the standard input, it then runs N steps in one dispatch
and prints the seconds a step. With --losses=N, the line instead holds the losses of N steps and the
all-reduces of one step. `train_step.py` starts the process.
"""

from pathlib import Path

import jax
from absl import app, flags

from measure import collectives, process, program
from nge_jax.data import source
from nge_jax.settings.configs import load_config
from nge_jax.space import genotype
from nge_jax.train import build as train_build
from nge_jax.train import task as train_task

_GENOTYPE = flags.DEFINE_string("genotype", "DARTS_V2", "as config.genotype")
_BATCH = flags.DEFINE_integer("batch_size", 64, "images a step")
_CHANNELS = flags.DEFINE_integer("channels", 16, "channels of the first cells")
_CELLS = flags.DEFINE_integer("cells", 8, "number of cells")
_AUXILIARY = flags.DEFINE_float("auxiliary_weight", 0.4, "weight of the auxiliary head's loss")
_DROP_PATH = flags.DEFINE_float("drop_path", 0.3, "drop-path rate at the end")
_STEPS = flags.DEFINE_integer("steps_per_dispatch", 2, "most steps in a dispatch")
_LOSSES = flags.DEFINE_integer("losses", 0, "how many steps' losses to print")


def main(_) -> None:
    config = read_config()
    train_build.check(config)
    steps = max(_STEPS.value, _LOSSES.value)
    data = program.random_images(steps * config.train.batch_size)
    labels = tuple(map(str, range(data.num_classes)))
    images = source.resident(
        data, labels, seed=config.seed, validation=0, batch_size=config.train.batch_size
    )
    # Only a test writes into the folder, and this process runs no test.
    cells = genotype.load(config.genotype)
    task = train_task.make_task(train_build.build(config, images, cells), Path("nowhere"))
    ((batches, *_),) = images.epoch(0, [(0, steps)])
    (phase,) = task.phases
    state, arguments = task.state, (batches, task.key, 0, steps)
    ready = {"parameters": sum(a.size for a in jax.tree.leaves(state.params))}
    if _LOSSES.value:
        compiled = phase.program.lower(state, *arguments).compile()
    else:
        compiled, figures = program.compile_phase(phase.program, (state, *arguments))
        ready |= figures

    def run(start, stop):
        nonlocal state
        state = jax.block_until_ready(compiled(state, batches, task.key, start, stop))
        return jax.device_get(state.sums)

    if _LOSSES.value:
        sums = [run(step, step + 1) for step in range(_LOSSES.value)]
        ready["losses"] = [float(s.loss / s.count) for s in sums]
        ready["batch_stats"] = sum(a.size for a in jax.tree.leaves(state.batch_stats))
        ready["sums"] = len(state.sums)
        ready["all_reduces"] = collectives.all_reduces(compiled.as_text())
    process.serve(ready, lambda steps: run(0, steps))


def read_config():
    """Reads the config of the paper's training on CIFAR-10, at this benchmark's size."""
    config = load_config("train_cifar10")
    config.genotype = _GENOTYPE.value
    config.network.cells = _CELLS.value
    config.network.channels = _CHANNELS.value
    config.train.batch_size = _BATCH.value
    config.train.auxiliary_weight = _AUXILIARY.value
    config.train.drop_path = _DROP_PATH.value
    config.train.images_per_epoch = _BATCH.value * _STEPS.value
    # One step an epoch: each sum holds one step, and rates change at every step.
    if _LOSSES.value:
        config.train.images_per_epoch = _BATCH.value
        config.train.epochs = _LOSSES.value
        config.train.sync_batch_norm = True
    return config


if __name__ == "__main__":
    app.run(main)
