"""Every config file is complete: it loads, keeps its promises, and has no key that nothing reads."""

import ast
import functools
import itertools
import re
import types

import pytest
from ml_collections import ConfigDict

import nge_jax
from nge_jax import main
from nge_jax.errors import InputError
from nge_jax.search import build as search_build
from nge_jax.settings import checks, configs
from nge_jax.settings.checks import check_complete, check_keys
from nge_jax.settings.configs import find_config, load_config
from nge_jax.settings.configs import load_module as load
from nge_jax.settings.key import COUNT
from nge_jax.space.genotype import load as load_genotype
from nge_jax.train import build as train_build
from tests.conftest import ROOT

FILES = sorted((ROOT / "configs").glob("*.py"))


# `search.parts` hands on all numbers of the groups by which a search learns and mixes, and `config.search[key]` is read
# in a loop.
LEARNERS = {
    f"config.{group}"
    for group in ("embedding", "reinforce", "evolution", "sigmoid", "dirichlet", "concrete")
}
# `train.model` reads all limits by their names, and `optim` the optimizer of the weights and all its numbers.
WHOLE = {
    "dict(config.limits)": "config.limits",
    "optim.weight_numbers(config.weights)": "config.weights",
}
GET = re.compile(r"(config\.\w+)\.get\('(\w+)'")
IN_A_LOOP = {"config.search.seeds", "config.search.edge_models", "config.search.cost_weights"}


