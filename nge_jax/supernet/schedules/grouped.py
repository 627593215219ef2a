"""The schedule for GPUs and TPUs: all edges that leave a node at once, side by side as groups of channels.

The results of E edges are one array [B, H, W, E C], the channels of edge after edge. The edges share one depthwise
convolution of E C channels, one batch normalization, and one product with a batch dimension for the 1x1 convolutions.
A sketch of this form took 5.7 ms on an H200, forward and backward. A convolution from C to E C channels, with the
library's dilation, took 52 ms. (A normal cell, float32, 16 channels, 32 x 32 pixels, batch 64.)

The 3x3 and the 5x5 convolution of a kind are bundled into one convolution of 2 E C channels, with zeros around the
smaller kernel. At these sizes starting a kernel costs more than multiplying zeros. For a step of 2 cells, 16 channels,
batch 64, in float32, an H100 starts 770 kernels with bundles and 1,232 without. By the compiler and the peak rates
that is 3.6 ms and 4.1 ms. In bfloat16 a v5e's compiler expects 44.0 and 45.9 million cycles.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from nge_jax.kernels import convolution, pooling
from nge_jax.kernels.depthwise import depthwise_conv
from nge_jax.kernels.selection import take_rows
from nge_jax.space.spaces import DARTS, DILATED, SEPARABLE, Space
from nge_jax.supernet import norm, partial
from nge_jax.supernet.edge import POOLS, SKIP, edges_from, other_operations
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.schedules import described
from nge_jax.supernet.trees import Params, in_order

# Operations of one kind that are computed as one.
BUNDLES = tuple(SEPARABLE), tuple(DILATED)
# To save memory, the backward pass keeps the results of convolutions and 1x1 convolutions, and batch statistics. The
# rest is computed again. On an H100 (2 cells as above) the temporaries shrink from 1.24 GB to 0.69 GB. The time grows
# by 11 %, by the compiler and the peak rates. Keeping nothing of a cell would need 0.89 GB and 35 % more time.
CONVOLVED, PRODUCT = "convolved", "product"
_keep_costly = jax.checkpoint_policies.save_only_these_names(CONVOLVED, PRODUCT, norm.STATISTICS)


def mix_together(
    params: Params,
    nodes: jax.Array | Nodes,
    inputs: jax.Array | None,
    probs: jax.Array | Factors,
    sources: range,
    axis_name: str | None,
    space: Space = DARTS,
    *,
    remat: bool = False,
) -> jax.Array | Nodes:
    """Adds the contributions of the edges from `sources` to every node, all edges that leave a source at once.

    Args:
        params: stacked parameters of the edges that leave `sources`.
        nodes: [6, B, H, W, C], to which the contributions are added; in a partially connected cell `Nodes`.
        inputs: [2, B, 2H, 2W, C], the sources of stride-2 edges; None: the sources are among `nodes`.
        probs: [14, 7], probabilities of each edge's operations; in a partially connected cell `Factors`.
        sources: source nodes, ascending.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell; the sizes above are the paper's.
        remat: keeps less for the backward pass, see CONVOLVED.

    Returns:
        [6, B, H, W, C], or `Nodes`.
    """
    stride = 1 if inputs is None else 2
    mix_edges = functools.partial(mixed_edges, stride=stride, axis_name=axis_name, space=space)
    if remat:
        mix_edges = jax.checkpoint(mix_edges, policy=_keep_costly)
    if isinstance(nodes, Nodes):
        assert isinstance(probs, Factors), "a partially connected cell has factors"
        by_source = _by_source(bundle(params), probs.probs, sources, space)
        return _mix_partially(mix_edges, by_source, nodes, inputs, probs.betas, space)
    mixed, by_source = list(nodes), _by_source(bundle(params), probs, sources, space)
    for source in sources:
        x = mixed[source] if inputs is None else inputs[source]
        for target, more in _contributions(mix_edges, by_source[source], x, source, space).items():
            mixed[target] = mixed[target] + more
    return jnp.stack(mixed)


def _mix_partially(mix_edges, by_source, nodes, inputs, betas, space):
    """Computes `mix_together` in a partially connected cell, from the result of `_by_source`."""
    mixed, passed = map(list, nodes)
    for source in by_source:
        x = Nodes(mixed[source], passed[source]) if inputs is None else inputs[source]
        first, rest = partial.read(x, nodes.mixed.shape[-1])
        contributions = _contributions(mix_edges, by_source[source], first, source, space)
        for target, more in contributions.items():
            beta = betas[space.edges.index((source, target))].astype(rest.dtype)
            mixed[target] = mixed[target] + more
            passed[target] = passed[target] + beta * rest
    return Nodes(jnp.stack(mixed), jnp.stack(passed))


def _contributions(mix_edges, edges, x, source, space):
    """Maps each target of the edges that leave `source` to the contribution of its edge, from the array x to mix."""
    params, p = edges
    contributions = mix_edges(params, x, p)
    targets = [k for i, k in space.edges if i == source]
    return {target: contributions[..., number, :] for number, target in enumerate(targets)}


def mixed_edges(
    params: Params,
    x: jax.Array,
    p: jax.Array,
    stride: int,
    axis_name: str | None,
    space: Space = DARTS,
) -> jax.Array:
    """Computes the contributions of E edges that leave one source: sums of operations weighted by p (paper Eq. 11).

    Args:
        params: parameters of the edges, as from `bundle`.
        x: [B, H, W, C], the source.
        p: [E, 7], probabilities of each edge's operations.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell.

    Returns:
        [B, H / stride, W / stride, E, C].
    """
    p = p.astype(x.dtype)
    relu_x = jax.nn.relu(x)
    normalize = functools.partial(norm.batch_norm_in_one_pass, axis_name=axis_name)
    total: Any = 0.0
    for names, weights in params["bundles"].items():
        y = _bundled_convolutions(names, weights, relu_x, len(p), stride, normalize)
        total += _weight(y, names, p, space)
    if SKIP in params:
        halves = [
            _strided_pointwise(relu_x, half, shift)
            for shift, half in enumerate(params[SKIP].swapaxes(0, 1))
        ]
        total += _weight(normalize(_merge(jnp.concatenate(halves, -1))), (SKIP,), p, space)
    # Both pools share one normalization, which is one kernel less. CPUs take `looped_edge.shared_operations`.
    total = _shared(total, x, p, stride, normalize, space)
    if other_operations(space):
        total += described.mixed_edges(params, x, p, stride, axis_name, space)
    return total


_POOL = {"max_pool_3x3": pooling.max_pool, "avg_pool_3x3": pooling.avg_pool}


def _shared(total, x, p, stride, normalize, space):
    """Adds to the total the operations without weights, which the edges share: pools, and the skip connection."""
    numbers = {name: o for o, name in enumerate(space.operations)}
    if present := [name for name in POOLS if name in numbers]:
        pools = jnp.concatenate([_POOL[name](x, stride) for name in present], -1)
        features = jnp.split(normalize(pools), len(present), -1)
        for name, feature in zip(present, features, strict=True):
            total += feature[..., None, :] * p[:, numbers[name], None]
    if stride == 1 and SKIP in numbers:
        total += x[..., None, :] * p[:, numbers[SKIP], None]
    return total


def _bundled_convolutions(names, weights, relu_x, edges, stride, normalize):
    """Computes the convolutions `names` of all edges from the ReLU of the source: [B, H', W', E names C]."""
    convolve = functools.partial(_convolve, channels=relu_x.shape[-1], normalize=normalize)
    repeated = jnp.tile(relu_x, len(names) * edges)
    if "first" not in weights:
        return convolve(repeated, weights, stride, 2)
    z = jax.nn.relu(convolve(repeated, weights["first"], stride, 1))
    return convolve(z, weights["second"], 1, 1)


def _convolve(x, weights, stride, dilation, *, channels, normalize):
    """Applies depthwise convolution, 1x1 convolution and BN to [B, H, W, E n C], n convolutions for each edge."""
    kernels = jnp.moveaxis(weights["depthwise"], (0, 1), (2, 3))  # [k, k, E, n, C]
    h = depthwise_conv(x, kernels.reshape(*kernels.shape[:2], -1), stride, dilation)
    h = checkpoint_name(h, CONVOLVED).reshape(*h.shape[:-1], -1, channels)
    pointwise = weights["pointwise"].reshape(-1, channels, channels).astype(h.dtype)
    y = _merge(jnp.einsum("bhwec,ecd->bhwed", h, pointwise))
    return normalize(checkpoint_name(y, PRODUCT))


def _weight(y, names, p, space):
    """Sums the operations `names`, neighbors in y [..., E names C], weighted by their probabilities: [..., E, C]."""
    numbers = [space.operations.index(name) for name in names]
    first = numbers[0]
    if numbers == [*range(first, first + len(names))]:
        weights = p[:, first : first + len(names), None]
    else:
        weights = jnp.stack([p[:, number] for number in numbers], 1)[..., None]
    channels = y.shape[-1] // (len(p) * len(names))
    return (y.reshape(*y.shape[:-1], len(p), -1, channels) * weights).sum(-2)


def bundle(params: Params) -> Params:
    """Stacks the n convolutions of each bundle and surrounds smaller kernels with zeros.

    Args:
        params: stacked parameters of E edges.

    Returns:
        Under "bundles", for the names of each bundle, the depthwise kernels [E, n, k, k, C] and the 1x1 convolutions
        [E, n, C, C]. Names that the space lacks are left out. Separable convolutions have a "first" and a "second"
        half. Other parameters stay as they are.
    """

    def stack(parts):
        size = max(part["depthwise"].shape[1] for part in parts)
        margins = [(size - part["depthwise"].shape[1]) // 2 for part in parts]
        kernels = [
            jnp.pad(part["depthwise"], ((0, 0), (margin, margin), (margin, margin), (0, 0)))
            for part, margin in zip(parts, margins, strict=True)
        ]
        pointwise = [part["pointwise"] for part in parts]
        return {"depthwise": jnp.stack(kernels, 1), "pointwise": jnp.stack(pointwise, 1)}

    def stack_kind(names):
        if names[0] in DILATED:
            return stack([params[name] for name in names])
        return {half: stack([params[name][half] for name in names]) for half in ("first", "second")}

    convolutions = {name for names in BUNDLES for name in names}
    rest = {name: weights for name, weights in params.items() if name not in convolutions}
    present = [tuple(name for name in names if name in params) for names in BUNDLES]
    return {"bundles": {names: stack_kind(names) for names in present if names}} | rest


def _by_source(params, probs, sources, space):
    """Maps each source to (parameters as from `bundle`, probabilities) of the edges that leave it.

    All edges are sorted at once, so that each source takes a slice.
    """
    edges = edges_from(sources, space)
    # Sorting is stable: the edges of one source stay in the order of their targets.
    order = sorted(range(len(edges)), key=lambda number: edges[number][0])
    ordered = (
        jax.tree.map(lambda a: in_order(a, tuple(order)), params),
        take_rows(probs, [space.edges.index(edges[number]) for number in order]),
    )
    by_source, begin = {}, 0
    for source in sources:
        end = begin + sum(i == source for i, _ in edges)
        by_source[source] = jax.tree.map(lambda a, rows=slice(begin, end): a[rows], ordered)
        begin = end
    return by_source


def _strided_pointwise(x, weights, shift):
    """Applies 1x1 convolutions [E, C, C / 2] to every second pixel, from `shift` on: [B, H / 2, W / 2, E, C / 2]."""
    edges, channels_in, channels = weights.shape
    flat = weights.swapaxes(0, 1).reshape(channels_in, -1).astype(x.dtype)
    y: Any = convolution.strided_pointwise(x, flat, step=2, shift=shift, product=jnp.matmul)
    return y.reshape(*y.shape[:-1], edges, channels)


def _merge(y: Any) -> jax.Array:
    """Reshapes [..., E, C] to [..., E C]."""
    return y.reshape(*y.shape[:-2], -1)
