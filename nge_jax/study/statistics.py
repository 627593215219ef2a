"""The comparison of the cells found with random cells of the same cost, and its standard error. No jax.

Formula. Each training gives an answer to each test image, right (1) or wrong (0). A cell's answer to an image is the
mean over the cell's training seeds, and a cell's accuracy is the mean over the images. F cells found and R random cells
are compared on the same M images:

    D   = mean accuracy of the cells found - mean accuracy of the random cells
    s^2 = the variance of the cells' accuracies about the mean of their group, pooled: the squares' sum / (F + R - 2)
    v   = the sample variance over the images of (mean answer of the cells found - mean answer of the random cells)
    SE  = sqrt(s^2 (1/F + 1/R) + v / M)

The first term counts cells and training seeds. A single cell found has no deviation, and borrows the random cells'. The
second term is the binomial error of the images, paired because all cells see the same images. The noise of a single
answer is in both terms, so that SE is rather too large. A difference above 2 SE is called a difference. Two SE are also
the smallest difference that so many cells and images can show.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DECIDING = 2  # a difference of so many standard errors decides


class Difference(NamedTuple):
    """The difference between the cells found and the random cells.

    Attributes:
      points: the difference D of the mean accuracies, in percentage points.
      error: the standard error of the difference, in points.
      found, random: how many cells of each kind there are.
      trainings: the trainings of a cell.
      images: the test images.
    """

    points: float
    error: float
    found: int
    random: int
    trainings: int
    images: int

    @property
    def smallest(self) -> float:
        """The smallest difference that so many cells and images can show, in points."""
        return DECIDING * self.error

    @property
    def decides(self) -> bool:
        """Whether the difference is larger than the smallest that can be shown."""
        return abs(self.points) > self.smallest

    def sentence(self) -> str:
        """Says in one sentence how the cells compare."""
        counts = (
            f"(n = {self.found} and {self.random} cells, {self.trainings} "
            f"training{'s' * (self.trainings > 1)} each, {self.images:,} test images)"
        )
        if self.decides:
            better = "better" if self.points > 0 else "worse"
            size = f"{abs(self.points):.2f} ± {self.error:.2f} points"
            return f"the cells found are {better} than random cells of the same cost by {size} {counts}"
        return (
            "no difference is shown between the cells found and random cells of the same cost: "
            f"{self.points:+.2f} ± {self.error:.2f} points {counts}; the smallest that so many can show is "
            f"{self.smallest:.2f} points"
        )


def compare(found: Sequence[np.ndarray], random: Sequence[np.ndarray]) -> Difference:
    """Compares cells by the formula above.

    Args:
      found: for each cell found whether each image is right, bool [trainings, images].
      random: likewise for each random cell. Both groups together have three cells or more.
    """
    groups = [np.stack([np.mean(cell, axis=0) for cell in cells]) for cells in (found, random)]
    counts = [len(group) for group in groups]
    accuracies = [group.mean(axis=1) for group in groups]
    squares = sum(float(((a - a.mean()) ** 2).sum()) for a in accuracies)
    of_cells = squares / (sum(counts) - len(groups)) * sum(1 / n for n in counts)
    answers = groups[0].mean(axis=0) - groups[1].mean(axis=0)
    of_images = float(answers.var(ddof=1)) / len(answers)
    return Difference(
        points=100 * float(answers.mean()),
        error=100 * (of_cells + of_images) ** 0.5,
        found=counts[0],
        random=counts[1],
        trainings=max(len(cell) for cell in (*found, *random)),
        images=len(answers),
    )


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Returns the mean and the sample standard deviation, which a single value has not."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
