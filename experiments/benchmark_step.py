"""One of the search's two steps in a process of its own: compiles it, says what that took, then runs it.

Prints a line of JSON; then, for every number N on a line of the standard input, runs N steps in one dispatch and
prints the seconds a step took. `benchmark_search_step.py` starts it, with the compilation cache it wants.
"""

import json

import benchmark_cost
import benchmark_plain
import benchmark_process
import benchmark_program
import jax
from absl import app, flags

from nge_jax.data import order as data_order
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime import parallel
from nge_jax.search import build as search_build
from nge_jax.search import gradient_steps

VARIANTS = ("plain", "ours", "remat", "together")

_VARIANT = flags.DEFINE_enum(
    "variant",
    "ours",
    VARIANTS,
    "remat: ours, with config.network.remat; together: the accelerators' schedule, for its cost alone",
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
_DTYPE = flags.DEFINE_string("dtype", "float32", "of the activations")
_COMPILE = flags.DEFINE_bool("compile", True, "else only lower the program for a GPU")
_STEPS = flags.DEFINE_integer("steps_per_dispatch", 2, "most steps in a dispatch")


def main(_) -> None:
    config = read_config()
    data = benchmark_program.random_images(2 * config.search.images_per_epoch)
    built = search_build.build(config, data)
    state = jax.jit(
        lambda key: gradient_steps.init_state(built.net, built.edge_model, built.optimizer, 1, key)
    )(jax.random.key(0))
    state, images, labels, key = parallel.replicated(
        (state, data.train_images, data.train_labels, jax.random.key(1))
    )
    order = data_order.epoch_order(
        0, 0, len(data.train_images), _STEPS.value, config.search.batch_size
    )
    batches = parallel.Batches(images, labels, parallel.by_device(order))
    batches_of = {
        WEIGHTS: (built.edge_model.probs(state.params[EMBEDDING]), batches),
        EMBEDDING: batches,
    }
    if _STEP.value == "both":
        phases = [phase_of(_VARIANT.value, step, built, config, data) for step in batches_of]
        arguments = [(state, its, key, 0, _STEPS.value) for its in batches_of.values()]
        print(json.dumps(benchmark_program.compile_side_by_side(phases, arguments)))
        return
    phase = phase_of(_VARIANT.value, _STEP.value, built, config, data)
    batches = batches_of[_STEP.value]
    arguments = state, batches, key, 0, _STEPS.value
    result = {"parameters": sum(a.size for a in jax.tree.leaves(state.params[WEIGHTS]))}
    if _COMPILE.value:
        compiled, figures = benchmark_program.compile_phase(phase, arguments)
        result |= figures
    if _VARIANT.value == "together":  # as a GPU gets it, before XLA fuses it
        on_gpu = jax.jit(phase).trace(*arguments).lower(lowering_platforms=("cuda",))
        cost = on_gpu.cost_analysis()
        result |= {f"lowered {name}": cost[name] for name in benchmark_cost.KEYS}

    def run(steps):
        nonlocal state
        state = jax.block_until_ready(compiled(state, batches, key, 0, steps))

    benchmark_process.serve(result, run)


def read_config():
    """The paper's search, at this benchmark's size."""
    config = benchmark_program.read_config("search_cifar")
    config.network.cells = _CELLS.value
    config.network.channels = _CHANNELS.value
    config.network.dtype = _DTYPE.value
    config.network.remat = _VARIANT.value == "remat"
    config.search.batch_size = _BATCH.value
    config.search.images_per_epoch = _BATCH.value * _STEPS.value
    return config


def phase_of(variant, step, built, config, data):
    """The search's own phase, or the same phase around another supernet."""
    if variant in ("ours", "remat"):
        return next(phase.run for phase in built.phases if phase.name == step)
    others = {
        "plain": benchmark_plain.PlainSupernet(built.net),
        "together": built.net._replace(schedule="together"),
    }
    net = others[variant]
    inputs = gradient_steps.Inputs(data.mean, data.std, config.data.pad, config.data.flip)
    if step == WEIGHTS:
        weight_step = gradient_steps.make_weight_step(net, built.optimizer, inputs)
        axes = (None, parallel.BATCHES_AXES)
        return parallel.on_all_devices(gradient_steps.make_weight_phase(weight_step), axes)
    embedding_step = gradient_steps.make_embedding_step(
        net, built.edge_model, built.optimizer, inputs
    )
    return parallel.on_all_devices(parallel.make_phase(embedding_step))


if __name__ == "__main__":
    app.run(main)
