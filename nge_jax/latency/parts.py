"""The parts of a network at their shapes: operations on edges, preprocessings, stem and classifier. No jax."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nge_jax.space.genotype import NUM_INPUTS, Genotype
from nge_jax.space.spaces import DARTS, Space
from nge_jax.space.stack import CellSpec, cell_plan

# The parts that no edge carries.
CIFAR_STEM, IMAGENET_STEM, CLASSIFIER = "cifar_stem", "imagenet_stem", "classifier"
PROJECTION, REDUCTION = "relu_conv_norm", "factorized_reduce"
SUM, CONCATENATION = "add", "concatenate"  # two edges of a node, all nodes of a cell
# An empty program: the time that every call takes, whatever it computes.
CALL = "call"
FREE = ("none",)  # an edge with such an operation is not computed
CONCATENATED = DARTS.num_nodes - DARTS.num_inputs  # nodes of a cell that a search finds


class Part(NamedTuple):
    """A part of a network at its shape: [1, height, width, inputs] -> [1, height / stride, width / stride, channels].

    The classifier's output has a channel for each class and no pixels.
    """

    name: str
    inputs: int
    channels: int
    stride: int
    height: int
    width: int


class Features(NamedTuple):
    """The shape of an array of features."""

    height: int
    width: int
    channels: int

    def halved(self, times: int = 1) -> "Features":
        """Returns the shape after so many strides of 2, which round odd sizes up."""
        step = 2**times
        return self._replace(height=-(-self.height // step), width=-(-self.width // step))


class NetworkShape(NamedTuple):
    """The shape of a derived network.

    Attributes:
      plan: the cells, first to last.
      image: the shape of an image.
      classes: the number of classes.
      is_large: whether the stem is ImageNet's, which makes an eighth of the size, or CIFAR's.
      concatenated: how many nodes a cell of each type concatenates.
    """

    plan: tuple[CellSpec, ...]
    image: Features
    classes: int
    is_large: bool
    concatenated: Mapping[str, int]

    def of_cell(self, genotype: Genotype) -> "NetworkShape":
        """Returns the shape of the network with these cells."""
        counts = {kind: len(genotype.outputs(kind)) for kind in DARTS.cell_types}
        return self._replace(concatenated=counts)


def network_shape(
    cells: int, channels: int, classes: int, image: tuple[int, int, int], *, is_large: bool = False
) -> NetworkShape:
    """Plans a network whose cells a search finds.

    Args:
      cells: the number of cells.
      channels: channels of the operations in the first cells.
      classes: the number of classes.
      image: the shape of an image, [H, W, C].
      is_large: whether the network is the one for ImageNet, or the one for CIFAR.
    """
    plan = cell_plan(cells, channels, reduction_prev=is_large)
    counts = dict.fromkeys(DARTS.cell_types, CONCATENATED)
    return NetworkShape(plan, Features(*image), classes, is_large, counts)


class PlacedCell(NamedTuple):
    """A cell at its place in a network.

    Attributes:
      spec: the cell's place in the plan.
      before, last: the features that the cell gets from the two cells before it.
    """

    spec: CellSpec
    before: Features
    last: Features

    @property
    def kind(self) -> str:
        """The cell's type, a name in `Space.cell_types`."""
        return "reduction" if self.spec.reduction else "normal"

    @property
    def inner(self) -> Features:
        """The shape of every inner node."""
        inner = self.last.halved() if self.spec.reduction else self.last
        return inner._replace(channels=self.spec.channels)

    def projections(self) -> tuple[Part, Part]:
        """Returns the preprocessings of the two inputs."""
        reduces = self.spec.reduction_prev
        first = REDUCTION if reduces else PROJECTION
        return self._projection(first, 1 + reduces, self.before), self._projection(
            PROJECTION, 1, self.last
        )

    def joints(self, nodes: int) -> list[Part]:
        """Returns the sums of the edges into each of so many nodes, and the concatenation of the nodes."""
        height, width, channels = self.inner
        added = Part(SUM, 2 * channels, channels, 1, height, width)
        joined = Part(CONCATENATION, nodes * channels, nodes * channels, 1, height, width)
        return [added] * nodes + [joined]

    def operation(self, name: str, source: int) -> Part | None:
        """Returns the part of an operation on an edge from the node `source`; None if nothing is computed."""
        stride = 2 if self.spec.reduction and source < NUM_INPUTS else 1
        if name in FREE or (name == "skip_connect" and stride == 1):
            return None
        size, channels = self.last if stride == 2 else self.inner, self.spec.channels
        return Part(name, channels, channels, stride, size.height, size.width)

    def _projection(self, name, stride, features):
        height, width, inputs = features
        return Part(name, inputs, self.spec.channels, stride, height, width)


def placed_cells(network: NetworkShape) -> Iterator[PlacedCell]:
    """Yields the cells of a network, first to last."""
    before, last = _stem_outputs(network)
    for spec in network.plan:
        cell = PlacedCell(spec, before, last)
        channels = network.concatenated[cell.kind] * spec.channels
        yield cell
        before, last = last, cell.inner._replace(channels=channels)


def fixed_parts(network: NetworkShape) -> list[Part]:
    """Lists the parts that every cell's network has: stem, preprocessings, sums, classifier, and the call itself."""
    height, width, inputs = network.image
    stem = IMAGENET_STEM if network.is_large else CIFAR_STEM
    channels = _stem_outputs(network)[0].channels
    parts = [call_part(), Part(stem, inputs, channels, 8 if network.is_large else 1, height, width)]
    features = network.image
    for cell in placed_cells(network):
        nodes = network.concatenated[cell.kind]
        parts += [*cell.projections(), *cell.joints(nodes)]
        features = cell.inner._replace(channels=nodes * cell.spec.channels)
    size = features.height, features.width
    return [*parts, Part(CLASSIFIER, features.channels, network.classes, 1, *size)]


def all_parts(network: NetworkShape, space: Space = DARTS) -> list[Part]:
    """Lists each part once that a network of any cell of the space can have."""
    parts = dict.fromkeys(fixed_parts(network))
    for cell in placed_cells(network):
        for source in (0, NUM_INPUTS):
            for name in space.operations:
                if (part := cell.operation(name, source)) is not None:
                    parts[part] = None
    return [*parts]


def call_part() -> Part:
    """Returns the part that stands for a call."""
    return Part(CALL, 1, 1, 1, 1, 1)


def _stem_outputs(network: NetworkShape) -> tuple[Features, Features]:
    channels = network.plan[0].channels // (1 + network.plan[0].reduction)
    if network.is_large:
        features = network.image._replace(channels=channels)
        return features.halved(2), features.halved(3)
    features = network.image._replace(channels=3 * channels)
    return features, features
