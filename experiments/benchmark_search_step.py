"""Times the search's two steps on this machine: compilation, step, memory.

  python experiments/benchmark_search_step.py                        the paper's size: minutes on two CPU cores
  python experiments/benchmark_search_step.py --channels=8 --cells=5

A step is forward, backward and update of one group on one device. Steps run inside one dispatch, as in a search; the
time of a step is the median over dispatches of --steps steps, after one that is not counted. Peak memory is that of the
process. Machines are noisy: compare figures of one run.
"""

import resource
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from nge_jax import optim, parallel, search_step
from nge_jax.data import cifar
from nge_jax.embedding import edge_model
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.supernet import supernet

_BATCH = flags.DEFINE_integer("batch_size", 64, "images a step")
_CHANNELS = flags.DEFINE_integer("channels", 16, "channels of the first cells")
_CELLS = flags.DEFINE_integer("cells", 8, "number of cells")
_SIZE = flags.DEFINE_integer("size", 32, "height and width of an image")
_STEPS = flags.DEFINE_integer("steps", 2, "steps a dispatch")
_DISPATCHES = flags.DEFINE_integer("dispatches", 5, "dispatches timed")
_REMAT = flags.DEFINE_bool("remat", False, "recompute each cell in the backward pass")


def main(_) -> None:
    schedule = "loop" if jax.default_backend() == "cpu" else "together"
    net = supernet(_CELLS.value, _CHANNELS.value, 10, schedule=schedule, remat=_REMAT.value)
    edges = edge_model("nge", "printed")
    optimizer = optim.Optimizer(
        {
            WEIGHTS: optim.sgd(0.025, momentum=0.9, weight_decay=3e-4, clip_norm=5.0),
            EMBEDDING: optim.adam(6e-4, b1=0.5, b2=0.999, weight_decay=1e-3),
        }
    )
    inputs = search_step.Inputs(cifar.MEAN, cifar.STD, pad=4, flip=True)
    weight_step = search_step.make_weight_step(net, optimizer, inputs)
    embedding_step = search_step.make_embedding_step(net, edges, optimizer, inputs)
    axes = (None, parallel.BATCHES_AXES)
    phases = {
        WEIGHTS: parallel.on_all_devices(search_step.make_weight_phase(weight_step), axes),
        EMBEDDING: parallel.on_all_devices(parallel.make_phase(embedding_step)),
    }

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1024, _SIZE.value, _SIZE.value, 3), np.uint8)
    labels = rng.integers(0, 10, 1024).astype(np.int32)
    order = rng.integers(0, 1024, (_STEPS.value, _BATCH.value)).astype(np.int32)
    state = search_step.init_state(net, edges, optimizer, 1, jax.random.key(0))
    state, images, labels, key = parallel.replicated((state, images, labels, jax.random.key(1)))
    batches = parallel.Batches(images, labels, parallel.by_device(order))
    probs = edges.probs(state.params[EMBEDDING])

    print(
        f"{jax.devices()[0].device_kind}, batch {_BATCH.value}, {_CHANNELS.value} channels, {_CELLS.value} cells"
    )
    print("| step | trace and compile s | step s | images/s | peak memory of the process GB |")
    print("|---|---|---|---|---|")
    for name, data in ((WEIGHTS, (probs, batches)), (EMBEDDING, batches)):
        begin = time.monotonic()
        state = jax.block_until_ready(phases[name](state, data, key, 0, 0))
        compilation = time.monotonic() - begin
        seconds = []
        for _ in range(1 + _DISPATCHES.value):
            begin = time.monotonic()
            state = jax.block_until_ready(phases[name](state, data, key, 0, _STEPS.value))
            seconds.append((time.monotonic() - begin) / _STEPS.value)
        step = statistics.median(seconds[1:])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"| {name} | {compilation:.0f} | {step:.2f} | {_BATCH.value / step:.1f} | {peak:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
