"""The options that a table of the paper is made with, and the cells of its rows."""

from paper import plan


def row_of(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def options_of(out, scale="smoke", **others):
    values = {"seeds": [0, 1], "data_dir": "", "table_only": False, "jobs": 1, "ray": False}
    values |= {"surrogate": None}
    return plan.Options(**(values | {"scale": scale, "out": out} | others))
