"""Writes a config of a user's own, with comments, for `nge init`."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from nge_jax.errors import InputError, suggestions
from nge_jax.files import check_new, write_atomically
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten, load_config, shipped_configs

PAGE = '''\
"""{title}

  nge {task} {file}
  nge {task} {file}:smoke      does it run?
  nge configs {file}

The last command shows all keys with their meanings.
"""

from pathlib import Path

from nge_jax.settings.compose import restated
from nge_jax.settings.configs import shipped_module

HERE = Path(__file__).resolve().parent
BASE = shipped_module("{base}")
# The values that differ from {base}. Take a # away to set a key.
SETTINGS = restated(BASE, {{
{settings}}})
VARIANTS = BASE.VARIANTS


def get_config(words=""):
    """Returns the config; words: those of {base}."""
    return BASE.get_config(words)
'''


def write_config(file: Path, base: str, data: Path | None) -> Path:
    """Writes a config that differs from a shipped one by nothing but the data, and says what else may differ.

    Args:
      file: the new file; ".py" is added where it lacks.
      base: the name of the shipped config.
      data: a folder of images or an .npz file; None: the data of the shipped config.

    Raises:
      InputError: there is such a file, no such config or no such data, or the config takes no images of one's own.
    """
    file = file if file.suffix == ".py" else file.with_name(f"{file.name}.py")
    check_new(file)
    if base not in shipped_configs():
        raise InputError(f"--like: no config {base!r}{suggestions(base, shipped_configs())}")
    values = flatten(load_config(base).to_dict())
    settings = [*_data_line(file, base, values["data.name"], data)] if "data.name" in values else []
    for name, key in keys.keys_of(values).items():
        if key.label and name != "data.name" or name in _often_set(values["task"]):
            settings += [
                *_comment(key.about),
                f"    # {name!r}: {values[name]!r},".replace("'", '"'),
            ]
    title = f"A {values['task']} like {base}" + (f", on {data.name}." if data is not None else ".")
    text = PAGE.format(
        title=title, task=values["task"], file=file.name, base=base,  settings="".join(f"{s}\n" for s in settings),
    )  # fmt: skip
    write_atomically(file, text)
    return file


def _data_line(file: Path, base: str, name: str, data: Path | None) -> Iterator[str]:
    """Yields the line that names the images: beside the config, or anywhere."""
    if data is None:
        return
    data = data.expanduser()
    if not name.startswith("folder:"):
        raise InputError(
            f"--data: {base} takes no images of one's own, expected --like NAME_folder"
        )
    if not data.exists():
        raise InputError(f"--data: found no {data}")
    kind = "npz" if data.suffix == ".npz" else "folder"
    folder, place = file.resolve().parent, data.resolve()
    if place.is_relative_to(folder):
        yield f'    "data.name": f"{kind}:{{HERE}}/{place.relative_to(folder)}",'
    else:
        yield f'    "data.name": "{kind}:{place}",'


def _often_set(task: str) -> set[str]:
    length = {
        f"{task}.epochs",
        f"{task}.steps",
        f"{task}.batch_size",
        "train.steps",
        "train.batch_size",
    }
    return {"network.channels", "network.cells", "weights.learning_rate", "run.callbacks", *length}


def _comment(text: str) -> list[str]:
    return [f"    # {line}" for line in textwrap.wrap(text, 90)]
