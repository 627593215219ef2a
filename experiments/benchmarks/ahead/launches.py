"""Counts the launches by the host in a run of a GPU's compiled program, from the program's text.

XLA records neighboring kernels in a command buffer, which the host launches as a whole. The host launches each other
kernel alone. It also waits for the condition of each round of a loop and of each conditional. For weight steps of 2
cells the counts equal the compiler's list of thunks, with and without convolutions in command buffers.
"""

from ahead.hlo import Instruction, Program, is_free, parse, runs
from ahead.kernels import COLLECTIVES

# XLA:GPU records these without options, and at least so many kernels.
DEFAULT = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION",
    "xla_gpu_graph_min_graph_size": 5,
}
_TARGETS = {"__cudnn$conv": "CONVOLUTION", "__cublas$lt": "CUBLASLT", "__cublas": "CUBLAS"}


def count_launches(text: str, options: dict) -> float:
    """Counts the launches of a program that was compiled with XLA's options `options`, which have DEFAULT's keys."""
    program, recorded = parse(text), set(options["xla_gpu_enable_command_buffer"].split(","))
    return _count(program, program.entry, recorded, options["xla_gpu_graph_min_graph_size"])


def _count(program: Program, name: str, recorded: set[str], fewest: int) -> float:
    total, neighbors = 0.0, 0
    for instruction in program.computations[name]:
        if is_free(instruction):
            continue
        if _is_recorded(program, instruction, recorded):
            neighbors += 1
            continue
        total += 1 if neighbors >= fewest else neighbors
        neighbors = 0
        inner = runs(instruction)
        total += sum(times * _count(program, body, recorded, fewest) for body, times in inner)
        if instruction.opcode == "while":
            total += inner[0][1]
        elif instruction.opcode == "conditional" or not inner:
            total += 1
    return total + (1 if neighbors >= fewest else neighbors)


def _is_recorded(program: Program, instruction: Instruction, recorded: set[str]) -> bool:
    if _command(instruction) not in recorded:
        return False
    return all(
        is_free(inner) or _is_recorded(program, inner, recorded)
        for branch, _ in runs(instruction)
        for inner in program.computations[branch]
    )


def _command(instruction: Instruction) -> str:
    """Names the type of command that records an instruction, as XLA's option does."""
    opcode = instruction.opcode
    if opcode in ("conditional", "while", "call", "async-start"):
        return opcode.upper()
    if opcode.removesuffix("-start") in COLLECTIVES:
        return "COLLECTIVES"
    for target, command in _TARGETS.items():
        if target in instruction.attributes:
            return command
    return "CUSTOM_CALL" if opcode == "custom-call" else "FUSION"
