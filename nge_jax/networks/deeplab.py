"""DeepLabv3 on the network of a derived cell: atrous spatial pyramid pooling, then upsampling.

Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017). The paper names
DeepLabv3 and no more; rates, widths and dropout are DeepLab's.
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

    ([N, h, w, C], (H, W), keys [N]) -> logits [N, H, W, classes] float32. Each branch of the pyramid
    has `width` channels: a 1x1 convolution, a 3x3 one for each of `rates` (its dilation, in pixels of
    the features) and the features' mean over the image.
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

    A feature of output stride s is centered on every s-th pixel, from the first: for images of a
    multiple of s pixels plus 1 it stays where it is (so DeepLab's crop of 513).
    """
    return lax.platform_dependent(
        x,
        cpu=partial(_upsample_by_products, size=size),
        tpu=partial(_upsample_by_products, size=size),
        default=partial(_upsample_by_sums, size=size),
    )


def _upsample_by_products(x, size):
    rows, columns = _lines(x, size)
    x = jnp.einsum("yh,nhwc->nywc", rows, x, precision="highest")
    return jnp.einsum("xw,nywc->nyxc", columns, x, precision="highest")


def _upsample_by_sums(x, size):
    """Computes `upsample` without a product, for GPUs.

    XLA's GPU compiler (jaxlib 0.10.2) refuses ("couldn't find output tile sizes") a product over an axis with others
    on both sides, such as these, unless a power of two divides what lies behind; the interpolation's sizes are odd.
    """
    rows, columns = _lines(x, size)
    x = (x[:, None] * rows[:, :, None, None]).sum(2)
    return (x[:, :, None] * columns[:, :, None]).sum(3)


def _lines(x, size):
    """Computes the weights [after, before] of both axes of x [N, h, w, C]."""
    return [
        jnp.asarray(_interpolation(before, after), x.dtype)
        for before, after in zip(x.shape[1:3], size, strict=True)
    ]


def _interpolation(before, after):
    """Computes the weights [after, before] of the points of a line of `before` in one of `after`, ends on ends."""
    positions = np.linspace(0, before - 1, after)
    return np.maximum(0, 1 - abs(positions[:, None] - np.arange(before)))


def _drop(x, keys, rate):
    """Zeroes elements of `x` [N, ...] with probability `rate`, by each sample's own key, and rescales."""
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
    """Makes ImageNet's network with `Head` for a head: (logits [N, H, W, classes], endpoints) of images.

    Its stem and cells have the names and shapes of `imagenet_network`'s.

    Args:
        genotype: of the cells.
        cells: number of cells.
        channels: of each operation in the first cells.
        classes: number of classes, the background among them.
        output_stride: pixels of the image to one of the features: 8, 16 or 32.
        width: channels of each branch of the pyramid.
        rates: dilations of the pyramid, meant for output stride 16; 8 wants them doubled.
        image_pooling: whether the pyramid has a branch of the whole image.
        dropout: rate, in training.
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
