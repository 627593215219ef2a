"""The rows of all keys: each is declared once, fits the configs and the code, and refuses wrong values in one line."""

import ast
import itertools
import statistics

import jax.numpy as jnp
import pytest

from nge_jax import main, optim
from nge_jax.data import small, user_images
from nge_jax.embedding import model as embedding
from nge_jax.errors import InputError
from nge_jax.search import makers as search_makers
from nge_jax.search.parts import outside
from nge_jax.settings import checks, help, keys
from nge_jax.settings import configs as run_config
from nge_jax.settings.configs import (
    flatten,
    load_config,
    load_module,
    shipped_configs,
    to_values,
)
from nge_jax.settings.key import KINDS, SMALL, USER, Key, Limits
from nge_jax.space import spaces
from nge_jax.train import build as train_build
from tests.conftest import ROOT

CONFIGS = {
    (name, word): flatten(load_config(name, word).to_dict())
    for name, file in shipped_configs().items()
    for word in ("", *(word for table in load_module(file).VARIANTS for word in table))
}
ROW_FILES = {f"nge_jax/settings/{name}.py" for name in ("shared", "search", "train", "segment")}


def test_every_config_has_the_keys_of_its_rows_in_their_order():
    for name in shipped_configs():
        values = flatten(to_values(load_config(name)))
        assert [*keys.keys_of(values)] == [*values], name
    had = {name for values in CONFIGS.values() for name in values}
    assert {key.name for key in keys.KEYS} == had


def test_every_shipped_value_is_allowed_and_has_the_type_of_its_row():
    for name, values in CONFIGS.items():
        keys.check(values)
        for key in keys.keys_of(values).values():
            assert type(values[key.name]) is type(key.default), (name, key.name)


def test_a_row_says_what_a_reader_needs():
    named = set()
    for task in KINDS:
        for key in (key.resolve(task, SMALL) for key in keys.KEYS if task in key.tasks):
            places = {(task, kind, key.name) for kind in key.kinds_at(task)}
            assert not places & named, "declared twice"
            named |= places
            assert key.group in keys.GROUPS and key.about.endswith("."), key.name
            if isinstance(key.default, int | float) and not isinstance(key.default, bool):
                assert key.allowed is not None, f"{key.name} has no limits"
            if key.by_data:
                key.resolve(task, USER).check(() if isinstance(key.default, tuple) else 0)
            else:
                key.check(key.default)


# Each key is declared once


def declared_names(tree):
    """Names of keys in the tables of a module: the texts outside of its functions."""
    names, functions = {key.name for key in keys.KEYS}, (ast.FunctionDef, ast.Lambda)
    inner = [f for f in ast.walk(tree) if isinstance(f, functions)]
    inside = {id(node) for function in inner for node in ast.walk(function)}
    texts = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in inside)
    return {node.value for node in texts if node.value in names}


def test_a_key_is_declared_in_one_file_of_the_package():
    """A newcomer adds a key by its row and by the place that uses its value."""
    files = {key.name: set() for key in keys.KEYS if key.group}
    for path in (ROOT / "nge_jax").rglob("*.py"):
        for name in declared_names(ast.parse(path.read_text())):
            if name in files:
                files[name].add(path.relative_to(ROOT).as_posix())
    for name, places in files.items():
        assert len(places & ROW_FILES) == 1, (name, places)
    # A trained network is read back by these keys.
    elsewhere = {name: places - ROW_FILES for name, places in files.items() if places - ROW_FILES}
    recorded = {"nge_jax/workdir/recorded.py"}
    names = ("run.keep_checkpoints", "train.auxiliary_weight", "train.patience")
    assert elsewhere == dict.fromkeys(names, recorded)
    assert statistics.median(map(len, files.values())) == 1


