"""Data parallelism: every device has the state, and the devices divide each batch.

The devices belong to all processes of the run, in the processes' order. A phase is a function `(state, batches, key,
start, stop) -> state` that runs the steps start..stop-1 of an epoch. `on_all_devices` makes it one dispatch. A step
draws random numbers for the whole batch, and each device takes its part. An image's augmentation thus does not depend
on the number of devices.
"""

import ctypes
import functools
import os
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
    """A data set, and the images that an epoch's steps use; or the `in_axes` of the three fields.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int32 [N].
      indices: int32 [steps, B / devices], a row for each step. On the host, this process's devices are the first axis.
    """

    images: Any
    labels: Any
    indices: Any


def batch_at(batches: Batches, i: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the images and labels of step i."""
    index = batches.indices[i]
    return batches.images[index], batches.labels[index]


def numbered_batch_at(batches: Batches, i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the images and labels of step i, and each image's number in the data set."""
    return *batch_at(batches, i), batches.indices[i]


def make_phase(step: Callable, batch_at: Callable = batch_at) -> Callable:
    """Makes `(state, batches, key, start, stop) -> state`: a step for each of the rows start..stop-1.

    One program serves all values of start and stop.

    Args:
      step: `(state, images, labels, key) -> state`.
      batch_at: `(batches, i) -> (images, labels)`, for batches that are no `Batches`. It may return more values, which
        the step takes after the labels.
    """

    def phase(state, batches, key, start, stop):
        def body(i, state):
            return step(state, *batch_at(batches, i), key)

        return lax.fori_loop(start, stop, body, state)

    return phase


def with_arguments(make: Callable) -> Callable:
    """Makes `(state, batches, (key, arguments), start, stop) -> state`, the phase `make(arguments)`.

    The program makes the phase from its arguments, a tree of rates and numbers of steps. One compiled program serves
    all values. A run with other values finds the program in the compilation cache.
    """

    def phase(state, batches, key_and_arguments, start, stop):
        key, arguments = key_and_arguments
        return make(arguments)(state, batches, key, start, stop)

    return phase


def on_all_devices(phase: Callable, batches: Any = None) -> Callable:
    """Puts a phase on all devices. The state is donated, and stays replicated without a leading axis.

    Args:
      phase: a phase, such as the result of `make_phase`.
      batches: `in_axes` of the phase's batches; None: BATCHES_AXES.
    """
    axes = BATCHES_AXES if batches is None else batches
    return map_over_devices(phase, (None, axes, None, None, None), donate=0)


def map_over_devices(
    function: Callable, axes: Any, out_axes: Any = None, donate: int | tuple[int, ...] = ()
) -> Callable:
    """Runs a function on every device, over the axis AXIS. This is the one place that calls `jax.pmap`.

    Args:
      function: a function of arrays.
      axes: `in_axes` of the arguments: 0 if an argument has a row for each device of this process, None if every
        device gets the whole argument.
      out_axes: `out_axes` of the results; None if a result is the same on all devices.
      donate: the numbers of the arguments whose memory the program may use.
    """
    return jax.pmap(function, AXIS, in_axes=axes, out_axes=out_axes, donate_argnums=donate)


BATCHES_AXES = Batches(images=None, labels=None, indices=0)


def compile_ahead(phases: Sequence[Callable], arguments: Sequence[tuple]) -> list[Callable]:
    """Compiles phases of `on_all_devices` for these arguments, which stay valid.

    While one phase is compiled, or loaded from the compilation cache, the next one is traced. Two phases are never
    compiled at once: that would take twice the memory, and XLA keeps all cores busy with one.
    """
    if jax.process_count() > 1:
        # A compiled pmap does not accept the arrays of one of several processes. Running no step also compiles.
        for phase, (state, batches, key, *_) in zip(phases, arguments, strict=True):
            jax.block_until_ready(phase(jax.tree.map(jnp.copy, state), batches, key, 0, 0))
        return list(phases)
    with ThreadPoolExecutor(1) as pool:
        programs = [
            pool.submit(compile_lowered, phase.lower(*given), functools.partial(_run_a_step, given))
            for phase, given in zip(phases, arguments, strict=True)
        ]
        return [program.result() for program in programs]


def _run_a_step(arguments, program):
    """Runs the first step on a copy of the state, and drops the result."""
    state, batches, key, *_ = arguments
    jax.block_until_ready(program(jax.tree.map(jnp.copy, state), batches, key, 0, 1))


# XLA:CPU by default uses vectors of 256 bits even with AVX-512. It also copies values between the rounds of a loop,
# where a finer analysis finds that no copy is needed. A search step takes 8 % less time with these options.
_CPU_OPTIONS = {
    "xla_cpu_prefer_vector_width": 512,
    "xla_cpu_copy_insertion_use_region_analysis": True,
}
# XLA:GPU records runs of at least five kernels in command buffers, and the host starts each of these as a whole.
# Convolutions and conditionals end a run by default, because some of them cannot be recorded. Here they are recorded,
# too, and two kernels are a run. The option takes the whole list: the first six are the default.
_COMMANDS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONVOLUTION,CONDITIONAL"
GPU_OPTIONS = {"xla_gpu_enable_command_buffer": _COMMANDS, "xla_gpu_graph_min_graph_size": 2}


def compiler_options() -> dict[str, Any]:
    """Returns this program's compiler options for the backend. On GPUs, options named in XLA_FLAGS are the user's."""
    user = os.environ.get("XLA_FLAGS", "")
    options = {"cpu": _CPU_OPTIONS, "gpu": GPU_OPTIONS}.get(jax.default_backend(), {})
    if options is GPU_OPTIONS:
        options = {name: value for name, value in options.items() if name not in user}
    return options


def compile_lowered(
    lowered: jax.stages.Lowered, try_on_gpu: Callable | None = None
) -> jax.stages.Compiled:
    """Returns the program of a lowered phase.

    The program has none of this program's compiler options if jaxlib does not know one. The same holds if a GPU cannot
    run the program with them, which is printed.

    Args:
      lowered: the lowered phase.
      try_on_gpu: runs the program on a GPU, and raises JaxRuntimeError where the GPU refuses to record a kernel.
    """
    compiled, options = None, compiler_options()
    on_gpu = jax.default_backend() == "gpu"
    if options:
        try:
            compiled = lowered.compile(compiler_options=options)
            if on_gpu and try_on_gpu is not None:
                try_on_gpu(compiled)
        except jax.errors.JaxRuntimeError as error:
            compiled = None
            if on_gpu:
                reason = str(error).strip().split("\n")[0]
                print(f"compiled without larger command buffers: {reason}", flush=True)
    compiled = compiled or lowered.compile()
    give_back_freed_memory()
    return compiled


def give_back_freed_memory() -> None:
    """Returns memory that compilers have freed to the system. Otherwise glibc keeps it, gigabytes after a search's."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # only glibc has this function
            trim(0)


def replicated(tree: Any) -> Any:
    """Puts the tree on every local device.

    The arrays are placed as a dispatch returns them, because another placement would make the next dispatch compile.
    """
    return _put(tree, PartitionSpec())


def divided(tree: Any) -> Any:
    """Puts arrays [local devices, ...] on the devices, one row on each device."""
    return _put(tree, PartitionSpec(AXIS))


def by_device(order: np.ndarray) -> np.ndarray:
    """Divides batches [steps, B] among all devices.

    Returns:
      The parts of this process's devices: [local devices, steps, B / devices].
    """
    devices, local = jax.device_count(), jax.local_device_count()
    parts = order.reshape(len(order), devices, -1).swapaxes(0, 1)
    return parts[jax.process_index() * local :][:local]


def in_32_bits(function: Callable) -> Callable:
    """Makes a function compute as it does without JAX_ENABLE_X64.

    With that setting, jax uses types of 64 bits wherever a program leaves them open. Random numbers would differ, and a
    run's checkpoints could not be read without the setting.
    """

    @functools.wraps(function)
    def computing(*arguments: Any, **options: Any) -> Any:
        with jax.enable_x64(False):
            return function(*arguments, **options)

    return computing


def my_part(draws: Any, count: int, axis: int = 0) -> Any:
    """Returns the part of the whole batch's random numbers that belongs to this device's `count` examples."""
    start = lax.axis_index(AXIS) * count
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, count, axis), draws)


def from_the_end(tree: Any) -> Any:
    """Returns arrays whose rows, over the parts of all devices, are in the order from the whole batch's end."""
    devices = lax.axis_size(AXIS)
    if devices > 1:
        swaps = [(device, devices - 1 - device) for device in range(devices)]
        tree = jax.tree.map(lambda a: lax.ppermute(a, AXIS, swaps), tree)
    return jax.tree.map(lambda a: a[::-1], tree)


def sum_over_devices(tree: Any) -> Any:
    """Sums float32 trees over the axis, as a single all-reduce.

    XLA combines all-reduces of single arrays only if they follow each other. Synchronized batch statistics lie between
    the gradients of the layers and would separate them.
    """
    if lax.axis_size(AXIS) == 1:
        return tree
    flat, restore = ravel_pytree(tree)
    return restore(lax.psum(flat, AXIS))


def _put(tree, spec):
    return jax.device_put(tree, NamedSharding(Mesh(jax.local_devices(), (AXIS,)), spec))
