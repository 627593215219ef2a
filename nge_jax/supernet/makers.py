"""The supernet of each search space, made from the same options."""

from typing import Any, NamedTuple

from nge_jax.space.spaces import Space
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet
from nge_jax.supernet.net import Net


class Options(NamedTuple):
    """Holds everything that decides a supernet beside its space.

    Attributes:
        cells, channels: see the space's supernet.
        num_classes, image_channels, dtype, remat: fields of every supernet.
        schedule, large_stem, share: see `model.Supernet`. NAS-Bench-201's supernet has one form of each.
        all_scalars: see `nas_bench_201.NasBench201Supernet`. The DARTS space has one form.
    """

    cells: int
    channels: int
    num_classes: int
    image_channels: int
    dtype: Any
    remat: bool
    schedule: str
    large_stem: bool
    share: int
    all_scalars: bool


def make_net(space: Space, options: Options) -> Net:
    """Makes the supernet of a space, which `space.parts.checks.check_space` accepts."""
    values = options._asdict()
    if not space.is_tabular:
        del values["all_scalars"]
        return make_supernet(**values, space=space)
    for name in ("schedule", "large_stem", "share"):
        del values[name]
    return NasBench201Supernet(**values, space=space)
