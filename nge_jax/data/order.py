"""In what order examples are used: epochs' permutations, the split of a search, a process's part of an epoch."""

import numpy as np

from nge_jax.errors import ArgumentError


def part_of_epoch(
    seed: int,
    epoch: int,
    examples: int,
    batch_size: int,
    start_step: int,
    process_index: int,
    process_count: int,
) -> tuple[np.ndarray, int]:
    """Finds what a process reads of an epoch from `start_step` on, and the key of the epoch's random numbers.

    Args:
      seed: of the run.
      epoch: its number, from 0.
      examples: number of examples in the data set.
      batch_size: of all processes together.
      start_step: the first step of the epoch that is still to come.
      process_index: which process this is, from 0.
      process_count: how many there are; they share each batch equally.

    Returns:
      Indices, int32 [steps, batch_size / process_count], and a number that follows from (seed, epoch).
    """
    steps = examples // batch_size
    order = epoch_order(seed, epoch, examples, steps, batch_size)
    mine = np.split(order[start_step:], process_count, axis=1)[process_index]
    # SeedSequence, because numpy promises its stream for good.
    return mine, int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


def split(count: int, train_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides `count` examples at random into two sorted, disjoint index sets, int32: round(count·fraction), the rest.

    The search trains weights on the first and the embedding on the second (paper Algorithm 1).

    Raises:
      ArgumentError: the fraction leaves one of the two empty.
    """
    first = round(count * train_fraction)
    if not 0 < first < count:
        raise ArgumentError(
            "train_fraction",
            f"{train_fraction} leaves one half of {count} examples empty, "
            "expected a number between 0 and 1",
        )
    # RandomState, because numpy promises its stream for good; Generator's may change between releases.
    order = np.random.RandomState(seed).permutation(count).astype(np.int32)
    return np.sort(order[:first]), np.sort(order[first:])


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Chooses examples from the first to the last, evenly spaced: int64 [N], N at most `most`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def epoch_order(seed: int, epoch: int, examples: int, steps: int, batch_size: int) -> np.ndarray:
    """Draws which examples each step of an epoch uses: int32 [steps, batch_size], none twice."""
    # RandomState, because numpy promises its stream for good; Generator's may change between releases.
    order = np.random.RandomState((seed, epoch)).permutation(examples).astype(np.int32)
    return order[: steps * batch_size].reshape(steps, batch_size)
