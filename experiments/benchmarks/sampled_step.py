"""Times a step under one sampled cell against a step under all operations, on this machine.

  python experiments/benchmarks/sampled_step.py                                     the paper's size
  python experiments/benchmarks/sampled_step.py --size=small                        the size of search_cifar.py:small
  python experiments/benchmarks/sampled_step.py --channels=2 --cells=1 --batch_size=8        does it run?

The steps are the search's steps on random images. The row "weights" times forward, backward and update of w. The row
"validation" times the embedding's gradient step for the mixed supernet, and the reward of a cell for the sampled one.
Each cell is drawn anew, uniformly. The two supernets take turns, so that the machine's noise affects both. After a
warm-up dispatch, --dispatches dispatches of --steps_per_dispatch steps are timed. The table shows medians. Compilation
starts with an empty cache.
"""

import statistics
import time

import jax
from absl import app, flags

from measure import program
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search import build as search_build
from nge_jax.settings.configs import load_config

_SIZE = flags.DEFINE_enum("size", "", ("", "small", "smoke"), "variant of configs/search_cifar.py")
_CHANNELS = flags.DEFINE_integer(
    "channels", None, "channels of the first cells, instead of the variant's"
)
_CELLS = flags.DEFINE_integer("cells", None, "number of cells, instead of the variant's")
_BATCH = flags.DEFINE_integer("batch_size", None, "images a step, instead of the variant's")
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
    # The history must hold all queries of this benchmark.
    config.search.epochs = _DISPATCHES.value + 2
    return config


class Timed:
    """Compiles and times a strategy's phases, with a separate state for each strategy."""

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
        """Times a step in one dispatch of many steps."""
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
