"""The parts of a network as networks of their own, and the measurement of all parts of a network."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from nge_jax.latency import timing
from nge_jax.latency.parts import (
    CALL,
    CIFAR_STEM,
    CLASSIFIER,
    CONCATENATION,
    IMAGENET_STEM,
    PROJECTION,
    REDUCTION,
    SUM,
    NetworkShape,
    Part,
    all_parts,
    call_part,
)
from nge_jax.latency.timing import Timing
from nge_jax.measure.runtimes import Runtime, draw_variables
from nge_jax.networks import layers


class PartNetwork(nn.Module):
    """Computes one part as the network does after its training: [N, H, W, inputs] -> [N, H', W', channels]."""

    part: Part

    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        norm = partial(layers.BatchNorm, use_running_average=True, epsilon=1e-5)
        part = self.part
        if part.name in layers.OPS:
            return layers.OPS[part.name](part.channels, part.stride, norm, None, "operation")(x)
        return OTHERS[part.name](part.channels, norm)(x)


def _classify(classes: int, norm: Callable) -> Callable:
    del norm
    return lambda x: layers.Classifier(classes)(x.mean(axis=(1, 2)))


def _add(channels: int, norm: Callable) -> Callable:
    """Adds two arrays, which lie side by side as channels."""
    del norm
    return lambda x: x[..., :channels] + x[..., channels:]


def _concatenate(channels: int, norm: Callable) -> Callable:
    """Copies as many channels as a cell's output has."""
    del norm
    half = channels // 2
    return lambda x: jnp.concatenate([x[..., half:], x[..., :half]], axis=-1)


def _double(channels: int, norm: Callable) -> Callable:
    """Makes next to nothing: a program of a number."""
    del channels, norm
    return lambda x: x + x


OTHERS: Mapping[str, Callable] = MappingProxyType(
    {
        CALL: _double,
        CIFAR_STEM: layers.CifarStem,
        IMAGENET_STEM: layers.ImageNetStem,
        PROJECTION: layers.ReluConvNorm,
        REDUCTION: layers.FactorizedReduce,
        SUM: _add,
        CONCATENATION: _concatenate,
        CLASSIFIER: _classify,
    }
)


def measure_part(part: Part, runtime: Runtime, seconds: float) -> Timing:
    """Times a part by itself, the call included."""
    x = np.random.RandomState(0).normal(size=(1, part.height, part.width, part.inputs))
    x = x.astype(np.float32)
    module = PartNetwork(part)

    def apply(variables: Any, x: jax.Array) -> jax.Array:
        y = module.apply(variables, x)
        # CIFAR's stem gives the same array twice, and ImageNet's both halvings.
        return jnp.asarray(y[-1] if isinstance(y, tuple) else y)

    return timing.measure(runtime.make_call(apply, draw_variables(module, x), x), seconds)


def measure_all(network: NetworkShape, runtime: Runtime, seconds: float) -> dict[Part, Timing]:
    """Times each part that a network of any cell can have, without the time of a call, which is a part itself.

    Args:
      network: the network's shape.
      runtime: computes.
      seconds: how long a part is timed.
    """
    parts = all_parts(network)
    call = measure_part(call_part(), runtime, seconds)
    timings = {call_part(): call}
    for part in tqdm(parts, "measuring parts", leave=False, disable=None):
        if part.name != CALL:
            timings[part] = _without(measure_part(part, runtime, seconds), call)
    return timings


def _without(timing: Timing, call: Timing) -> Timing:
    median, low, high = (max(0.0, value - call.median) for value in timing[:3])
    return Timing(median, low, high, timing.calls)
