"""The supernet of each search space, made from the same options."""

from collections.abc import Callable
from typing import Any, NamedTuple

from nge_jax.space.spaces import DARTS, NAS_BENCH_201, NO_NONE, Space
from nge_jax.supernet.model import Supernet, make_supernet
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


def _make_darts(options: Options) -> Supernet:
    values = options._asdict()
    del values["all_scalars"]
    return make_supernet(**values)


def _make_nas_bench_201(options: Options) -> NasBench201Supernet:
    return NasBench201Supernet(
        options.cells,
        options.channels,
        options.num_classes,
        image_channels=options.image_channels,
        dtype=options.dtype,
        remat=options.remat,
        all_scalars=options.all_scalars,
    )


def _make_no_none(options: Options) -> NasBench201Supernet:
    return _make_nas_bench_201(options)._replace(space=NO_NONE)


# To add a space's supernet, give its maker here.
MAKERS: dict[Space, Callable[[Options], Net]] = {
    DARTS: _make_darts,
    NAS_BENCH_201: _make_nas_bench_201,
    NO_NONE: _make_no_none,
}
