"""A run waits for a better score for as many epochs as it may."""

import numpy as np

from nge_jax.runtime import patience


def test_only_a_better_score_ends_the_wait():
    scores = [0.0, 0.5, 0.5, 0.4, 0.6, 0.6, 0.1, 0.2]
    waiting, seen = patience.begin(), []
    assert not patience.is_over(waiting, 1)
    for score in scores:
        waiting = patience.wait(waiting, score)
        seen.append((float(waiting.best), int(waiting.epochs), patience.is_over(waiting, 3)))
    best = [np.float32(b) for b in (0, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6)]
    assert [one[0] for one in seen] == best
    assert [one[1] for one in seen] == [0, 0, 1, 2, 0, 1, 2, 3]
    assert [one[2] for one in seen] == [False] * 7 + [True]
    assert {leaf.dtype for leaf in waiting} == {np.dtype(np.float32), np.dtype(np.int32)}
