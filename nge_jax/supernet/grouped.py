"""The schedule for GPUs and TPUs: all edges leaving a node at once, side by side as groups of channels.

What the operations make of a node lies as [B, H, W, E C], the channels of edge after edge: the edges' depthwise
convolutions are one of E C channels, their batch normalizations are one, and their 1x1 convolutions one product with a
batch dimension. Measured on an H200 (float32, a normal cell of 16 channels at 32 x 32, batch 64, forward and backward):
5.7 ms in a sketch of this; 52 ms before, when a convolution of C channels made E from each and dilated ones were
the library's. A v5e's compiler expects 20.3 million cycles of the weight step of one reduction cell (bfloat16), and
24.6 of that form by `jax.vmap` over the edges.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.kernels import convolution
from nge_jax.kernels.depthwise import depthwise_conv
from nge_jax.space.genotype import EDGES, OPERATIONS
from nge_jax.space.spaces import DILATED, SEPARABLE
from nge_jax.supernet import norm, partial
from nge_jax.supernet.edge import SKIP, edges_from, weightless, weightless_operations
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.trees import Params


def mix_together(
    params: Params,
    nodes: jax.Array | Nodes,
    inputs: jax.Array | None,
    probs: jax.Array | Factors,
    sources: range,
    axis_name: str | None,
) -> jax.Array | Nodes:
    """Adds to every node what its edges from `sources` bring, all edges leaving a source at once.

    Args:
        params: stacked parameters of the edges leaving `sources`.
        nodes: [6, B, H, W, C]; what is already there is added to. Of a partially connected cell the `Nodes`.
        inputs: [2, B, 2H, 2W, C], the sources of stride-2 edges; None: the sources are among `nodes`.
        probs: [14, 7], probabilities of each edge's operations; of a partially connected cell the `Factors`.
        sources: source nodes, ascending.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        [6, B, H, W, C], or `Nodes`.
    """
    if isinstance(nodes, Nodes):
        return _mix_partially(params, nodes, inputs, probs, sources, axis_name)
    mixed = list(nodes)
    for source in sources:
        x = mixed[source] if inputs is None else inputs[source]
        brought = _brought(params, x, source, probs, inputs is not None, sources, axis_name)
        for target, more in brought.items():
            mixed[target] = mixed[target] + more
    return jnp.stack(mixed)


def _mix_partially(params, nodes, inputs, factors, sources, axis_name):
    """Computes `mix_together` of a partially connected cell."""
    mixed, passed = map(list, nodes)
    for source in sources:
        x = Nodes(mixed[source], passed[source]) if inputs is None else inputs[source]
        first, rest = partial.read(x, nodes.mixed.shape[-1])
        brought = _brought(
            params, first, source, factors.probs, inputs is not None, sources, axis_name
        )
        for target, more in brought.items():
            beta = factors.betas[EDGES.index((source, target))].astype(rest.dtype)
            mixed[target] = mixed[target] + more
            passed[target] = passed[target] + beta * rest
    return Nodes(jnp.stack(mixed), jnp.stack(passed))


def _brought(params, x, source, probs, reducing, sources, axis_name):
    """Computes what the edges that leave `source`, of which they mix x, bring to each of their targets."""
    targets = [k for i, k in EDGES if i == source]
    leaving = np.array([n for n, (i, _) in enumerate(edges_from(sources)) if i == source])
    p = probs[np.array([EDGES.index((source, k)) for k in targets])]
    mine = _edges_params(params, leaving)
    brought = mixed_edges(mine, x, p, 2 if reducing else 1, axis_name)
    return {target: brought[..., number, :] for number, target in enumerate(targets)}


def mixed_edges(
    params: Params, x: jax.Array, p: jax.Array, stride: int, axis_name: str | None
) -> jax.Array:
    """Computes what E edges of one source bring: the sum of their operations, weighted by `p` (paper Eq. 11).

    Args:
        params: parameters of the edges, stacked.
        x: [B, H, W, C], the source.
        p: [E, 7], probabilities of each edge's operations.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        [B, H / stride, W / stride, E, C].
    """
    edges = len(p)
    p = p.astype(x.dtype)
    relu_x = jax.nn.relu(x)
    repeated = jnp.tile(relu_x, edges)

    def normalize(y):
        return norm.batch_norm_in_one_pass(y, axis_name)

    def convolve(x, weights, stride, dilation):
        """Applies depthwise and 1x1 convolution, and BN, to [B, H, W, E C]."""
        kernels = jnp.moveaxis(weights["depthwise"], 0, 2)  # [k, k, E, C]
        h = depthwise_conv(x, kernels.reshape(*kernels.shape[:2], -1), stride, dilation)
        y = jnp.einsum("bhwec,ecd->bhwed", _split(h), weights["pointwise"].astype(h.dtype))
        return normalize(_merge(y))

    def _split(y: Any) -> Any:
        return y.reshape(*y.shape[:-1], edges, -1)

    results = {}
    for name in SEPARABLE:
        z = jax.nn.relu(convolve(repeated, params[name]["first"], stride, 1))
        results[name] = convolve(z, params[name]["second"], 1, 1)
    for name in DILATED:
        results[name] = convolve(repeated, params[name], stride, 2)
    if stride == 2:
        halves = [
            _strided_pointwise(relu_x, half, shift)
            for shift, half in enumerate(params[SKIP].swapaxes(0, 1))
        ]
        results[SKIP] = normalize(_merge(jnp.concatenate(halves, -1)))
    total: Any = sum(_split(y) * p[:, OPERATIONS.index(name), None] for name, y in results.items())
    shared = weightless_operations(x, stride, axis_name)
    for feature, weight in zip(shared, weightless(p, stride).T, strict=True):
        total += feature[..., None, :] * weight[:, None]
    return total


def _strided_pointwise(x, weights, shift):
    """Applies the 1x1 convolutions [E, C, C / 2] to every second pixel from `shift` on: [B, H / 2, W / 2, E, C / 2]."""
    edges, channels_in, channels = weights.shape
    flat = weights.swapaxes(0, 1).reshape(channels_in, -1).astype(x.dtype)
    y: Any = convolution.strided_pointwise(x, flat, step=2, shift=shift, product=jnp.matmul)
    return y.reshape(*y.shape[:-1], edges, channels)


def _merge(y: Any) -> jax.Array:
    """Lays [..., E, C] as [..., E C]."""
    return y.reshape(*y.shape[:-2], -1)


def _edges_params(stacked, numbers):
    return jax.tree.map(lambda a: a[numbers], stacked)
