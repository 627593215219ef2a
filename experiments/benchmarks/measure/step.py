"""Measures one of the search's two steps: compiles the step, prints the cost of compilation, then runs the step.

The cost is a line of JSON. For every number N on a line of the standard input, it then runs N steps in one dispatch
and prints the seconds a step. `search_step.py` starts the process with a compilation cache.
"""

import json

import jax
from absl import app, flags

from measure import cost, process, program
from nge_jax.devices import parallel
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search import build as search_build
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.settings.configs import load_config

RELAXED = ("gumbel", "partial")  # words of the config for relaxations other than softmax
VARIANTS = ("plain", "ours", "remat", *RELAXED, "together")

_VARIANT = flags.DEFINE_enum(
    "variant",
    "ours",
    VARIANTS,
    "remat: ours, with config.network.remat; gumbel, partial: other relaxations than softmax; "
    "together: the accelerators' schedule, for its cost alone",
)
_STEP = flags.DEFINE_enum(
    "step",
    WEIGHTS,
    (WEIGHTS, EMBEDDING, "both"),
    "group that the step updates; both: compiles only",
)
_BATCH = flags.DEFINE_integer("batch_size", 64, "images a step")
_CHANNELS = flags.DEFINE_integer("channels", 16, "channels of the first cells")
_CELLS = flags.DEFINE_integer("cells", 8, "number of cells")
_DTYPE = flags.DEFINE_string("dtype", "float32", "type of the activations")
_COMPILE = flags.DEFINE_bool("compile", True, "compile; otherwise only lower the program for a GPU")
_STEPS = flags.DEFINE_integer("steps_per_dispatch", 2, "most steps in a dispatch")


def main(_) -> None:
    config = read_config()
    data = program.random_images(2 * config.search.images_per_epoch)
    search = search_build.build(config, data)
    inputs = program.search_inputs(search, data, _STEPS.value, config.search.batch_size)
    state, key = inputs.state, inputs.key
    arguments = {
        name: (state, batches, key, 0, _STEPS.value) for name, batches in inputs.batches.items()
    }
    if _STEP.value == "both":
        phases = [make_phase(_VARIANT.value, name, search) for name in arguments]
        figures = program.compile_phases(phases, list(arguments.values()))
        print(json.dumps(figures))
        return
    phase = make_phase(_VARIANT.value, _STEP.value, search)
    batches, arguments = inputs.batches[_STEP.value], arguments[_STEP.value]
    result = {"parameters": sum(a.size for a in jax.tree.leaves(state.params[WEIGHTS]))}
    if _COMPILE.value:
        compiled, figures = program.compile_phase(phase, arguments)
        result |= figures
    if _VARIANT.value == "together":  # the program for a GPU, before XLA fuses it
        on_gpu = jax.jit(phase).trace(*arguments).lower(lowering_platforms=("cuda",))
        analysis = on_gpu.cost_analysis()
        result |= {f"lowered {name}": analysis[name] for name in cost.KEYS}

    def run(steps):
        nonlocal state
        state = jax.block_until_ready(compiled(state, batches, key, 0, steps))

    process.serve(result, run)


def read_config():
    """Reads the config of the paper's search, at this benchmark's size."""
    config = load_config("search_cifar", _VARIANT.value if _VARIANT.value in RELAXED else "")
    config.network.cells = _CELLS.value
    config.network.channels = _CHANNELS.value
    config.network.dtype = _DTYPE.value
    config.network.remat = _VARIANT.value == "remat"
    config.search.batch_size = _BATCH.value
    config.search.warmup = 0.0  # a warm-up has no embedding steps
    config.search.images_per_epoch = _BATCH.value * _STEPS.value
    return config


def make_phase(variant, step, search):
    """Returns the phase of the search, or the same phase with another supernet."""
    if variant in ("ours", "remat", *RELAXED):
        return next(phase.program for phase in search.phases if phase.name == step)
    schedules = {"plain": "reference", "together": "together"}
    net = search.net._replace(schedule=schedules[variant])
    if step == WEIGHTS:
        weight_step = gradient_steps.make_weight_step(
            net, search.optimizer, search.images.preprocessing
        )
        phase, axes = gradient_steps.make_weight_phase(weight_step), (None, parallel.BATCHES_AXES)
    else:
        embedding_step = gradient_steps.make_embedding_step(
            net, search.edge_model, search.optimizer, search.images.preprocessing
        )
        phase, axes = parallel.make_phase(embedding_step), None
    return parallel.on_all_devices(parallel.with_arguments(lambda arguments: phase), axes)


if __name__ == "__main__":
    app.run(main)
