"""Times of a call that is made again and again: the median, and how far most calls lie around it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nge_jax.text.digits import three_digits

WARM_UP_CALLS = 5  # first calls allocate memory and fill caches
LEAST_CALLS, MOST_CALLS = 20, 2000


class Timing(NamedTuple):
    """The milliseconds of a call.

    Attributes:
      median, low, high: the 50th, 10th and 90th percentile over the calls.
      calls: the number of calls that were timed.
      share: the processor's seconds that this process had in a second; far below 1 other programs had it, and the
        milliseconds of a CPU are too many.
    """

    median: float
    low: float
    high: float
    calls: int
    share: float = 1.0

    def __str__(self) -> str:
        return "{} ms (p10 {}, p90 {})".format(*map(three_digits, self[:3]))


def measure(
    call: Callable[[], Any],
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Times a call after a warm-up.

    Args:
      call: returns when all is computed.
      seconds: how long to time it, but LEAST_CALLS at least and MOST_CALLS at most.
      clock: returns seconds.
    """
    begin = clock()
    for _ in range(WARM_UP_CALLS):
        call()
    while clock() - begin < seconds / 5:
        call()
    times: list[float] = []
    computed = time.process_time()
    begin = before = clock()
    while len(times) < LEAST_CALLS or (before - begin < seconds and len(times) < MOST_CALLS):
        call()
        now = clock()
        times.append(now - before)
        before = now
    median, low, high = np.percentile(np.array(times) * 1e3, (50, 10, 90)).tolist()
    computed = time.process_time() - computed
    return Timing(median, low, high, len(times), computed / max(before - begin, 1e-9))
