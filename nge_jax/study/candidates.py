"""The networks that a study trains, with their costs: cells found, random cells, a published cell, a plain network."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from nge_jax import cost
from nge_jax.cost import Cost
from nge_jax.data.spec import LARGE, SMALL
from nge_jax.errors import InputError
from nge_jax.networks import layers
from nge_jax.networks.any_cell import as_arrays
from nge_jax.networks.network import Network
from nge_jax.networks.plain import PlainNetwork, nearest_width, plain_network
from nge_jax.networks.weights_of_any_cell import edge_counter
from nge_jax.space import architecture, genotype
from nge_jax.space.budget.costs import Budget
from nge_jax.space.genotype import Genotype
from nge_jax.study.plan import FOUND, PLAIN, PUBLISHED, PUBLISHED_CELL, RANDOM, Candidate
from nge_jax.train.plan import Training
from nge_jax.trials.equal_cells import canonical_form

STEMS = {SMALL: layers.CifarStem, LARGE: layers.ImageNetStem}
# Parts of the parameters by which a random cell's network may differ. The next is tried where cells are too few.
TOLERANCES = (0.05, 0.1, 0.2, 0.4, float("inf"))
DRAWN = 2000  # random cells that are looked at with each tolerance; beyond, as many as are wanted

Chosen = dict[str, tuple[str, ...]]


def limits_of(training: Training) -> dict[str, int]:
    """Returns the limits of the recipe by the fields of `Cost`; kinds without a limit are left out."""
    limits = training.settings["limits"]
    return {name: limits[name] for name in Cost._fields if limits.get(name)}


def find_beyond(size: Cost | Candidate, limits: Mapping[str, int]) -> str:
    """Says which limit of the recipe a network is beyond; "" for a network within the limits."""
    for name, limit in limits.items():
        if (found := getattr(size, name)) > limit:
            return f"{found:,} {name.replace('_', '-')}, beyond recipe.limits.{name}={limit}"
    return ""


def cell_budget(training: Training) -> Budget:
    """Counts the study's networks of all cells, and takes the limits of the recipe."""
    model = training.model

    def make(cell: Genotype) -> Network:
        return model.clone(genotype=cell)

    limits = limits_of(training)
    costs = cost.cell_costs(make, training.source.spec.shape)
    return Budget(costs, tuple(limits.get(name, 0) for name in Cost._fields))


def count_within(budget: Budget) -> int:
    """Counts the cells within the limits among the first DRAWN random cells."""
    cells = [architecture.from_genotype(genotype.random_genotype(n)) for n in range(DRAWN)]
    return int(budget.allows(np.array(cells)).sum())


def parameter_counter(training: Training) -> Callable[[Genotype], int]:
    """Makes a function that counts the parameters of a cell's network, without making the network."""
    model = training.model
    count_edges = edge_counter(model.plan)
    first = genotype.random_genotype(0)
    whole = cost.model_cost(model.clone(genotype=first), training.source.spec.shape).parameters
    others = whole - count_edges(as_arrays(first))
    return lambda cell: others + count_edges(as_arrays(cell))


def cells_beside(
    found: Mapping[str, Genotype], training: Training, count: int
) -> tuple[dict[str, tuple[str, ...]], float]:
    """Chooses `count` random cells for each cell found, which no search has found; see `find_beside`.

    The random cells' networks are within the limits of the recipe.
    """
    parameters = parameter_counter(training)
    known = {canonical_form(cell) for cell in found.values()}
    budget = cell_budget(training) if limits_of(training) else None

    def size(name: str) -> int | None:
        cell = genotype.load(name)
        if budget is not None and not budget.allows(architecture.from_genotype(cell)):
            return None
        return None if canonical_form(cell) in known else parameters(cell)

    return find_beside({name: parameters(cell) for name, cell in found.items()}, size, count)


def list_cells(
    found: Mapping[int, Genotype], training: Training, count: int, *, published: bool = True
) -> tuple[list[Candidate], float]:
    """Lists the cells: each cell found with `count` random cells behind it, at last the published cell.

    Args:
      found: the cells found, by the seeds of the searches.
      training: the plan of a training.
      count: the random cells for each cell found.
      published: whether the published cell is among the cells.

    Returns:
      The cells, and the part of the parameters by which a random cell's network may differ.

    Raises:
      InputError: a cell found is beyond a limit of the recipe.
    """
    first = [_of_cell(training, FOUND, f"seed {seed}", cell, seed) for seed, cell in found.items()]
    for candidate in first:
        if beyond := find_beyond(candidate, limits_of(training)):
            raise InputError(f"the cell found by {candidate.name}: found a network of {beyond}")
    beside, tolerance = cells_beside({str(s): c for s, c in found.items()}, training, count)
    cells = []
    for seed, candidate in zip(found, first, strict=True):
        cells.append(candidate)
        for name in beside[str(seed)]:
            cells.append(_of_cell(training, RANDOM, name, genotype.load(name), seed))
    return [*cells, *[_published(training)] * published], tolerance


