"""The schedule for GPUs and TPUs: all edges leaving a node at once, side by side as groups of channels.

What the operations make of a node lies as [B, H, W, E C], the channels of edge after edge: the edges' depthwise
convolutions are one of E C channels, their batch normalizations are one, and their 1x1 convolutions one product with a
batch dimension. Measured on an H200 (float32, a normal cell of 16 channels at 32 x 32, batch 64, forward and backward):
5.7 ms in a sketch of this; 52 ms before, when a convolution of C channels made E from each and dilated ones were
the library's.

The 3x3 and the 5x5 convolution of a kind are bundled, too, into one of 2 E C channels, the smaller kernel among zeros.
At these sizes starting a kernel costs more than products with zeros: for a step of 16 channels and 2 cells, batch 64,
float32, an H100 starts 770 kernels and not 1,232, which by its compiler and peak rates takes 3.6 ms and not 4.1. A
v5e's compiler expects 44.0 million cycles of that step in bfloat16, and 45.9 of one without the bundles.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from nge_jax.kernels import convolution, pooling
from nge_jax.kernels.depthwise import depthwise_conv
from nge_jax.space.genotype import EDGES, OPERATIONS
from nge_jax.space.spaces import DILATED, SEPARABLE
from nge_jax.supernet import norm, partial
from nge_jax.supernet.edge import POOLS, SKIP, edges_from
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.trees import Params

# Neighbors in OPERATIONS, of one kind, that are computed as one.
BUNDLES = tuple(SEPARABLE), tuple(DILATED)
# What is kept for the backward pass to save memory: what convolutions and 1x1 convolutions bring, and batch statistics.
# All else is computed again by what reads it. For an H100 and 2 cells as above that is 0.69 GB of temporaries (1.24
# without) and 11 % more time by its compiler and peak rates; keeping nothing of a cell is 0.89 GB and 35 %.
CONVOLVED, PRODUCT = "convolved", "product"
_keep_dear = jax.checkpoint_policies.save_only_these_names(CONVOLVED, PRODUCT, norm.STATISTICS)


def mix_together(
    params: Params,
    nodes: jax.Array | Nodes,
    inputs: jax.Array | None,
    probs: jax.Array | Factors,
    sources: range,
    axis_name: str | None,
    *,
    remat: bool = False,
) -> jax.Array | Nodes:
    """Adds to every node what its edges from `sources` bring, all edges leaving a source at once.

    Args:
        params: stacked parameters of the edges leaving `sources`.
        nodes: [6, B, H, W, C]; what is already there is added to. Of a partially connected cell the `Nodes`.
        inputs: [2, B, 2H, 2W, C], the sources of stride-2 edges; None: the sources are among `nodes`.
        probs: [14, 7], probabilities of each edge's operations; of a partially connected cell the `Factors`.
        sources: source nodes, ascending.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        remat: keep less for the backward pass, see above.

    Returns:
        [6, B, H, W, C], or `Nodes`.
    """
    stride = 1 if inputs is None else 2
    mix_edges = functools.partial(mixed_edges, stride=stride, axis_name=axis_name)
    if remat:
        mix_edges = jax.checkpoint(mix_edges, policy=_keep_dear)
    if isinstance(nodes, Nodes):
        assert isinstance(probs, Factors), "a partially connected cell has factors"
        by_source = _by_source(bundled(params), probs.probs, sources)
        return _mix_partially(mix_edges, by_source, nodes, inputs, probs.betas)
    mixed, by_source = list(nodes), _by_source(bundled(params), probs, sources)
    for source in sources:
        x = mixed[source] if inputs is None else inputs[source]
        brought = _brought(mix_edges, by_source[source], x, source)
        for target, more in brought.items():
            mixed[target] = mixed[target] + more
    return jnp.stack(mixed)


def _mix_partially(mix_edges, by_source, nodes, inputs, betas):
    """Computes `mix_together` of a partially connected cell; by_source: of `_by_source`."""
    mixed, passed = map(list, nodes)
    for source in by_source:
        x = Nodes(mixed[source], passed[source]) if inputs is None else inputs[source]
        first, rest = partial.read(x, nodes.mixed.shape[-1])
        brought = _brought(mix_edges, by_source[source], first, source)
        for target, more in brought.items():
            beta = betas[EDGES.index((source, target))].astype(rest.dtype)
            mixed[target] = mixed[target] + more
            passed[target] = passed[target] + beta * rest
    return Nodes(jnp.stack(mixed), jnp.stack(passed))


def _brought(mix_edges, edges, x, source):
    """Computes what the edges that leave `source`, of which they mix x, bring to each of their targets."""
    params, p = edges
    brought = mix_edges(params, x, p)
    targets = [k for i, k in EDGES if i == source]
    return {target: brought[..., number, :] for number, target in enumerate(targets)}


def mixed_edges(
    params: Params, x: jax.Array, p: jax.Array, stride: int, axis_name: str | None
) -> jax.Array:
    """Computes what E edges of one source bring: the sum of their operations, weighted by `p` (paper Eq. 11).

    Args:
        params: parameters of the edges, as of `bundled`.
        x: [B, H, W, C], the source.
        p: [E, 7], probabilities of each edge's operations.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        [B, H / stride, W / stride, E, C].
    """
    edges, channels = len(p), x.shape[-1]
    p = p.astype(x.dtype)
    relu_x = jax.nn.relu(x)

    def normalize(y):
        return norm.batch_norm_in_one_pass(y, axis_name)

    def convolve(x, weights, stride, dilation):
        """Applies depthwise and 1x1 convolution, and BN, to [B, H, W, E n C], for each edge those of its bundle."""
        kernels = jnp.moveaxis(weights["depthwise"], (0, 1), (2, 3))  # [k, k, E, n, C]
        h = depthwise_conv(x, kernels.reshape(*kernels.shape[:2], -1), stride, dilation)
        h = checkpoint_name(h, CONVOLVED).reshape(*h.shape[:-1], -1, channels)
        pointwise = weights["pointwise"].reshape(-1, channels, channels).astype(h.dtype)
        y = _merge(jnp.einsum("bhwec,ecd->bhwed", h, pointwise))
        return normalize(checkpoint_name(y, PRODUCT))

    def weighted(y, names):
        """Weights an edge's operations `names`, neighbors in y [..., E names C], by p and sums them: [..., E, C]."""
        first = OPERATIONS.index(names[0])
        weights = p[:, first : first + len(names), None]
        return (y.reshape(*y.shape[:-1], edges, -1, channels) * weights).sum(-2)

    total: Any = 0.0
    for names, weights in params["bundles"].items():
        repeated = jnp.tile(relu_x, len(names) * edges)
        if "first" in weights:
            z = jax.nn.relu(convolve(repeated, weights["first"], stride, 1))
            total += weighted(convolve(z, weights["second"], 1, 1), names)
        else:
            total += weighted(convolve(repeated, weights, stride, 2), names)
    if stride == 2:
        halves = [
            _strided_pointwise(relu_x, half, shift)
            for shift, half in enumerate(params[SKIP].swapaxes(0, 1))
        ]
        total += weighted(normalize(_merge(jnp.concatenate(halves, -1))), (SKIP,))
    # Both pools are one normalization, too; CPUs take `looped_edge.shared_operations`.
    pools = jnp.concatenate([pooling.max_pool(x, stride), pooling.avg_pool(x, stride)], -1)
    for name, feature in zip(POOLS, jnp.split(normalize(pools), len(POOLS), -1), strict=True):
        total += feature[..., None, :] * p[:, OPERATIONS.index(name), None]
    if stride == 1:
        total += x[..., None, :] * p[:, OPERATIONS.index(SKIP), None]
    return total


