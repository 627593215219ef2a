"""The import rules: which part of the package may import which, and what an import may not do."""

import ast
import re
import sys
from collections import Counter

import pytest

from tests.conftest import ROOT
from tests.helpers.package import PATHS, imported_names

# Each line may import itself and the lines below it.
LAYERS = [
    {"__init__", "__main__", "api", "cli", "commands", "main", "shell"},
    {"predict", "export", "measure", "testing"},
    {"study"},
    {"segment", "trials"},
    {"train", "search"},
    {"data", "report", "cost", "latency", "strategies"},
    {"runtime", "networks", "supernet", "embedding"},
    {"console"},
    {"workdir"},
    {"devices"},
    {"settings"},
    {"space", "kernels", "optim", "metrics", "errors", "files", "version", "text"},
]
APART = [
    {"search", "train"},
    {"search", "segment"},
    {"segment", "trials"},
    {"embedding", "supernet", "networks"},
]
# These import no more than this from the package, although the layers allow more, and from its dependencies.
ONLY = {
    "report": (
        "workdir.artifacts",
        "workdir.recorded",
        "settings",
        "space",
        "errors",
        "files",
        "text",
        "workdir.names",
    ),
    "kernels": (),
}
LIBRARIES = {"kernels": {"jax", "numpy"}}
# These see a config: files of a task's folder, these modules, and the commands.
CONFIG_FILES = {"runner", "build", "checks", "images"}
CONFIG_MODULES = {
    "train.model",
    "settings.configs",
    "settings.checks",
    "settings.compose",
    "workdir.recorded",
    "runtime.task",
    "data.choose",
}

# Violations that are still there, each to go: (module, imported name).
KNOWN: set[tuple[str, str]] = set()

RANKS = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}


def is_allowed(module, name):
    part, package = module.split(".")[0], name.split(".")[0]
    if package == "ml_collections":
        is_reader = module in CONFIG_MODULES or module.split(".")[-1] in CONFIG_FILES
        return is_reader or part in LAYERS[0]
    if package != "nge_jax":
        libraries = LIBRARIES.get(part)
        return libraries is None or package in libraries | sys.stdlib_module_names
    other = name.split(".")[1]
    if other == part:
        return True
    if other not in RANKS:  # a name of the public API, which is for users
        return part in LAYERS[0]
    if any({part, other} <= parts for parts in APART) or RANKS[part] > RANKS[other]:
        return False
    only = ONLY.get(part)
    return only is None or name.removeprefix("nge_jax.").startswith(only)


def test_every_import_goes_downwards():
    assert {module.split(".")[0] for module in PATHS} <= RANKS.keys(), "a part without a layer"
    violations = {
        (module, name)
        for module in PATHS
        for name in imported_names(module)
        if not is_allowed(module, name)
    }
    assert violations <= KNOWN, sorted(violations - KNOWN)
    assert violations >= KNOWN, f"gone, to be taken off the list: {sorted(KNOWN - violations)}"


def test_tests_share_by_the_helpers_alone():
    """A test module that another imports is collected with it, and moves with difficulty."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("tests."):
                shared = node.module.startswith(("tests.helpers", "tests.conftest"))
                assert shared, f"{path.relative_to(ROOT)} imports from {node.module}"


@pytest.mark.parametrize(
    "module, name",
    [
        ("space.genotype", "nge_jax.embedding.edge_model"),
        ("embedding", "nge_jax.supernet.model"),
        ("search.runner", "nge_jax.train.step"),
        ("segment.runner", "nge_jax.search.runner"),
        ("report.run", "nge_jax.workdir.folder"),
        ("kernels.pooling", "nge_jax.space.spaces"),
        ("kernels.pooling", "flax.linen"),
        ("train.step", "ml_collections.ConfigDict"),
        ("runtime.loop", "nge_jax.data.source"),
        ("settings.checks", "nge_jax.workdir.artifacts"),
        ("workdir.folder", "nge_jax.console.banner"),
    ],
)
def test_the_rules_refuse(module, name):
    assert not is_allowed(module, name)


def test_no_import_starts_a_backend(python):
    """A backend that has started keeps processes from joining, and hides devices that a flag would give."""
    names = [f"nge_jax.{module}".removesuffix(".__init__") for module in PATHS]
    code = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    from jax._src import xla_bridge
    assert not xla_bridge._backends, f"importing {name} starts an XLA backend"
"""
    done = python("-c", code, *(name for name in names if not name.endswith("__main__")))
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_neither_tensorflow_nor_a_backend(python):
    code = """
import sys
import nge_jax
assert "tensorflow" not in sys.modules
if "jax" in sys.modules:
    from jax._src import xla_bridge
    assert not xla_bridge._backends
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


MOST_FILES = 12  # the most files in a folder; the report is the exception
LARGER = {"report"}


def test_a_folder_has_at_most_a_dozen_files():
    folders = Counter(path.parent for path in PATHS.values())
    root = ROOT / "nge_jax"
    crowded = {str(f.relative_to(root)): n for f, n in folders.items() if n > MOST_FILES}
    assert crowded.keys() <= LARGER, crowded


# These load what a user names.
LOADERS = ("main", "runtime.runners", "space.parts.modules")


def test_a_package_module_is_imported_by_an_import():
    """`importlib` hides what a module imports from the rules above."""
    loaders = {
        module
        for module, path in PATHS.items()
        if re.search(r"import_module\(", path.read_text()) and module not in LOADERS
    }
    assert not loaders, loaders


def test_tests_import_tensorflow_by_the_package():
    """TensorFlow reads how much it says at its first import, and tests of a process share that import."""
    libraries = re.compile(r"^ +(?:from|import) (?:tensorflow\w*|\S+event_accumulator)\b", re.M)
    texts = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    importing = {path: text for path, text in texts.items() if libraries.search(text)}
    assert importing
    assert not [str(path) for path, text in importing.items() if "host_tf.tensorflow()" not in text]
