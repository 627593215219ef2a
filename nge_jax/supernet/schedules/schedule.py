"""The schedules by the names that a supernet takes."""

from collections.abc import Callable
from typing import Any, NamedTuple

from nge_jax.kernels import convolution
from nge_jax.supernet import norm
from nge_jax.supernet.layouts import Layout, channels_last, images_last
from nge_jax.supernet.schedules import reference
from nge_jax.supernet.schedules.grouped import mix_together
from nge_jax.supernet.schedules.looped import mix_one_by_one
from nge_jax.supernet.schedules.reference import mix_as_written


class Schedule(NamedTuple):
    """Says how a supernet computes its cells and what surrounds them.

    Attributes:
        mix_edges: adds the contributions of a cell's edges to its nodes.
        layout: the layout of the arrays that `mix_edges` takes.
        input_norm: the batch normalization of a cell's inputs, in that layout.
        stem_norm: the batch normalization of the stem [B, H, W, C].
        stem_conv: the convolutions of the stem that keep the size.
    """

    mix_edges: Callable[..., Any]
    layout: Layout
    input_norm: Callable[..., Any]
    stem_norm: Callable[..., Any] = norm.batch_norm
    stem_conv: Callable[..., Any] = convolution.conv


SCHEDULES = {
    "loop": Schedule(mix_one_by_one, images_last, images_last.batch_norm),
    "together": Schedule(
        mix_together,
        channels_last,
        norm.batch_norm_in_one_pass,
        stem_norm=norm.batch_norm_in_one_pass,
    ),
    "reference": Schedule(
        mix_as_written, channels_last, channels_last.batch_norm, stem_conv=reference.conv
    ),
}