def test_a_row_alone_makes_a_key_of_configs_checks_help_page_and_older_runs(monkeypatch):
    row = Key("search.patience", 7, Limits(int, 1, 9), "a test", "Epochs to wait.", since="9.9")
    rows = (*keys.KEYS, row._replace(tasks=("search",)))
    monkeypatch.setattr(keys, "KEYS", rows)
    keys.keys_at.cache_clear()
    try:
        config = load_config("search_digits", "smoke")
        assert config.search.patience == 7
        checks.check_complete(config, "search")
        config.search.patience = 10
        with pytest.raises(
            InputError, match=r"^config\.search\.patience: found 10, expected at most 9"
        ):
            checks.check_complete(config, "search")
        assert (
            "search.patience=7                       Epochs to wait. (a test)"
            in help.describe_config("search_cifar")
        )
        assert (
            "| `search.patience` | search | `7` | integer, 1 or more and at most 9 | Epochs to wait."
            in help.page()
        )
        assert keys.younger(flatten(config.to_dict()))["search.patience"] == 7
        assert keys.changes_result("search", "search.patience")
    finally:
        keys.keys_at.cache_clear()


def test_the_document_is_made_of_the_rows():
    assert (ROOT / "docs" / "keys.md").read_text() == help.page(), (
        "python -m nge_jax.settings.help > docs/keys.md"
    )


# Choices are those of the code


def choices(task, name):
    return keys.find(task, name).choices


def compared_with(path):
    """Texts with which a file compares something."""
    tree = ast.parse((ROOT / "nge_jax" / path).read_text())
    comparisons = (node for node in ast.walk(tree) if isinstance(node, ast.Compare))
    return {
        c.value for node in comparisons for c in node.comparators if isinstance(c, ast.Constant)
    }


def test_the_code_offers_each_choice():
    for model, adjacency in itertools.product(
        choices("search", "search.edge_model"), choices("search", "search.adjacency")
    ):
        assert embedding.edge_model(model, adjacency).name == model
    assert choices("search", "search.edge_models") == choices("search", "search.edge_model")
    first, *others = choices("search", "search.strategy")
    assert first == "gradient" and [*search_makers.STRATEGIES] == others
    first, *others = choices("search", "search.relaxation")
    in_code = compared_with("search/makers.py") | {*outside.RULES}
    assert first == "softmax" and in_code >= set(others)
    assert choices("search", "search.space") == tuple(spaces.SPACES)
    assert choices("train", "train.decay") == tuple(train_build.DECAYS)
    assert choices("train", "weights.optimizer") == tuple(optim.WEIGHT_OPTIMIZERS)
    for name in choices("search", "network.dtype"):
        assert jnp.dtype(name).name == name
    assert {user_images.has_large_stem(stem, 96) for stem in choices("train", "network.stem")} == {
        True,
        False,
    }
    assert tuple(small.NUM_CLASSES) == keys.SMALL_NAMES


# Refusals


def wrong_values(key, value):
    """Values that a key does not allow, in place of one that it allows."""
    if not isinstance(key.allowed, Limits):
        several = isinstance(key.default, tuple)
        wrong = ["", "no such name", 7.5] if key.choices else []
        return [(name,) for name in wrong] if several else wrong
    limit = key.allowed
    over = [limit.least - 1, limit.most * 10 + 1, -(10**400), 10**400]
    if limit.kind is float:
        over += [float("nan"), float("inf"), -float("inf")]
        over += [float(limit.least)] * limit.above + [float(limit.most)] * limit.below
    else:
        over += [1.5]
    if limit.multiple > 1:
        over += [limit.least + 1]
    over += ["3", None, True, [], {}]
    if limit.length is None:
        return [*over, (1,)]
    fewest, most = limit.length
    value = value or (limit.least,)
    several = [(*value[:-1], bad) for bad in over]
    several += [value[0], "abc", value * (most + 1)]
    return several + [()] * (fewest > 0) + [value[:-1]] * (fewest == len(value))


