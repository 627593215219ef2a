"""Random numbers that follow from a seed of two numbers alone: Philox 4x32-10, in numpy.

The streams are those of TensorFlow's stateless functions, bit for bit: a data set has the same crops whichever of the
two draws them. Written here, because numpy's Philox has words of 64 bits and another stream.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

import numpy as np

FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)  # added to the key in each round
ROUNDS = 10
SCRAMBLE = np.array([0x3EC8F720, 0x02461E29], np.uint64)  # TensorFlow's key, which mixes a seed
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
FRACTION, ONE = np.uint32(0x007FFFFF), np.uint32(0x3F800000)  # float32: its 23 bits; the number 1


def words(seeds: np.ndarray, count: int) -> np.ndarray:
    """Draws `count` numbers of 32 bits for each seed, int64 [N, 2] -> uint32 [N, count]."""
    parts = np.asarray(seeds, np.int64).astype(np.uint64)
    mixed = _philox([half for part in parts.T for half in (part & LOW, part >> HALF)], SCRAMBLE)
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    first, second, *rest = (part[:, None] for part in mixed)
    counter = [blocks + 0 * first, np.zeros_like(blocks), *rest]
    drawn = np.stack(np.broadcast_arrays(*_philox(counter, (first, second))), axis=-1)
    return drawn.reshape(len(parts), -1)[:, :count].astype(np.uint32)


def uniform(seeds: np.ndarray, count: int) -> np.ndarray:
    """Draws `count` numbers in [0, 1) for each seed, int64 [N, 2] -> float32 [N, count]."""
    return (words(seeds, count) & FRACTION | ONE).view(np.float32) - np.float32(1)


def split(seeds: np.ndarray, parts: int) -> np.ndarray:
    """Makes seeds that are independent of each other: int64 [N, 2] -> int64 [parts, N, 2]."""
    drawn = words(seeds, 4 * parts).astype(np.uint64)
    made = (drawn[:, 0::2] | drawn[:, 1::2] << HALF).astype(np.int64)
    return made.reshape(len(made), parts, 2).swapaxes(0, 1)


def _philox(counter, key):
    """Encrypts four words by two: each an array, uint64 that hold 32 bits."""
    a, b, c, d = counter
    for step in range(ROUNDS):
        left, right = ((k + np.uint64(step) * s) & LOW for k, s in zip(key, STEPS, strict=True))
        low, high = a * FACTORS[0], c * FACTORS[1]
        a, b, c, d = high >> HALF ^ b ^ left, high & LOW, low >> HALF ^ d ^ right, low & LOW
    return a, b, c, d
