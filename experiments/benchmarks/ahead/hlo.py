"""Reads the text of a compiled program: computations, their instructions, and the computations that these run."""

import re
from typing import NamedTuple

# Opcodes that start no kernel.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "partition-id",
    "replica-id",
    "add-dependency",
    "opt-barrier",
    "domain",
}
_COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) \([^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%(\S+) = (.+?) ([a-z][\w\-]*)\((.*?)\)(.*)$", re.MULTILINE)
_OPERAND = re.compile(r"%([^\s,()]+)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_BODY = re.compile(r"\bbody=%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply)=%([\w.\-]+)")
_BRANCH_LIST = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_BRANCH = re.compile(r"\b(?:true|false)_computation=%([\w.\-]+)")


class Instruction(NamedTuple):
    name: str
    result: str  # its type
    opcode: str
    operands: tuple[str, ...]
    attributes: str


class Program(NamedTuple):
    """A module: the instructions of each computation in their order, and the name of the first computation."""

    computations: dict[str, list[Instruction]]
    entry: str


def parse(text: str) -> Program:
    """Reads the text of an optimized HLO module."""
    computations, entry = {}, ""
    for is_entry, name, body in _COMPUTATION.findall(text):
        computations[name] = [
            Instruction(name, result, opcode, tuple(_OPERAND.findall(operands)), rest)
            for name, result, opcode, operands, rest in _INSTRUCTION.findall(body)
        ]
        entry = name if is_entry else entry
    return Program(computations, entry)


def is_free(instruction: Instruction) -> bool:
    """Tells whether an instruction starts no kernel."""
    return instruction.opcode in _FREE or instruction.opcode.endswith(("-done", "-update"))


def fused(instruction: Instruction) -> str:
    """Names the computation of a fusion."""
    return _CALLED.findall(instruction.attributes)[0]


def runs(instruction: Instruction) -> list[tuple[str, float]]:
    """Lists the computations that control flow runs, each with the number of times; none of a kernel.

    A loop counts once for each iteration, or once in all if the number of iterations is unknown. All branches of a
    conditional are equally likely.
    """
    rest = instruction.attributes
    if instruction.opcode == "while":
        known = _TRIP_COUNT.search(rest)
        return [(_BODY.findall(rest)[0], int(known[1]) if known else 1)]
    if instruction.opcode == "conditional":
        listed = _BRANCH_LIST.search(rest)
        branches = _OPERAND.findall(listed[1]) if listed else _BRANCH.findall(rest)
        return [(branch, 1 / len(branches)) for branch in branches]
    if instruction.opcode in ("call", "async-start"):
        return [(fused(instruction), 1)]
    return []
