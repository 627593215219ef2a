"""DeepLabv3 on the network of a derived cell: atrous spatial pyramid pooling, then upsampling.

Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017). The paper names DeepLabv3
and gives no details; rates, widths and dropout are DeepLab's values.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.networks import layers
from nge_jax.networks.network import Network, imagenet_network
from nge_jax.space.genotype import Genotype


class Head(nn.Module):
    """Applies pyramid pooling, projection, dropout and a classifier, and upsamples to the size of the images.

    The function is ([N, h, w, C], (H, W), keys [N]) -> logits [N, H, W, classes] float32.

    Attributes:
        classes: number of classes.
        norm: makes a batch normalization.
        dtype: data type of the activations.
        width: channels of each branch of the pyramid.
        rates: dilations of the pyramid's 3x3 convolutions, in pixels of the features. A 1x1 convolution is one branch
            more.
        image_pooling: whether the mean of the features over the image is a branch, too.
        dropout: dropout rate.
    """

    classes: int
    norm: Callable
    dtype: Any = None
    width: int = 256
    rates: tuple[int, ...] = (6, 12, 18)
    image_pooling: bool = True
    dropout: float = 0.1

    @nn.compact
    def __call__(
        self, x: jax.Array, size: tuple[int, int], keys: jax.Array | None = None
    ) -> jax.Array:
        def pointwise(name, x):
            x = layers.pointwise(self.width, dtype=self.dtype, name=name)(x)
            return nn.relu(self.norm(name=f"{name}_norm")(x))

        branches = [pointwise("pointwise", x)]
        for rate in self.rates:
            name = f"rate_{rate}"
            conv = partial(layers.conv, kernel_dilation=rate, padding=rate, dtype=self.dtype)
            y = conv(self.width, (3, 3), name=name)(x)
            branches.append(nn.relu(self.norm(name=f"{name}_norm")(y)))
        if self.image_pooling:
            mean = x.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32).astype(x.dtype)
            pooled = pointwise("image_pooling", mean)
            branches.append(jnp.broadcast_to(pooled, branches[0].shape))
        x = pointwise("projection", jnp.concatenate(branches, axis=-1))
        if keys is not None and self.dropout:
            x = _drop(x, keys, self.dropout)
        x = layers.Classifier(self.classes, name="classifier")(x.astype(jnp.float32))
        return upsample(x, size)


def upsample(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Interpolates bilinearly, corners on corners: [N, h, w, C] -> [N, *size, C].

    With output stride s, the features are centered on every s-th pixel from the first pixel on. They stay in place if
    the image size is a multiple of s plus 1, which is why DeepLab crops to 513 pixels.
    """
    return lax.platform_dependent(
        x,
        cpu=partial(_upsample_by_products, size=size),
        tpu=partial(_upsample_by_products, size=size),
        default=partial(_upsample_by_sums, size=size),
    )


def _upsample_by_products(x, size):
    rows, columns = _line_weights(x, size)
    x = jnp.einsum("yh,nhwc->nywc", rows, x, precision="highest")
    return jnp.einsum("xw,nywc->nyxc", columns, x, precision="highest")


def _upsample_by_sums(x, size):
    """Computes `upsample` without a product, for GPUs.

    XLA's GPU compiler (jaxlib 0.10.2) refuses a product over an axis between others: "couldn't find output tile sizes".
    It accepts the product only if a power of two divides the size behind the axis, and the sizes here are odd.
    """
    rows, columns = _line_weights(x, size)
    x = (x[:, None] * rows[:, :, None, None]).sum(2)
    return (x[:, :, None] * columns[:, :, None]).sum(3)


def _line_weights(x, size):
    """Computes the weights [after, before] for both axes of x [N, h, w, C]."""
    return [
        jnp.asarray(_interpolation(before, after), x.dtype)
        for before, after in zip(x.shape[1:3], size, strict=True)
    ]


def _interpolation(before, after):
    """Computes the weights [after, before] that stretch a line of `before` points to `after` points, ends on ends."""
    positions = np.linspace(0, before - 1, after)
    return np.maximum(0, 1 - abs(positions[:, None] - np.arange(before)))


def _drop(x, keys, rate):
    """Zeroes elements of x [N, ...] with probability `rate`, by one key for each sample, and rescales the rest."""
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1 - rate), 0)


def deeplab_network(
    genotype: Genotype,
    *,
    cells: int = 14,
    channels: int = 48,
    classes: int = 21,
    output_stride: int = 16,
    width: int = 256,
    rates: tuple[int, ...] = (6, 12, 18),
    image_pooling: bool = True,
    dropout: float = 0.1,
    **options: Any,
) -> Network:
    """Makes ImageNet's network with a segmentation `Head`: images -> (logits [N, H, W, classes], endpoints).

    The stem and the cells have the same names and shapes as in `imagenet_network`.

    Args:
        genotype: genotype of the cells.
        cells: number of cells.
        channels: channels of each operation in the first cells.
        classes: number of classes, with the background.
        output_stride: pixels of the image per pixel of the features, along an axis: 8, 16 or 32.
        width: channels of each branch of the pyramid.
        rates: dilations of the pyramid at output stride 16; output stride 8 needs twice these rates.
        image_pooling: whether the pyramid has a branch with the mean over the image.
        dropout: dropout rate in training.
        **options: `dtype` and `bn_axis_name` of `Network`.
    """
    head = partial(Head, width=width, rates=rates, image_pooling=image_pooling, dropout=dropout)
    return imagenet_network(
        genotype,
        cells=cells,
        channels=channels,
        classes=classes,
        output_stride=output_stride,
        head=head,
        **options,
    )
