"""The schedule for GPUs and TPUs: all edges leaving a node at once, by `jax.vmap`."""

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.kernels.depthwise import library_depthwise_conv
from nge_jax.space.genotype import EDGES, OPERATIONS
from nge_jax.supernet import norm
from nge_jax.supernet.cell import preprocess
from nge_jax.supernet.edge import (
    CONVOLUTIONS,
    SKIP,
    edges_from,
    mixed_convolutions,
    weightless,
    weightless_operations,
)
from nge_jax.supernet.trees import Params


def mix_together(
    params: Params,
    nodes: jax.Array,
    inputs: jax.Array | None,
    probs: jax.Array,
    sources: range,
    axis_name: str | None,
) -> jax.Array:
    """Adds to every node what its edges from `sources` bring, all edges leaving a source at once.

    Args:
        params: stacked parameters of the edges leaving `sources`.
        nodes: [6, B, H, W, C]; what is already there is added to.
        inputs: [2, B, 2H, 2W, C], the sources of stride-2 edges; None: the sources are among `nodes`.
        probs: [14, 7], probabilities of each edge's operations.
        sources: source nodes, ascending.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        [6, B, H, W, C].
    """
    stride = 1 if inputs is None else 2
    mixed, edges = list(nodes), edges_from(sources)
    for source in sources:
        x = mixed[source] if inputs is None else inputs[source]
        features = weightless_operations(x, stride, axis_name)
        relu_x = jax.nn.relu(x)
        center = norm.pmean(relu_x.mean((0, 1, 2), dtype=jnp.float32), axis_name)
        targets = [k for i, k in EDGES if i == source]
        leaving = np.array([n for n, (i, _) in enumerate(edges) if i == source])
        p = probs[np.array([EDGES.index((source, k)) for k in targets])]

        def along_edge(params, p, relu_x=relu_x, center=center, features=features):
            convolutions = {name: params[name] for name in CONVOLUTIONS}
            total, _ = mixed_convolutions(
                convolutions, relu_x, center, p, stride, axis_name, library_depthwise_conv
            )
            if stride == 2:
                reduced = preprocess(params[SKIP], relu_x, axis_name)
                total += (p[OPERATIONS.index(SKIP)] * reduced).astype(total.dtype)
            return total + jnp.tensordot(weightless(p, stride), features, 1).astype(total.dtype)

        brought = jax.vmap(along_edge)(_edges_params(params, leaving), p)
        for number, target in enumerate(targets):
            mixed[target] = mixed[target] + brought[number]
    return jnp.stack(mixed)


def _edges_params(stacked, numbers):
    return jax.tree.map(lambda a: a[numbers], stacked)
