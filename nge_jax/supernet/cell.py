"""The mixed cell of the supernet: every edge carries all operations, weighted by their probabilities.

    node_k = sum over i < k, sum over operations o of  p[i, k, o] * o(node_i)          (paper Eq. 11)

Nodes 0 and 1 are the cell's two inputs (preprocessed to C channels), nodes 2..5 the inner ones; the
output concatenates the inner nodes. In a reduction cell, edges that leave an input have stride 2.

Two schedules compute the same sums (`supernet.SCHEDULES`):

* `mix_together`: all edges leaving a node at once, by `jax.vmap`. The edges' depthwise convolutions
  become one library call with many groups: what a GPU or TPU wants.
* `edge_loop.mix_one_by_one`: one edge at a time in a loop with a derivative of its own. What XLA's CPU
  backend wants: the loop's body is compiled once for a cell, and its arrays stay in the caches.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels import pooling
from nge_jax.kernels.depthwise import depthwise_conv, library_depthwise_conv
from nge_jax.space.genotype import EDGES, NUM_INPUTS, NUM_NODES, OPERATIONS
from nge_jax.supernet.norm import affine, fold, moments

# Operations that are convolutions, ending in 1x1 convolution and batch normalisation (see `folding`) ...
SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}  # kernel sizes
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}
CONVOLUTIONS = (*SEPARABLE, *DILATED)
# ... and those without weights, which are the same for all edges that leave a node at one stride.
POOLS = ("max_pool_3x3", "avg_pool_3x3")
SKIP = "skip_connect"

Params = dict[str, Any]


def edges_from(sources: range) -> tuple[tuple[int, int], ...]:
    """The edges (i, k) that leave `sources`, in the order of their stacked parameters."""
    return tuple((i, k) for i, k in EDGES if i in sources)


INPUTS, INNER, ALL = range(NUM_INPUTS), range(NUM_INPUTS, NUM_NODES - 1), range(NUM_NODES - 1)


def init_mixed_cell(
    key: jax.Array,
    channels_before: tuple[int, int],
    channels: int,
    reduction: bool,
    reduction_before: bool,
) -> Params:
    """Parameters of one cell; edges of one kind are stacked along a leading axis.

    Args:
        key: PRNG key.
        channels_before: channels of the outputs of the cells before: (k-2, k-1).
        channels: C of every node.
        reduction: whether this is a reduction cell.
        reduction_before: whether cell k-1 is one, so that cell k-2's output has twice the size.
    """
    keys = jax.random.split(key, 4)
    before = init_factorized_reduce if reduction_before else init_pointwise
    params = {
        "preprocess_0": before(keys[0], channels_before[0], channels),
        "preprocess_1": init_pointwise(keys[1], channels_before[1], channels),
    }
    if reduction:
        params["reducing_edges"] = _init_edges(keys[2], len(edges_from(INPUTS)), channels, 2)
        params["edges"] = _init_edges(keys[3], len(edges_from(INNER)), channels, 1)
    else:
        params["edges"] = _init_edges(keys[2], len(EDGES), channels, 1)
    return params


def _init_edges(key, count, channels, stride):
    """Parameters of `count` edges, stacked: `name/depthwise_j` [E, k, k, C], `name/pointwise_j` [E, C, C]."""
    keys = iter(jax.random.split(key, 2 * len(SEPARABLE) + len(DILATED) + 1))

    def separable(size):  # depthwise and 1x1 convolution
        key_depthwise, key_pointwise = jax.random.split(next(keys))
        return {
            "depthwise": uniform(key_depthwise, (count, size, size, channels), size * size),
            "pointwise": uniform(key_pointwise, (count, channels, channels), channels),
        }

    params = {}
    for name, size in SEPARABLE.items():
        params[name] = {"first": separable(size), "second": separable(size)}
    for name, size in DILATED.items():
        params[name] = separable(size)
    if stride == 2:
        shape = (count, 2, channels, channels // 2)
        params[SKIP] = uniform(next(keys), shape, channels)
    return params


def init_pointwise(key: jax.Array, channels_in: int, channels: int) -> jax.Array:
    """Weights of a 1x1 convolution: [C_in, C]."""
    return uniform(key, (channels_in, channels), channels_in)


def init_factorized_reduce(key: jax.Array, channels_in: int, channels: int) -> jax.Array:
    """Weights of the two strided 1x1 convolutions of FactorizedReduce: [2, C_in, C / 2]."""
    return uniform(key, (2, channels_in, channels // 2), channels_in)


def uniform(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """PyTorch's default for convolutions, as DARTS (paper silent): U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def mixed_cell(
    params: Params,
    before: tuple[jax.Array, jax.Array],
    probs: jax.Array,
    *,
    reduction: bool,
    mix_edges,
    axis_name: str | None = None,
) -> jax.Array:
    """Output [B, H, W, 4 C] of a mixed cell (H, W halved by a reduction cell).

    Args:
        params: as from `init_mixed_cell`.
        before: outputs of the cells k-2 and k-1, NHWC.
        probs: [14, 7], probabilities of each edge's operations, in the order of `genotype.EDGES`.
        reduction: whether this is a reduction cell.
        mix_edges: one of the two schedules.
        axis_name: mapped axis over which batch statistics are averaged, if any.
    """
    inputs = jnp.stack(
        [
            preprocess(params["preprocess_0"], before[0], axis_name),
            preprocess(params["preprocess_1"], before[1], axis_name),
        ]
    )
    batch, height, width, channels = inputs.shape[1:]
    if reduction:
        shape = (NUM_NODES, batch, height // 2, width // 2, channels)
        nodes = jnp.zeros(shape, inputs.dtype)
        nodes = mix_edges(params["reducing_edges"], nodes, inputs, probs, INPUTS, axis_name)
        nodes = mix_edges(params["edges"], nodes, None, probs, INNER, axis_name)
    else:
        inner = jnp.zeros((NUM_NODES - NUM_INPUTS, *inputs.shape[1:]), inputs.dtype)
        nodes = jnp.concatenate([inputs, inner])
        nodes = mix_edges(params["edges"], nodes, None, probs, ALL, axis_name)
    return jnp.concatenate(list(nodes[NUM_INPUTS:]), axis=-1)


def preprocess(weights: jax.Array, x: jax.Array, axis_name: str | None) -> jax.Array:
    """ReLU, 1x1 convolution (FactorizedReduce when `weights` has its leading pair) and BN."""
    x = jax.nn.relu(x)
    if weights.ndim == 2:
        return pooling.batch_norm(x @ weights.astype(x.dtype), axis_name)
    halves = [h @ w.astype(x.dtype) for h, w in zip(reduced_positions(x), weights, strict=True)]
    return pooling.batch_norm(jnp.concatenate(halves, -1), axis_name)


def reduced_positions(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two sets of positions that FactorizedReduce reads: every second one, and those shifted by one."""
    return x[:, ::2, ::2], x[:, 1::2, 1::2]


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
        probs: [14, 7].
        sources: source nodes, ascending.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        [6, B, H, W, C].
    """
    stride = 1 if inputs is None else 2
    nodes, edges = list(nodes), edges_from(sources)
    for source in sources:
        x = nodes[source] if inputs is None else inputs[source]
        features = weightless_operations(x, stride, axis_name)
        relu_x = jax.nn.relu(x)
        center = pooling.pmean(relu_x.mean((0, 1, 2), dtype=jnp.float32), axis_name)
        targets = [k for i, k in EDGES if i == source]
        leaving = np.array([n for n, (i, _) in enumerate(edges) if i == source])
        p = probs[np.array([EDGES.index((source, k)) for k in targets])]

        def mixed_edge(params, p, relu_x=relu_x, center=center, features=features):
            mixed, _ = mixed_convolutions(
                params, relu_x, center, p, stride, axis_name, library_depthwise_conv
            )
            return mixed + jnp.tensordot(weightless(p, stride), features, 1).astype(mixed.dtype)

        brought = jax.vmap(mixed_edge)(_rows(params, leaving), p)
        for number, target in enumerate(targets):
            nodes[target] = nodes[target] + brought[number]
    return jnp.stack(nodes)


def _rows(stacked, rows):
    return jax.tree.map(lambda a: a[rows], stacked)


def weightless(p: jax.Array, stride: int) -> jax.Array:
    """Probabilities [..., F] of the operations of `weightless_operations`, from [..., 7]."""
    return p[..., weightless_numbers(stride)]


def weightless_numbers(stride: int) -> np.ndarray:
    """Numbers in `genotype.OPERATIONS` of the operations of `weightless_operations`."""
    names = POOLS if stride == 2 else (SKIP, *POOLS)
    return np.array([OPERATIONS.index(name) for name in names])


@functools.partial(jax.jit, static_argnames=("stride", "axis_name"))
def weightless_operations(x: jax.Array, stride: int, axis_name: str | None) -> jax.Array:
    """What all edges leaving a node share, computed once instead of once an edge: [F, B, H, W, C].

    Max and average pool, each with its BN, behind the identity when the stride is 1.
    """
    pools = [pooling.max_pool(x, stride), pooling.avg_pool(x, stride)]
    pools = [pooling.batch_norm(pool, axis_name) for pool in pools]
    return jnp.stack(pools if stride == 2 else [x, *pools])


@functools.partial(jax.jit, static_argnames=("stride", "axis_name", "depthwise_conv"))
def mixed_convolutions(
    params: Params,
    relu_x: jax.Array,
    center: jax.Array,
    p: jax.Array,
    stride: int,
    axis_name: str | None,
    depthwise_conv=depthwise_conv,
) -> tuple[jax.Array, Params]:
    """The p-weighted sum of one edge's convolutions (at stride 2 also of its FactorizedReduce).

    Args:
        params: one edge's parameters.
        relu_x: [B, H, W, C], ReLU of the source node; every convolution begins with it.
        center: [C], mean of `relu_x`, over all devices when `axis_name` is given.
        p: [7].
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        depthwise_conv: `depthwise_conv` or one like it.

    Returns:
        [B, H / stride, W / stride, C] and, for a derivative by hand, the statistics of the input of every
        1x1 convolution: name -> (center [C], mean [C], second moment [C, C]), see `centered_depthwise`
        and `moments`.
    """
    statistics = {}

    def normalized(name, h, center, weights, p):
        """p BN(h W); notes the statistics of h."""
        statistics[name] = center, *moments(h, axis_name)
        return affine(h, *fold(weights, p, *statistics[name][1:]))

    def depthwise(x, center, kernel, stride, dilation):
        return centered_depthwise(x, center, kernel, stride, dilation, depthwise_conv)

    batch, height, width, channels = relu_x.shape
    shape = batch, height // stride, width // stride, channels
    mixed = 0.0
    for name in SEPARABLE:
        first, second = params[name]["first"], params[name]["second"]
        h = depthwise(relu_x, center, first["depthwise"], stride, 1)
        z = normalized(f"{name}/first", h, center, first["pointwise"], 1.0)
        z = jax.nn.relu(z).reshape(shape)
        z_center = pooling.pmean(z.mean((0, 1, 2), dtype=jnp.float32), axis_name)
        h = depthwise(z, z_center, second["depthwise"], 1, 1)
        mixed += normalized(name, h, z_center, second["pointwise"], p[OPERATIONS.index(name)])
    for name in DILATED:
        h = depthwise(relu_x, center, params[name]["depthwise"], stride, 2)
        pointwise = params[name]["pointwise"]
        mixed += normalized(name, h, center, pointwise, p[OPERATIONS.index(name)])
    if stride == 2:
        halves = [
            normalized(f"{SKIP}/{half}", h, center, params[SKIP][half], p[OPERATIONS.index(SKIP)])
            for half, h in enumerate(centered_halves(relu_x, center))
        ]
        mixed += jnp.concatenate(halves, -1)
    return mixed.reshape(shape), statistics


def centered_depthwise(
    x: jax.Array,
    center: jax.Array,
    kernel: jax.Array,
    stride: int,
    dilation: int,
    depthwise_conv=depthwise_conv,
) -> jax.Array:
    """Depthwise convolution of `x` [B, H, W, C] less what its mean `center` [C] brings: pixels [N, C].

    The normalisation behind it does not see a constant; without one, h's variance does not cancel.
    """
    h = depthwise_conv(x, kernel, stride, dilation)
    h = h.reshape(-1, h.shape[-1])
    return h - lax.stop_gradient(center * kernel.sum((0, 1))).astype(h.dtype)


def centered_halves(x: jax.Array, center: jax.Array) -> list[jax.Array]:
    """What FactorizedReduce's two 1x1 convolutions read of `x`, less its mean: two times pixels [N, C]."""
    center = lax.stop_gradient(center).astype(x.dtype)
    return [half.reshape(-1, x.shape[-1]) - center for half in reduced_positions(x)]
