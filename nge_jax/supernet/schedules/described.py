"""Operations that have no form of their own in the schedules, computed from their description (`space.parts`).

Every schedule computes such an operation edge by edge, beside the paper's operations, and differentiates it
automatically.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nge_jax.kernels.layer import Layer
from nge_jax.kernels.multiply_adds import count
from nge_jax.space.parts import outside
from nge_jax.space.parts.operation import Operation, map_shapes
from nge_jax.space.spaces import Space
from nge_jax.supernet import norm
from nge_jax.supernet.edge import other_operations
from nge_jax.supernet.layouts import Layout
from nge_jax.supernet.trees import Params


def operation(
    kind: Operation | str,
    weights: Any,
    x: jax.Array,
    stride: int,
    axis_name: str | None,
    normalize: Callable[..., jax.Array] = norm.batch_norm,
) -> jax.Array:
    """Computes one operation of one edge, by value or name: x [B, H, W, C] -> [B, H / stride, W / stride, C]."""
    normalize = functools.partial(normalize, axis_name=axis_name)
    layer = Layer(stride, normalize, search_norm=normalize)
    weights = jax.tree.map(lambda a: a.astype(x.dtype), weights)
    return outside.apply(kind, weights, x, layer)


def weights_of(params: Params, space: Space) -> Params:
    """Takes the weights of the described operations from an edge's, or from stacked ones of several edges."""
    return {name: params[name] for name in other_operations(space) if name in params}


def mixed(
    weights: Params,
    x: jax.Array,
    p: jax.Array,
    stride: int,
    axis_name: str | None,
    space: Space,
    layout: Layout,
) -> jax.Array:
    """Computes the sum of one edge's described operations, of which there is one or more, weighted by p.

    Args:
        weights: one edge's, as from `weights_of`.
        x: the source, in `layout`.
        p: [O], in the order of the space.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell.
        layout: the layout of x and of the sum.
    """
    x, total = layout.to_nhwc(x), None
    for name in other_operations(space):
        y = operation(name, weights.get(name, {}), x, stride, axis_name)
        y *= p[space.operations.index(name)].astype(y.dtype)
        total = y if total is None else total + y
    assert total is not None, "there is a described operation"
    return layout.to_layout(total)


def mixed_edges(
    params: Params,
    x: jax.Array,
    p: jax.Array,
    stride: int,
    axis_name: str | None,
    space: Space,
) -> Any:
    """Computes the sums of E edges that leave x [B, H, W, C]: [B, H / stride, W / stride, E, C]; 0 without operations.

    Args:
        params: stacked parameters of the edges.
        x: the source.
        p: [E, O], in the order of the space.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell.
    """
    total: Any = 0.0
    for name in other_operations(space):
        compute = functools.partial(operation, name, x=x, stride=stride, axis_name=axis_name)
        weight = p[:, space.operations.index(name), None]
        if name in params:
            total += jax.vmap(compute, out_axes=3)(params[name]) * weight
        else:
            total += compute({})[..., None, :] * weight
    return total


def vjp(
    edge_params: Params,
    x: jax.Array,
    p: jax.Array,
    g: jax.Array,
    stride: int,
    axis_name: str | None,
    space: Space,
    layout: Layout,
) -> tuple[Params, jax.Array, jax.Array]:
    """Computes the gradients of the weights, of x and of p from the gradient g of `mixed`; zeros without operations."""
    weights = weights_of(edge_params, space)
    if not other_operations(space):
        return {}, jnp.zeros_like(x), jnp.zeros_like(p)

    def total(weights, x, p):
        return mixed(weights, x, p, stride, axis_name, space, layout)

    return jax.vjp(total, weights, x, p)[1](g)


def multiply_adds(name: str, channels: int, stride: int, size: tuple[int, int]) -> int:
    """Counts the multiply-adds of an operation on one image whose output has this size (H, W)."""
    shapes = outside.parameters(name, channels, stride)
    weights = map_shapes(lambda _, shape: jax.ShapeDtypeStruct(shape, jnp.float32), shapes)
    x = jax.ShapeDtypeStruct((1, *(stride * n for n in size), channels), jnp.float32)
    compute = functools.partial(operation, name, stride=stride, axis_name=None)
    return count(compute, weights, x)
