"""Work done ahead: in order, no more than asked for, and ended with its iterator."""

import threading
import time

import pytest

from nge_jax.data.host import ahead


def test_results_keep_the_items_order_and_few_items_are_taken_ahead():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    def slow_at_first(number):
        time.sleep(0.02 if number % 5 == 0 else 0)
        return number * 2

    results = ahead.in_order(slow_at_first, items(), 4)
    assert next(results) == 0 and len(taken) == 5
    assert list(results) == list(range(2, 40, 2))


def test_an_error_comes_in_its_turn_and_no_thread_is_left():
    before = threading.active_count()
    results = ahead.in_order(lambda number: 1 // (3 - number), range(100), 10)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    ended = ahead.in_order(str, range(100), 10)
    next(ended)
    ended.close()
    assert threading.active_count() == before
