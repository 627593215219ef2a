"""Makes the parts that a search's config names, from the package or from outside."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from nge_jax.embedding.model import PAPER, EdgeModel, Form, edge_model, model_of_nodes
from nge_jax.errors import InputError
from nge_jax.search.relaxations.concrete import concrete
from nge_jax.search.relaxations.dirichlet import dirichlet
from nge_jax.search.relaxations.rule import RelaxationRule
from nge_jax.search.relaxations.sigmoid import sigmoid
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.settings.parts import part as outside
from nge_jax.settings.parts.named import Parts
from nge_jax.space.parts.functions import begin, check_arguments, returned
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy

# `(space, constants, arguments) -> RelaxationRule`
RuleMaker = Callable[[Space, dict[str, Any], dict[str, Any]], RelaxationRule]
# `(betas, form, name) -> EdgeModel`
ModelMaker = Callable[[bool, Form, str], EdgeModel]
# The functions of a part from outside, each with the names of the arguments.
FUNCTIONS = {
    "relaxation": {
        "mix": ("scores", "key", "progress"),
        "probs": ("logits",),
        "penalty": ("scores", "progress"),
        "record": ("progress",),
    },
    "edge_model": {"init": ("key",), "probs": ("params",), "logits": ("params",)},
    "strategy": {
        "init": ("key",),
        "ask": ("state", "key"),
        "tell": ("state", "architectures", "rewards"),
        "probs": ("state",),
        "predict": ("state", "architecture"),
    },
}
# To add a relaxation, give its maker here. The group of keys with its name has its numbers.
RULES = {"sigmoid": sigmoid, "dirichlet": dirichlet, "concrete": concrete}


def key_of_model(name: str, several: Collection[str]) -> str:
    """Returns the key that names an edge model; `several`: the value of `search.edge_models`."""
    return "search.edge_models" if name in several else "search.edge_model"


def find_edge_models(
    parts: Parts,
    numbers: Mapping[str, dict[str, Any]],
    adjacency: str,
    space: Space,
    several: Collection[str] = (),
) -> ModelMaker:
    """Makes `(betas, form, name) -> EdgeModel`.

    Args:
      parts: the parts from outside.
      numbers: the numbers of each model from outside.
      adjacency: see `embedding.model.edge_model`.
      space: the space of the cells.
      several: the names in `search.edge_models`.
    """

    def make(betas: bool, form: Form, name: str) -> EdgeModel:
        if name not in numbers:
            return edge_model(name, adjacency, space, betas=betas, form=form)
        heads, key = [], key_of_model(name, several)

        def head(init: Callable, embed_nodes: Callable) -> EdgeModel:
            heads.append(embed_nodes)
            where = f"config.{key}: {name}"
            check_arguments(init, ("key",), f"{where}: init")
            check_arguments(embed_nodes, ("x", "theta"), f"{where}: embed")
            embed = functools.partial(_embed, embed_nodes, f"{where}: embed")
            return model_of_nodes(init, embed, space, betas=betas, form=form)

        model = outside.make(parts[name], key, space, numbers[name], head)
        if not isinstance(model, EdgeModel):
            _refuse(key, name, model, "nge.EdgeModel")
        _check_functions(key, name, model)
        if not heads:
            _check_whole(name, form)
        return model._replace(name=name)

    return make


def _embed(embed_nodes: Callable, where: str, x: Any, theta: Any) -> Any:
    """Embeds nodes, and refuses embeddings of another shape."""
    z = embed_nodes(x, theta)
    if getattr(z, "shape", None) != x.shape:
        expected = f"expected the shape {x.shape}"
        raise InputError(f"{where}: {begin(embed_nodes)}{returned(z)}, {expected}")
    return z


def _check_whole(name: str, form: Form) -> None:
    """Refuses a form of the embedding that a model without the package's head does not have."""
    for field, paper in PAPER._asdict().items():
        if (found := getattr(form, field)) != paper:
            raise InputError(
                f"config.embedding.{field}: found {found!r}, expected {paper!r} with {name}, which makes the whole "
                "edge model"
            )


def make_logits_model(
    make: Callable[[str], EdgeModel], several: Collection[str], name: str
) -> EdgeModel:
    """Makes the edge model of a relaxation that computes P itself: its `probs` are the logits.

    Args:
      make: makes the edge model of a name.
      several: the names in `search.edge_models`.
      name: the name.

    Raises:
      InputError: the edge model has no logits.
    """
    model = make(name)
    if model.logits is None:
        key, expected = (
            key_of_model(name, several),
            "expected EdgeModel.logits, which this search reads",
        )
        raise InputError(f"config.{key}: {name}: found no logits, {expected}")
    return model._replace(probs=model.logits)


def find_rule(name: str, parts: Parts) -> RuleMaker:
    """Finds the maker of a relaxation that sees logits."""

    def make(space: Space, constants: dict[str, Any], arguments: dict[str, Any]) -> RelaxationRule:
        numbers = {**constants, **arguments}
        if name in RULES:
            return RULES[name](space, numbers)
        made = outside.make(parts[name], "search.relaxation", space, numbers)
        if not isinstance(made, RelaxationRule):
            _refuse("search.relaxation", name, made, "nge.RelaxationRule")
        _check_functions("search.relaxation", name, made)
        return made

    return make


def find_strategy(name: str, parts: Parts) -> Callable[..., Strategy]:
    """Finds the maker of a strategy from outside: `(edge model, constants, part_of, space, arguments) -> Strategy`."""

    def make(
        edge_model: EdgeModel,
        constants: dict[str, Any],
        part_of: Any,
        space: Space,
        arguments: ProgramArguments,
    ) -> Strategy:
        del part_of  # such a strategy has its own rates
        numbers = {**constants, **arguments.embedding}
        made = outside.make(parts[name], "search.strategy", space, numbers, edge_model)
        if not isinstance(made, Strategy):
            _refuse("search.strategy", name, made, "nge.Strategy")
        _check_functions("search.strategy", name, made)
        return made._replace(name=name)

    return make


def _check_functions(key: str, name: str, made: Any) -> None:
    """Refuses functions of a part that take other arguments."""
    for field, arguments in FUNCTIONS[key.rpartition(".")[2].removesuffix("s")].items():
        if (function := getattr(made, field)) is not None:
            check_arguments(function, arguments, f"config.{key}: {name}: {field}")


def _refuse(key: str, name: str, made: Any, expected: str) -> None:
    others = {EdgeModel: "edge_model", RelaxationRule: "relaxation", Strategy: "strategy"}
    other = others.get(type(made))
    advice = f", as a part for search.{other}" if other else ""
    found = f"{returned(made)}{advice}"
    raise InputError(f"config.{key}: {name}: {found}, expected {expected}")
