"""Data parallelism: the state on every device, each batch divided among them.

The devices are those of all processes, in the processes' order. A phase is a function `(state, batches,
key, start, stop) -> state` that runs the steps start..stop-1 of an epoch; `on_all_devices` makes it one
dispatch. Random numbers of a step are drawn for the whole batch and each device takes its part, so that
no image's augmentation depends on the number of devices.
"""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


class Batches(NamedTuple):
    """A data set and which of its images an epoch's steps use; or the in_axes of the three.

    images: uint8 [N, H, W, C].
    labels: int32 [N].
    indices: int32 [steps, B / devices], a row for each step; on the host with a leading axis of this process's devices.
    """

    images: Any
    labels: Any
    indices: Any


def batch_at(batches: Batches, i: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the images and labels of step i."""
    index = batches.indices[i]
    return batches.images[index], batches.labels[index]


def numbered_batch_at(batches: Batches, i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the images and labels of step i, and the number of each image in the data set."""
    return *batch_at(batches, i), batches.indices[i]


def make_phase(step: Callable, batch_at: Callable = batch_at) -> Callable:
    """Makes `(state, batches, key, start, stop) -> state`: a step for each of the rows start..stop-1.

    Whatever start and stop are, it is the same program.

    Args:
      step: `(state, images, labels, key) -> state`.
      batch_at: `(batches, i) -> (images, labels)`, where batches are no `Batches`; what else it returns the step takes
        behind the labels.
    """

    def phase(state, batches, key, start, stop):
        def body(i, state):
            return step(state, *batch_at(batches, i), key)

        return lax.fori_loop(start, stop, body, state)

    return phase


def with_arguments(make: Callable) -> Callable:
    """Makes `(state, batches, (key, arguments), start, stop) -> state`, the phase `make(arguments)`.

    The program makes the phase from its arguments (a tree: rates, numbers of steps). One compiled program serves all
    of their values, and a run with other values finds the program in the compilation cache.
    """

    def phase(state, batches, key_and_arguments, start, stop):
        key, arguments = key_and_arguments
        return make(arguments)(state, batches, key, start, stop)

    return phase


def on_all_devices(phase: Callable, batches: Any = None) -> Callable:
    """Puts the phase on all devices; the state stays replicated without leading axes, and is donated.

    Args:
      phase: of `make_phase`, say.
      batches: in_axes of its batches; None: of `Batches`, whose indices carry a leading axis of this process's devices.
    """
    axes = BATCHES_AXES if batches is None else batches
    return map_over_devices(phase, (None, axes, None, None, None), donate=0)


def map_over_devices(
    function: Callable, axes: Any, out_axes: Any = None, donate: int | tuple[int, ...] = ()
) -> Callable:
    """Runs a function on every device, over the axis AXIS. This is the one place that calls `jax.pmap`.

    Args:
      function: of arrays.
      axes: in_axes of the arguments: 0 where an argument has a row for each device of this process, None where all
        devices are given the whole.
      out_axes: of the results; None where a result is the same on all devices.
      donate: numbers of the arguments whose memory the program may use.
    """
    return jax.pmap(function, AXIS, in_axes=axes, out_axes=out_axes, donate_argnums=donate)


BATCHES_AXES = Batches(images=None, labels=None, indices=0)


def compile_ahead(phases: Sequence[Callable], arguments: Sequence[tuple]) -> list[Callable]:
    """Returns phases of `on_all_devices` as programs for such arguments, of which none is used up.

    One is compiled, or loaded from the compilation cache, while the next is traced. Two are not compiled at once: that
    would take twice the memory, and XLA keeps all cores busy with one.
    """
    if jax.process_count() > 1:
        # A compiled pmap does not take the arrays of one process among several: these compile by running no step.
        for phase, (state, batches, key, *_) in zip(phases, arguments, strict=True):
            jax.block_until_ready(phase(jax.tree.map(jnp.copy, state), batches, key, 0, 0))
        return list(phases)
    with ThreadPoolExecutor(1) as pool:
        programs = [
            pool.submit(compile_lowered, phase.lower(*given))
            for phase, given in zip(phases, arguments, strict=True)
        ]
        return [program.result() for program in programs]


# XLA:CPU uses vectors of 256 bits unless told, with AVX-512 too; and it copies what a loop hands on to its next
# round where a finer analysis finds that nothing needs the copy. A search step takes 8 % less time so.
_CPU_OPTIONS = {
    "xla_cpu_prefer_vector_width": 512,
    "xla_cpu_copy_insertion_use_region_analysis": True,
}


def compile_lowered(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Returns the program of a lowered phase."""
    compiled = None
    if jax.default_backend() == "cpu":
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # of a jaxlib without these options
            compiled = lowered.compile(compiler_options=_CPU_OPTIONS)
    compiled = compiled or lowered.compile()
    give_back_freed_memory()
    return compiled


def give_back_freed_memory() -> None:
    """Returns to the system what compilers have freed, which glibc keeps for itself: gigabytes after a search's."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # other C libraries do without
            trim(0)


def replicated(tree: Any) -> Any:
    """Puts the tree on every local device, placed as a dispatch returns it (or the next would compile anew)."""
    return _put(tree, PartitionSpec())


def divided(tree: Any) -> Any:
    """Puts arrays [local devices, ...] on the devices, on each its row."""
    return _put(tree, PartitionSpec(AXIS))


def by_device(order: np.ndarray) -> np.ndarray:
    """Divides batches [steps, B] among all devices.

    Returns:
      What those of this process get: [local devices, steps, B / devices].
    """
    devices, local = jax.device_count(), jax.local_device_count()
    parts = order.reshape(len(order), devices, -1).swapaxes(0, 1)
    return parts[jax.process_index() * local :][:local]


def in_32_bits(function: Callable) -> Callable:
    """Makes a function compute as it does where JAX_ENABLE_X64 is not set.

    With that setting jax's types are of 64 bits wherever a program leaves them open. Random numbers would be others,
    and the checkpoints of a run could not be read without the setting.
    """

    @functools.wraps(function)
    def computing(*arguments: Any, **options: Any) -> Any:
        with jax.enable_x64(False):
            return function(*arguments, **options)

    return computing


def my_part(draws: Any, count: int, axis: int = 0) -> Any:
    """Returns this device's `count` examples' part of what was drawn for the whole batch."""
    start = lax.axis_index(AXIS) * count
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, count, axis), draws)


def sum_over_devices(tree: Any) -> Any:
    """Sums float32 trees over the axis, as a single all-reduce.

    With one for each array XLA combines only those that come one after the other: batch statistics which are
    themselves averaged over the devices lie between the gradients of the layers.
    """
    if lax.axis_size(AXIS) == 1:
        return tree
    flat, restore = ravel_pytree(tree)
    return restore(lax.psum(flat, AXIS))


def _put(tree, spec):
    return jax.device_put(tree, NamedSharding(Mesh(jax.local_devices(), (AXIS,)), spec))
