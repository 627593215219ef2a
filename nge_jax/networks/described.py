"""An operation of a derived network that is computed from its description (`space.parts`), as a Flax module."""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from nge_jax.kernels.layer import Layer
from nge_jax.kernels.multiply_adds import count
from nge_jax.space.parts import outside
from nge_jax.space.parts.operation import Shapes, fan_in, map_shapes


class DescribedOperation(nn.Module):
    """Computes an operation: [N, H, W, channels] -> [N, ceil(H/stride), ceil(W/stride), channels].

    Attributes:
        operation: the name by which `space.parts.loading` finds it.
        channels, stride, norm, dtype, spacing: see `networks.layers`.
    """

    operation: str
    channels: int
    stride: int
    norm: Callable
    dtype: Any = None
    spacing: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shapes = self.shapes()
        names = jax.tree.leaves(map_shapes(lambda path, _: path, shapes))
        flat = jax.tree.leaves(shapes, is_leaf=_is_shape)
        drawn = [
            self.param(parameter_name(n), _initializer(shape), shape)
            for n, shape in zip(names, flat, strict=True)
        ]
        x, *drawn = promote_dtype(x, *drawn, dtype=self.dtype)
        weights = jax.tree.unflatten(jax.tree.structure(shapes, is_leaf=_is_shape), drawn)
        layer = Layer(self.stride, lambda x: self.norm()(x), spacing=self.spacing)
        return outside.apply(self.operation, weights, x, layer)

    def shapes(self) -> Shapes:
        """Returns the shapes of the weights."""
        shapes = outside.parameters(self.operation, self.channels, self.stride)
        return map_shapes(lambda _, shape: shape, shapes)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Counts the multiply-adds for one image of an input [..., H, W, C]."""

        def compute(weights, x):
            layer = Layer(self.stride, lambda x: x, spacing=self.spacing)
            return outside.apply(self.operation, weights, x, layer)

        weights = jax.tree.map(
            lambda size: jax.ShapeDtypeStruct(size, jnp.float32), self.shapes(), is_leaf=_is_shape
        )
        return count(compute, weights, jax.ShapeDtypeStruct((1, *shape[-3:]), jnp.float32))


def parameter_name(path: str) -> str:
    """Names the parameter at a path of an operation's weights, such as "first/kernel"."""
    return re.sub(r"\W", "_", path)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple)


def _initializer(shape: tuple[int, ...]) -> Callable:
    if not fan_in(shape):
        return nn.initializers.zeros
    bound = fan_in(shape) ** -0.5
    return lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)
