"""Every config file is complete: it loads, keeps its promises, and has no key that nothing reads."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from nge_jax.runtime import config as config_checks

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs").glob("*.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def keys_read_by(code):
    """(chains such as config.a.b, groups handed on whole as **config.a) of code, not of its strings."""
    chains, groups = set(), set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            chains.add(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg is None:
            groups.add(ast.unparse(node.value))
    return chains, groups


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_key_is_read_by_the_program(path):
    chains, groups = set(), set()
    for file in (ROOT / "nge_jax").rglob("*.py"):
        more_chains, more_groups = keys_read_by(file.read_text())
        chains, groups = chains | more_chains, groups | more_groups
    unread = [
        key
        for key in config_checks.flatten(load(path).get_config().to_dict())
        if f"config.{key}" not in chains and f"config.{key}".rpartition(".")[0] not in groups
    ]
    assert not unread, f"keys of {path.name} that nothing in nge_jax reads: {', '.join(unread)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_docstring_gives_the_command_and_the_device(path):
    text = load(path).__doc__
    assert f"python -m nge_jax.main --config=configs/{path.name}\n" in text
    assert re.search(r"CPU|GPU", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_unknown_variant_is_refused_in_one_line(path):
    with pytest.raises(ValueError, match=rf"^{path.name}: unknown variant 'nonsense'") as error:
        load(path).get_config("nonsense")
    assert "\n" not in str(error.value)


def test_search_cifar_holds_the_papers_settings():
    config = load(ROOT / "configs" / "search_cifar.py").get_config()
    assert (config.network.channels, config.network.cells) == (16, 8)
    assert (config.search.epochs, config.data.train_fraction) == (25, 0.5)
    assert config.weights.to_dict() == {
        "learning_rate": 0.025,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "clip_norm": 5.0,
    }
    assert config.embedding.to_dict() == {
        "learning_rate": 6e-4,
        "weight_decay": 1e-3,
        "b1": 0.5,
        "b2": 0.999,
    }


@pytest.mark.parametrize("model", ["alpha", "plain", "rnn"])
def test_a_variant_changes_the_edge_model_and_nothing_else(model):
    get_config = load(ROOT / "configs" / "search_cifar.py").get_config
    base = config_checks.flatten(get_config().to_dict())
    variant = config_checks.flatten(get_config(model).to_dict())
    changed = {key: variant[key] for key in base if base[key] != variant[key]}
    assert base.keys() == variant.keys() and changed == {"search.edge_model": model}
    both = config_checks.flatten(get_config(f"small,{model}").to_dict())
    small = config_checks.flatten(get_config("small").to_dict())
    assert both == small | changed
    assert config_checks.flatten(get_config("nge").to_dict()) == base


@pytest.mark.parametrize("strategy", ["reinforce", "evolution", "random"])
def test_words_may_stand_in_any_order_and_each_means_the_same(strategy):
    get_config = load(ROOT / "configs" / "search_cifar.py").get_config
    base, small = (config_checks.flatten(get_config(words).to_dict()) for words in ("", "small"))
    chosen = {"search.strategy": strategy}
    assert config_checks.flatten(get_config(strategy).to_dict()) == base | chosen
    for words in (f"{strategy},rnn,small", f"small,{strategy},rnn", f"rnn,small,{strategy}"):
        found = config_checks.flatten(get_config(words).to_dict())
        assert found == small | chosen | {"search.edge_model": "rnn"}
    with pytest.raises(ValueError, match="names two of gradient, reinforce, evolution, random"):
        get_config(f"{strategy},gradient")
