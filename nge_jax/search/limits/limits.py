"""The limits of a search: the costs of all cells in the networks that the limits hold for, and what no cell meets.

A search that pays for expected parameters (`search.cost_weight`) pays for those of the same network.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from nge_jax.cost import cell_costs
from nge_jax.data.spec import LARGE, SMALL
from nge_jax.errors import InputError
from nge_jax.latency import record as latency_record
from nge_jax.search.limits import times
from nge_jax.search.limits.network import LimitedNetwork, trained_network
from nge_jax.settings import configs
from nge_jax.space import architecture, skips
from nge_jax.space.budget import feasible
from nge_jax.space.budget.costs import (
    COUNTED,
    KINDS,
    MILLISECONDS,
    PARAMETERS,
    Budget,
    CellCosts,
    Kind,
)
from nge_jax.space.budget.relative import RelativeCosts, relative_to_mean
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS
from nge_jax.text.digits import plain_digits
from nge_jax.workdir import artifacts


class SearchLimits(NamedTuple):
    """The limits of a search, or the costs that it pays for.

    Attributes:
      networks: the networks that the limits hold for, the one to be trained first.
      columns: the network and the kind of each of the K costs.
      budget: the costs of all cells [K], and the limits; 0: no limit.
      given: the limits as the config has them, by the names of the kinds; 0: no limit.
      words: the keys that the command of the training needs.
      table: the file of latencies; "" without a limit on milliseconds.
      is_priced: whether the search pays for parameters.
    """

    networks: tuple[LimitedNetwork, ...]
    columns: tuple[tuple[LimitedNetwork, Kind], ...]
    budget: Budget
    given: Mapping[str, float]
    words: Mapping[str, Any]
    table: str = ""
    is_priced: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return any(self.budget.limits)

    def price(self, weight: float) -> RelativeCosts | None:
        """Returns the parameters of the network to be trained, as parts of their mean, with a weight.

        None is returned if the search pays for none.
        """
        if not self.is_priced:
            return None
        number = self.columns.index((self.networks[0], PARAMETERS))
        return relative_to_mean(self.budget.costs, number, weight, DARTS)

    def describe(self) -> list[str]:
        """Returns a line for each limit: the limit, and the least and the most that any cell costs."""
        lines = []
        if self.is_priced:
            lines.append(f"cost: a weight on the expected parameters of {self.networks[0]}")
        for network, kind, limit, least, most in self._ranges():
            if limit:
                by = f" by {self.table}" if kind == MILLISECONDS else ""
                line = (
                    f"limit: at most {self._found(kind)} {kind.words} of {network}; cells have {kind.show(least)} to "
                    f"{kind.show(most)}{by}"
                )
                lines.append(f"{line}, so that every cell meets it" if most <= limit else line)
        return lines

    def of_training(self, costs: np.ndarray) -> dict[str, float]:
        """Returns the costs [K] that belong to the network to be trained, by kind, in the units of the keys."""
        return {
            kind.name: kind.value(float(cost))
            for (network, kind), cost in zip(self.columns, costs, strict=True)
            if network == self.networks[0]
        }

    def check(self, most_skips: int) -> None:
        """Refuses limits that no cell meets; `most_skips`: the most skip connections of the normal cell.

        Raises:
          InputError: names the key and the least that is possible.
        """
        if unmet := self.budget.unmet(DARTS):
            number, least = next(iter(unmet.items()))
            network, kind = self.columns[number]
            raise InputError(
                f"config.limits.{kind.name}: found {self._found(kind)}, expected at least {kind.show(least)}, the "
                f"fewest {kind.words} of any cell in {network}"
            )
        budget = self.budget
        if not self.is_limited or feasible.has_free_operations(budget, DARTS):
            return
        if feasible.cheapest(budget, DARTS, most_skips) is None:
            self._refuse(most_skips)

    def _refuse(self, most_skips: int) -> NoReturn:
        """Refuses limits that no cell meets together, by the last limit that could be larger."""
        beside = "the other limits"
        if most_skips < DARTS.num_kept:
            beside += f" and config.search.max_skips={most_skips}"
        for number in reversed(self.budget.room):
            network, kind = self.columns[number]
            least = feasible.least_beside(self.budget, number, DARTS, most_skips)
            if least is not None and least > self.budget.limits[number]:
                raise InputError(
                    f"config.limits.{kind.name}: found {self._found(kind)}, expected at least {kind.show(least)}, the "
                    f"fewest {kind.words} of any cell within {beside} in {network}"
                )
        raise InputError(
            f"config.limits: found limits that no cell meets together, expected larger ones beside {beside}"
        )

    def to_json(self) -> str:
        """Writes the record limits.json."""
        records = {network: network._asdict() for network in self.networks}
        for network, kind, *counts in self._ranges():
            values = map(kind.value, counts)
            records[network][kind.name] = dict(zip(("limit", "least", "most"), values, strict=True))
        record = {"networks": [*records.values()], "train": dict(self.words)}
        if self.table:
            number = self.columns.index((self.networks[0], MILLISECONDS))
            record["table"] = times.describe(self.table, self.budget.costs, number)
        return json.dumps(record, indent=2) + "\n"

    def record_times(self, cell: Genotype, expected: float | None, workdir: Path) -> None:
        """Records the milliseconds of the cell found by the table, and the expected ones, see `latency.record`."""
        if self.table:
            number = self.columns.index((self.networks[0], MILLISECONDS))
            count = self.budget.costs.count(architecture.from_genotype(cell))[number]
            summed = MILLISECONDS.value(int(count))
            latency_record.add_sums(workdir, Path(self.table).name, summed, expected)

    def check_begun(self, workdir: Path) -> None:
        """Refuses a table of latencies that has changed since the search in the workdir began.

        Raises:
          InputError: the table's times are others.
        """
        if self.table and (workdir / artifacts.LIMITS).exists():
            begun = artifacts.read_json(workdir / artifacts.LIMITS)
            times.check_begun(begun.get("table"), json.loads(self.to_json())["table"], workdir)

    def _found(self, kind: Kind) -> str:
        return plain_digits(self.given[kind.name])

    def _ranges(self) -> Iterator[tuple[LimitedNetwork, Kind, int, int, int]]:
        """Yields each network and kind of cost with the limit, the least and the most."""
        costs = self.budget.costs
        numbers = (self.budget.limits, costs.least(DARTS).tolist(), costs.most(DARTS).tolist())
        for place, values in zip(self.columns, zip(*numbers, strict=True), strict=True):
            yield *place, *values


def find_limits(
    settings: Mapping[str, Any], shape: tuple[int, ...], classes: int, large_stem: bool
) -> SearchLimits | None:
    """Makes the limits of a search; None without a limit, and without a cost that it pays for.

    Args:
      settings: the values of the search's config, nested.
      shape: of an image of the search, [H, W, C].
      classes: the number of the images' classes.
      large_stem: whether the supernet begins with ImageNet's stem.

    Raises:
      InputError: no cell meets a limit, the training's config is refused, or the table of latencies lacks a part.
    """
    values = configs.flatten(settings)
    given = {kind.name: values.get(f"limits.{kind.name}", 0) for kind in KINDS}
    limits = {kind: _count_limit(given[kind.name], kind) for kind in KINDS}
    is_priced = bool(values.get("search.cost_weight") or values.get("search.cost_weights"))
    if not is_priced and not any(limits.values()):
        return None
    network, words = trained_network(values, shape, classes)
    words |= {f"limits.{kind.name}": limits[kind] for kind in COUNTED if limits[kind]}
    networks = (network,)
    if values["search.evaluator"] == "trained":
        kind = LARGE if large_stem else SMALL
        size = {key: values[f"network.{key}"] for key in ("cells", "channels")}
        networks += (network._replace(**size, kind=kind, shape=(*shape,), is_rated=True),)
    table = str(values["limits.latency_table"]) if limits[MILLISECONDS] else ""
    columns, costs = _count_costs(networks, table)
    most = tuple(limits[kind] for _, kind in columns)
    budget = Budget(costs, most, float(values["limits.weight"]))
    found = SearchLimits(networks, columns, budget, given, words, table, is_priced)
    # A strategy's cells may have any number of skip connections.
    by_gradient = values["search.strategy"] == "gradient"
    most_skips = values["search.max_skips"] if by_gradient else DARTS.num_kept
    found.check(skips.most_skips(most_skips, DARTS))
    return found._replace(budget=_with_fallback(budget))


def _count_limit(value: float, kind: Kind) -> int:
    """Returns the most of a cost; 0 without a limit. A limit below a count is one that no cell meets."""
    return max(1, round(kind.unit * value)) if value else 0


def _count_costs(
    networks: tuple[LimitedNetwork, ...], table: str
) -> tuple[tuple[tuple[LimitedNetwork, Kind], ...], CellCosts]:
    """Counts the costs of all cells in each network, and by a table of latencies the times in the first network.

    Raises:
      InputError: the table cannot be read, or lacks a part.
    """
    columns = [(network, kind) for network in networks for kind in COUNTED]
    parts = [cell_costs(network.make, network.shape) for network in networks]
    if table:
        columns.append((networks[0], MILLISECONDS))
        parts.append(times.read_costs(table, networks[0].latency_shape()))
    return tuple(columns), CellCosts(*map(np.concatenate, zip(*parts, strict=True)))


def _with_fallback(budget: Budget) -> Budget:
    """Adds the cell that draws end with where cheapest operations may be beyond a limit."""
    if not budget.room or feasible.has_free_operations(budget, DARTS):
        return budget
    return budget._replace(fallback=feasible.cheapest(budget, DARTS, DARTS.num_kept))