def keys_read_by(code):
    """(chains such as config.a.b, groups handed on whole as **config.a) of code, not of its strings.

    `config.a.get("b")` is a chain, too.
    """
    chains, groups = set(), set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            chains.add(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg is None:
            groups.add(ast.unparse(node.value))
        if isinstance(node, ast.Call) and ast.unparse(node) == "_divide_group(name, values)":
            groups |= LEARNERS
        if isinstance(node, ast.Call) and (group := WHOLE.get(ast.unparse(node))):
            groups.add(group)
        if isinstance(node, ast.Subscript) and ast.unparse(node) == "config.search[key]":
            chains |= IN_A_LOOP
        if isinstance(node, ast.Call) and (match := GET.match(ast.unparse(node))):
            chains.add(f"{match[1]}.{match[2]}")
    return chains, groups


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_key_is_read_by_the_program(path):
    chains, groups = set(), set()
    for file in (ROOT / "nge_jax").rglob("*.py"):
        more_chains, more_groups = keys_read_by(file.read_text())
        chains, groups = chains | more_chains, groups | more_groups
    unread = [
        key
        for key in configs.flatten(load(path).get_config().to_dict())
        if f"config.{key}" not in chains and f"config.{key}".rpartition(".")[0] not in groups
    ]
    assert not unread, f"keys of {path.name} that nothing in nge_jax reads: {', '.join(unread)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_docstring_gives_the_command_and_the_device(path):
    text = load(path).__doc__
    task = load(path).get_config().task
    command = f"  nge {task} {path.stem} +or: python -m nge_jax.main --config=configs/{path.name}\n"
    assert re.search(command, text)
    assert re.search(r"CPU|GPU", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_unknown_variant_is_refused_in_one_line(path):
    with pytest.raises(ValueError, match=rf"^{path.name}: unknown variant 'nonsense'") as error:
        load(path).get_config("nonsense")
    assert "\n" not in str(error.value)


def test_configs_are_short():
    lines = {path.name: len(path.read_text().splitlines()) for path in FILES}
    assert max(lines.values()) <= 60 and sum(lines.values()) <= 700, lines


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
        "rate": "absolute",
        "decay": "coupled",
        "classifier": "shared",
        "norm": "none",
        "start": "random",
        "residual": "none",
    }
    assert config.search.keep_best_below == 0


@pytest.mark.parametrize("model", ["alpha", "plain", "rnn"])
def test_a_variant_changes_the_edge_model_and_nothing_else(model):
    get_config = load(ROOT / "configs" / "search_cifar.py").get_config
    base = configs.flatten(get_config().to_dict())
    variant = configs.flatten(get_config(model).to_dict())
    changed = {key: variant[key] for key in base if base[key] != variant[key]}
    assert base.keys() == variant.keys() and changed == {"search.edge_model": model}
    both = configs.flatten(get_config(f"small,{model}").to_dict())
    small = configs.flatten(get_config("small").to_dict())
    assert both == small | changed
    assert configs.flatten(get_config("nge").to_dict()) == base


@pytest.mark.parametrize("strategy", ["reinforce", "evolution", "random"])
def test_words_may_stand_in_any_order_and_each_means_the_same(strategy):
    get_config = load(ROOT / "configs" / "search_cifar.py").get_config
    base, small = (configs.flatten(get_config(words).to_dict()) for words in ("", "small"))
    chosen = {"search.strategy": strategy}
    assert configs.flatten(get_config(strategy).to_dict()) == base | chosen
    for words in (f"{strategy},rnn,small", f"small,{strategy},rnn", f"rnn,small,{strategy}"):
        found = configs.flatten(get_config(words).to_dict())
        assert found == small | chosen | {"search.edge_model": "rnn"}
    with pytest.raises(ValueError, match="names two of gradient, reinforce, evolution, random"):
        get_config(f"{strategy},gradient")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variant_is_a_table_of_differences(path):
    module = load(path)
    ways = [word for table in getattr(module, "WAYS", ()) for word in table]
    for table in module.VARIANTS:
        for word, differences in table.items():
            # A word that says how to search replaces the way that the config takes without such a word.
            base = configs.flatten(module.get_config("gradient" * (word in ways)).to_dict())
            variant = configs.flatten(module.get_config(word).to_dict())
            fitted = {}
            if word == "gumbel" and variant["search.edge_model"] != "alpha":
                fitted = {"embedding.learning_rate": 3.75e-5, "embedding.weight_decay": 0.0}
            if word == "sigmoid":  # P has no entropy
                fitted = {"search.entropy_weight": 0.0}
            assert variant == base | differences | fitted, word
        for two in itertools.combinations(table, 2):
            with pytest.raises(InputError, match=f"names two of {', '.join(table)}"):
                module.get_config(",".join(two))


@pytest.mark.parametrize("name", ["cifar", "folder", "imagenet", "nas_bench_201"])
def test_drawn_operations_slow_an_embedding_that_edges_share(name):
    get_config = load(ROOT / "configs" / f"search_{name}.py").get_config
    for words in ("rnn", "alpha", "nge,smoke", "plain,smoke"):
        embedding = get_config(words).embedding.to_dict()
        slow = {"learning_rate": embedding["learning_rate"] / 16, "weight_decay": 0.0}
        is_free = get_config(words).search.edge_model == "alpha"
        drawn = embedding if is_free else embedding | slow
        assert get_config(f"gumbel,{words}").embedding.to_dict() == drawn


def test_cifar100_differs_from_cifar10_by_two_keys():
    ten, hundred = (
        configs.flatten(load_config(f"train_cifar{classes}").to_dict()) for classes in (10, 100)
    )
    changed = {key: hundred[key] for key in ten if ten[key] != hundred[key]}
    assert ten.keys() == hundred.keys()
    assert changed == {"data.name": "cifar100", "weights.weight_decay": 5e-4}


def test_a_config_is_found_by_name_and_by_file_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = ROOT / "configs" / "search_cifar.py"
    for name in ("search_cifar", "search_cifar.py", "configs/search_cifar.py", str(shipped)):
        assert find_config(name) == shipped
    (tmp_path / "search_cifar.py").write_text(
        ""
    )  # a file that is there comes first, a name is a name
    assert find_config("search_cifar.py").resolve() == tmp_path / "search_cifar.py"
    assert find_config("search_cifar") == shipped
    with pytest.raises(InputError, match="no such file, and no config has this name"):
        find_config("x" * 300)  # no file's name is as long
    for name in ("others/search_cifar.py", "search_cifra"):
        with pytest.raises(InputError, match="no such file, .*did you mean search_cifar"):
            find_config(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "mine.py: found no get_config, expected a function"),
        ("get_config = lambda: {}", "mine.py: get_config returns dict, expected a ConfigDict"),
        ("\ndef get_config():\n    return nothing", "mine.py, line 3: NameError: .*nothing"),
        ("def get_config(:", "mine.py, line 1: SyntaxError"),
    ],
)
def test_a_file_that_is_no_config_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_config(tmp_path / "mine.py")
    assert "\n" not in str(error.value)


