"""Reads a compiled program's text: how many kernels a run starts, and a lower bound of the time of each kernel.

Each kernel is assumed to read all operands and write all results once. The count is too high for a kernel that reads
only a part of an operand. On a TPU, an array counts with the size of the tiles that it fills. An array in on-chip
memory counts for less, and a copy to or from on-chip memory counts once. `hlo.runs` says how often a loop's and a
conditional's kernels count.
"""

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from ahead.hlo import fused, is_free, parse, runs

KINDS = ("fusion", "product", "convolution", "collective", "other")
# Forms of a GPU's convolution with several groups. XLA computes some gradients of kernels by convolutions of one image,
# whose few blocks of threads each compute a long sum.
DEPTHWISE, ONE_IMAGE = "depthwise", "one image"
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_TILE = re.compile(r"([\d,]+):T\((\d+),(\d+)\)")
# The TPU's vector memory is about 22 times as fast as the HBM ("How to Scale Your Model", chapter on TPUs).
_ON_CHIP, _ON_CHIP_SPEED = "S(1)", 22
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_ORIGIN = re.compile(r'op_name="([^"]*)"')
_LAYOUT = re.compile(r"\{[^{}]*\}")
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_GROUPS = re.compile(r"\bfeature_group_count=(\d+)")
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_CONTRACTED = re.compile(r"lhs_contracting_dim(?:ension)?s\"?[=:][\[{]([\d,\"]*)[\]}]")


class Kernel(NamedTuple):
    """A kernel of a compiled program. A product or convolution is a library call or the root of a fusion.

    Attributes:
        name: the name in the program's text.
        times: how often a run starts the kernel.
        kind: one of KINDS.
        flops: floating-point operations of one start.
        nbytes: bytes that one start reads and writes.
        dtype: the type of the operands.
        cycles: the TPU compiler's estimate, 0 elsewhere.
        result: the type of the result, without layouts.
        origin: JAX's name of the operation that the kernel computes.
        form: DEPTHWISE or ONE_IMAGE for a GPU's convolution of several groups.
        groups, terms: a GPU's convolution has so many groups, and sums so many products for an element of the result.
    """

    name: str
    times: float
    kind: str
    flops: float
    nbytes: float
    dtype: str
    cycles: int
    result: str
    origin: str
    form: str = ""
    groups: int = 1
    terms: int = 0


def list_kernels(text: str) -> list[Kernel]:
    """Lists the kernels in the text of an optimized HLO module."""
    program = parse(text)
    return list(_kernels(program, program.entry, 1.0))


def _kernels(program, name, times) -> Iterator[Kernel]:
    instructions = program.computations[name]
    types = {instruction.name: instruction.result for instruction in instructions}
    for instruction in instructions:
        if is_free(instruction):
            continue
        inner = runs(instruction)
        for body, count in inner:
            yield from _kernels(program, body, times * count)
        if not inner:
            yield _kernel(program.computations, types, instruction, times)


def _kernel(computations, types, instruction, times):
    opcode, rest = instruction.opcode, instruction.attributes
    read = [types.get(name, "") for name in instruction.operands]
    inner = [instruction]
    if opcode == "fusion":
        inner = computations[fused(instruction)]
        types = {i.name: i.result for i in inner}
    names = {i.opcode for i in inner}
    if opcode.removesuffix("-start") in COLLECTIVES:
        kind = "collective"
    elif "convolution" in names or "__cudnn$conv" in rest:
        kind = "convolution"
    elif "dot" in names or "__cublas" in rest:
        kind = "product"
    else:
        kind = "fusion" if opcode == "fusion" else "other"
    dtypes = [
        dtype for type_ in read for dtype, *_ in _ARRAY.findall(type_) if dtype in ("f32", "bf16")
    ]
    cycles, origin = _CYCLES.search(rest), _ORIGIN.search(rest)
    return Kernel(
        instruction.name,
        times,
        kind,
        sum(_flops(i, types) for i in inner),
        _moved(instruction.result)
        if opcode in ("copy-start", "slice-start")
        else sum(map(_nbytes, (instruction.result, *read))),
        max(set(dtypes), key=dtypes.count, default="f32"),
        int(cycles[1]) if cycles else 0,
        _LAYOUT.sub("", instruction.result),
        origin[1] if origin else "",
        *_form(instruction, types),
    )


