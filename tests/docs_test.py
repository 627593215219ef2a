"""README and docs: every command parses, every internal link leads somewhere, the README stays short."""

import argparse
import re
import shlex

import pytest

from nge_jax import cli
from nge_jax.errors import InputError
from nge_jax.settings.configs import find_config, flatten, load_config, read_config
from nge_jax.study.settings import divide
from tests.conftest import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
STARTS = ("nge ", "python -m nge_jax", "python experiments/")


def commands(page):
    """Every command in a page's code, with lines that end in a backslash joined."""
    text = page.read_text().replace("\\\n", " ")
    spans = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for span in spans for line in re.split(r"&&|\n", span)]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in lines:
        line = line.strip()
        if line.startswith(STARTS) and not re.search(r"[A-Z]{3,} \[|\[KEY|\|| --help", line):
            yield shlex.split(line, comments=True)


COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


def headings(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def check_keys(config, keys):
    known = flatten(config.to_dict())
    assert not [key for key in keys if key not in known]


def load_search(given):
    """The config of a search that a command names, and the config that trains its cells."""
    name, _, words = given.partition(":")
    config = load_config(name, words)
    assert config.task == "search"
    return config, load_config(config.search.train_config)


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(
    "page, command", COMMANDS, ids=lambda value: value if isinstance(value, str) else value[-1]
)
def test_a_command_of_the_documents_parses(page, command):
    del page
    if command[0] == "nge":
        name, *rest = command[1:]
        assert name in (*cli.TASKS, *cli.COMMANDS)
        if name == "study" and rest and not rest[0].isupper():
            given = divide([argument for argument in rest[1:] if re.match(r"[\w.]+=", argument)])
            searched, recipe = load_search(rest[0])
            check_keys(searched, [setting.partition("=")[0] for setting in given.search])
            check_keys(recipe, [setting.partition("=")[0] for setting in given.recipe])
        if name in cli.TASKS and rest and not rest[0].isupper():
            config, _, words = rest[0].partition(":")
            settings = [argument for argument in rest[1:] if "=" in argument and argument[0] != "-"]
            parts = [f"--config.{setting}" for setting in settings if ".py:" in setting]
            loaded = read_config(f"{config}:{words}" if words else config, parts)
            assert loaded.task == name
            check_keys(loaded, [setting.partition("=")[0] for setting in settings])
        return
    flags = [re.match(r"--([\w.]+)", argument) for argument in command]
    names = [match[1] for match in flags if match]
    if command[1] == "-m":
        modules = ("nge_jax.main", "nge_jax.predict", "nge_jax.export", "nge_jax.settings.help")
        assert command[2] in modules
        given = next((a.partition("=")[2] for a in command if a.startswith("--config=")), None)
        if given is not None:
            file, _, words = given.partition(":")
            assert (ROOT / file).is_file() and find_config(file)
            keys = [name.removeprefix("config.") for name in names if name.startswith("config.")]
            check_keys(load_config(file, words), keys)
        return
    script = ROOT / command[1]
    assert script.is_file()
    texts = script.read_text()
    for shared in (
        "paper/plan.py",
        "benchmarks/measure/command.py",
        "benchmarks/measure/process.py",
    ):
        texts += (ROOT / "experiments" / shared).read_text()
    assert not [name for name in names if f'"{name}"' not in texts and f'"--{name}"' not in texts]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_internal_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in headings(file), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_exist(page):
    """Files of the package may be named from its folder on. The changelog may name files that have moved."""
    if page.name == "changelog.md":
        return
    names = re.findall(r"(?<![\w./])[a-z_]\w*(?:/\w+)+\.py\b", page.read_text())
    folders = (ROOT, ROOT / "nge_jax")
    assert not [name for name in names if not any((folder / name).is_file() for folder in folders)]


def test_the_readme_and_the_page_on_performance_are_short():
    assert len((ROOT / "README.md").read_bytes()) <= 8 * 1024
    assert len((ROOT / "docs" / "performance.md").read_text().splitlines()) <= 80


def test_every_command_of_nge_is_documented():
    page = (ROOT / "docs" / "commands.md").read_text()
    for name in (*cli.TASKS, *cli.COMMANDS):
        assert f"`nge {name}" in page


def test_an_unknown_command_would_be_told(capsys):
    with pytest.raises((SystemExit, InputError, argparse.ArgumentError)):
        cli.run(["serach", "search_digits"])
    assert "did you mean search" in capsys.readouterr().err
