"""The plan of a search: all that the config and the data set decide, as plain values. Nothing later reads a config."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nge_jax import optim
from nge_jax.data.small import ArrayDataset
from nge_jax.data.spec import DatasetSpec
from nge_jax.embedding.model import EdgeModel
from nge_jax.runtime.loop import Phase
from nge_jax.search.limits.limits import SearchLimits
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.gradient import Preprocessing
from nge_jax.search.steps.relaxation import Relaxation
from nge_jax.space.budget.costs import Budget
from nge_jax.space.nas_bench_201 import AccuracyTable
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy
from nge_jax.supernet.net import Net
from nge_jax.workdir.artifacts import Member


class Makers(NamedTuple):
    """Functions that make parts of a search from a program's arguments. Programs call them with traced arguments.

    Attributes:
      edge_model: `name -> EdgeModel`.
      rate_parts: the part of the embedding's rate that each edge model has, by name; empty for an absolute rate.
      relaxation: `ProgramArguments -> Relaxation` of the search's net.
      optimizer: `(ProgramArguments, name of the edge model) -> Optimizer` of both groups.
      strategy: `ProgramArguments -> Strategy`; None where the gradient searches.
    """

    edge_model: Callable[[str], EdgeModel]
    rate_parts: Mapping[str, float]
    relaxation: Callable[[ProgramArguments], Relaxation]
    optimizer: Callable[[ProgramArguments, str], optim.Optimizer]
    strategy: Callable[[ProgramArguments], Strategy] | None


class TrialLimits(NamedTuple):
    """How long cells are trained that are rated by trainings.

    Attributes:
      cells: the most cells.
      minutes: the time after which no cell begins; 0: no limit.
      rungs: the epochs at which a cell is rated.
      seeds: the number of other seeds with which the last cells are trained again.
    """

    cells: int
    minutes: float
    rungs: tuple[int, ...]
    seeds: int


class Choice(NamedTuple):
    """How a search chooses its cell when it has ended.

    Attributes:
      max_skips: how many skip connections the normal cell may keep.
      keep_best_below: see `sharing.fallen`; 0: the last P always decides.
      candidates: how many cells a strategy compares at the end.
      batches: how many batches of the validation half the cells are compared on.
      by_policy: whether the most probable cell of a strategy's policy is one more candidate.
      random_cells: how many random cells the cell found is compared with; 0: none.
      trials: how cells are trained to be rated; None where the supernet rates them.
    """

    max_skips: int
    keep_best_below: float
    candidates: int
    batches: int
    by_policy: bool
    random_cells: int
    trials: TrialLimits | None


class Images(NamedTuple):
    """The images of a search, and how its steps read them.

    Attributes:
      name: the data set, as the config names it.
      data: the images.
      spec: describes a user's own images, so that later starts recognize them; None for other data sets.
      divide: `seed -> halves`, the indices of each group's half of the training images.
      stream: how many steps' images go to the devices with each dispatch; 0: all images live on the devices.
      preprocessing: how images enter a step.
    """

    name: str
    data: ArrayDataset
    spec: DatasetSpec | None
    divide: Callable[[int], dict[str, np.ndarray]]
    stream: int
    preprocessing: Preprocessing


class Search(NamedTuple):
    """The plan of one search.

    Attributes:
      seed: decides the initial parameters, the order of the images and the halves.
      members: the plan of each of several searches that run at once, see `several.members`; empty for one search.
      images: the images.
      halves: the indices of each group's half of the training images.
      net: the supernet; its weights are the group WEIGHTS.
      edge_model: makes and reads the group EMBEDDING; for a strategy, the strategy's state stands in that group.
      learner: the edge model that learns, also inside a strategy; None where none does.
      strategy: asks for cells; None where the gradient searches.
      relaxation: how the gradient's steps mix operations; no other strategy uses it.
      makers: make these parts again inside a program.
      arguments: the programs' arguments beside the run's key.
      optimizer: updates both groups.
      order: 1, or 2 for the second order of DARTS.
      alternates: whether single batches of the two groups alternate (DARTS); else whole epochs do (the paper).
      epochs, batch_size: the length of the search, and the images of a step.
      phases: the phases of an epoch; a program is `(state, batches, (key, arguments), start, stop) -> state`.
      warmup_epochs: how many first epochs leave the embedding as it is.
      stop_on_skips: how many skip connections of the normal cell end the search; 0: the search never ends early.
      skip_nonfinite: how many updates may be left out because they are not finite.
      choice: how the cell is chosen at the end.
      limits: the limits on the network of the cell found, or costs that the search pays for; None without either.
      table: the accuracies of NAS-Bench-201's cells; None without a table.
      train_config: the config that trains the search's cell; empty where a table tells how the cell trains.
      settings: the values of the config as the workdir records them, nested.
    """

    seed: int
    members: Mapping[Member, "Search"]
    images: Images
    halves: dict[str, np.ndarray]
    net: Net
    edge_model: EdgeModel
    learner: EdgeModel | None
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
    limits: SearchLimits | None
    table: AccuracyTable | None
    train_config: str
    settings: Mapping[str, Any]

    @property
    def budget(self) -> Budget | None:
        """The costs of all cells and their limits; None without a limit."""
        if self.limits is None or not self.limits.is_limited:
            return None
        return self.limits.budget

    @property
    def space(self) -> Space:
        """The space of the cells."""
        return self.net.space

    @property
    def steps_per_epoch(self) -> int:
        """Counts the updates of both groups in an epoch."""
        return sum(phase.steps * phase.updates for phase in self.phases)


def count_held_steps(phases: Sequence[Phase], warmup_epochs: int, step: int) -> int:
    """Counts the steps before `step` in which the warm-up left the embedding as it was."""
    per_epoch = sum(phase.steps * phase.updates for phase in phases)
    epochs, left = divmod(step, per_epoch)
    if epochs >= warmup_epochs:
        epochs, left = warmup_epochs, 0
    if len(phases) == 1:  # batches alternate, and the embedding's comes first
        return (epochs * per_epoch + left + 1) // 2
    weights, embedding = phases
    return epochs * embedding.steps + max(left - weights.steps, 0)
