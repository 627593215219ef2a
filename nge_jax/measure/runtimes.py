"""Calls of a network to be timed: by JAX, or by onnxruntime on its ONNX graph. A call ends when its result is there."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.errors import InputError
from nge_jax.export import onnx_file, onnx_graph
from nge_jax.measure.options import JAX, ONNXRUNTIME
from nge_jax.workdir import environment

Apply = Callable[[Any, jax.Array], jax.Array]  # (variables, x) -> y


class Runtime(NamedTuple):
    """The program and the device that compute.

    Attributes:
      name: one of options.RUNTIMES.
      device: one of options.DEVICES.
      threads: how many threads of a CPU compute.
    """

    name: str
    device: str
    threads: int

    def __str__(self) -> str:
        versions = {JAX: jax.__version__, ONNXRUNTIME: ""}
        if self.name == ONNXRUNTIME:
            import onnxruntime

            versions[ONNXRUNTIME] = onnxruntime.__version__
        on_gpu = self.device == "gpu"
        kind = jax.devices("gpu")[0].device_kind if on_gpu else environment.processor()
        threads = "" if on_gpu else f", {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{kind}{threads}, {self.name} {versions[self.name]}"

    def make_call(self, apply: Apply, variables: Any, x: np.ndarray) -> Callable[[], Any]:
        """Compiles a network and returns the call that computes it for x."""
        if self.name == ONNXRUNTIME:
            function = partial(apply, variables)
            model = onnx_graph.convert(function, x.shape[1:], x.dtype, names=("x", "y"))
            return self.call_file(model.SerializeToString(), x)
        given = jax.device_put((variables, x), jax.devices(self.device)[0])
        program = jax.jit(apply).lower(*given).compile()
        return lambda: jax.block_until_ready(program(*given))

    def call_file(self, model: Any, x: np.ndarray) -> Callable[[], Any]:
        """Returns the call that computes an ONNX file, or its bytes, for x."""
        session = onnx_file.open_session(model, self.threads, self.device)
        return lambda: onnx_file.logits(session, x)


def start(name: str, device: str, threads: int) -> Runtime:
    """Returns a runtime. No backend of JAX may have started, because threads are chosen when one starts.

    Raises:
      InputError: there is no such device, or no such number of threads.
    """
    if not 1 <= threads <= environment.cores():
        raise InputError(
            f"--threads: found {threads}, expected 1 to {environment.cores()}, the cores of this process"
        )
    os.environ["NPROC"] = str(threads)  # XLA's client of CPUs makes so many threads
    try:
        jax.devices(device)
    except RuntimeError as error:
        raise InputError(f"--device: found no {device} on this machine") from error
    return Runtime(name, device, threads)


def draw_variables(module: nn.Module, x: Any, **options: Any) -> Any:
    """Draws weights of a network that nothing has trained, without a compilation: their values do not change times.

    Args:
      module: called as `module(x, **options)`.
      x: an array, or the shape of one.
      **options: further arguments.
    """
    random = np.random.RandomState(0)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key != "kernel":  # scales, shifts and statistics
            return np.ones(leaf.shape, np.float32)
        # Half as large as for an equal variance behind ReLU, because the sums of many edges grow from cell to cell.
        deviation = (0.5 / np.prod(leaf.shape[:-1])) ** 0.5
        return random.normal(0, deviation, leaf.shape).astype(np.float32)

    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(x.shape), **options))
    return jax.tree_util.tree_map_with_path(draw, dict(shapes))
