"""Work of the host that is done ahead, while the devices are busy."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Executor.map starts all of its calls at once; only Python 3.14 gives it a limit.


def in_order(function: Callable, items: Iterable, most: int) -> Iterator[Any]:
    """Calls a function of each item in threads, at most `most` items ahead; yields the results in the items' order.

    An error of a call is raised when its turn has come. What was not begun when the iterator is closed is left out.
    """
    pool, waiting = ThreadPoolExecutor(), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