def _of_cell(
    training: Training, kind: str, name: str, cell: Genotype, search: int | None = None
) -> Candidate:
    model = training.model.clone(genotype=cell)
    return Candidate(kind, name, search, cell, *cost.model_cost(model, training.source.spec.shape))


def _published(training: Training) -> Candidate:
    return _of_cell(training, PUBLISHED, PUBLISHED_CELL, genotype.load(PUBLISHED_CELL))


def find_others(training: Training, *, plain: bool) -> tuple[tuple[str, ...], list[str]]:
    """Divides the networks beside the cells by the limits of the recipe, before a search.

    A plain network is made as narrow as the limits ask for, so that the narrowest one decides.

    Args:
      training: the plan of a training.
      plain: whether the study has a plain network.

    Returns:
      The kinds of the networks within the limits, and a line for each of the others.
    """
    kinds, limits, lines = (PUBLISHED, *[PLAIN] * plain), limits_of(training), []
    if not limits:  # nothing is counted
        return kinds, lines
    beyond = {PUBLISHED: find_beyond(_published(training), limits)}
    if plain:
        beyond[PLAIN] = find_beyond(_plain_of_width(training)(1)[1], limits)
    names = {PUBLISHED: PUBLISHED_CELL, PLAIN: "the narrowest plain network"}
    lines = [f"left out: {names[kind]}, {found}" for kind, found in beyond.items() if found]
    return tuple(kind for kind in kinds if not beyond[kind]), lines


def make_plain(training: Training, parameters: int) -> tuple[PlainNetwork, Candidate]:
    """Makes the plain network whose parameters are nearest to `parameters`, or a narrower one within the limits."""
    of_width, limits = _plain_of_width(training), limits_of(training)
    width = nearest_width(parameters, lambda width: of_width(width)[1].parameters)
    while width > 1 and find_beyond(of_width(width)[1], limits):
        width -= 1
    network, size = of_width(width)
    channels = "-".join(map(str, sorted({channels for channels, _ in network.blocks})))
    return network, Candidate(PLAIN, f"ResNet, {channels} channels", None, None, *size)


def _plain_of_width(training: Training) -> Callable[[int], tuple[PlainNetwork, Cost]]:
    """Makes a function that makes the plain network of a width, with its cost."""
    model, spec = training.model, training.source.spec
    options = {"dtype": model.dtype, "bn_axis_name": model.bn_axis_name}

    @functools.cache
    def of_width(width: int) -> tuple[PlainNetwork, Cost]:
        network = plain_network(model.plan, width, model.classes, stem=STEMS[spec.kind], **options)
        return network, cost.model_cost(network, spec.shape)

    return of_width


def plain_training(training: Training) -> Training:
    """Returns the plan without what a plain network has not: the auxiliary head and paths to drop."""
    return training._replace(
        recipe=training.recipe._replace(auxiliary_weight=0.0),
        arguments=training.arguments._replace(drop_path=None),
    )


def mean_parameters(cells: Sequence[Candidate]) -> int:
    """Returns the mean of the parameters of the cells found, rounded."""
    found = [cell.parameters for cell in cells if cell.kind == FOUND]
    return round(sum(found) / len(found))


def find_alike(
    sizes: Mapping[str, int], random: Iterable[tuple[str, int]], count: int, tolerance: float
) -> Chosen:
    """Chooses the random cells that stand beside the cells found.

    Args:
      sizes: the parameters of the cells found, by name. Earlier cells choose first.
      random: names and parameters of random cells.
      count: the random cells for each cell found.
      tolerance: a part of the parameters of a cell found, by which a random cell may differ.

    Returns:
      The names of the first such random cells for each cell found, fewer where `random` ends. No name occurs twice.
    """
    chosen: Chosen = dict.fromkeys(sizes, ())
    lacking = dict(sizes)
    for random_name, size in random:
        for name, wanted in lacking.items():
            if abs(size - wanted) <= tolerance * wanted:
                chosen[name] = (*chosen[name], random_name)
                if len(chosen[name]) == count:
                    del lacking[name]
                break
        if not lacking:
            break
    return chosen


def find_beside(
    sizes: Mapping[str, int], size: Callable[[str], int | None], count: int
) -> tuple[Chosen, float]:
    """Chooses `count` random cells for each cell found, within the least of TOLERANCES that has enough.

    Args:
      sizes: the parameters of the cells found, by name.
      size: counts the parameters of the cell random:SEED; None: the cell is not to be chosen.
      count: the random cells for each cell found.

    Returns:
      The names of the random cells, and the tolerance.
    """
    known: dict[str, int | None] = {}

    def draw() -> Iterator[tuple[str, int]]:
        # Some of the cells may be those found.
        for seed in range(max(DRAWN, (count + 1) * len(sizes))):
            name = f"random:{seed}"
            if name not in known:
                known[name] = size(name)
            if (parameters := known[name]) is not None:
                yield name, parameters

    for tolerance in TOLERANCES:
        chosen = find_alike(sizes, draw(), count, tolerance)
        if all(len(names) == count for names in chosen.values()):
            return chosen, tolerance
    raise AssertionError("every random cell is within an infinite tolerance")