def bundled(params: Params) -> Params:
    """Lays the n convolutions of each bundle side by side, smaller kernels among zeros.

    Args:
        params: stacked parameters of E edges.

    Returns:
        "bundles": names -> depthwise kernels [E, n, k, k, C] and 1x1 convolutions [E, n, C, C], of the first and of
        the second half where they are separable; and the others as they are.
    """

    def lay(parts):
        size = max(part["depthwise"].shape[1] for part in parts)
        margins = [(size - part["depthwise"].shape[1]) // 2 for part in parts]
        kernels = [
            jnp.pad(part["depthwise"], ((0, 0), (margin, margin), (margin, margin), (0, 0)))
            for part, margin in zip(parts, margins, strict=True)
        ]
        pointwise = [part["pointwise"] for part in parts]
        return {"depthwise": jnp.stack(kernels, 1), "pointwise": jnp.stack(pointwise, 1)}

    def of_kind(names):
        if names[0] in DILATED:
            return lay([params[name] for name in names])
        return {half: lay([params[name][half] for name in names]) for half in ("first", "second")}

    rest = {SKIP: params[SKIP]} if SKIP in params else {}
    return {"bundles": {names: of_kind(names) for names in BUNDLES}} | rest


def _by_source(params, probs, sources):
    """Lists (parameters of `bundled`, probabilities) of the edges that leave each source, taken of all at once."""
    edges = edges_from(sources)
    # By source, and those of one in the order of their targets, as they are.
    order = sorted(range(len(edges)), key=lambda number: edges[number][0])
    ordered = (
        jax.tree.map(lambda a: _in_order(a, tuple(order)), params),
        probs[np.array([EDGES.index(edges[number]) for number in order])],
    )
    found, begin = {}, 0
    for source in sources:
        end = begin + sum(i == source for i, _ in edges)
        found[source] = jax.tree.map(lambda a, rows=slice(begin, end): a[rows], ordered)
        begin = end
    return found


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _in_order(a, order):
    """Takes the rows of a in another order. The derivative is by hand: the automatic one is a sum over rows."""
    return a[np.array(order)]


_in_order.defvjp(
    lambda a, order: (_in_order(a, order), None), lambda order, _, g: (g[np.argsort(order)],)
)


def _strided_pointwise(x, weights, shift):
    """Applies the 1x1 convolutions [E, C, C / 2] to every second pixel from `shift` on: [B, H / 2, W / 2, E, C / 2]."""
    edges, channels_in, channels = weights.shape
    flat = weights.swapaxes(0, 1).reshape(channels_in, -1).astype(x.dtype)
    y: Any = convolution.strided_pointwise(x, flat, step=2, shift=shift, product=jnp.matmul)
    return y.reshape(*y.shape[:-1], edges, channels)


def _merge(y: Any) -> jax.Array:
    """Lays [..., E, C] as [..., E C]."""
    return y.reshape(*y.shape[:-2], -1)
