"""Networks' sizes by formulas of their own, to check what the program counts on abstract arrays."""

from collections import Counter


def count(cell, *, cells, channels, classes, shape, large=False):
    """Counts a genotype's network for small images, or with ImageNet's stem for `large` ones."""
    counted = Counter(parameters=0, multiply_adds=0)
    height, width, inputs = shape

    def convolve(weights):
        counted.update(parameters=weights, multiply_adds=weights * height * width)

    def normalize(channels):
        counted.update(parameters=2 * channels)

    def operate(operation, channels, stride):
        kind, size = operation[:3], int(operation[-1]) if operation[-1].isdigit() else 0
        for _ in range({"sep": 2, "dil": 1}.get(kind, 0)):
            convolve(size * size * channels + channels * channels)
            normalize(channels)
        if operation == "skip_connect" and stride == 2:
            convolve(channels * channels)
            normalize(channels)

    if large:
        for before, after in (
            (inputs, channels // 2),
            (channels // 2, channels),
            (channels, channels),
        ):
            height, width = -(-height // 2), -(-width // 2)
            convolve(9 * before * after)
            normalize(after)
        before = [channels, channels]
    else:
        convolve(9 * inputs * 3 * channels)
        normalize(3 * channels)
        before = [3 * channels, 3 * channels]
    for number in range(cells):
        reduction = number in (cells // 3, 2 * cells // 3)
        channels *= 1 + reduction
        pairs, concat = cell.cell("reduction" if reduction else "normal")
        for inputs in before:  # a halved input has the same number of pixels as the other
            convolve(inputs * channels)
            normalize(channels)
        if reduction:
            height, width = -(-height // 2), -(-width // 2)
        for operation, source in pairs:
            operate(operation, channels, 2 if reduction and source < 2 else 1)
        before = [before[1], len(concat) * channels]
    height = width = 1
    convolve(classes * before[1])
    counted.update(parameters=classes)
    return dict(counted)
