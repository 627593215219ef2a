"""The mixed cell as the paper writes it: one edge and one operation at a time, library operations only."""

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.space.genotype import EDGES, OPERATIONS


def mixed_cell(params, before, probs, reduction):
    """What `nge_jax.supernet.cell.mixed_cell` computes."""
    nodes = [preprocess(params["preprocess_0"], before[0])]
    nodes.append(preprocess(params["preprocess_1"], before[1]))
    for k in range(2, 6):
        total = 0.0
        for i in range(k):
            stride = 2 if reduction and i < 2 else 1
            edge = edge_params(params, reduction, i, k)
            for o, name in enumerate(OPERATIONS):
                total += probs[EDGES.index((i, k)), o] * operation(name, edge, nodes[i], stride)
        nodes.append(total)
    return jnp.concatenate(nodes[2:], -1)


def edge_params(params, reduction, i, k):
    key, edges = "edges", EDGES
    if reduction:
        key = "reducing_edges" if i < 2 else "edges"
        edges = [edge for edge in EDGES if (edge[0] < 2) == (i < 2)]
    return jax.tree.map(lambda a: a[edges.index((i, k))], params[key])


def operation(name, params, x, stride):
    if name == "skip_connect":
        return x if stride == 1 else factorized_reduce(params[name], x)
    if name == "max_pool_3x3":
        return batch_norm(pool(x, -jnp.inf, lax.max, stride))
    if name == "avg_pool_3x3":
        # Of one image and channel: XLA folds this constant, which takes long on a whole batch.
        counts = pool(jnp.ones((1, *x.shape[1:3], 1)), 0.0, lax.add, stride)
        return batch_norm(pool(x, 0.0, lax.add, stride) / counts)
    if name.startswith("sep_conv"):
        for part, part_stride in (("first", stride), ("second", 1)):
            weights = params[name][part]
            x = depthwise(jax.nn.relu(x), weights["depthwise"], part_stride, 1)
            x = batch_norm(x @ weights["pointwise"])
        return x
    weights = params[name]
    return batch_norm(
        depthwise(jax.nn.relu(x), weights["depthwise"], stride, 2) @ weights["pointwise"]
    )


def preprocess(weights, x):
    if weights.ndim == 3:
        return factorized_reduce(weights, x)
    return batch_norm(jax.nn.relu(x) @ weights)


def factorized_reduce(weights, x):
    x = jax.nn.relu(x)
    halves = x[:, ::2, ::2] @ weights[0], x[:, 1::2, 1::2] @ weights[1]
    return batch_norm(jnp.concatenate(halves, -1))


def depthwise(x, kernel, stride, dilation):
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


def pool(x, start, combine, stride):
    pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return lax.reduce_window(x, start, combine, (1, 3, 3, 1), (1, stride, stride, 1), pads)


def batch_norm(x):
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / jnp.sqrt(variance + 1e-5)
