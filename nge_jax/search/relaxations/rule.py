"""The form of a relaxation that sees logits: `RelaxationRule`, from the package or from outside."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from nge_jax.errors import InputError
from nge_jax.search.steps.relaxation import Line, Relaxation
from nge_jax.space.parts.functions import returned
from nge_jax.supernet.net import Net

# The number of a stream of random numbers, apart from the streams of `steps.relaxation`.
_DRAWS = 2**31 + 3


class Scores(NamedTuple):
    """Holds what an edge model says of the operations, both [C, E, O].

    Attributes:
        probs: P, by the rule's own `probs`.
        logits: the logits from which P is computed.
    """

    probs: jax.Array
    logits: jax.Array


def record_nothing(progress: float) -> dict[str, float]:
    """Records no metrics."""
    del progress
    return {}


class RelaxationRule(NamedTuple):
    """Says how a search by gradient mixes operations. All functions are pure.

    Attributes:
        mix: (`Scores`, random key of the step, progress) -> weights of the operations [C, E, O], by which each edge
            sums the operations' outputs; differentiable by the scores. With `draws` the result is a
            `supernet.sampled.Drawn`. Progress is 0 in the first epoch and 1 in the last.
        probs: logits -> P [C, E, O], from which the cell is derived; larger is better, none is negative.
        penalty: (`Scores`, progress) -> a term of the embedding's loss; None: no such term.
        record: progress -> metrics of an epoch's row.
        is_distribution: whether the rows of P sum to 1. Entropies and margins of P are told only then.
        draws: whether the choices are one operation an edge, and the network computes no other.
    """

    mix: Callable[[Scores, jax.Array, Any], Any]
    probs: Callable[[jax.Array], jax.Array] = jax.nn.softmax
    penalty: Callable[[Scores, Any], jax.Array] | None = None
    record: Callable[[float], Mapping[str, float]] = record_nothing
    is_distribution: bool = True
    draws: bool = False


def make_relaxation(rule: RelaxationRule, net: Net, progress: Line) -> Relaxation:
    """Makes a rule's relaxation of a net; progress: a line from 0 to 1 over the epochs."""

    def scores(logits):
        return Scores(rule.probs(logits), logits)

    def mix(logits, key, step):
        key = jax.random.fold_in(jax.random.fold_in(key, _DRAWS), step)
        return rule.mix(scores(logits), key, progress.at(step))

    def penalty(logits, step):
        assert rule.penalty is not None, "only a rule with a penalty has this function"
        return rule.penalty(scores(logits), progress.at(step))

    def record(epoch):
        recorded = rule.record(progress.in_epoch(epoch))
        if not isinstance(recorded, Mapping):
            raise InputError(f"{returned(recorded)}, expected a dict of numbers by name")
        return {name: float(value) for name, value in recorded.items()}

    return Relaxation(
        net=net.sampled() if rule.draws else net,
        mix=mix,
        record=record,
        penalty=None if rule.penalty is None else penalty,
        probs=rule.probs,
        is_distribution=rule.is_distribution,
    )
