"""A config as help: its variants, its keys, and the comments that stand beside them in its file."""

import ast
import inspect
import io
import shutil
import textwrap
import tokenize
from typing import Any

from nge_jax.settings.configs import find_config, flatten, load_config, load_module


def describe_config(given: str) -> str:
    """Returns what a config's file says, its variants, and its keys with their values and comments.

    Comments are as wide as the terminal, from 80 to 100 columns.
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
    comments: dict[str, str] = {}
    for source in (getattr(module, "BASE", None), module):
        if source is not None:
            comments |= read_comments(inspect.getsource(source))
    group = None
    values, in_file = flatten(config.to_dict()), list(comments)
    # In the order of the file, which the config itself does not keep.
    for key in sorted(values, key=lambda key: in_file.index(key) if key in in_file else -1):
        if (head := key.rpartition(".")[0]) != group:
            group = head
            about = textwrap.wrap(comments.get(group, ""), width - 2)
            lines += ["", *(f"# {line}" for line in about)]
        text = f"{key}={_show_value(values[key])}"
        comment = textwrap.wrap(comments.get(key, ""), width - 40)
        lines.append(f"{text:38}  {comment[0]}" if comment else text)
        lines += [f"{'':40}{line}" for line in comment[1:]]
    return "\n".join(lines)


def read_comments(source: str) -> dict[str, str]:
    """Returns {key or group: comment, or ""} of the source of a config's file, in its order.

    A comment stands behind `config.KEY = ...` or above it, and what stands behind comes first; so in the table
    DIFFERENCES of a config that is made of another.
    """
    rows = {
        token.start[0]: (token.string.lstrip("# "), not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }

    def comment(first: int, last: int) -> str:
        above = first - 1
        while above in rows and rows[above][1]:
            above -= 1
        parts = range(first, last + 1), range(above + 1, first)
        texts = [" ".join(rows[line][0] for line in part if line in rows) for part in parts]
        return ". ".join(filter(None, texts))

    comments = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign):
            continue
        target, value = ast.unparse(node.targets[0]), node.value
        if target.startswith("config."):
            comments[target.removeprefix("config.")] = comment(
                node.lineno, node.end_lineno or node.lineno
            )
        elif target == "DIFFERENCES" and isinstance(value, ast.Dict):
            for key, changed in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant):
                    comments[key.value] = comment(key.lineno, changed.end_lineno or key.lineno)
    return comments


def _fill(text: str, width: int) -> str:
    """Breaks paragraphs anew; those with commands, which are indented, stay as they are."""
    paragraphs = text.split("\n\n")
    filled = [p if "\n " in f"\n{p}" else textwrap.fill(p, width) for p in paragraphs]
    return "\n\n".join(filled)


def _show_value(value: Any) -> str:
    return value if isinstance(value, str) else repr(value).replace(" ", "")
