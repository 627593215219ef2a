"""Finds an operation by name: the package's, or a user's own as `module:attribute`. No jax."""

from collections.abc import Iterable

from nge_jax.errors import InputError
from nge_jax.space.parts.operation import Operation
from nge_jax.space.parts.package import OPERATIONS
from nge_jax.space.parts.reference import (
    Loaded,
    find_loaded,
    find_value,
    is_current,
    is_reference,
    load,
)

# The operations that this process computes with, by reference. A run keeps them while their files are edited.
_FOUND: dict[str, Loaded] = {}


def is_operation(name: str) -> bool:
    """Tells whether a name may be the name of an operation; a user's own is not loaded."""
    return name in OPERATIONS or is_reference(name)


def find_operation(name: str) -> Operation:
    """Returns the package's operation of this name, or the operation that `module:attribute` names.

    Raises:
        InputError: there is no such operation.
    """
    return OPERATIONS[name] if name in OPERATIONS else load_operation(name).value


def load_operation(name: str) -> Loaded:
    """Loads a user's own operation, or returns the loaded one.

    Raises:
        InputError: there is no such operation.
    """
    if name not in _FOUND:
        if not is_reference(name):
            known = ", ".join(OPERATIONS)
            raise InputError(f"operation {name}: expected one of {known}, or module:attribute")
        found = load(name, "operation ")
        if not isinstance(found.value, Operation):
            kind = type(found.value).__name__
            raise InputError(f"operation {name}: found {kind}, expected an Operation")
        _FOUND[name] = found
    return _FOUND[name]


def sources(names: Iterable[str]) -> list[str]:
    """Returns what workdirs record of the user's own operations among these names, see `reference.source`."""
    return sorted({load_operation(name).source for name in names if is_reference(name)})


def forget_edited() -> bool:
    """Forgets operations whose files have another content now, and tells whether there are any."""
    edited = [name for name, loaded in _FOUND.items() if not is_current(loaded)]
    for name in edited:
        del _FOUND[name]
    return bool(edited)


def loaded_operation(name: str) -> Operation | None:
    """Returns what `find_operation` does; None for a user's own operation whose module is not loaded."""
    if name in OPERATIONS or name in _FOUND:
        return find_operation(name)
    found = find_loaded(name)
    return found if isinstance(found, Operation) else None


def reference(operation: Operation | str) -> str:
    """Returns the name by which `find_operation` finds an operation again, in another process too.

    Raises:
        InputError: the operation stands in no module under a name of its own.
    """
    if isinstance(operation, str):
        return operation
    if OPERATIONS.get(operation.name) is operation:
        return operation.name
    found = find_value(operation, operation.apply)
    if found is None:
        raise InputError(
            f"operation {operation.name}: found it in no module, expected NAME = Operation(...) at the top level of "
            "one, so that later runs find it"
        )
    return found.name