def test_what_a_run_recorded_is_no_config(tmp_path):
    for name in ("config.json", "config.txt", "config"):
        (tmp_path / name).write_text("1 / 0")  # never run
    for path in (tmp_path, *tmp_path.iterdir()):
        with pytest.raises(InputError, match="expected the name or the .py file of a config"):
            load_config(path)


def test_a_config_may_be_written_by_hand(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config(words):\n"
        f"    config = ConfigDict({load_config('train_digits').to_dict()!r})\n"
        "    config.note = words\n"  # a key of the user's own
        "    return config\n"
    )
    config = load_config(tmp_path / "mine.py", "anything")
    check_complete(config, "train")
    assert config.note == "anything"


MINE = """
from nge_jax.settings.compose import Stated, make_config
def get_config(words=""):
    settings = {"task": "train", "data.name": "digits", "train.epochs": Stated(3, "few")}
    return make_config(settings | {CHANGED}, words, ({"wide": {"network.channels": 64}},), __file__)
"""


def test_a_config_states_what_differs_from_the_defaults(tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace("CHANGED", "'train.decay': 'linear'"))
    base = configs.flatten(load_config("train_cifar10").to_dict())
    stated = {"data.name": "digits", "train.epochs": 3, "train.decay": "linear"}
    for words, differences in (("", {}), ("wide", {"network.channels": 64})):
        values = configs.flatten(load_config(tmp_path / "mine.py", words).to_dict())
        assert values == base | stated | differences


@pytest.mark.parametrize(
    "changed, message",
    [
        ("'train.epoch': 3", "train.epoch: no such key .* train with small images, did you mean train.epochs"),
        ("'data.jitter': 3", "data.jitter: no such key .* small images, a key of trainings with photographs or user"),
        ("'task': 'trian'", "task: found 'trian', expected one of search, train, segment"),
    ],
)  # fmt: skip
def test_a_config_that_states_a_wrong_key_is_refused_in_one_line(tmp_path, changed, message):
    (tmp_path / "mine.py").write_text(MINE.replace("{CHANGED}", f"{{{changed}}}"))
    with pytest.raises(InputError, match=rf"mine\.py: {message}") as refused:
        load_config(tmp_path / "mine.py")
    assert "\n" not in str(refused.value)


def test_missing_keys_and_values_of_another_type_are_named():
    values = configs.flatten(load_config("train_digits").to_dict())
    check_keys(values)
    missing = {"data.pad", "data.cutout", "train.decay", "train.epochs", "run.keep_checkpoints"}
    listed = r"^config\.data\.pad, .*, config\.train\.decay and 1 other: missing, expected as in train_cifar10\.py$"
    with pytest.raises(InputError, match=listed):
        check_keys({name: value for name, value in values.items() if name not in missing})
    with pytest.raises(
        InputError, match=r"config\.train\.epochs: found '3', expected an integer such as 600$"
    ):
        check_keys(values | {"train.epochs": "3"})
    unshipped = {"task": "search", "data.name": "folder:x", "search.space": "nas_bench_201"}
    with pytest.raises(
        InputError,
        match=r"^config\.seed, .* others: missing, expected values such as 0, '', 4, True$",
    ):
        check_keys(unshipped)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_config_without_one_of_its_keys_is_refused_by_its_name(path):
    whole = load(path).get_config()
    for key in configs.flatten(whole.to_dict()):
        config = whole.copy_and_resolve_references()
        *groups, last = key.split(".")
        group = functools.reduce(ConfigDict.__getitem__, groups, config)
        del group[last]
        with pytest.raises(InputError, match=rf"^config\.{re.escape(key)}: ") as error:
            check_complete(config, whole.task)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", ["search", "train", "segment"])
