"""Relaxations: how a supernet mixes operations under P, so that a search by gradient can choose among them.

    softmax    every operation of every edge, weighted by P (paper Eq. 11)
    gumbel     one operation an edge, drawn from P in each step: GDAS (Dong and Yang, CVPR 2019)
    partial    every operation on a part of the channels, with weighted edges: PC-DARTS (Xu et al., ICLR 2020)

Relaxations that see the logits as well are in `search.relaxations`.

A relaxation has a network, applied as (weights, images, choices) -> (logits, endpoints), and a function
`mix`: (P, key, step) -> choices. The network does not know P, and `mix` does not know the network. Any edge model thus
goes with any relaxation, and a supernet of another space uses the same `mix` with another network.

`gumbel` has a straight-through gradient. With standard Gumbel noise G and a temperature t:

    o = argmax_o (log p_o + G_o),    q = softmax((log P + G) / t),    edge adds (1 + q_o - stop_gradient(q_o)) o(x)

The value is the drawn operation's output. The gradient is the gradient of the operation's probability in the soft
sample q. The authors' code of the DARTS space does the same, and so does the GDAS paper.

Their NAS-Bench-201 cell (D-X-Y/AutoDL-Projects, `forward_gdas`) also adds the scalars of the operations that were not
drawn. The scalars have the value 0. Each of their weights gets the sum of the output's gradient. The accuracy that the
benchmark's paper reports for GDAS, 93.61 % on CIFAR-10, is by that form. `nas_bench_201.NasBench201Supernet` has it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels.selection import pick
from nge_jax.optim import inverse
from nge_jax.space.architecture import finite_log, only_allowed
from nge_jax.space.budget.relative import RelativeCosts, expected_excess, expected_part
from nge_jax.space.mixture import Mixture, operation_probs
from nge_jax.space.spaces import DARTS, Space
from nge_jax.supernet.net import Applied
from nge_jax.supernet.sampled import Drawn

Mix = Callable[[Any, jax.Array, jax.Array], Any]
Penalty = Callable[[Any, jax.Array], jax.Array]
# Numbers of streams of random numbers, apart from the streams of the steps, of the strategies and of
# `relaxations.rule`.
_DRAWS, _DROPS, _MUTATIONS = 2**31 + 1, 2**31 + 2, 2**31 + 4


class Relaxation(NamedTuple):
    """How a search by gradient mixes operations.

    Attributes:
        net: the network that the choices of `mix` are for.
        mix: (P, the run's key, number of the step) -> choices of `net`; differentiable by P, equal on all devices.
        record: number of an epoch, from 1 -> the relaxation's metrics in the epoch's row.
        penalty: (P, number of the step) -> a term of the embedding's loss; None: no such term.
        probs: what the search's edge model computes -> P. Where they differ, `mix` and `penalty` are given the former.
        is_distribution: whether the rows of P sum to 1.
        weight_mix: the `mix` of the steps of the weights; None: `mix`.
        correlation: lambda of `steps.correlation`; None: the steps of the weights lower the loss alone.
    """

    net: Applied
    mix: Mix
    record: Callable[[int], dict[str, float]]
    penalty: Penalty | None = None
    probs: Callable[[Any], Any] = lambda probs: probs
    is_distribution: bool = True
    weight_mix: Mix | None = None
    correlation: "Line | None" = None


def mix_all(probs: Any, key: jax.Array, step: jax.Array) -> Any:
    """Mixes all operations by P itself."""
    del key, step  # nothing is drawn
    return probs


def softmax(net: Applied) -> Relaxation:
    """Makes the paper's relaxation; `net` reads P."""
    return Relaxation(net, mix_all, lambda epoch: {})


def partial(net: Applied) -> Relaxation:
    """Makes PC-DARTS's relaxation; `net` mixes a share of its channels (`Supernet.share`) and reads a `Mixture`."""
    return Relaxation(net, mix_all, lambda epoch: {})


class Line(NamedTuple):
    """A number that changes linearly from epoch to epoch, such as GDAS's temperature from 10 to 0.1.

    Inside a program the attributes may be traced, and `at` computes the number. `in_epoch` needs plain numbers.

    Attributes:
        first, last: the number in the first and in the last epoch.
        epochs: the epochs of the search.
        steps: the updates of both groups in an epoch.
    """

    first: Any
    last: Any
    epochs: Any
    steps: Any

    def at(self, step: Any) -> Any:
        """Computes the number at a step, counted from 0."""
        slope = (self.last - self.first) * inverse(jnp.maximum(self.epochs - 1, 1))
        return self.first + slope * (step // self.steps)

    def in_epoch(self, epoch: int) -> float:
        """Computes the number in an epoch, counted from 1."""
        return self.first + (self.last - self.first) * (epoch - 1) / max(self.epochs - 1, 1)


def gumbel(net: Applied, temperatures: Line, space: Space = DARTS) -> Relaxation:
    """Makes GDAS's relaxation; `net` reads a `sampled.Drawn` and computes the drawn operations only."""

    def mix(probs, key, step):
        key = jax.random.fold_in(jax.random.fold_in(key, _DRAWS), step)
        return draw(probs, key, temperatures.at(step), space)

    def record(epoch):
        return {"temperature": temperatures.in_epoch(epoch)}

    return Relaxation(net, mix, record)


def draw(probs: jax.Array, key: jax.Array, temperature: Any, space: Space = DARTS) -> Drawn:
    """Draws an operation for each edge from P [..., O], with scales of 1 whose gradients are straight-through."""
    noisy = finite_log(probs) + jax.random.gumbel(key, probs.shape, probs.dtype)
    noisy = only_allowed(noisy, space)
    operations = noisy.argmax(-1).astype(jnp.int32)
    soft = jax.nn.softmax(noisy / temperature)
    p = pick(soft, operations)
    # The brackets make the value exactly 1: the difference is computed first, and it is exactly 0.
    return Drawn(operations, 1 + (p - lax.stop_gradient(p)))


def with_skip_dropout(relaxed: Relaxation, rates: Line, skip: int) -> Relaxation:
    """Makes a relaxation that drops skip connections at random, against their early lead (P-DARTS).

    Each step drops each edge's skip connection, number `skip` of the operations, with the epoch's rate. A skip
    connection that stays is multiplied by 1 / (1 - rate). P-DARTS drops elements of the operation's output. This
    function drops the whole operation, so that the supernet draws nothing.
    """

    def mix(probs, key, step):
        choices = relaxed.mix(probs, key, step)
        rate = rates.at(step)
        key = jax.random.fold_in(jax.random.fold_in(key, _DROPS), step)
        shape = operation_probs(probs).shape[:-1]
        factors = jax.random.bernoulli(key, 1 - rate, shape) / (1 - rate)
        if isinstance(choices, Drawn):
            scales = jnp.where(choices.operations == skip, factors, 1) * choices.scales
            return choices._replace(scales=scales)
        if isinstance(choices, Mixture):
            return choices._replace(probs=choices.probs.at[..., skip].multiply(factors))
        return choices.at[..., skip].multiply(factors)

    def record(epoch):
        return relaxed.record(epoch) | {"skip_dropout": rates.in_epoch(epoch)}

    return relaxed._replace(mix=mix, record=record)


def with_mutation(relaxed: Relaxation, rates: Line, allowed: np.ndarray) -> Relaxation:
    """Makes a relaxation in which edges mutate while the weights learn: EM-DARTS (submitted to ICLR 2025).

    In a step of the weights each edge mutates with the epoch's rate, independently of the others. It then has a single
    operation, drawn uniformly among its operations with weights. Such operations learn to serve alone, whatever P gives
    them. All cells of a type share the draws, as they share P. An edge's beta stays. An operation that the relaxation
    has drawn gives way to the mutation's.

    Args:
      relaxed: a relaxation whose `mix` will not change.
      rates: the probability that an edge mutates.
      allowed: bool [C, E, O], the operations with weights that an edge may have. An edge without any does not mutate.
    """

    def weight_mix(probs, key, step):
        choices = relaxed.mix(probs, key, step)
        key = jax.random.fold_in(jax.random.fold_in(key, _MUTATIONS), step)
        mutates, alone = draw_mutations(key, rates.at(step), allowed)
        if isinstance(choices, Drawn):
            operations = alone.argmax(-1).astype(choices.operations.dtype)
            operations = jnp.where(mutates, operations, choices.operations)
            return Drawn(operations, jnp.where(mutates, 1, choices.scales))
        mixed = operation_probs(choices)
        mixed = jnp.where(mutates[..., None], alone.astype(mixed.dtype), mixed)
        return choices._replace(probs=mixed) if isinstance(choices, Mixture) else mixed

    def record(epoch):
        return relaxed.record(epoch) | {"edge_mutation": rates.in_epoch(epoch)}

    return relaxed._replace(record=record, weight_mix=weight_mix)


def with_correlation(relaxed: Relaxation, strengths: Line) -> Relaxation:
    """Makes a relaxation whose steps of the weights let cells agree (Lambda-DARTS), see `steps.correlation`."""

    def record(epoch):
        return relaxed.record(epoch) | {"layer_correlation": strengths.in_epoch(epoch)}

    return relaxed._replace(record=record, correlation=strengths)


def draw_mutations(key: jax.Array, rate: Any, allowed: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Draws which edges mutate, bool [C, E], and each edge's operation, one-hot bool [C, E, O] among `allowed`."""
    chance, choice = jax.random.uniform(key, (2, *allowed.shape[:-1]))
    places, counts = allowed.cumsum(-1) - 1, allowed.sum(-1)
    number = jnp.floor(choice * counts)
    return (chance < rate) & (counts > 0), allowed & (places == number[..., None])


def with_entropy(relaxed: Relaxation, weights: Line) -> Relaxation:
    """Makes a relaxation that adds P's entropy to the embedding's loss, so that a search ends in a choice.

    The term is the entropy of an edge's operations in nats, the mean over all edges, times the epoch's weight. The
    weight grows: at first the data decide, and in the end P drops operations that it hardly uses. The term is from
    DA2S (Tian et al., Pattern Recognition 2021); the paper has no such term.
    """

    def penalty(probs, step):
        p = operation_probs(relaxed.probs(probs))
        term = weights.at(step) * -(p * finite_log(p)).sum(-1).mean()
        return term if relaxed.penalty is None else term + relaxed.penalty(probs, step)

    def record(epoch):
        return relaxed.record(epoch) | {"entropy_weight": weights.in_epoch(epoch)}

    return relaxed._replace(record=record, penalty=penalty)


def with_limits(relaxed: Relaxation, costs: RelativeCosts, space: Space) -> Relaxation:
    """Makes a relaxation that adds the excess of P's expected cost over the limits to the embedding's loss.

    The excess is the part by which the expected cost exceeds a limit, summed over the limits. A P within the limits
    pays nothing. ProxylessNAS (Cai et al., ICLR 2019) adds expected latency in this way; the paper has no such term.
    """

    def penalty(probs, step):
        excess = costs.weight * expected_excess(costs, relaxed.probs(probs), space)
        return excess if relaxed.penalty is None else excess + relaxed.penalty(probs, step)

    return relaxed._replace(penalty=penalty)


def with_price(relaxed: Relaxation, price: RelativeCosts, space: Space) -> Relaxation:
    """Makes a relaxation that adds the weighted expected parameters of P to the embedding's loss.

    The parameters are a part of their mean over all cells: 1 for a uniform P. A larger weight leads to smaller cells.
    """

    def penalty(probs, step):
        part = expected_part(price, relaxed.probs(probs), space)
        return part if relaxed.penalty is None else part + relaxed.penalty(probs, step)

    return relaxed._replace(penalty=penalty)
