"""Finds a space by its name in a config, and refuses a space that no search can search. No jax."""

import json
from collections.abc import Iterable
from typing import Any

from nge_jax.errors import InputError, prefixed
from nge_jax.space.parts import outside
from nge_jax.space.parts.loading import find_operation, load_operation, reference
from nge_jax.space.parts.operation import Operation
from nge_jax.space.parts.reference import Loaded, is_reference, load
from nge_jax.space.spaces import DARTS, SPACES, Space

LISTS = (tuple, list)
FIELDS = ("operations", "num_nodes", "allowed")  # the differences of spaces
MAX_NODES = 34  # the nodes of the largest cell that a genotype may have


def find_space(text: str) -> Space:
    """Returns a shipped space by its name, the space that `module:attribute` names, or the space of `to_text`.

    Raises:
        InputError: there is no such space, or no search can search the space.
    """
    if text in SPACES:
        return SPACES[text]
    if text.startswith("{"):
        return check_space(_from_json(text))
    if not is_reference(text):
        known = ", ".join(SPACES)
        raise InputError(f"found {text!r}, expected one of {known}, or module:attribute")
    found = load(text).value
    if not isinstance(found, Space):
        raise InputError(f"{text}: found {type(found).__name__}, expected a Space")
    with prefixed(f"{text}: "):
        return check_space(found)


def sources(text: str) -> tuple[str, ...]:
    """Returns what a search records of the files of a space and of the space's operations, from outside the package.

    Raises:
        InputError: see `find_space`.
    """
    space = find_space(text)
    loaded: list[Loaded] = [load(text)] if is_reference(text) else []
    loaded += [load_operation(name) for name in space.operations if is_reference(name)]
    return tuple(one.source for one in loaded)


def to_text(space: Space) -> str:
    """Writes a space as configs have it: by its name, or as JSON of what differs from the space darts."""
    for name, known in SPACES.items():
        if space == known:
            return name
    check_space(space)
    fields = {name: getattr(space, name) for name in FIELDS}
    different = {name: value for name, value in fields.items() if value != getattr(DARTS, name)}
    return json.dumps(different)


def _from_json(text: str) -> Space:
    try:
        fields = json.loads(text)
        assert {*fields} <= {*FIELDS}
        lists = {name: _tuples(value) for name, value in fields.items()}
        return DARTS._replace(**lists)
    except (ValueError, RecursionError, AssertionError):
        raise InputError(f"found {text[:60]}, expected JSON with {', '.join(FIELDS)}") from None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def with_operations(space: Space, *operations: Operation | str) -> Space:
    """Returns the same cells with other operations, in this order.

    Args:
        space: the space of the cells, such as DARTS.
        operations: the package's by name, and a user's as values at the top level of a module.

    Raises:
        InputError: an operation stands in no module, or the space cannot be searched.
    """
    names = tuple(map(reference, operations))
    return check_space(space._replace(operations=names, allowed=()))


def check_space(space: Space) -> Space:
    """Returns the space, or refuses a space whose cells have no supernet.

    Raises:
        InputError: names the field, what was found and what was expected.
    """
    if space in SPACES.values():
        return space
    for field in ("cell_types", "num_inputs", "kept_edges", "is_tabular"):
        found, expected = getattr(space, field), getattr(DARTS, field)
        if found != expected:
            raise InputError(
                f"{field}: found {found!r}, expected {expected!r} as in the space darts"
            )
    if type(space.num_nodes) is not int or not DARTS.num_inputs < space.num_nodes <= MAX_NODES:
        raise InputError(f"num_nodes: found {space.num_nodes!r}, expected 3 to {MAX_NODES}")
    names = space.operations
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"operations: found {names!r}, expected names of operations")
    if len(names) < 2 or len({*names}) < len(names):
        raise InputError(f"operations: found {', '.join(names)}, expected two or more, each once")
    _check_weights(space)
    _check_names(names)
    _check_allowed(space)
    return space


def _check_weights(space: Space) -> None:
    """Refuses a space without weights: there would be nothing to train."""
    shapes = [outside.parameters(name, 4, 1) for name in space.operations]
    if not any(shapes):
        found = ", ".join(space.operations)
        raise InputError(f"operations: found {found}, expected at least one with weights")


def _check_names(references: Iterable[str]) -> None:
    """Refuses two operations of one name, which messages could not tell apart."""
    first: dict[str, str] = {}
    for text in references:
        name = find_operation(text).name
        if name in first:
            raise InputError(
                f"operations: found the name {name!r} in both {first[name]} and {text}, expected a name for each"
            )
        first[name] = text


def _check_allowed(space: Space) -> None:
    if not space.allowed:
        return
    cells, edges, _ = space.shape
    of_cells = space.allowed if isinstance(space.allowed, LISTS) else ()
    sizes = [len(of_cell) if isinstance(of_cell, LISTS) else 1 for of_cell in of_cells]
    if sizes != [edges] * cells:
        raise InputError(f"allowed: found {sizes} edges, expected {edges} for each cell type")
    for cell_type, of_cell in zip(space.cell_types, space.allowed, strict=True):
        for edge, names in zip(space.edges, of_cell, strict=True):
            # An operation is a tuple, too.
            is_list = isinstance(names, LISTS) and not isinstance(names, Operation)
            if not is_list or not names or any(name not in space.operations for name in names):
                found = (", ".join(map(str, names)) or "none") if is_list else repr(names)
                raise InputError(
                    f"allowed: found {found} on edge {edge} of the {cell_type} cell, expected names, some of "
                    f"{', '.join(space.operations)}"
                )