def test_the_python_api_refuses_what_is_no_config_of_the_task(task, tmp_path):
    runner, path = getattr(nge_jax, task), tmp_path / "run"
    first = {"search": "search_cifar", "train": "train_cifar10", "segment": "segment_voc"}
    whole = load_config(first[task])
    without = whole.copy_and_resolve_references().unlock()
    del without.run.keep_checkpoints
    other = load_config(first["train" if task == "search" else "search"])
    for config, message in (
        (without, r"^config\.run\.keep_checkpoints: missing, expected as in "),
        (ConfigDict({"task": task}), r"^config\.\S+, .* and \d+ others: missing"),
        (ConfigDict({"task": task, "data": 3, "search": None}), r"^config\.\S+, .*: missing"),
        (ConfigDict({"task": task, "data": {"name": [1]}}), r"^config\.\S+, .*: missing"),
        (other, rf"^config\.task: found '{other.task}', expected '{task}'"),
        (ConfigDict(), rf"^config\.task: found None, expected '{task}'"),
        (whole.to_dict(), "^config: found dict, expected a ConfigDict"),
    ):
        with pytest.raises(InputError, match=message):
            runner.run(config, path)
        with pytest.raises(InputError, match=message):
            runner.summary(config)
    assert not path.exists()


def test_more_steps_than_are_counted_are_refused():
    check_steps = checks.check_steps
    check_steps("train.epochs", 1, COUNT)
    check_steps("train.epochs", COUNT // 12, 12)
    message = (
        "found 178,956,971, expected at most 178,956,970 of 12 steps each: .* to 2,147,483,647$"
    )
    with pytest.raises(InputError, match=rf"^config\.train\.epochs: {message}"):
        check_steps("train.epochs", COUNT // 12 + 1, 12)


def test_a_training_and_a_search_of_too_many_steps_are_refused_before_any_array():
    images = types.SimpleNamespace(
        train_images=range(50_000),
        train_labels=range(50_000),
        examples={"train": 50_000},
        mean=(0.5,),
        std=(0.5,),
    )
    training, search = load_config("train_cifar10"), load_config("search_cifar")
    training.train.epochs, training.train.batch_size = 1_000_000, 1
    with pytest.raises(InputError, match=r"^config\.train\.epochs: found 1,000,000, .* 42,949 of"):
        train_build.build(training, images, load_genotype("DARTS_V2"))
    search.search.epochs, search.search.batch_size = 100_000, 1
    with pytest.raises(InputError, match=r"^config\.search\.epochs: found 100,000, .* 42,949 of"):
        search_build.build(search, images)


@pytest.mark.parametrize("name", ["train_imagenet", "search_imagenet"])
def test_a_summary_needs_no_prepared_set(name, tmp_path):
    config = load_config(name)
    config.data.dir, config.network.cells = str(tmp_path), 3
    if config.task == "train":
        config.genotype = "DARTS_V2"
    lines = getattr(nge_jax, config.task).summary(config).splitlines()
    classifier = next(line for line in lines if line.startswith("classifier")).split()
    assert int(classifier[-2].replace(",", "")) % 1000 == 0  # numbers of each of 1,000 classes
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, keys, message",
    [
        ("search_digits:gradient", {"search.strategy": "nosuch"}, "search.strategy: found 'nosuch', expected"),
        ("search_digits:gradient", {"search.space": "nosuch"}, "search.space: found 'nosuch', expected"),
        ("search_digits:gradient", {"search.order": 2}, "search.order: found 2, expected"),
        ("search_digits", {"limits.milliseconds": 3.0}, "limits.latency_table: found none, expected a CSV"),
        *(
            (name, {"limits.milliseconds": 3.0, "limits.latency_table": "no.csv"}, "limits.latency_table: no.csv: c")
            for name in ("search_digits", "search_digits:gradient")
        ),
        ("search_digits", {"limits.parameters": 9}, "limits.parameters: found 9, expected at least"),
        ("train_digits", {"train.patience": 3}, "train.patience: found 3, expected 0 without held-out images"),
        ("train_digits", {"limits.parameters": 9}, "genotype: found a network of"),
    ],
)  # fmt: skip
def test_a_summary_refuses_what_a_run_would(name, keys, message):
    config = load_config(*name.split(":"))
    config.update_from_flattened_dict(keys)
    with pytest.raises(InputError, match=f"^{re.escape(f'config.{message}')}"):
        getattr(nge_jax, config.task).summary(config)


@pytest.mark.parametrize(
    "words, first", [("smoke", "random:0"), ("gradient,smoke", "the supernet")]
)
def test_python_and_the_command_summarize_the_same_network(words, first, capsys, tmp_path):
    config = load_config("search_digits", words)
    text = nge_jax.search.summary(config)
    assert text.startswith(f"{first} on digits")
    main.run_task(config, tmp_path / "w", summary=True)
    assert capsys.readouterr().out.startswith(text)
