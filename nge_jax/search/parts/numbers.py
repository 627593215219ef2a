"""The numbers of the parts that a search's config names, divided as the rows of the keys say."""

from typing import Any, NamedTuple

from nge_jax.settings import keys
from nge_jax.settings.key import Values
from nge_jax.settings.parts import named
from nge_jax.settings.parts.named import Numbers, Parts

# The relaxations that are functions of P. All others see the logits, too, and are rules (`relaxations.rule`).
SEE_P_ALONE = ("softmax", "gumbel", "partial")


class PartNumbers(NamedTuple):
    """The numbers of the parts that a config names.

    Attributes:
      learning: the numbers by which the embedding or the strategy learns.
      mixing: the numbers of a relaxation that sees logits; None for a relaxation that sees P alone.
      edge_models: the numbers of the edge models from outside, by reference.
    """

    learning: Numbers
    mixing: Numbers | None
    edge_models: dict[str, dict[str, Any]]


def read_parts(values: Values, given: Parts) -> tuple[Parts, PartNumbers]:
    """Returns the parts from outside that a config names, and the numbers of all parts.

    Args:
      values: the config's values, by whole names of keys.
      given: parts that Python gave as values.

    Raises:
      InputError: a part cannot be loaded.
    """
    parts = named.find(values, given)

    def numbers_of(name: str) -> Numbers:
        if name in parts:
            return named.numbers_of(parts[name], values)
        return _divide_group(name, values)

    strategy, relaxed = values["search.strategy"], values["search.relaxation"]
    models = (values["search.edge_model"], *values["search.edge_models"])
    return parts, PartNumbers(
        learning=numbers_of("embedding" if strategy == "gradient" else strategy),
        mixing=None if relaxed in SEE_P_ALONE else numbers_of(relaxed),
        edge_models={name: numbers_of(name).constants for name in models if name in parts},
    )


def _divide_group(group: str, values: Values) -> Numbers:
    """Divides a group of the package's keys; the group is empty for the random search."""
    arguments, constants = {}, {}
    for name, value in values.items():
        head, _, last = name.rpartition(".")
        if head != group:
            continue
        if keys.in_program("search", name):
            constants[last] = value
        else:
            arguments[last] = float(value)
    return Numbers(arguments, constants)
