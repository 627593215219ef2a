"""The command that repeats a run: the shipped config that is nearest to its settings, and the keys that differ."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError
from nge_jax.settings import configs, keys
from nge_jax.settings.configs import flatten
from nge_jax.workdir.artifacts import CONFIG, ENVIRONMENT, read_json

Values = Mapping[str, Any]  # {keys joined by dots: value}


def command(workdir: Path) -> str | None:
    """Returns `nge TASK CONFIG KEY=VALUE ...`, which repeats the run in another workdir.

    The recorded settings make the command. It is complete even if the run was started from a user's config, from
    Python, or by an older version. Keys that an older version lacks get the values that change nothing. Returns None if
    no shipped config has all the keys of the settings.
    """
    settings = flatten(read_json(workdir / CONFIG))
    task = str(settings.get("task"))
    found = [
        _nearest_variant(name, settings)
        for name, file in configs.shipped_configs().items()
        if _fits(name, task, settings)
    ]
    if not found:
        return None
    name, differences = min(found, key=lambda pair: (len(" ".join(pair[1])), pair[0]))
    again = f"runs/{workdir.resolve().name}-again"
    return shlex.join(["nge", task, name, *differences, f"--workdir={again}"])


def started(workdir: Path) -> str:
    """Returns the command line that began the run, as it was given."""
    return str(read_json(workdir / ENVIRONMENT).get("command", ""))


def _fits(name: str, task: str, settings: Values) -> bool:
    """Whether a shipped config is one of the task that has all keys of the settings."""
    values = _values(name)
    return values.get("task") == task and settings.keys() <= values.keys()


def _nearest_variant(name: str, settings: Values) -> tuple[str, list[str]]:
    """Chooses from each table of a config's variants the word, if any, that leaves fewest settings to name."""
    words: list[str] = []
    best = _differences(name, words, settings)
    tables = getattr(configs.load_module(configs.find_config(name)), "VARIANTS", ())
    # Two rounds, since a word may help only together with a word of a later table.
    for table in (*tables, *tables):
        for word in table:
            try:
                left = _differences(name, [*words, word], settings)
            except InputError:  # the word does not go with the others
                continue
            if len(" ".join(left)) + len(word) < len(" ".join(best)):
                chosen, best = word, left
                words = [*[w for w in words if w not in table], chosen]
    return name + (f":{','.join(words)}" if words else ""), best


def _differences(name: str, words: list[str], settings: Values) -> list[str]:
    values = _values(name, ",".join(words))
    younger = keys.younger(settings)
    # A newer config may have another value for a key that the run did not know.
    known = {**settings, **{k: v for k, v in younger.items() if k not in settings}}
    return [
        f"{key}={_written(value)}"
        for key, value in known.items()
        if key in values and value != values[key]
    ]


def _values(name: str, words: str = "") -> Values:
    return flatten(configs.to_values(configs.load_config(name, words)))


def _written(value: Any) -> str:
    """Writes a value as the command line takes it."""
    if isinstance(value, list):
        return "(" + "".join(f"{_written(v)}," for v in value) + ")"
    return value if isinstance(value, str) else repr(value)


def versions(workdir: Path) -> Iterator[str]:
    """Yields "jax 0.10.2" for each package that the run recorded."""
    recorded = read_json(workdir / ENVIRONMENT).get("versions")
    for name, version in recorded.items() if isinstance(recorded, dict) else ():
        yield f"{name} {version}"
