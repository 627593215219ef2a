"""The networks that a search's limits hold for.

The network is the one that the search's training config builds, on the search's data. Where trainings rate the cells,
the limits also hold for the network of these trainings, because the search leaves the found cell's. limits.json in the
workdir records the networks, and the keys that the command of the training needs so that it trains this network.
"""

from pathlib import Path
from typing import Any, NamedTuple

from nge_jax.cost import Cost, model_cost
from nge_jax.data import small, user_images
from nge_jax.data.spec import LARGE, SMALL
from nge_jax.errors import InputError
from nge_jax.latency.parts import NetworkShape, network_shape
from nge_jax.networks.network import Network, cifar_network, imagenet_network
from nge_jax.settings import configs
from nge_jax.settings.key import Values
from nge_jax.space.genotype import Genotype
from nge_jax.workdir import artifacts

NETWORKS = {SMALL: cifar_network, LARGE: imagenet_network}


class LimitedNetwork(NamedTuple):
    """A network but for the cell.

    Attributes:
      config: the name of the training's config.
      cells, channels, classes: see `networks.network`.
      kind: SMALL or LARGE, see `data.spec`.
      shape: (H, W, C) of an image.
      is_rated: whether the search trains this network to rate cells.
    """

    config: str
    cells: int
    channels: int
    classes: int
    kind: str
    shape: tuple[int, int, int]
    is_rated: bool

    def make(self, cell: Genotype) -> Network:
        """Makes the network of a cell, without an auxiliary head."""
        make = NETWORKS[self.kind]
        return make(cell, cells=self.cells, channels=self.channels, classes=self.classes)

    def cost(self, cell: Genotype) -> Cost:
        """Counts the network of a cell."""
        return model_cost(self.make(cell), self.shape)

    def latency_shape(self) -> NetworkShape:
        """Returns the shape whose parts a table of latencies has."""
        is_large = self.kind == LARGE
        return network_shape(self.cells, self.channels, self.classes, self.shape, is_large=is_large)

    def __str__(self) -> str:
        who = f"this search trains by {self.config}" if self.is_rated else f"{self.config} trains"
        return (
            f"the network that {who} ({self.cells} cells that begin with {self.channels} channels, "
            f"{self.classes} classes, images of {'x'.join(map(str, self.shape))})"
        )


def trained_network(
    values: Values, shape: tuple[int, ...], classes: int
) -> tuple[LimitedNetwork, dict[str, Any]]:
    """Describes the network that the training's config builds on the search's data.

    Raises:
      InputError: the config is refused, is not a training's, or leaves the channels to the limits.
    """
    name, data_name = values["search.train_config"], values["data.name"]
    recipe = configs.flatten(configs.load_config(name).to_dict())
    if recipe.get("task") != "train":
        raise InputError(
            f"config.search.train_config: found {name}, expected the config of a training"
        )
    if not recipe["network.channels"]:
        raise InputError(
            f"config.search.train_config: {name} has network.channels=0, expected a number of channels with "
            "config.limits"
        )
    kind, words = SMALL, {}
    if data_name in small.SHAPES:
        height, width, channels = small.SHAPES[data_name]
    else:
        height = width = recipe.get("data.image_size") or shape[0]
        if not recipe.get("data.image_size"):
            words["data.image_size"] = height
        # A config without the choice of a stem is for photographs, and has ImageNet's.
        stem = recipe.get("network.stem", "large")
        kind = LARGE if user_images.has_large_stem(stem, height) else SMALL
        channels = 3 if kind == LARGE else recipe.get("data.channels") or shape[2]
    network = LimitedNetwork(
        config=_config_name(values),
        cells=recipe["network.cells"],
        channels=recipe["network.channels"],
        classes=classes,
        kind=kind,
        shape=(height, width, channels),
        is_rated=False,
    )
    return network, words


def _config_name(values: Values) -> str:
    name = values["search.train_config"]
    return configs.shipped_name(name) or name


def read_limits(workdir: Path) -> tuple[LimitedNetwork, dict[str, Any]] | None:
    """Reads the limited network and the words of the training's command from limits.json; None without the file.

    Raises:
      InputError: the file holds something else.
    """
    path = workdir / artifacts.LIMITS
    if not path.exists():
        return None
    record = artifacts.read_json(path, ("networks", "train"))
    try:
        fields = {name: record["networks"][0][name] for name in LimitedNetwork._fields}
        fields["shape"] = (*map(int, fields["shape"]),)
        return LimitedNetwork(**fields), dict(record["train"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected the limits of a search, found {error!r}") from None
