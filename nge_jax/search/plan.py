"""The plan of a search: everything that a config and a data set make of it, as plain values. No config goes further."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nge_jax import optim
from nge_jax.data.small import SmallDataset
from nge_jax.data.spec import DatasetSpec
from nge_jax.embedding import EdgeModel
from nge_jax.runtime.loop import Phase
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.gradient import Net, Preprocessing
from nge_jax.search.steps.relaxation import Relaxation
from nge_jax.space.nas_bench_201 import AccuracyTable
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy
from nge_jax.workdir.artifacts import Member


class Makers(NamedTuple):
    """Makes parts of a search from the arguments of a program. The programs call them with traced arguments.

    Attributes:
      edge_model: `name -> EdgeModel`.
      relaxation: `ProgramArguments -> Relaxation` of the search's net.
      optimizer: `ProgramArguments -> Optimizer` of both groups.
      strategy: `ProgramArguments -> Strategy`; None where the gradient searches.
    """

    edge_model: Callable[[str], EdgeModel]
    relaxation: Callable[[ProgramArguments], Relaxation]
    optimizer: Callable[[ProgramArguments], optim.Optimizer]
    strategy: Callable[[ProgramArguments], Strategy] | None


class Choice(NamedTuple):
    """How a search chooses its cell when it has ended.

    Attributes:
      max_skips: skip connections that the normal cell may keep.
      candidates: cells that a strategy compares at the end.
      batches: batches of the validation half on which cells are compared.
      by_policy: whether a strategy's policy proposes a candidate beside the cells that it asked for.
      random_cells: random cells that are evaluated beside the cell found; 0: none.
    """

    max_skips: int
    candidates: int
    batches: int
    by_policy: bool
    random_cells: int


class Search(NamedTuple):
    """The plan of one search.

    Attributes:
      seed: of the initial parameters, the order of the images and the halves.
      members: the searches that share the plan, each in a folder of its own; none where the plan is of one search.
      data_name: the data set, as the config names it.
      data: the images.
      spec: of a user's own images, by which later starts recognize them; None for other data sets.
      halves: of each group, indices of its half of the training images.
      divide: `seed -> halves`.
      stream: rows of a dispatch, whose images alone go to the devices; 0: all images live there.
      preprocessing: of the images.
      space: the space of the cells.
      net: the supernet, whose weights are the group WEIGHTS.
      edge_model: of the group EMBEDDING; what a strategy other than the gradient makes and reads as its state.
      strategy: None where the gradient searches.
      relaxation: how the gradient's steps mix operations; no other strategy uses it.
      makers: make the same from the arguments of a program.
      arguments: what the phases are given beside the run's key.
      optimizer: of both groups.
      order: 1, or 2 for the second order of DARTS.
      alternates: whether each batch of the weights is followed by one of the embedding; else whole epochs alternate.
      epochs, batch_size: the length of the search, and images of a step.
      phases: of an epoch; their programs are `(state, batches, (key, arguments), start, stop) -> state`.
      warmup_epochs: the first epochs, in which the embedding is held.
      stop_on_skips: skip connections of the normal cell that end the search; 0: none do.
      skip_nonfinite: updates that are not finite and may be left out.
      choice: how the cell is chosen at the end.
      table: how cells of NAS-Bench-201 train; None without a table.
      train_config: trains the search's cell; empty where a table tells how the cell trains.
      settings: the recorded values of the config, nested.
    """

    seed: int
    members: tuple[Member, ...]
    data_name: str
    data: SmallDataset
    spec: DatasetSpec | None
    halves: dict[str, np.ndarray]
    divide: Callable[[int], dict[str, np.ndarray]]
    stream: int
    preprocessing: Preprocessing
    space: Space
    net: Net
    edge_model: EdgeModel
    strategy: Strategy | None
    relaxation: Relaxation
    makers: Makers
    arguments: ProgramArguments
    optimizer: optim.Optimizer
    order: int
    alternates: bool
    epochs: int
    batch_size: int
    phases: tuple[Phase, ...]
    warmup_epochs: int
    stop_on_skips: int
    skip_nonfinite: int
    choice: Choice
    table: AccuracyTable | None
    train_config: str
    settings: Mapping[str, Any]

    @property
    def steps_per_epoch(self) -> int:
        """Counts the updates of an epoch, of both groups."""
        return sum(phase.steps * phase.updates for phase in self.phases)


def count_held_steps(phases: Sequence[Phase], warmup_epochs: int, step: int) -> int:
    """Counts the steps before `step` in which the warm-up held the embedding."""
    per_epoch = sum(phase.steps * phase.updates for phase in phases)
    epochs, left = divmod(step, per_epoch)
    if epochs >= warmup_epochs:
        epochs, left = warmup_epochs, 0
    if len(phases) == 1:  # every other step is the embedding's
        return (epochs * per_epoch + left + 1) // 2
    weights, embedding = phases
    return epochs * embedding.steps + max(left - weights.steps, 0)
