"""The published cells, made of DARTS's seven operations and `none`.

Cells with other operations are left out: NASNet and PNASNet (sep_conv_7x7), AmoebaNet (sep_conv_7x7, conv_7x1_1x7) and
SETN (conv_3x1_1x3). This module imports no jax.
"""

import re

from nge_jax.space.parts.package import OPERATIONS

Pairs = tuple[tuple[str, int], ...]

NONE = "none"  # an absent edge: one published cell has it (SNAS_aggressive), no search chooses it

# Each cell has two lines, normal and reduction. A pair is operation:predecessor; bars separate inner nodes.
_PUBLISHED = """
DARTS_V1        sep3:1 sep3:0 | skip:0 sep3:1 | skip:0 sep3:1 | sep3:0 skip:2
                max3:0 max3:1 | skip:2 max3:0 | max3:0 skip:2 | skip:2 avg3:0
DARTS_V2        sep3:0 sep3:1 | sep3:0 sep3:1 | sep3:1 skip:0 | skip:0 dil3:2
                max3:0 max3:1 | skip:2 max3:1 | max3:0 skip:2 | skip:2 max3:1
PC_DARTS_cifar  sep3:1 skip:0 | sep3:0 dil3:1 | sep5:0 sep3:1 | avg3:0 dil3:1
                sep5:1 max3:0 | sep5:1 sep5:2 | sep3:0 sep3:3 | sep3:1 sep3:2
PC_DARTS_image  skip:1 sep3:0 | sep3:0 skip:1 | sep3:1 sep3:3 | sep3:1 dil5:4
                sep3:0 skip:1 | dil5:2 max3:1 | sep3:2 sep3:1 | sep5:0 sep3:3
PDARTS          skip:0 dil3:1 | skip:0 sep3:1 | sep3:1 sep3:3 | sep3:0 dil5:4
                avg3:0 sep5:1 | sep3:0 dil5:2 | max3:0 dil3:1 | dil3:1 dil5:3
ENASNet         sep3:1 skip:1 | sep5:1 skip:0 | avg3:0 sep3:1 | sep3:0 avg3:1 | sep5:1 avg3:0
                sep5:0 sep3:1 | sep3:1 avg3:1 | sep3:1 avg3:1 | avg3:1 sep5:4 | sep3:5 sep5:0
MdeNAS          sep5:1 sep3:0 | skip:0 sep5:1 | sep5:3 sep3:1 | dil5:3 max3:4
                max3:0 sep5:1 | skip:0 skip:1 | sep3:3 skip:2 | dil3:3 sep5:0
SNAS_mild       sep3:0 sep3:1 | skip:0 dil3:1 | skip:0 skip:1 | skip:0 sep3:1
                max3:0 max3:1 | max3:1 skip:2 | max3:1 skip:2 | max3:0 dil5:2
SNAS_moderate   dil5:0 skip:1 | sep3:0 skip:1 | skip:0 skip:1 | sep3:0 dil5:1
                max3:0 max3:1 | sep5:0 dil5:1 | sep5:0 sep5:1 | sep5:0 sep5:1
SNAS_aggressive sep5:0 skip:1 | skip:0 skip:1 | dil5:1 skip:0 | skip:0 dil5:1
                sep5:0 none:1 | sep5:0 none:1 | none:1 none:0 | none:1 none:0
GDAS_V1         skip:0 skip:1 | skip:0 sep5:2 | sep3:3 skip:0 | sep5:4 sep3:3
                sep5:0 sep3:1 | sep5:2 sep5:1 | dil5:2 sep3:1 | sep5:0 sep5:1
DrNAS_cifar10   sep3:0 sep5:1 | sep3:1 sep3:2 | skip:0 sep3:1 | sep3:2 dil5:3
                max3:0 sep5:1 | dil5:2 sep5:1 | sep5:1 dil5:3 | skip:4 sep5:1
DrNAS_imagenet  sep3:1 sep3:0 | sep3:0 sep3:1 | sep3:0 dil3:3 | skip:0 sep3:1
                max3:0 sep3:1 | sep3:0 skip:2 | sep3:0 sep3:2 | sep3:3 sep3:1
"""


def _read(table: str) -> dict[str, tuple[Pairs, Pairs]]:
    names = {operation.short: name for name, operation in OPERATIONS.items()}

    def pairs(line: str) -> Pairs:
        return tuple((names[name], int(i)) for name, i in re.findall(r"(\w+):(\d)", line))

    lines = iter(table.strip().splitlines())
    return {line.split()[0]: (pairs(line), pairs(next(lines))) for line in lines}


# The pairs of the normal cell and of the reduction cell, by name.
CELLS = _read(_PUBLISHED)
