"""A config as help: its variants, and its keys with their meanings; and the page of all keys, docs/keys.md.

`python -m nge_jax.settings.help > docs/keys.md` writes the page.
"""

import inspect
import shutil
import textwrap
from typing import Any

from nge_jax.settings import keys
from nge_jax.settings.compose import Stated
from nge_jax.settings.configs import find_config, flatten, load_config, load_module
from nge_jax.settings.key import FLOAT, KINDS, TASKS, Key, Limits, describe_type
from nge_jax.text.digits import plain_digits

PAGE = """\
# Keys

This page lists every key of a config: its default, the values that it may have, and its meaning. `nge configs NAME`
shows the keys of one config. Other values, NaN and infinity are refused in one line, before anything is computed or
written.

*No result* marks keys that do not change a result: a run may go on with another value. *Argument* marks keys that
compiled programs take as arguments: another value compiles nothing anew. *Read by* names the searches that read a key,
where not all do: by the gradient, strategies, an edge model, or a supernet (`search.evaluator=supernet`). Others refuse
the key.

{}
Some limits follow from other values and are checked once those are known:

- `data.pad` and `data.validation` depend on the images.
- `data.crop` and `data.test_size` depend on `network.output_stride`.
- A batch depends on the devices and micro-batches.
- `run.steps_per_dispatch` and `run.eval_batch_size` depend on the machine's memory.
- The last number of `data.jitter`, the hue, is at most 0.5.
"""


def describe_config(given: str) -> str:
    """Returns what a config's file says, its variants, and its keys with their values and meanings.

    Sentences are as wide as the terminal, from 80 to 100 columns.
    """
    width = max(80, min(100, shutil.get_terminal_size().columns))
    name, _, words = given.partition(":")
    config, file = load_config(name, words), find_config(name)
    module = load_module(file)
    lines = [_fill(inspect.cleandoc(module.__doc__ or file.name), width), ""]
    for table in getattr(module, "VARIANTS", ()):
        for word, differences in table.items():
            changes = " ".join(f"{key}={_show_value(value)}" for key, value in differences.items())
            lines += textwrap.wrap(f":{word}  {changes}", width, subsequent_indent="    ")
    values, stated = flatten(config.to_dict()), getattr(module, "SETTINGS", {})
    known = keys.keys_of(values)
    group, unread = None, keys.unread(values)
    # A config that was written by hand may have keys in another order, and more of them.
    for name in sorted(values, key=lambda name: [*known].index(name) if name in known else -1):
        if (head := name.rpartition(".")[0]) != group:
            group = head
            about = textwrap.wrap(keys.GROUPS.get(group, ""), width - 2)
            lines += ["", *(f"# {line}" for line in about)]
        value = values[name]
        text = f"{name}={_show_value(value)}"
        meaning = _meaning(known[name], value, stated.get(name)) if name in known else ""
        # A key of another group needs no such words: the group has the name of what reads it.
        if name in unread and known[name].read_by:
            meaning += f" Not read with {unread[name]}={values[unread[name]]}."
        comment = textwrap.wrap(meaning, width - 40)
        lines.append(f"{text:38}  {comment[0]}" if comment else text)
        lines += [f"{'':40}{line}" for line in comment[1:]]
    return "\n".join(lines)


def _meaning(key: Key, value: Any, stated: Any) -> str:
    """Says what a key means, and where its value comes from: the config that states it, or the default's source."""
    known = f" One of {', '.join(map(str, key.choices))}." if key.choices else ""
    if isinstance(stated, Stated) and stated.value == value:
        source = stated.source
    elif value == key.default:
        source = key.source
    else:
        origin = f", {key.source}" if key.source else ""
        source = f"default {_show_value(key.default)}{origin}"
    return f"{key.about}{known}" + (f" ({source})" if source else "")


def page() -> str:
    """Returns docs/keys.md."""
    lines = []
    for group, about in keys.GROUPS.items():
        rows = [row for key in keys.KEYS if key.group == group for row in _rows(key)]
        lines += [
            f"## {group}\n" if group else "## Without a group\n",
            *([f"{about}\n"] * bool(about)),
        ]
        lines += ["| key | of | default | may be | meaning |", "|---|---|---|---|---|", *rows, ""]
    return PAGE.format("\n".join(lines))


def _rows(key: Key) -> list[str]:
    """Makes the rows of a key: one, or several where it differs between tasks or kinds of data."""
    rows: dict[str, dict[str, list[str]]] = {}
    for task in key.tasks:
        for kind in KINDS[task]:
            if kind in key.kinds_at(task):
                places = rows.setdefault(_cells(key.resolve(task, kind)), {})
                places.setdefault(task, []).append(kind)
    return [f"| `{key.name}` | {_where(key, at)} | {cells} |" for cells, at in rows.items()]


def _where(key: Key, places: dict[str, list[str]]) -> str:
    named = [
        task if kinds == list(KINDS[task]) else f"{task} ({', '.join(kinds)})"
        for task, kinds in places.items()
    ]
    where = "all" if named == list(TASKS) else ", ".join(named)
    return where + "".join(f"; space {space}" for space in key.spaces)


def _cells(key: Key) -> str:
    """Writes the cells of a row behind the first two."""
    facts = [f"since {key.since}"] * key.is_younger
    facts += ["no result"] * (not key.changes_result)
    facts += ["argument"] * (key.changes_result and not key.in_program)
    facts += [f"read by: {', '.join(key.read_by)}"] * bool(key.read_by)
    notes = f" ({key.source})" * bool(key.source) + f" *{', '.join(facts)}*" * bool(facts)
    default = f"`{_show_value(key.default)}`" if key.default != "" else "empty"
    return f"{default} | {_allowed(key)} | {key.about}{notes}"


def _allowed(key: Key) -> str:
    if isinstance(key.allowed, Limits):
        words = key.allowed.describe().removesuffix(f" and at most {plain_digits(FLOAT)}")
        kind = "integer, " if key.allowed.kind is int else "number, "
        return words if key.allowed.length else kind + words
    words = [*map(str, key.choices), *["module:attribute"] * bool(key.outside)]
    return ", ".join(words) or describe_type(key.default)


def _fill(text: str, width: int) -> str:
    """Breaks paragraphs anew; those with commands, which are indented, stay as they are."""
    paragraphs = text.split("\n\n")
    filled = [p if "\n " in f"\n{p}" else textwrap.fill(p, width) for p in paragraphs]
    return "\n\n".join(filled)


def _show_value(value: Any) -> str:
    return value if isinstance(value, str) else repr(value).replace(" ", "")


if __name__ == "__main__":
    print(page(), end="")
