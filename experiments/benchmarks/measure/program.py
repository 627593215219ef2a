"""Prepares programs to measure: random images, a search's arguments, and compilation with its figures."""

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from measure import cost
from nge_jax.data import order as data_order
from nge_jax.data import small
from nge_jax.devices import parallel
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.plan import Search
from nge_jax.search.steps import gradient as gradient_steps


class SearchInputs(NamedTuple):
    """The arguments of a search's phases, on the devices.

    state: the initial state of the search.
    batches: the batches of each phase, by the phase's name.
    key: the key of all random choices, and the search's numbers.
    """

    state: Any
    batches: dict[str, Any]
    key: tuple[jax.Array, Any]


def random_images(count: int) -> small.ArrayDataset:
    """Draws `count` training images of CIFAR-10's shape. The first image is also the test image."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, count).astype(np.int32)
    return small.ArrayDataset(
        train_images=images,
        train_labels=labels,
        test_images=images[:1],
        test_labels=labels[:1],
        num_classes=10,
        mean=small.MEAN,
        std=small.STD,
    )


def search_inputs(
    search: Search,
    data: small.ArrayDataset,
    steps: int,
    batch_size: int,
    epochs: int = 1,
) -> SearchInputs:
    """Makes the inputs of a search's phases.

    Args:
        search: the built search.
        data: the images of the search.
        steps: steps of a phase.
        batch_size: images a step.
        epochs: the number of epochs that a history must hold.
    """
    state = jax.jit(
        lambda key: gradient_steps.init_state(
            search.net, search.edge_model, search.optimizer, epochs, key
        )
    )(jax.random.key(0))
    state, key = parallel.replicated((state, (jax.random.key(1), search.arguments)))
    images, labels = parallel.replicated((data.train_images, data.train_labels))
    order = data_order.epoch_order(0, 0, len(data.train_images), steps, batch_size)
    batches = parallel.Batches(images, labels, parallel.by_device(order))
    probs = search.edge_model.probs(state.params[EMBEDDING])
    return SearchInputs(
        state=state, batches={WEIGHTS: (probs, batches), EMBEDDING: batches}, key=key
    )


def compile_phases(phases: Sequence[Callable], arguments: Sequence[tuple]) -> dict:
    """Compiles phases as a search does before the first step. Returns the cost, with tracing."""
    begin = time.monotonic()
    parallel.compile_ahead(phases, arguments)
    return {"both_s": time.monotonic() - begin, "both_peak_bytes": peak_bytes()}


def compile_phase(phase: Callable, arguments: tuple) -> tuple[jax.stages.Compiled, dict]:
    """Compiles a phase (of `parallel.on_all_devices`); also returns the time and figures of the compilation."""
    begin = time.monotonic()
    lowered = phase.lower(*arguments)
    traced = time.monotonic()
    compiled = parallel.compile_lowered(lowered)
    figures = {"trace_s": traced - begin, "compile_s": time.monotonic() - traced}
    figures["peak_bytes"] = peak_bytes()  # read now: the analysis below is no part of a run
    figures["temp_bytes"] = compiled.memory_analysis().temp_size_in_bytes
    program = jax.jit(phase).trace(*arguments)
    iterations = cost.mean_iterations(program.jaxpr, 0, 1)  # one step of a dispatch
    return compiled, figures | cost.cost(compiled, iterations)


def peak_bytes() -> int:
    """Reads the peak resident memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
