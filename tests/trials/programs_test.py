"""One program trains any cell, step by step as the derived network's training does."""

import functools

import jax
import numpy as np
import pytest

from nge_jax.devices import parallel
from nge_jax.networks.any_cell import as_arrays
from nge_jax.networks.weights_of_any_cell import from_derived, to_derived
from nge_jax.settings.configs import load_config
from nge_jax.space import genotype
from nge_jax.study.trainer import right_answers
from nge_jax.train import build as train_build
from nge_jax.train import images as train_images
from nge_jax.train import step as train_step
from nge_jax.train.arguments import make_optimizer
from nge_jax.train.evaluate import make_score, score_all
from nge_jax.trials.programs import Leg, make_programs

STEPS = 10


def config_of(epochs):
    config = load_config("train_digits", "smoke")
    config.train.epochs = epochs
    config.network.cells, config.network.channels = 1, 2
    config.train.drop_path = 0.2
    config.train.batch_size = 16
    config.data.trivial_augment, config.weights.ema = True, 0.5
    config.train.mixup, config.train.cutmix = 0.2, 1.0
    return config


@functools.cache
def training(cell):
    config = config_of(1)
    return train_build.build(
        config, train_images.open_source(train_images.read_settings(config)), cell
    )


PROGRAMS = make_programs(training(genotype.random_genotype(0)))


def trained(cell):
    """Trains a derived network for some steps; returns its first and its last state, and scores."""
    plan = training(cell)
    optimizer = make_optimizer(plan.arguments.weights, plan.arguments.rate)
    step = train_step.make_train_step(plan.model, optimizer, plan.recipe, plan.arguments)
    state = train_step.init_state(
        plan.model, optimizer, jax.random.key(1), plan.source.spec.shape, plan.parts
    )
    first = jax.device_get(state)
    ((work, _, _),) = plan.source.epoch(0, [(0, STEPS)])
    phase = parallel.on_all_devices(parallel.make_phase(step), plan.source.axes)
    key = jax.random.fold_in(jax.random.key(2), 3)
    state = jax.device_get(phase(parallel.replicated(state), work, key, 0, STEPS))
    score = make_score(plan.model, plan.source.spec.mean, plan.source.spec.std)
    used = train_step.averaged(state)
    return first, state, score_all(score, used, plan.source.held_out("test", 128), 355)


def converted(cell, plan, state, convert):
    variables = convert(
        cell, plan.model.plan, {"params": state.params, "batch_stats": state.batch_stats}
    )
    momentum = [
        convert(cell, plan.model.plan, {"params": s})["params"]
        for s in jax.tree.leaves(state.opt_state, is_leaf=lambda s: isinstance(s, dict))
        if isinstance(s, dict)
    ]
    return variables, momentum


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.whole)])
def test_ten_steps_are_those_of_the_derived_networks_training(seed):
    cell = genotype.random_genotype(seed)
    plan, (first, expected, scores) = training(cell), trained(cell)
    leg = Leg(as_arrays(cell), plan.arguments, 3)
    state = PROGRAMS.init(jax.random.key(0), leg)
    variables, _ = converted(cell, plan, first, from_derived)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(
        np.shape, {"params": state.params, "batch_stats": state.batch_stats}
    )
    state = train_step.begin_with(state, variables)
    ((batches, _, _),) = plan.source.epoch(0, [(0, STEPS)])
    state, leg, key = parallel.replicated((state, leg, jax.random.key(2)))
    state = PROGRAMS.train(state, (batches, leg), key, 0, STEPS)
    assert int(state.step) == STEPS
    for view in (lambda state: state, train_step.averaged):
        found = converted(cell, plan, view(state), to_derived)
        assert_close(found, converted(cell, plan, view(expected), lambda cell, plan, tree: tree))
    score = functools.partial(PROGRAMS.score, leg)
    used = train_step.averaged(state)
    same = score_all(score, used, plan.source.held_out("test", 128), 355)
    assert same.loss == pytest.approx(scores.loss, rel=1e-3)
    right = right_answers(plan, PROGRAMS, leg, state)
    assert len(right) == 355 and right.sum() == same.confusion.trace()


def test_another_cell_and_another_length_compile_nothing():
    plan, compiled = training(genotype.random_genotype(0)), []
    ((batches, _, _),) = plan.source.epoch(0, [(0, STEPS)])

    def listen(event, duration_secs, **kwargs):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    counts = []
    for seed in range(3):
        longer = train_build.make_arguments(config_of(10 + seed), plan.arguments.steps_per_epoch)
        leg = Leg(as_arrays(genotype.random_genotype(seed)), longer, np.int32(seed))
        trial = PROGRAMS.init(jax.random.key(0), leg)
        state, leg, key = parallel.replicated((trial, leg, jax.random.key(2)))
        state = PROGRAMS.train(state, (batches, leg), key, 0, 1)
        score_all(
            functools.partial(PROGRAMS.score, leg),
            state,
            plan.source.held_out("test", 128),
            355,
        )
        counts.append(len(compiled))
    assert counts[1] == counts[2]


def assert_close(found, expected):
    def compare(path, found, expected):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-3, err_msg=name)

    jax.tree_util.tree_map_with_path(compare, found, expected)