def _form(instruction, types):
    """Returns the form, the groups and the terms of a convolution by a GPU's library, see `Kernel`."""
    rest = instruction.attributes
    target, groups = _TARGET.search(rest), _GROUPS.search(rest)
    if not target or not target[1].startswith("__cudnn$conv") or not groups:
        return "", 1, 0
    result = _shape(instruction.result)
    images = result[_LABELS.search(rest)[3].index("b")]
    single = images == 1 and target[1] == "__cudnn$convForward"
    terms = round(_flops(instruction, types) / 2 / math.prod(result))
    return ONE_IMAGE if single else DEPTHWISE, int(groups[1]), terms


def _flops(instruction, types):
    """Counts the flops of a product or convolution: two for each multiply-add. All other instructions count 0."""
    opcode, rest = instruction.opcode, instruction.attributes
    target = _TARGET.search(rest)
    target = target[1] if target else ""
    if opcode == "dot" or target.startswith("__cublas"):
        contracted = _CONTRACTED.search(rest)
        if not contracted:
            return 0.0
        sizes = _shape(types[instruction.operands[0]])
        axes = re.findall(r"\d+", contracted[1])
        return 2.0 * math.prod(_shape(instruction.result)) * math.prod(sizes[int(a)] for a in axes)
    if opcode == "convolution":
        return _convolution_flops(instruction, types)
    if target.startswith("__cudnn$conv"):
        result, (first, second) = instruction.result, (types[o] for o in instruction.operands[:2])
        output, kernel = {  # a derivative has the flops of the convolution itself
            "__cudnn$convBackwardFilter": (second, result),
            "__cudnn$convBackwardInput": (first, second),
        }.get(target, (result, second))
        output, kernel = _shape(output), _shape(kernel)
        channels = output[_LABELS.search(rest)[3].index("f")]
        return 2.0 * math.prod(output) * math.prod(kernel) / channels
    return 0.0


def _convolution_flops(instruction, types):
    """Counts the taps that fall on input pixels, without the taps on padding or between dilated pixels.

    The TPU's compiler writes a batched product as a convolution: the window lies on padding except for one tap.
    """
    read, taps, written = _LABELS.search(instruction.attributes).groups()
    x, kernel = (_shape(types[o]) for o in instruction.operands[:2])
    y = _shape(instruction.result)
    window = _WINDOW.search(instruction.attributes)
    window = dict(part.split("=") for part in window[1].split()) if window else {}
    products = y[written.index("b")] * y[written.index("f")] * kernel[taps.index("i")]
    for axis in range(len(y) - 2):

        def of_axis(name, default, axis=axis):
            return window[name].split("x")[axis] if name in window else default

        name = str(axis)
        low = int(of_axis("pad", "0_0").split("_")[0])
        step, apart, spread = (
            int(of_axis(key, 1)) for key in ("stride", "rhs_dilate", "lhs_dilate")
        )
        positions = (
            out * step + tap * apart - low
            for out in range(y[written.index(name)])
            for tap in range(kernel[taps.index(name)])
        )
        reach = x[read.index(name)] * spread
        products *= sum(0 <= position < reach and position % spread == 0 for position in positions)
    return 2.0 * products


@functools.cache
def _shape(type_):
    """Reads the sizes of the first array in a type."""
    return tuple(map(int, filter(None, _ARRAY.search(type_)[2].split(","))))


@functools.cache
def _nbytes(type_):
    return sum(
        size / _ON_CHIP_SPEED if _ON_CHIP in layout else size for size, layout in _sizes(type_)
    )


def _moved(type_):
    """Counts the bytes that a copy moves. The result of a copy is a tuple: target, source and a flag."""
    return sorted(size for size, _ in _sizes(type_))[1]


@functools.cache
def _sizes(type_):
    """Lists bytes and layout of each array in a type."""
    return [
        (_width(dtype) * math.prod(_tiled(shape, layout)), layout)
        for dtype, shape, layout in _ARRAY.findall(type_)
    ]


def _tiled(shape, layout):
    """Lists the sizes of an array. The two innermost sizes are rounded up to whole tiles."""
    sizes = list(map(int, filter(None, shape.split(","))))
    tile = _TILE.match(layout)
    if tile:
        for axis, size in zip(tile[1].split(","), (int(tile[3]), int(tile[2])), strict=False):
            sizes[int(axis)] = -(-sizes[int(axis)] // size) * size
    return sizes


def _width(dtype):
    """Returns the bytes of an element: at least one, also for booleans."""
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1
