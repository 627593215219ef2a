"""The derivative of `looped_edge.mixed_convolutions`, by hand.

Each term of the sum is a chain x -> h = depthwise(x) -> p_o BN(h W). In a separable convolution the chain runs twice.
The forward pass leaves the statistics of every h and nothing else, therefore each h is computed again from x. Then the
chain is undone from its end:

* `_folded_gradient` leads from the gradient of p_o BN(h W) to the gradients of h, W and p_o;
* `_depthwise_gradients` leads from the gradient of h to the gradients of x and of the kernel.

All chains begin at the ReLU of the source node, where their gradients add up.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nge_jax.kernels import depthwise_images_last
from nge_jax.space.spaces import DARTS, DILATED, SEPARABLE, Space
from nge_jax.supernet import norm
from nge_jax.supernet.edge import SKIP, centered_depthwise
from nge_jax.supernet.layouts import images_last
from nge_jax.supernet.norm import fold
from nge_jax.supernet.schedules.looped_edge import centered_halves

_centered_depthwise = functools.partial(centered_depthwise, layout=images_last)


class _Output(NamedTuple):
    """Holds the gradient of an edge's output.

    Attributes:
        pixels: [C, N], as the 1x1 convolutions see it.
        total: [C], the sum over pixels: the gradient of every chain's constant, summed once for all chains.
        shape: (C, H, W, B).
    """

    pixels: jax.Array
    total: jax.Array
    shape: tuple[int, ...]


@functools.partial(jax.jit, static_argnames=("stride", "axis_name", "space", "with_params"))
def edge_gradient(
    params, statistics, relu_x, p, g, stride, axis_name, space: Space = DARTS, *, with_params
):
    """Computes the gradients of params, p and relu_x from the gradient `g` [C, H, W, B] of an edge's output.

    Args:
        params: one edge's parameters.
        statistics: as from `looped_edge.mixed_convolutions`.
        relu_x: [C, H, W, B], ReLU of the source node.
        p: [7].
        g: the gradient of the output.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell.
        with_params: whether the gradients of the depthwise kernels are computed, which are the costly ones; else
            they are None.
    """
    g_params, g_p, g_relu_x = {}, jnp.zeros_like(p), 0.0
    pixels = images_last.to_pixels(g)
    output = _Output(pixels, images_last.sum_pixels(pixels), g.shape)
    options: dict[str, Any] = {"axis_name": axis_name, "with_kernel": with_params}
    numbers = {name: o for o, name in enumerate(space.operations)}
    for name in filter(numbers.__contains__, SEPARABLE):
        number, kept = numbers[name], (statistics[f"{name}/first"], statistics[name])
        g_params[name], g_p, g_x = _separable_gradient(
            params[name], kept, relu_x, p, output, number, stride, g_p, **options
        )
        g_relu_x += g_x
    for name in filter(numbers.__contains__, DILATED):
        # relu_x -> h -> p_o BN(h W).
        number, weights = numbers[name], params[name]
        center, *moments = statistics[name]
        h = _centered_depthwise(relu_x, center, weights["depthwise"], stride, 2)
        g_h, g_pointwise, g_o = _folded_gradient(
            h, moments, weights["pointwise"], p[number], output.pixels, output.total, axis_name
        )
        g_p = g_p.at[number].add(g_o)
        g_x, g_depthwise = _depthwise_gradients(
            relu_x, weights["depthwise"], g_h.reshape(g.shape), stride, 2, with_params
        )
        g_relu_x += g_x
        g_params[name] = {"depthwise": g_depthwise, "pointwise": g_pointwise}
    if SKIP in params:
        g_weights, g_p, g_x = _reduce_gradient(
            params[SKIP], statistics, relu_x, p, output, numbers[SKIP], g_p, axis_name
        )
        g_relu_x += g_x
        g_params[SKIP] = jnp.stack(g_weights)
    return g_params, g_p, g_relu_x


def _separable_gradient(
    params, statistics, relu_x, p, output, number, stride, g_p, *, axis_name, with_kernel
):
    """Differentiates relu_x -> h -> z = ReLU(BN(h W_1)) -> h_z -> p_o BN(h_z W_2).

    Returns the gradient of the parameters, `g_p` with the gradient of p_o added, and the gradient of relu_x.
    """
    (center, *moments), (z_center, *z_moments) = statistics
    first, second, shape = params["first"], params["second"], output.shape
    undo = functools.partial(_folded_gradient, axis_name=axis_name)
    depthwise_gradients = functools.partial(_depthwise_gradients, with_kernel=with_kernel)

    h = _centered_depthwise(relu_x, center, first["depthwise"], stride, 1)
    z = jax.nn.relu(images_last.affine(h, *fold(first["pointwise"], 1.0, *moments)))
    h_z = _centered_depthwise(z.reshape(shape), z_center, second["depthwise"], 1, 1)

    # Backward through the second half, from the output to z ...
    g_h, g_pointwise, g_o = undo(
        h_z, z_moments, second["pointwise"], p[number], output.pixels, output.total
    )
    g_p = g_p.at[number].add(g_o)
    g_z, g_depthwise = depthwise_gradients(
        z.reshape(shape), second["depthwise"], g_h.reshape(shape), 1, 1
    )
    g_second = {"depthwise": g_depthwise, "pointwise": g_pointwise}
    g_z = images_last.masked_pixels(g_z, z > 0)  # through the ReLU
    # ... and through the first half, whose weight is 1: there is no p to differentiate.
    g_h, g_pointwise, _ = undo(
        h, moments, first["pointwise"], 1.0, g_z, images_last.sum_pixels(g_z)
    )
    g_x, g_depthwise = depthwise_gradients(
        relu_x, first["depthwise"], g_h.reshape(shape), stride, 1
    )
    g_first = {"depthwise": g_depthwise, "pointwise": g_pointwise}
    return {"first": g_first, "second": g_second}, g_p, g_x


def _reduce_gradient(weights, statistics, relu_x, p, output, number, g_p, axis_name):
    """Differentiates FactorizedReduce: each of two halves reads every other pixel and fills half of the channels.

    Returns the gradients of both weights, `g_p` with the gradient of p_o added, and the gradient of relu_x.
    """
    center, channels = statistics[f"{SKIP}/0"][0], output.shape[0]
    g_halves, g_weights = [], []
    for half, h in enumerate(centered_halves(relu_x, center)):
        filled = slice(half * channels // 2, (half + 1) * channels // 2)
        _, *moments = statistics[f"{SKIP}/{half}"]
        g_h, g_w, g_o = _folded_gradient(
            h,
            moments,
            weights[half],
            p[number],
            output.pixels[filled],
            output.total[filled],
            axis_name,
        )
        g_p = g_p.at[number].add(g_o)
        g_halves.append(g_h.reshape(output.shape))
        g_weights.append(g_w)
    # Back to the pixels that each half has read. The pixels in between get nothing.
    (g_x,) = jax.vjp(images_last.reduced_positions, relu_x)[1](tuple(g_halves))
    return g_weights, g_p, g_x


def _depthwise_gradients(x, kernel, g, stride, dilation, with_kernel):
    """Computes the gradients of x and of the kernel, which is None without `with_kernel`, from g [C, H, W, B]."""
    g_x = depthwise_images_last.input_gradient(kernel, g, x.shape[1:3], stride, dilation)
    if not with_kernel:
        return g_x, None
    return g_x, depthwise_images_last.kernel_gradient(x, g, len(kernel), stride, dilation)


def _folded_gradient(h, moments, weights, p, g, g_sum, axis_name):
    """Differentiates `affine(h, *fold(weights, p, *moments(h)))`: gradients of pixels h, weights and p.

    Two products over pixels come from the gradient `g` [C', N]. The way through the statistics is one more product,
    with a matrix [C, C]. Everything else is computed on matrices of that size.
    """
    (a, _), fold_pull = jax.vjp(fold, weights, p, *moments)
    # y = h A + b: dA = h^T g, db = sum of g over pixels. `fold` leads on to W, p and the moments of h.
    g_a = images_last.sum_products(h, g)
    g_weights, g_p, g_mean, g_second = fold_pull((g_a, g_sum))
    g_mean, g_second = norm.pmean((g_mean, g_second), axis_name)
    # h counts three times: in y, in E[h] = sum h / N, and in E[h h^T] = sum h h^T / N, whose gradient is symmetric.
    through_second = 2 * g_second / images_last.count_pixels(h)
    g_h = images_last.multiply(g, a.T) + images_last.multiply(h, through_second)
    return images_last.add(g_h, g_mean / images_last.count_pixels(h)), g_weights, g_p
