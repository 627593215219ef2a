"""The size of the house: figures that grow unseen. A figure that falls is lowered here."""

import ast
from collections.abc import Iterator

from tests.helpers.package import PATHS, imported_names

LONG, LONGER = 40, 60  # lines of a function
MOST_LONG, MOST_LONGER = 15, 0
MOST_READERS = 60  # functions that take a config
MOST_READING_MODULES = 18  # modules with such functions


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yields every function of the package with its module, inner functions too."""
    for module, path in PATHS.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield module, node


def lines(function: ast.FunctionDef) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


def takes_a_config(function: ast.FunctionDef) -> bool:
    arguments = [*function.args.args, *function.args.kwonlyargs]
    kinds = [ast.unparse(a.annotation) for a in arguments if a.annotation is not None]
    return any(a.arg == "config" for a in arguments) or any("ConfigDict" in kind for kind in kinds)


def test_functions_are_short():
    lengths = [lines(function) for _, function in functions()]
    assert sum(length > LONG for length in lengths) <= MOST_LONG
    assert sum(length > LONGER for length in lengths) <= MOST_LONGER


def test_few_functions_take_a_config():
    modules = [module for module, function in functions() if takes_a_config(function)]
    assert len(modules) <= MOST_READERS
    assert len(set(modules)) <= MOST_READING_MODULES


def test_no_module_is_imported_by_its_own_imports():
    """Inner imports count too, except for those of the package's top, which load what a user asks for."""
    modules = {f"nge_jax.{name}".removesuffix(".__init__"): name for name in PATHS}
    graph = {
        name: {m for n in imported_names(name) for m in (n, n.rpartition(".")[0]) if m in modules}
        for name in modules.values()
        if "." in name and not name.endswith("__init__")
    }
    below = {name: {modules[m] for m in others} & graph.keys() for name, others in graph.items()}
    while free := {name for name, others in below.items() if not others}:
        below = {name: others - free for name, others in below.items() if name not in free}
    assert not below, f"these import each other: {', '.join(sorted(below))}"
