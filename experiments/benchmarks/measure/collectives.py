"""Counts the all-reduces of a compiled training phase: how many a step runs, and how many numbers they sum."""

import math
import re

from measure import cost

# The kinds of all-reduces. JAX names an all-reduce of batch statistics after the differentiated function or after the
# derivative. The compiler may merge several all-reduces; a merged one with a part of the backward pass is "backward".
GRADIENT, FORWARD, BACKWARD = KINDS = ("gradient", "statistics forward", "statistics backward")

_ALL_REDUCE = re.compile(r" = (.*?) all-reduce(?:-start)?\(")
_SHAPE = re.compile(r"\b[a-z]+\d+\[([\d,]*)\]")
_NAME = re.compile(r'op_name="([^"]*)"')


def all_reduces(text: str) -> dict[str, tuple[int, int]]:
    """Counts by kind the all-reduces that a step runs, and the numbers that they sum over the devices.

    Args:
        text: the text of an HLO module. An outermost loop of unknown length runs over the steps of a dispatch,
            and counts once.

    Raises:
        ValueError: an all-reduce lies in another loop of unknown length.
    """
    bodies, entry = cost.computations(text)
    total = dict.fromkeys(KINDS, (0, 0))

    def add(name, times, is_entry=False):
        for line in cost.lines(bodies, name):
            match = _ALL_REDUCE.search(line)
            if match:
                if times is None:
                    raise ValueError("an all-reduce lies in a loop of unknown length")
                kind, numbers = _kind(line), sum(map(_size, _SHAPE.findall(match[1])))
                count, before = total[kind]
                total[kind] = count + times, before + times * numbers
        for body, known in cost.loops(bodies, name):
            known = known or (1 if is_entry else None)
            add(body, known and times and known * times)

    add(entry, 1, is_entry=True)
    return total


def _kind(line):
    name = _NAME.search(line)
    if not name or "jvp(" not in name[1]:
        return GRADIENT
    return BACKWARD if "transpose(" in name[1] else FORWARD


def _size(shape):
    return math.prod(map(int, filter(None, shape.split(","))))
