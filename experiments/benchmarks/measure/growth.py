"""Plots a step's time against batch size, channels and cells."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

AXES = {"batch_size": "images a step", "channels": "channels of the first cells", "cells": "cells"}


def plot(seconds: dict[str, dict[int, float]], title: str, path: Path) -> None:
    """Writes the plot as a PNG.

    Args:
        seconds: time of a step, by axis of `AXES` and by value.
        title: the size and the processor.
        path: file of the PNG.
    """
    figure, panels = plt.subplots(
        1, len(AXES), figsize=(10, 3.4), sharey=True, layout="constrained"
    )
    for panel, (axis, label) in zip(panels, AXES.items(), strict=True):
        values = sorted(seconds[axis])
        times = [seconds[axis][value] for value in values]
        panel.loglog(values, times, "o-", base=2)
        if values:  # the time if a step grew in proportion to the smallest value
            proportional = [times[0] * value / values[0] for value in values]
            panel.loglog(values, proportional, ":", color="gray", label="proportional", base=2)
            panel.legend(frameon=False)
        panel.set_xticks(values, [str(value) for value in values])
        panel.set_xlabel(label)
        panel.yaxis.set_major_formatter(lambda second, _: f"{second:.3g}")
        panel.minorticks_off()
    panels[0].set_ylabel("weight step, s")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)