def test_every_wrong_value_of_every_key_is_one_line():
    tried = 0
    for values in CONFIGS.values():
        for name, key in keys.keys_of(values).items():
            for wrong in wrong_values(key, values[name]):
                with pytest.raises(InputError) as refused:
                    keys.check(values | {name: wrong} if name != "task" else values | {"seed": -1})
                assert str(refused.value).startswith(("config.seed", f"config.{name}: found ")), (
                    name,
                    wrong,
                )
                assert len(str(refused.value)) < 300 and "\n" not in str(refused.value)
                tried += 1
    assert tried > 1000


@pytest.mark.parametrize(
    "config, setting, message",
    [
        ("train_cifar10", "seed=-1", "config.seed: found -1, expected 0 or more"),
        ("train_cifar10", f"seed={2**64}", "config.seed: found 18446744073709551616, expected at most 4,2"),
        ("train_cifar10", "weights.learning_rate=nan", "found nan, expected 0 or more"),
        ("train_cifar10", "weights.learning_rate=-0.1", "found -0.1, expected 0 or more"),
        ("train_cifar10", "weights.momentum=2", "found 2.0, expected 0 or more and less than 1"),
        ("train_cifar10", "weights.clip_norm=0", "config.weights.clip_norm: found 0.0, expected more than 0"),
        ("train_cifar10", "data.cutout=-3", "config.data.cutout: found -3, expected 0 or more"),
        ("train_cifar10", "train.decay=line", "config.train.decay: found 'line', expected one of cosine, linear"),
        ("train_cifar10", "data.image_size=24", "found 24, expected one of 0, 16, 32"),
        ("train_imagenet", "data.image_size=100", "found 100, expected a multiple of 32, "),
        ("train_imagenet", "data.jitter=(0.4,)", "found (0.4,), expected 4 numbers, each 0 or more"),
        ("train_imagenet", "data.jitter=(0.4,0.4,0.4,0.6)", "found 0.6 as the strength of hue"),
        ("train_folder", "data.mean=(a,b,c)", "found ('a', 'b', 'c'), expected 0 to 3 numbers"),
        ("segment_voc", "network.rates=abc", "config.network.rates: found"),
        ("segment_voc", "network.output_stride=12", "found 12, expected one of 8, 16, 32"),
        ("search_cifar", "network.cells=1000000000", "found 1000000000, expected at most 200"),
        ("search_cifar", "network.channels=3", "found 3, expected a multiple of 2, "),
        ("search_cifar", "data.train_fraction=nan", "found nan, expected more than 0 and less than 1"),
        ("search_cifar", "data.name=folder:/x", "found 'folder:/x', expected one of cifar10, cifar100"),
        ("search_cifar", "search.epochs=0", "config.search.epochs: found 0, expected 1 or more"),
        ("search_folder", "data.name=digits", "config.search.batch_size: found 0, expected 1 or more"),
        ("train_cifar10", "data.name=folder:/x", "found 'folder:/x', expected one of cifar10, cifar100"),
        ("train_imagenet", "data.name=cifar10", "found 'cifar10', expected a set of photographs"),
        ("train_folder", "data.name=digits", "found 'digits', expected folder:DIR, npz:FILE or a set of TFDS"),
        ("train_imagenet", "run.steps_per_dispatch=1000000", "the images of a dispatch would take"),
    ],
)  # fmt: skip
def test_what_was_taken_in_silence_is_refused(tmp_path, config, setting, message):
    with pytest.raises(InputError) as refused:
        settings = [f"--config.{setting}"]
        main.run_task(run_config.read_config(config, settings), tmp_path / "w", summary=False)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "w").exists()


def test_padding_stays_within_the_image():
    checks.check_padding(8, (8, 8, 1))
    with pytest.raises(
        InputError, match=r"config.data.pad: found 9, expected at most the 8 pixels"
    ):
        checks.check_padding(9, (8, 8, 1))
