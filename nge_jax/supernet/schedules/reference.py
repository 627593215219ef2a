"""The mixed cell as the paper writes it (Eq. 11): one edge and one operation at a time, library operations only.

This is the shortest of the three schedules to read and the slowest to run. Nothing is shared, folded or recomputed, and
every derivative is automatic. The fast schedules compute the same sums, and tests compare their values and gradients
with this one.
"""

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.space.spaces import DARTS, DILATED, SEPARABLE, Space
from nge_jax.supernet import partial
from nge_jax.supernet.edge import edges_from
from nge_jax.supernet.norm import BATCH_NORM_EPSILON, pmean
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.schedules import described
from nge_jax.supernet.trees import Params


def mix_as_written(
    params: Params,
    nodes: jax.Array | Nodes,
    inputs: jax.Array | None,
    probs: jax.Array | Factors,
    sources: range,
    axis_name: str | None,
    space: Space = DARTS,
) -> jax.Array | Nodes:
    """Adds the contributions of the edges from `sources` to every node; the arguments are `grouped.mix_together`'s."""
    if isinstance(nodes, Nodes):
        return _mix_partially(params, nodes, inputs, probs, sources, axis_name, space)
    assert not isinstance(probs, Factors), "only `Nodes` have factors"
    stride = 1 if inputs is None else 2
    probs, mixed = probs.astype(nodes.dtype), list(nodes)
    edges = edges_from(sources, space)
    for number, (i, k) in enumerate(edges):  # in the order of k: node i is complete
        x = mixed[i] if inputs is None else inputs[i]
        edge = _edge_params(params, number, nodes.dtype)
        for o, name in enumerate(space.operations):
            p = probs[space.edges.index((i, k)), o]
            mixed[k] += p * operation(name, edge, x, stride, axis_name)
    return jnp.stack(mixed)


def _mix_partially(params, nodes, inputs, factors, sources, axis_name, space):
    """Computes `mix_as_written` in a partially connected cell."""
    stride = 1 if inputs is None else 2
    mixed, passed = map(list, nodes)
    for number, (i, k) in enumerate(edges_from(sources, space)):
        x = Nodes(mixed[i], passed[i]) if inputs is None else inputs[i]
        first, rest = partial.read(x, nodes.mixed.shape[-1])
        edge = _edge_params(params, number, first.dtype)
        e = space.edges.index((i, k))
        for o, name in enumerate(space.operations):
            p = factors.probs[e, o].astype(first.dtype)
            mixed[k] += p * operation(name, edge, first, stride, axis_name)
        passed[k] += factors.betas[e].astype(rest.dtype) * rest
    return Nodes(jnp.stack(mixed), jnp.stack(passed))


def _edge_params(stacked, number, dtype):
    return jax.tree.map(lambda a: a[number].astype(dtype), stacked)


def operation(
    name: str, edge: Params, x: jax.Array, stride: int, axis_name: str | None = None
) -> jax.Array:
    """Computes one operation of one edge: x [B, H, W, C] -> [B, H / stride, W / stride, C]."""
    if name == "skip_connect":
        return x if stride == 1 else factorized_reduce(edge[name], x, axis_name)
    if name == "max_pool_3x3":
        return batch_norm(pool(x, -jnp.inf, lax.max, stride), axis_name)
    if name == "avg_pool_3x3":
        # The counts of one image and channel: XLA folds this constant, which would take long for a whole batch.
        counts = pool(jnp.ones((1, *x.shape[1:3], 1), x.dtype), 0.0, lax.add, stride)
        return batch_norm(pool(x, 0.0, lax.add, stride) / counts, axis_name)
    if name in SEPARABLE:
        x = relu_conv_norm(edge[name]["first"], x, stride, 1, axis_name)
        return relu_conv_norm(edge[name]["second"], x, 1, 1, axis_name)
    if name in DILATED:
        return relu_conv_norm(edge[name], x, stride, 2, axis_name)
    return described.operation(name, edge.get(name, {}), x, stride, axis_name, batch_norm)


def relu_conv_norm(
    weights: Params, x: jax.Array, stride: int, dilation: int, axis_name: str | None
) -> jax.Array:
    """Computes ReLU, depthwise convolution, 1x1 convolution and batch normalization."""
    x = depthwise_conv(jax.nn.relu(x), weights["depthwise"], stride, dilation)
    return batch_norm(x @ weights["pointwise"], axis_name)


def factorized_reduce(weights: jax.Array, x: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Halves the resolution by two 1x1 convolutions of every other pixel, the second shifted by one."""
    x = jax.nn.relu(x)
    odd = [(0, n % 2) for n in x.shape[1:3]]  # at an odd size the shifted pixels end in a zero
    shifted = jnp.pad(x, ((0, 0), *odd, (0, 0)))[:, 1::2, 1::2]
    halves = x[:, ::2, ::2] @ weights[0], shifted @ weights[1]
    return batch_norm(jnp.concatenate(halves, -1), axis_name)


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves x [B, H, W, C_in] with kernel [k, k, C_in, C], zero-padded to keep the size."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves each channel of x [B, H, W, C] with its kernel in [k, k, C]."""
    padding = dilation * (len(kernel) // 2)
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        [(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def pool(x: jax.Array, start: float, combine, stride: int) -> jax.Array:
    """Combines the pixels in each 3x3 window of x [B, H, W, C], which is padded by one pixel of value `start`."""
    pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return lax.reduce_window(x, start, combine, (1, 3, 3, 1), (1, stride, stride, 1), pads)


def batch_norm(x: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Normalizes x [B, H, W, C] with the statistics of the batch, without affine part."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = pmean(wide.mean((0, 1, 2)), axis_name)
    variance = pmean(jnp.square(wide - mean).mean((0, 1, 2)), axis_name)
    return ((wide - mean) / jnp.sqrt(variance + BATCH_NORM_EPSILON)).astype(x.dtype)
