"""Times a step under one sampled cell against a step under all operations, on this machine.

  python experiments/benchmarks/sampled_step.py                                     the paper's size
  python experiments/benchmarks/sampled_step.py --size=small                        that of search_cifar.py:small
  python experiments/benchmarks/sampled_step.py --channels=2 --cells=1 --batch_size=8        does it run?

Steps are those of the search, on random images: "weights" is forward, backward and update of w; "validation" is the
embedding's gradient step of the mixed supernet, and of the sampled one the reward of a cell. Each cell is drawn anew,
uniformly. The two take turns, so that a noise of the machine falls on both; --dispatches of --steps_per_dispatch
steps each, after one that is not counted; the table tells the medians. Compiling is from an empty cache.
"""

import statistics
import time

import jax
from absl import app, flags

from measure import program
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search import build as search_build
from nge_jax.settings.configs import load_config

_SIZE = flags.DEFINE_enum("size", "", ("", "small", "smoke"), "of configs/search_cifar.py")
_CHANNELS = flags.DEFINE_integer("channels", None, "of the first cells, another than the size's")
_CELLS = flags.DEFINE_integer("cells", None, "how many, others than the size's")
_BATCH = flags.DEFINE_integer("batch_size", None, "images a step, others than the size's")
_STEPS = flags.DEFINE_integer("steps_per_dispatch", 4, "steps a dispatch")
_DISPATCHES = flags.DEFINE_integer("dispatches", 5, "dispatches timed")

MIXED, SAMPLED = "gradient", "random"


def read_config(strategy: str):
    """Reads the config of a search by the strategy, at this benchmark's size."""
    config = load_config("search_cifar", ",".join(filter(None, (strategy, _SIZE.value))))
    config.network.channels = _CHANNELS.value or config.network.channels
    config.network.cells = _CELLS.value or config.network.cells
    config.search.batch_size = _BATCH.value or config.search.batch_size
    config.search.images_per_epoch = config.search.batch_size * _STEPS.value
    # Room for the history of all queries made here.
    config.search.epochs = _DISPATCHES.value + 2
    return config


class Timed:
    """Compiles a strategy's phases, which have a state of their own."""

    def __init__(self, strategy: str):
        self.config = config = read_config(strategy)
        data = program.random_images(2 * config.search.images_per_epoch)
        search = search_build.build(config, data)
        inputs = program.search_inputs(
            search, data, _STEPS.value, config.search.batch_size, config.search.epochs
        )
        self.state, self.batches, self.key = inputs
        self.run, self.compile_s = {}, {}
        for phase in search.phases:
            begin = time.monotonic()
            arguments = self.state, self.batches[phase.name], self.key, 0, _STEPS.value
            self.run[phase.name] = phase.program.lower(*arguments).compile()
            self.compile_s[phase.name] = time.monotonic() - begin

    def seconds(self, group: str) -> float:
        """Times a step, in one dispatch of many."""
        begin = time.monotonic()
        self.state = self.run[group](self.state, self.batches[group], self.key, 0, _STEPS.value)
        jax.block_until_ready(self.state)
        return (time.monotonic() - begin) / _STEPS.value


def main(_) -> None:
    both = [Timed(strategy) for strategy in (MIXED, SAMPLED)]
    config = both[0].config
    size = config.search.batch_size
    print(f"{size} images, {config.network.channels} channels, {config.network.cells} cells")
    print("| step | mixed: compile s, step s, images/s | sampled | sampled / mixed time |")
    print("|---|---|---|---|", flush=True)
    for group, name in ((WEIGHTS, "weights"), (EMBEDDING, "validation")):
        turns = [[timed.seconds(group) for timed in both] for _ in range(_DISPATCHES.value + 1)]
        mixed, sampled = (statistics.median(times) for times in zip(*turns[1:], strict=True))
        cells = [
            f"{timed.compile_s[group]:.0f}, {seconds:.3g}, {size / seconds:.1f}"
            for timed, seconds in zip(both, (mixed, sampled), strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} | {sampled / mixed:.2f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
