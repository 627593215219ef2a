"""The modules of the package, and the names that they import."""

import ast
from collections.abc import Iterator

from tests.conftest import ROOT

# Files by the names of modules, such as "search.runner".
PATHS = {
    ".".join(path.relative_to(ROOT / "nge_jax").with_suffix("").parts): path
    for path in sorted((ROOT / "nge_jax").rglob("*.py"))
}


def imported_names(module: str) -> Iterator[str]:
    """Yields everything that a module imports, anywhere in it, as "package.module.name"."""
    for node in ast.walk(ast.parse(PATHS[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import hides what it imports"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
