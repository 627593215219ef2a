"""The interface of a supernet. A search asks nothing else of a supernet, so a new space does not change the search."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from nge_jax.space.spaces import Space
from nge_jax.supernet.trees import Params


class Applied(Protocol):
    """A supernet of any space, whole or sampled."""

    def apply(
        self, weights: Any, images: jax.Array, choices: Any, /
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes logits [B, classes] and endpoints; `choices`: what the relaxation's `mix` returns."""
        ...


class Used(NamedTuple):
    """Holds weights that are used once at each of the same positions, to count multiply-adds.

    Attributes:
        weights: a tree of arrays.
        endpoint: the endpoint [B, H, W, C] whose positions they are; None: one position.
        times: how many positions there are for each position of the endpoint.
        multiply_adds: (H, W) of the endpoint -> the multiply-adds of one use, of which there are `times`; None: each
            weight is used once at each position.
    """

    weights: Any
    endpoint: str | None
    times: int = 1
    multiply_adds: Callable[[tuple[int, int]], int] | None = None


class Layered(Protocol):
    """A supernet whose cells may read different probabilities."""

    @property
    def space(self) -> Space:
        """The space of the cells."""
        ...

    @property
    def layer_types(self) -> tuple[int, ...]:
        """The type of each cell of the network, first to last: numbers of `space.cell_types`."""
        ...

    def apply_layers(
        self, weights: Any, images: jax.Array, probs: jax.Array, /
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes `Applied.apply` under probabilities [cells, E, O], a part for each cell of the network."""
        ...


class Net(Applied, Layered, Protocol):
    """A whole supernet."""

    def init(self, key: jax.Array, /) -> Params:
        """Draws the weights."""
        ...

    def example_probs(self) -> Any:
        """Makes zeros in the form that `apply` reads: probabilities [C, E, O], or a `Mixture` of them."""
        ...

    def sampled(self) -> Applied:
        """Returns a network with the same weights that computes one drawn operation for each edge."""
        ...

    def single_cell(self) -> Applied:
        """Returns a network with the same weights that computes one cell's operations only; itself if it has none."""
        ...

    def choices(self, cell: Any, /) -> Any:
        """Makes the choices under which `single_cell` computes a cell of the space."""
        ...

    def parts(self, weights: Params, /) -> dict[str, list[Used]]:
        """Groups the weights by the parts of the network, from the stem to the classifier."""
        ...
