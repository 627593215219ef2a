"""Times the trainings of several cells in one program against one training after the other, on this machine.

  python experiments/benchmarks/cells_at_once.py                                  4 cells at the size of search_folder
  python experiments/benchmarks/cells_at_once.py --at_once=1,4,8 --image_size=16
  python experiments/benchmarks/cells_at_once.py --at_once=2 --cells=1 --channels=2 --batch_size=4   does it run?

A search that rates cells by trainings has a program that takes the cell as an argument (`networks.any_cell`). It
computes only the operations that the cell has. `jax.vmap` of this program over cells computes every operation on every
edge, and selects. The kernels are larger and fewer. A GPU that small kernels leave idle may gain more than it loses.

The networks of random:0, random:1 ... begin alike and see the same random images. The two forms take turns. After a
turn that is not timed, --turns turns of --steps steps are timed. The table shows the medians of the seconds, and the
range of the ratio over the turns. The last column is the largest difference between the weights of the two forms after
all turns, as a part of the largest weight. The command fails above --tolerance. `compile_ahead.py
--programs=any_cell --side_by_side=1,4,8` estimates both forms for a GPU that this machine lacks.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from ahead.programs import CELL_AXES
from nge_jax.data import small
from nge_jax.devices import parallel
from nge_jax.devices.parallel import in_32_bits
from nge_jax.networks.any_cell import as_arrays
from nge_jax.search import build as search_build
from nge_jax.search.several import mapping
from nge_jax.settings.configs import differ, load_config
from nge_jax.space import genotype
from nge_jax.train.plan import Training
from nge_jax.trials import build as trials_build
from nge_jax.trials.programs import Leg, make_programs, make_train

_AT_ONCE = flags.DEFINE_list("at_once", ["4"], "how many cells, such as 1,4,8")
_CELLS = flags.DEFINE_integer("cells", 3, "number of cells of a network")
_CHANNELS = flags.DEFINE_integer("channels", 4, "channels of the first cells")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "pixels of a side")
_BATCH = flags.DEFINE_integer("batch_size", 64, "images a step, a power of two up to 64")
_STEPS = flags.DEFINE_integer("steps", 4, "steps a turn", lower_bound=4)
_TURNS = flags.DEFINE_integer("turns", 5, "turns timed", lower_bound=1)
_TOLERANCE = flags.DEFINE_float("tolerance", 1e-2, "the largest relative difference of weights")

CLASSES = 10


class Timed(NamedTuple):
    """A form of the trainings: `states -> states` runs a turn; the states of all cells are its argument."""

    run: Callable[[Any], Any]
    states: Any
    compile_s: float


def plan_training() -> tuple[Training, Any]:
    """Makes the training by which `search_folder` rates cells on random images, and its numbers."""
    size, count = _IMAGE_SIZE.value, 2 * _BATCH.value * _STEPS.value
    config = load_config("search_folder", "trained").unlock()
    changes = {
        "data.name": "npz:random", "data.image_size": size, "data.channels": 3, "search.batch_size": 1,
        "search.epochs": 1, "trained.cells": 1, "trained.rungs": (1 + _TURNS.value,), "network.cells": _CELLS.value,
        "network.channels": _CHANNELS.value,
    }  # fmt: skip
    differ(config, changes)
    rng = np.random.default_rng(0)
    data = small.ArrayDataset(
        train_images=rng.integers(0, 256, (count, size, size, 3), np.uint8),
        train_labels=rng.integers(0, CLASSES, count).astype(np.int32),
        test_images=None,
        test_labels=None,
        num_classes=CLASSES,
        mean=small.MEAN,
        std=small.STD,
        labels=tuple(map(str, range(CLASSES))),
    )
    rating = trials_build.build(search_build.build(config, data)).rating
    return rating.training, rating.arguments[0]


def make_forms(training: Training, numbers: Any, count: int) -> dict[str, Timed]:
    """Compiles both forms for so many cells, with equal states before the first step."""
    cells = [as_arrays(genotype.random_genotype(seed)) for seed in range(count)]
    legs = [parallel.replicated(Leg(cell, numbers, np.int32(0))) for cell in cells]
    programs, steps = make_programs(training), _STEPS.value
    key = parallel.replicated(jax.random.key(0))
    batches, *_ = next(training.source.epoch(0, [(0, steps)]))
    first = [parallel.replicated(programs.init(jax.random.key(1), leg)) for leg in legs]

    def in_turn(states):
        return [
            programs.train(state, (batches, leg), key, 0, steps)
            for state, leg in zip(states, legs, strict=True)
        ]

    train = make_train(training, lambda cell: training.model.clone(genotype=cell))
    axes = CELL_AXES, (None, Leg(0, None, None)), None, None, None  # type: ignore
    mapped = jax.vmap(train, axes, out_axes=CELL_AXES)
    program = parallel.on_all_devices(mapped, (training.source.axes, None))
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *cells)
    legs_at_once = parallel.replicated(Leg(stacked, numbers, np.int32(0)))

    def at_once(states):
        return program(states, (batches, legs_at_once), key, 0, steps)

    # A turn takes the memory of `first`.
    stacked_states = parallel.replicated(mapping.stack_states(first))
    return {"in turn": compiled(in_turn, first), "at once": compiled(at_once, stacked_states)}


def compiled(run: Callable[[Any], Any], states: Any) -> Timed:
    """Runs a first turn, which compiles."""
    began = time.monotonic()
    states = jax.block_until_ready(run(states))
    return Timed(run, states, time.monotonic() - began)


def take_turns(forms: dict[str, Timed]) -> tuple[dict[str, list[float]], float]:
    """Times the forms turn by turn; returns the seconds, and the largest relative difference of weights at the end."""
    seconds, states = {name: [] for name in forms}, {name: f.states for name, f in forms.items()}
    for _ in range(_TURNS.value):
        for name, form in forms.items():
            began = time.monotonic()
            states[name] = jax.block_until_ready(form.run(states[name]))
            seconds[name].append(time.monotonic() - began)
    in_turn, at_once = mapping.stack_states(states["in turn"]).params, states["at once"].params
    difference = max(
        float(np.abs(a - b).max() / np.abs(a).max())
        for a, b in zip(*map(jax.tree.leaves, jax.device_get((in_turn, at_once))), strict=True)
    )
    return seconds, difference


@in_32_bits
def main(_) -> None:
    if not all(text.isdecimal() and int(text) for text in _AT_ONCE.value):
        sys.exit(f"--at_once: found {','.join(_AT_ONCE.value)!r}, expected numbers such as 1,4,8")
    training, numbers = plan_training()
    print(
        f"{jax.devices()[0].device_kind}: {_CELLS.value} cells, {_CHANNELS.value} channels, {training.batch_size} "
        f"images of {_IMAGE_SIZE.value}x{_IMAGE_SIZE.value}, {_STEPS.value} steps"
    )
    print(
        "| cells | in turn: compile s, s | at once: compile s, s | in turn / at once (range) | difference |"
    )
    print("|---|---|---|---|---|", flush=True)
    too_far = False
    for count in map(int, _AT_ONCE.value):
        forms = make_forms(training, numbers, count)
        seconds, difference = take_turns(forms)
        both = [
            f"{form.compile_s:.0f}, {statistics.median(seconds[name]):.3g}"
            for name, form in forms.items()
        ]
        ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {count} | {' | '.join(both)} | {ratio} | {difference:.1e} |", flush=True)
        too_far |= not difference <= _TOLERANCE.value
    sys.exit(too_far)


if __name__ == "__main__":
    app.run(main)
